"""Rows that a definition cannot use are left out and counted: constant rows in RSA, copies in the TwoNN dimension."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from relrep_cli.evaluations.separation import _dimension
from relrep_cli.metrics.dissimilarities import rsa
from relrep_cli.metrics.score import NotApplicable
from relrep_cli.metrics.statistics import intrinsic_dimension_difference, log_ratios
from relrep_cli.numerics.equal_rows import first_of_equal_rows

N, D = 40, 5


def spaces() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D))
    return x, x @ rng.normal(size=(D, D)) + rng.normal(size=(N, D))


def by_hand(x: np.ndarray, y: np.ndarray) -> float:
    upper = np.triu_indices(len(x), 1)
    return float(spearmanr(1 - np.corrcoef(x)[upper], 1 - np.corrcoef(y)[upper])[0])


def test_rsa_leaves_constant_rows_out() -> None:
    x, y = spaces()
    x[3], y[7] = 2.5, 0
    kept = np.delete(np.arange(N), [3, 7])
    score = rsa(x, y)
    assert score.value == pytest.approx(by_hand(x[kept], y[kept]), abs=1e-12)
    assert "2 rows without a direction left out" in score.convention
    assert "left out" not in rsa(*spaces()).convention
    assert "1 rows without a direction left out" in rsa(x, y, distance="cosine").convention  # only the zero row has none
    assert "left out" not in rsa(x, y, distance="euclidean").convention
    with pytest.raises(NotApplicable, match="3 items are too few, 37 without a direction left out"):
        rsa(np.where(np.arange(N)[:, None] < 3, x, 1.0), y[:, :D] + np.arange(D))


def two_nn(x: np.ndarray) -> float:
    """Facco et al. 2017, on rows that differ."""
    apart = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    np.fill_diagonal(apart, np.inf)
    near = np.sort(apart, axis=1)
    return float(1 / np.log(near[:, 1] / near[:, 0]).mean())


def test_copies_do_not_count_for_the_dimension() -> None:
    x, y = spaces()
    doubled = np.concatenate([x, x[:9], x[:2]])
    (finding,) = _dimension(doubled, "")
    assert finding.value == pytest.approx(two_nn(x)) and finding.n == N
    assert finding.convention.endswith("11 copies of items left out")
    (finding,) = _dimension(x, "")
    assert finding.value == pytest.approx(two_nn(x)) and "left out" not in finding.convention
    score = intrinsic_dimension_difference(doubled, np.concatenate([y, y[:11] + 1e-3]))
    assert "11 and 0 copies of rows left out" in score.convention
    assert np.isnan(log_ratios(np.ones((5, 2)))).all()
    with pytest.raises(NotApplicable, match="the second space has too few rows that differ"):
        intrinsic_dimension_difference(x, np.ones((N, D)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_equal_rows_are_found_in_any_type(dtype: type) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(dtype)
    x[20:30], x[7] = x[:10], 0
    x[8] = -0.0
    wanted = np.sort(np.unique(x + dtype(0), axis=0, return_index=True)[1])
    assert np.array_equal(first_of_equal_rows(x), wanted)

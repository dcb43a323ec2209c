"""CKA of sampled rows and columns: equal to its definition, and an estimate of the alignment of all rows and columns."""

from __future__ import annotations

import numpy as np
import pytest
from transformations import TRANSFORMATIONS, expected

from relrep_cli.comparison.pairs_of_files import interval
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import NotApplicable
from relrep_cli.numerics.workspace import Workspace

FIRST, SECOND = np.linspace(2, 0.2, 20), np.linspace(0.5, 1.5, 20)
TRUTH = float(FIRST @ SECOND / np.linalg.norm(FIRST) / np.linalg.norm(SECOND))


def song(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """The U-statistic of HSIC, from n x n kernels."""
    k, l, n = k - np.diag(np.diag(k)), l - np.diag(np.diag(l)), len(k)  # noqa: E741
    ones = k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ l).sum()
    return float((np.trace(k @ l) + ones) / (n * (n - 3)))


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Mean HSIC over pairs of columns of both spaces, and over pairs of different columns within one."""

    def own(side: np.ndarray) -> float:
        kernels = [np.outer(c, c) for c in side.T]
        return float(np.mean([song(a, b) for i, a in enumerate(kernels) for j, b in enumerate(kernels) if i != j]))

    both = np.mean([song(np.outer(a, a), np.outer(b, b)) for a in x.T for b in y.T])
    return float(both / np.sqrt(own(x) * own(y)))


def sampled(n: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Some columns of two populations, each a random mixture of twenty factors; the populations' alignment is TRUTH."""
    rng = np.random.default_rng([seed, n, columns])
    hidden = rng.normal(size=(n, 20))
    x, y = (hidden @ (np.sqrt(sizes)[:, None] * rng.normal(size=(20, columns))) for sizes in (FIRST, SECOND))
    return x + 1, y


def value(name: str, x: np.ndarray, y: np.ndarray, **params: str) -> float:
    return METRICS[name].compute(x, y, params, workspace=Workspace(intervals=False)).value


def test_it_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 4)) + 2
    y = x[:, :3] + 3 * rng.normal(size=(12, 3))
    x[:, 0] += x[:, 1]
    y[:, 0] += 2 * y[:, 1]
    wanted = by_definition(x, y)
    assert wanted < 1
    assert value("cka:row-column", x, y) == pytest.approx(wanted, rel=1e-10)
    constant = np.concatenate([x, np.full((12, 1), 0.1)], 1)
    assert value("cka:row-column", constant, y) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize(("n", "columns"), [(60, 40), (200, 30)])
def test_it_estimates_the_alignment_of_all_rows_and_columns(n: int, columns: int) -> None:
    """Unbiased CKA corrects for few rows alone: from few columns it stays far too low."""
    pairs = [sampled(n, columns, seed) for seed in range(60)]
    values = np.array([value("cka:row-column", *pair) for pair in pairs])
    error = values.std() / np.sqrt(len(values))
    assert values.mean() == pytest.approx(TRUTH, abs=4 * error + 0.02)  # a ratio of unbiased parts is nearly unbiased
    others = [np.mean([value("cka", *pair, estimator=e) for pair in pairs]) for e in ("unbiased", "biased")]
    assert abs(others[0] - TRUTH) > 0.1 and abs(others[0] - TRUTH) > 4 * abs(values.mean() - TRUTH)


def test_unrelated_spaces_are_at_zero() -> None:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(2, 60, 80, 6))
    values = [value("cka:row-column", *(hidden[s, i] @ rng.normal(size=(6, 30)) for s in (0, 1))) for i in range(60)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 60**0.5


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_it_is_invariant_exactly_where_declared(transformation: str) -> None:
    x, y = sampled(120, 30, 0)
    assert 0.2 < value("cka:row-column", x, y) < 0.95
    moved = TRANSFORMATIONS[transformation](np.random.default_rng(3), x)(x)
    same = value("cka:row-column", moved, y) == pytest.approx(value("cka:row-column", x, y), rel=1e-7)
    assert same == expected("cka:row-column", METRICS["cka:row-column"].invariant, transformation)


def test_identity_symmetry_interval_and_permutations() -> None:
    x, y = sampled(120, 30, 0)
    y = y + x
    result, back = (METRICS["cka:row-column"].compute(*sides, {}) for sides in ((x, y), (y, x)))
    assert result.value == pytest.approx(back.value, rel=1e-12)
    assert value("cka:row-column", x, x) == 1.0
    ends = [
        np.array(interval("cka:row-column", METRICS["cka:row-column"].compute(*sampled(n, 30, 0), {}), 0)) for n in (60, 600)
    ]
    assert all(low < high for low, high in ends)
    assert np.diff(ends[1]) < 0.7 * np.diff(ends[0])
    order = np.random.default_rng(0).permutation(120)
    assert value("cka:row-column", x[order], y[order]) == pytest.approx(result.value, rel=1e-9)
    assert value("cka:row-column", x, y[order]) < result.value / 2


def test_what_has_no_value_is_named() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3))
    x[:, 1] += x[:, 0]
    with pytest.raises(NotApplicable, match="the second space has 1 columns that vary"):
        value("cka:row-column", x, x[:, :1])
    one, other = np.repeat([1.0, -1.0], 20), np.tile([1.0, -1.0], 20)
    with pytest.raises(NotApplicable, match="the columns of the second space are unrelated"):
        value("cka:row-column", x[:40], np.stack([one, other], 1))

"""Correlations of all coordinates: equal to scipy's, in bounded memory too, with intervals that cover."""

from __future__ import annotations

from math import asin, pi, sqrt

import numpy as np
import pytest
from scipy import stats

from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import NotApplicable
from relrep_cli.numerics import midranks as ranking
from relrep_cli.numerics.intervals import jackknife

SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}


def pair(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + rng.normal(size=d)
    return x, x + rng.normal(size=(n, d))


@pytest.mark.parametrize("kind", ["generic", "ties", "tiny", "huge"])
@pytest.mark.parametrize("name", SCIPY)
def test_correlations_equal_scipy(name: str, kind: str) -> None:
    x, y = pair(200, 7)
    if kind == "ties":
        x, y = np.rint(x), np.rint(y)
    unit = {"tiny": 1e-150, "huge": 1e150}.get(kind, 1.0)
    wanted = SCIPY[name](x.ravel(), y.ravel())[0]
    assert METRICS[name].function(x * unit, y).value == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("offset", "unit"), [(0.0, 1.0), (1e3, 1.0), (-1e-3, 1e-30), (0.0, 1e30)])
def test_binned_ranks_err_by_less_than_they_say(offset: float, unit: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (side.astype(np.float32).astype(np.float64) for side in (p + offset for p in pair(3000, 200)))
    exact = METRICS["spearman"].function(x, y)
    monkeypatch.setattr(ranking, "EXACT", 200_000)
    binned = METRICS["spearman"].function(x * unit, y)
    assert "binned" in binned.convention and "exact" in exact.convention
    assert binned.value == pytest.approx(exact.value, abs=2e-8)
    assert binned.jackknife.std() == pytest.approx(exact.jackknife.std(), rel=1e-3)


@pytest.mark.parametrize(("name", "truth"), [("pearson", 1 / sqrt(2)), ("spearman", 6 / pi * asin(1 / sqrt(8)))])
def test_their_intervals_cover(name: str, truth: float) -> None:
    """Of normal data with correlation 1 / sqrt 2; 200 draws: 95 +- 3 * 1.6 %."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        x = rng.normal(size=(120, 3))
        result = METRICS[name].function(x, x + rng.normal(size=x.shape))
        low, high = jackknife(result.value, result.jackknife)
        hits += low <= truth <= high
    assert 0.90 <= hits / 200 <= 0.995


@pytest.mark.parametrize("name", SCIPY)
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 + 0.1])
def test_a_constant_space_is_named(name: str, constant: float) -> None:
    x = np.full((40, 3), constant)
    for sides, which in (((x, pair(40, 3)[0]), "first"), ((pair(40, 3)[0], x), "second")):
        with pytest.raises(NotApplicable, match=f"the coordinates of the {which} space are all equal"):
            METRICS[name].function(*sides)

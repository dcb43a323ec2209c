"""How sure a score is: 95 % confidence intervals for every metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np

RESAMPLES, GROUPS, LEVEL = 1000, 5000, 0.95


def bootstrap(rows: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % percentile interval of the mean of `rows` (n,), from 1000 resamples; their order does not count.

    Above 5000 rows, means of equal random groups are resampled instead of rows: the same spread for a bounded cost.
    """
    rows = np.sort(rows)
    if len(rows) > 2 * GROUPS:
        mean, kept = rows.mean(), len(rows) // GROUPS * GROUPS
        groups = rng.permutation(rows)[:kept].reshape(GROUPS, -1).mean(1)
        rows = (groups - groups.mean()) * sqrt(kept / len(rows)) + mean  # as wide as all rows would be
    means = [rng.choice(rows, (100, len(rows))).mean(1) for _ in range(RESAMPLES // 100)]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_of_few(rows: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The same interval of rows (n,) that take few values, such as hits and misses, from their counts: exact and fast."""
    values, counts = np.unique(rows, return_counts=True)
    if len(values) > 64:
        return bootstrap(rows, rng)
    means = rng.multinomial(len(rows), counts / len(rows), RESAMPLES) @ values / len(rows)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def sampled(rows: np.ndarray, n: int) -> tuple[float, float]:
    """95 % interval of the mean over n rows from the values of a random sample of them (m,), drawn without replacement."""
    reach = student(len(rows) - 1) * _error(rows, n)
    return float(rows.mean()) - reach, float(rows.mean()) + reach


def rows_needed(rows: np.ndarray, n: int, reach: float) -> int:
    """How many of n rows an interval of this half-width needs, judged by a sample (m,); m when it is narrow enough."""
    if student(len(rows) - 1) * _error(rows, n) <= reach:
        return len(rows)
    share = (student(len(rows) - 1) / reach) ** 2
    spread = share * float(rows.var(ddof=1))
    without_end = (spread + sqrt(spread**2 + 4 * share)) / 2  # of m rows: m = share * (variance + 1 / m), as in _variance
    return min(n, max(len(rows) + 1, ceil(without_end / (1 + without_end / n))))


def _error(rows: np.ndarray, n: int) -> float:
    return sqrt(_variance(rows) * (1 - len(rows) / n) / len(rows))


def _variance(rows: np.ndarray) -> float:
    """As if one of the sample lay a whole unit off: rows all alike do not prove that the others are."""
    return float(rows.var(ddof=1)) + 1 / len(rows)


def jackknife(value: float, without: np.ndarray) -> tuple[float, float]:
    """95 % interval of a statistic from its values without one of g equal parts of the rows (g,)."""
    g = len(without)
    error = sqrt((g - 1) / g * float(((without - without.mean()) ** 2).sum()))
    reach = student(g - 1) * error
    return value - reach, value + reach


def spread_of_all(without: np.ndarray, n: int) -> np.ndarray:
    """Values without one row each, of some of n rows (m,), made to spread so that `jackknife` reads them as those of all."""
    mean = without.mean()
    return mean + (without - mean) * sqrt((n - 1) / (len(without) - 1))


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by the Cornish-Fisher series (error below 0.002 from 9 degrees on).

    >>> round(student(9), 2), round(student(49), 2)
    (2.26, 2.01)
    """
    z, f = NormalDist().inv_cdf((1 + LEVEL) / 2), freedom
    return (
        z
        + (z**3 + z) / (4 * f)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
    )


def within(interval: tuple[float, float], bounds: tuple[float | None, float | None]) -> tuple[float, float]:
    """The interval cut at what the metric can reach."""
    low, high = (v if b is None else f(v, b) for v, b, f in zip(interval, bounds, (max, min), strict=True))
    return low, high


_plain: list[None] = []


@contextmanager
def values_only() -> Iterator[None]:
    """Within, metrics give their values without chance levels and jackknives that cost time: for values by the hundred."""
    _plain.append(None)
    try:
        yield
    finally:
        _plain.pop()


def wanted() -> bool:
    """Whether chance levels and jackknives are wanted, too."""
    return not _plain


def pairings(n: int, times: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Random orders of n rows: each pairs every row of one space with some row of the other. None within values_only."""
    if not wanted():
        return
    rng = np.random.default_rng(seed)
    for _ in range(times):
        yield rng.permutation(n)


def level(found: Iterable[float]) -> float:
    """The mean over random pairings; NaN where there were none."""
    values = list(found)
    return float(np.mean(values)) if values else float("nan")

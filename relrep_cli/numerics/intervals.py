"""95 % confidence intervals of scores."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, exp, frexp, sqrt
from typing import Literal

import numpy as np

Scale = Literal["plain", "log", "from one"]
RESAMPLES, GROUPS, LEVEL = 1000, 5000, 0.95
NORMAL = 1.9599639845400536  # quantile of (1 + LEVEL) / 2; to import statistics for it takes 8 ms
SPLITS = 20  # into random halves
HALVED = 2048  # rows that are halved, at most
RARE = (0.0, 0.0513, 0.3554, 0.8177)  # the least means of Poisson's distribution that give so many events in 5 % of draws


def bootstrap(rows: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Bootstrap the mean of `rows` (n,): 95 % percentile interval from 1000 resamples, independent of the order of the rows.

    Of more than 10,000 rows, the means of 5000 equal random groups are resampled: the same spread at bounded cost.
    """
    rows = np.sort(rows)
    if len(rows) > 2 * GROUPS:
        mean, kept = rows.mean(), len(rows) // GROUPS * GROUPS
        groups = rng.permutation(rows)[:kept].reshape(GROUPS, -1).mean(1)
        rows = (groups - groups.mean()) * sqrt(kept / len(rows)) + mean  # rescaled to the spread of all rows
    means = [rng.choice(rows, (100, len(rows))).mean(1) for _ in range(RESAMPLES // 100)]
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def of_mean(rows: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean of rows (n,): Wilson's where all are 0 or 1 (Wilson 1927), else the bootstrap.

    A bootstrap of hits with few misses, or none, is too narrow: it cannot know of misses that the rows do not hold.

    >>> [round(end, 4) for end in of_mean(np.ones(100), np.random.default_rng(0))]
    [0.963, 1.0]
    """
    if not is_hits(rows):
        return bootstrap(rows, rng)
    n, share, z = len(rows), float(rows.mean()), student(10**9)
    middle, reach = share + z**2 / (2 * n), z * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, (middle - reach) / (1 + z**2 / n)), min(1.0, (middle + reach) / (1 + z**2 / n))


def is_hits(rows: np.ndarray) -> bool:
    """Whether all rows are 0 or 1."""
    return bool(((rows == 0) | (rows == 1)).all())


def bootstrap_of_few(rows: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Bootstrap the mean of rows (n,) with at most 64 different values, such as hits and misses, from their counts."""
    values, counts = np.unique(rows, return_counts=True)
    if len(values) > 64:
        return bootstrap(rows, rng)
    means = rng.multinomial(len(rows), counts / len(rows), RESAMPLES) @ values / len(rows)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def of_share(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n items (Wilson 1927), with the bounds of Brown, Cai and DasGupta (2001) where at
    most three count or do not. Without them, a true share of 0.999 is missed as often as one of 200 items does not count.

    >>> tuple(round(end, 3) for end in of_share(1.0, 100))
    (0.963, 1.0)
    >>> tuple(round(end, 5) for end in of_share(0.995, 200))
    (0.97223, 0.99974)
    """
    z = NORMAL
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    few, many = n * share, n * (1 - share)
    low = min(middle - reach, np.interp(few, range(len(RARE)), RARE) / n) if few < len(RARE) else middle - reach
    high = max(middle + reach, 1 - np.interp(many, range(len(RARE)), RARE) / n) if many < len(RARE) else middle + reach
    return max(0.0, float(low)), min(1.0, float(high))


def of_shares(shares: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of shares (n,), each from 0 to 1: Wilson's of as many hits as would vary as much."""
    n, mean = len(shares), float(shares.mean())
    return of_share(mean, n * (n * mean * (1 - mean) + 0.5) / (n * float(shares.var()) + 0.5))


def sampled(rows: np.ndarray, n: int) -> tuple[float, float]:
    """95 % interval of the mean over n rows, from the values (m,) of a random sample drawn without replacement."""
    reach = student(len(rows) - 1) * _error(rows, n)
    return float(rows.mean()) - reach, float(rows.mean()) + reach


def rows_needed(rows: np.ndarray, n: int, reach: float) -> int:
    """Estimate the sample size, of n rows, for an interval of half-width `reach`.

    rows: (m,) values of a first sample. Returns m when it is already large enough.
    """
    if student(len(rows) - 1) * _error(rows, n) <= reach:
        return len(rows)
    share = (student(len(rows) - 1) / reach) ** 2
    spread = share * float(rows.var(ddof=1))
    without_end = (spread + sqrt(spread**2 + 4 * share)) / 2  # of m rows: m = share * (variance + 1 / m), as in _variance
    return min(n, max(len(rows) + 1, ceil(without_end / (1 + without_end / n))))


def _error(rows: np.ndarray, n: int) -> float:
    return sqrt(_variance(rows) * (1 - len(rows) / n) / len(rows))


def _variance(rows: np.ndarray) -> float:
    """Sample variance plus 1 / m, as if one row were off by 1: identical rows in a sample do not prove zero variance."""
    return float(rows.var(ddof=1)) + 1 / len(rows)


def jackknife(value: float, without: np.ndarray, scale: Scale = "plain") -> tuple[float, float]:
    """95 % jackknife interval of a statistic.

    without: (g,) the value recomputed without each of g parts of the rows, which are single rows or equal groups. For a sample
    of the rows, rescale first: spread_of_all. scale: on which the error is nearly normal. `log` is for a positive value, and
    `from one` for a value below 1, by the logarithm of its distance from 1: a few outlying rows make such values skewed. Where
    the parts are skewed still, the upper end of `log` is moved up.
    """
    if scale == "log" and value > 0 and (without > 0).all():
        logs = np.log(without)
        reach = jackknife_reach(logs)
        return value * exp(-reach), value * exp(reach * (1 + _stretch(logs)))
    if scale == "from one" and value < 1 and (without < 1).all():
        reach = jackknife_reach(np.log1p(-without))
        return 1 - (1 - value) * exp(reach), 1 - (1 - value) * exp(-reach)
    reach = jackknife_reach(without)
    return value - reach, value + reach


def jackknife_reach(without: np.ndarray) -> float:
    """Half the width of the 95 % jackknife interval of a statistic whose error is normal. without: (g,) as in `jackknife`."""
    g, apart = len(without), without - without.mean()
    unit = 2.0 ** frexp(float(np.abs(apart).max()))[1]  # a power of two, so that no square over- or underflows
    error = unit * sqrt((g - 1) / g * float(((apart / unit) ** 2).sum()))
    return student(g - 1) * error


def _stretch(without: np.ndarray) -> float:
    """By how much of its length the upper side of an interval must grow, because the parts of the rows are skewed.

    It is the first term of the Edgeworth expansion of Student's statistic (Hall 1992), at its 97.5 % quantile; at least 0.
    """
    own = without.mean() - without  # the contributions of the parts
    size = float(np.square(own).sum())
    skew = float((own**3).sum()) / size**1.5 if size > 0 else 0.0
    t = student(len(without) - 1)
    return max(0.0, skew * (2 * t * t + 1) / (6 * t))


def interval_of_pairs(rows: np.ndarray, pairs: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of a mean over pairs, from the exact values without each item; None where an item is in every pair.

    rows: (m,) each item's mean over its pairs; pairs: (m,) their number. An item takes part in the values of others, so that
    the rows are not independent, and their bootstrap would be too narrow by half.
    """
    without = without_items(rows, pairs)
    if without is None:
        return None
    value = float((rows * pairs).sum() / pairs.sum())
    return jackknife(value, np.sort(without))  # sorted, so that the order of rows changes no bit


def without_items(rows: np.ndarray, pairs: np.ndarray) -> np.ndarray | None:
    """(m,) the exact mean over pairs without each item, as in interval_of_pairs; None where an item is in every pair."""
    sums, counts = rows * pairs, pairs.sum() / 2 - pairs  # each pair has two items
    return (sums.sum() / 2 - sums) / counts if (counts > 0).all() else None


def spread_of_all(without: np.ndarray, n: int) -> np.ndarray:
    """Rescale leave-one-out values of m of the n rows, so that `jackknife` gives the interval of all n."""
    mean = without.mean()
    return mean + (without - mean) * sqrt((n - 1) / (len(without) - 1))


def halves(value: float, n: int, value_of: Callable[[np.ndarray], float]) -> np.ndarray:
    """(SPLITS,) values whose `jackknife` gives the interval of a statistic that a single row changes by leaps.

    value_of: the value of some of the n rows, whose numbers are ascending. The variance of a difference between random halves
    of m rows is four times that of all m. At most HALVED rows are drawn for a split, and the error falls with the root of n.
    The splits are of the same rows, so they say as much as half as many independent ones.
    """
    wider = student(SPLITS // 2) / student(SPLITS - 1)
    most = min(n, HALVED)
    rng, half, apart = np.random.default_rng(0), most // 2, np.empty(SPLITS)
    for split in range(SPLITS):
        order = rng.permutation(n)
        apart[split] = value_of(np.sort(order[:half])) - value_of(np.sort(order[half : 2 * half]))
    return value + wider * sqrt(most / n) * sqrt(SPLITS) / (2 * (SPLITS - 1)) * apart


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by the Cornish-Fisher series (error below 0.002 from 9 degrees on).

    >>> round(student(9), 2), round(student(49), 2)
    (2.26, 2.01)
    """
    z, f = NORMAL, freedom
    return (
        z
        + (z**3 + z) / (4 * f)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
    )


def within(interval: tuple[float, float], bounds: tuple[float | None, float | None]) -> tuple[float, float]:
    """Clip an interval to the bounds of the metric."""
    low, high = (v if b is None else f(v, b) for v, b, f in zip(interval, bounds, (max, min), strict=True))
    return low, high

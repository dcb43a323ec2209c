"""Differences of two values that were measured on the same items, with 95 % intervals and p-values."""

from __future__ import annotations

from math import sqrt

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.intervals import LEVEL, bootstrap, is_hits, jackknife_reach, student

TWO_SIDED = (1 + LEVEL) / 2
STRETCHED = ", stretched, {} degrees of freedom"
ROWS, PARTS, PROPORTIONS = "paired bootstrap of row differences", "jackknife of differences", "paired proportions"


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value with the numbers that its error is read from.

    rows: (n,) values of the items, whose mean is `value`. without: (g,) the value without each g-th part of the items, where
    there are no row values. items: ids or row numbers of the items, None for all of them in order; two estimates are paired
    only where these are equal. n: the number of items.
    """

    value: float
    n: int
    rows: np.ndarray | None = None
    without: np.ndarray | None = None
    items: np.ndarray | None = None


@dataclass(frozen=True)
class Difference:
    """The value of b less that of a. low, high, p: None where there is no interval. method: how they were made, or why not."""

    value: float
    low: float | None
    high: float | None
    p: float | None
    method: str


def paired_difference(a: Estimate, b: Estimate, *, seed: int = 0, factor: float | None = None, freedom: int = 0) -> Difference:
    """Subtract two values that were measured on the same items.

    a, b: the estimates. seed: of the bootstrap. factor: an estimate of how much dependence between rows widens the interval,
    None where they are independent; freedom: the degrees of freedom of this estimate.

    Row values are subtracted row by row, and the differences resampled. Where both are 0 or 1 throughout, the interval is that
    of paired proportions (Agresti and Min 2005). Without row values, the values without each part of the items are subtracted.
    p is two-sided: it is 0.05 where the interval ends at 0.

    >>> a, b = (Estimate(rows.mean(), 40, rows) for rows in (np.zeros(40), np.repeat([0.0, 1.0], 20)))
    >>> difference = paired_difference(a, b)
    >>> float(difference.value), round(difference.low, 3), round(difference.high, 3), difference.method
    (0.5, 0.318, 0.634, 'paired proportions')
    """
    value = b.value - a.value
    if not same_items(a, b):
        return Difference(value, None, None, None, "no interval: the two values are of different items")
    if a.rows is not None and b.rows is not None and len(a.rows) > 1:
        differences = b.rows - a.rows
        most = len(differences) - 1
        freedom = most if factor is None else min(freedom or most, most)  # an estimate of 1 is no surer than another one
        stretched, factor = ("", 1.0) if factor is None else (STRETCHED.format(freedom), factor)
        if is_hits(a.rows) and is_hits(b.rows):
            return _of_interval(value, _proportions(differences, factor), freedom, PROPORTIONS + stretched)
        low, high = bootstrap(differences, np.random.default_rng(seed))
        wider = factor * _correction(len(differences))
        ends = value - wider * (value - low), value + wider * (high - value)
        return _of_interval(value, ends, freedom, ROWS + stretched)
    if a.without is None or b.without is None:
        return Difference(value, None, None, None, "no interval: there are neither row values nor values without some rows")
    parts = _same_parts(a, b)
    if parts is None or not np.isfinite(parts).all():
        return Difference(value, None, None, None, "no interval: the values without some rows do not correspond")
    reach = jackknife_reach(parts)
    return _of_interval(value, (value - reach, value + reach), len(parts) - 1, PARTS)


def p_of_interval(value: float, low: float, high: float, freedom: int) -> float:
    """The two-sided p-value of a difference: how improbable 0 is when the error has Student's t distribution, scaled so that
    p is 0.05 where the 95 % interval ends at 0.

    >>> round(p_of_interval(1.0, 0.0, 2.0, 30), 12), p_of_interval(0.0, -1.0, 1.0, 30), p_of_interval(1.0, 1.0, 1.0, 30)
    (0.05, 1.0, 0.0)
    """
    from scipy.special import stdtr, stdtrit

    reach = value - low if value > 0 else high - value
    if not reach > 0:
        return 1.0 if value == 0 else 0.0
    return float(min(1.0, 2 * stdtr(freedom, -abs(value) / reach * stdtrit(freedom, TWO_SIDED))))


def _of_interval(value: float, ends: tuple[float, float], freedom: int, method: str) -> Difference:
    return Difference(value, *ends, p_of_interval(value, *ends, freedom), method)


def same_items(a: Estimate, b: Estimate) -> bool:
    """Whether two estimates are of the same items."""
    if a.items is None or b.items is None:
        return a.items is b.items and a.n == b.n
    return np.array_equal(a.items, b.items)


def _correction(n: int) -> float:
    """What percentiles of the bootstrap miss of the width for few rows: they know neither n - 1 nor Student's t.

    >>> round(_correction(10), 2), round(_correction(1000), 3)
    (1.22, 1.002)
    """
    return sqrt(n / (n - 1)) * (student(n - 1) / student(10**9) if n > 9 else 1.22)


def _proportions(differences: np.ndarray, factor: float) -> tuple[float, float]:
    """The interval of Agresti and Min, who add half an item to each of the four cells: no change is no proof of equality."""
    n, lost, won = len(differences) + 2, int((differences < 0).sum()) + 0.5, int((differences > 0).sum()) + 0.5
    middle = (won - lost) / n
    reach = factor * student(10**9) * sqrt((won + lost) - (won - lost) ** 2 / n) / n
    return middle - reach, middle + reach


def _same_parts(a: Estimate, b: Estimate) -> np.ndarray | None:
    """(g,) the difference without each part of the items. Where one estimate has more parts, these are joined: part j goes to
    j modulo the fewer, as items are dealt to parts. None where parts of the one are not within parts of the other.
    """
    assert a.without is not None and b.without is not None
    more, fewer = sorted((len(a.without), len(b.without)), reverse=True)
    if more % fewer and more < a.n:
        return None
    return _joined(b.without, b.value, fewer) - _joined(a.without, a.value, fewer)


def _joined(without: np.ndarray, value: float, groups: int) -> np.ndarray:
    """(groups,) the value without each of fewer, larger parts, from the pseudo-values g v - (g - 1) v_j of the small parts
    (Tukey 1958). Their mean is exact to first order.
    """
    g = len(without)
    if g == groups:
        return without
    place = np.arange(g) % groups
    counts = np.bincount(place)
    pseudo = np.bincount(place, g * value - (g - 1) * without) / counts
    return np.asarray(value + counts / (g - counts) * (value - pseudo))

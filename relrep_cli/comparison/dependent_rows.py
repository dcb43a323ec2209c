"""Widen the bootstrap confidence interval of a metric whose row values depend on each other.

Neighbourhood metrics are the usual case: one item is a neighbour of many others, so its noise enters the values of many rows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import sqrt

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.metrics.score import Score
from relrep_cli.numerics.intervals import student
from relrep_cli.numerics.threads import single_threaded

MAX_ITEMS = 1000  # items used for the estimate
SPLITS = 20  # random splits into two halves
FREEDOM = SPLITS // 2  # degrees of freedom of a factor
Halves = list[tuple[np.ndarray, np.ndarray]]
MeasureRows = Callable[[np.ndarray, np.ndarray], Score]  # of row numbers, and of those of all splits, both ascending


def widening_factor(measure: MeasureRows, rows: np.ndarray, seed: int, order: np.ndarray | None = None) -> float:
    """Estimate the factor by which dependence between rows widens the interval of their mean; at least 1.

    measure: computes the score of a subset of items, given their row numbers and those of all items that take part, so that
        work on these can serve every subset.
    rows: (n,) float array, the value of each item when all items are measured.
    order: (n,) row numbers in an order that belongs to the items, such as that of their ids. With it, the factor does not
        depend on the order of the rows.

    The function splits at most 1000 random items into two halves, 20 times. The halves share no items, so the difference of
    their means has the true error of the metric. The variance of the row values within a half gives the error that
    independent rows would have. The factor is the ratio of the two.

    Returns 1 when the rows are independent (their values do not change without the other half), or when a half is too small.
    """
    halves = values_of_halves(measure, rows, random_halves(len(rows), seed, order))
    return 1.0 if halves is None else factor_of(halves)


def random_halves(n: int, seed: int, order: np.ndarray | None = None) -> Halves:
    """Split at most 1000 of n items at random into two halves, 20 times; row numbers of each half, ascending."""
    rng = np.random.default_rng([seed, n])
    items = np.arange(n) if order is None else order
    chosen = items[rng.permutation(n)[:MAX_ITEMS]]
    shuffled = (rng.permutation(chosen) for _ in range(SPLITS))
    return [(np.sort(part[: len(part) // 2]), np.sort(part[len(part) // 2 :])) for part in shuffled]


def values_of_halves(measure: MeasureRows, rows: np.ndarray, halves: Halves) -> Halves | None:
    """The row values of each half, measured without the other half; None when the rows are independent.

    measure, rows: as in widening_factor. The list ends at the first half that is too small for the metric.
    """

    in_halves: Halves = []
    items = np.sort(np.concatenate(halves[0])) if halves else np.empty(0, np.int64)
    with suppress(NotApplicable), single_threaded():  # with so few items, several threads cost more than they save
        for first, second in halves:
            values = _row_values(measure(first, items)), _row_values(measure(second, items))
            if all(_as_before(own, rows[half]) for own, half in zip(values, (first, second), strict=True)):
                return None
            in_halves.append(values)
    return in_halves


def factor_of(values: Halves) -> float:
    """The factor of widening_factor, from the row values of each half."""
    values = [(_defined(first), _defined(second)) for first, second in values]
    values = [both for both in values if min(map(len, both)) > 1]
    squared_differences = [(first.mean() - second.mean()) ** 2 for first, second in values]
    independent = float(np.sum([sum(own.var(ddof=1) / len(own) for own in both) for both in values]))
    if not independent > 0:
        return 1.0
    # The spread is itself an estimate, and the splits reuse the same items: use a t quantile in place of the normal one.
    uncertainty = student(FREEDOM) / student(10**9)
    return max(1.0, uncertainty * sqrt(float(np.sum(squared_differences)) / independent))


def _as_before(own: np.ndarray, rows: np.ndarray) -> bool:
    kept = np.isfinite(own)
    return np.allclose(own[kept], rows[kept], atol=1e-9)


def _defined(rows: np.ndarray) -> np.ndarray:
    """The values that are numbers: an item's value may be undefined without certain other items."""
    return rows if np.isfinite(rows).all() else rows[np.isfinite(rows)]


def _row_values(score: Score) -> np.ndarray:
    if score.rows is None or len(score.rows) < 2:
        raise NotApplicable("no value for each row")
    return score.rows


def widened(interval: tuple[float, float], value: float, factor: float) -> tuple[float, float]:
    """Multiply the distance from the value to each end of the interval by `factor`.

    >>> widened((0.4, 0.7), 0.5, 2)
    (0.30000000000000004, 0.8999999999999999)
    """
    return value - factor * (value - interval[0]), value + factor * (interval[1] - value)

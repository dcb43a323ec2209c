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

MAX_ITEMS = 1000  # items used for the estimate
SPLITS = 20  # random splits into two halves


def widening_factor(
    measure: Callable[[np.ndarray], Score], rows: np.ndarray, seed: int, order: np.ndarray | None = None
) -> float:
    """Estimate the factor by which dependence between rows widens the interval of their mean; at least 1.

    measure: computes the score of a subset of items, given their row numbers in ascending order.
    rows: (n,) float array, the value of each item when all items are measured.
    order: (n,) row numbers in an order that belongs to the items, such as that of their ids. With it, the factor does not
        depend on the order of the rows.

    The function splits at most 1000 random items into two halves, 20 times. The halves share no items, so the difference of
    their means has the true error of the metric. The variance of the row values within a half gives the error that
    independent rows would have. The factor is the ratio of the two.

    Returns 1 when the rows are independent (their values do not change without the other half), or when a half is too small.
    """
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng([seed, len(rows)])
    items = np.arange(len(rows)) if order is None else order
    chosen = items[rng.permutation(len(rows))[:MAX_ITEMS]]
    squared_differences, independent_variances = [], []
    with suppress(NotApplicable), threadpool_limits(1):  # with so few items, several threads cost more than they save
        for _ in range(SPLITS):
            shuffled = rng.permutation(chosen)
            halves = [np.sort(part) for part in (shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :])]
            values = [_row_values(measure(half)) for half in halves]
            if all(np.allclose(own, rows[half], atol=1e-9) for own, half in zip(values, halves, strict=True)):
                return 1.0
            squared_differences.append((values[0].mean() - values[1].mean()) ** 2)
            independent_variances.append(sum(own.var(ddof=1) / len(own) for own in values))
    independent = float(np.sum(independent_variances))
    if not independent > 0:
        return 1.0
    # The spread is itself an estimate, and the splits reuse the same items: use a t quantile in place of the normal one.
    uncertainty = student(SPLITS // 2) / student(10**9)
    return max(1.0, uncertainty * sqrt(float(np.sum(squared_differences)) / independent))


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

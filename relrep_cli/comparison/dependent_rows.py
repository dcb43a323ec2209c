"""How much wider an interval must be because rows share others: the neighbours of one item are those of many."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import sqrt

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.metrics.score import Score
from relrep_cli.numerics.intervals import student

MOST = 1000  # items that say it
SPLITS = 20


def stretch(measure: Callable[[np.ndarray], Score], rows: np.ndarray, seed: int, order: np.ndarray | None = None) -> float:
    """How many times as wide the interval of a mean over rows must be as that of independent rows; at least 1.

    measure: the score of some of the items alone, by their numbers, ascending. rows: (n,) each item's own value among all.
    order: the items' numbers in an order that is theirs, so that the order of rows does not count. Items are dealt into two
    halves, many times over. Halves share nothing, so their difference errs as the metric does; the values of rows within a
    half tell how it would if they were independent. Of more than 1000 items, a random 1000 are dealt. Items whose values
    stay the same without the others are independent, and 1 it is; also where halves are too small.
    """
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng([seed, len(rows)])
    items = np.arange(len(rows)) if order is None else order
    some = items[rng.permutation(len(rows))[:MOST]]
    apart, alone = [], []
    with suppress(NotApplicable), threadpool_limits(1):  # for so few items, threads wait longer for each other than they work
        for _ in range(SPLITS):
            dealt = rng.permutation(some)
            halves = [np.sort(part) for part in (dealt[: len(dealt) // 2], dealt[len(dealt) // 2 :])]
            found = [_rows(measure(half)) for half in halves]
            if all(np.allclose(own, rows[half], atol=1e-9) for own, half in zip(found, halves, strict=True)):
                return 1.0
            apart.append((found[0].mean() - found[1].mean()) ** 2)
            alone.append(sum(own.var(ddof=1) / len(own) for own in found))
    independent = float(np.sum(alone))
    if not independent > 0:
        return 1.0
    unsure = student(SPLITS // 2) / student(10**9)  # the spread is an estimate, and splits of the same items repeat each other
    return max(1.0, unsure * sqrt(float(np.sum(apart)) / independent))


def _rows(score: Score) -> np.ndarray:
    if score.rows is None or len(score.rows) < 2:
        raise NotApplicable("no value for each row")
    return score.rows


def stretched(interval: tuple[float, float], value: float, times: float) -> tuple[float, float]:
    """The interval so many times as wide, each end on its side of the value.

    >>> stretched((0.4, 0.7), 0.5, 2)
    (0.30000000000000004, 0.8999999999999999)
    """
    return value - times * (value - interval[0]), value + times * (interval[1] - value)

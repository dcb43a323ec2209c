"""How far a mean over neighbourhoods may be off: rows share their neighbours, so they are not independent."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np

SPLITS = 20


def depth(k: int, n: int) -> int:
    """How many neighbours to look up so that among a random half of the items k of them remain, all but surely."""
    return min(3 * k + 20, n - 1)


def half_sampled_error(
    a: np.ndarray, b: np.ndarray, k: int, value_of: Callable[[np.ndarray], np.ndarray], seed: int, splits: int = SPLITS
) -> float:
    """The standard error of the mean of value_of(|A_i & B_i|) over items, each with its k nearest in two spaces.

    a, b: (n, depth) row numbers of the nearest in either space, nearest first. The items are dealt into two halves, each
    taken as a collection of its own: halves have no neighbours in common, so half their difference errs as the whole does,
    with all that comes from sharing neighbours. A bootstrap over rows, blind to that, is too narrow by a third; leaving
    out one item at a time is too wide by half.
    """
    rng = np.random.default_rng(seed)
    place = _places(a, b)
    squares = []
    for _ in range(splits):
        first = np.zeros(len(a), bool)
        first[rng.permutation(len(a))[: len(a) // 2]] = True
        means = [float(value_of(_shared(a[half], b[half], place[half], half, k)).mean()) for half in (first, ~first)]
        squares.append(((means[0] - means[1]) / 2) ** 2)
    return sqrt(float(np.mean(squares)))


def _places(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, depth) where in b each neighbour in a stands, -1 for nowhere."""
    order = np.argsort(b, axis=1)
    found = np.full(a.shape, -1)
    for i, (left, right) in enumerate(zip(a, np.take_along_axis(b, order, 1), strict=True)):
        at = np.searchsorted(right, left).clip(max=len(right) - 1)
        found[i] = np.where(right[at] == left, order[i][at], -1)
    return found


def _shared(a: np.ndarray, b: np.ndarray, place: np.ndarray, half: np.ndarray, k: int) -> np.ndarray:
    """(m,) how many of the k nearest within a half both spaces share, for each of its items."""
    near_a, near_b = (half[rows] & (np.cumsum(half[rows], 1) <= k) for rows in (a, b))
    return (near_a & (place >= 0) & np.take_along_axis(near_b, place.clip(min=0), 1)).sum(1)

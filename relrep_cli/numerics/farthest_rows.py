"""Rows that are far from each other: a greedy choice that passes over all rows a few times only.

Distances to the nearest chosen row only shrink. So of a pass, the rows with the largest ones are kept, and the next rows are
chosen among them, as long as one is farther than every row that was not kept. Then another pass brings all rows up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import pick as rows_of
from relrep_cli.numerics.distances import recede
from relrep_cli.numerics.threads import thread_count

BLOCK = 1 << 18  # numbers that stay in a processor's cache while all new rows are compared with them
LEAST, SHARE, ROOM = 1024, 16, 1 << 22  # rows that a pass keeps: at least, one in so many, and numbers of them at most


@dataclass(frozen=True)
class Far:
    """The rows of a pass that are farthest from all chosen rows, (r,) numbers in ascending order with their distances (r,),
    and a bound: no other row is farther."""

    rows: np.ndarray
    gaps: np.ndarray
    bound: float

    @staticmethod
    def of(parts: Sequence[Far]) -> Far:
        """Those of several ranges of rows, which follow each other."""
        rows, gaps = (np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "gaps"))
        return Far(rows, gaps, max(part.bound for part in parts))


Pass = Callable[[np.ndarray], Far]  # all chosen rows so far -> the farthest rows


def farthest(x: np.ndarray, first: int, m: int) -> np.ndarray:
    """(m,) different row numbers of x (n, d): `first`, then always the row farthest (Euclidean) from all before; of equals, the
    first. Squares of entries must not leave the range of the dtype.

    >>> farthest(np.array([[0.0], [1.0], [4.0], [9.0]]), 0, 3).tolist()
    [0, 3, 2]
    """
    return far_apart(lambda rows: rows_of(x, rows), [first], m, _pass_here(x))


def far_apart(take: Callable[[np.ndarray], np.ndarray], known: Sequence[int], m: int, everywhere: Pass) -> np.ndarray:
    """(m,) rows as `farthest` chooses them. take: the vectors of some rows. known: the first of them. everywhere: a pass."""
    chosen = np.empty(m, np.int64)
    chosen[: len(known)], count = known, len(known)
    while count < m:
        far = everywhere(chosen[:count])
        kept, gaps, least = np.ascontiguousarray(take(far.rows)), far.gaps.copy(), -np.inf  # a pass gives at least one row
        while count < m:
            check()
            place = int(np.argmax(gaps))
            if not gaps[place] > least:
                break
            chosen[count], least = far.rows[place], far.bound
            gaps[place] = -1  # nearer than any, so never again
            recede(kept, kept[place : place + 1].copy(), gaps)
            count += 1
    return chosen


def update(x: np.ndarray, picks: np.ndarray, gaps: np.ndarray) -> None:
    """Lower the gaps (n,) of the rows of x (n, d) to their squared distances to the nearest of the picks (p, d)."""
    size = max(1, BLOCK // x.shape[1])
    for start in range(0, len(x), size):
        check()
        block = slice(start, start + size)
        for place in range(len(picks)):
            recede(x[block], picks[place : place + 1], gaps[block])


def farthest_of(gaps: np.ndarray, d: int, start: int = 0) -> Far:
    """The rows with the largest gaps (n,); of equals at the border, the first. start: the number of the first row."""
    n = len(gaps)
    keep = min(n, max(1, min(max(LEAST, n // SHARE), ROOM // d)))
    if keep == n:
        return Far(np.arange(start, start + n), gaps.copy(), -np.inf)
    border = float(np.partition(gaps, n - keep)[n - keep])
    above, equal = np.flatnonzero(gaps > border), np.flatnonzero(gaps == border)
    rows = np.sort(np.concatenate([above, equal[: keep - len(above)]]))
    return Far(rows + start, gaps[rows], border)


def _pass_here(x: np.ndarray) -> Pass:
    """A pass by the threads of this process, which keeps all gaps."""
    size = -(-len(x) // thread_count())
    parts = [slice(start, start + size) for start in range(0, len(x), size)]
    gaps, done = np.full(len(x), np.inf, x.dtype), 0

    def everywhere(chosen: np.ndarray) -> Far:
        nonlocal done
        picks, done = np.ascontiguousarray(x[chosen[done:]]), len(chosen)
        gaps[chosen] = -1
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(lambda part: update(x[part], picks, gaps[part]), parts))
        return farthest_of(gaps, x.shape[1])

    return everywhere

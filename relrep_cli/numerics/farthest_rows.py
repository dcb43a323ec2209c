"""Rows that are far from each other: a greedy choice that passes over all rows a few times only.

Distances to the nearest chosen row only shrink. So of a pass, the rows with the largest ones are kept, and the next rows are
chosen among them, as long as one is farther than every row that was not kept. Then another pass brings all rows up to date.
A pass on a device bounds the distances of all rows by float32 products; those of the rows that it keeps are computed here, as
without a device, so the choice is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import block_rows
from relrep_cli.numerics.blocks import pick as rows_of
from relrep_cli.numerics.devices import NUMPY, KeptBlocks, memory_of, sent, torch_device
from relrep_cli.numerics.devices import chosen as chosen_device
from relrep_cli.numerics.distances import recede
from relrep_cli.numerics.threads import thread_count

BLOCK = 1 << 18  # numbers that stay in a processor's cache while all new rows are compared with them
PASSED = 8  # blocks of rows that a device passes at a time
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


def farthest(x: np.ndarray, first: int, m: int, device: str = NUMPY) -> np.ndarray:
    """(m,) different row numbers of x (n, d): `first`, then always the row farthest (Euclidean) from all before; of equals, the
    first. Squares of entries must not leave the range of the dtype. device: where all rows are passed; see devices.chosen.

    >>> farthest(np.array([[0.0], [1.0], [4.0], [9.0]]), 0, 3).tolist()
    [0, 3, 2]
    """
    here = chosen_device(device) == NUMPY
    return far_apart(lambda rows: rows_of(x, rows), [first], m, _pass_here(x) if here else _pass_on(x, device))


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
    keep = _kept(len(gaps), d)
    rows, border = _largest(gaps, keep)
    return Far(rows + start, gaps[rows], border)


def _kept(n: int, d: int) -> int:
    """How many of n rows a pass keeps."""
    return min(n, max(1, min(max(LEAST, n // SHARE), ROOM // d)))


def _largest(values: np.ndarray, keep: int) -> tuple[np.ndarray, float]:
    """The places of the largest values (n,), ascending; of equals at the border, the first. And the border, which no other
    value exceeds."""
    n = len(values)
    if keep == n:
        return np.arange(n), -np.inf
    border = float(np.partition(values, n - keep)[n - keep])
    above, equal = np.flatnonzero(values > border), np.flatnonzero(values == border)
    return np.sort(np.concatenate([above, equal[: keep - len(above)]])), border


def _pass_here(x: np.ndarray) -> Pass:
    """A pass by the threads of this process, which keeps all gaps."""
    gaps, done = np.full(len(x), np.inf, x.dtype), 0

    def everywhere(chosen: np.ndarray) -> Far:
        nonlocal done
        picks, done = np.ascontiguousarray(x[chosen[done:]]), len(chosen)
        gaps[chosen] = -1
        _update_by_threads(x, picks, gaps)
        return farthest_of(gaps, x.shape[1])

    return everywhere


def _update_by_threads(x: np.ndarray, picks: np.ndarray, gaps: np.ndarray) -> None:
    """`update`, each thread a part of the rows."""
    size = -(-len(x) // thread_count())
    parts = [slice(start, start + size) for start in range(0, len(x), size)]
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(lambda part: update(x[part], picks, gaps[part]), parts))


def _pass_on(x: np.ndarray, device: str) -> Pass:
    """A pass on a device, which keeps a bound for each gap; and the gaps of rows that were among the farthest, up to a pick.

    The roundings of a squared distance by products in float32, and of the gaps themselves, are at most `error` of the squared
    lengths of both rows.
    """
    n, d = x.shape
    middle, error = rows_of(x, np.arange(0, n, -(-n // LEAST))).mean(0, dtype=np.float64), (4 * d + 64) * 2.0**-24
    bounds, gaps, seen, done = np.full(n, np.inf, np.float32), np.full(n, np.inf, x.dtype), np.zeros(n, np.int64), 0

    def prepared(rows: np.ndarray) -> list[np.ndarray]:
        z = (rows - middle).astype(np.float32)
        return [z, (np.einsum("ij,ij->i", z, z, dtype=np.float64) * (1 + error)).astype(np.float32)]

    blocks = KeptBlocks(x, block_rows(d) * PASSED, torch_device(device), prepared)

    def everywhere(chosen: np.ndarray) -> Far:
        nonlocal done
        picks = np.ascontiguousarray(rows_of(x, chosen))
        with memory_of(device, f"{len(picks)} anchors and {blocks.rows} rows take {4 * blocks.rows * len(picks) >> 20} MiB"):
            ((new, lengths),) = sent([prepared(picks[done:])], blocks.on)
            lowest = [lengths.addmm(z, new.T, alpha=-2).amin(1) + own for _, (z, own) in blocks]
            np.minimum(bounds, np.concatenate([part.cpu().numpy() for part in lowest]), out=bounds)
        bounds[chosen], gaps[chosen], done, keep = -np.inf, -1, len(chosen), _kept(n, d)
        while True:
            rows, border = _largest(bounds, keep)
            for count in np.unique(seen[rows]):
                some = rows[seen[rows] == count]
                lowered = gaps[some]
                _update_by_threads(np.ascontiguousarray(rows_of(x, some)), picks[count:], lowered)
                gaps[some], seen[some] = lowered, len(picks)
            if gaps[rows].max() > border or keep == n:
                return Far(rows, gaps[rows], border)
            keep = min(n, 4 * keep)  # rounding hides which row is the farthest

    return everywhere

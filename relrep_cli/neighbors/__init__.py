"""Exact k nearest rows: the only door to faiss.

Searches run in float32; whatever float32 cannot decide is decided in float64. So results equal float64 brute force, ties
broken by (distance, row number), for any number of threads, any block size, and with numba or without.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relrep_cli.blocks import row_blocks, widen
from relrep_cli.errors import UsageError
from relrep_cli.neighbors.frames import By, frame_of, unit_rows
from relrep_cli.neighbors.ranking import ranks
from relrep_cli.neighbors.search import Ordered, ordered


@dataclass(frozen=True)
class Neighbors:
    """rows: (q, k) row numbers, nearest first. tied: queries whose k-th place was a tie."""

    rows: np.ndarray
    tied: int


def nearest(queries: np.ndarray, base: np.ndarray, k: int, *, by: By = "cosine", exclude_self: bool = False) -> Neighbors:
    """The k rows of base (n, d) nearest to each of the queries (q, d), by (distance, row number).

    exclude_self: query i is row i of the base and is left out by its number, since with duplicate rows it need not come
    first. Raises UsageError when the base has too few rows for k.
    """
    room = len(base) - bool(exclude_self)
    if k > room:
        raise UsageError(f"--k {k} neighbours need more than {len(base)} items; write --k {max(room, 1)} or less.")
    found = ordered(frame_of(by, queries, base), queries, base, k + bool(exclude_self))
    return _first(found, k, np.arange(len(queries)) if exclude_self else None)


def _first(found: Ordered, k: int, own: np.ndarray | None) -> Neighbors:
    """The first k places, without the rows `own` (q,)."""
    if own is None:
        return Neighbors(found.rows[:, :k], int(found.equal[:, k - 1].sum()))
    mine = found.rows[:, : k + 1] == own[:, None]
    at = np.where(mine.any(1), mine.argmax(1), k + 1)[:, None]
    places = np.arange(k) + (np.arange(k) >= at)
    after = found.equal[:, k]  # whether places k and k + 1, counted from 0, are as near as each other
    before = found.equal[:, k - 1]
    tied = np.where(at[:, 0] < k, after, before & (after | (at[:, 0] > k)))
    return Neighbors(np.take_along_axis(found.rows, places, 1), int(tied.sum()))


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) how many row numbers the sets a[i] and b[i] share; a and b are (n, k) without repeats within a row."""
    out = np.empty(len(a), np.int64)
    for block in row_blocks(len(a), a.shape[1] * b.shape[1]):
        out[block] = (a[block][:, :, None] == b[block][:, None, :]).sum((1, 2))
    return out


__all__ = ["By", "Neighbors", "nearest", "overlap", "ranks", "unit_rows", "widen"]

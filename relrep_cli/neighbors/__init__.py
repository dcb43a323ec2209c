"""Exact k-nearest-neighbour search. Only this package imports faiss.

Searches run in float32, and comparisons that float32 cannot decide are repeated in float64. So results equal a float64
brute-force search with ties broken by row number, for any number of threads, any block size, and with or without numba.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.neighbors.approximate import Found, Index, find
from relrep_cli.neighbors.frames import By, frame_of
from relrep_cli.neighbors.ranking import Midranks, midranks_of_nearest, nearest_targets, ranks
from relrep_cli.numerics.blocks import row_blocks, take, widen
from relrep_cli.numerics.distances import unit_rows
from relrep_cli.numerics.workspace import UNSHARED, Workspace

SAMPLED, SPARE = 3, 24  # neighbours searched for in a sample, for each of a half of it, and more


@dataclass(frozen=True)
class Neighbors:
    """The result of a search.

    rows: (q, k) row numbers, nearest first. tied: number of queries with a tie at the k-th place. index: the index used; it is
    `exact` when an approximate index would not save time. recall: measured share of the true neighbours that were found.
    """

    rows: np.ndarray
    tied: int
    index: Index = "exact"
    recall: float = 1.0


def nearest(
    queries: np.ndarray,
    base: np.ndarray,
    k: int,
    *,
    by: By = "cosine",
    exclude_self: bool = False,
    index: Index = "exact",
    rows: np.ndarray | None = None,
    workspace: Workspace = UNSHARED,
) -> Neighbors:
    """Find the k rows of base (n, d) nearest to each query (q, d), ordered by distance, then by row number.

    exclude_self: query i is row i of the base, and is excluded by its number; with duplicate rows it need not come first.
    index: "exact", or an approximate index, whose recall is measured; see approximate.py. rows: (s,) numbers of the queries to
    search for; None for all. workspace: where searches are shared.

    Raises UsageError when the base has too few rows for k.
    """
    room = len(base) - bool(exclude_self)
    if k > room:
        needed, there = k + bool(exclude_self), len(base)
        raise UsageError(f"--k {k} takes {needed} items, there are {there}", f"Write --k {max(room, 1)} or less.")
    depth = k + bool(exclude_self)
    if workspace.neighbours:
        depth = min(max(depth, workspace.neighbours + 1), len(base))  # one more, because a task may exclude the query's own row
    own = (np.arange(len(queries)) if rows is None else rows) if exclude_self else None

    def search() -> Neighbors:
        return _first(_search(queries, base, depth, by, index, rows, workspace), k, own)

    if queries is base and rows is None and index == "exact" and workspace.subset(base) is not None:
        return _once_in_run(base, k, (by, exclude_self), workspace, search)
    return search()


def _once_in_run(
    subset: np.ndarray, k: int, how: tuple[By, bool], workspace: Workspace, search: Callable[[], Neighbors]
) -> Neighbors:
    """The neighbours within a subset of a space, which serve every pair of the run that has the same subset of this space."""
    what, shape, small = ("first", *how, k), (len(subset) * k + 1,), np.int16 if len(subset) < 1 << 15 else np.int32
    known = workspace.space_array(subset, what, shape, small)
    if known is None:
        own = search()
        workspace.put_space_array(subset, what, np.append(own.rows.ravel(), own.tied).astype(small))
        return own
    return Neighbors(known[:-1].reshape(-1, k).astype(np.int64), int(known[-1]))


def _search(
    queries: np.ndarray, base: np.ndarray, depth: int, by: By, index: Index, rows: np.ndarray | None, workspace: Workspace
) -> Found:
    """The `depth` nearest rows of each query, the query's own row included."""
    arguments = (queries, base, depth, by, index, rows)
    within = queries is base  # two equal spaces with one content key are searched as two spaces
    return workspace.once("nearest", (*arguments, within), lambda: _new_search(*arguments, workspace))


def _new_search(
    queries: np.ndarray, base: np.ndarray, depth: int, by: By, index: Index, rows: np.ndarray | None, workspace: Workspace
) -> Found:
    """Find neighbours that the workspace does not hold: by a permuted search, by arrays kept for the space, or by searching."""
    if rows is None and (known := _permuted(queries, base, depth, by, index, workspace)):
        return known
    if rows is None and (known := _within_sample(queries, base, depth, by, workspace)):
        return known
    own = None if queries is not base else np.arange(len(base)) if rows is None else rows
    whole = own is not None and rows is None and index == "exact"
    what = ("nearest", by, depth)
    if whole and (cached := workspace.space_array(base, what, (len(base), depth), np.int64)) is not None:
        return Found(np.where(cached < 0, ~cached, cached), cached < 0)
    chosen = queries if rows is None else take(queries, rows)
    lists = find(index, frame_of(by, queries, base), chosen, base, depth, own, workspace.device)
    if whole:
        workspace.put_space_array(base, what, np.where(lists.equal, ~lists.rows, lists.rows))
    return lists


def _permuted(queries: np.ndarray, base: np.ndarray, depth: int, by: By, index: Index, workspace: Workspace) -> Found | None:
    """Derive the result from a search on the unpermuted matrices; None when there is none, or a tie depended on row numbers."""
    (q, order), (b, numbers) = workspace.origin(queries), workspace.origin(base)
    if workspace.outer is None or (order is None and numbers is None):
        return None
    lists = _search(q, b, depth, by, index, None, workspace.outer)
    if lists.equal.any():
        return None
    rows = lists.rows if numbers is None else np.argsort(numbers)[lists.rows]
    return replace(lists, rows=rows if order is None else rows[order])


def _within_sample(queries: np.ndarray, base: np.ndarray, depth: int, by: By, workspace: Workspace) -> Found | None:
    """Derive the result from one search in the sample that both are subsets of; None when there is none, or it ends too soon.

    Neighbours in the sample stand in order, so those that are in the subset do, too.
    """
    q, b = workspace.subset(queries), workspace.subset(base)
    if q is None or b is None:
        return None
    reach = min(len(b.whole), 1 << (SAMPLED * depth + SPARE - 1).bit_length())
    lists = _search(q.whole, b.whole, reach, by, "exact", None, b.workspace)
    place = np.full(len(b.whole), -1)
    place[b.rows] = np.arange(len(b.rows))
    rows, wanted = place[lists.rows[q.rows]], min(depth + 1, len(b.rows))
    kept = rows >= 0
    count = np.cumsum(kept, 1, np.int16)
    if (count[:, -1] < wanted).any():
        return None
    kept &= count <= wanted
    equal = np.zeros((len(rows), wanted), bool)
    if lists.equal.any():
        apart = np.cumsum(~lists.equal[q.rows], 1) - ~lists.equal[q.rows]  # places with the same number are equally near
        near = apart[kept].reshape(-1, wanted)
        equal[:, :-1] = near[:, 1:] == near[:, :-1]
    return Found(rows[kept].reshape(-1, wanted)[:, :depth], equal[:, :depth])


def _first(lists: Found, k: int, own: np.ndarray | None) -> Neighbors:
    """The first k places, after removing the row own[i] from the result of query i."""
    if own is None:
        return Neighbors(lists.rows[:, :k], int(lists.equal[:, k - 1].sum()), lists.index, lists.recall)
    mine = lists.rows[:, : k + 1] == own[:, None]
    at = np.where(mine.any(1), mine.argmax(1), k + 1)[:, None]
    places = np.arange(k) + (np.arange(k) >= at)
    after = lists.equal[:, k]  # whether places k and k + 1, counted from 0, are equally near
    before = lists.equal[:, k - 1]
    tied = np.where(at[:, 0] < k, after, before & (after | (at[:, 0] > k)))
    return Neighbors(np.take_along_axis(lists.rows, places, 1), int(tied.sum()), lists.index, lists.recall)


def nearest_and_ranks(queries: np.ndarray, base: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the k rows of base (n, d) nearest to query i by cosine, without row i, and the rank of row i among all rows.

    Both are those of `nearest` and `ranks`. The list of the nearest holds most of the ranks; only the others take another pass.

    Returns (q, k) row numbers and (q,) ranks. Raises UsageError when the base has too few rows for k.
    """
    lists = nearest(queries, base, k + 1).rows
    mine = lists == np.arange(len(queries))[:, None]
    ranked, missing = mine.argmax(1) + 1, np.flatnonzero(~mine.any(1))
    if len(missing):
        ranked[missing] = ranks(queries, base, rows=missing)
    others = np.arange(k) + (np.arange(k) >= np.where(mine.any(1), mine.argmax(1), k)[:, None])
    return np.take_along_axis(lists, others, 1), ranked


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Count the row numbers that the sets a[i] and b[i] share. a, b: (n, k), without repeats within a row. Returns (n,)."""
    out = np.empty(len(a), np.int64)
    for block in row_blocks(len(a), a.shape[1] * b.shape[1]):
        out[block] = (a[block][:, :, None] == b[block][:, None, :]).sum((1, 2))
    return out


__all__ = [
    "By",
    "Index",
    "Midranks",
    "Neighbors",
    "midranks_of_nearest",
    "nearest",
    "nearest_and_ranks",
    "nearest_targets",
    "overlap",
    "ranks",
    "unit_rows",
    "widen",
]

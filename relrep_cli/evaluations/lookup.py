"""The nearest or farthest items of a few others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.embedding import Embedding
from relrep_cli.evaluations.base import distances
from relrep_cli.neighbors import By, nearest
from relrep_cli.numerics.blocks import row_blocks, take


@dataclass(frozen=True, eq=False)
class Looked:
    """rows, distances: (q, k) row numbers of the items found, best first, and how far each is from its query."""

    rows: np.ndarray
    distances: np.ndarray


def look_up(e: Embedding, queries: np.ndarray, among: np.ndarray, k: int, by: By, farthest: bool) -> Looked:
    """The k items nearest to, or farthest from, each query (q,), by (distance, row number); never the query itself.

    queries, among: row numbers of e. Raises UsageError when there are too few items for k.
    """
    room = len(among) - int(np.isin(queries, among).any())
    if not room:
        raise UsageError(
            "the query is the only item to look among, so it has no neighbours", "Look among more items.", file=e.uri
        )
    if k > room:
        raise UsageError(f"-k {k} items need more than the {len(among)} there are to look among", f"Write -k {room} or less.")
    x, base = take(e.x, queries), take(e.x, among)
    depth = min(k + 1, len(among))
    found = _farthest(x, base, depth, by) if farthest else nearest(x, base, depth, by=by).rows
    rows = _without(among[found], queries, k)
    return Looked(rows, distances(x, e.x, rows, by))


def _without(rows: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The first k places of rows (q, k + 1), the query itself left out."""
    kept = np.argsort(rows == queries[:, None], axis=1, kind="stable")
    return np.take_along_axis(rows, kept, 1)[:, :k]


def _farthest(x: np.ndarray, base: np.ndarray, k: int, by: By) -> np.ndarray:
    """(q, k) the rows of base farthest from each of x (q, d); by cosine, those nearest to -x."""
    if by == "cosine":
        return nearest(-np.asarray(x, np.float64), base, k, by=by).rows
    rows, far = np.empty((len(x), 0), np.int64), np.empty((len(x), 0))
    for block in row_blocks(len(base), len(x) * x.shape[1]):
        new = np.broadcast_to(np.arange(block.start, block.stop), (len(x), block.stop - block.start))
        rows = np.concatenate([rows, new], 1)
        far = np.concatenate([far, distances(x, base, new, by)], 1)
        best = np.argsort(-far, axis=1, kind="stable")[:, :k]  # rows are in order, so that equal ones stay so
        rows, far = np.take_along_axis(rows, best, 1), np.take_along_axis(far, best, 1)
    return rows

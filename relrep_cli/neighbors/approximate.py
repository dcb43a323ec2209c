"""Approximate search with measured recall: an inverted file (IVF) or a graph (HNSW).

Recall is measured by exact searches for a sample of the queries. While it is below the target, the search effort is increased.
When that would no longer save time, the search is exact instead. Both indexes hold the rows in memory.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.neighbors.frames import Frame
from relrep_cli.neighbors.search import Ordered, descending, known, ordered, place
from relrep_cli.numerics.blocks import block_rows, pick, slices

Index = Literal["exact", "ivf", "hnsw"]
TARGET_RECALL, RECALL_QUERIES = 0.99, 200  # recall to reach, and number of queries that it is measured on
MIN_ROWS = 10_000  # with fewer rows, an index costs more than it saves
POINTS, ROUNDS = 40, 4  # training rows per IVF list, and k-means iterations: larger values raise the recall by only 0.003
QUERIES = 4096  # queries searched at a time, so that signals are handled soon


@dataclass(frozen=True)
class Found(Ordered):
    """Ordered neighbours, the index that found them, and its measured recall (1 for exact)."""

    index: Index = "exact"
    recall: float = 1.0


def find(
    index: Index,
    frame: Frame,
    queries: np.ndarray,
    base: np.ndarray,
    depth: int,
    own: np.ndarray | None,
    device: str = "cpu",
) -> Found:
    """Find the `depth` nearest rows of base (n, d) to each query (q, d) with the given index.

    own: (q,) base row of each query, or None. Own rows are always found, so they do not count for the recall. device: of an
    exact search.
    """
    if index == "exact" or len(base) < MIN_ROWS or len(queries) <= RECALL_QUERIES:
        exact = ordered(frame, queries, base, depth, device=device)
        return Found(exact.rows, exact.equal)
    rng = np.random.default_rng(0)
    sample = np.sort(rng.choice(len(queries), RECALL_QUERIES, replace=False))
    sampled = pick(queries, sample)
    wanted = ordered(frame, sampled, base, depth).rows
    built, reach = (_ivf if index == "ivf" else _hnsw)(frame, base, rng)
    for effort in _efforts(built, depth):
        _set_effort(built, effort)
        approximate = _look(built, frame, sampled, base, depth, reach).rows
        recall = _recall(approximate, wanted, None if own is None else own[sample])
        if recall >= TARGET_RECALL:
            looked_up = _look(built, frame, queries, base, depth, reach)
            return Found(looked_up.rows, looked_up.equal, index, recall)
    del built
    exact = ordered(frame, queries, base, depth)
    return Found(exact.rows, exact.equal)


def _ivf(frame: Frame, base: np.ndarray, rng: np.random.Generator) -> tuple[Any, float]:
    import faiss

    lists = int(4 * len(base) ** 0.5)
    index: Any = faiss.index_factory(base.shape[1], f"IVF{lists},Flat", _metric(frame))
    index.cp.max_points_per_centroid, index.cp.niter = POINTS, ROUNDS
    index.cp.min_points_per_centroid = 1  # otherwise faiss warns on stderr
    some = np.sort(rng.choice(len(base), min(len(base), POINTS * lists), replace=False))
    index.train(frame.single(frame.double(pick(base, some))))
    return index, _add(index, frame, base)


def _hnsw(frame: Frame, base: np.ndarray, rng: np.random.Generator) -> tuple[Any, float]:
    import faiss

    index = faiss.IndexHNSWFlat(base.shape[1], 16, _metric(frame))
    return index, _add(index, frame, base)


def _metric(frame: Frame) -> int:
    import faiss

    return faiss.METRIC_INNER_PRODUCT if frame.center is None else faiss.METRIC_L2


def _add(index: Any, frame: Frame, base: np.ndarray) -> float:
    """Add all rows, and return the largest |b|^2."""
    reach = 0.0
    for block in slices(len(base), block_rows(base.shape[1]), base):
        part = frame.single(frame.double(base[block]))
        reach = max(reach, float(np.einsum("ij,ij->i", part, part).max()))
        index.add(part)
    return reach


def _efforts(index: Any, depth: int) -> list[int]:
    """The search efforts to try: IVF lists to probe, at most an eighth of them, or the width of the search in a graph."""
    if hasattr(index, "nprobe"):
        return [p for p in (8, 16, 32, 64, 128) if p <= index.nlist // 8]
    return [depth * 2**step for step in range(1, 5)]


def _set_effort(index: Any, effort: int) -> None:
    if hasattr(index, "nprobe"):
        index.nprobe = effort
    else:
        index.hnsw.efSearch = effort


def _look(index: Any, frame: Frame, queries: np.ndarray, base: np.ndarray, depth: int, reach: float) -> Ordered:
    """Search the index and order the result exactly; queries with too few results are searched exactly."""
    out = Ordered(np.empty((len(queries), depth), np.int64), np.empty((len(queries), depth), bool))
    sign = 1 if frame.center is None else -1
    for part in slices(len(queries), QUERIES, queries):
        close, rows = index.search(frame.single(frame.double(queries[part])), min(depth + 1, len(base)))
        near, rows = descending(np.where(rows < 0, -np.inf, sign * close), rows)
        ordered_lists, _ = place(frame, queries, base, depth, known(frame, queries, part, near, rows, reach))
        few = np.flatnonzero(ordered_lists.rows[:, -1] < 0)
        if len(few):
            exact = ordered(frame, pick(queries[part], few), base, depth)
            ordered_lists.rows[few], ordered_lists.equal[few] = exact.rows, exact.equal
        out.rows[part], out.equal[part] = ordered_lists.rows, ordered_lists.equal
    return out


def _recall(lists: np.ndarray, wanted: np.ndarray, own: np.ndarray | None) -> float:
    """The share of the rows `wanted` (q, depth) that were found, the queries' own rows aside."""
    if own is not None:
        wanted = np.where(wanted == own[:, None], -1, wanted)
    hits = (wanted[:, :, None] == lists[:, None, :]).any(2) & (wanted >= 0)
    return float(hits.sum() / max(1, (wanted >= 0).sum()))

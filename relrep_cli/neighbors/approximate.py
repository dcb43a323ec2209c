"""Searches that may miss a neighbour, and say how often: an inverted file (IVF) or a graph (HNSW).

Recall is measured on exact searches for some of the queries. While it is below what is promised, more of the index is
looked at; past the point where that saves anything, the search is exact after all. Both indexes hold the rows in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from relrep_cli.neighbors.frames import Frame
from relrep_cli.neighbors.search import Ordered, descending, known, ordered, place
from relrep_cli.numerics.blocks import block_rows, pick, slices

Index = Literal["exact", "ivf", "hnsw"]
PROMISED, ASKED = 0.99, 200  # recall, and queries that it is measured on
FEWEST = 10_000  # rows; for fewer an index costs more than it saves
POINTS, ROUNDS = 40, 4  # training rows for each list of an IVF, and rounds of k-means: more raise the recall by 0.003
QUERIES = 4096  # at a time, so that a signal never waits long


@dataclass(frozen=True)
class Found(Ordered):
    """Ordered neighbours, the index that found them, and the recall measured on it (exact: 1)."""

    index: Index = "exact"
    recall: float = 1.0


def find(index: Index, frame: Frame, queries: np.ndarray, base: np.ndarray, depth: int, own: np.ndarray | None) -> Found:
    """The `depth` nearest rows of base (n, d) to each query (q, d), as far as the index finds them.

    own: (q,) the base rows that the queries are, which do not count for recall since they are found too easily.
    """
    if index == "exact" or len(base) < FEWEST or len(queries) <= ASKED:
        exact = ordered(frame, queries, base, depth)
        return Found(exact.rows, exact.equal)
    rng = np.random.default_rng(0)
    some = np.sort(rng.choice(len(queries), ASKED, replace=False))
    asked = pick(queries, some)
    wanted = ordered(frame, asked, base, depth).rows
    built, reach = (_ivf if index == "ivf" else _hnsw)(frame, base, rng)
    for effort in _efforts(built, depth):
        _set_effort(built, effort)
        recall = _recall(_look(built, frame, asked, base, depth, reach).rows, wanted, None if own is None else own[some])
        if recall >= PROMISED:
            found = _look(built, frame, queries, base, depth, reach)
            return Found(found.rows, found.equal, index, recall)
    del built
    exact = ordered(frame, queries, base, depth)
    return Found(exact.rows, exact.equal)


def _ivf(frame: Frame, base: np.ndarray, rng: np.random.Generator) -> tuple[Any, float]:
    import faiss

    lists = int(4 * len(base) ** 0.5)
    index: Any = faiss.index_factory(base.shape[1], f"IVF{lists},Flat", _metric(frame))
    index.cp.max_points_per_centroid, index.cp.niter = POINTS, ROUNDS
    index.cp.min_points_per_centroid = 1  # it would say on stderr that it wants more
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
    """What to try: lists of an IVF to look into, up to an eighth of them, or the width of the search in a graph."""
    if hasattr(index, "nprobe"):
        return [p for p in (8, 16, 32, 64, 128) if p <= index.nlist // 8]
    return [depth * 2**step for step in range(1, 5)]


def _set_effort(index: Any, effort: int) -> None:
    if hasattr(index, "nprobe"):
        index.nprobe = effort
    else:
        index.hnsw.efSearch = effort


def _look(index: Any, frame: Frame, queries: np.ndarray, base: np.ndarray, depth: int, reach: float) -> Ordered:
    """What the index finds, ordered exactly; queries for which it finds too few rows are searched exactly."""
    out = Ordered(np.empty((len(queries), depth), np.int64), np.empty((len(queries), depth), bool))
    sign = 1 if frame.center is None else -1
    for part in slices(len(queries), QUERIES, queries):
        close, rows = index.search(frame.single(frame.double(queries[part])), min(depth + 1, len(base)))
        near, rows = descending(np.where(rows < 0, -np.inf, sign * close), rows)
        found, _ = place(frame, queries, base, depth, known(frame, queries, part, near, rows, reach))
        few = np.flatnonzero(found.rows[:, -1] < 0)
        if len(few):
            exact = ordered(frame, pick(queries[part], few), base, depth)
            found.rows[few], found.equal[few] = exact.rows, exact.equal
        out.rows[part], out.equal[part] = found.rows, found.equal
    return out


def _recall(found: np.ndarray, wanted: np.ndarray, own: np.ndarray | None) -> float:
    """The share of the rows `wanted` (q, depth) that were found, the queries' own rows aside."""
    if own is not None:
        wanted = np.where(wanted == own[:, None], -1, wanted)
    hits = (wanted[:, :, None] == found[:, None, :]).any(2) & (wanted >= 0)
    return float(hits.sum() / max(1, (wanted >= 0).sum()))

"""Exact k nearest rows: the only door to faiss.

faiss searches in float32; whatever float32 cannot decide is decided in float64 here. A neighbour set is taken from faiss
only when the gap behind the k-th neighbour is wider than the rounding of all that came before it, so results equal
float64 brute force, ties broken by (distance, row number), for any number of threads and any block size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from relrep_cli.blocks import block_rows, row_blocks, widen
from relrep_cli.errors import UsageError
from relrep_cli.signals import check

By = Literal["cosine", "euclidean"]
SPARE = 8  # candidates beyond k
WIDE = 160
CALL = 4e10  # multiply-adds in one call of faiss: below a second, so that a signal never waits long
UNIT = 2.0**-24  # rounding unit of float32


@dataclass(frozen=True)
class Neighbors:
    """rows: (q, k) row numbers of the nearest, an unordered set per query. tied: queries whose k-th place was a tie."""

    rows: np.ndarray
    tied: int


@dataclass(frozen=True)
class _Frame:
    """How rows become vectors whose inner product or distance is compared: unit length, or centred in float64."""

    by: By
    center: np.ndarray

    def double(self, x: np.ndarray) -> np.ndarray:
        wide = np.asarray(x, np.float64)
        if self.by == "euclidean":
            return wide - self.center
        return unit_rows(wide)

    def single(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self.double(x), np.float32)

    def closeness(self, q: np.ndarray, base: np.ndarray) -> np.ndarray:
        """(q, c) float64 closeness (higher is nearer) of q (q, d) to base (q, c, d): the same bits for equal rows."""
        if self.by == "cosine":
            return np.einsum("qd,qcd->qc", q, base)
        apart = base - q[:, None, :]
        return -np.einsum("qcd,qcd->qc", apart, apart)


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows of float (n, d) scaled to length 1; zero rows stay zero, and no square over- or underflows."""
    peak = np.abs(x).max(1, keepdims=True)
    scaled = x / np.where(peak == 0, 1, peak)
    norm = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    return scaled / np.where(norm == 0, 1, norm)


def nearest(queries: np.ndarray, base: np.ndarray, k: int, *, by: By = "cosine", exclude_self: bool = False) -> Neighbors:
    """The k rows of base (n, d) nearest to each of the queries (q, d).

    exclude_self: query i is row i of the base and is left out by its number, since with duplicate rows it need not come
    first. Raises UsageError when the base has too few rows for k.
    """
    room = len(base) - bool(exclude_self)
    if k > room:
        raise UsageError(f"--k {k} neighbours need more than {len(base)} items; write --k {max(room, 1)} or less.")
    frame = _Frame(by, _center(base) if by == "euclidean" else np.empty(0))
    rows, tied = np.empty((len(queries), k), np.int64), 0
    step = _query_rows(base)
    for start in range(0, len(queries), step):
        own = np.arange(start, min(start + step, len(queries)))
        rows[own], ties = _search(frame, queries[own[0] : own[-1] + 1], base, k, own if exclude_self else None)
        tied += ties
    return Neighbors(rows, tied)


def _center(base: np.ndarray) -> np.ndarray:
    total = np.zeros(base.shape[1])
    for block in row_blocks(*base.shape):
        total += base[block].sum(0, dtype=np.float64)
    return total / len(base)


def _base_rows(d: int) -> int:
    return block_rows(d) * 8


def _query_rows(base: np.ndarray) -> int:
    per_query = min(len(base), _base_rows(base.shape[1])) * base.shape[1]
    return int(np.clip(CALL // per_query, 256, 8192))


def _search(frame: _Frame, queries: np.ndarray, base: np.ndarray, k: int, own: np.ndarray | None) -> tuple[np.ndarray, int]:
    q = frame.double(queries)
    near, rows, slack = _candidates(frame, q, base, min(k + SPARE + (own is not None), len(base)), own)
    unsure = near[:, k - 1] - near[:, k] <= 2 * slack if near.shape[1] > k else np.zeros(len(q), bool)
    ties, todo = 0, np.flatnonzero(unsure)
    if near.shape[1] < k:  # cannot happen: k was checked against the base
        raise RuntimeError("too few candidates")
    chosen = rows[:, :k].copy()
    for part in np.array_split(todo, max(1, len(todo) * near.shape[1] * q.shape[1] * 8 // (32 << 20))):
        check()
        left = _settle(frame, q, base, k, part, near, rows, slack, chosen)
        ties += left.ties
        if len(left.rows):
            ties += _widen(frame, q, base, k, left.rows, own, chosen)
    return chosen, ties


@dataclass(frozen=True)
class _Left:
    rows: np.ndarray
    ties: int


def _settle(
    frame: _Frame,
    q: np.ndarray,
    base: np.ndarray,
    k: int,
    part: np.ndarray,
    near: np.ndarray,
    rows: np.ndarray,
    slack: np.ndarray,
    chosen: np.ndarray,
) -> _Left:
    """Decide the queries `part` among their candidates in float64; give back those that the candidates cannot decide."""
    if not len(part):
        return _Left(part, 0)
    valid = rows[part] >= 0
    exact = frame.closeness(
        q[part], frame.double(base[np.maximum(rows[part], 0)].reshape(-1, q.shape[1])).reshape(len(part), -1, q.shape[1])
    )
    exact = np.where(valid, exact, -np.inf)
    order = np.lexsort((rows[part], -exact), axis=1)
    exact, ranked = np.take_along_axis(exact, order, 1), np.take_along_axis(rows[part], order, 1)
    complete = ~np.isfinite(near[part, -1]) | (near.shape[1] == len(base))
    decided = complete | (exact[:, k - 1] > near[part, -1] + slack[part])
    chosen[part[decided]] = ranked[decided, :k]
    ties = exact[decided, k - 1] == exact[decided, k] if exact.shape[1] > k else np.zeros(0, bool)
    return _Left(part[~decided], int(ties.sum()))


def _widen(
    frame: _Frame, q: np.ndarray, base: np.ndarray, k: int, part: np.ndarray, own: np.ndarray | None, chosen: np.ndarray
) -> int:
    """Queries with more near-ties than candidates: search wider, then compare with every row in float64."""
    ties = 0
    wide = min(k + WIDE, len(base))
    near, rows, slack = _candidates(frame, q[part], base, wide, None if own is None else own[part])
    found = chosen[part]
    left = np.empty(0, int)
    for some in np.array_split(np.arange(len(part)), max(1, len(part) * wide * q.shape[1] * 8 // (32 << 20))):
        outcome = _settle(frame, q[part], base, k, some, near, rows, slack, found)
        ties += outcome.ties
        left = np.concatenate([left, outcome.rows])
    for i in left:
        check()
        exact = np.concatenate(
            [frame.closeness(q[part[i]][None], frame.double(base[b])[None])[0] for b in row_blocks(*base.shape)]
        )
        if own is not None:
            exact[own[part[i]]] = -np.inf
        order = np.lexsort((np.arange(len(exact)), -exact))
        found[i] = order[:k]
        ties += bool(len(order) > k and exact[order[k - 1]] == exact[order[k]])
    chosen[part] = found
    return ties


def _candidates(
    frame: _Frame, q: np.ndarray, base: np.ndarray, c: int, own: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The c nearest by float32: closeness (q, c) descending, row numbers, and (q,) how far float32 may err.

    A query's own row gets closeness -inf and moves to the end, as do places that no row fills (row number -1).
    """
    import faiss

    metric = faiss.METRIC_INNER_PRODUCT if frame.by == "cosine" else faiss.METRIC_L2
    sign, single = (1 if frame.by == "cosine" else -1), np.ascontiguousarray(q, np.float32)
    near, rows, reach = np.empty((len(q), 0), np.float32), np.empty((len(q), 0), np.int64), 1.0
    for block in row_blocks_of(len(base), _base_rows(base.shape[1])):
        part = frame.single(base[block])
        if frame.by == "euclidean":
            reach = max(reach, float(np.einsum("ij,ij->i", part, part).max()))
        close, at = faiss.knn(single, part, min(c, len(part)), metric=metric)
        near, rows = _merge(near, rows, sign * close, np.where(at >= 0, at + block.start, -1), c)
    near = np.where(rows < 0, -np.inf, near.astype(np.float64))
    if own is not None:
        near = np.where(rows == own[:, None], -np.inf, near)
        rows = np.where(rows == own[:, None], -1, rows)
        order = np.argsort(-near, axis=1, kind="stable")
        near, rows = np.take_along_axis(near, order, 1), np.take_along_axis(rows, order, 1)
        complete = near.shape[1] == len(base)
        if not complete and near.shape[1] > 1:
            near, rows = _drop_last(near, rows)
    scale = 1.0 if frame.by == "cosine" else np.einsum("ij,ij->i", q, q) + reach
    return near, rows, np.broadcast_to((2 * q.shape[1] + 16) * UNIT * scale, (len(q),))


def _drop_last(near: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One candidate fewer, so that the last column is a real bound whether or not the own row was among them."""
    return near[:, :-1], rows[:, :-1]


def row_blocks_of(n: int, rows: int) -> list[slice]:
    """Consecutive slices of at most `rows` rows."""
    return [slice(s, min(s + rows, n)) for s in range(0, n, rows)]


def _merge(near: np.ndarray, rows: np.ndarray, close: np.ndarray, at: np.ndarray, c: int) -> tuple[np.ndarray, np.ndarray]:
    if not near.shape[1]:
        return close, at
    near, rows = np.concatenate([near, close], 1), np.concatenate([rows, at], 1)
    order = np.argsort(-near, axis=1, kind="stable")[:, :c]
    return np.take_along_axis(near, order, 1), np.take_along_axis(rows, order, 1)


def ranks(queries: np.ndarray, base: np.ndarray, *, by: By = "cosine") -> np.ndarray:
    """(n,) the rank, from 1, of base row i among all rows of base (n, d) seen from query i; ties by row number.

    float32 products decide all pairs but those closer than its rounding, which are compared in float64.
    """
    frame = _Frame(by, _center(base) if by == "euclidean" else np.empty(0))
    out = np.empty(len(queries), np.int64)
    for block in row_blocks(*queries.shape):
        q = frame.double(queries[block])
        own = np.arange(block.start, block.stop)
        mine = frame.closeness(q, frame.double(base[block])[:, None, :])[:, 0]
        out[block] = 1 + sum(_ahead(frame, q, mine, own, base, b) for b in row_blocks(*base.shape))
    return out


def _ahead(frame: _Frame, q: np.ndarray, mine: np.ndarray, own: np.ndarray, base: np.ndarray, block: slice) -> np.ndarray:
    """(q,) how many rows of this base block are nearer to each query than its own row."""
    part = frame.double(base[block])
    close = q.astype(np.float32) @ part.astype(np.float32).T
    size = 1.0
    if frame.by == "euclidean":
        nq, nb = np.einsum("ij,ij->i", q, q), np.einsum("ij,ij->i", part, part)
        close = 2 * close - nb.astype(np.float32) - nq.astype(np.float32)[:, None]
        size = float(nq.max() + nb.max())
    slack = (2 * q.shape[1] + 16) * UNIT * size
    ahead = (close > (mine + slack)[:, None]).sum(1)
    unsure = np.nonzero(np.abs(close - mine[:, None]) <= slack)
    for rows, cols in zip(*(np.array_split(u, 1 + len(u) * q.shape[1] * 16 // (64 << 20)) for u in unsure), strict=True):
        exact = frame.closeness(q[rows], part[cols][:, None, :])[:, 0]
        number = cols + block.start
        nearer = (exact > mine[rows]) | ((exact == mine[rows]) & (number < own[rows]))
        np.add.at(ahead, rows[nearer & (number != own[rows])], 1)
    return ahead


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) how many row numbers the sets a[i] and b[i] share; a and b are (n, k) without repeats within a row."""
    out = np.empty(len(a), np.int64)
    for block in row_blocks(len(a), a.shape[1] * b.shape[1]):
        out[block] = (a[block][:, :, None] == b[block][:, None, :]).sum((1, 2))
    return out


__all__ = ["By", "Neighbors", "nearest", "overlap", "ranks", "unit_rows", "widen"]

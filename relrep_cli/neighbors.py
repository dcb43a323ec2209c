"""Exact k nearest rows: the only door to faiss.

faiss searches in float32; whatever float32 cannot decide is decided in float64 here. A neighbour set is taken from faiss
only when the gap behind the k-th neighbour is wider than the rounding of all that came before it, so results equal
float64 brute force, ties broken by (distance, row number), for any number of threads and any block size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import frexp
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
PEAK = 50  # squares of 2^50 leave room in float32 on both sides
SAMPLE = 256  # rows, at even steps, that say where the data lie
FAR = 0.75  # squared length of the mean unit row above which cosines crowd together near 1


@dataclass(frozen=True)
class Neighbors:
    """rows: (q, k) row numbers of the nearest, an unordered set per query. tied: queries whose k-th place was a tie."""

    rows: np.ndarray
    tied: int


@dataclass(frozen=True)
class _Frame:
    """How rows become vectors that are compared: at length 1, or times a power of two that keeps squares in range.

    center: (d,) what is subtracted before float32, so that data far from the origin keep their digits; then closeness is
    minus the squared distance, which orders unit rows as their cosine does. None: closeness is the inner product.
    """

    scale: float | None
    center: np.ndarray | None

    def double(self, x: np.ndarray) -> np.ndarray:
        wide = np.ascontiguousarray(x, np.float64)  # sums of columns in another layout have other bits
        return unit_rows(wide) if self.scale is None else wide * self.scale

    def single(self, wide: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(wide if self.center is None else wide - self.center, np.float32)

    def closeness(self, q: np.ndarray, base: np.ndarray) -> np.ndarray:
        """(q, c) float64 closeness (higher is nearer) of q (q, d) to base (q, c, d): the same bits for equal rows."""
        if self.center is None:
            return np.einsum("qd,qcd->qc", q, base)
        apart = base - q[:, None, :]
        return -np.einsum("qcd,qcd->qc", apart, apart)

    def slack(self, q: np.ndarray, far: np.ndarray, reach: float) -> np.ndarray:
        """(q,) how far float32 may err on the closeness of q (q, d) to rows whose closeness is about `far` (q,).

        A squared distance D errs by e (|q|^2 + |b|^2), where |b|^2 is at most `reach`, and at most 2 |q|^2 + 2 D: so a row
        far out blurs only what is near it.
        """
        d = q.shape[1]
        unit = (2 * d + 16) * UNIT
        if self.center is None:
            return np.full(len(q), unit)
        own, apart = np.square(q - self.center).sum(1), np.abs(far)
        return unit * np.minimum(own + reach, 3 * (own + apart)) + d * 2.0**-120  # the last term where squares underflow


def _frame(by: By, queries: np.ndarray, base: np.ndarray) -> _Frame:
    some = np.asarray(base[:: max(1, len(base) // SAMPLE)], np.float64)
    if by == "euclidean":
        scale = 2.0 ** min(PEAK - frexp(max(_peak(queries), _peak(base)))[1], 1000)
        return _Frame(scale, np.median(some, 0) * scale)  # a mean would follow a single row far out
    mean = unit_rows(some).mean(0)
    crowded = mean @ mean > FAR and not _zero_rows(base) and not _zero_rows(queries)
    return _Frame(None, mean if crowded else None)


def _peak(x: np.ndarray) -> float:
    return max((float(np.abs(x[b]).max()) for b in row_blocks(*x.shape)), default=0.0)


def _zero_rows(x: np.ndarray) -> bool:
    return any(not np.asarray(x[b]).any(1).all() for b in row_blocks(*x.shape))


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
    frame = _frame(by, queries, base)
    rows, tied = np.empty((len(queries), k), np.int64), 0
    step = _query_rows(base)
    for start in range(0, len(queries), step):
        own = np.arange(start, min(start + step, len(queries)))
        rows[own], ties = _search(frame, queries[own[0] : own[-1] + 1], base, k, own if exclude_self else None)
        tied += ties
    return Neighbors(rows, tied)


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
    for alike, exact in _exhaustive(frame, q[part[left]], base):
        order = np.argsort(-exact, kind="stable")[: k + 2]
        for i in left[alike]:
            ranked = order if own is None else order[order != own[part[i]]]
            found[i] = ranked[:k]
            ties += bool(len(ranked) > k and exact[ranked[k - 1]] == exact[ranked[k]])
    chosen[part] = found
    return ties


def _exhaustive(frame: _Frame, q: np.ndarray, base: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each different query: where in q it stands, and its (n,) float64 closeness to every row of base."""
    unique, which = np.unique(q, axis=0, return_inverse=True)
    at_once = (2 << 20) // max(block_rows(q.shape[1]) * q.shape[1], len(base))
    for some in row_blocks_of(len(unique), max(1, at_once)):
        exact = [frame.closeness(unique[some], frame.double(base[b])[None]) for b in row_blocks(*base.shape)]
        for number, row in enumerate(np.concatenate(exact, 1), some.start):
            yield np.flatnonzero(which == number), row


def _candidates(
    frame: _Frame, q: np.ndarray, base: np.ndarray, c: int, own: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The c nearest by float32: closeness (q, c) descending, row numbers, and (q,) how far float32 may err.

    A query's own row gets closeness -inf and moves to the end, as do places that no row fills (row number -1).
    """
    import faiss

    metric, sign = (faiss.METRIC_INNER_PRODUCT, 1) if frame.center is None else (faiss.METRIC_L2, -1)
    single, near, rows, reach = frame.single(q), np.empty((len(q), 0), np.float32), np.empty((len(q), 0), np.int64), 0.0
    for block in row_blocks_of(len(base), _base_rows(base.shape[1])):
        part = frame.single(frame.double(base[block]))
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
    far = np.where(np.isfinite(near), near, 0).min(1)
    return near, rows, frame.slack(q, far, reach)


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
    frame = _frame(by, queries, base)
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
    near, other = frame.single(q), frame.single(part)
    close = near @ other.T
    sizes = np.einsum("ij,ij->i", other, other)
    if frame.center is not None:
        close = 2 * close - sizes - np.einsum("ij,ij->i", near, near)[:, None]
    slack = frame.slack(q, mine, float(sizes.max()))
    low = np.nextafter(np.float32(mine - slack), np.float32(-np.inf))[:, None]
    high = np.nextafter(np.float32(mine + slack), np.float32(np.inf))[:, None]
    ahead = np.count_nonzero(close > high, 1)
    unsure = np.nonzero((close >= low) & (close <= high))
    for rows, cols in zip(*(np.array_split(u, 1 + len(u) * q.shape[1] * 16 // (64 << 20)) for u in unsure), strict=True):
        exact = frame.closeness(q[rows], part[cols][:, None, :])[:, 0]
        number = cols + block.start
        nearer = (exact > mine[rows]) | ((exact == mine[rows]) & (number < own[rows]))
        np.add.at(ahead, rows[nearer], 1)
    return ahead


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) how many row numbers the sets a[i] and b[i] share; a and b are (n, k) without repeats within a row."""
    out = np.empty(len(a), np.int64)
    for block in row_blocks(len(a), a.shape[1] * b.shape[1]):
        out[block] = (a[block][:, :, None] == b[block][:, None, :]).sum((1, 2))
    return out


__all__ = ["By", "Neighbors", "nearest", "overlap", "ranks", "unit_rows", "widen"]

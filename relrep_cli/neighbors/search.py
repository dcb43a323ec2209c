"""Exact search for the nearest rows in order: candidates from float32, then float64 for the uncertain ones.

Candidates come from `tiles` when these are faster, else from faiss. The float32 error of each is bounded by a slack. Places
with a wider gap are final. All others are compared in float64, and ties are ordered by row number. A query whose last
candidate is uncertain is searched again with more candidates, and finally compared with every row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.neighbors import tiles, torch_tiles
from relrep_cli.neighbors.frames import Frame
from relrep_cli.numerics.blocks import block_rows, pick, row_blocks, slices
from relrep_cli.numerics.devices import NUMPY, chosen

SPARE = 8  # candidates beyond the last place
WIDE = 160
CALL = 4e10  # multiply-adds in one call of faiss: below a second, so that a signal never waits long


@dataclass(frozen=True)
class Ordered:
    """rows: (q, depth) row numbers, ordered by distance, then by row number. equal: (q, depth) whether the next place is
    equally near; for the last place, the one after it."""

    rows: np.ndarray
    equal: np.ndarray


@dataclass(frozen=True)
class Candidates:
    """The candidates of the queries `part`. near: (q, c) float32 closeness, descending, -inf for none. rows: (q, c), -1 for
    none. slack: (q,) bound on the float32 error. No other row is nearer than the last candidate, up to the slack."""

    part: slice
    near: np.ndarray
    rows: np.ndarray
    slack: np.ndarray

    @property
    def bound(self) -> np.ndarray:
        return self.near[:, -1] + self.slack


def ordered(
    frame: Frame, queries: np.ndarray, base: np.ndarray, depth: int, extra: int = SPARE, device: str = "cpu"
) -> Ordered:
    """Find the `depth` nearest rows of base (n, d) to each query (q, d), the query's own row included."""
    out = Ordered(np.empty((len(queries), depth), np.int64), np.empty((len(queries), depth), bool))
    unsure = [np.empty(0, np.int64)]
    for lists in candidates(frame, queries, base, min(depth + extra, len(base)), device):
        placed, undecided = place(frame, queries, base, depth, lists)
        out.rows[lists.part], out.equal[lists.part] = placed.rows, placed.equal
        unsure.append(undecided + lists.part.start)
    left = np.concatenate(unsure)
    for part in slices(len(left), _query_rows(base)):
        _fill(out, left[part], search_wider(frame, pick(queries, left[part]), base, depth, extra))
    return out


def search_wider(frame: Frame, queries: np.ndarray, base: np.ndarray, depth: int, extra: int) -> Ordered:
    """Search for queries with more near-ties than candidates: with more candidates, then by comparing every row in float64."""
    if extra < WIDE:
        return ordered(frame, queries, base, depth, WIDE)
    out = Ordered(np.empty((len(queries), depth), np.int64), np.zeros((len(queries), depth), bool))
    for alike, exact in _exhaustive(frame, frame.double(queries), base):
        order = np.argsort(-exact, kind="stable")[: depth + 1]
        ties = exact[order[:-1]] == exact[order[1:]]
        out.rows[alike], out.equal[alike, : len(ties)] = order[:depth], ties[:depth]
    return out


def _fill(out: Ordered, at: np.ndarray, lists: Ordered) -> None:
    out.rows[at], out.equal[at] = lists.rows, lists.equal


def place(frame: Frame, queries: np.ndarray, base: np.ndarray, depth: int, lists: Candidates) -> tuple[Ordered, np.ndarray]:
    """The first `depth` places of the candidates, and which queries (u,) their candidates cannot decide."""
    near, slack = lists.near, lists.slack[:, None]
    with np.errstate(invalid="ignore"):  # two empty places
        close = near[:, :-1] - near[:, 1:] <= 2 * slack
    chain = np.concatenate([np.zeros((len(near), 1), np.int32), np.cumsum(~close, 1, np.int32)], 1)
    last = chain[:, depth - 1 : depth]  # places of one chain may have to change; of the chains, the order is known
    linked = np.pad(close, ((0, 0), (0, 1))) | np.pad(close, ((0, 0), (1, 0)))
    linked &= (chain <= last) & (lists.rows >= 0)
    exact, rows = np.zeros(near.shape), lists.rows
    i, j = np.nonzero(linked)
    mixed, which = np.unique(i, return_inverse=True)
    exact[i, j] = frame.pairs(frame.double(pick(queries[lists.part], mixed)), base, which, rows[i, j])
    rows, exact, linked = _sorted(rows, exact, linked, chain, mixed)
    same = close & linked[:, :-1] & linked[:, 1:] & (exact[:, :-1] == exact[:, 1:])
    same = np.pad(same, ((0, 0), (0, 1)))[:, :depth]
    open_end = (chain[:, -1] == last[:, 0]) & (near.shape[1] < len(base))
    undecided = np.flatnonzero(open_end & (exact[:, depth - 1] <= lists.bound) | (rows[:, depth - 1] < 0))
    return Ordered(rows[:, :depth], same), undecided


def _sorted(
    rows: np.ndarray, exact: np.ndarray, linked: np.ndarray, chain: np.ndarray, mixed: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same with the queries `mixed` sorted within each chain by (distance, row number)."""
    rows, linked = rows.copy(), linked.copy()
    order = np.lexsort((rows[mixed], -exact[mixed], chain[mixed]), axis=1)
    for values in (rows, exact, linked):
        values[mixed] = np.take_along_axis(values[mixed], order, 1)
    return rows, exact, linked


def candidates(frame: Frame, queries: np.ndarray, base: np.ndarray, c: int, device: str = "cpu") -> Iterator[Candidates]:
    """The c nearest by float32 of every query, block by block."""
    if chosen(device) != NUMPY:
        near, rows, reach = torch_tiles.search(frame, queries, base, c, device)
        for part in slices(len(queries), _query_rows(base), queries):
            yield known(frame, queries, part, near[part], rows[part], reach, norms=False)
        return
    if tiles.pay(queries, base):
        heaps, reach = tiles.search(frame, queries, base, c)
        for part in slices(len(queries), _query_rows(base), queries):
            near, rows = descending(heaps.near[part], heaps.rows[part])
            yield known(frame, queries, part, near, rows, reach, norms=False)
        return
    for part in slices(len(queries), _query_rows(base), queries):
        near, rows, reach = _by_faiss(frame, frame.single(frame.double(queries[part])), base, c)
        yield known(frame, queries, part, near, rows, reach)


def known(
    frame: Frame, queries: np.ndarray, part: slice, near: np.ndarray, rows: np.ndarray, reach: float, norms: bool = True
) -> Candidates:
    """Candidates with their slack, from what a search in float32 gave."""
    near = np.where(rows < 0, -np.inf, near.astype(np.float64))
    far = np.where(np.isfinite(near), near, 0).min(1)
    q = queries[part]
    return Candidates(part, near, rows, frame.slack(q if frame.center is None else frame.double(q), far, reach, norms))


def descending(near: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """near and rows (q, c), nearest first."""
    order = np.argsort(-near, axis=1, kind="stable")
    return np.take_along_axis(near, order, 1), np.take_along_axis(rows, order, 1)


def _base_rows(d: int) -> int:
    return block_rows(d) * 8


def _query_rows(base: np.ndarray) -> int:
    per_query = min(len(base), _base_rows(base.shape[1])) * base.shape[1]
    return int(np.clip(CALL // per_query, 256, 8192))


def _by_faiss(frame: Frame, q: np.ndarray, base: np.ndarray, c: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The c nearest to q (q, d) float32, nearest first, and the largest |b|^2."""
    import faiss

    metric, sign = (faiss.METRIC_INNER_PRODUCT, 1) if frame.center is None else (faiss.METRIC_L2, -1)
    near, rows, reach = np.empty((len(q), 0), np.float32), np.empty((len(q), 0), np.int64), 0.0
    for block in slices(len(base), _base_rows(base.shape[1]), base):
        part = frame.single(frame.double(base[block]))
        reach = max(reach, float(np.einsum("ij,ij->i", part, part).max()))
        close, at = faiss.knn(q, part, min(c, len(part)), metric=metric)
        near, rows = _merge(near, rows, sign * close, np.where(at >= 0, at + block.start, -1), c)
    return near, rows, reach


def _merge(near: np.ndarray, rows: np.ndarray, close: np.ndarray, at: np.ndarray, c: int) -> tuple[np.ndarray, np.ndarray]:
    if not near.shape[1]:
        return close, at
    near, rows = descending(np.concatenate([near, close], 1), np.concatenate([rows, at], 1))
    return near[:, :c], rows[:, :c]


def _exhaustive(frame: Frame, q: np.ndarray, base: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each different query: where in q it stands, and its (n,) float64 closeness to every row of base."""
    unique, which = np.unique(q, axis=0, return_inverse=True)
    at_once = (2 << 20) // max(block_rows(q.shape[1]) * q.shape[1], len(base))
    for some in slices(len(unique), max(1, at_once)):
        exact = [frame.closeness(unique[some], frame.double(base[b])[None]) for b in row_blocks(*base.shape, base)]
        for number, row in enumerate(np.concatenate(exact, 1), some.start):
            yield np.flatnonzero(which == number), row

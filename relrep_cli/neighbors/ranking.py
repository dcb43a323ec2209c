"""Exact ranks of given rows by distance from a query."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.neighbors.frames import GRAIN, By, Frame, frame_of
from relrep_cli.numerics.blocks import pick, release, row_blocks
from relrep_cli.numerics.threads import in_order
from relrep_cli.numerics.workspace import UNSHARED, Workspace

EQUAL = 2e-9  # relative difference below which squared distances are equal up to rounding


def ranks(
    queries: np.ndarray,
    base: np.ndarray,
    *,
    by: By = "cosine",
    rows: np.ndarray | None = None,
    targets: np.ndarray | None = None,
    workspace: Workspace = UNSHARED,
) -> np.ndarray:
    """Compute the rank, from 1, of base row i among all rows of base (n, d) by distance from query i; ties by row number.

    rows: (s,) numbers of the queries to use; None for all. targets: (s,) the base row to rank for each of these queries; None
    for that of the same number. Pairs that float32 cannot order are compared in float64.

    Returns (s,) ranks.
    """
    return workspace.once("ranks", (queries, base, by, rows, targets), lambda: _ranks(queries, base, by, rows, targets))


def _ranks(queries: np.ndarray, base: np.ndarray, by: By, rows: np.ndarray | None, targets: np.ndarray | None) -> np.ndarray:
    frame = frame_of(by, queries, base)
    rows = np.arange(len(queries)) if rows is None else rows
    targets = rows if targets is None else targets
    out = np.empty(len(rows), np.int64)
    for block in row_blocks(len(rows), queries.shape[1]):
        own = targets[block]
        q = frame.double(pick(queries, rows[block]))
        mine = frame.closeness(q, frame.double(pick(base, own))[:, None, :])[:, 0]
        out[block] = 1 + sum(in_order(partial(_ahead, frame, q, mine, own, base), row_blocks(*base.shape)))
    return out


def nearest_targets(
    queries: np.ndarray, base: np.ndarray, query: np.ndarray, target: np.ndarray, *, by: By = "cosine"
) -> np.ndarray:
    """Find the nearest of the rows of base (n, d) that are paired with each query (q, d); of equally near rows the first.

    query, target: (p,) row numbers of queries, ascending, and of base. Every query has a pair.

    Returns (q,) row numbers.
    """
    frame, out = frame_of(by, queries, base), np.empty(len(queries), np.int64)
    for block in row_blocks(*queries.shape):
        pairs = slice(*np.searchsorted(query, [block.start, block.stop]))
        own, rows = query[pairs] - block.start, target[pairs]
        near = frame.pairs(frame.double(queries[block]), base, own, rows)
        order = np.lexsort((rows, -near, own))
        out[block] = rows[order[np.unique(own[order], return_index=True)[1]]]
    return out


@dataclass(frozen=True)
class Midranks:
    """Ranks of rows from a query, where equally near rows share the mean of their ranks.

    values: (n,). shared: (n,) whether the rank is shared, or whether several rows were the target.
    """

    values: np.ndarray
    shared: np.ndarray


def midranks_of_nearest(x: np.ndarray, y: np.ndarray, near: np.ndarray, *, by: By = "cosine") -> Midranks:
    """Compute the rank, from 1, in y (n, dy) of each row's nearest other row in x (n, dx), among the other rows.

    near: (n, 2) the two nearest other rows in x. Rows of y that are equally near share the mean of their ranks. Where several
    rows of x are nearest, the value is the mean of their ranks. So a random pairing gives n / 2 on average, whatever the ties.
    """
    values, shared = _midranks(y, near[:, 0], by)
    several = np.flatnonzero(_equally_near(x, near, by))
    frames = frame_of(by, x, x), frame_of(by, y, y)
    values[several] = list(in_order(partial(_mean_rank_of_nearest, frames, x, y), several.tolist()))
    shared[several] = True
    return Midranks(values, shared)


def _midranks(y: np.ndarray, targets: np.ndarray, by: By) -> tuple[np.ndarray, np.ndarray]:
    """The mid-rank (n,) of row targets[i] among the other rows of y by distance from row i, and whether it is shared (n,)."""
    frame, out, shared = frame_of(by, y, y), np.empty(len(y)), np.zeros(len(y), bool)
    for block in row_blocks(*y.shape, y):
        q = frame.double(y[block])
        mine, own = (frame.closeness(q, rows[:, None, :])[:, 0] for rows in (frame.double(pick(y, targets[block])), q))
        ends = _tie(frame, mine)
        count = partial(_nearer_than, frame, q, ends, y)
        before, until = np.sum(list(in_order(count, row_blocks(*y.shape))), 0) - [own > end for end in ends]
        out[block], shared[block] = (before + until + 1) / 2, until - before > 1
    return out, shared


def _tie(frame: Frame, close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The closeness above which rows are nearer than `close` (n,), and that above which they are nearer or equally near."""
    if frame.center is None:
        return close + 2 * GRAIN, close - 2 * GRAIN
    return close * (1 - EQUAL), np.nextafter(close * (1 + EQUAL), -np.inf)


def _equally_near(x: np.ndarray, near: np.ndarray, by: By) -> np.ndarray:
    """Whether the two rows near[i] (n, 2) are equally near to row i of x (n, d)."""
    frame, out = frame_of(by, x, x), np.empty(len(x), bool)
    for block in row_blocks(*x.shape, x):
        q = frame.double(x[block])
        first, second = (frame.closeness(q, frame.double(pick(x, side))[:, None, :])[:, 0] for side in near[block].T)
        out[block] = second > _tie(frame, first)[1]
    return out


def _mean_rank_of_nearest(frames: tuple[Frame, Frame], x: np.ndarray, y: np.ndarray, row: int) -> float:
    """The mean mid-rank in y of all rows of x that are nearest to one row."""
    here, there = (np.delete(_closeness(frame, side, row), row) for frame, side in zip(frames, (x, y), strict=True))
    targets = there[here > _tie(frames[0], here.max())[1]]
    order = np.sort(there)
    above = [len(order) - np.searchsorted(order, end, side="right") for end in _tie(frames[1], targets)]
    return float((above[0] + above[1] + 1).mean() / 2)


def _closeness(frame: Frame, x: np.ndarray, row: int) -> np.ndarray:
    """The closeness (n,) of one row of x (n, d) to all."""
    q = frame.double(x[row : row + 1])
    return np.concatenate([frame.closeness(q, frame.double(x[block])[None])[0] for block in row_blocks(*x.shape)])


def _nearer_than(
    frame: Frame, q: np.ndarray, ends: tuple[np.ndarray, np.ndarray], base: np.ndarray, block: slice
) -> np.ndarray:
    """(2, q) the number of rows of this base block that are nearer to each query than each of two ends (q,)."""
    part = frame.double(base[block])
    release(base, block)
    close, sizes = _rough_closeness(frame, q, part)
    borders = [_unsure(frame, q, end, float(sizes.max())) for end in ends]
    low, high = borders[1][0], borders[0][1]
    ahead = np.tile(np.count_nonzero(close > high, 1), (2, 1))
    for rows, cols in _pieces(np.nonzero((close >= low) & (close <= high)), q.shape[1]):
        exact = frame.closeness(q[rows], part[cols][:, None, :])[:, 0]
        for side, end in enumerate(ends):
            np.add.at(ahead[side], rows[exact > end[rows]], 1)
    return ahead


def _ahead(frame: Frame, q: np.ndarray, mine: np.ndarray, own: np.ndarray, base: np.ndarray, block: slice) -> np.ndarray:
    """(q,) the number of rows of this base block that are nearer to each query than its target row."""
    part = frame.double(base[block])
    release(base, block)
    close, sizes = _rough_closeness(frame, q, part)
    low, high = _unsure(frame, q, mine, float(sizes.max()))
    ahead = np.count_nonzero(close > high, 1)
    for rows, cols in _pieces(np.nonzero((close >= low) & (close <= high)), q.shape[1]):
        exact = frame.closeness(q[rows], part[cols][:, None, :])[:, 0]
        number = cols + block.start
        nearer = (exact > mine[rows]) | ((exact == mine[rows]) & (number < own[rows]))
        np.add.at(ahead, rows[nearer], 1)
    return ahead


def _rough_closeness(frame: Frame, q: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The closeness (q, c) of queries to base rows in float32, and the squared lengths (c,) of the base rows."""
    near, other = frame.single(q), frame.single(part)
    close = near @ other.T
    sizes = np.einsum("ij,ij->i", other, other)
    if frame.center is not None:
        close = 2 * close - sizes - np.einsum("ij,ij->i", near, near)[:, None]
    return close, sizes


def _unsure(frame: Frame, q: np.ndarray, mine: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """The ends (q, 1) between which float32 cannot order a closeness and `mine` (q,)."""
    slack = frame.slack(q, mine, reach)
    low = np.nextafter(np.float32(mine - slack), np.float32(-np.inf))[:, None]
    return low, np.nextafter(np.float32(mine + slack), np.float32(np.inf))[:, None]


def _pieces(unsure: tuple[np.ndarray, ...], d: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Pairs of rows in pieces whose rows take 64 MiB at most."""
    parts = (np.array_split(u, 1 + len(u) * d * 16 // (64 << 20)) for u in unsure)
    return zip(*parts, strict=True)

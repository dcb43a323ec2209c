"""Exact ranks of given rows by distance from a query."""

from __future__ import annotations

from functools import partial

import numpy as np

from relrep_cli.neighbors.frames import By, Frame, frame_of
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
    workspace: Workspace = UNSHARED,
) -> np.ndarray:
    """Compute the rank, from 1, of base row i among all rows of base (n, d) by distance from query i; ties by row number.

    rows: (s,) numbers of the queries to use; None for all. Pairs that float32 cannot order are compared in float64.

    Returns (s,) ranks.
    """
    return workspace.once("ranks", (queries, base, by, rows), lambda: _ranks(queries, base, by, rows))


def _ranks(queries: np.ndarray, base: np.ndarray, by: By, rows: np.ndarray | None) -> np.ndarray:
    frame = frame_of(by, queries, base)
    rows = np.arange(len(queries)) if rows is None else rows
    out = np.empty(len(rows), np.int64)
    for block in row_blocks(len(rows), queries.shape[1]):
        own = rows[block]
        q = frame.double(pick(queries, own))
        mine = frame.closeness(q, frame.double(pick(base, own))[:, None, :])[:, 0]
        out[block] = 1 + sum(in_order(partial(_ahead, frame, q, mine, own, base), row_blocks(*base.shape)))
    return out


def ranks_among_others(x: np.ndarray, targets: np.ndarray, *, by: By = "cosine") -> np.ndarray:
    """Compute the rank, from 1, of row targets[i] among the other rows of x (n, d) by distance from row i.

    Rows at the same distance as the target do not count as nearer. Returns (n,) ranks.
    """
    frame, out = frame_of(by, x, x), np.empty(len(x), np.int64)
    for block in row_blocks(*x.shape, x):
        q, nobody = frame.double(x[block]), np.full(block.stop - block.start, -1)
        mine, own = (frame.closeness(q, rows[:, None, :])[:, 0] for rows in (frame.double(pick(x, targets[block])), q))
        if frame.center is not None:
            mine *= 1 - EQUAL
        out[block] = 1 - (own > mine) + sum(in_order(partial(_ahead, frame, q, mine, nobody, x), row_blocks(*x.shape)))
    return out


def _ahead(frame: Frame, q: np.ndarray, mine: np.ndarray, own: np.ndarray, base: np.ndarray, block: slice) -> np.ndarray:
    """(q,) the number of rows of this base block that are nearer to each query than its target row."""
    part = frame.double(base[block])
    release(base, block)
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

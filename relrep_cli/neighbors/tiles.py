"""Float32 candidates by tiles: a matrix product that stays in the CPU cache, then a compiled scan that keeps the best values.

When a space is searched within itself, each pair of blocks is multiplied once for both sides, which halves the work. One Python
thread per core, each with single-threaded BLAS, is faster than BLAS threads in every call. The compiled scan is in
`numerics/kernels.c`; where that was not compiled, numba compiles the one in `scans.py`. Without either, tiles are not used, and
the results are the same.
"""

from __future__ import annotations

import os
import sys
from threading import Lock, local
from typing import Any

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.neighbors.frames import CACHED, Frame
from relrep_cli.numerics import native
from relrep_cli.numerics.blocks import release, slices
from relrep_cli.numerics.threads import in_order, run_all, single_threaded

PAYS, LOADED = 4e10, 1e9  # multiply-adds from which tiles are faster: when numba must be imported first, and when it is loaded
IN_MEMORY = 256 << 20  # up to this many bytes of float32 rows stay in memory; more go to a temporary file
BLOCK = 2048  # base rows at a time, when the queries are not the base itself


def scans() -> Any:
    """The module of compiled scans, in C or by numba; None where both are missing or RELREP_NUMBA is 0."""
    if os.environ.get("RELREP_NUMBA") == "0":
        return None
    if native.available():
        return native
    try:
        from relrep_cli.neighbors import scans as compiled
    except ImportError:
        return None
    return compiled


def pay(queries: np.ndarray, base: np.ndarray) -> bool:
    """Whether tiles are available and faster for queries (q, d) and base (n, d)."""
    if native.available():
        return True  # and faiss need not be imported
    least = LOADED if "relrep_cli.neighbors.scans" in sys.modules else PAYS
    return len(queries) * base.size >= least and scans() is not None


@dataclass(frozen=True)
class Heaps:
    """The c nearest rows found so far for each query.

    near: (q, c) float32, each row a heap with the farthest first. rows: (q, c) int32 row numbers, -1 for none. least: (q,) the
    closeness of the farthest, which a new row must exceed.
    """

    near: np.ndarray
    rows: np.ndarray
    least: np.ndarray

    @staticmethod
    def empty(q: int, c: int) -> Heaps:
        near = np.full((q, c), -np.inf, np.float32)
        return Heaps(near, np.full((q, c), -1, np.int32), near[:, 0].copy())


@dataclass(frozen=True)
class Singles:
    """Float32 rows (n, d), and `half` (n,): half their squared lengths, or 0 when closeness is the inner product."""

    rows: np.ndarray
    half: np.ndarray

    def __getitem__(self, part: slice) -> Singles:
        return Singles(self.rows[part], self.half[part])


def search(frame: Frame, queries: np.ndarray, base: np.ndarray, c: int) -> tuple[Heaps, float]:
    """Find the c nearest rows of each query in float32, unordered, with the closeness of the frame.

    A query that is a row of the base finds itself. Returns the heaps and the largest |b|^2.
    """

    heaps = Heaps.empty(len(queries), c)
    with single_threaded("blas"):  # the command line has done so; a caller of the library may not
        q = _singles(frame, queries)
        reach = _pairs(q, heaps) if queries is base else _stream(frame, q, base, heaps)
    if frame.center is not None:
        np.multiply(heaps.near, 2, out=heaps.near)  # from q b - |q|^2 / 2 - |b|^2 / 2 to minus the squared distance
    return heaps, reach


def _single(frame: Frame, block: np.ndarray) -> Singles:
    rows = frame.narrow(block)
    if frame.center is None:
        return Singles(rows, np.zeros(len(rows), np.float32))
    return Singles(rows, (np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / 2).astype(np.float32))


def _singles(frame: Frame, x: np.ndarray) -> Singles:
    """Convert all rows of x to float32. This is the only large array of a search; it is on disk when too large for memory."""
    from relrep_cli.numerics.spool import spool

    rows = np.empty(x.shape, np.float32) if x.size * 4 <= IN_MEMORY else spool(x.shape, np.float32)
    out = Singles(rows, np.empty(len(x), np.float32))

    def convert(part: slice) -> None:
        single = _single(frame, x[part])
        out.rows[part], out.half[part] = single.rows, single.half
        release(x, part)

    run_all(convert, slices(len(x), max(16, CACHED // (2 * x.shape[1]))))
    return out


def _side(d: int) -> int:
    """The side of a tile, such that the two blocks and their product stay in the cache of a core."""
    return 1280 if d >= 256 else 512


def _pairs(q: Singles, heaps: Heaps) -> float:
    """Compare all rows with all rows, each pair of blocks once. Neighbouring blocks come first: they often hold near rows."""
    blocks = list(slices(len(q.rows), _side(q.rows.shape[1])))
    locks = [Lock() for _ in blocks]
    tasks = [(i, i + apart) for apart in range(len(blocks)) for i in range(len(blocks) - apart)]
    own = local()

    def work(pair: tuple[int, int]) -> None:
        (i, j), room = pair, _room(own, q.rows.shape[1])
        a, b = blocks[i], blocks[j]
        if i != j:
            tile = _product(q[a], q[b], room)
            with locks[i], locks[j]:
                scans().both_sides(tile, a.start, b.start, q.half, heaps.near, heaps.rows, heaps.least)
            return
        middle = (a.start + a.stop) // 2  # a block with itself needs only three quarters of its products
        first, second = slice(a.start, middle), slice(middle, a.stop)
        with locks[i]:
            for part in (first, second):
                _scan(_product(q[part], q[part], room), q[part], q[part], part.start, part.start, heaps)
            tile = _product(q[first], q[second], room)
            scans().both_sides(tile, first.start, second.start, q.half, heaps.near, heaps.rows, heaps.least)

    run_all(work, tasks)
    return 2 * float(q.half.max(initial=0))


def _stream(frame: Frame, q: Singles, base: np.ndarray, heaps: Heaps) -> float:
    """Compare all queries with the base, one base block at a time."""
    side = _side(base.shape[1])
    tiles = list(slices(len(q.rows), side))
    locks = [Lock() for _ in tiles]
    own = local()

    def work(block: slice) -> float:
        """Compare all queries with one block; return its largest squared length."""
        b, room = _single(frame, base[block]), _room(own, base.shape[1])
        release(base, block)
        offset = block.start // BLOCK  # threads begin at different queries, so that they seldom wait for each other
        for number in (*range(offset % len(tiles), len(tiles)), *range(offset % len(tiles))):
            for part in slices(len(b.rows), side):
                tile = _product(q[tiles[number]], b[part], room)
                with locks[number]:
                    _scan(tile, q[tiles[number]], b[part], tiles[number].start, block.start + part.start, heaps)
        return 2 * float(b.half.max())

    return max(in_order(work, slices(len(base), BLOCK)), default=0.0)


def _room(own: local, d: int) -> np.ndarray:
    """Return the memory of this thread for one tile of rows of d numbers."""
    if not hasattr(own, "room"):
        own.room = np.empty(_side(d) ** 2, np.float32)
    room: np.ndarray = own.room
    return room


def _product(a: Singles, b: Singles, room: np.ndarray) -> np.ndarray:
    tile = room[: len(a.rows) * len(b.rows)].reshape(len(a.rows), len(b.rows))
    return np.matmul(a.rows, b.rows.T, out=tile)


def _scan(tile: np.ndarray, a: Singles, b: Singles, start: int, first: int, heaps: Heaps) -> None:
    part = slice(start, start + len(a.rows))
    scans().one_side(tile, first, a.half, b.half, heaps.near[part], heaps.rows[part], heaps.least[part])

"""Float32 candidates by tiles: a product that stays in the cache, and a scan that lets few numbers through.

A space searched with itself multiplies each pair of blocks once, for both sides: half the work. One Python thread a core
with BLAS at one thread each beats a pool inside every call. The compiled scan lives in `scans.py`; without numba there are
no tiles, and the results are the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Event, Lock
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.neighbors.frames import CACHED, Frame
from relrep_cli.numerics.blocks import release, slices

PAYS, LOADED = 4e10, 1e9  # multiply-adds from which tiles save more than the import of numba costs, and once it is there
IN_MEMORY = 256 << 20  # bytes of float32 rows; more of them go to a temporary file
BLOCK = 2048  # rows of the base at a time, for other queries than its own rows


@cache
def scans() -> Any:
    """The compiled scans, or None where numba is missing or RELREP_NUMBA is 0."""
    if os.environ.get("RELREP_NUMBA") == "0":
        return None
    try:
        from relrep_cli.neighbors import scans as compiled
    except ImportError:
        return None
    return compiled


def pay(queries: np.ndarray, base: np.ndarray) -> bool:
    """Whether tiles are there and worth while for queries (q, d) and base (n, d)."""
    least = LOADED if "relrep_cli.neighbors.scans" in sys.modules else PAYS
    return len(queries) * base.size >= least and scans() is not None


@dataclass(frozen=True)
class Heaps:
    """The c nearest so far of each query. near: (q, c) float32, a heap by row with the furthest first; rows: (q, c) int32
    row numbers, -1 where none. least: (q,) the furthest, which a newcomer must beat."""

    near: np.ndarray
    rows: np.ndarray
    least: np.ndarray

    @staticmethod
    def empty(q: int, c: int) -> Heaps:
        near = np.full((q, c), -np.inf, np.float32)
        return Heaps(near, np.full((q, c), -1, np.int32), near[:, 0].copy())


@dataclass(frozen=True)
class Singles:
    """Rows as float32 (n, d), and `half` (n,) half their squared lengths, or 0 where closeness is the inner product."""

    rows: np.ndarray
    half: np.ndarray

    def __getitem__(self, part: slice) -> Singles:
        return Singles(self.rows[part], self.half[part])


def search(frame: Frame, queries: np.ndarray, base: np.ndarray, c: int, threads: int) -> tuple[Heaps, float]:
    """The c nearest by float32 of each query, unordered, closeness as the frame has it; and the largest |b|^2.

    A query that is a row of the base finds itself.
    """
    heaps = Heaps.empty(len(queries), c)
    with _threads(threads) as count:
        q = _singles(frame, queries, count)
        reach = _pairs(q, heaps, count) if queries is base else _stream(frame, q, base, heaps, count)
    if frame.center is not None:
        np.multiply(heaps.near, 2, out=heaps.near)  # from q b - |q|^2 / 2 - |b|^2 / 2 to minus the squared distance
    return heaps, reach


def _single(frame: Frame, block: np.ndarray) -> Singles:
    rows = frame.narrow(block)
    if frame.center is None:
        return Singles(rows, np.zeros(len(rows), np.float32))
    return Singles(rows, (np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / 2).astype(np.float32))


def _singles(frame: Frame, x: np.ndarray, threads: int) -> Singles:
    """All rows of x; the one large array of a search, on disk where memory would not do."""
    from relrep_cli.numerics.spool import spool

    rows = np.empty(x.shape, np.float32) if x.size * 4 <= IN_MEMORY else spool(x.shape, np.float32)
    out = Singles(rows, np.empty(len(x), np.float32))

    def convert(part: slice) -> None:
        found = _single(frame, x[part])
        out.rows[part], out.half[part] = found.rows, found.half
        release(x, part)

    _share(list(slices(len(x), max(16, CACHED // (2 * x.shape[1])))), lambda: convert, threads)
    return out


def _side(d: int) -> int:
    """Rows of a tile, so that the two blocks and their product stay in a core's cache."""
    return 1280 if d >= 256 else 512


def _pairs(q: Singles, heaps: Heaps, threads: int) -> float:
    """Every row against every row, each pair of blocks once; near blocks first, since they hold near rows more often."""
    blocks = list(slices(len(q.rows), _side(q.rows.shape[1])))
    locks = [Lock() for _ in blocks]
    tasks = [(i, i + apart) for apart in range(len(blocks)) for i in range(len(blocks) - apart)]

    def worker() -> Callable[[tuple[int, int]], None]:
        room = np.empty(_side(q.rows.shape[1]) ** 2, np.float32)

        def work(pair: tuple[int, int]) -> None:
            i, j = pair
            a, b = blocks[i], blocks[j]
            if i != j:
                tile = _product(q[a], q[b], room)
                with locks[i], locks[j]:
                    scans().both_sides(tile, a.start, b.start, q.half, heaps.near, heaps.rows, heaps.least)
                return
            middle = (a.start + a.stop) // 2  # of a block with itself, no more than three quarters are multiplied
            first, second = slice(a.start, middle), slice(middle, a.stop)
            with locks[i]:
                for part in (first, second):
                    _scan(_product(q[part], q[part], room), q[part], q[part], part.start, part.start, heaps)
                tile = _product(q[first], q[second], room)
                scans().both_sides(tile, first.start, second.start, q.half, heaps.near, heaps.rows, heaps.least)

        return work

    _share(tasks, worker, threads)
    return 2 * float(q.half.max(initial=0))


def _stream(frame: Frame, q: Singles, base: np.ndarray, heaps: Heaps, threads: int) -> float:
    """All queries against the base, which passes by block by block."""
    side = _side(base.shape[1])
    tiles = list(slices(len(q.rows), side))
    locks = [Lock() for _ in tiles]
    reach: list[float] = [0.0]

    def worker() -> Callable[[slice], None]:
        room = np.empty(side * side, np.float32)

        def work(block: slice) -> None:
            b = _single(frame, base[block])
            release(base, block)
            reach.append(2 * float(b.half.max()))
            turn = block.start // BLOCK  # threads begin at different queries, so that they seldom wait for each other
            for number in (*range(turn % len(tiles), len(tiles)), *range(turn % len(tiles))):
                for part in slices(len(b.rows), side):
                    tile = _product(q[tiles[number]], b[part], room)
                    with locks[number]:
                        _scan(tile, q[tiles[number]], b[part], tiles[number].start, block.start + part.start, heaps)

        return work

    _share(list(slices(len(base), BLOCK)), worker, threads)
    return max(reach)


def _product(a: Singles, b: Singles, room: np.ndarray) -> np.ndarray:
    tile = room[: len(a.rows) * len(b.rows)].reshape(len(a.rows), len(b.rows))
    return np.matmul(a.rows, b.rows.T, out=tile)


def _scan(tile: np.ndarray, a: Singles, b: Singles, start: int, first: int, heaps: Heaps) -> None:
    part = slice(start, start + len(a.rows))
    scans().one_side(tile, first, a.half, b.half, heaps.near[part], heaps.rows[part], heaps.least[part])


@contextmanager
def _threads(wanted: int) -> Iterator[int]:
    """How many threads to start, with BLAS at one thread within."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield wanted


def _share(tasks: Sequence[Any], worker: Callable[[], Callable[[Any], None]], threads: int) -> None:
    """Do every task, each by one of the threads, which have a worker of their own. The first error ends all of them."""
    todo, stop = iter(tasks), Event()  # taking the next of a list is one step for Python, so no two threads take the same

    def run(own: bool) -> None:
        try:
            work = worker()
            for task in todo:
                if stop.is_set():
                    return
                if own:
                    check()
                work(task)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max(1, threads - 1)) as pool:
        others = [pool.submit(run, False) for _ in range(min(threads, len(tasks)) - 1)]
        run(True)
        for other in others:
            other.result()

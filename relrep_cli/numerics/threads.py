"""Work cut into pieces of one fixed shape, spread over threads, collected in order.

The number of threads decides who computes a piece, never what a piece is nor in which order results are added. Each piece
runs with one BLAS thread: the command line sets OPENBLAS_NUM_THREADS=1 before NumPy loads. So results have the same bytes for
any number of threads.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import cache, lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from relrep_cli.base.machine_limits import cpu_limit
from relrep_cli.base.signals import check

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Piece = TypeVar("Piece")
Result = TypeVar("Result")
_worker = threading.local()


def thread_count() -> int:
    """How many threads may compute: RELREP_THREADS, which the command line sets, else one for each CPU of this process."""
    limit = os.environ.get("RELREP_THREADS", "")
    if limit.isdigit() and int(limit):
        return int(limit)
    return _cpus()


_cpus = cache(cpu_limit)  # which reads files


def in_order(function: Callable[[Piece], Result], pieces: Iterable[Piece], light: bool = False) -> Iterator[Result]:
    """Yield `function(piece)` of every piece, in the order of the pieces, computed on all threads.

    light: the pieces cost less than handing them to a thread, so the calling thread computes them.

    At most one result for each thread is computed ahead, so memory stays bounded. A piece that spreads work itself does so
    on its own thread. The first error ends the work. Looks for a pending signal before each piece.
    """
    count = 1 if light or getattr(_worker, "busy", False) else thread_count()
    todo = iter(pieces)
    first = list(islice(todo, 2))
    if count == 1 or len(first) < 2:
        for piece in chain(first, todo):
            check()
            yield function(piece)
        return
    pool = _pool(count)
    running: deque[Future[Result]] = deque()
    try:
        for piece in chain(first, todo):
            check()
            running.append(pool.submit(copy_context().run, function, piece))  # np.errstate lives in the context
            if len(running) > count:
                yield running.popleft().result()
        while running:
            check()
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()
        wait(running)  # no piece writes into the caller's arrays after this function has ended


def run_all(function: Callable[[Piece], object], pieces: Iterable[Piece], light: bool = False) -> None:
    """Call `function` for every piece, on all threads; for pieces that write into places of their own. light: see in_order."""
    for _ in in_order(function, pieces, light):
        pass


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    """The threads that all pieces share; starting them anew for each piece of work would cost more than small pieces do."""
    return ThreadPoolExecutor(count, initializer=_mark_busy)


def single_threaded(kind: str | None = None) -> AbstractContextManager[object]:
    """Run libraries on one thread within, so that rounding does not depend on how many threads a machine has.

    kind: "blas" or "openmp"; None means both.
    """
    return _libraries(len(sys.modules)).limit(limits=1, user_api=kind)


@lru_cache(1)
def _libraries(loaded: int) -> ThreadpoolController:
    """The loaded libraries that have threads. To find them takes milliseconds, so only a new number of modules asks for it."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def _mark_busy() -> None:
    _worker.busy = True

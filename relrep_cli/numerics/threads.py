"""Work cut into pieces of one fixed shape, spread over threads, collected in order.

The number of threads decides who computes a piece, never what a piece is nor in which order results are added. Each piece
runs with one BLAS thread: the command line sets OPENBLAS_NUM_THREADS=1 before NumPy loads. So results have the same bytes for
any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from relrep_cli.base.signals import check

Piece = TypeVar("Piece")
Result = TypeVar("Result")
_worker = threading.local()


def thread_count() -> int:
    """How many threads may compute: RELREP_THREADS, which the command line sets, else one for each CPU of this process."""
    limit = os.environ.get("RELREP_THREADS", "")
    if limit.isdigit() and int(limit):
        return int(limit)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Yield `function(piece)` of every piece, in the order of the pieces, computed on all threads.

    At most one result for each thread is computed ahead, so memory stays bounded. A piece that spreads work itself does so
    on its own thread. The first error ends the work. Looks for a pending signal before each piece.
    """
    count = 1 if getattr(_worker, "busy", False) else thread_count()
    if count == 1:
        for piece in pieces:
            check()
            yield function(piece)
        return
    running: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(count, initializer=_mark_busy) as pool:
        try:
            for piece in pieces:
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


def run_all(function: Callable[[Piece], object], pieces: Iterable[Piece]) -> None:
    """Call `function` for every piece, on all threads; for pieces that write into places of their own."""
    for _ in in_order(function, pieces):
        pass


def _mark_busy() -> None:
    _worker.busy = True

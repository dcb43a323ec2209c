"""A process that does tasks for another one, and the other one's end of the line.

Job and tasks travel over a private socket pair. The process ends when the line is cut, or when its parent is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from relrep_cli.base import signals
from relrep_cli.base.errors import DataError
from relrep_cli.engine.jobs import Job, Outcome, Task, listening, named, perform

PROGRAM = "from relrep_cli.engine.worker import serve; serve({fd}, {parent})"
PATIENCE = 1.0  # seconds that a stopped process gets to remove its temporary files


class Bug(RuntimeError):
    """A task raised what no task should raise. The text holds the traceback of the other process."""


class Worker:
    """A process that does one task at a time. threads: how many threads its tasks may use."""

    def __init__(self, job: Job, threads: int, folder: str | None = None) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **limits(threads)}
        program = PROGRAM.format(fd=theirs.fileno(), parent=os.getpid())
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=folder,
            )
        self.line = Connection(ours.detach())
        self.task: int | None = None  # the number of the task that it does
        with suppress(OSError):  # it has ended, which `receive` reports
            self.line.send(replace(job, tasks=()))

    def send(self, number: int, task: Task) -> None:
        """Give it a task. It may have ended, which `receive` reports."""
        self.task = number
        with suppress(OSError):
            self.line.send(task)

    def receive(self) -> Outcome:
        """The outcome of its task. Raises EOFError when the process has ended, and Bug for what no task should raise."""
        try:
            outcome = self.line.recv()
        except OSError:
            raise EOFError from None
        if isinstance(outcome, str):
            raise Bug(outcome)
        self.task = None
        return outcome

    def how_it_ended(self) -> str:
        """How the process ended, as a phrase."""
        code = self.process.wait()
        return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"

    def close(self) -> None:
        """Let the process end by itself: it has no task."""
        self.line.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        self.stop()

    def stop(self) -> None:
        """End the process now."""
        self.line.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def limits(threads: int) -> dict[str, str]:
    """The environment of a process with so many threads. Linear algebra has one: see numerics/threads.py."""
    own = ("RELREP_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    one = ("OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    return {**dict.fromkeys(own, str(threads)), **dict.fromkeys(one, "1"), "OMP_WAIT_POLICY": "passive"}


def serve(descriptor: int, parent: int) -> None:
    """Do tasks until the line is cut. The life of the process."""
    signals.install()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    line = Connection(descriptor)
    with suppress(EOFError, OSError):
        job: Job = line.recv()
        state: list[Any] = []

        def make() -> Any:
            if not state:
                state.append(named(job.setup)(job.shared))
            return state[0]

        while True:
            line.send(_answer(job, make, line.recv()))


def _answer(job: Job, make: Any, task: Task) -> Outcome | str:
    with listening() as notes:
        try:
            outcome = perform(named(job.function), make, task, lambda part: signals.check())
        except signals.Interrupted as ended:
            signals.leave(ended.code)
        except MemoryError:
            outcome = Outcome(error=DataError("not enough memory for this task", "Use fewer processes at a time."))
        except Exception:
            import traceback

            return traceback.format_exc()
    return replace(outcome, notes=tuple(notes.notes))


def _watch(parent: int) -> None:
    """End when the parent does, even amid a long task."""
    while os.getppid() == parent:
        time.sleep(0.5)
    signals.leave(128 + signal.SIGTERM)

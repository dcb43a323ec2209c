"""A job: a list of tasks that one function does, and the state that each process makes for them once.

A task holds plain values, such as URIs and numbers, never arrays. So a task can go to any process and any machine that sees the
same files. The function and the state are named as `module:name`.
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from importlib import import_module
from typing import Any

from relrep_cli.base.errors import DataError, RelrepError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import LOGGER
from relrep_cli.base.task_cache import records_used

Advance = Callable[[float], None]  # called with the finished part of a task, from 0 to 1
Note = tuple[int, str]  # level, text


@dataclass(frozen=True)
class Task:
    """One task. arguments: plain values for the function. label: what progress and logs call the task."""

    arguments: tuple[Any, ...]
    label: str


@dataclass(frozen=True)
class Job:
    """All tasks of a run.

    title: what the job does, for progress. function: `f(state, advance, *arguments)`, as `module:name`. setup: `make(shared)`
    returns the state of a process, as `module:name`. shared: plain values that describe the state.
    """

    title: str
    function: str
    setup: str
    shared: Any
    tasks: Sequence[Task]


@dataclass(frozen=True)
class Outcome:
    """What became of a task: a result, or the error that stands in place of one.

    notes: those of the task in another process. seconds: wall time. memory: the peak of its process so far, in bytes. lost:
    whether the task failed because its process kept dying. from_records: whether an earlier run had finished it.
    """

    result: Any = None
    error: RelrepError | None = None
    notes: Sequence[Note] = ()
    seconds: float = 0.0
    memory: int = 0
    lost: bool = False
    from_records: bool = False


@dataclass(frozen=True)
class ProcessEnd:
    """The process of a task has ended amid it; another one does the task. how: a phrase. attempt: counted from 1."""

    how: str
    attempt: int


def named(name: str) -> Callable[..., Any]:
    """Return the function that `module:name` names.

    >>> named("relrep_cli.engine.jobs:named") is named
    True
    """
    module, _, function = name.partition(":")
    named_function: Callable[..., Any] = getattr(import_module(module), function)
    return named_function


def perform(function: Callable[..., Any], make: Callable[[], Any], task: Task, advance: Advance) -> Outcome:
    """Do one task. An error that the user can correct becomes part of the outcome; a signal and a bug are raised."""
    start, used, result, error = time.perf_counter(), records_used(), None, None
    try:
        result = function(make(), advance, *task.arguments)
    except RelrepError as known:
        error = known
    read, kept = (now - before for now, before in zip(records_used(), used, strict=True))
    return Outcome(result, error, (), time.perf_counter() - start, peak_memory(), from_records=bool(read) and not kept)


def peak_memory() -> int:
    """The largest memory that this process has held, in bytes."""
    with suppress(OSError, ValueError, IndexError), open("/proc/self/status", "rb", buffering=0) as file:
        return int(file.read(4096).partition(b"VmHWM:")[2].split()[0]) * 1024
    # The following number counts the memory of the parent at the time of the fork, too.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def outcome_of_lost_task(times: int, how: str) -> Outcome:
    """The outcome of a task whose process ended `times` times."""
    return Outcome(
        error=DataError(
            f"its process ended {times} times, the last time {how}", "Give it more memory, or fewer processes at a time."
        ),
        lost=True,
    )


@dataclass
class Listener(logging.Handler):
    """Collects the notes of tasks in a process that has no user."""

    notes: list[Note] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def emit(self, record: logging.LogRecord) -> None:
        self.notes.append((record.levelno, record.getMessage()))

    __hash__ = logging.Handler.__hash__


@contextmanager
def listening() -> Iterator[Listener]:
    """Within, notes are collected instead of printed, and no other handler gets them."""
    listener, level, propagate, others = Listener(), LOGGER.level, LOGGER.propagate, LOGGER.handlers[:]
    LOGGER.handlers[:] = [listener]
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.propagate = False
    try:
        yield listener
    finally:
        LOGGER.handlers[:] = others
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate

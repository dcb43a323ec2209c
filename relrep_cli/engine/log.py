"""The log of --log FILE: a line of JSON for each task, and for each process that ended amid one."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from relrep_cli.base.errors import WriteError
from relrep_cli.engine.jobs import Job, Outcome, ProcessEnd, peak_memory

DONE, FROM_RECORDS, FAILED, ENDED = "done", "from records", "failed", "process ended"  # what `event` says


@contextmanager
def log_file(path: str) -> Iterator[IO[str]]:
    """The log, to which lines are added. Raises WriteError."""
    try:
        file = open(path, "a", encoding="utf-8", buffering=1, opener=_opened_at_once)  # noqa: SIM115
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise WriteError("this is a pipe that nobody reads", "Name another file.", file=path, place="--log") from None
        raise WriteError(str(error.strerror), "Name another file.", file=path, place="--log") from None
    with file:
        yield file


def _opened_at_once(path: str, flags: int) -> int:
    """A descriptor of the file. A named pipe that nobody reads is refused, where `open` would wait for a reader."""
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
    os.set_blocking(descriptor, True)
    return descriptor


def write_event(log: IO[str], job: Job, number: int, event: Outcome | ProcessEnd) -> None:
    """Add the line of a task that has its outcome, or whose process has ended."""
    task = {"job": job.title, "task": number + 1, "of": len(job.tasks), "name": job.tasks[number].label}
    _write(log, {**task, **(_of_end(event) if isinstance(event, ProcessEnd) else _of_outcome(event))})


def _of_end(event: ProcessEnd) -> dict[str, Any]:
    return {"event": ENDED, "how": event.how, "attempt": event.attempt}


def _of_outcome(outcome: Outcome) -> dict[str, Any]:
    event = FAILED if outcome.error else FROM_RECORDS if outcome.from_records else DONE
    error = {"error": str(outcome.error)} if outcome.error else {}
    return {"event": event, "seconds": round(outcome.seconds, 4), "memory": outcome.memory, **error}


def log_finished(path: str, title: str, labels: Iterable[str]) -> None:
    """Add a line for each task that an earlier run has finished, so that it is no task of this one. path: "" for no log."""
    if path:
        with log_file(path) as log:
            for label in labels:
                _write(log, {"job": title, "name": label, "event": FROM_RECORDS})


@contextmanager
def one_task(path: str, title: str, label: str) -> Iterator[None]:
    """Log what runs within as the one task of its job. path: "" for no log."""
    if not path:
        yield
        return
    with log_file(path) as log:  # opened before the work, which a log that cannot be written would waste
        start = time.perf_counter()
        yield
        of_run = _of_outcome(Outcome(None, None, (), time.perf_counter() - start, peak_memory()))
        _write(log, {"job": title, "task": 1, "of": 1, "name": label, **of_run})


def _write(log: IO[str], line: dict[str, Any]) -> None:
    log.write(json.dumps(line) + "\n")

"""Run a job: choose the engine, keep the order, show progress, write the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import LOGGER, progress
from relrep_cli.engine.jobs import Job, Note, Outcome, ProcessEnd, named, perform
from relrep_cli.engine.log import log_file, write_event


@dataclass(frozen=True)
class Engine:
    """Where tasks run, and where the log goes.

    processes: the number of processes on this machine; 0 for this one. threads: how many threads they have together. address:
    a Dask cluster, "" for none. log: a file of JSON lines, "" for none.
    """

    processes: int = 0
    threads: int = 1
    address: str = ""
    log: str = ""

    @property
    def elsewhere(self) -> bool:
        """Whether tasks run in other processes."""
        return bool(self.processes or self.address)

    @property
    def own_log(self) -> str:
        """The log of a run that is one task of this process; "" where its tasks run elsewhere, and log themselves."""
        return "" if self.elsewhere else self.log


HERE: Engine = Engine()  # annotated, as mypy reads its users first


def outcomes(job: Job, engine: Engine = HERE, state: Any = None) -> Iterator[Outcome]:
    """Yield the outcome of each task, in the order of the tasks, and show progress.

    state: that of this process, where it exists; else `job.setup` makes it. Notes of other processes are printed here, each
    once.

    Raises Interrupted after a signal. Tasks in other processes are stopped when the caller stops early.
    """
    waiting: dict[int, Outcome] = {}
    printed: set[Note] = set()
    with ExitStack() as stack:
        log = stack.enter_context(log_file(engine.log)) if engine.log else None
        advance = stack.enter_context(progress(job.title))
        source = _elsewhere(job, engine) if engine.elsewhere else _here(job, state, advance)
        stack.callback(source.close)
        done = following = 0
        for number, outcome in source:
            if log is not None:
                write_event(log, job, number, outcome)
            if isinstance(outcome, ProcessEnd):
                continue
            done, waiting[number] = done + 1, outcome
            while following in waiting:
                ready = waiting.pop(following)
                following += 1
                for note in ready.notes:
                    if note not in printed:
                        printed.add(note)
                        LOGGER.log(*note)
                yield ready
            if engine.elsewhere:
                advance(done, len(job.tasks), job.tasks[number].label)


def _here(job: Job, state: Any, advance: Any) -> Any:
    function, made = named(job.function), [] if state is None else [state]

    def make() -> Any:
        if not made:
            made.append(named(job.setup)(job.shared))
        return made[0]

    for number, task in enumerate(job.tasks):
        advance(number, len(job.tasks), task.label)
        yield number, perform(function, make, task, _part(advance, number, len(job.tasks), task.label))


def _part(advance: Any, number: int, total: int, label: str) -> Callable[[float], None]:
    return lambda part: advance(number + part, total, label)


def _elsewhere(job: Job, engine: Engine) -> Any:
    if not job.tasks:
        return _here(job, None, None)
    if not engine.address:
        from relrep_cli.engine.processes import outcomes_of_processes  # multiprocessing takes 20 ms to import

        return outcomes_of_processes(job, min(engine.processes, len(job.tasks)), engine.threads)
    from relrep_cli.engine.dask_cluster import outcomes_of_cluster

    return outcomes_of_cluster(job, engine.address)

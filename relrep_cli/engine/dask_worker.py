"""What runs on a Dask worker: each of its threads hosts a process of relrep, and hands tasks to it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from relrep_cli import __version__
from relrep_cli.base.errors import UsageError
from relrep_cli.engine.jobs import Job, Outcome, Task
from relrep_cli.engine.worker import Worker
from relrep_cli.numerics.threads import thread_count

_hosted: dict[int, tuple[str, Worker]] = {}  # by thread of the Dask worker: the job's name, and the process for it


def same(job: Job) -> Job:
    return job


def do_some(
    numbers: Sequence[int], tasks: Sequence[Task], job: Job, name: str, folder: str, version: str
) -> tuple[list[Outcome], str]:
    """Do tasks, one after the other, in the process that this thread of a Dask worker hosts for the job.

    Returns the outcomes, and how the process ended: "" unless it ended amid the task after those that have outcomes.
    """
    refusal = None
    if version != __version__:
        refusal = UsageError(
            f"the cluster has relrep {__version__}, and this is {version}", "Install the same version on both sides."
        )
    else:
        try:
            worker = _worker(job, name, folder)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            remedy = "Run it in a folder that all machines share."
            refusal = UsageError(f"the cluster does not see the folder {folder}", remedy)
    if refusal is not None:
        return [Outcome(error=refusal)] * len(tasks), ""
    outcomes: list[Outcome] = []
    for number, task in zip(numbers, tasks, strict=True):
        worker.send(number, task)
        try:
            outcomes.append(worker.receive())
        except EOFError:
            _hosted.pop(threading.get_ident(), None)
            return outcomes, worker.how_it_ended()
    return outcomes, ""


def _worker(job: Job, name: str, folder: str) -> Worker:
    """The process that this thread hosts for the job."""
    thread = threading.get_ident()
    hosted = _hosted.get(thread)
    if hosted is None or hosted[0] != name:
        if hosted is not None:
            hosted[1].stop()
        hosted = _hosted[thread] = name, Worker(job, _threads(), folder)
    return hosted[1]


def _threads() -> int:
    from distributed import get_worker

    return max(1, thread_count() // get_worker().state.nthreads)


def forget(name: str) -> None:
    """End the processes of a job."""
    for thread, (job, worker) in list(_hosted.items()):
        if job == name:
            _hosted.pop(thread, None)
            worker.process.terminate()  # a task that waits for it sees the end; see Worker.receive
            if worker.task is None:
                worker.stop()

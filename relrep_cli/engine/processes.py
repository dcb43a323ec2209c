"""Run the tasks of a job in several processes on this machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import wait

from relrep_cli.base.signals import check
from relrep_cli.engine.jobs import Job, Outcome, ProcessEnd, outcome_of_lost_task
from relrep_cli.engine.worker import Worker

ATTEMPTS = 3  # how often a task may lose its process
GLANCE = 0.25  # seconds between two looks for a signal


def outcomes_of_processes(job: Job, count: int, threads: int) -> Iterator[tuple[int, Outcome | ProcessEnd]]:
    """Yield the number and the outcome of every task, as they finish, and the end of every process amid a task.

    count: the number of processes. threads: how many threads they have together. A task whose process ends is done again, by
    a new process; after ATTEMPTS its outcome is an error. Raises Interrupted after a signal to this process.
    """
    todo = deque(range(len(job.tasks)))
    lost: dict[int, int] = {}
    each = max(1, threads // count)
    workers: list[Worker] = []
    try:
        while todo or workers:
            check()
            while todo and len(workers) < count:
                workers.append(Worker(job, each))
                _give(workers[-1], job, todo)
            ready = wait([worker.line for worker in workers], GLANCE)
            for worker in [worker for worker in workers if worker.line in ready]:
                number = worker.task
                assert number is not None
                try:
                    yield number, worker.receive()
                except EOFError:
                    workers.remove(worker)
                    lost[number] = lost.get(number, 0) + 1
                    how = worker.how_it_ended()
                    worker.stop()
                    yield number, ProcessEnd(how, lost[number])
                    if lost[number] == ATTEMPTS:
                        yield number, outcome_of_lost_task(ATTEMPTS, how)
                    else:
                        todo.appendleft(number)
                    continue
                if todo:
                    _give(worker, job, todo)
                else:
                    workers.remove(worker)
                    worker.close()
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.stop()


def _give(worker: Worker, job: Job, todo: deque[int]) -> None:
    number = todo.popleft()
    worker.send(number, job.tasks[number])

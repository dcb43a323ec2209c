"""Run the tasks of a job on the workers of a Dask cluster.

A Dask worker hosts a process of relrep for each of its threads and hands tasks to it. So a task runs with the same libraries,
threads and folder as in a process on this machine, and gives the same bytes. Dask takes some milliseconds for a call, so a call
brings several tasks where tasks are short.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import queue
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import Any

from relrep_cli import __version__
from relrep_cli.base.errors import DataError, UsageError, WriteError
from relrep_cli.base.output import say
from relrep_cli.base.signals import check
from relrep_cli.engine.dask_worker import do_some, forget, same
from relrep_cli.engine.jobs import Job, Outcome, ProcessEnd, outcome_of_lost_task
from relrep_cli.engine.processes import ATTEMPTS, GLANCE
from relrep_cli.engine.queue_cluster import asked_for, queue_cluster

PATIENCE = 20.0  # seconds in which a scheduler must answer
# Dask's libraries log a lost connection with a traceback, even while a run ends. What matters of it, relrep says.
LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")
WITH_WORKER = "with its Dask worker"
WORKERS = "all"  # Dask's topic of what the scheduler sees, such as workers that go
CALL = 0.25  # seconds of the tasks of one call, where they are shorter


def outcomes_of_cluster(job: Job, address: str) -> Iterator[tuple[int, Outcome | ProcessEnd]]:
    """Yield the number and the outcome of every task, as they finish, and the end of every process amid a task.

    address: of a scheduler, or its file.

    Raises UsageError for an address that is not to be used; WriteError, after which a retry can help, when the cluster is gone.
    """
    name = secrets.token_hex(8)
    with _client(address) as client:
        if not client.nthreads():
            say(f"{address}: no workers yet; waiting for the first.")
        calls = Calls(client, job, address, name)
        try:
            yield from calls.outcomes()
        finally:
            with suppress(Exception):  # the cluster may be gone
                client.unsubscribe_topic(WORKERS)  # or the scheduler complains, in its own log, of a client that has gone
                client.cancel(list(calls.futures.values()))
                client.run(forget, name)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise UsageError("--cluster needs Dask, which is not installed", "Run pip install distributed.") from None
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        where: Any
        if jobs := asked_for(address):
            where = stack.enter_context(queue_cluster(*jobs))
        else:
            where = scheduler_address(address)
            refuse_open_lines(where)
        client = _connected(Client, where, address)
        try:
            yield client
        finally:
            with suppress(Exception):
                client.close(timeout=2)


def _connected(kind: Any, where: Any, address: str) -> Any:
    try:
        return kind(where, timeout=PATIENCE, name="relrep", set_as_default=False)
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        why = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
        raise WriteError(f"no scheduler answers ({why})", "Start it, then try again.", file=address) from None


def scheduler_address(given: str) -> str:
    """The address of the scheduler: as given, or from the file that the scheduler has written."""
    if not given.endswith(".json"):
        return given if "://" in given else f"tcp://{given}"
    try:
        with open(given, encoding="utf-8") as file:
            content = json.load(file)
        return str(content["address"])
    except OSError as error:
        remedy = "Start dask scheduler --scheduler-file with this name, then try again."
        raise WriteError(str(error.strerror), remedy, file=given, place="--cluster") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(
            "no scheduler has written it", "Name the file of dask scheduler --scheduler-file.", file=given
        ) from None


def refuse_open_lines(address: str) -> None:
    """Raise UsageError for a scheduler on another machine without TLS: whoever reaches it can run programs as this user.

    >>> refuse_open_lines("tcp://127.0.0.1:8786"), refuse_open_lines("tls://node7:8786")
    (None, None)
    """
    protocol, _, rest = address.partition("://")
    host = rest.rpartition(":")[0].strip("[]") or rest
    loopback = host == "localhost"
    with suppress(ValueError):
        loopback = ipaddress.ip_address(host).is_loopback
    if protocol != "tls" and not loopback:
        raise UsageError(
            f"--cluster {address} is not encrypted, and not on this machine",
            "Start the scheduler with --protocol tls (docs/cluster.md).",
        )


class Calls:
    """The calls of one job. futures, numbers: by key, of each call that runs: its future, and the tasks that it does."""

    def __init__(self, client: Any, job: Job, address: str, name: str) -> None:
        self.client, self.job, self.address = client, job, address
        shared = client.submit(same, replace(job, tasks=()), key=f"relrep-job-{name}", pure=False)
        self.how = {"job": shared, "name": name, "folder": os.getcwd(), "version": __version__}
        self.keys = (f"relrep-{name}-{call}" for call in count())
        self.todo = deque(range(len(job.tasks)))
        self.attempts: Counter[int] = Counter()  # how many processes each task has lost
        self.deaths: Counter[int] = Counter()  # how many Dask workers each task has lost, which are not its fault alone
        self.futures: dict[str, Any] = {}
        self.numbers: dict[str, list[int]] = {}
        self.size, self.threads = 1, 0  # tasks of the next call; threads of all Dask workers
        self.events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()  # the key of a call, or "", and what became of it
        self.finished: queue.SimpleQueue[Any] = queue.SimpleQueue()  # futures whose results are to be fetched

    def outcomes(self) -> Iterator[tuple[int, Outcome | ProcessEnd]]:
        """What came of each task, as in `outcomes_of_cluster`; looks for signals meanwhile."""
        self.client.subscribe_topic(WORKERS, lambda event: self.events.put(("", event[1])))
        threading.Thread(target=self._fetch, daemon=True).start()
        self.threads, lost_since = sum(self.client.nthreads().values()), 0.0
        try:
            while self.todo or self.futures:
                check()
                if running := self.client.status == "running":
                    self._submit()
                try:
                    key, answer = self.events.get(timeout=GLANCE)
                except queue.Empty:
                    lost_since = 0.0 if running else lost_since or time.monotonic()
                    if lost_since and time.monotonic() - lost_since >= PATIENCE:
                        raise self._gone() from None
                    continue
                yield from self._of_call(key, answer) if key else self._of_workers(answer)
        finally:
            self.finished.put(None)

    def _submit(self) -> None:
        """Keep two calls for each thread: one that runs, and one that waits."""
        while self.todo and len(self.futures) < 2 * max(1, self.threads):
            share = -(-len(self.todo) // (2 * max(1, self.threads)))
            most = 1 if self.attempts[self.todo[0]] else min(self.size, share)  # what ends its process goes alone
            numbers = [self.todo.popleft() for _ in range(most)]
            tasks = [self.job.tasks[number] for number in numbers]
            future = self.client.submit(do_some, numbers, tasks, **self.how, key=(key := next(self.keys)), pure=False)
            self.futures[key], self.numbers[key] = future, numbers
            future.add_done_callback(self.finished.put)

    def _fetch(self) -> None:
        """Fetch results until there are no more futures. The life of a thread, which a lost scheduler can keep waiting."""
        while (future := self.finished.get()) is not None:
            some = [future]
            while not self.finished.empty() and (more := self.finished.get()) is not None:
                some.append(more)
            for answer in _answers(self.client, some):
                self.events.put(answer)

    def _of_call(self, key: str, answer: Any) -> Iterator[tuple[int, Outcome | ProcessEnd]]:
        """What came of the tasks of a call that has ended. Those without an outcome are done again."""
        from distributed import KilledWorker

        numbers = self.numbers.pop(key)
        del self.futures[key]
        if answer is None:
            raise self._gone()
        if isinstance(answer, KilledWorker):
            if len(numbers) == 1:
                yield numbers[0], outcome_of_lost_task(ATTEMPTS, WITH_WORKER)
            else:  # one of them may be to blame: alone, it does not take the others with it
                self._again(numbers)
            return
        if isinstance(answer, BaseException):
            raise answer
        outcomes, how = answer
        yield from zip(numbers, outcomes, strict=False)
        if not how:
            mean = sum(outcome.seconds for outcome in outcomes) / len(outcomes)
            self.size = max(1, min(2 * len(numbers), int(CALL / max(mean, 1e-6))))
            return
        left = numbers[len(outcomes) :]
        self._again(left)
        self.attempts[left[0]] += 1
        yield left[0], ProcessEnd(how, self.attempts[left[0]])
        if self.attempts[left[0]] == ATTEMPTS:
            self.todo.remove(left[0])
            yield left[0], outcome_of_lost_task(ATTEMPTS, how)

    def _again(self, numbers: list[int]) -> None:
        self.size = 1
        self.todo.extendleft(reversed(numbers))

    def _of_workers(self, event: Any) -> Iterator[tuple[int, ProcessEnd]]:
        """What the scheduler says of a worker that comes or goes. Dask itself does the calls of a lost worker again."""
        action = event.get("action") if isinstance(event, dict) else None
        if action in ("add-worker", "remove-worker"):
            with suppress(Exception):  # the cluster may be gone
                self.threads = sum(self.client.nthreads().values())
        if action == "remove-worker" and not event.get("expected"):
            for key in self.numbers.keys() & set(event.get("processing-tasks", ())):
                for number in self.numbers[key]:
                    self.deaths[number] += 1
                    yield number, ProcessEnd(WITH_WORKER, self.deaths[number])

    def _gone(self) -> WriteError:
        return WriteError("the scheduler is gone", "The same command goes on from what is kept.", file=self.address)


def _answers(client: Any, batch: list[Any]) -> list[tuple[str, Any]]:
    """The key of each call and its result or exception; None for a call that was cancelled."""
    done = [call for call in batch if call.status == "finished"]
    failed = [(call.key, call.exception() if call.status == "error" else None) for call in batch if call.status != "finished"]
    try:  # one request brings the results of all: asking for each would cost as much as a small task
        results = client.gather(done)
    except Exception:  # of a result that was lost with its worker, and could not be made again
        results = [_result(call) for call in done]
    return failed + list(zip((call.key for call in done), results, strict=True))


def _result(call: Any) -> Any:
    try:
        return call.result()
    except Exception as error:
        return error

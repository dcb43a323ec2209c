"""The only door to Dask: run the tasks of a job on the workers of a Dask cluster.

A Dask worker hosts a process of relrep for each of its threads and hands tasks to it. So a task runs with the same libraries,
threads and folder as in a process on this machine, and gives the same bytes.
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
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

from relrep_cli import __version__
from relrep_cli.base.errors import DataError, UsageError, WriteError
from relrep_cli.base.output import say
from relrep_cli.base.signals import check
from relrep_cli.engine.jobs import Job, Outcome, ProcessEnd, Task, outcome_of_lost_task
from relrep_cli.engine.processes import ATTEMPTS, GLANCE
from relrep_cli.engine.queue_cluster import asked_for, queue_cluster
from relrep_cli.engine.worker import Worker
from relrep_cli.numerics.threads import thread_count

PATIENCE = 20.0  # seconds in which a scheduler must answer
# Dask's libraries log a lost connection with a traceback, even while a run ends. What matters of it, relrep says.
LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")
WITH_WORKER = "with its Dask worker"
WORKERS = "all"  # Dask's topic of what the scheduler sees, such as workers that go
_hosted: dict[int, tuple[str, Worker]] = {}  # by thread of the Dask worker: the job's name, and the process for it


class Ended(RuntimeError):
    """The process of a task has ended. The text says how."""


def outcomes_of_cluster(job: Job, address: str) -> Iterator[tuple[int, Outcome | ProcessEnd]]:
    """Yield the number and the outcome of every task, as they finish, and the end of every process amid a task.

    address: of a scheduler, or its file.

    Raises UsageError for an address that is not to be used; WriteError, after which a retry can help, when the cluster is gone.
    """
    name, folder = secrets.token_hex(8), os.getcwd()
    with _client(address) as client:
        if not client.scheduler_info()["workers"]:
            say(f"{address}: no workers yet; waiting for the first.")
        shared = client.submit(_same, replace(job, tasks=()), key=f"relrep-job-{name}", pure=False)
        calls = client.map(
            _do,
            range(len(job.tasks)),
            list(job.tasks),
            job=shared,
            name=name,
            folder=folder,
            version=__version__,
            key=f"relrep-{name}",
            retries=ATTEMPTS - 1,
        )
        numbers = {call.key: number for number, call in enumerate(calls)}
        attempts: Counter[int] = Counter()
        try:
            for key, answer in _finished(client, calls, address, name):
                number = numbers[key]
                if isinstance(answer, str):
                    attempts[number] += 1
                yield number, ProcessEnd(answer, attempts[number]) if isinstance(answer, str) else _outcome(answer)
        finally:
            with suppress(Exception):  # the cluster may be gone
                for topic in (name, WORKERS):  # or the scheduler complains, in its own log, of a client that has gone
                    client.unsubscribe_topic(topic)
                client.cancel(calls)
                client.run(_forget, name)


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


def _same(job: Job) -> Job:
    return job


def _do(number: int, task: Task, job: Job, name: str, folder: str, version: str) -> Outcome:
    """Do a task in the process that this thread of a Dask worker hosts for the job. Runs on the Dask worker."""
    if version != __version__:
        error = UsageError(
            f"the cluster has relrep {__version__}, and this is {version}", "Install the same version on both sides."
        )
        return Outcome(error=error)
    thread = threading.get_ident()
    hosted = _hosted.get(thread)
    if hosted is None or hosted[0] != name:
        if hosted is not None:
            hosted[1].stop()
        try:
            hosted = _hosted[thread] = name, Worker(job, _threads(), folder)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            remedy = "Run it in a folder that all machines share."
            return Outcome(error=UsageError(f"the cluster does not see the folder {folder}", remedy))
    worker = hosted[1]
    worker.send(number, task)
    try:
        return worker.receive()
    except EOFError:
        _hosted.pop(thread, None)
        how = worker.how_it_ended()
        _report_end(name, number, how)
        raise Ended(how) from None


def _report_end(name: str, number: int, how: str) -> None:
    """Tell the client of a process that has ended, which Dask's own retry would not."""
    from distributed import get_worker

    get_worker().log_event(name, {"number": number, "how": how})


def _threads() -> int:
    from distributed import get_worker

    return max(1, thread_count() // get_worker().state.nthreads)


def _forget(name: str) -> None:
    """End the processes of a job. Runs on the Dask worker."""
    for thread, (job, worker) in list(_hosted.items()):
        if job == name:
            _hosted.pop(thread, None)
            worker.process.terminate()  # a task that waits for it sees the end; see Worker.receive
            if worker.task is None:
                worker.stop()


def _finished(client: Any, calls: list[Any], address: str, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the key of each call and its result or exception, as they finish; look for signals meanwhile.

    A process that ends amid a call gives the key and a phrase that says how it ended.
    """
    from distributed import as_completed

    finished: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def collect() -> None:
        try:
            for batch in as_completed(calls, loop=client.loop).batches():
                for answer in _answers(client, batch):
                    finished.put(answer)
        except Exception as error:
            finished.put(("", error))

    own = {call.key for call in calls}

    def note_worker(event: tuple[float, Any]) -> None:
        message = event[1]
        if isinstance(message, dict) and message.get("action") == "remove-worker" and not message.get("expected"):
            for key in own.intersection(message.get("processing-tasks", ())):
                finished.put((key, WITH_WORKER))

    client.subscribe_topic(name, lambda event: finished.put((calls[event[1]["number"]].key, event[1]["how"])))
    client.subscribe_topic(WORKERS, note_worker)
    threading.Thread(target=collect, daemon=True).start()
    left, lost_since = len(calls), 0.0
    while left:
        check()
        try:
            key, result = finished.get(timeout=GLANCE)
        except queue.Empty:
            lost_since = 0.0 if client.status == "running" else lost_since or time.monotonic()
            if not lost_since or time.monotonic() - lost_since < PATIENCE:
                continue
            result = None
        if result is None:
            remedy = "The same command goes on from what is kept."
            raise WriteError("the scheduler is gone", remedy, file=address)
        if not key:
            raise result
        left -= not isinstance(result, str)
        yield key, result


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


def _outcome(answer: Any) -> Outcome:
    from distributed import KilledWorker

    if isinstance(answer, KilledWorker):
        return outcome_of_lost_task(ATTEMPTS, WITH_WORKER)
    if isinstance(answer, Ended):
        return outcome_of_lost_task(ATTEMPTS, str(answer))
    if isinstance(answer, BaseException):
        raise answer
    outcome: Outcome = answer
    return outcome

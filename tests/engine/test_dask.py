"""Tasks on a Dask cluster: the outcomes of this process, whatever dies."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relrep_cli.base.errors import UsageError, WriteError
from relrep_cli.engine import dask_cluster
from relrep_cli.engine.jobs import Job, Outcome, Task
from relrep_cli.engine.running import Engine, outcomes

JOB = Job("counting", "engine_tasks:square", "engine_tasks:start", None, [Task((1,), "1")])
pytest.importorskip("distributed", reason="Dask not installed: pip install 'relrep[cluster]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler and two workers on this machine: its file, and its process."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    here = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": here, "PYTHONWARNINGS": "ignore"}
    shared = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    with (folder / "log").open("wb") as log:
        streams: dict[str, Any] = {"env": env, "stdout": log, "stderr": log, "cwd": folder}
        first = subprocess.Popen([sys.executable, "-m", "dask", "scheduler", "--port", "0", *shared], **streams)
        own = ["--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
        workers = [subprocess.Popen([sys.executable, "-m", "dask", "worker", *shared, *own], **streams) for _ in range(2)]
    try:
        yield str(file), first
    finally:
        for process in (first, *workers):
            process.kill()
            process.wait()


def done(scheduler: tuple[str, Any], function: str, count: int, shared: Any = None, log: str = "") -> list[Outcome]:
    for _ in range(200):
        if os.path.exists(scheduler[0]):
            break
        dask_cluster.time.sleep(0.1)
    tasks = [Task((i,), f"{i}") for i in range(count)]
    job = Job("counting", f"engine_tasks:{function}", "engine_tasks:start", shared, tasks)
    return list(outcomes(job, Engine(address=scheduler[0], log=log)))


def ends(log: Path) -> list[tuple[str, str]]:
    """The tasks and how their processes ended, by the log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [(line["name"], line["how"]) for line in lines if line["event"] == "process ended"]


def test_dask_gives_the_outcomes_of_this_process_in_its_order(scheduler: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="relrep"):
        assert [one.result[0] for one in done(scheduler, "square", 20)] == [i * i for i in range(20)]
    assert [record.message for record in caplog.records if record.message == "squaring"] == ["squaring"]


def test_the_task_of_a_killed_process_is_done_again(scheduler: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert [one.result for one in done(scheduler, "fall_once", 200, str(tmp_path), str(log))] == list(range(200))
    assert ends(log) == [(number, "by signal SIGKILL") for number in ("2", "150")]


def test_errors_stand_in_the_place_of_their_tasks(scheduler: Any) -> None:
    actual = done(scheduler, "refuse_odd", 3)
    assert [one.result for one in actual] == [0, None, 2] and "odd" in str(actual[1].error)
    actual = done(scheduler, "fall_always", 200)
    assert [one.result for one in actual] == [None if number in (1, 150) else number for number in range(200)]
    assert "ended 3 times, the last time by signal SIGKILL" in str(actual[1].error) == str(actual[150].error)


def test_short_tasks_share_calls(scheduler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 tasks in about 40 calls, as a call costs as much as 50 of these tasks; long ones have a call each."""
    calls = []
    original = dask_cluster.Calls._submit

    def submit(self: Any) -> None:
        before = set(self.numbers)
        original(self)
        calls.extend(len(self.numbers[key]) for key in self.numbers.keys() - before)

    monkeypatch.setattr(dask_cluster.Calls, "_submit", submit)
    assert [one.result[0] for one in done(scheduler, "square", 500)] == [i * i for i in range(500)]
    assert sum(calls) == 500 and len(calls) < 100 and calls[0] == 1
    calls.clear()
    assert [one.result for one in done(scheduler, "nap", 12)] == list(range(12)) and calls == [1] * 12


def test_the_task_of_a_killed_dask_worker_is_done_again(scheduler: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert [one.result for one in done(scheduler, "fall_with_parent", 4, str(tmp_path), str(log))] == [0, 1, 2, 3]
    assert (tmp_path / "1").exists() and ("1", "with its Dask worker") in ends(log)


def test_without_its_scheduler_a_run_ends(scheduler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "PATIENCE", 1.0)
    running = outcomes(
        Job("counting", "engine_tasks:nap", "engine_tasks:start", None, [Task((i,), "") for i in range(20)]),
        Engine(address=scheduler[0]),
    )
    next(running)
    scheduler[1].kill()
    with pytest.raises(WriteError, match="the scheduler is gone"):
        list(running)
    with pytest.raises(WriteError, match="no scheduler answers"):
        done(scheduler, "square", 1)


@pytest.mark.skipif(importlib.util.find_spec("dask_jobqueue") is None, reason="pip install dask-jobqueue")
def test_what_cannot_be_submitted_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the command is missing, nor where it refuses the job."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="--cluster pbs:2 submits jobs with qsub, which is not on this machine"):
        list(outcomes(JOB, Engine(address="pbs:2")))
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: far' >&2\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    with pytest.raises(WriteError, match=r"cannot be submitted \(sbatch: error: invalid partition specified: far\)"):
        list(outcomes(JOB, Engine(address="slurm:2")))
    assert [path.name for path in tmp_path.iterdir()] == ["sbatch"]

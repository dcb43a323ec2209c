"""The engine room: the same outcomes in this process and in others, whatever becomes of them; and parts of a job."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Workdir, ended

from relrep_cli.base import signals
from relrep_cli.base.errors import UsageError
from relrep_cli.base.output import progress
from relrep_cli.engine.dask_cluster import refuse_open_lines, scheduler_address
from relrep_cli.engine.jobs import Job, Outcome, Task
from relrep_cli.engine.running import HERE, Engine, outcomes
from relrep_cli.engine.shards import Shard, shard_of
from relrep_cli.engine.worker import Bug

TWO = Engine(processes=2, threads=2)
SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "9", "SLURM_ARRAY_TASK_STEP": "2"}


def job(function: str, count: int, shared: Any = None) -> Job:
    return Job("counting", f"engine_tasks:{function}", "engine_tasks:start", shared, [Task((i,), f"{i}") for i in range(count)])


def results(actual: list[Outcome]) -> list[Any]:
    return [str(one.error) if one.error else one.result for one in actual]


def test_processes_give_the_outcomes_of_this_process_in_its_order() -> None:
    here, there = (list(outcomes(job("square", 7), engine)) for engine in (HERE, TWO))
    assert [one.result[0] for one in there] == [one.result[0] for one in here] == [i * i for i in range(7)]
    assert [one.result[1] for one in here] == list(range(1, 8)), "one state serves all tasks"
    assert max(one.result[1] for one in there) < 7
    assert all(one.memory > 1 << 20 for one in there)


@pytest.mark.parametrize("engine", [HERE, TWO])
def test_an_error_of_a_task_stands_in_its_place(engine: Engine) -> None:
    assert results(list(outcomes(job("refuse_odd", 4), engine))) == [
        0,
        "x.npy: 1 is odd. Double it.",
        2,
        "x.npy: 3 is odd. Double it.",
    ]


def test_the_task_of_a_killed_process_is_done_again(tmp_path: Path) -> None:
    assert results(list(outcomes(job("fall_once", 5, str(tmp_path)), TWO))) == [0, 1, 2, 3, 4]
    assert (tmp_path / "2").exists()


def test_a_task_that_always_kills_its_process_becomes_an_error() -> None:
    actual = results(list(outcomes(job("fall_always", 3), TWO)))
    assert actual[0] == 0 and actual[2] == 2
    assert "ended 3 times, the last time by signal SIGKILL" in actual[1]


def test_a_bug_in_a_process_is_raised_with_its_traceback() -> None:
    with pytest.raises(Bug, match="ZeroDivisionError: a bug"):
        list(outcomes(job("crash", 2), TWO))


def test_each_note_of_processes_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="relrep"):
        list(outcomes(job("square", 5), TWO))
    assert [record.message for record in caplog.records] == ["squaring"]


def test_a_caller_that_stops_leaves_no_process() -> None:
    running = outcomes(job("square", 50), TWO)
    next(running)
    before = {path for path in os.listdir("/proc") if path.isdigit() and _parent(path) == os.getpid() and _is_worker(path)}
    assert before
    running.close()
    assert not [path for path in before if os.path.exists(f"/proc/{path}")]


def _parent(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _is_worker(pid: str) -> bool:
    """Whether it is a process for tasks that still runs: one that has ended, and whose parent has not asked, has no words."""
    try:
        return b"engine.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("engine", [HERE, TWO, Engine(address="tcp://127.0.0.1:1")])
def test_a_job_without_tasks_needs_no_engine(engine: Engine) -> None:
    assert list(outcomes(job("square", 0), engine)) == []


def test_a_signal_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    pending: list[int] = []
    monkeypatch.setattr(signals, "_pending", pending)
    running = outcomes(job("square", 10_000), TWO)
    next(running)
    threading.Timer(0.1, lambda: pending.append(signal.SIGTERM)).start()
    with pytest.raises(signals.Interrupted):
        list(running)


def test_the_log_has_a_line_for_each_task(tmp_path: Path) -> None:
    list(outcomes(job("refuse_odd", 3), Engine(log=str(tmp_path / "log.jsonl"))))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["task"], line["of"], line["name"]) for line in lines] == [(1, 3, "0"), (2, 3, "1"), (3, 3, "2")]
    assert "odd" in lines[1]["error"] and all(line["seconds"] >= 0 and line["memory"] > 0 for line in lines)


def events(path: Path) -> list[tuple[str, str]]:
    return [(line["name"], line["event"]) for line in map(json.loads, path.read_text().splitlines())]


@pytest.mark.parametrize("engine", [HERE, TWO])
def test_the_log_tells_records_from_work(engine: Engine, tmp_path: Path) -> None:
    for file in ("first", "second"):
        list(outcomes(job("remember", 3, str(tmp_path / "kept")), replace(engine, log=str(tmp_path / file))))
    assert sorted(events(tmp_path / "first")) == [("0", "done"), ("1", "failed"), ("2", "done")]
    assert sorted(events(tmp_path / "second")) == [("0", "from records"), ("1", "failed"), ("2", "from records")]


def test_the_log_names_a_task_whose_process_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    list(outcomes(job("fall_once", 4, str(tmp_path)), replace(TWO, log=str(log))))
    assert sorted(events(log)) == [*((f"{i}", "done") for i in range(3)), ("2", "process ended"), ("3", "done")]
    (end,) = [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == "process ended"]
    assert (end["task"], end["of"], end["how"], end["attempt"]) == (3, 4, "by signal SIGKILL", 1)


def test_a_run_in_one_process_is_one_task_of_its_log(empty: Workdir) -> None:
    """So that an array of parts can be watched. A log that cannot be written is refused before the work."""
    for name in "ab":
        np.save(empty / f"{name}.npy", np.random.default_rng(1).normal(size=(2100, 3)))
    (empty / "ids.txt").write_text("\n".join(map(str, range(20))))
    for part in (1, 2):
        empty.here(f"relrep project a.npy -a ids.txt -o r.h5 --shard {part}/2 --log project.jsonl")
    empty.here("relrep translate a.npy --into b.npy -a ids.txt -o t.h5 --log translate.jsonl")
    empty.here("relrep embed a.npy --encoder pca --dim 2 -o e.h5 --log embed.jsonl")
    assert events(empty / "project.jsonl") == [("r.1-of-2.h5", "done"), ("r.2-of-2.h5", "done")]
    assert [events(empty / f"{job}.jsonl") for job in ("translate", "embed")] == [[("t.h5", "done")], [("e.h5", "done")]]
    empty.here("relrep project a.npy -a ids.txt -o x.h5 --log no/x.jsonl", 74)
    assert not (empty / "x.h5").exists()


def test_the_log_names_the_pairs_of_a_cache(empty: Workdir) -> None:
    for name in "abc":
        np.save(empty / f"{name}.npy", np.random.default_rng(ord(name)).normal(size=(30, 3)))
    empty.here("relrep compare a.npy b.npy -m cka --cache kept")
    empty.here("relrep compare a.npy b.npy c.npy -m cka --cache kept --log log.jsonl")
    expected = [("a.npy b.npy", "from records"), ("a.npy c.npy", "done"), ("b.npy c.npy", "done")]
    assert events(empty / "log.jsonl") == expected


def test_force_replaces_the_output_and_keeps_what_was_measured(empty: Workdir) -> None:
    """So that a run may be repeated after a refusal, or with a file mended, at the cost of what is new."""
    for name in "abc":
        np.save(empty / f"{name}.npy", np.random.default_rng(ord(name)).normal(size=(30, 3)))
    (empty / "out.tsv").write_text("something else")
    assert "out.tsv: exists" in empty.here("relrep compare a.npy b.npy -m cka -o out.tsv", 2).stderr
    empty.here("relrep compare a.npy b.npy c.npy -m cka -o out.tsv --force --log log.jsonl")
    expected = [("a.npy b.npy", "from records"), ("a.npy c.npy", "done"), ("b.npy c.npy", "done")]
    assert events(empty / "log.jsonl") == expected and (empty / "out.tsv").read_text().startswith("a\tb\tmetric")


def test_after_a_file_was_mended_the_other_pairs_come_from_records(empty: Workdir) -> None:
    for name in "abc":
        np.save(empty / f"{name}.npy", np.random.default_rng(ord(name)).normal(size=(30, 3)))
    whole = (empty / "c.npy").read_bytes()
    (empty / "c.npy").write_bytes(whole[:200])
    done = empty.here("relrep compare a.npy b.npy c.npy -m cka -o out.tsv", 3)
    assert "c.npy" in done.stderr and "2 of 3 results are missing" in done.stderr
    (empty / "c.npy").write_bytes(whole)
    empty.here("relrep compare a.npy b.npy c.npy -m cka -o out.tsv --force --log log.jsonl")
    expected = [("a.npy b.npy", "from records"), ("a.npy c.npy", "done"), ("b.npy c.npy", "done")]
    assert events(empty / "log.jsonl") == expected and not (empty / ".out.tsv.relrep-records").exists()


# --- shards ---


@pytest.mark.parametrize("total, count", [(0, 3), (7, 3), (3, 7), (1770, 60)])
def test_shards_hold_each_task_once(total: int, count: int) -> None:
    parts = [Shard(number, count).of(total) for number in range(1, count + 1)]
    assert [place for part in parts for place in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    "text, environment, wanted",
    [
        ("auto", SLURM, Shard(3, 4)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "3"}, Shard(1, 4)),
        ("auto", {"LSB_JOBINDEX": "2", "LSB_JOBINDEX_END": "5"}, Shard(2, 5)),
        ("auto", {"SGE_TASK_ID": "2", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "2", "SGE_TASK_STEPSIZE": "1"}, Shard(2, 2)),
        ("auto/6", {"PBS_ARRAY_INDEX": "6"}, Shard(6, 6)),
        ("auto/6", {"PBS_ARRAYID": "2"}, Shard(2, 6)),
        ("auto/8", {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "7"}, Shard(7, 8)),
        ("2/3", SLURM, Shard(2, 3)),
    ],
)
def test_shards_of_schedulers(text: str, environment: dict[str, str], wanted: Shard) -> None:
    assert shard_of(text, environment) == wanted


@pytest.mark.parametrize(
    "text, environment",
    [("0/3", {}), ("4/3", {}), ("1", {}), ("a/b", {}), ("auto", {}), ("auto", {"LSB_JOBINDEX": "0", "LSB_JOBINDEX_END": "0"}),
     ("auto", {"PBS_ARRAY_INDEX": "1"}), ("auto/2", {"PBS_ARRAY_INDEX": "3"}),
     ("auto/2", {"PBS_ARRAY_INDEX": "0"}), ("auto", {"PBS_ARRAYID": "1"}), ("auto", {"SGE_TASK_ID": "undefined"}),
     ("auto", {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_MAX": "5"}),
     ("auto", {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MAX": "7", "SLURM_ARRAY_TASK_COUNT": "2"})],
)  # fmt: skip
def test_what_is_no_shard_is_refused(text: str, environment: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        shard_of(text, environment)


# --- addresses ---


@pytest.mark.parametrize("address", ["tcp://node7:8786", "tcp://10.0.0.7:8786", "ws://node7:1", "tcp://0.0.0.0:1"])
def test_a_line_without_tls_leaves_this_machine_never(address: str) -> None:
    with pytest.raises(UsageError, match="not encrypted"):
        refuse_open_lines(address)


@pytest.mark.parametrize("address", ["tcp://localhost:1", "tcp://127.0.0.1:8786", "tcp://[::1]:8786", "tls://node7:8786"])
def test_what_may_be_used(address: str) -> None:
    refuse_open_lines(address)


def test_the_address_stands_in_the_file_of_the_scheduler(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"address": "tls://10.0.0.7:8786"}')
    assert scheduler_address(str(tmp_path / "s.json")) == "tls://10.0.0.7:8786"
    assert scheduler_address("localhost:8786") == "tcp://localhost:8786"


def test_without_a_terminal_progress_is_a_line_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    now = [0.0]
    monkeypatch.setattr("relrep_cli.base.progress_lines.time", types.SimpleNamespace(monotonic=lambda: now[0]))
    with caplog.at_level("INFO", logger="relrep"), progress("comparing") as advance:
        for second in range(181):
            now[0] = float(second)
            advance(second // 2, 1000)
    assert [record.message for record in caplog.records] == [
        "comparing: 7 of 1000, 28 a minute, 35 min left.",
        "comparing: 37 of 1000, 29.6 a minute, 33 min left.",
        "comparing: 67 of 1000, 29.8 a minute, 31 min left.",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_a_run_and_its_processes(empty: Workdir, number: signal.Signals) -> None:
    for name in "abc":
        np.save(empty / f"{name}.npy", np.random.default_rng(ord(name)).normal(size=(800, 32)))
    process = empty.start("compare a.npy b.npy c.npy -m cka,cosine --permutations 100000 -o out.tsv --cluster local:2")
    records = empty / ".out.tsv.relrep-records"
    for _ in range(300):
        if records.is_dir() and list(records.glob("*.null")):
            break
        time.sleep(0.05)
    own = [path for path in os.listdir("/proc") if path.isdigit() and _parent(path) == process.pid and _is_worker(path)]
    code, stderr, seconds = ended(process, number)
    assert code == (-9 if number == signal.SIGKILL else 128 + number) and seconds < 4 and len(own) == 2
    assert "goes on from what is kept in .out.tsv.relrep-records" in stderr or number == signal.SIGKILL
    for _ in range(100):  # processes look for their parent twice a second
        if not any(map(_is_worker, own)):
            break
        time.sleep(0.1)
    assert not [path for path in own if _is_worker(path)] and not (empty / "out.tsv").exists()

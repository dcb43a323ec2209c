"""A stitching grid in parts, and in other processes: the bytes of one run; what cannot be divided is refused."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import Workdir, ended
from workers import kill_a_worker

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.engine.jobs import Outcome, outcome_of_lost_task
from relrep_cli.engine.shards import to_bytes
from relrep_cli.stitching.grid_results import Column, Frame, Grid, collect

GRID = "relrep stitch a.npz b.npz c.npz -a ids.txt -m none,relative,ridge -s cosine --head linear,knn --test-size 0.3 -q"

CELL = {"accuracy": 0.5, "f1": 0.5, "deviation": 0.0, "low": 0.4, "high": 0.6}


@pytest.fixture
def spaces(empty: Workdir) -> Workdir:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(60, 4))
    for name in "abc":
        labels = (hidden[:, 0] > 0).astype(int).astype("S")
        np.savez(empty / f"{name}.npz", x=hidden @ rng.normal(size=(4, 5)), ids=np.arange(60).astype("S"), label=labels)
    (empty / "ids.txt").write_text("\n".join(map(str, range(9))))
    return empty


def parts_of(work: Workdir, count: int, more: str = "") -> list[str]:
    for number in range(1, count + 1):
        work.here(f"{GRID} -o grid.tsv --shard {number}/{count} {more}")
    return [f"grid.tsv.{number}-of-{count}.part" for number in range(1, count + 1)]


@pytest.mark.slow
def test_the_whole_of_parts_has_the_bytes_of_one_run(spaces: Workdir) -> None:
    whole = spaces.here(GRID).stdout
    one, two = parts_of(spaces, 2)
    assert spaces.here(f"relrep merge {two} {one}").stdout == whole
    spaces.here(f"relrep merge {two} {one} -o grid.tsv")
    assert (spaces / "grid.tsv").read_text() == whole
    assert not list(spaces.path.glob(".grid*"))
    spaces.error(f"relrep merge {two} -o whole.tsv", 2, "1 of 2 parts are missing: 1.")
    spaces.error(f"relrep merge {one} {two} --fail-under 1", 2, "the parts are of stitch")
    different = parts_of(spaces, 2, "--seeds 2 --force")
    spaces.here(f"{GRID} -o grid.tsv --shard 1/2 --force")
    spaces.error(f"relrep merge {' '.join(different)}", 2, "other options than")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: p | {"shard": [1]},
        lambda p: p | {"heads": []},
        lambda p: p | {"job": {"frame": {}}},
        lambda p: p | {"heads": [7] * 6},
        lambda p: p | {"version": "0"},
        lambda p: p | {"relrep part": "compare"},
    ],
)
def test_a_spoilt_part_is_refused_in_one_line(spaces: Workdir, spoil: Callable[[Any], Any]) -> None:
    (part,) = parts_of(spaces, 1)
    content = json.loads((spaces / part).read_text())
    (spaces / part).write_bytes(to_bytes("stitch", spoil(content)))
    spaces.error(f"relrep merge {part} -o whole.tsv", 3, part)


@pytest.mark.parametrize(
    "option, words",
    [("--shard 1/2", "Name the whole with -o"), ("--shard 1/2 -o g.tsv --plot p.png", "--plot needs the whole"),
     ("--shard 1/2 -o g.tsv --predictions p.tsv", "--predictions needs the whole"), ("--shard 7/6 -o g.tsv", "names no part")],
)  # fmt: skip
def test_what_cannot_be_divided(spaces: Workdir, option: str, words: str) -> None:
    spaces.error(f"{GRID} {option}", 2, words)


def test_a_head_that_was_lost_gives_records_with_the_error() -> None:
    """The heads of b were lost: cells of head b have the error, and those of encoder b no end-to-end score."""
    frame = Frame(["a", "b"], "classes", {}, {"none": None}, [Grid(0, "linear", [("none", False)])], [("none", "linear")])
    kept = Outcome(Column([("none", e, CELL) for e in (0, 1)], [7, 8]))
    actual = {(r["encoder"], r["head"]): r for r in collect(frame, [kept, outcome_of_lost_task(3, "by signal SIGKILL")])}
    assert actual["a", "a"]["stitching_index"] == 1 and "error" not in actual["b", "a"]
    assert actual["b", "a"]["accuracy"] == 0.5 and actual["b", "a"]["stitching_index"] is None
    assert "ended 3 times" in actual["a", "b"]["error"] and actual["a", "b"]["accuracy"] is None
    with pytest.raises(DataError, match="ended 3 times"):
        collect(frame, [outcome_of_lost_task(3, ""), outcome_of_lost_task(3, "")])


def test_a_task_that_is_refused_by_a_head_refuses_the_run() -> None:
    frame = Frame(["a", "b"], "classes", {}, {"none": None}, [Grid(0, "linear", [("none", True)])], [("none", "linear")])
    with pytest.raises(UsageError, match="no such width"):
        collect(frame, [Outcome(Column([("none", 0, CELL)], [7, 8])), Outcome(error=UsageError("no such width"))])


@pytest.mark.slow
def test_other_processes_give_the_bytes_of_this_one_though_one_is_killed(spaces: Workdir) -> None:
    command = f"{GRID.replace('linear,knn', 'linear,mlp')} --seeds 3"
    process = spaces.start(command.removeprefix("relrep ") + " --cluster local:2 --log log.jsonl")
    kill_a_worker(process, spaces / "log.jsonl")
    assert process.communicate()[0].decode() == spaces.here(command).stdout and process.returncode == 0


@pytest.mark.slow
def test_the_rerun_of_a_killed_grid_keeps_what_is_finished(spaces: Workdir) -> None:
    command = f"{GRID.replace('linear,knn', 'linear,mlp')} --seeds 3 --cluster local:2 --cache kept"
    process = spaces.start(command.removeprefix("relrep ") + " --log log.jsonl")
    while not ((spaces / "log.jsonl").exists() and (spaces / "log.jsonl").read_text().count("\n") >= 2):
        assert process.poll() is None
        time.sleep(0.02)
    assert ended(process, signal.SIGKILL)[0] == -signal.SIGKILL
    time.sleep(1)  # its processes look for their parent twice a second
    before = {path.name: path.stat().st_mtime_ns for path in (spaces / "kept").iterdir()}
    assert before
    assert spaces.here(command).stdout == spaces.here(command.replace(" --cluster local:2 --cache kept", "")).stdout
    after = {path.name: path.stat().st_mtime_ns for path in (spaces / "kept").iterdir()}
    assert before.items() < after.items()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, files",
    [("-m ridge --head linear --save-head h.safetensors --predictions p.tsv", ["h.safetensors", "p.tsv"]),
     ("-m relative --similarity cosine --head linear -o b.rel.h5", ["b.rel.h5"]),
     ("-m product -s cosine,l1 --aggregate self-attention --head mlp --adapt head --predictions p.tsv", ["p.tsv"])],
)  # fmt: skip
def test_other_processes_write_the_files_that_this_one_does(spaces: Workdir, words: str, files: list[str]) -> None:
    command = f"relrep stitch a.npz b.npz -a ids.txt --test-size 0.3 --force {words}"
    results = []
    for place in ("", "--cluster local:2"):
        table = spaces.here(f"{command} {place}", SOURCE_DATE_EPOCH="0").stdout
        results.append([table, *((spaces / file).read_bytes() for file in files)])
    assert results[0] == results[1]


@pytest.mark.slow
def test_an_aggregator_of_another_process_is_not_written(spaces: Workdir) -> None:
    words = "-m product -s cosine,l1 --aggregate self-attention --head mlp --save-head h.safetensors --cluster local:2"
    spaces.error(f"relrep stitch a.npz b.npz -a ids.txt -q {words}", 2, "an aggregator that another process has trained")

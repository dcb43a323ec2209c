"""Rows that several processes write into one file: the bytes of one writer; what is finished is not done again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Workdir, ended
from workers import kill_a_worker

from relrep_cli import store
from relrep_cli.base.errors import DataError, WriteError
from relrep_cli.base.task_cache import Records
from relrep_cli.embedding import ABSOLUTE, row_numbers
from relrep_cli.engine.jobs import named
from relrep_cli.engine.running import HERE
from relrep_cli.store import shared_rows
from relrep_cli.store.shared_rows import SharedRows, rows_of_task

N, D, STEP = 10, 3, 4
X = np.arange(N * D, dtype=np.float64).reshape(N, D)
done: list[tuple[int, int]] = []


def rows_of(fails_at: int) -> shared_rows.Blocks:
    """The rows of X, two at a time; a range that begins at `fails_at` cannot be had."""

    def blocks(start: int, stop: int) -> Iterator[np.ndarray]:
        if start == fails_at:
            raise DataError("no such rows")
        done.append((start, stop))
        yield from (X[at : min(at + 2, stop)] for at in range(start, stop, 2))

    return blocks


@pytest.fixture(autouse=True)
def nothing_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done.clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")


def written(fails_at: int = -1) -> str:
    records = Records(Path(".records"), keep=False)
    rows = SharedRows("writing", f"{__name__}:rows_of", fails_at, STEP, HERE, records, "name")
    digest = write("out.h5", rows)
    records.close()
    return digest


def write(target: str, rows: Any) -> str:
    more: dict[str, Any] = {"ids": row_numbers(N), "obs": {}, "var": {"id": row_numbers(D)}}
    return store.write(target, rows, shape=(N, D), dtype="float32", kind=ABSOLUTE, space="s", steps=[], **more)


def test_the_file_has_the_bytes_of_one_writer() -> None:
    assert named(f"{__name__}:rows_of") is rows_of
    assert written() == write("alone.h5", [X])
    assert Path("out.h5").read_bytes() == Path("alone.h5").read_bytes()
    assert done == [(0, 4), (4, 8), (8, 10)] and not Path(".records").exists()


def test_what_is_finished_is_not_done_again() -> None:
    with pytest.raises(DataError, match="no such rows"):
        written(fails_at=8)
    assert not Path("out.h5").exists() and done == [(0, 4), (4, 8)]
    digest = written()
    assert done[2:] == [(8, 10)] and digest == write("alone.h5", [X])


def test_a_run_that_ended_before_its_last_step_does_that_step_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(WriteError, match="Input/output error"):
        patch.setattr("relrep_cli.store.archive._set_digests", lambda *_: _raise(RuntimeError("errno = 5")))
        written()
    before = len(done)
    assert before == 3 and not Path("out.h5").exists()
    digest = written()
    assert len(done) == before and digest == write("alone.h5", [X])


def _raise(error: Exception) -> None:
    raise error


def test_rows_that_were_spoilt_meanwhile_are_done_again() -> None:
    with pytest.raises(DataError):
        written(fails_at=8)
    content = bytearray(Path(".records/name.h5").read_bytes())
    at = content.index(X[:1].astype("<f4").tobytes())
    content[at] ^= 1
    Path(".records/name.h5").write_bytes(content)
    written()
    assert done[2:] == [(0, 4), (8, 10)]
    assert Path("out.h5").read_bytes() == (write("alone.h5", [X]) and Path("alone.h5").read_bytes())


def test_rows_that_were_written_in_another_folder_are_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process reports rows, but this one does not find them, as without a shared folder."""
    monkeypatch.setattr(shared_rows, "write_range", lambda *_: 7)
    with pytest.raises(WriteError, match="rows 0 to 4 are not what another process has written"):
        written()
    assert not Path("out.h5").exists()


def test_a_file_that_is_gone_is_an_error_that_a_retry_helps() -> None:
    place = shared_rows.Place("gone/name.h5", 0, D, "<f4", ".records", "name", f"{__name__}:rows_of", -1)
    with pytest.raises(WriteError, match=r"gone/name\.h5: could not write: No such file"):
        shared_rows.write_range(shared_rows.writer_of(place), lambda part: None, 0, 4)


def test_a_number_out_of_range_names_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_shared_rows.X", np.where(X == 27, 1e300, X))
    with pytest.raises(DataError, match="row 9 holds a number out of range for float32"):
        written()


@pytest.mark.parametrize("tile, width, rows", [(1024, 64, 65536), (1024, 4096, 1024), (4, 1 << 30, 4)])
def test_a_task_holds_whole_tiles(tile: int, width: int, rows: int) -> None:
    assert rows_of_task(tile, width) == rows


@pytest.mark.slow
def test_the_rerun_of_a_killed_projection_does_what_is_missing(empty: Workdir) -> None:
    """Kill the process that the user has started, amid its work: at most the ranges in flight are done again. Then kill one of
    its processes: its range is written by another."""
    np.save(empty / "x.npy", np.random.default_rng(0).normal(size=(400_000, 64)).astype("f4"))
    (empty / "ids.txt").write_text("\n".join(map(str, range(40))))
    command = "project x.npy -a ids.txt -s cosine,l1 --aggregate sum -o {} --cluster local:2 --log {}"
    process = empty.start(command.format("out.h5", "first.jsonl"))
    log = empty / "first.jsonl"
    for _ in range(3000):
        if log.exists() and len(log.read_text().splitlines()) >= 2:
            break
        time.sleep(0.02)
    assert ended(process, signal.SIGKILL)[0] == -signal.SIGKILL and not (empty / "out.h5").exists()
    time.sleep(1)  # its processes look for their parent twice a second
    again = empty.start(command.format("out.h5", "second.jsonl"))
    kill_a_worker(again, empty / "second.jsonl")
    assert again.wait(60) == 0
    before, after = ((empty / name).read_text().count('"event": "done"') for name in ("first.jsonl", "second.jsonl"))
    assert (empty / "second.jsonl").read_text().count('"event": "from records"') == 7 - after
    assert before >= 2 and 7 - before - 4 <= after <= 7 - before
    empty.run("relrep project x.npy -a ids.txt -s cosine,l1 --aggregate sum -o alone.h5")
    assert store.read(str(empty / "out.h5")).digest == store.read(str(empty / "alone.h5")).digest
    assert not [name for name in os.listdir(empty.path) if name.startswith(".")]

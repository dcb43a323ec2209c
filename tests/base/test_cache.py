"""Folders of finished results: what is damaged or foreign is not believed, what cannot be written costs time only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Workdir

from relrep_cli.base import task_cache
from relrep_cli.base.task_cache import Records, task_key

KEY = task_key("a task")
COMPARE = "relrep compare a.h5 b.h5 -m cka,cosine --format tsv"
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def kept(tmp_path: Path) -> tuple[Records, Path]:
    records = Records(tmp_path / "kept")
    records.put(KEY, {"value": 0.5, "low": None})
    return records, tmp_path / "kept" / f"{KEY}.json"


# --- one record ---


def test_a_record_comes_back(tmp_path: Path) -> None:
    records, path = kept(tmp_path)
    assert records.get(KEY) == {"value": 0.5, "low": None} and records.get("0" * 32) is None
    records.put_bytes("x.null", b"\n\0bytes\n")
    assert records.get_bytes("x.null", 100) == b"\n\0bytes\n"
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.slow
def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    records, path = kept(tmp_path)
    whole = path.read_bytes()
    damaged = [whole[:at] for at in range(len(whole))] + [whole + b" "]
    for at in range(len(whole)):
        for bit in range(8):
            damaged.append(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    for content in damaged:
        path.write_bytes(content)
        assert records.get(KEY) is None
    path.write_bytes(whole)
    assert records.get(KEY) == {"value": 0.5, "low": None}


def test_a_damaged_record_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may look it up before its tasks begin, and again in the task."""
    notes: list[str] = []
    monkeypatch.setattr(task_cache, "say", notes.append)
    records = Records(tmp_path)
    for key in ("a", "b"):
        records.put(key, {"value": 1})
    (tmp_path / "a.json").write_bytes(b"damage")
    assert records.get("a") is None and records.get("a") is None
    records.close()
    assert len(notes) == 1
    (tmp_path / "b.json").write_bytes(b"damage")
    assert records.get("b") is None
    records.close()
    assert notes[1].endswith("2 records could not be used; their tasks ran again.")


def test_a_record_of_another_task_is_none(tmp_path: Path) -> None:
    records, path = kept(tmp_path)
    shutil.copy(path, path.with_name(f"{task_key('another')}.json"))
    assert records.get(task_key("another")) is None


@pytest.mark.parametrize("foreign", ["plain JSON", "empty", "large", "a pipe", "a folder", "a device", "a dangling link"])
def test_what_relrep_did_not_write_is_no_record(tmp_path: Path, foreign: str) -> None:
    records, path = kept(tmp_path)
    path.unlink()
    made = {
        "plain JSON": lambda: path.write_text(json.dumps({"value": 1.0})),
        "empty": lambda: path.write_bytes(b""),
        "large": lambda: path.write_bytes(bytes(task_cache.LARGEST + 1000)),
        "a pipe": lambda: os.mkfifo(path),
        "a folder": path.mkdir,
        "a device": lambda: path.symlink_to("/dev/zero"),
        "a dangling link": lambda: path.symlink_to("nowhere"),
    }
    made[foreign]()
    assert records.get(KEY) is None
    records.put(KEY, {"value": 2.0})  # replaces it where a file can, and else goes on
    assert records.get(KEY) == (None if foreign == "a folder" else {"value": 2.0})


# --- commands ---


@pytest.mark.parametrize("command", ["compare", "permutations", "stitch"])
def test_a_damaged_cache_changes_no_answer(work: Workdir, command: str) -> None:
    words = {
        "compare": f"{COMPARE} -m knn-jaccard",
        "permutations": "relrep compare a.h5 b.h5 -m mse,cka --permutations 20 --format tsv",
        "stitch": "relrep stitch a.h5 b.h5 -a anchors.h5 -m relative -s cosine --head linear --format tsv",
    }[command]
    plain = work.here(words).out
    assert work.here(f"{words} --cache kept").out == plain
    files = sorted((work / "kept").iterdir())
    assert files
    for number, path in enumerate(files):
        content = bytearray(path.read_bytes())
        content[-1 - number % 5] ^= 4
        path.write_bytes(content)
    again = work.here(f"{words} --cache kept")
    assert again.out == plain and "cannot be used (it is damaged); its task runs again" in again.stderr
    assert "cannot be used" not in work.here(f"{words} --cache kept").stderr, "and they are sound again"


def test_a_flipped_sign_is_not_believed(work: Workdir) -> None:
    value = work.here(f"{COMPARE} --cache kept").rows[0]["value"]
    for path in (work / "kept").glob("*.json"):
        path.write_bytes(path.read_bytes().replace(b'"value": ', b'"value":-'))
    assert work.here(f"{COMPARE} --cache kept").rows[0]["value"] == value


@pytest.mark.parametrize("place", ["a file in its way", "no right", "a full disk"])
def test_a_cache_that_cannot_be_written_warns_and_goes_on(work: Workdir, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, folder = work.here(COMPARE).out, "kept"
    if place == "a file in its way":
        (work / "file").write_text("")
        folder = "file/kept"
    elif place == "no right":
        if AS_ROOT:
            folder = "/proc/self/kept"
        else:
            (work / "kept").mkdir(0o500)
    else:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(task_cache, "_write", full)
    done = work.here(f"{COMPARE} --cache {folder}")
    assert done.out == plain
    notes = [line for line in done.stderr.splitlines() if "cannot keep finished results" in line]
    assert len(notes) == 1 and "goes on without them" in notes[0]


def test_a_file_for_a_folder_is_refused_before_any_work(work: Workdir) -> None:
    (work / "kept").write_text("")
    work.error(f"{COMPARE} --cache kept", 2, "--cache", "is not a folder")
    work.error("relrep stitch a.h5 b.h5 -a anchors.h5 --cache kept", 2, "--cache", "is not a folder")


@pytest.mark.slow
def test_keys_do_not_depend_on_threads(work: Workdir) -> None:
    words = "compare a.h5 b.h5 -m cka,knn-jaccard,cca --format tsv --cache"
    for threads in (1, 2):
        work.cold.run(f"relrep {words} kept-{threads} -@ {threads}")
    names = [sorted(p.name for p in (work / f"kept-{threads}").iterdir()) for threads in (1, 2)]
    assert names[0] == names[1] and len(names[0]) > 3
    assert all((work / "kept-1" / n).read_bytes() == (work / "kept-2" / n).read_bytes() for n in names[0])


@pytest.mark.slow
def test_processes_share_a_folder(tmp_path: Path) -> None:
    """Four processes write and read the same records and remove some: each reads what was written, or nothing."""
    script = """
import random, sys, pathlib
from relrep_cli.base.task_cache import Records, task_key
draw, folder = random.Random(int(sys.argv[2])), pathlib.Path(sys.argv[1])
records = Records(folder)
for _ in range(400):
    n = draw.randrange(20)
    known = records.get(task_key(n))
    assert known is None or known == {"value": n, "more": "x" * 5000}
    records.put(task_key(n), {"value": n, "more": "x" * 5000})
    if draw.random() < 0.1:
        (folder / f"{task_key(draw.randrange(20))}.json").unlink(missing_ok=True)
assert not records._state.damaged and not records._state.broken
"""
    words = [sys.executable, "-c", script, str(tmp_path / "kept")]
    running = [subprocess.Popen([*words, str(seed)], stderr=subprocess.PIPE) for seed in range(4)]
    assert [(p.communicate(timeout=60)[1], p.returncode) for p in running] == [(b"", 0)] * 4
    assert all(p.name.endswith(".json") for p in (tmp_path / "kept").iterdir())


def test_a_folder_that_another_job_removes_meanwhile_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, _ = kept(tmp_path)
    write, times = task_cache._write, []

    def racing(folder: Path, name: str, content: bytes) -> None:
        times.append(name)
        if len(times) == 1:
            shutil.rmtree(folder)
            raise FileNotFoundError(2, "No such file or directory")
        write(folder, name, content)

    monkeypatch.setattr(task_cache, "_write", racing)
    records.put(KEY, {"value": 1})
    assert records.get(KEY) == {"value": 1} and len(times) == 2


# --- relrep cache ---


@pytest.fixture
def folder(work: Workdir) -> Path:
    """A cache with a damaged record, an old one, a foreign file, and what killed runs left today and long ago."""
    work.here(f"{COMPARE} --cache kept")
    folder = work / "kept"
    damaged, old = sorted(folder.glob("*.json"))[:2]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    (folder / "notes.txt").write_text("mine")
    left, today = folder / f".{old.name}.123.0123abcd", folder / f".{old.name}.124.0123abcd"
    for path in (left, today):
        path.write_text("half")
    past = time.time() - 40 * 86_400
    for path in (old, left):
        os.utime(path, (past, past))
    return folder


def test_cache_lists(work: Workdir, folder: Path) -> None:
    rows = {r["kind"]: r for r in work.here("relrep cache kept --format tsv").rows}
    assert set(rows) == {"results", "arrays", "foreign", "unfinished"} or set(rows) == {"results", "foreign", "unfinished"}
    assert rows["results"]["files"] == "2" and rows["unfinished"]["files"] == "2" and rows["foreign"]["files"] == "1"
    assert rows["results"]["bytes"] == str(sum(p.stat().st_size for p in folder.glob("*.json")))
    assert rows["results"]["version"] == task_cache.__version__ and rows["foreign"]["version"] == "n/a"


def test_cache_checks(work: Workdir, folder: Path) -> None:
    done = work.here("relrep cache kept --check --format tsv", 3)
    assert [r["fault"] for r in done.rows] == ["it is damaged"] and "cannot be used" in done.stderr
    next(p for p in folder.glob("*.json") if p.name in done.rows[0]["file"]).unlink()
    assert "all sound" in work.here("relrep cache kept --check").stderr


@pytest.mark.parametrize(("limits", "results"), [("", 1), ("--older-than 30", 0), ("--max-mb 0", 0)])
def test_cache_prunes(work: Workdir, folder: Path, limits: str, results: int) -> None:
    before = sorted(folder.iterdir())
    would = work.here(f"relrep cache kept --prune {limits} --dry-run").stderr
    assert sorted(folder.iterdir()) == before and "would: remove" in would and "notes.txt" not in would
    work.here(f"relrep cache kept --prune {limits}")
    gone = set(before) - set(folder.iterdir())
    assert all(str(p.name) in would for p in gone) and len(would.splitlines()) == len(gone)
    assert len(list(folder.glob("*.json"))) == results
    assert (folder / "notes.txt").exists() and [p for p in folder.iterdir() if ".124." in p.name]
    assert not [p for p in folder.iterdir() if ".123." in p.name]


def test_cache_prunes_the_oldest_first(work: Workdir, folder: Path) -> None:
    old = min(folder.glob("*.json"), key=lambda p: p.stat().st_mtime)
    damaged = next(p for p in folder.glob("*.json") if p != old)
    total = sum(p.stat().st_size for p in folder.iterdir() if p.suffix in (".json", ".space")) - damaged.stat().st_size
    work.here(f"relrep cache kept --prune --max-mb {(total - 1) / 1e6}")
    assert not old.exists() and len(list(folder.glob("*.space"))) > 0


def test_cache_says_what_cannot_be_done(work: Workdir) -> None:
    work.error("relrep cache nowhere", 2, "nowhere", "is not a folder")
    work.error("relrep cache a.h5", 2, "is not a folder")
    (work / "kept").mkdir()
    work.error("relrep cache kept --older-than 3", 2, "--older-than", "Add --prune")
    work.error("relrep cache kept --prune --max-mb -1", 2, "--max-mb is -1")
    work.error("relrep cache kept --prune --check", 2, "do not go together")
    assert "would: list" in work.here("relrep cache kept --dry-run").stderr
    assert work.here("relrep cache kept --format tsv").rows == []

"""Files come into being whole or not at all: kills, full disks, races, strays, flipped bits.

RELREP_ROUNDS=200 makes the tests that depend on the moment try that often.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import CHECKOUT, Workdir, ended

from relrep_cli.base.errors import UsageError, WriteError
from relrep_cli.numerics.digests import digest
from relrep_cli.store import read, write
from relrep_cli.store.writing import published, write_bytes

ROUNDS = int(os.environ.get("RELREP_ROUNDS", "12"))


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def store(path: Path, x: np.ndarray, ids: np.ndarray) -> None:
    """An embedding file, written in-process."""
    write(
        str(path), [x], shape=x.shape, dtype="float32", ids=ids, obs={}, var={"id": np.arange(x.shape[1]).astype("S8")},
        kind="absolute", space="big", steps=[],
    )  # fmt: skip


def big(path: Path, n: int, d: int = 64) -> None:
    store(path, np.random.default_rng(0).standard_normal((n, d), np.float32), np.arange(n).astype("S8"))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """big.h5, big.npy (the same vectors), ids.txt with 128 of its ids, old.h5 and old.tsv."""
    folder = tmp_path_factory.mktemp("ready")
    big(folder / "big.h5", 12_000)
    with h5py.File(folder / "big.h5") as file:
        np.save(folder / "big.npy", file["X"][:])
    (folder / "ids.txt").write_text("".join(f"{i}\n" for i in range(128)))
    big(folder / "old.h5", 50, 3)
    (folder / "old.tsv").write_text("an older result\n")
    return folder


@pytest.fixture
def large(empty: Workdir, ready: Path) -> Workdir:
    """A shell in a folder with the files of `ready`."""
    for file in ready.iterdir():
        os.link(file, empty / file.name)
    return empty.cold


# --- a kill at any moment ---

KILLED = {
    "project": "project big.h5 --anchors ids.txt -o out.h5 --force",
    "embed": "embed big.npy -o out.h5 --force",
    "compare": "compare big.h5 big.npy --by-position -m cka -o out.tsv --force -q",
}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("name", KILLED)
def test_kill_at_random_moments(large: Workdir, name: str, part: int) -> None:
    """The old file, or the whole new one; nothing unreadable, nothing short."""
    command, moments = KILLED[name], random.Random(f"{name} {part}")
    output = large / command.split(" -o ")[1].split()[0]
    old = large / f"old{output.suffix}"
    large.env["SOURCE_DATE_EPOCH"] = "1700000000"
    assert ended(large.fork("--version"))[0] == 0  # the first fork waits for the server's imports
    started = time.monotonic()
    assert ended(large.fork(command))[0] == 0
    whole, new = time.monotonic() - started, sha(output)
    for _ in range(-(-ROUNDS // 6)):
        shutil.copyfile(old, output)
        process = large.fork(command)
        time.sleep(moments.uniform(0, 1.1) * whole)
        ended(process, signal.SIGKILL)
        assert sha(output) in (sha(old), new)
    assert ended(large.fork(command))[0] == 0
    assert sha(output) == new and not [n for n in large.leftovers() if "out." in n]


def test_strays_of_the_dead_are_removed(work: Workdir) -> None:
    """Those of this target, this host and a process that is no more; never another's."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    host, name = socket.gethostname(), "out[1].h5"
    gone = [f".{name}.relrep.{host}.{dead.pid}.0a1b2c3d", f".{name}.relrep.{host}.{dead.pid}.ffffffff"]
    kept = [
        f".{name}.relrep.{host}.{os.getpid()}.0a1b2c3d",
        f".{name}.relrep.{host}x.{dead.pid}.0a1b2c3d",
        f".out1.h5.relrep.{host}.{dead.pid}.0a1b2c3d",
        f"{name}.relrep.{host}.{dead.pid}.0a1b2c3d",
        f".{name}.relrep.notes",
    ]
    for stray in gone + kept:
        (work / stray).write_bytes(b"x")
    work.run(f"relrep project a.h5 -a anchors.h5 -o '{name}'")
    there = {p.name for p in work.path.iterdir()}
    assert not there & set(gone) and there >= set(kept)


# --- no room ---


@pytest.mark.slow
@pytest.mark.parametrize("command", ["project big.h5 --anchors ids.txt", "embed big.npy"])
@pytest.mark.parametrize("blocks", [0, 1, 2048] if ROUNDS < 100 else [0, 1, *range(5, 2900, 160)])
def test_limited_file_size(large: Workdir, command: str, blocks: int) -> None:
    """`ulimit -f` in KiB: exit 74, no partial file, no temporary, the old file intact, and nothing worse at exit."""
    if blocks == 1:
        large.error(f"ulimit -f 1; relrep {command} -q -o out.h5", 74, "out.h5: could not write: File too large")
        assert not (large / "out.h5").exists() and not large.leftovers()
    before = sha(large / "old.h5")
    large.error(f"ulimit -f {blocks}; relrep {command} -q -o old.h5 --force", 74, "old.h5: could not write: File too large")
    assert sha(large / "old.h5") == before and not large.leftovers()


@pytest.mark.slow
def test_a_file_limit_does_not_spoil_the_program(work: Workdir) -> None:
    """Python cuts the compiled modules that it caches at the limit, and reads them ever after."""
    package = shutil.copytree(CHECKOUT / "relrep_cli", work / "copy" / "relrep_cli", ignore=shutil.ignore_patterns("*.pyc"))
    command = f"{sys.executable} -m relrep_cli project ../a.h5 --anchors ../anchors.h5 -q -o x.h5"
    work.run(f"cd copy && ulimit -f 2; {command}", 74)
    assert not [p for p in package.rglob("*.pyc") if p.parent.parent == package / "cli"]
    work.run(f"cd copy && {command}")


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [170, 260])
def test_limited_where_libhdf5_writes(empty: Workdir, blocks: int) -> None:
    """Few rows and many long names: what fails first is the library, which reports it in its own ways."""
    big(empty / "few.h5", 5, 4)
    names = np.char.add(b"an-anchor-with-a-rather-long-name-", np.arange(3000).astype("S4"))
    store(empty / "anchors.h5", np.random.default_rng(0).standard_normal((3000, 4)).astype("f4"), names)
    command = "relrep project few.h5 -a anchors.h5 --all-as-anchors --anchor-vectors few.h5 -q -o out.h5"
    empty.cold.error(f"ulimit -f {blocks}; {command}", 74, "out.h5: could not write: File too large")
    assert not (empty / "out.h5").exists() and not empty.leftovers()
    empty.cold.run(f"ulimit -f 600; {command}")


@pytest.mark.slow
def test_pipe_gets_all_or_nothing(large: Workdir) -> None:
    done = large.run("ulimit -f 64; relrep project big.h5 --anchors ids.txt -o - -q | wc -c", 74)
    assert done.stdout.strip() == "0" and "-: could not write: File too large" in done.stderr
    assert not large.leftovers()


@pytest.mark.slow
def test_no_room_for_stdin(work: Workdir) -> None:
    work.cold.error("ulimit -f 8; relrep info - < a.h5", 74, "File too large", "TMPDIR")
    assert not work.leftovers()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_disk_that_fills_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: int) -> None:
    """A quota shows only at a write, whichever that is."""
    write_bytes, calls = os.write, itertools.count()

    def full(handle: int, data: Any) -> int:
        if next(calls) >= after:
            raise OSError(number, os.strerror(number))
        return write_bytes(handle, data)

    monkeypatch.setattr("relrep_cli.store.archive.os.write", full)
    with pytest.raises(WriteError, match=f"out.h5: could not write: {os.strerror(number)}"):
        big(tmp_path / "out.h5", 100)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(WriteError, match="could not write"), published(str(tmp_path / "sub" / "out"), False, 0):
        (tmp_path / "sub").rename(tmp_path / "elsewhere")


def test_read_only_folder(work: Workdir) -> None:
    (work / "closed").mkdir(mode=0o555)
    if os.access(work / "closed", os.W_OK):
        pytest.skip("root may write everywhere")
    work.error("relrep project a.h5 -a anchors.h5 -o closed/x.h5", 74, "the folder closed cannot be written", "permissions")


# --- races ---


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_two_writers(work: Workdir, part: int) -> None:
    """Without --force exactly one wins; the other says so, and its temporary is gone."""
    (work / "ids.txt").write_text("item-001\nitem-002\n")
    for _ in range(-(-ROUNDS // 4)):
        racers = [work.fork(f"project {name}.h5 --anchors ids.txt -o won.h5 -q") for name in "ab"]
        outcomes = [ended(process)[:2] for process in racers]
        assert sorted(code for code, _ in outcomes) == [0, 2], outcomes
        line = next(stderr for code, stderr in outcomes if code == 2)
        assert line.count("\n") == 1 and "won.h5: " in line and "--force" in line
        winner = "ab"[[code for code, _ in outcomes].index(0)]
        e = read(str(work / "won.h5"))
        assert e.digest == digest(e.x, e.ids) and e.steps[-1]["inputs"][0]["uri"] == f"{winner}.h5"
        assert not work.leftovers()
        (work / "won.h5").unlink()


def test_a_name_taken_meanwhile(tmp_path: Path) -> None:
    """The moment that races seldom hit: the name is taken between the first look and publishing."""
    target = tmp_path / "out"
    with pytest.raises(UsageError, match="out: was written by another job meanwhile; its file is kept"):  # noqa: SIM117
        with published(str(target), False, 0) as path:
            path.write_bytes(b"mine")
            target.write_bytes(b"theirs")
    assert target.read_bytes() == b"theirs" and list(tmp_path.iterdir()) == [target]
    with published(str(target), True, 0) as path:
        path.write_bytes(b"mine")
    assert target.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("force", [False, True])
def test_content_is_synced_before_it_gets_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    events: list[object] = []
    publish = "replace" if force else "link"
    real = {name: getattr(os, name) for name in ("fsync", publish)}
    monkeypatch.setattr("os.fsync", lambda handle: events.append(os.fstat(handle).st_ino) or real["fsync"](handle))
    monkeypatch.setattr(f"os.{publish}", lambda *paths: events.append("named") or real[publish](*paths))
    with published(str(tmp_path / "out"), force, 0) as path:
        path.write_bytes(b"mine")
        inode = path.stat().st_ino
    assert events == [inode, "named", tmp_path.stat().st_ino]


def test_a_full_disk_is_noticed_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left for this user counts, not the size of the disk."""
    real = os.fstatvfs(os.open(tmp_path, os.O_RDONLY))
    left = SimpleNamespace(f_bavail=1000, f_frsize=1000, f_blocks=real.f_blocks, f_bfree=real.f_bfree, f_bsize=1 << 20)
    monkeypatch.setattr("os.fstatvfs", lambda handle: left)
    with pytest.raises(WriteError, match=r"out: could not write: needs 2\.0 MB, 1\.0 MB are free"):  # noqa: SIM117
        with published(str(tmp_path / "out"), False, 2_000_000):
            pytest.fail("work began")
    assert not list(tmp_path.iterdir())


def test_a_file_with_rows_missing_is_not_published(tmp_path: Path) -> None:
    known = {"dtype": "float32", "ids": np.arange(3).astype("S1"), "obs": {}, "var": {"id": np.arange(2).astype("S1")}}
    with pytest.raises(RuntimeError, match="2 rows came for a matrix of 3"):
        write(str(tmp_path / "out.h5"), [np.ones((2, 2))], shape=(3, 2), kind="absolute", space="s", steps=[], **known)
    assert not list(tmp_path.iterdir())


def test_a_result_of_the_same_length_is_not_up_to_date(tmp_path: Path) -> None:
    target = tmp_path / "out.tsv"
    target.write_bytes(b"old")
    with pytest.raises(UsageError, match="exists"):
        write_bytes(str(target), b"new", False)
    write_bytes(str(target), b"old", False)
    assert target.read_bytes() == b"old"


def test_where_links_do_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT and some network file systems have no hard links; the name is then claimed first."""

    def link(source: Any, target: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("relrep_cli.store.writing.os.link", link)
    with published(str(tmp_path / "out"), False, 0) as path:
        path.write_bytes(b"mine")
    assert (tmp_path / "out").read_bytes() == b"mine"
    with pytest.raises(UsageError, match="another job"), published(str(tmp_path / "out"), False, 0):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_many_readers(work: Workdir) -> None:
    readers = [work.fork("info a.rel.h5 --verify --json") for _ in range(32)]
    outcomes = [(*process.communicate(timeout=60), process.returncode) for process in readers]
    assert len(set(outcomes)) == 1 and outcomes[0][1:] == (b"", 0)


def test_a_reader_keeps_its_file(work: Workdir) -> None:
    """A file that is replaced while it is read stays whole for its reader: it is never written in place."""
    with h5py.File(work / "a.rel.h5") as file:
        before = file["X"][:]
        work.run("relrep project a.h5 -a anchors.h5 -s euclidean -o a.rel.h5 --force")
        assert np.array_equal(file["X"][:], before)
    with h5py.File(work / "a.rel.h5") as file:
        assert not np.array_equal(file["X"][:], before)


# --- what happened to a file later ---


@pytest.mark.slow
def test_one_flipped_bit_is_found(work: Workdir) -> None:
    """Wherever in X it is, `info --verify` names the file; of a batch, each that changed and no other."""
    content = (work / "a.h5").read_bytes()
    with h5py.File(work / "a.h5") as file:
        start, length = file["X"].id.get_offset(), file["X"].id.get_storage_size()
    places = [*random.Random(0).sample(range(8 * length), 10), 0, 8 * length - 1]
    for number, place in enumerate(places):
        flipped = bytearray(content)
        flipped[start + place // 8] ^= 1 << place % 8
        (work / f"flipped{number}.h5").write_bytes(flipped)
    done = work.run("relrep info --verify a.h5 flipped*.h5", 3)
    verdicts = {r["file"]: r["value"] for r in done.rows if r["name"] == "digest verified"}
    assert verdicts == {"a.h5": "yes", **{f"flipped{i}.h5": "no" for i in range(len(places))}}
    assert len(done.stderr.splitlines()) == 1 and "does not match its digest" in done.stderr
    assert "a.h5," not in done.stderr and all(f"flipped{i}.h5" in done.stderr for i in range(len(places)))


def test_digest_covers_every_bit_of_x() -> None:
    x, ids = np.random.default_rng(0).standard_normal((7, 3)).astype("f4"), np.arange(7).astype("S1")
    actual = {digest(x, ids)}
    for place in range(8 * x.nbytes):
        flipped = x.copy()
        flipped.view(np.uint8).reshape(-1)[place // 8] ^= 1 << place % 8
        actual.add(digest(flipped, ids))
    assert len(actual) == 1 + 8 * x.nbytes


# --- names and links ---


def test_a_link_is_written_through(tmp_path: Path) -> None:
    """The file that it leads to is replaced, the link stays, and the temporary lies beside that file."""
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real.tsv", tmp_path / "link.tsv"
    real.write_text("old\n")
    link.symlink_to("far/real.tsv")
    with published(str(link), True, 4) as temporary:
        assert temporary.parent == real.parent
        temporary.write_bytes(b"new\n")
    assert link.is_symlink() and real.read_text() == "new\n"


@pytest.mark.parametrize("leads, says", [("nowhere", "is a link to nowhere, which does not exist"), ("link", "in a circle")])
def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path, leads: str, says: str) -> None:
    (tmp_path / "link").symlink_to(leads)
    with pytest.raises(UsageError, match=says):
        write_bytes(str(tmp_path / "link"), b"new", True)
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_names_of_255_bytes(tmp_path: Path, name: str) -> None:
    write_bytes(str(tmp_path / name), b"new", False)
    assert (tmp_path / name).read_bytes() == b"new"
    with pytest.raises(UsageError, match="too long"):
        write_bytes(str(tmp_path / (name + "xx")), b"new", False)


def test_strays_under_a_long_name_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    target = tmp_path / ("n" * 200)
    with published(str(target), False, 1) as temporary:
        name = temporary.name
    stray = tmp_path / name.replace(f".{os.getpid()}.", f".{dead.pid}.")
    stray.write_bytes(b"x")
    write_bytes(str(target), b"new", True)
    assert not stray.exists() and target.read_bytes() == b"new"

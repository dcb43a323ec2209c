"""Files come into being whole or not at all: kills, full disks, races, strays, flipped bits.

RELREP_ROUNDS=200 makes the tests that depend on the moment try that often.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import N, Workdir, ended

from relrep_cli.store import write

ROUNDS = int(os.environ.get("RELREP_ROUNDS", "20"))
PROJECT = "project big.h5 --anchors ids.txt -o out.h5 --force"


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def big(path: Path, n: int, d: int = 64, seed: int = 0) -> None:
    """An embedding file of n items, written in-process."""
    x = np.random.default_rng(seed).standard_normal((n, d), np.float32)
    ids = np.arange(n).astype("S8")
    split = np.where(np.arange(n) % 4 == 0, b"test", b"train")
    label = np.array([b"u", b"v", b"w"])[np.arange(n) % 3]
    write(
        str(path), [x], shape=x.shape, dtype="float32", ids=ids, obs={"label": label, "split": split},
        var={"id": np.arange(d).astype("S8")}, kind="absolute", space="big", steps=[],
    )  # fmt: skip


@pytest.fixture
def large(empty: Workdir) -> Workdir:
    """A shell beside big.h5, whose projection onto ids.txt takes a moment and some 10 MB, and an older out.h5."""
    big(empty / "big.h5", 20_000)
    (empty / "ids.txt").write_text("".join(f"{i}\n" for i in range(128)))
    big(empty / "out.h5", 100, 3)
    return empty


# --- a kill at any moment ---


def test_kill_at_random_moments(large: Workdir) -> None:
    """The old file, or a whole new one; nothing unreadable, nothing short."""
    old = sha(large / "out.h5")
    started = time.monotonic()
    assert ended(large.start(PROJECT))[0] == 0
    whole = time.monotonic() - started
    new = h5py.File(large / "out.h5").attrs["digest"]
    moments = random.Random(0)
    seen = set()
    for _ in range(ROUNDS):
        (large / "out.h5").unlink()
        big(large / "out.h5", 100, 3)
        assert sha(large / "out.h5") == old
        process = large.start(PROJECT)
        time.sleep(moments.uniform(0.3, 1.1) * whole)
        ended(process, signal.SIGKILL)
        if sha(large / "out.h5") == old:
            seen.add("old")
            continue
        seen.add("new")
        with h5py.File(large / "out.h5") as file:
            assert file["X"].shape == (20_000, 128) and file.attrs["digest"] == new
        large.run("relrep info out.h5 --verify")
    assert "old" in seen
    large.run(f"relrep {PROJECT}")
    assert not [name for name in large.leftovers() if "out.h5" in name]


def test_strays_of_the_dead_are_removed(work: Workdir) -> None:
    """Those of this target, this host and a process that is no more; never another's."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    host = socket.gethostname()
    gone = [f".out.h5.relrep.{host}.{dead.pid}.0a1b2c3d", f".out.h5.relrep.{host}.{dead.pid}.ffffffff"]
    kept = [
        f".out.h5.relrep.{host}.{os.getpid()}.0a1b2c3d",
        f".out.h5.relrep.{host}x.{dead.pid}.0a1b2c3d",
        f".other.h5.relrep.{host}.{dead.pid}.0a1b2c3d",
        f"out.h5.relrep.{host}.{dead.pid}.0a1b2c3d",
        ".out.h5.relrep.notes",
    ]
    for name in gone + kept:
        (work / name).write_bytes(b"x")
    work.run("relrep project a.h5 -a anchors.h5 -o out.h5")
    there = {p.name for p in work.path.iterdir()}
    assert not there & set(gone) and there >= set(kept)


# --- no room ---


@pytest.mark.parametrize("command", ["project big.h5 --anchors ids.txt -o {}", "embed big.npy -o {}"])
@pytest.mark.parametrize("blocks", [0, 1, 8, 64, 1024, 4096])
def test_limited_file_size(empty: Workdir, command: str, blocks: int) -> None:
    """`ulimit -f` in KiB: exit 74, no partial file, no temporary, the old file intact, and nothing worse at exit."""
    if blocks == 0:
        big(empty / "big.h5", 20_000)
    else:
        big(empty / "big.h5", 12_000)
    np.save(empty / "big.npy", np.zeros((12_000, 128), np.float32) + np.arange(128, dtype=np.float32))
    (empty / "ids.txt").write_text("".join(f"{i}\n" for i in range(128)))
    line = empty.error(f"ulimit -f {blocks}; relrep {command.format('out.h5')} -q", 74, "out.h5: could not write: File too large")
    assert line.startswith("relrep")
    assert not (empty / "out.h5").exists() and not empty.leftovers()
    (empty / "old.h5").write_bytes(b"precious")
    empty.error(f"ulimit -f {blocks}; relrep {command.format('old.h5')} -q --force", 74, "old.h5: could not write")
    assert (empty / "old.h5").read_bytes() == b"precious" and not empty.leftovers()

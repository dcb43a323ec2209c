"""Kills, full disks and races of the commands that test_writing.py leaves out, and many processes on one cache.

RELREP_ROUNDS=200 makes the tests that depend on the moment try that often.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import Process, Workdir, ended

from relrep_cli.base.cache_folders import entries

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("RELREP_ROUNDS", "10"))
COMMANDS = {
    "anchor": "anchor big.npz -n 40 --strategy kmeans -o out.h5 -q",
    "stitch": "stitch big.npz twin.npz -a anchors.txt -m ridge --head linear -o out.h5 -q",
    "evaluate": "evaluate big.npz --task anomaly --anomalies odd.npz --curve out.tsv -q",
    "plot": "plot big.npz --method pca -o out.svg -q",
}


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """big.npz, twin.npz (the same items turned), odd.npz (others), anchors.txt (ids of both), and older outputs old.*"""
    folder = tmp_path_factory.mktemp("ready")
    rng, n = np.random.default_rng(0), np.arange(1500)
    x = rng.standard_normal((len(n), 24), np.float32) + 3 * rng.standard_normal((4, 24), np.float32)[n % 4]
    more = {"id": n.astype("S8"), "label": n % 4, "split": np.where(n % 5, "train", "test")}
    np.savez(folder / "big.npz", x=x, **more)
    np.savez(folder / "twin.npz", x=x @ np.linalg.qr(rng.normal(size=(24, 24)))[0].astype("f4"), **more)
    np.savez(folder / "odd.npz", x=x[:300] + 2, id=np.char.add(b"odd", n[:300].astype("S8")))
    (folder / "anchors.txt").write_text("".join(f"{i}\n" for i in n if i % 5 == 1))
    for ending in ("h5", "tsv", "svg"):
        (folder / f"old.{ending}").write_text("an older result\n")
    return folder


@pytest.fixture
def large(empty: Workdir, ready: Path) -> Workdir:
    for file in ready.iterdir():
        os.link(file, empty / file.name)
    empty.env["SOURCE_DATE_EPOCH"] = "1700000000"
    return empty.cold


def named(command: str) -> str:
    """The output of a command."""
    return next(word for word in command.split() if word.startswith("out."))


def timed(work: Workdir, command: str) -> float:
    """Seconds that a command takes once the server has imported what it needs."""
    ended(work.fork(command))
    started = time.monotonic()
    code, stderr, _ = ended(work.fork(command))
    assert code == 0, stderr
    return time.monotonic() - started


@pytest.mark.parametrize("name", COMMANDS)
def test_kill_at_random_moments(large: Workdir, name: str) -> None:
    """The old file, or the whole new one; nothing unreadable, nothing short, nothing left."""
    command, moments = f"{COMMANDS[name]} --force", random.Random(name)
    output = large / named(command)
    old = large / f"old{output.suffix}"
    whole, new = timed(large, command), sha(output)
    for _ in range(-(-ROUNDS // 10)):
        shutil.copyfile(old, output)
        process = large.fork(command)
        time.sleep(moments.uniform(0, 1.1) * whole)
        ended(process, signal.SIGKILL)
        assert sha(output) in (sha(old), new)
    assert ended(large.fork(command))[0] == 0
    assert sha(output) == new and not [n for n in large.leftovers() if "out." in n]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("blocks", [1] if ROUNDS < 100 else [0, 1, 2, 4, 8, 16])
def test_limited_file_size(large: Workdir, name: str, blocks: int) -> None:
    """Exit 74, the old file intact, no temporary; a file that fits is written."""
    command = COMMANDS[name]
    output = large / named(command)
    shutil.copyfile(large / f"old{output.suffix}", output)
    before = sha(output)
    done = large.run(f"ulimit -f {blocks}; relrep {command} --force", (0, 74), timeout=120)
    assert (sha(output) == before) == (done.code == 74) and not large.leftovers(), done
    assert done.code == 0 or "could not write: File too large" in done.stderr


@pytest.mark.parametrize("name", ["anchor", "stitch"])
def test_two_writers(large: Workdir, name: str) -> None:
    """Both finish with the same whole file, or one says that the other has written it."""
    command = COMMANDS[name]
    timed(large, f"{command} --force")
    new = sha(large / "out.h5")
    for _ in range(-(-ROUNDS // 10)):
        (large / "out.h5").unlink()
        outcomes = [ended(process)[:2] for process in [large.fork(command) for _ in range(2)]]
        assert {code for code, _ in outcomes} <= {0, 2} and 0 in {code for code, _ in outcomes}, outcomes
        assert all(code == 0 or "another job" in stderr or "exists" in stderr for code, stderr in outcomes), outcomes
        assert sha(large / "out.h5") == new and not large.leftovers()


STITCH = "stitch big.npz twin.npz -a anchors.txt -m ridge,relative -s cosine --head linear --format tsv"
COMPARE = "compare big.npz twin.npz -m cka,knn-jaccard,procrustes,cosine --format tsv"


@pytest.mark.parametrize("command", [STITCH, COMPARE], ids=["stitch", "compare"])
def test_kill_while_results_are_kept(large: Workdir, command: str) -> None:
    """Every record is sound, and the next run prints what a run without a cache prints."""
    plain, moments = large.run(f"relrep {command} -q").out, random.Random(command)
    whole = timed(large, f"{command} -q")
    for _ in range(-(-ROUNDS // 10)):
        process = large.fork(f"{command} -q --cache kept")
        time.sleep(moments.uniform(0.3, 1.1) * whole)
        ended(process, signal.SIGKILL)
        if (large / "kept").exists():
            assert not [e for e in entries(str(large / "kept"), verify=True) if e.fault or e.kind == "foreign"]
    done = large.run(f"relrep {command} --cache kept")
    assert done.out == plain and "cannot be used" not in done.stderr


def test_many_processes_on_one_cache(large: Workdir) -> None:
    """Four at once, some killed, while another prunes: every answer is right. RELREP_ROUNDS=600 makes 300 runs."""
    plain = {command: large.run(f"relrep {command} -q").out.decode() for command in (STITCH, COMPARE)}
    moments, running, started = random.Random(0), [], 0
    while started < ROUNDS // 2 or running:
        while len(running) < 4 and started < ROUNDS // 2:
            command = (STITCH, COMPARE)[started % 2]
            running.append((command, started, large.fork(f"{command} -q --cache kept"), moments.random() < 0.2))
            started += 1
            if started % 7 == 0 and (large / "kept").exists():
                large.run("relrep cache kept --prune --max-mb 0.01 -q", (0, 2))
        command, number, process, kill = running.pop(0)
        assert judged(process, kill) in (None, plain[command]), number
    assert not [e for e in entries(str(large / "kept"), verify=True) if e.fault or e.kind == "foreign"]


def judged(process: Process, kill: bool) -> str | None:
    """What the process printed; None when it was killed."""
    if kill:
        ended(process, signal.SIGKILL)
        return None
    out, stderr = process.communicate(timeout=120)
    assert process.poll() == 0 and not stderr, stderr
    return out.decode()


def test_many_readers_of_one_file(large: Workdir) -> None:
    processes = [large.fork("info big.npz --format tsv -q") for _ in range(12 if ROUNDS < 100 else 100)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert {process.poll() for process in processes} == {0} and len({out for out, _ in answers}) == 1

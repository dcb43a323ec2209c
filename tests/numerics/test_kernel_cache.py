"""Where compiled kernels are kept: in a folder that is the user's own, or nowhere; and what a run does without one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CHECKOUT, Workdir

from relrep_cli.numerics.compiling import folder

pytest.importorskip("numba")
VARIABLES = ("RELREP_KERNEL_CACHE", "XDG_CACHE_HOME", "HOME", "NUMBA_CACHE_DIR")
L1 = "project a.h5 -a anchors.h5 --similarity l1 -o x.h5 --force -q"
# Python itself may lie where another user cannot read it, so all is imported before the user changes, and files are read that
# need no other process.
AS_NOBODY = """
import os, sys
from relrep_cli import cli
from relrep_cli.numerics import compiled_distances, compiling
words = "project a.npz -a ids.txt --similarity {} -o out/x.h5 --force -q"
assert cli.run(words.format("cosine").split()) == 0
os.unlink("out/x.h5")
compiling.compiled(lambda a: a + 1, "int64(int64)")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(cli.run(words.format("l1").split()))
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of one's own, and no variable that names a cache."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def kernels(place: Path) -> set[tuple[str, int]]:
    """The compiled files in a folder, with the times of their writing."""
    return {(path.name, path.stat().st_mtime_ns) for path in place.rglob("*.nb?")}


# --- which folder ---


def test_the_folder_is_the_first_that_is_named(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder() is None
    monkeypatch.setenv("HOME", str(alone / "home"))
    assert folder() == alone / "home" / ".cache" / "relrep"
    monkeypatch.setenv("XDG_CACHE_HOME", str(alone / "xdg"))
    assert folder() == alone / "xdg" / "relrep"
    monkeypatch.setenv("RELREP_KERNEL_CACHE", str(alone / "own"))
    assert folder() == alone / "own"
    assert (alone / "own").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("value", ["", "relative", "no\udcffname"])
def test_a_cache_home_that_is_no_absolute_path_does_not_count(alone: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.chdir(alone)
    monkeypatch.setenv("HOME", value)
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert folder() is None and not list(alone.iterdir())


def a_file(place: Path) -> None:
    place.write_text("")


def shared(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def for_a_group(place: Path) -> None:
    place.mkdir()
    os.chown(place, -1, 12345)
    place.chmod(0o770)


def in_a_shared_one(place: Path) -> None:
    shared(place.parent / "shared")
    (place.parent / "shared" / "own").mkdir(mode=0o700)
    place.symlink_to(place.parent / "shared" / "own")


def of_another_user(place: Path) -> None:
    place.mkdir()
    os.chown(place, 65534, 65534)


def a_circle(place: Path) -> None:
    place.symlink_to(place)


@pytest.mark.parametrize(
    "make",
    [
        a_file,
        shared,
        in_a_shared_one,
        a_circle,
        pytest.param(for_a_group, marks=as_root),
        pytest.param(of_another_user, marks=as_root),
    ],
)
def test_a_folder_that_others_can_write_is_not_used(alone: Path, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    make(alone / "cache")
    monkeypatch.setenv("RELREP_KERNEL_CACHE", str(alone / "cache"))
    assert folder() is None


def test_a_folder_in_a_sticky_one_is_used(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /tmp is: others can make folders there, but not move ours."""
    shared(alone / "shared")
    (alone / "shared").chmod(0o1777)
    monkeypatch.setenv("RELREP_KERNEL_CACHE", str(alone / "shared" / "own"))
    assert folder() == alone / "shared" / "own"
    monkeypatch.setenv("RELREP_KERNEL_CACHE", str(alone / "shared"))
    assert folder() is None


# --- what runs do ---


@pytest.fixture
def installed(work: Workdir) -> Iterator[tuple[Workdir, dict[str, str]]]:
    """A copy of the package of its own, and the environment of a command that uses it and has no cache."""
    shutil.copytree(CHECKOUT / "relrep_cli", work / "lib" / "relrep_cli", ignore=shutil.ignore_patterns("__pycache__"))
    env = {"PYTHONPATH": str(work / "lib"), "PYTHONDONTWRITEBYTECODE": "1", "HOME": "", "RELREP_NATIVE": "0"}
    yield work, env | dict.fromkeys(("RELREP_KERNEL_CACHE", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"), "")


@pytest.mark.slow
def test_a_second_run_finds_the_kernels_and_a_damaged_one_is_no_failure(installed: tuple[Workdir, dict[str, str]]) -> None:
    work, env = installed
    env = env | {"RELREP_KERNEL_CACHE": str(work / "kernels"), "SOURCE_DATE_EPOCH": "0"}
    work.run(f"relrep {L1}", **env)
    first, result = kernels(work / "kernels"), (work / "x.h5").read_bytes()
    assert len(first) == 2, "an index, and the code of l1 for one type alone"
    work.run(f"relrep {L1}", **env)
    assert kernels(work / "kernels") == first
    for path in (work / "kernels").rglob("*.nb?"):
        path.write_bytes(b"\x80")
    work.run(f"relrep {L1}", **env)
    assert (work / "x.h5").read_bytes() == result
    assert not kernels(work / "lib"), "nothing lies beside the source"


@pytest.mark.slow
@as_root
def test_another_user_without_home_or_write_permission(installed: tuple[Workdir, dict[str, str]]) -> None:
    """No folder can be written but the output's: the command compiles, says nothing and leaves nothing."""
    work, env = installed
    (work / "out").mkdir()
    np.savez(work / "a.npz", x=np.eye(50, 8, dtype=np.float32), ids=np.arange(50).astype(str))
    (work / "ids.txt").write_text("1\n2\n3\n")
    os.chown(work / "out", 65534, 65534)
    for place in (work.path, work.path.parent, work.path.parents[1]):  # pytest keeps its folders to root
        place.chmod(0o755)
    before = {path for path in work.path.rglob("*") if "out" not in path.parts}
    done = work.run(f"{sys.executable} -c '{AS_NOBODY}'", **env)
    assert not done.stderr and (work / "out" / "x.h5").stat().st_uid == 65534
    assert {path for path in work.path.rglob("*") if "out" not in path.parts} == before

"""CPUs and memory as cgroups and SLURM limit them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relrep_cli.base.machine_limits import cpu_limit, memory_limit

CPUS, GIB = len(os.sched_getaffinity(0)), 1 << 30


def laid(folder: Path, own: str, **files: str) -> tuple[Path, Path]:
    """A tree of cgroups, and the file that says which is that of the process. A name holds __ for / and no dots."""
    for name, content in files.items():
        path = folder / "cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "own").write_text(own)
    return folder / "cgroup", folder / "own"


@pytest.mark.parametrize(
    "content, cpus", [("50000 100000\n", 1), ("max 100000\n", CPUS), ("100000000 100000\n", CPUS), ("broken", CPUS)]
)
def test_the_cpu_time_of_a_cgroup(tmp_path: Path, content: str, cpus: int) -> None:
    assert cpu_limit(*laid(tmp_path, "0::/job/step\n", job__step__cpu_DOT_max="max 100000", job__cpu_DOT_max=content)) == cpus


def test_one_and_a_half_cpus_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert cpu_limit(*laid(tmp_path, "0::/job\n", job__cpu_DOT_max="150000 100000")) == 2
    assert cpu_limit(Path("/nowhere"), Path("/nowhere/own")) == 64
    files = {"cpu__job__cpu_DOT_cfs_quota_us": "300000", "cpu__job__cpu_DOT_cfs_period_us": "100000"}
    assert cpu_limit(*laid(tmp_path, "7:memory:/other\n3:cpu,cpuacct:/job\n", **files)) == 3


def test_the_least_memory_of_all_limits(tmp_path: Path) -> None:
    whole = memory_limit(Path("/nowhere"), Path("/nowhere"), {})
    assert whole > 0
    tree = laid(tmp_path, "0::/job/step\n", job__step__memory_DOT_max="max", job__memory_DOT_max=f"{GIB}")
    assert memory_limit(*tree, {}) == min(GIB, whole)
    assert memory_limit(*tree, {"SLURM_MEM_PER_NODE": "512"}) == GIB // 2
    assert memory_limit(*tree, {"SLURM_MEM_PER_CPU": "128", "SLURM_CPUS_PER_TASK": "2"}) == GIB // 4
    assert memory_limit(*tree, {"SLURM_MEM_PER_NODE": "0"}) == min(GIB, whole)
    (tmp_path / "v1").mkdir()
    old = laid(tmp_path / "v1", "4:memory:/job\n", memory__job__memory_DOT_limit_in_bytes=f"{GIB}")
    assert memory_limit(*old, {}) == min(GIB, whole)

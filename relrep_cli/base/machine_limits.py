"""How much of the machine this process may use: CPUs and memory, as cgroups, schedulers and the system limit them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

ROOT, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
MEGABYTE = 1 << 20  # SLURM counts memory in these


def cpu_limit(root: Path = ROOT, own: Path = OWN) -> int:
    """The number of CPUs for this process: those that it may run on, and no more than the CPU time of its cgroups is worth."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min([there, *_limits(root, own, "cpu", _cpu_v2, _cpu_v1)])))


def memory_limit(root: Path = ROOT, own: Path = OWN, environment: Mapping[str, str] = os.environ) -> int:
    """The bytes of memory for this process: that of the machine, or less by a cgroup or by SLURM."""
    cpus = environment.get("SLURM_CPUS_PER_TASK", "")
    named = {"SLURM_MEM_PER_NODE": 1, "SLURM_MEM_PER_CPU": int(cpus) if cpus.isdigit() else 1}
    slurm = [int(environment[name]) * count * MEGABYTE for name, count in named.items() if environment.get(name, "").isdigit()]
    cgroups = [int(limit) for limit in _limits(root, own, "memory", _memory_v2, _memory_v1)]
    return min([_of_machine(), *(limit for limit in slurm + cgroups if limit > 0)])  # 0 is all memory of a node


def _of_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limits(
    root: Path, own: Path, controller: str, v2: Callable[[Path], float], v1: Callable[[Path], float]
) -> Iterator[float]:
    """What each cgroup of this process allows, from its own to the outermost. One that cannot be read limits nothing."""
    for line in _lines(own):
        _, controllers, name = [*line.split(":", 2), "", ""][:3]
        base, read = (root, v2) if not controllers else (root / controller, v1)
        if controllers and controller not in controllers.split(","):
            continue
        group = base / name.strip("/")
        for folder in (group, *group.parents):
            if folder != base and base not in folder.parents:
                break
            with suppress(OSError, ValueError, IndexError, ZeroDivisionError):
                yield read(folder)


def _lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().splitlines()
    return []


def _cpu_v2(folder: Path) -> float:
    quota, period = (folder / "cpu.max").read_text().split()
    return int(quota) / int(period)  # quota is "max" where there is no limit


def _cpu_v1(folder: Path) -> float:
    quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    return quota / period if quota > 0 else math.inf


def _memory_v2(folder: Path) -> float:
    return int((folder / "memory.max").read_text())


def _memory_v1(folder: Path) -> float:
    return int((folder / "memory.limit_in_bytes").read_text())

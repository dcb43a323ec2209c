"""What a job will cost: CPU time on this machine, memory, and bytes to read. For --dry-run.

The work is counted in units whose speed is measured here, in a fraction of a second: products of matrices in float64 and in
float32, comparisons of two rows in a search, and numbers that are read and looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.machine_limits import memory_limit

BASE = 62e6  # bytes of a process that has loaded NumPy and read a file
START = 0.45  # CPU seconds until a process works, at the reference speed
LONG, MEGA = 6000.0, 1e6  # seconds above which hours are shown


@dataclass(frozen=True)
class Cost:
    """The work of a job, or of a part of it.

    read: bytes of the inputs. double, single: multiply-adds of matrix products in float64 and float32. searched: pairs of rows
    that a search compares. scanned: numbers that are read once from an input, with all checks of a file. fixed: seconds at the
    reference speed. memory: bytes beyond those of an idle process.
    """

    read: float = 0.0
    double: float = 0.0
    single: float = 0.0
    searched: float = 0.0
    scanned: float = 0.0
    fixed: float = 0.0
    memory: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """The work of both, one after the other: memory is that of the larger."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__ if name != "memory"}
        return Cost(**sums, memory=max(self.memory, other.memory))

    def beside(self, other: Cost) -> Cost:
        """The work of both, whose memory is held at the same time."""
        return replace(self + other, memory=self.memory + other.memory)


OF_ROW = 22  # bytes of places for each row of a file, beside its ids


def of_file(x: np.ndarray, ids: np.ndarray) -> Cost:
    """Reading a file: every number is looked at once, and ids are kept, and sorted."""
    return Cost(read=x.nbytes, scanned=x.size, memory=2.0 * ids.nbytes + OF_ROW * len(x))


def total(costs: Iterable[Cost]) -> Cost:
    """The work of all, one after the other."""
    cost_of_all = Cost()
    for cost in costs:
        cost_of_all += cost
    return cost_of_all


@dataclass(frozen=True)
class Speed:
    """How fast this machine is: multiply-adds, comparisons and numbers in a second of CPU time; reference: against the machine
    on which `fixed` was measured."""

    double: float
    single: float
    searched: float
    scanned: float
    reference: float


REFERENCE = Speed(double=3.6e10, single=7e10, searched=6.75e8, scanned=1e8, reference=1.0)  # measured with docs/cluster.md


def speed_here() -> Speed:
    """Measure matrix products and a pass over numbers; a search and fixed work are taken to follow these."""
    a = np.random.default_rng(0).normal(size=(384, 384))
    b, numbers = a.astype(np.float32), np.ones(1 << 20, np.float32)
    double = a.shape[0] ** 3 / _seconds(lambda: a @ a)
    single = a.shape[0] ** 3 / _seconds(lambda: b @ b)
    ratio = (PASS / _seconds(lambda: np.isfinite(numbers.astype(np.float64)).all())) ** 0.5 * (double / REFERENCE.double) ** 0.5
    return Speed(double, single, REFERENCE.searched * ratio, REFERENCE.scanned * ratio, ratio)


PASS = 1.2e-3  # seconds of that pass on the reference machine


def _seconds(work: Callable[[], object]) -> float:
    """The least CPU time of a few runs: another job on the machine can only add to it."""
    work()
    times = []
    for _ in range(7):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return max(min(times), 1e-6)


def seconds(cost: Cost, speed: Speed) -> float:
    """The CPU time of the work."""
    return (
        cost.double / speed.double
        + cost.single / speed.single
        + cost.searched / speed.searched
        + cost.scanned / speed.scanned
        + (START + cost.fixed) / speed.reference
    )


def memory(cost: Cost) -> float:
    """The largest memory of a process that does the work, in bytes."""
    return BASE + cost.memory


def estimate_phrase(cost: Cost, speed: Speed | None = None, processes: int = 1) -> str:
    """The estimate as a phrase. processes: on this machine at a time. Says so when they need more memory than they may use.

    >>> estimate_phrase(Cost(read=5e8, double=3.6e11, memory=2.5e7), REFERENCE)
    'about 10 s of CPU time, 87 MB of memory a process, 500 MB to read'
    """
    whole = seconds(cost, speed or speed_here())
    long = f"{whole:.2g} s" if whole < 10 else f"{whole:.0f} s" if whole < LONG else f"{whole / 3600:.1f} h"
    limit = memory_limit()
    more = f"; there are {_bytes(limit)} of memory" if memory(cost) * processes > limit else ""
    return f"about {long} of CPU time, {_bytes(memory(cost))} of memory a process, {_bytes(cost.read)} to read{more}"


def takes(cost: Cost | None, processes: int = 1, without: Iterable[str] = ()) -> str:
    """What --dry-run says of the cost of a run; None where nothing is known of it. without: what is not in it.

    >>> takes(None)
    'take a time that cannot be estimated'
    """
    if cost is None:
        return "take a time that cannot be estimated"
    missing = ", ".join(without)
    return f"take {estimate_phrase(cost, processes=processes)}{f', without {missing}' if missing else ''}"


def _bytes(count: float) -> str:
    return f"{count / MEGA:.0f} MB" if count < 1e4 * MEGA else f"{count / 1e9:.1f} GB"

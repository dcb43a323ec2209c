"""What the benchmarks share: the checkout they measure, one thread, sizes for a smoke test, and peers that may be absent.

Imported before any library, so that these find the number of threads and `relrep_cli` is that of this checkout. `--smoke`
runs a benchmark on tiny data in a second or two: its figures mean nothing, but tests see that it still runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median

CHECKOUT = Path(__file__).resolve().parents[1]
SMOKE = "--smoke" in sys.argv
if SMOKE:
    sys.argv.remove("--smoke")
sys.path.insert(0, str(CHECKOUT))
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RELREP_THREADS"):
    os.environ[variable] = "1"  # threads that wait for each other would be counted as work
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]))

Work = Callable[[], object]


def size(whole: int, smoke: int) -> int:
    """A size of the data or a number of rounds, as it is measured or in a smoke test."""
    return smoke if SMOKE else whole


def installed(peer: str) -> bool:
    """Whether a peer can be imported; says so where it cannot."""
    if find_spec(peer):
        return True
    print(f"{peer} is not installed; skipped", flush=True)
    return False


def seconds(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Median CPU seconds (user + system) of each, in rounds that take turns after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            before = time.process_time()
            work()
            times[name].append(time.process_time() - before)
    return {name: median(items_read[1:]) for name, items_read in times.items()}


def ratio(numerator: float, denominator: float) -> float:
    """The ratio of two times, NaN where the clock saw none, as in a smoke test."""
    return numerator / denominator if denominator else float("nan")


def usage(command: list[str], more: dict[str, str] | None = None, good: tuple[int, ...] = (0,)) -> tuple[float, float, str]:
    """CPU seconds, peak resident bytes and stdout of a command. Exits when it ends with a code that is not good.

    more: variables of its environment.

    A helper process starts it: a child's peak counts from that of the process it was forked from.
    """
    env = {**os.environ, **(more or {})}
    done = subprocess.run([sys.executable, "-c", HELPER, *command], capture_output=True, text=True, check=False, env=env)
    if done.returncode not in good:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    cpu, peak = done.stderr.splitlines()[-1].split()
    return float(cpu), int(peak) * (1.0 if sys.platform == "darwin" else 1024.0), done.stdout


HELPER = """
import os, sys
_, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
RELREP = [sys.executable, "-m", "relrep_cli"]

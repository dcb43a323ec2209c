"""CPU time from the command line to the help text, against a Python that does nothing.

    python benchmarks/startup.py [ROUNDS]

Prints the median user + system time of each command, measured by wait4, in rounds that take turns so that a busy machine
slows all alike. The goal: `relrep --help` within 12 times `python -c pass`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

CHECKOUT = Path(__file__).resolve().parents[1]
RELREP = [sys.executable, "-m", "relrep_cli"]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "relrep --help": [*RELREP, "--help"],
    "relrep --version": [*RELREP, "--version"],
    "relrep compare --help": [*RELREP, "compare", "--help"],
}


def cpu(command: list[str]) -> float:
    """CPU seconds of one run."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        cpu(command)  # compiles and caches
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(cpu(command))
    nothing = median(times["python -c pass"])
    for name, found in times.items():
        print(f"{name:24} {1000 * median(found):7.1f} ms CPU  {median(found) / nothing:5.1f} x")


if __name__ == "__main__":
    main()

"""CPU time from the command line to the help text, against a Python that does nothing.

    python benchmarks/startup.py [ROUNDS] [--smoke]

Prints the median user + system time of each command, measured by wait4, in rounds that take turns so that a busy machine
slows all alike. The goal: `relrep --help` within 12 times `python -c pass`.
"""

from __future__ import annotations

import sys
from statistics import median

from common import RELREP, SMOKE, ratio, size, usage

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "relrep --help": [*RELREP, "--help"],
    "relrep --version": [*RELREP, "--version"],
    "relrep compare --help": [*RELREP, "compare", "--help"],
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else size(21, 1)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in () if SMOKE else COMMANDS.values():
        usage(command)  # compiles and caches
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(usage(command)[0])
    nothing = median(times["python -c pass"])
    for name, items_read in times.items():
        print(f"{name:24} {1000 * median(items_read):7.1f} ms CPU  {ratio(median(items_read), nothing):5.1f} x")


if __name__ == "__main__":
    main()

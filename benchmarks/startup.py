"""CPU time from the command line to the help text, and of a call in Python beside its command.

    python benchmarks/startup.py [ROUNDS] [--smoke]

Prints the median user + system time of each command, measured by wait4, in rounds that take turns so that a busy machine
slows all alike, and its ratio to a Python that does nothing. The goals: `relrep --help` within 12 times `python -c pass`; a
call within 1.1 times its command, but for the end of the interpreter, which commands leave out.
"""

from __future__ import annotations

import sys
from statistics import median

from common import CHECKOUT, RELREP, SMOKE, ratio, size, usage

SAMPLE = [str(CHECKOUT / "sample_data" / name) for name in ("a.h5", "b.h5")]
CALL = f"import relrep_cli as relrep; relrep.compare(*{SAMPLE})"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "relrep --help": [*RELREP, "--help"],
    "relrep --version": [*RELREP, "--version"],
    "relrep compare --help": [*RELREP, "compare", "--help"],
    "relrep compare": [*RELREP, "compare", *SAMPLE, "-m", "cka", "-q"],
    "the same in Python": [sys.executable, "-c", CALL],
    "without its end": [sys.executable, "-c", f"{CALL}; import os; os._exit(0)"],
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

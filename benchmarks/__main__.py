"""Whole commands of relrep and single operations, beside what one would use instead, in one table.

    python -m benchmarks [--quick] [--kind own|avx2] [--only WORDS] [--rounds 5] [-o FILE] [--page FILE]

Each row holds CPU seconds (user + system) of relrep and of a peer, on one thread, as the median of rounds in which both take
turns; their ratio; the goal, and whether it is met. Commands and peers in `benchmarks/scripts` run as whole processes.
--quick runs everything once on tiny data, as a test: its figures mean nothing. --kind avx2 makes all libraries choose
kernels of AVX2. -o writes JSON; --page writes docs/performance.md from the JSON files in benchmarks/table/results.
The inputs take 2 GB of disk in --folder, where they stay for the next run, or in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import CHECKOUT
from benchmarks.table import data, kinds, measure, pages
from benchmarks.table.jobs import COMMANDS

RESULTS = CHECKOUT / "benchmarks" / "table" / "results"


def main(arguments: list[str]) -> int:
    given = parsed(arguments)
    if given.page:
        Path(given.page).write_text(pages.page(sorted(RESULTS.glob("*.json"))), "utf-8")
        return 0
    measure.fresh_environment()
    if kinds.environment(given.kind).items() - os.environ.items():  # libraries read it while they load
        os.environ.update(kinds.environment(given.kind))
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *arguments])
    result: dict[str, Any] = {"machine": kinds.machine(given.kind), "rounds": 1 if given.quick else given.rounds, "rows": []}
    print(pages.HEAD)
    with tempfile.TemporaryDirectory(prefix="relrep-bench-") as place:
        for row in rows(given, Path(given.folder or place)):
            row["met"] = None if given.quick else row["met"]
            print(pages.line(row), flush=True)
            result["rows"].append(row)
            if given.output:
                kept = merged(Path(given.output), result) if given.only or given.part else result
                Path(given.output).write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    return 0


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="once, on tiny data")
    parser.add_argument("--kind", choices=("own", "avx2"), default="own")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="rows whose name holds all of these words")
    parser.add_argument("--part", choices=("commands", "operations"), help="one half of the table")
    parser.add_argument("--heavy", action="store_true", help="rows that take minutes, too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where the inputs stay")
    parser.add_argument("-o", "--output", help="JSON; with --only, replaces these rows of it")
    parser.add_argument("--page", help="write the page from stored JSON, and measure nothing")
    return parser.parse_args(arguments)


def rows(given: argparse.Namespace, folder: Path) -> Iterator[measure.Row]:
    """Measure what is wanted, one row after the other."""

    def wanted(row: Any) -> bool:
        return all(word in row.name for word in given.only) and (given.heavy or not row.heavy)

    named: dict[str, str] = {}
    for job in filter(wanted, COMMANDS if given.part != "operations" else ()):
        named = named or data.make(folder, 50 if given.quick else 1)
        yield measure.measured(job, named, 0 if given.quick else given.rounds)
    sys.argv[:] = ["operations", *["--smoke"][: given.quick]]  # the scripts beside read their size from it
    from benchmarks.table.operations import OPERATIONS, measured

    for operation in filter(wanted, OPERATIONS if given.part != "commands" else ()):
        yield measured(operation, 1 if given.quick else given.rounds)


def merged(path: Path, result: dict[str, object]) -> dict[str, object]:
    """The rows that a file holds, with those measured now in their place."""
    if not path.exists():
        return result
    old = json.loads(path.read_text("utf-8"))
    collected = {(row["operation"], row["shapes"]): row for row in [*old["rows"], *result["rows"]]}  # type: ignore[misc]
    return {**result, "rows": list(collected.values())}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

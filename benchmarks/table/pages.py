"""The table as text, and docs/performance.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.table.jobs import COMMANDS

HEAD = f"{'operation':52} {'shapes':14} {'peer':26} {'ours s':>8} {'peer s':>8} {'ratio':>7} {'goal':>8}  met\n" + "-" * 132
TEXT = Path(__file__).with_name("performance.md")


def line(row: Mapping[str, Any]) -> str:
    """A row as the command prints it."""
    words = f"{row['operation']:52} {row['shapes']:14} {row['peer']:26} {row['ours']:8.3f} {row['theirs']:8.3f}"
    return f"{words} {row['ratio']:7.3f} {_goal(row):>8}  {_met(row)}"


def _goal(row: Mapping[str, Any]) -> str:
    return "" if row["goal"] is None else f"<= {row['goal']:.3g}{' s' if row['unit'] == 's' else ''}"


def _met(row: Mapping[str, Any]) -> str:
    return {True: "yes", False: "NO", None: ""}[row["met"]]


def page(files: Sequence[Path]) -> str:
    """docs/performance.md, from its text and the stored results."""
    tables = "\n\n".join(_table(json.loads(path.read_text("utf-8"))) for path in files)
    return TEXT.read_text("utf-8").replace("<!-- tables -->", tables)


def _table(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    head = f"### {machine['processor']}, {machine['kernels']}\n\n{machine['cpus']} cores, {machine['system']}, "
    head += f"Python {machine['python']}, {versions}.\n\n"
    rows = ["| operation | shapes | peer | relrep, s | peer, s | ratio | goal | met |", "|---|---|---|---|---|---|---|---|"]
    whole = [job.operation for job in COMMANDS]
    for row in sorted(result["rows"], key=lambda row: row["operation"] not in whole):
        cells = [row["operation"], row["shapes"], row["peer"], f"{row['ours']:.2f}", f"{row['theirs']:.2f}"]
        rows.append("| " + " | ".join([*cells, f"{row['ratio']:.3g}", _goal(row), _met(row).lower()]) + " |")
    return head + "\n".join(rows)

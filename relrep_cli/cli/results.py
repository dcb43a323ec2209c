"""How compare hands over what it found: to standard output or a file, as records or as a matrix."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence

from relrep_cli import store
from relrep_cli.comparison import Rows
from relrep_cli.errors import UsageError
from relrep_cli.matrix import Matrix
from relrep_cli.output import Record, emit, render, say, write
from relrep_cli.plots import Panel, distributions, heatmap, ready


def refuse_same(targets: Mapping[str, str]) -> None:
    """Raise UsageError when two options name one file to write."""
    for (option, target), (other, same) in itertools.combinations(targets.items(), 2):
        if target and target == same:
            raise UsageError(f"{target}: {option} and {other} name the same file; choose another name for one.")


def wants_matrix(told: bool | None, files: int, metrics: list[str], otherwise: bool) -> bool:
    """Whether to print a matrix: when told so; else on a terminal for one metric of several files, unless the user wants
    it otherwise."""
    if told is not None:
        return told
    return sys.stdout.isatty() and files > 2 and len(metrics) == 1 and not otherwise


def wants_heatmap(target: str, metrics: list[str], files: int) -> bool:
    """Whether --plot draws a matrix; else it draws the row values of one pair. Raises UsageError for what it cannot draw."""
    ready(target)
    if files > 2 and len(metrics) > 1:
        raise UsageError(f"--plot {target}: a heatmap shows one metric, not {', '.join(metrics)}; write --metric NAME.")
    return files > 2


def draw(target: str, m: Matrix | None, records: Sequence[Record], rows: Sequence[Rows], layered: bool, force: bool) -> None:
    """The heatmap of a matrix, layers in their own order; without one, the row values of each metric that has some."""
    if m is not None:
        return store.write_bytes(target, heatmap(m, target, order=not layered), force)
    if not rows:
        raise UsageError(f"--plot {target}: none of the metrics has a value for each row; of two files it draws those.")
    keys = ("a", "b", "metric", "k", "projection")
    panels = [
        Panel(record, own.values)
        for own in rows
        for record in records
        if record["value"] is not None and all(record.get(k) == own.record[k] for k in keys if k in record and k in own.record)
    ]
    store.write_bytes(target, distributions(panels, target), force)


def write_records(records: Sequence[Record], columns: Sequence[str], output: str, kind: str | None, force: bool) -> None:
    """The long form."""
    if output and output != "-":
        store.write_bytes(output, store.encoded(output, records, columns, kind), force)
    else:
        write(records, columns, kind)


def write_matrix(m: Matrix, records: Sequence[Record], output: str, kind: str | None, force: bool) -> None:
    """The matrix; a table has its convention below it, else it is said. What is missing is said, too."""
    columns = [m.metric, *m.columns]
    for error in dict.fromkeys(r["error"] for r in records if "error" in r):
        say(error)
    if output and output != "-":
        store.write_bytes(output, store.encoded(output, m.records(), columns, kind), force)
        return say(m.says())
    kind = kind or ("table" if sys.stdout.isatty() else "tsv")
    content = render(m.records(), columns, kind, verbatim=True)
    emit(content + (m.says() + "\n" if kind == "table" else ""))
    if kind != "table":
        say(m.says())

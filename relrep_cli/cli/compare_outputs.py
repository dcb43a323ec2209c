"""How compare hands over what it found: to standard output or a file, as records or as a matrix."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.output import Record, emit, render, say, write
from relrep_cli.comparison.matrix import Matrix
from relrep_cli.comparison.pairs_of_files import Rows, View
from relrep_cli.comparison.worst_items import worst
from relrep_cli.plots import Panel, distributions, heatmap, ready

Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        help="Compare every file with this one only: first, or one of the files.",
        metavar="FILE",
        show_default=False,
    ),
]
AsMatrix = Annotated[
    bool | None,
    typer.Option(
        "--matrix/--no-matrix",
        help="Print one metric as a matrix of files; on a terminal so for more than two, unless told.",
        show_default=False,
    ),
]
Plot = Annotated[
    str,
    typer.Option(
        "--plot",
        help="Draw FILE (.png, .svg or .pdf) as well: a heatmap, or of two files the distribution of row values.",
        metavar="FILE",
        show_default=False,
    ),
]
Worst = Annotated[
    int | None,
    typer.Option(
        "--worst",
        help="Print the N items that agree least, instead of the scores: of each metric with a value for each row.",
        metavar="N",
        min=1,
        show_default=False,
    ),
]
Permutations = Annotated[
    int | None,
    typer.Option(
        "--permutations",
        help="Add p by N random pairings of the rows, q, and the value corrected for chance; it takes N times as long.",
        metavar="N",
        min=1,
        show_default=False,
    ),
]
Seen = Mapping[str, Sequence[View] | DataError]  # each file in every view, or what is wrong with it


def columns(first: Sequence[str], projected: bool, tested: bool, layered: bool, records: Sequence[Record]) -> list[str]:
    """The columns of scores; those that only some metrics have follow by name, whatever the order of metrics."""
    test = ("p", "q", "corrected", *(["p_max"] if layered else [])) if tested else ()
    known = [*first, *(["projection"] if projected else []), *test]
    return [*known, *sorted({key for r in records for key in r if key not in known})]


def refuse_both(matrix: bool | None, worst: int | None, permutations: int | None, metrics: Sequence[str]) -> None:
    """Raise UsageError for options that ask for different tables, or for a matrix that cannot be."""
    if permutations and (matrix or worst):
        raise UsageError(f"{'--matrix' if matrix else '--worst'} shows no p-values; leave out --permutations.")
    if matrix and worst:
        raise UsageError("--matrix and --worst print different things; choose one.")
    if matrix and len(metrics) > 1:
        raise UsageError(f"--matrix shows one metric, not {', '.join(metrics)}; write --metric NAME.")


def refuse_same(targets: Mapping[str, str]) -> None:
    """Raise UsageError when two options name one file to write."""
    for (option, target), (other, same) in itertools.combinations(targets.items(), 2):
        if target and target == same:
            raise UsageError(f"{target}: {option} and {other} name the same file; choose another name for one.")


def wants_matrix(told: bool | None, files: int, metrics: list[str], plain: bool) -> bool:
    """Whether to print a matrix: when told so; else on a terminal for one metric of several files, if asked in a plain way."""
    if told is not None:
        return told
    return sys.stdout.isatty() and files > 2 and len(metrics) == 1 and plain


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
        return say(m.convention_line())
    kind = kind or ("table" if sys.stdout.isatty() else "tsv")
    content = render(m.records(), columns, kind, verbatim=True)
    emit(content + (m.convention_line() + "\n" if kind == "table" else ""))
    if kind != "table":
        say(m.convention_line())


def write_worst(
    count: int,
    rows: Sequence[Rows],
    seen: Seen,
    projected: bool,
    output: str,
    kind: str | None,
    force: bool,
) -> None:
    """The items that agree least, worst first."""
    if not rows:
        raise UsageError("--worst: none of the metrics has a value for each row.")
    files = {uri: views[0].embedding for uri, views in seen.items() if not isinstance(views, DataError)}
    records, notes = worst(rows, count, files, projected)
    keys = ("id", "label", "a", "b", "metric", "k", "projection", "value")
    write_records(records, [key for key in keys if any(key in r for r in records)], output, kind, force)
    for note in notes:
        say(note)

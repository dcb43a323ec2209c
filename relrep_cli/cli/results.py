"""How compare hands over what it found: to standard output or a file, as records or as a matrix."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from relrep_cli import store
from relrep_cli.matrix import Matrix
from relrep_cli.output import Record, emit, render, say, write


def wants_matrix(told: bool | None, files: int, metrics: list[str], otherwise: bool) -> bool:
    """Whether to print a matrix: when told so; else on a terminal for one metric of several files, unless the user wants
    it otherwise."""
    if told is not None:
        return told
    return sys.stdout.isatty() and files > 2 and len(metrics) == 1 and not otherwise


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

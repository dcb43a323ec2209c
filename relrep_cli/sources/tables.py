"""Texts: one a line, TREC's questions, or a column of a table."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Param
from relrep_cli.base.signals import check
from relrep_cli.sources.items import Items, SkipBad, Skipped, bad, part_of, source
from relrep_cli.sources.text_columns import LABEL, Collected, TextTable, text_table
from relrep_cli.sources.text_lines import LONGEST, collected
from relrep_cli.store.files import opened
from relrep_cli.store.reading import PLAIN, Reading

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
LINES = (".txt", ".text", ".label")
TREC = re.compile(rb"([A-Z]+):(\w+) (.+)", re.DOTALL)
Column = Annotated[str, Param("Column of the texts in a table; a number counts the columns of one without header.")]
LabelColumn = Annotated[str, Param("Column of the labels, by name or number; where it is not given, the column label.")]


@dataclass
class Row:
    """One item: where it stands, its text, its columns; `fault` says why it cannot be used."""

    where: str
    text: bytes = b""
    columns: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _files(path: Path, endings: tuple[str, ...]) -> list[Path]:
    """The file, or those of a folder that are named after a split, train first."""
    if not path.is_dir():
        return [path] if _ending(path) in endings else []
    order = ("train", "valid", "test")
    parts = [(order.index(part), path / name) for name in os.listdir(path) if (part := part_of(name))]
    return [file for _, file in sorted(parts) if _ending(file) in endings and file.is_file()]


@source(kind="texts", fits=lambda path: bool(_files(path, LINES)), has_columns=False, source="Li and Roth 2002 (TREC's form)")
def lines(path: Path, *, skip_bad: SkipBad = False) -> Items:
    """Texts, one a line, UTF-8, plain or .gz; TREC's questions bring their labels.

    A folder gives its files that are named train…, val…, test…. In TREC's form every line is `COARSE:fine text`; `label` is
    then the coarse class and `fine_label` both (Li and Roth 2002). Raises DataError for a line that is empty or no UTF-8.
    """
    files = _files(path, LINES) or [path]
    trec = str(path) != "-" and all(TREC.fullmatch(line) for file in files for line in _first_lines(file))
    return _gathered(path, [(file, _plain(file, trec)) for file in files], skip_bad)


@source(
    kind="texts",
    fits=lambda path: bool(_files(path, TABLES)),
    has_columns=True,
    source="RFC 4180; jsonlines.org; Apache Parquet",
)
def table(
    path: Path,
    *,
    text_column: Column = "text",
    label_column: LabelColumn = LABEL,
    skip_bad: SkipBad = False,
    reading: Reading = PLAIN,
) -> Items:
    """Texts in a column of .csv, .tsv, .jsonl or .parquet, with ids, labels and splits by the reading rule.

    A folder gives its files that are named train…, val…, test…. Raises DataError for a row without text.
    """
    files = _files(path, TABLES)
    if not files:
        raise bad(path, f"no table here ({', '.join(TABLES)})", "Name a table, or a folder of train, val and test tables.")
    table = text_table(text_column, label_column, reading)
    return _gathered(path, [(file, _rows(file, table)) for file in files], skip_bad, table)


def _gathered(path: Path, parts: list[tuple[Path, Iterator[Row]]], skip_bad: bool, table: TextTable | None = None) -> Items:
    """The items of all files, read one by one. table: None where the rows bring columns that are kept as they are."""
    skipped, columns = Skipped(path, skip_bad), Collected()

    def texts() -> Iterator[bytes]:
        for file, rows in parts:
            split = part_of(file.name)
            stem = split or file.name.partition(".")[0].strip("-") or "text"
            for number, row in enumerate(rows):
                check()
                fault = row.fault or ("it is empty" if not row.text.strip() else "")
                if len(row.text) > LONGEST:
                    fault = f"it is {len(row.text)} bytes long; at most {LONGEST} are read"
                if fault:
                    skipped.note(row.where, fault)
                    continue
                columns.add(row.columns, f"{stem}-{number:06d}", split)
                yield row.text

    x, digest = collected(texts())
    skipped.tell(len(x))
    ids, obs = columns.by_rule(path, table) if table else columns.as_they_are()
    return Items(x, ids, digest, obs)


def stream(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number, line) of a text file, plain or gzipped, or of standard input, from 1; a longer line comes in pieces."""
    if str(path) == "-":
        spoken = sys.stdin.buffer
        yield from enumerate(iter(lambda: spoken.readline(2 * LONGEST), b""), 1)
        return
    opened(path).close()
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file: Any = gzip.GzipFile(fileobj=raw) if zipped else raw
        number = 0
        try:
            while line := file.readline(2 * LONGEST):
                number += 1
                yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise bad(path, f"its gzip stream is damaged ({printable(str(error))})", "Fetch it again.") from None


def _first_lines(path: Path) -> list[bytes]:
    return [line.rstrip(b"\r\n") for (_, line), _ in zip(stream(path), range(20), strict=False)] or [b""]


def _utf8(text: bytes) -> str:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} does not occur in UTF-8 text"
    return ""


def _plain(path: Path, trec: bool) -> Iterator[Row]:
    for number, line in stream(path):
        where, line = f"{path}: line {number}", line.rstrip(b"\r\n")
        match = TREC.fullmatch(line) if trec else None
        if trec and match is None:
            yield Row(where, fault="it is not COARSE:fine text, as the lines before")
        elif match:
            labels = {"label": match[1], "fine_label": match[1] + b":" + match[2]}
            # A few of TREC's questions are in Latin-1 in the original files.
            text = match[3] if not _utf8(match[3]) else match[3].decode("latin-1").encode()
            yield Row(where, text, labels)
        else:
            yield Row(where, line, fault=_utf8(line))


def _rows(path: Path, table: TextTable) -> Iterator[Row]:
    """The rows of a table, by its ending."""
    ending = _ending(path)
    if ending == ".jsonl":
        return _objects(path, stream(path), table)
    if ending == ".parquet":
        return _parquet(path, table)
    return _delimited(path, "," if ending == ".csv" else "\t", table)


def _objects(path: Path, lines: Iterator[tuple[int, bytes]], table: TextTable) -> Iterator[Row]:
    """JSON objects, one a line."""
    text = table.text
    for number, line in lines:
        where = f"{path}: line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            yield Row(where, fault="it is not a JSON object")
        elif not isinstance(record.get(text), str):
            names = ", ".join(printable(name, 40) for name in list(record)[:6])
            yield Row(where, fault=f"no text in column {printable(text)!r}; found {names}")
        else:
            yield Row(where, record[text].encode("utf-8", "replace"), {n: v for n, v in record.items() if table.takes(n)})


def _delimited(path: Path, delimiter: str, table: TextTable) -> Iterator[Row]:
    """The rows of a .csv or .tsv, cells quoted or not; a cell may go over lines."""
    csv.field_size_limit(2 * LONGEST)
    text, at = table.text, [0]

    def decoded() -> Iterator[str]:
        for number, line in stream(path):
            at[0] = number
            yield line.decode("utf-8", "surrogateescape")

    rows = csv.reader(decoded(), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE)
    numbered_columns = text.isdecimal()
    try:
        names = [] if numbered_columns else next(rows, [])
    except csv.Error as error:
        raise bad(path, f"its first row is malformed: {printable(str(error))}", "Write it again.") from None
    if not numbered_columns and text not in names:
        listed = ", ".join(printable(name, 40) for name in names[:6]) or "nothing"
        finding = f"no column {printable(text)!r}; its first row names {listed}"
        raise bad(path, finding, "Name one, or its number where no row names them: --text-column 2.")
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            yield Row(f"{path}: line {at[0]}", fault=printable(str(error)))
            continue
        if cells is None:
            return
        keys = [str(i + 1) for i in range(len(cells))] if numbered_columns else names
        row = dict(zip(keys, cells, strict=False))
        content = row.get(text, "").encode("utf-8", "surrogateescape")
        fault = _utf8(content) or ("" if len(cells) >= len(names) else f"it has {len(cells)} cells of {len(names)}")
        yield Row(f"{path}: line {at[0]}", content, {n: v for n, v in row.items() if table.takes(n)}, fault)


def _parquet(path: Path, table: TextTable) -> Iterator[Row]:
    """The rows of a Parquet file, which the store's child process turns into JSON lines."""
    from relrep_cli.store.textual import as_lines

    with as_lines(path, table.text, [*table.reading.named.values()]) as file:
        for row in _objects(path, enumerate(file, 1), table):
            row.where = row.where.replace(": line ", ": row ")
            yield row

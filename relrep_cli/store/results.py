"""Result tables: as bytes, text in any format of `output` or Parquet where the name of the file says so, and read again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relrep_cli.base.cells import number
from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.output import ENDINGS, PLAIN_STYLE, Record, Style, render

PARQUET = ".parquet"
TABLES = (*ENDINGS, PARQUET, ".txt")  # endings of files that hold a table
DELIMITERS = {".tsv": "\t", ".csv": ","}
READABLE = (*DELIMITERS, ".jsonl")
HEADER = 1 << 16  # bytes of a first line
LARGEST = 64 << 20  # bytes of a table that is read again


def is_parquet(target: str) -> bool:
    return target.lower().endswith(PARQUET)


def agree(target: str, style: Style = PLAIN_STYLE, more: Sequence[str] = ()) -> None:
    """Raise UsageError when the name of a file says no format of a table, or Parquet where an option says text.

    more: other endings that the target may have.
    """
    ending = Path(target).suffix.lower()
    if target not in ("", "-") and not style.format and ending not in (*TABLES, *more):
        names = ", ".join((*TABLES, *more))
        raise UsageError(f"the name must end in one of {names}", "Correct it, or name the format with --format.", file=target)
    if style.format and is_parquet(target):
        raise UsageError(f"the name says Parquet, and --format {style.format} is text", "Leave one out.", file=target)


def encoded(target: str, records: Sequence[Record], columns: Sequence[str], style: Style = PLAIN_STYLE) -> bytes:
    """Flat records as what a file named `target` should hold; `style` overrides its ending. TSV where neither says."""
    if is_parquet(target) and not style.format:
        return _parquet(records, columns)
    format = format_of(target, style)
    text = render(records, columns, format, quote_formulas=style.quote_formulas)
    return text.encode(errors="backslashreplace")


def format_of(target: str, style: Style = PLAIN_STYLE) -> str:
    """The format of `output` in which a file is written; `parquet` for Parquet."""
    if is_parquet(target) and not style.format:
        return "parquet"
    return style.format or ENDINGS.get(Path(target).suffix.lower(), "tsv")


def _parquet(records: Sequence[Record], columns: Sequence[str]) -> bytes:
    """One Parquet column for each key: numbers in full precision, null for what has no value."""
    import pyarrow as pa
    import pyarrow.parquet

    names = [*columns, *dict.fromkeys(k for r in records for k in r if k not in columns)]
    table = pa.table({name: _column(pa, [number(r.get(name)) for r in records]) for name in names})
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def _column(pa: Any, values: list[Any]) -> Any:
    """A typed column: 64-bit integers or floats where all that is there are numbers, else text."""
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int, float}:
        return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
    texts = [None if v is None else str(v).encode(errors="backslashreplace").decode() for v in values]
    return pa.array(texts, pa.string())


def has_columns(path: Path, names: set[str]) -> bool:
    """Whether the first line of a .tsv, .csv or .jsonl names these columns; vectors in text may be long, and are not read."""
    from relrep_cli.store.files import opened

    with opened(path) as file:
        first = io.BufferedReader(file).readline(HEADER)
    delimiter = DELIMITERS.get(path.suffix.lower())
    try:
        header = next(csv.reader([first.decode()], delimiter=delimiter), []) if delimiter else json.loads(first)
        return names <= set(header)
    except (ValueError, TypeError, csv.Error, RecursionError):
        return False


def decoded(path: Path) -> list[Record]:
    """The records of a .tsv, .csv or .jsonl that `encoded` made; numbers as floats, None for what has no value.

    Raises DataError where it is none, or too long for one.
    """
    from relrep_cli.store.files import bad, opened

    with opened(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise bad(path, f"longer than the {LARGEST >> 20} MB that a table of results may have", "Split it.")
    try:
        return [{key: _value(value) for key, value in record.items()} for record in _records(path, content.decode())]
    except (ValueError, csv.Error, RecursionError) as error:
        raise bad(
            path, f"cannot be read as a table ({printable(str(error), 80)})", "Write it again with relrep compare -o."
        ) from None


def _records(path: Path, text: str) -> list[Record]:
    if delimiter := DELIMITERS.get(path.suffix.lower()):
        return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    records = [json.loads(line) for line in text.splitlines() if line]
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("one of its lines is not a record")
    return records


def _value(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return None if value == "n/a" else value

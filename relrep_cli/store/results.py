"""Result tables as bytes: text in any format of `output`, or Parquet where the name of the file says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relrep_cli.errors import UsageError
from relrep_cli.output import ENDINGS, Record, number, render

PARQUET = ".parquet"


def is_parquet(target: str) -> bool:
    return target.lower().endswith(PARQUET)


TABLES = (*ENDINGS, ".parquet", ".txt")  # endings of files that hold a table


def agree(target: str, kind: str | None) -> None:
    """Raise UsageError when the name of a file says Parquet, and an option says text."""
    if kind and is_parquet(target):
        raise UsageError(f"{target}: the name says Parquet, and --format {kind} is text; leave one out.")


def encoded(target: str, records: Sequence[Record], columns: Sequence[str], kind: str | None = None) -> bytes:
    """Flat records as what a file named `target` should hold; `kind` overrides its ending. TSV where neither says."""
    if is_parquet(target) and not kind:
        return _parquet(records, columns)
    text = render(records, columns, kind or ENDINGS.get(Path(target).suffix.lower(), "tsv"))
    return text.encode(errors="backslashreplace")


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

"""SQLite tables whose vectors are blobs of float32, as sqlite-vec has them, or JSON lists: read by sqlite3 in a child process.

Only plain tables are read, never views or virtual tables, whose definitions are code; and the schema is not trusted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.store.apart import Answer, Batch, Files, answered, limit, read_apart, spill
from relrep_cli.store.assignment import tells_rows_apart
from relrep_cli.store.columns import column, shortened
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.table_columns import Chosen, Kind, choose_columns, listed
from relrep_cli.store.text import parsed_vectors

MAGIC = b"SQLite format 3\0"
SAMPLE = 1000  # rows that tell what a column holds
ROWS = 1 << 12
LONGEST = 1 << 20  # bytes of one value
MEMORY = 256 << 20  # bytes
TINY, NOISE = 1e-15, 0.4  # numbers below that, or above one over it, are unusual; this share of them is noise
FLOAT32, FLOAT64 = "<f4", "<f8"

STORE = "Store the vectors as blobs of float32, or as JSON lists."


def read_sqlite(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The vectors of the table `member`, or of the only table with vectors. Raises DataError."""
    with opened(path) as file:
        head, size = os.pread(file.fileno(), HEAD, 0), size_of(file)
    if not head.startswith(MAGIC):
        raise mistaken(path, head, "an SQLite database")
    return read_apart(path, size, survey, member, asdict(reading))


def survey(name: str, files: Files, member: str | None, reading: Mapping[str, Any]) -> Answer:
    """In the child: the embedding in a table, spilled into `files`."""
    path = Path(name)
    size = os.stat(path).st_size

    def work() -> Answer:
        import sqlite3

        try:
            with closing(_connected(path)) as database:
                return _of_database(path, files, database, member, Reading(**reading))
        except sqlite3.Error as error:
            raise bad(path, f"damaged: SQLite says {printable(str(error), 120)}", "Write it again.") from None

    limit(2 + size / 2e7, MEMORY + size)
    return answered(path, work)


def _connected(path: Path) -> Any:
    import sqlite3

    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    database.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    database.execute("PRAGMA trusted_schema = OFF")
    database.text_factory = bytes
    return database


def _of_database(path: Path, files: Files, database: Any, member: str | None, reading: Reading) -> Answer:
    tables: list[str] = [
        name.decode(errors="replace") for (name,) in database.execute(_TABLES) if not name.startswith(b"sqlite_")
    ]
    kinds = {table: _kinds(database, table) for table in ([member] if member in tables else tables)}
    table = member if member in tables else _only(path, kinds, member)
    chosen = choose_columns(path, kinds[table], reading, None)
    kind = FLOAT64 if are_doubles(_first(database, table, chosen.vectors[0])) else FLOAT32
    answer = spill(path, files, _batches(path, database, table, chosen, kinds[table], kind))
    notes = ["its blobs are read as float64, by their values."] if kind == FLOAT64 else []
    unread = [name for name in chosen.others if tells_rows_apart(_values(_first(database, table, name)))]
    return {**answer, "unread": unread, "notes": notes}


def _only(path: Path, kinds: Mapping[str, Mapping[str, Kind]], member: str | None) -> str:
    """The only table with vectors. Raises DataError where a table is named, which is not there."""
    if member is not None:
        raise bad(path, f"no table of this name; found {listed([*kinds])}", "Name one of these.", member)
    fit = [table for table, columns in kinds.items() if "vector" in columns.values()]
    if len(fit) != 1:
        of_numbers = [table for table, columns in kinds.items() if {"real", "whole"} & {*columns.values()}]
        finding = f"which table? Found {listed(fit)}" if fit else f"no table with vectors; found {listed([*kinds])}"
        remedy = f"Write {printable(str(path), 1000)}::{printable((fit or of_numbers)[0])}." if fit or of_numbers else STORE
        raise bad(path, finding, remedy)
    return fit[0]


_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name LIMIT 1000"


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first(database: Any, table: str, name: str) -> list[Any]:
    return [value for (value,) in database.execute(f"SELECT {_named(name)} FROM {_named(table)} LIMIT {SAMPLE}")]


def _kinds(database: Any, table: str) -> dict[str, Kind]:
    """The kind of each column of a table, by its first rows."""
    cursor = database.execute(f"SELECT * FROM {_named(table)} LIMIT {SAMPLE}")
    names = [entry[0] for entry in cursor.description]
    rows = cursor.fetchall()
    return {name: _kind([row[i] for row in rows]) for i, name in enumerate(names)}


def _kind(values: list[Any]) -> Kind:
    types = {type(value) for value in values}
    if types == {bytes}:
        lengths = {len(value) for value in values}
        if all(value[:1] == b"[" and value[-1:] == b"]" for value in values):
            return "vector"
        readable = all(_is_text(value) for value in values)
        return "text" if readable or len(lengths) != 1 or min(lengths) % 4 or not min(lengths) else "vector"
    if types == {int}:
        return "whole"
    return "real" if types and types <= {int, float} else "other"


def _is_text(value: bytes) -> bool:
    try:
        return value.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _batches(path: Path, database: Any, table: str, chosen: Chosen, kinds: Mapping[str, Kind], kind: str) -> Iterator[Batch]:
    names = [*chosen.vectors, *chosen.named]
    cursor = database.execute(f"SELECT {', '.join(map(_named, names))} FROM {_named(table)}")
    at, width = 1, None
    while rows := cursor.fetchmany(ROWS):
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
        if kinds[chosen.vectors[0]] == "vector":
            x = _vectors(path, list(columns[chosen.vectors[0]]), at, width, kind)
        else:
            x = np.array([_numbers(path, columns[name], at) for name in chosen.vectors]).T
        at, width = at + len(rows), x.shape[1]
        yield x, {name: [column(path, name, _values(list(columns[name])))] for name in chosen.named}


def _numbers(path: Path, values: Any, at: int) -> np.ndarray:
    if wrong := next((i for i, value in enumerate(values) if type(value) not in (int, float)), None):
        raise bad(path, f"row {at + wrong} holds no number", "Every value of a coordinate must be a number.")
    return np.array(values, np.float64)


def _vectors(path: Path, values: list[Any], at: int, width: int | None, kind: str) -> np.ndarray:
    if wrong := next((i for i, value in enumerate(values) if not isinstance(value, bytes)), None):
        raise _no_vector(path, at + wrong)
    if all(value[:1] == b"[" and value[-1:] == b"]" for value in values):
        return parsed_vectors(path, [value.decode("ascii", "replace") for value in values], at, width)
    one = np.dtype(kind).itemsize
    size = one * width if width else len(values[0])
    if uneven := next((i for i, value in enumerate(values) if len(value) != size), None):
        raise bad(path, f"row {at + uneven} holds {len(values[uneven]) // one} numbers, those before {size // one}", "Mend it.")
    return np.frombuffer(b"".join(values), kind).reshape(len(values), size // one)


def are_doubles(blobs: list[Any]) -> bool:
    """Whether blobs of one length hold float64, by their values: as float32, the lower halves of float64 are noise.

    >>> row = np.array([0.1, -2.5, 30.7])
    >>> are_doubles([row.tobytes()]), are_doubles([row.astype("f4").tobytes()]), are_doubles([np.ones(4).tobytes()])
    (True, False, True)
    """
    if not blobs or not all(isinstance(blob, bytes) and len(blob) == len(blobs[0]) for blob in blobs) or len(blobs[0]) % 8:
        return False
    content = b"".join(blobs)
    doubles, halves = np.abs(np.frombuffer(content, "<f8")), np.abs(np.frombuffer(content, "<f4")[::2])
    with np.errstate(invalid="ignore"):
        usual = ((doubles > TINY**4) & (doubles < TINY**-4)) | (doubles == 0)
        noise = ~((halves > TINY) & (halves < 1 / TINY))
    return bool(usual.all() and noise.mean() > NOISE)


def _no_vector(path: Path, row: int) -> DataError:
    return bad(path, f"row {row} holds no vector", "Remove such rows, or store a blob of float32.")


def _values(values: list[Any]) -> np.ndarray:
    """Values of a column of ids, labels or splits: whole numbers, real numbers, or text; missing text is empty."""
    if values and all(type(value) is int for value in values):
        return np.array(values, np.int64)
    if values and all(type(value) in (int, float) for value in values):
        return np.array(values, np.float64)
    texts = [value if isinstance(value, bytes) else b"" if value is None else str(value).encode() for value in values]
    texts = [shortened(text) for text in texts]
    return np.array(texts, f"S{max(1, *map(len, texts))}") if texts else np.empty(0, "S1")

"""JSON lines and JSON: objects with a vector each, or columns of numbers; read record by record in a child process with limits.

It runs apart although the parser is safe: a few bytes of JSON make objects of many times their size.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.store.apart import PIECE, Answer, Batch, Files, answered, limit, read_apart, spill
from relrep_cli.store.arrays import EXACT
from relrep_cli.store.assignment import tells_rows_apart
from relrep_cli.store.column_names import may_count_rows
from relrep_cli.store.columns import ColumnDigest, shortened
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of, sniff
from relrep_cli.store.found import Found
from relrep_cli.store.json_records import RECORD, VECTOR, WHOLE, records
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.table_columns import Chosen, Kind, choose_columns, listed

LINES = (".jsonl", ".ndjson")
BASE, FACTOR = 32 << 20, 12  # bytes of memory; how much larger JSON may be in memory
SAMPLE, SAMPLED = 1000, 4 << 20  # first records that tell what a column holds; numbers and characters in them
COLUMNS = 1 << 14
BATCH = 1 << 17  # numbers that are converted at once
NUMBERS = {int, float}


def read_json(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The vectors of a .jsonl, .ndjson or .json file as float64 (n, d). Raises DataError with the line or the item."""
    with opened(path) as file:
        head, size = os.pread(file.fileno(), HEAD, 0), size_of(file)
    if sniff(head) not in ("text", None):
        raise mistaken(path, head, "JSON")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start not in (b"{", b"[", b""):
        raise bad(path, f"this is not JSON; it begins with {printable(start)!r}", "Give the file its right name.")
    return read_apart(path, size, survey, path.suffix.lower() in LINES, member, asdict(reading))


def survey(name: str, files: Files, lines: bool, member: str | None, reading: dict[str, Any]) -> Answer:
    """In the child: the embedding in the JSON file `name`, spilled into `files`."""
    path = Path(name)
    size = os.stat(path).st_size

    def work() -> Answer:
        kinds, values = _sampled(path, lines)
        chosen = choose_columns(path, kinds, Reading(**reading), member)
        for column in chosen.vectors:
            if kinds[column] not in ("vector", "real", "whole"):
                raise bad(path, "holds no lists of numbers", "Name one that does, all of one length.", column)
        unread = [name for name in chosen.others if _could_be_ids(values.get(name, []))]
        digests = {name: ColumnDigest() for name in unread} if any(map(may_count_rows, chosen.named)) else {}
        answer = spill(path, files, _batches(path, lines, chosen, kinds, digests))
        return {**answer, "unread": unread, "digests": {name: digest.name() for name, digest in digests.items()}}

    gc.disable()  # it would look at all objects again and again, and finds none to free
    limit(1.5 + size / 4e5, BASE + FACTOR * min(size, WHOLE if not lines else 2 * RECORD))
    return answered(path, work)


def _sampled(path: Path, lines: bool) -> tuple[dict[str, Kind], dict[str, list[Any]]]:
    """The kind of each column by the first records, and its values there, vectors aside."""
    types: dict[str, set[type]] = {}
    vectors: dict[str, bool] = {}
    values: dict[str, list[Any]] = {}
    seen = 0
    for number, (_, record) in enumerate(records(path, lines)):
        for name, value in record.items():
            types.setdefault(name, set()).add(type(value))
            if isinstance(value, list):
                vectors[name] = vectors.get(name, False) or (bool(value) and type(value[0]) in NUMBERS)
            elif isinstance(value, (int, str)):
                values.setdefault(name, []).append(value)
            seen += len(value) if isinstance(value, (list, str)) else 1
        if len(types) > COLUMNS:
            raise bad(path, f"more than {COLUMNS} columns", "Store one list of numbers an item.")
        if number + 1 >= SAMPLE or seen > SAMPLED:
            break
    complete = {name: sample if len(sample) == number + 1 else [] for name, sample in values.items()} if types else {}
    return {name: _kind(kinds - {type(None)}, vectors.get(name, False)) for name, kinds in types.items()}, complete


def _kind(types: set[type], vectors: bool) -> Kind:
    if types == {list} and vectors:
        return "vector"
    if types and types <= NUMBERS:
        return "whole" if types == {int} else "real"
    return "text" if types and types <= {str, int} else "other"


def _could_be_ids(values: list[Any]) -> bool:
    """Whether the first values of a column, text or whole numbers, are all different."""
    return bool(values) and tells_rows_apart(np.array([shortened(str(value).encode("utf-8", "replace")) for value in values]))


def _batches(
    path: Path, lines: bool, chosen: Chosen, kinds: dict[str, Kind], digests: dict[str, ColumnDigest]
) -> Iterator[Batch]:
    """(x, columns) of some records at a time. Raises DataError for what is missing or no number, or of another length."""
    rows: list[list[Any]] = []
    named: dict[str, list[Any]] = {name: [] for name in chosen.named}
    width = None
    for where, record in records(path, lines):
        row = _row(path, where, record, chosen.vectors, kinds)
        if width is not None and len(row) != width:
            raise bad(path, f"{where} holds {len(row)} numbers, those before {width}", "Vectors must be of one length.")
        width = len(row)
        rows.append(row)
        for name, digest in digests.items():
            digest.update([str(record.get(name)).encode("utf-8", "replace")])
        for name, values in named.items():
            values.append(_value(path, where, name, record.get(name), kinds[name]))
        if len(rows) * (width + len(named)) >= BATCH:
            yield _converted(path, rows, named, kinds)
            rows, named = [], {name: [] for name in named}
    if rows:
        yield _converted(path, rows, named, kinds)


def _row(path: Path, where: str, record: dict[str, Any], names: list[str], kinds: dict[str, Kind]) -> list[Any]:
    """The numbers of one record."""
    lone = kinds[names[0]] == "vector"
    row = record.get(names[0]) if lone else [record.get(name) for name in names]
    if not isinstance(row, list):
        member = "" if names[0] == VECTOR else f" {printable(names[0], 40)!r}"
        raise bad(path, f"{where} has no vector{member}; found {listed(list(record))}", "Give every item a vector.")
    if not set(map(type, row)) <= NUMBERS:
        value = next(value for value in row if type(value) not in NUMBERS)
        if value is None:
            raise bad(path, f"{where} holds a null among its numbers", "Remove such items.")
        raise bad(
            path, f"{where}: {printable(repr(value), 40)} is not a number", "Every coordinate of a vector must be a number."
        )
    return row


def _value(path: Path, where: str, name: str, value: Any, kind: Kind) -> Any:
    """A value of a column as UTF-8, or as a float in a column of real numbers."""
    if kind == "real":
        if value is not None and type(value) not in NUMBERS:
            raise bad(path, f"{where}: {printable(name, 40)} is not a number, unlike those before", "Correct it.")
        return np.nan if value is None else float(value)
    if isinstance(value, (dict, list)):
        raise bad(path, f"{where}: {printable(name, 40)} holds neither text nor a number", "Save it as text.")
    return b"" if value is None else shortened(str(value).encode("utf-8", "surrogatepass"))


def _converted(path: Path, rows: list[list[Any]], named: dict[str, list[Any]], kinds: dict[str, Kind]) -> Batch:
    try:
        x = np.array(rows, np.float64)
    except OverflowError:
        raise bad(path, "holds whole numbers that are too large for a float", "Are these ids?") from None
    large = np.abs(x) >= EXACT
    if large.any() and any(isinstance(rows[i][j], int) for i, j in np.argwhere(large).tolist()):
        raise bad(path, "holds integers of 2^53 or more, which floats cannot hold exactly", "Are these ids?")
    return x, {name: _pieces(values, kinds[name] == "real") for name, values in named.items()}


def _pieces(values: list[Any], numbers: bool) -> list[np.ndarray]:
    """Each piece of texts is as wide as its longest."""
    return [np.array(values[at : at + PIECE], np.float64 if numbers else "S") for at in range(0, len(values), PIECE)]

"""Shared by the formats that pyarrow reads: kinds of columns, rows of numbers, texts. Runs in a child process only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.store.apart import Batch, texts
from relrep_cli.store.arrays import real
from relrep_cli.store.assignment import tells_rows_apart
from relrep_cli.store.files import bad
from relrep_cli.store.reading import Reading
from relrep_cli.store.table_columns import Chosen, Kind, choose_columns, choose_metadata

COLUMNS = 1 << 14
FLOATS = {"halffloat", "float", "double"}  # as Arrow calls them
WHOLE = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
TEXTS = {"string", "large_string", "string_view", "binary", "large_binary", "binary_view"}


def columns_of(path: Path, schema: Any, member: str | None, reading: Reading, *, metadata: bool = False) -> Chosen:
    """The columns of a table that are read. metadata: the table holds no vectors, and they are elsewhere. Raises DataError."""
    if len(schema.names) > COLUMNS:
        raise bad(path, f"{len(schema.names)} columns; at most {COLUMNS} are read", "Store one column of lists.")
    if len(set(schema.names)) != len(schema.names):
        raise bad(path, "two columns have the same name", "Rename one.")
    kinds = {field.name: kind_of(field.type) for field in schema}
    if metadata:
        return choose_metadata(path, kinds, reading, pandas_index(schema))
    chosen = choose_columns(path, kinds, reading, member, pandas_index(schema))
    for name in chosen.vectors:
        if kinds[name] not in ("vector", "real", "whole"):
            raise bad(
                path,
                f"holds {printable(str(schema.field(name).type), 60)}, not lists of numbers",
                "Name a column of lists of numbers, all of one length.",
                name,
            )
    return chosen


def stored_of(schema: Any, chosen: Chosen) -> str:
    """The type of the integers in a column of vectors, as NumPy calls it; "" for other columns."""
    kind = schema.field(chosen.vectors[0]).type if len(chosen.vectors) == 1 else None
    return str(inner(kind)) if kind is not None and is_list(kind) and str(inner(kind)) in WHOLE else ""


def kind_of(kind: Any) -> Kind:
    """The kind of a column of an Arrow type."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    name = str(kind)
    if name in FLOATS or name in WHOLE:
        return "real" if name in FLOATS else "whole"
    if name in TEXTS:
        return "text"
    return "vector" if is_list(kind) and str(inner(kind)) in FLOATS | WHOLE else "other"


def is_list(kind: Any) -> bool:
    """Whether an Arrow type is that of lists."""
    import pyarrow as pa

    kind = getattr(kind, "storage_type", kind)
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def inner(kind: Any) -> Any:
    """The type of the values in lists."""
    return getattr(kind, "storage_type", kind).value_type


def pandas_index(schema: Any) -> list[str]:
    """The columns that pandas says are its index; [] for one that only numbers rows, which pandas does not store."""
    try:
        stated = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
        names = stated.get("index_columns", [])
        return [name for name in names if isinstance(name, str) and name in schema.names]
    except (ValueError, RecursionError, AttributeError, TypeError):
        return []


def index_of(schema: Any) -> str | None:
    """The one column of text that pandas says is its index."""
    names = pandas_index(schema)
    return names[0] if len(names) == 1 and kind_of(schema.field(names[0]).type) == "text" else None


def could_be_ids(values: Any) -> bool:
    """Whether the first rows of an Arrow array, text or whole numbers, are all different."""
    import pyarrow as pa

    if values.null_count or not len(values):
        return False
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if str(values.type) in WHOLE:
        return tells_rows_apart(values.to_numpy(zero_copy_only=False))
    if str(values.type) not in TEXTS:
        return False
    items = [item if isinstance(item, bytes) else str(item).encode() for item in values.to_pylist()]
    return all(items) and len(set(items)) == len(items) and not tells_place(items)


def tells_place(items: list[bytes]) -> bool:
    """Whether texts are the numbers of their rows."""
    return any(items[0] == b"%d" % start and all(item == b"%d" % i for i, item in enumerate(items, start)) for start in (0, 1))


def embedding_batches(path: Path, batches: Iterable[Any], chosen: Chosen) -> Iterator[Batch]:
    """(x, columns) of each batch of Arrow records. Raises DataError for nulls and for lists of unequal length."""
    width, at = None, 0
    for batch in batches:
        batch.validate(full=True)  # a damaged file may make lists that point outside their values
        x = _rows(path, batch, chosen.vectors, at)
        if width is not None and x.shape[1] != width:
            raise _ragged(path, chosen.vectors[0], at, x.shape[1], width)
        width, at = x.shape[1], at + len(x)
        yield x, {name: texts(path, name, batch.column(name)) for name in chosen.named}


def _rows(path: Path, batch: Any, chosen: list[str], at: int) -> np.ndarray:
    """The (rows, d) numbers of one batch whose first row has the number `at` in the file; a zero a row without columns."""
    if not chosen:
        return np.zeros((batch.num_rows, 1), np.float32)
    first = batch.column(chosen[0])
    if is_list(first.type):
        return _from_lists(path, chosen[0], getattr(first, "storage", first), at)
    columns = [_numbers(path, name, batch.column(name), at, 1) for name in chosen]
    return real(path, np.stack(columns, axis=1), chosen[0])


def _from_lists(path: Path, name: str, lists: Any, at: int) -> np.ndarray:
    if lists.null_count:
        raise bad(path, f"row {at + 1 + _first(lists.is_null())} is null", "Remove such rows.", name)
    lengths = np.asarray(lists.value_lengths())
    width = int(lengths[0]) if len(lengths) else 0
    if (lengths != width).any():
        row = int((lengths != width).argmax())
        raise _ragged(path, name, at + row, lengths[row], width)
    return real(path, _numbers(path, name, lists.flatten(), at, width).reshape(len(lists), width), name)


def _ragged(path: Path, name: str, row: int, length: int, width: int) -> DataError:
    return bad(path, f"row {row + 1} holds {length} numbers, those before {width}", "Lists must be of one length.", name)


def _numbers(path: Path, name: str, values: Any, at: int, width: int) -> np.ndarray:
    if values.null_count:
        raise bad(path, f"row {at + 1 + _first(values.is_null()) // width} holds a null", "Remove such rows.", name)
    return np.asarray(values.to_numpy(zero_copy_only=False))


def _first(mask: Any) -> int:
    return int(np.asarray(mask.to_numpy(zero_copy_only=False)).argmax())

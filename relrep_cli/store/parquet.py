"""Parquet: its metadata bounded and judged, then one column of lists or many of numbers, in a child process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.store.apart import Answer, Batch, Files, answered, import_alone, limit, read_apart, spill, texts
from relrep_cli.store.arrays import PREFERRED, real
from relrep_cli.store.columns import role
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.limits import TEXT_WIDTH, packing_fault

BASE, COLUMN = 192 << 20, 16 << 20  # bytes of memory for reading at all, and for every column more
FOOTER = 16 << 20  # bytes of metadata
FACTOR = 40  # how much larger metadata are in memory
BATCH = 8 << 20  # bytes of one batch, as declared
ROWS = 1 << 13
PAGE = 1 << 20  # bytes that a text column may take beside its texts
COLUMNS = 1 << 14
FLOATS = {"halffloat", "float", "double"}  # as Arrow calls them
NUMBERS = FLOATS | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
TEXTS = {"string", "large_string", "binary", "large_binary"}
WIDTHS = {"FLOAT": 4, "DOUBLE": 8, "INT32": 4, "INT64": 8, "INT96": 12}
OPTIONS = {
    "memory_map": False,
    "pre_buffer": False,
    "buffer_size": 1 << 16,  # for each column, instead of all of a row group
    "page_checksum_verification": True,
    "thrift_string_size_limit": FOOTER,
    "thrift_container_size_limit": 1 << 20,
}


def read_parquet(path: Path, member: str | None) -> Found:
    """The column of lists `member`, or the only one, or all columns of real numbers side by side, as (n, d).

    Columns id(s), label(s), split come along. Raises DataError, naming the row of a null or of a list of another length.
    """
    with opened(path) as file:
        head, size = os.pread(file.fileno(), HEAD, 0), size_of(file)
        tail = os.pread(file.fileno(), 8, max(0, size - 8))
    if not head.startswith(b"PAR1"):
        raise mistaken(path, head, "a Parquet file")
    length = int.from_bytes(tail[:4], "little")
    if size < 12 or tail[4:] != b"PAR1":
        raise bad(path, "cut short: a Parquet file ends with PAR1", "Copy or write it again.")
    if length > min(size - 12, FOOTER):
        raise bad(path, f"its metadata claims {length} bytes; {size - 12} are there, {FOOTER} are allowed", "Write it again.")
    return read_apart(path, size, survey, length, member)


def survey(name: str, files: Files, footer: int, member: str | None) -> Answer:
    """In the child: the embedding in the Parquet file `name`, spilled into `files`."""
    path = Path(name)
    size = os.stat(path).st_size

    def work() -> Answer:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path, **OPTIONS) as file:
            chosen = _chosen(path, file.schema_arrow, member)
            roles = {role(name): name for name in reversed(file.schema_arrow.names) if name not in chosen}
            roles.pop(None, None)
            declared = _declared(path, file.metadata, {*chosen, *roles.values()})
            chunks = file.metadata.num_row_groups * file.metadata.num_columns
            memory = BASE + FACTOR * footer + len(chosen) * COLUMN + min(declared, 1 << 31)
            limit(1 + 1e-3 * chunks + (declared + size) / 1e7, memory)
            packed = [name for name in roles.values() if str(file.schema_arrow.field(name).type) in TEXTS]
            # text stays in its dictionary until it is judged: one text of 500 kB in a thousand rows is 500 MB
            with pq.ParquetFile(path, metadata=file.metadata, read_dictionary=packed, **OPTIONS) as again:
                return spill(path, files, _batches(path, again, chosen, roles, declared))

    import_alone()
    limit(1 + footer / 2e6, BASE + FACTOR * footer)
    return answered(path, work)


def _chosen(path: Path, schema: Any, member: str | None) -> list[str]:
    """The names of the columns that make the embedding: one of lists, or all of real numbers."""
    if len(schema.names) > COLUMNS:
        raise bad(path, f"{len(schema.names)} columns; at most {COLUMNS} are read", "Store one column of lists.")
    if len(set(schema.names)) != len(schema.names):
        raise bad(path, "two columns have the same name", "Rename one.")
    kinds = {field.name: field.type for field in schema if role(field.name) is None}
    if member is not None:
        if member not in schema.names:
            remedy = (
                f"Write {printable(str(path), 1000)}::{printable(schema.names[0])}." if schema.names else "Name another file."
            )
            raise bad(path, f"no column of this name. Found {listed(schema)}", remedy, member)
        _check_kind(path, member, schema.field(member).type)
        return [member]
    lists = [name for name, kind in kinds.items() if _is_vector(kind)]
    usual = [name for name in lists if name.lower() in PREFERRED]
    if lists and len(lists) > 1 and len(usual) != 1:
        found = ", ".join(f"{printable(name, 40)} {kinds[name]}" for name in lists[:6])
        raise bad(path, f"which column? Found {found}", f"Write {printable(str(path), 1000)}::{printable(lists[0])}.")
    chosen = (lists if len(lists) == 1 else usual) or [name for name, kind in kinds.items() if str(kind) in FLOATS]
    if not chosen:
        raise bad(
            path,
            f"no column of lists of numbers and no columns of real numbers. Found {listed(schema)}",
            "Store the vectors as one column of lists.",
        )
    return chosen


def _check_kind(path: Path, name: str, kind: Any) -> None:
    if str(_inner(kind) if _is_list(kind) else kind) not in NUMBERS:
        raise bad(
            path,
            f"holds {printable(str(kind), 60)}, not lists of numbers",
            "Name a column of lists of numbers, all of one length.",
            name,
        )


def listed(schema: Any) -> str:
    names = [f"{printable(field.name, 40)} {printable(str(field.type), 40)}" for field in schema]
    return ", ".join(names[:6]) + (f", {len(names) - 6} more" if len(names) > 6 else "") or "nothing"


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    kind = getattr(kind, "storage_type", kind)
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _inner(kind: Any) -> Any:
    return getattr(kind, "storage_type", kind).value_type


def _is_vector(kind: Any) -> bool:
    return _is_list(kind) and str(_inner(kind)) in FLOATS


def _declared(path: Path, metadata: Any, names: set[str]) -> int:
    """Bytes that the wanted columns say they hold, neither compressed nor encoded. Raises DataError when that is absurd."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    wanted = [chunk for chunk in chunks if not names.isdisjoint((chunk.path_in_schema, chunk.path_in_schema.split(".")[0]))]
    for chunk in wanted:
        _check_chunk(path, chunk)
    declared = sum(
        max(chunk.total_uncompressed_size, chunk.num_values * WIDTHS.get(chunk.physical_type, 1)) for chunk in wanted
    )
    if fault := packing_fault(declared, os.stat(path).st_size):
        raise bad(path, fault, "Write it uncompressed.")
    return declared


def _check_chunk(path: Path, chunk: Any) -> None:
    size = chunk.total_uncompressed_size
    if chunk.file_path:
        raise bad(path, f"its data are in another file, {printable(chunk.file_path)}", "Write them into one.")
    if min(size, chunk.total_compressed_size, chunk.num_values) < 0:
        raise bad(path, "its metadata declares a negative size", "Write it again.")
    if chunk.physical_type == "BYTE_ARRAY" and size > PAGE + TEXT_WIDTH * chunk.num_values:
        raise bad(path, f"holds texts longer than {TEXT_WIDTH} bytes", "Shorten them.", chunk.path_in_schema)


def _batches(path: Path, file: Any, chosen: list[str], roles: dict[str | None, str], declared: int) -> Iterator[Batch]:
    rows = max(1, file.metadata.num_rows)
    step = max(1, min(ROWS, BATCH * rows // max(1, declared)))
    width, at = None, 0
    for batch in file.iter_batches(step, columns=[*chosen, *roles.values()], use_threads=False):
        batch.validate(full=True)  # a damaged file may make lists that point outside their values
        x = _rows(path, batch, chosen, at)
        if width is not None and x.shape[1] != width:
            raise _ragged(path, chosen[0], at, x.shape[1], width)
        width, at = x.shape[1], at + len(x)
        yield x, {name: texts(path, name, batch.column(key)) for name, key in roles.items() if name}


def _rows(path: Path, batch: Any, chosen: list[str], at: int) -> np.ndarray:
    """The (rows, d) numbers of one batch whose first row has the number `at` in the file."""
    first = batch.column(chosen[0])
    if _is_list(first.type):
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

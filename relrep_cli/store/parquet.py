"""Parquet: its metadata bounded and judged, then one column of lists or many of numbers, in a child process."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from relrep_cli.base.errors import printable
from relrep_cli.store.apart import NOISE, Answer, Files, answered, import_alone, limit, read_apart, spill
from relrep_cli.store.arrow_tables import TEXTS, columns_of, could_be_ids, embedding_batches, index_of, stored_of
from relrep_cli.store.assignment import FIRST
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.limits import packing_fault
from relrep_cli.store.reading import PLAIN, Reading

LIBRARIES = ("pyarrow.parquet", "pyarrow.compute")  # imported by the fork server
BASE, COLUMN = 192 << 20, 16 << 20  # bytes of memory for reading at all, and for every column more
BESIDE = 20 << 20  # the same once pyarrow is there: a damaged page asks for 128 MiB
FOOTER = 16 << 20  # bytes of metadata
FACTOR = 40  # how much larger metadata are in memory
TIMES = 8  # how much larger texts are in memory than declared
BATCH = 8 << 20  # bytes of one batch, as declared
ROWS = 1 << 13
LONG = 64 << 10  # bytes that the texts of a column may have on average
PAGE = 1 << 20  # bytes that a text column may take beside its texts
LOOKED_AT = 16  # unread columns
UNREAD = 16 << 20  # bytes of an unread column that are read
WIDTHS = {"FLOAT": 4, "DOUBLE": 8, "INT32": 4, "INT64": 8, "INT96": 12}
OPTIONS = {
    "memory_map": False,
    "pre_buffer": False,
    "buffer_size": 1 << 16,  # for each column, instead of all of a row group
    "page_checksum_verification": True,
    "thrift_string_size_limit": FOOTER,
    "thrift_container_size_limit": 1 << 20,
}


def read_parquet(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The column of lists `member`, or the only one, or columns of numbers side by side, as (n, d).

    Raises DataError, naming the row of a null or of a list of another length.
    """
    size, footer = _size_and_footer(path)
    return read_apart(path, size, survey, footer, member, asdict(reading))


def read_metadata(path: Path, reading: Reading = PLAIN) -> Found:
    """The ids, labels and splits of a Parquet file without vectors; x is a zero for each row. Raises DataError."""
    size, footer = _size_and_footer(path)
    return read_apart(path, size, survey, footer, None, asdict(reading), True)


def _size_and_footer(path: Path) -> tuple[int, int]:
    """Bytes of the file, and of its metadata. Raises DataError where they do not fit."""
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
    return size, length


def survey(
    name: str, files: Files, footer: int, member: str | None, reading: dict[str, Any], no_vectors: bool = False
) -> Answer:
    """In the child: the embedding in the Parquet file `name`, spilled into `files`."""
    path = Path(name)
    size = os.stat(path).st_size

    def work() -> Answer:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path, **OPTIONS) as file:
            schema = file.schema_arrow
            chosen = columns_of(path, schema, member, Reading(**reading), metadata=no_vectors)
            declared = _declared(path, file.metadata, {*chosen.vectors, *chosen.named})
            chunks = file.metadata.num_row_groups * file.metadata.num_columns
            memory = BESIDE + FACTOR * footer + len(chosen.vectors) * COLUMN + min(TIMES * declared, 1 << 31)
            limit(1 + 1e-3 * chunks + (declared + size) / 1e7, memory)
            packed = [name for name in chosen.named if str(schema.field(name).type) in TEXTS]
            # text stays in its dictionary until it is judged: one text of 500 kB in a thousand rows is 500 MB
            with pq.ParquetFile(path, metadata=file.metadata, read_dictionary=packed, **OPTIONS) as again:
                rows = max(1, file.metadata.num_rows)
                step = max(1, min(ROWS, BATCH * rows // max(1, declared)))
                batches = again.iter_batches(step, columns=[*chosen.vectors, *chosen.named], use_threads=False)
                answer = spill(path, files, embedding_batches(path, batches, chosen))
            return {
                **answer,
                "stored": stored_of(schema, chosen),
                "index": index_of(schema),
                "unread": _unread(file, chosen.others),
            }

    import_alone()
    limit(1 + footer / 2e6, BASE + FACTOR * footer)
    return answered(path, work)


def _unread(file: Any, names: list[str]) -> list[str]:
    """Which of the columns could hold ids, by their first rows."""
    unread = []
    for name in names[:LOOKED_AT]:
        try:
            batch = next(file.iter_batches(_first_rows(file.metadata, name), columns=[name], use_threads=False), None)
            if batch is not None and could_be_ids(batch.column(0)):
                unread.append(name)
        except NOISE:  # a column that nobody asked for may be damaged
            continue
    return unread


def _first_rows(metadata: Any, name: str) -> int:
    """How many rows of a column to look at, so that their texts stay below UNREAD bytes."""
    chunks = [metadata.row_group(0).column(i) for i in range(metadata.num_columns)]
    stored = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == name)
    return max(1, min(FIRST, UNREAD * metadata.row_group(0).num_rows // max(1, stored)))


def _declared(path: Path, metadata: Any, names: set[str]) -> int:
    """Bytes that the wanted columns say they hold, neither compressed nor encoded. Raises DataError when that is too much."""
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
    if chunk.physical_type == "BYTE_ARRAY" and size > PAGE + LONG * chunk.num_values:
        raise bad(path, f"holds texts longer than {LONG} bytes", "Shorten them.", chunk.path_in_schema)

"""Arrow IPC, as a file or a stream, which is also Feather version 2 and what Hugging Face's datasets cache: in a child process.

The buffers of a batch may be packed with LZ4 or ZSTD, and say themselves how long they are unpacked. pyarrow believes them. So
the child may allocate only some times the size of the file; what is not packed is mapped, and costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from relrep_cli.base.errors import DataError
from relrep_cli.store.apart import NOISE, Answer, Files, answered, import_alone, limit, read_apart, spill
from relrep_cli.store.arrow_tables import columns_of, could_be_ids, embedding_batches, index_of, stored_of
from relrep_cli.store.assignment import FIRST
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.reading import PLAIN, Reading

LIBRARIES = ("pyarrow.ipc", "pyarrow.compute")  # imported by the fork server
BASE, COLUMN = 96 << 20, 64 << 10  # bytes of memory for pyarrow, and for every column more
RATIO, LEAST, MOST = 20, 64 << 20, 2 << 30  # bytes that may be unpacked: so many times the file, within these bounds
SCHEMA = 16 << 20  # bytes of metadata
FACTOR = 8  # how much larger metadata are in memory
BATCH = 8 << 20  # bytes of the rows that are handed on at once
LOOKED_AT = 16  # unread columns
UNREAD = 16 << 20  # bytes of an unread column that are looked at
FILE, END_OF_FILE, FEATHER_1 = b"ARROW1\0\0", b"ARROW1", b"FEA1"
STREAM, END_OF_STREAM = b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\0\0\0\0"


def read_arrow(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The column of lists `member`, or the only one, or columns of numbers side by side, as (n, d).

    Raises DataError, naming the row of a null or of a list of another length.
    """
    with opened(path) as file:
        head, size = os.pread(file.fileno(), HEAD, 0), size_of(file)
        tail = os.pread(file.fileno(), 10, max(0, size - 10))
    if head.startswith(FEATHER_1):
        finding = "this is Feather version 1, which stores no lists and was replaced in 2020"
        raise bad(path, finding, "Write it again with DataFrame.to_feather or pyarrow.feather.write_feather.")
    return read_apart(path, size, survey, _metadata(path, head, tail, size), head.startswith(FILE), member, asdict(reading))


def _metadata(path: Path, head: bytes, tail: bytes, size: int) -> int:
    """Bytes that the schema claims, at the end of a file or the start of a stream. Raises DataError where it does not fit."""
    if head.startswith(FILE):
        if size < 18 or not tail.endswith(END_OF_FILE):
            raise bad(path, "cut short: an Arrow file ends with ARROW1", "Copy or write it again.")
        length = int.from_bytes(tail[:4], "little")
    elif head.startswith(STREAM):
        if not tail.endswith(END_OF_STREAM):
            raise bad(path, "cut short: the mark that ends an Arrow stream is missing", "Copy or write it again.")
        length = int.from_bytes(head[4:8], "little")
    else:
        raise mistaken(path, head, "Arrow IPC (Feather)")
    if length > min(size, SCHEMA):
        raise bad(path, f"its metadata claims {length} bytes; {size} are there, {SCHEMA} are allowed", "Write it again.")
    return length


def survey(name: str, files: Files, metadata: int, is_file: bool, member: str | None, reading: dict[str, Any]) -> Answer:
    """In the child: the embedding in the Arrow file or stream `name`, spilled into `files`."""
    path = Path(name)
    size = os.stat(path).st_size
    unpacked = min(max(LEAST, RATIO * size), MOST)

    def work() -> Answer:
        try:
            return _survey(path, files, is_file, member, Reading(**reading))
        except MemoryError:
            raise _too_much(path, unpacked, size) from None

    import_alone()
    limit(1.5 + (metadata + size) / 5e6, BASE + unpacked + FACTOR * metadata)
    return answered(path, work)


def _too_much(path: Path, unpacked: int, size: int) -> DataError:
    finding = f"it unpacks to more than {unpacked} bytes, out of {size} stored: damaged, or a decompression bomb"
    return bad(path, finding, "Write it uncompressed.")


def _survey(path: Path, files: Files, is_file: bool, member: str | None, reading: Reading) -> Answer:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        schema = _opened(source, is_file).schema
        chosen = columns_of(path, schema, member, reading)
        wanted = [*chosen.vectors, *chosen.named]
        pieces = _pieces(_batches(source, is_file, schema, wanted))
        answer = spill(path, files, embedding_batches(path, pieces, chosen))
        return {
            **answer,
            "stored": stored_of(schema, chosen),
            "index": index_of(schema),
            "unread": _unread(source, is_file, schema, chosen.others),
        }


def _opened(source: Any, is_file: bool, fields: list[int] | None = None) -> Any:
    from pyarrow import ipc

    source.seek(0)
    options = ipc.IpcReadOptions(use_threads=False, included_fields=fields)
    return (ipc.open_file if is_file else ipc.open_stream)(source, options=options)


def _batches(source: Any, is_file: bool, schema: Any, names: list[str]) -> Iterator[Any]:
    """The batches with these columns alone; others are not unpacked."""
    reader = _opened(source, is_file, [schema.get_field_index(name) for name in names])
    if not is_file:
        yield from reader
        return
    for i in range(reader.num_record_batches):
        yield reader.get_batch(i)


def _pieces(batches: Iterable[Any]) -> Iterator[Any]:
    """Cut batches into pieces of BATCH bytes, since many files are one batch; leave out empty ones, which tell no width.

    get_total_buffer_size believes no offsets, as nbytes does.
    """
    for batch in batches:
        step = max(1, BATCH * batch.num_rows // max(1, batch.get_total_buffer_size()))
        for at in range(0, batch.num_rows, step):
            yield batch.slice(at, step)


def _unread(source: Any, is_file: bool, schema: Any, names: list[str]) -> list[str]:
    """Which of the columns could hold ids, by their first rows."""
    unread = []
    for name in names[:LOOKED_AT]:
        try:
            batch = next((batch for batch in _batches(source, is_file, schema, [name]) if batch.num_rows), None)
            if batch is None:
                return []
            rows = min(FIRST, UNREAD * batch.num_rows // max(1, batch.get_total_buffer_size()))
            first = batch.slice(0, max(1, rows))
            first.validate(full=True)
            if could_be_ids(first.column(0)):
                unread.append(name)
        except NOISE:  # a column that nobody asked for may be damaged
            continue
    return unread

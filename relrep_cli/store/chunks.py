"""The data of one HDF5 dataset by its plan: mapped, read, or inflated with limits. libhdf5 has no part in it.

libhdf5 up to 2.0 hands out freed memory where a chunk inflates to less than it should (hdf5#6184) or is stored short
(CVE-2025-44904), so every length is checked here.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from math import prod
from pathlib import Path

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import release
from relrep_cli.numerics.spool import spool
from relrep_cli.store.files import AGAIN, bad
from relrep_cli.store.hdf5_plans import DatasetPlan
from relrep_cli.store.limits import PACKED_CHUNK, chunk_fault, chunks_of, packing_fault
from relrep_cli.store.maps import QUIET, SHORTER, mapped

MAPPED = 4 << 20  # bytes; smaller data are read, which costs no file descriptor
PIECE = 1 << 20
UNPACKING = 32 << 20  # bytes of chunks unpacked at once
WORDS = 256  # of a checksum, summed at once
KINDS = re.compile(r"[<>][fiu][1248]|\|b1|\|S\d{1,4}|text")
SLOT = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])  # how text of variable length is stored


class Unusable(DataError):
    """Harmless, but not to be used: a column like this is left out unless a command needs it."""


@dataclass(frozen=True)
class Source:
    """An open HDF5 file. base: where its signature begins, to which addresses inside are relative. shift: see `survey`."""

    path: Path
    file: FileIO
    status: os.stat_result
    base: int
    shift: int = 0

    @property
    def size(self) -> int:
        return self.status.st_size

    def bad(self, finding: str, remedy: str = AGAIN, name: str | None = None) -> DataError:
        """The error of the file, or of the object `name` in it."""
        return bad(self.path, finding, remedy, name)

    def unusable(self, finding: str, remedy: str, name: str) -> Unusable:
        error = bad(self.path, finding, remedy, name)
        return Unusable(error.finding, error.remedy, file=error.file)


@dataclass(frozen=True)
class Stored:
    """The plan of a dataset, its numbers believed only as far as the file's size allows."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None = None
    raw: bytes | None = None
    chunk: tuple[int, ...] = ()
    filters: tuple[str, ...] = ()
    table: np.ndarray | None = None  # one row a chunk: coordinates, filter mask, address, stored size

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize

    @property
    def unpacked(self) -> int:
        """Bytes of all chunks, which may reach far beyond the edges of the array."""
        return chunks_of(self.shape, self.chunk) * prod(self.chunk) * self.dtype.itemsize


def stored(source: Source, plan: DatasetPlan) -> Stored:
    """Check a plan against the file. Raises DataError when data would lie outside of it, overlap, or unpack to too much."""
    name, shape = plan.name, plan.shape
    if not KINDS.fullmatch(plan.kind):
        raise source.bad("it is of no known type; the file is hostile", AGAIN, name)  # "O" would make pointers of its bytes
    dtype = SLOT if plan.kind == "text" else np.dtype(plan.kind)
    if plan.table is not None:
        if len(plan.table) % (8 * (len(shape) + 3)):
            raise source.bad("its table of chunks is cut short; the file is hostile", AGAIN, name)
        table = np.frombuffer(plan.table, "<i8").reshape(-1, len(shape) + 3)
        item = Stored(name, shape, dtype, None, None, plan.chunk, plan.filters, table)
        fault = _table_fault(source, item, table)
    else:
        item = Stored(name, shape, dtype, plan.offset, plan.raw)
        fault = _place_fault(source, item)
    if fault:
        raise source.bad(f"{fault}; the file is damaged or hostile", AGAIN, name)
    return item


def _place_fault(source: Source, item: Stored) -> str:
    if item.raw is not None:
        return "" if len(item.raw) == item.bytes else "its compact data are incomplete"
    if item.offset is None or item.offset < 0 or item.offset + item.bytes > source.size:
        return f"truncated: its data end at byte {(item.offset or 0) + item.bytes}, the file at {source.size}"
    return ""


def _table_fault(source: Source, item: Stored, table: np.ndarray) -> str:
    """The fault of a chunk table; "" when every chunk is there once, inside the file, and apart from the others."""
    rank = len(item.shape)
    fault = chunk_fault(item.shape, item.chunk, item.dtype.itemsize, source.size)
    if fault:
        return fault
    grid = -(-np.array(item.shape) // np.array(item.chunk))
    places, rest = np.divmod(table[:, :rank], item.chunk)
    if len(table) != chunks_of(item.shape, item.chunk) or rest.any() or (places < 0).any() or (places >= grid).any():
        return "its chunks do not cover it"
    if len(np.unique(np.ravel_multi_index(tuple(places.T), tuple(grid)))) != len(table):
        return "its chunks do not cover it"
    begin, length = table[:, -2] + source.shift, table[:, -1]
    if (length < 1).any() or (begin < 0).any() or (begin > source.size - length).any():
        return "truncated: some of its chunks lie beyond the end of the file"
    order = np.argsort(begin, kind="stable")
    if (begin[order][1:] < (begin + length)[order][:-1]).any():
        return "its chunks overlap"
    one = item.unpacked // len(table)
    return packing_fault(one, int(length.min()), PACKED_CHUNK) or packing_fault(item.unpacked, int(length.sum()))


def load(source: Source, item: Stored) -> np.ndarray:
    """The data as an array of `item.shape`: a read-only memory map when large and stored in one piece, else a copy."""
    if item.raw is not None:
        return np.frombuffer(item.raw, item.dtype).reshape(item.shape)
    if item.table is not None:
        return _unpacked(source, item, item.table)
    if item.bytes >= MAPPED:
        return mapped(source.path, source.file, item.dtype, item.offset or 0, item.shape)
    data = _read(source, item, item.offset or 0, item.bytes)
    return np.frombuffer(data, item.dtype).reshape(item.shape)


def _read(source: Source, item: Stored, offset: int, length: int) -> bytes:
    data = os.pread(source.file.fileno(), length, offset)
    while len(data) < length:
        more = os.pread(source.file.fileno(), length - len(data), offset + len(data))
        if not more:
            raise source.bad(SHORTER, QUIET, item.name)
        data += more
    return data


def _unpacked(source: Source, item: Stored, table: np.ndarray) -> np.ndarray:
    out = spool(item.shape, item.dtype)
    rank = len(item.shape)
    at_once = max(1, UNPACKING // (prod(item.chunk) * item.dtype.itemsize))

    def unpack(row: list[int]) -> np.ndarray:
        return _chunk(source, item, row[rank], row[rank + 1] + source.shift, row[rank + 2])

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(table), at_once):
            check()
            some = table[start : start + at_once].tolist()
            for row, block in zip(some, pool.map(unpack, some), strict=True):
                target = out[tuple(slice(at, at + c) for at, c in zip(row, item.chunk, strict=False))]
                target[...] = block[tuple(slice(0, n) for n in target.shape)]
            release(out)
    return out


def _chunk(source: Source, item: Stored, mask: int, address: int, length: int) -> np.ndarray:
    """One chunk, its filters undone from the last to the first; a bit of `mask` says that a filter was skipped."""
    wanted = prod(item.chunk) * item.dtype.itemsize
    data = _read(source, item, address, length)
    applied = [name for i, name in enumerate(item.filters) if not mask >> i & 1]
    for i, name in reversed(list(enumerate(applied))):
        room = wanted + (4 if "fletcher32" in applied[:i] else 0)
        try:
            data = UNDO[name](data, room, item.dtype.itemsize)
        except (ValueError, zlib.error) as error:
            why = "is not a gzip stream" if isinstance(error, zlib.error) else str(error)
            raise source.bad(f"a chunk of its data {why}; the file is damaged or hostile", AGAIN, item.name) from None
    if len(data) != wanted:
        raise source.bad(
            f"a chunk of its data has {len(data)} bytes of {wanted}; the file is damaged or hostile", AGAIN, item.name
        )
    return np.frombuffer(data, item.dtype).reshape(item.chunk)


def _gunzip(data: bytes, room: int, width: int) -> bytes:
    """Inflate to exactly `room` bytes. Counted first when the ratio is suspicious, so that a bomb never takes memory."""
    if room > 16 * PIECE and room > 100 * len(data) and _inflated(data, room) != room:
        raise ValueError("does not unpack to its size")
    stream = zlib.decompressobj()
    out = stream.decompress(data, room + 1)
    if len(out) != room or not stream.eof:
        raise ValueError(f"does not unpack to its size of {room} bytes")
    return out


def _inflated(data: bytes, room: int) -> int:
    stream, total = zlib.decompressobj(), 0
    while total <= room and not stream.eof and data:
        piece = len(stream.decompress(data, PIECE))
        total, data = total + piece, stream.unconsumed_tail
    return total


def _unlzf(data: bytes, room: int, width: int) -> bytes:
    """LZF as h5py writes it: runs of bytes as they are, and copies of what came before."""
    out, at, end = bytearray(), 0, len(data)
    while at < end:
        control = data[at]
        if control < 32:  # a run of control + 1 bytes
            out += data[at + 1 : at + 2 + control]
            at += 2 + control
        else:
            longer = control >= 224
            if at + 1 + longer >= end:
                break
            length = (control >> 5) + 2 + (data[at + 1] if longer else 0)
            back = ((control & 31) << 8 | data[at + 1 + longer]) + 1
            if back > len(out):
                raise ValueError("copies from before its start")
            start = len(out) - back
            piece = out[start : start + length]
            out += (piece * (length // len(piece) + 1))[:length]
            at += 2 + longer
        if len(out) > room:
            break
    if len(out) != room or at != end:
        raise ValueError(f"does not unpack to its size of {room} bytes")
    return bytes(out)


def _unshuffle(data: bytes, room: int, width: int) -> bytes:
    """Bytes back from planes to items; what is left over at the end was not shuffled."""
    whole = len(data) // width
    items = np.empty((whole, width), np.uint8)
    for i, plane in enumerate(np.frombuffer(data, np.uint8, whole * width).reshape(width, whole)):
        items[:, i] = plane  # plane by plane, three times faster than transposing
    return items.tobytes() + data[whole * width :]


def _check_fletcher(data: bytes, room: int, width: int) -> bytes:
    """Strip a Fletcher-32 checksum after comparing it; HDF5 once wrote it with its bytes swapped, and reads both."""
    body, sums = data[:-4], data[-4:]
    if not any(
        fletcher32(body) == tuple(word % 65535 for word in np.frombuffer(sums, order).tolist()) for order in ("<u2", ">u2")
    ):
        raise ValueError("does not match its checksum")
    return body


def fletcher32(data: bytes) -> tuple[int, int]:
    """HDF5's checksum modulo 65535: the sum of big-endian 16-bit words, and the sum of the running sums.

    >>> fletcher32(b"abcdef")
    (10797, 20566)
    """
    count = -(-len(data) // 2)
    words = np.zeros(-(-count // WORDS) * WORDS, np.uint32)  # zeros in front change neither sum
    words[len(words) - count :] = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2")
    blocks = words.reshape(-1, WORDS)
    low = blocks.sum(1, dtype=np.uint64)
    high = np.einsum("ij,j->i", blocks, np.arange(WORDS, 0, -1, dtype=np.uint32))  # below 2**32: no overflow
    before = (np.cumsum(low) - low) % 65535
    return int(low.sum()) % 65535, (int(high.sum(dtype=np.uint64)) + WORDS * int(before.sum())) % 65535


UNDO: dict[str, Callable[[bytes, int, int], bytes]] = {
    "gzip": _gunzip,
    "lzf": _unlzf,
    "shuffle": _unshuffle,
    "fletcher32": _check_fletcher,
}

"""NumPy's .npz, a zip of .npy: its directory checked first; stored entries mapped, deflated ones inflated with a limit.

numpy.load and zipfile inflate an entry to whatever it holds, read a directory of any size, and follow entries that overlap.
Here zipfile reads the directory alone, which is bounded. Every entry must lie apart from the others, inflate to the size that
it declares, and match its checksum.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import numpy as np

from relrep_cli.base.errors import NO_DESCRIPTORS, printable
from relrep_cli.base.signals import check
from relrep_cli.numerics.spool import spool
from relrep_cli.store.arrays import Array, content_of
from relrep_cli.store.files import HEAD, bad, mistaken, opened
from relrep_cli.store.found import Found
from relrep_cli.store.item_arrays import of_arrays
from relrep_cli.store.limits import packing_fault
from relrep_cli.store.npy import HEADER, Header, check_size, parse, values
from relrep_cli.store.reading import PLAIN, Reading

MEMBERS = 4096
DIRECTORY = 1 << 20  # bytes of a zip directory
STEP = 1 << 20


class _Bounded(FileIO):
    """A file that refuses to read a zip directory of any size into memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DIRECTORY:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        return super().read(size)


def read_npz(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The chosen (n, d) array of an .npz file, with the arrays of n values beside it. Raises DataError."""
    arrays = arrays_in_npz(path)
    apart = of_arrays(path, arrays, os.stat(path).st_size, reading) if member is None else None
    return apart or content_of(path, arrays, member, reading)


def arrays_in_npz(path: Path) -> list[Array]:
    """Every array of an .npz file, by its header. Raises DataError."""
    with opened(path) as file:
        head = os.pread(file.fileno(), HEAD, 0)
        if not head.startswith(b"PK"):
            raise mistaken(path, head, "an .npz archive")
        return [_member(path, file, *place) for place in _places(path, file)]


def _places(path: Path, file: FileIO) -> list[tuple[zipfile.ZipInfo, int]]:
    """(entry, where its bytes begin) of every .npy entry. Raises DataError for a directory that cannot be trusted."""
    return [place for place in places_of(path, file) if place[0].filename.endswith(".npy")]


def places_of(path: Path, file: FileIO) -> list[tuple[zipfile.ZipInfo, int]]:
    """(entry, where its bytes begin) of every entry. Raises DataError for a directory that cannot be trusted."""
    try:
        with zipfile.ZipFile(_Bounded(file.fileno(), closefd=False)) as archive:
            entries, end = archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError) as error:
        if getattr(error, "errno", None) in NO_DESCRIPTORS:
            raise
        reason = "its end, which lists the arrays, is missing" if "not a zip" in str(error) else printable(str(error))
        raise bad(path, f"a damaged zip archive: {reason}", "Save it again with numpy.savez.") from None
    names = {entry.filename for entry in entries}
    if len(names) != len(entries) or len(entries) > MEMBERS:
        raise bad(
            path,
            f"{len(entries)} entries with {len(names)} names; at most {MEMBERS}, each once, are read",
            "Save it again with numpy.savez, or split it.",
        )
    places = []
    for entry in sorted(entries, key=lambda entry: entry.header_offset, reverse=True):
        start = _start(path, file, entry, end)
        end = entry.header_offset
        places.append((entry, start))
    return list(reversed(places))


def _start(path: Path, file: FileIO, entry: zipfile.ZipInfo, end: int) -> int:
    """Where the bytes of `entry` begin; they must stop before `end`, the next entry."""
    local = os.pread(file.fileno(), 30, entry.header_offset) if entry.header_offset >= 0 else b""
    start = entry.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    name = entry.filename.removesuffix(".npy")
    if len(local) < 30 or not local.startswith(b"PK\x03\x04") or start + entry.compress_size > end:
        raise bad(path, "this entry overlaps others or lies outside the file", "Save it again with numpy.savez.", name)
    if entry.flag_bits & 1:
        raise bad(path, "this entry is encrypted", "Save it without a password.", name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise bad(path, f"compressed by zip method {entry.compress_type}", "Save it with numpy.savez.", name)
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        raise bad(path, "this entry declares two sizes", "Save it again with numpy.savez.", name)
    return start


def _member(path: Path, file: FileIO, entry: zipfile.ZipInfo, start: int) -> Array:
    name = entry.filename.removesuffix(".npy")
    head = os.pread(file.fileno(), min(2 * HEADER, entry.compress_size), start)
    if entry.compress_type == zipfile.ZIP_DEFLATED:
        try:
            head = zlib.decompressobj(-15).decompress(head, HEADER + 12)
        except zlib.error:
            raise bad(path, "its compressed data is damaged", "Save it again.", name) from None
    header = parse(path, head, name)
    check_size(path, header, entry.file_size - header.offset, name)
    return Array(name, header.shape, header.dtype, header.kind, lambda: _values(path, entry, start, header))


def _values(path: Path, entry: zipfile.ZipInfo, start: int, header: Header) -> np.ndarray:
    with opened(path) as file:
        return _read_values(path, file, entry, start, header)


def _read_values(path: Path, file: FileIO, entry: zipfile.ZipInfo, start: int, header: Header) -> np.ndarray:
    """The array of one entry: mapped when stored, else inflated into a spool; its checksum compared."""
    assert header.dtype is not None, "types that are not read have been refused"
    name = entry.filename.removesuffix(".npy")
    if fault := packing_fault(entry.file_size, entry.compress_size):
        raise bad(path, fault, "Save it uncompressed.", name)
    stored = entry.compress_type == zipfile.ZIP_STORED
    out = np.empty(0, np.uint8) if stored else spool((entry.file_size,), np.uint8)
    size = checksum = 0
    try:
        for piece in _pieces(file, start, entry.compress_size, stored):
            if not stored:
                out[size : size + len(piece)] = np.frombuffer(piece, np.uint8)
            size, checksum = size + len(piece), zlib.crc32(piece, checksum)
    except (zlib.error, ValueError):  # ValueError: more data than declared
        size = -1
    if size != entry.file_size or checksum != entry.CRC:
        raise bad(path, "its data is damaged: length or checksum differ from the declared", "Save it again.", name)
    if stored:
        return values(path, file, header, start + header.offset)
    return out[header.offset :].view(header.dtype).reshape(header.shape, order="F" if header.fortran else "C")


def _pieces(file: FileIO, start: int, size: int, stored: bool) -> Iterator[bytes]:
    """The content of an entry, at most 1 MiB at a time."""
    inflater = zlib.decompressobj(-15)
    for at in range(start, start + size, STEP):
        check()
        data = os.pread(file.fileno(), min(STEP, start + size - at), at)
        if stored:
            yield data
        while data and not stored and not inflater.eof:
            yield inflater.decompress(data, STEP)
            data = inflater.unconsumed_tail
    yield inflater.flush()

"""What the data files of a Lance table say of themselves, before the lance package is imported.

A file of version 2 ends with tables of where its columns and other messages are; the message of a column says where the numbers
of its pages are. Nothing in the format has a checksum, so damage to the numbers is not seen here, and seldom by the package.
"""

from __future__ import annotations

import os
import struct
from io import FileIO
from pathlib import Path

from relrep_cli.store.files import opened, size_of
from relrep_cli.store.protobuf import content, fields, numbers

MAGIC = b"LANC"  # the mark at the end of manifests and data files
END = struct.Struct("<3Q2I2H4s")  # three positions, two counts, a version, the mark
PLACE = struct.Struct("<2Q")  # a position and a length
KNOWN = ((0, 3), (2, 0), (2, 1), (2, 2))  # versions whose messages are looked at; 0.3 is how 2.0 was first written
FIRST_SINCE_2 = KNOWN[0]
LARGEST = 16 << 20  # bytes of tables and messages; the package judges larger ones
PAGES = 2  # field of a column
IN_PAGE, IN_COLUMN = (1, 2), (3, 4)  # fields that say where buffers begin, and how long they are


def fault_of_data(data: Path, stated: int | bytes) -> str:
    """How a data file is damaged: it is missing, not as long as stated, or no whole file of its version; "" for no damage."""
    if not data.is_file():
        return "is missing"
    with opened(data) as file:
        size = size_of(file)
        if isinstance(stated, int) and stated not in (0, size):
            return f"has {size} bytes, not {stated}"
        end = os.pread(file.fileno(), END.size, max(0, size - END.size))
        if not end.endswith(MAGIC):
            return "has lost its end"
        try:
            _check(file, size, end.rjust(END.size, b"\0"))
        except ValueError:
            return "is malformed"
    return ""


def _check(file: FileIO, size: int, end: bytes) -> None:
    """Raise ValueError unless all that the end of a file names is in the file, and its messages are whole."""
    *positions, messages, columns, major, minor, _ = END.unpack(end)
    if (major, minor) < FIRST_SINCE_2:
        return
    if max(positions) > size - END.size:
        raise ValueError("a table beyond the file")
    if (major, minor) not in KNOWN or PLACE.size * (messages + columns) > LARGEST:
        return
    _, of_columns, of_messages = positions
    places = _places(file, of_columns, columns), _places(file, of_messages, messages)
    if sum(length for table in places for _, length in table) > LARGEST:
        return
    for place in places[0]:
        _check_column(_message(file, size, place), size)
    for place in places[1][:1]:  # the first is the schema; others may be no messages
        _message(file, size, place)


def _places(file: FileIO, at: int, count: int) -> list[tuple[int, ...]]:
    table = os.pread(file.fileno(), PLACE.size * count, at)
    if len(table) < PLACE.size * count:
        raise ValueError("a table is cut")
    return list(PLACE.iter_unpack(table))


def _message(file: FileIO, size: int, place: tuple[int, ...]) -> list[tuple[int, int | bytes]]:
    position, length = place
    if position + length > size:
        raise ValueError("a message beyond the file")
    return list(fields(os.pread(file.fileno(), length, position)))


def _check_column(column: list[tuple[int, int | bytes]], size: int) -> None:
    pages = [list(fields(content(value))) for number, value in column if number == PAGES]
    for message, (starts, lengths) in [(column, IN_COLUMN), *((page, IN_PAGE) for page in pages)]:
        buffers = zip(numbers(message, starts), numbers(message, lengths), strict=True)
        if any(start + length > size for start, length in buffers):
            raise ValueError("a buffer beyond the file")

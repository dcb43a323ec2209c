"""What the manifest of a Lance table says, before the lance package is imported, which takes 1 CPU second and 160 MB.

A manifest is a protobuf message that lists fragments, and these their files. Only facts that every version of the format states
are judged: whether the files are there and whole, and lie in the table's own folder. The package judges the rest.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from relrep_cli.base.errors import DataError, printable
from relrep_cli.store.files import AGAIN, bad, opened, size_of

VERSIONS = "_versions"  # the folder of manifests, which every Lance table has
PLAIN_NAME = re.compile(r"\w[\w.-]*")  # of a data file in the table's own folder
LARGEST = 16 << 20  # bytes of a manifest; the package judges larger ones
MOST_FILES = 4096  # whose ends are looked at; the package judges the others
END, MAGIC = struct.Struct("<QHH4s"), b"LANC"  # a position, a version, and the mark at the end of manifests and data files
DATA_END = struct.Struct("<3Q2I2H4s")  # three positions, two counts, a version, the mark
FIRST_SINCE_2 = (0, 3)  # the version of data files that 2.0 states
FRAGMENTS, BASES = 2, 18  # fields of a manifest
FILES, DELETIONS = 2, 3  # fields of a fragment
PATH, SIZE, BASE = 1, 6, 7  # fields of a data file
VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5  # kinds of fields


def check_table(path: Path) -> None:
    """Raise DataError where the newest manifest of a table is damaged, or names files that are elsewhere, missing or cut."""
    manifest = _newest(path)
    if manifest is None:
        raise bad(path, "damaged: it has no manifest", "Write it again.")
    message = _message(path, manifest)
    if message is None:
        return
    try:
        fields = list(_fields(message))
        fragments = [list(_fields(_bytes(value))) for number, value in fields if number == FRAGMENTS]
        files = [dict(_fields(_bytes(value))) for fragment in fragments for number, value in fragment if number == FILES]
    except ValueError:
        raise _damaged(path, manifest, "is malformed") from None
    names = [_bytes(file.get(PATH, b"")).decode(errors="replace") for file in files]
    if (
        any(number == BASES for number, _ in fields)
        or any(BASE in file for file in files)
        or not all(map(PLAIN_NAME.fullmatch, names))
    ):
        raise in_other_folders(path)
    for name, file in zip(names[:MOST_FILES], files, strict=False):
        _check_data(path, path / "data" / name, file.get(SIZE, 0))


def in_other_folders(path: Path) -> DataError:
    """The error for a table whose data lie elsewhere."""
    return bad(path, "its data lie in other folders", "Copy them into one table: Dataset.deep_clone of the lance package.")


def _damaged(path: Path, file: Path, how: str) -> DataError:
    return bad(path, f"damaged: {printable(str(file.relative_to(path)), 120)} {how}", AGAIN)


def _newest(path: Path) -> Path | None:
    """The manifest of the highest version. A name of 20 digits counts down from the largest number."""
    versions: dict[int, Path] = {}
    for name in os.listdir(path / VERSIONS):
        if match := re.fullmatch(r"(\d{1,20})\.manifest", name):
            number = int(match[1])
            versions[(1 << 64) - 1 - number if len(match[1]) == 20 else number] = path / VERSIONS / name
    return versions[max(versions)] if versions else None


def _message(path: Path, manifest: Path) -> bytes | None:
    """The protobuf message of a manifest; None for one that is too large to be looked at here. Raises DataError."""
    with opened(manifest) as file:
        content = file.read(LARGEST + 1) or b""
    if len(content) > LARGEST:
        return None
    if len(content) < END.size or not content.endswith(MAGIC):
        raise _damaged(path, manifest, "has lost its end")
    start = END.unpack(content[-END.size :])[0]
    length = int.from_bytes(content[start : start + 4], "little") if start < len(content) else LARGEST
    if start + 4 + length + END.size > len(content):
        raise _damaged(path, manifest, "is malformed")
    return content[start + 4 : start + 4 + length]


def _check_data(path: Path, data: Path, stated: int | bytes) -> None:
    """Raise DataError unless a data file is there, as long as its manifest states, and ends as one."""
    if not data.is_file():
        raise _damaged(path, data, "is missing")
    with opened(data) as file:
        size = size_of(file)
        if isinstance(stated, int) and stated not in (0, size):
            raise _damaged(path, data, f"has {size} bytes, not {stated}")
        end = os.pread(file.fileno(), DATA_END.size, max(0, size - DATA_END.size))
    if not end.endswith(MAGIC):
        raise _damaged(path, data, "has lost its end")
    *positions, _, _, major, minor, _ = DATA_END.unpack(end.rjust(DATA_END.size, b"\0"))
    if (major, minor) >= FIRST_SINCE_2 and not max(positions) <= size - DATA_END.size:
        raise _damaged(path, data, "is malformed")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number in place of a message")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: their numbers and values. Raises ValueError where it is malformed."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        length = {EIGHT: 8, FOUR: 4}.get(kind)
        if kind == BYTES:
            length, at = _varint(message, at)
        if length is None or not number or at + length > len(message):
            raise ValueError("malformed")
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte, at = message[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number without an end")

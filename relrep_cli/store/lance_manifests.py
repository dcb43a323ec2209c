"""What the manifest of a Lance table says, before the lance package is imported, which takes 1 CPU second and 160 MB.

A manifest is a protobuf message that lists fragments, and these their files. Only facts that every version of the format states
are judged: whether the files are there and whole, and lie in the table's own folder. `lance_data` looks into the files, and the
package judges the rest.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

from relrep_cli.base.errors import DataError, printable
from relrep_cli.store.files import AGAIN, bad, opened
from relrep_cli.store.lance_data import MAGIC, fault_of_data
from relrep_cli.store.protobuf import content, fields

VERSIONS = "_versions"  # the folder of manifests, which every Lance table has
PLAIN_NAME = re.compile(r"\w[\w.-]*")  # of a data file in the table's own folder
LARGEST = 16 << 20  # bytes of a manifest; the package judges larger ones
MOST_FILES = 4096  # whose ends are looked at; the package judges the others
END = struct.Struct("<QHH4s")  # a position, a version, the mark
FRAGMENTS, BASES = 2, 18  # fields of a manifest
FILES, DELETIONS = 2, 3  # fields of a fragment
PATH, SIZE, BASE = 1, 6, 7  # fields of a data file


def check_table(path: Path) -> None:
    """Raise DataError where the newest manifest of a table is damaged, or names files that are elsewhere, missing or cut."""
    manifest = _newest(path)
    if manifest is None:
        raise bad(path, "damaged: it has no manifest", "Write it again.")
    message = _message(path, manifest)
    if message is None:
        return
    try:
        stated = list(fields(message))
        fragments = [list(fields(content(value))) for number, value in stated if number == FRAGMENTS]
        files = [dict(fields(content(value))) for fragment in fragments for number, value in fragment if number == FILES]
        names = [content(file.get(PATH, b"")).decode(errors="replace") for file in files]
    except ValueError:
        raise _damaged(path, manifest, "is malformed") from None
    if (
        any(number == BASES for number, _ in stated)
        or any(BASE in file for file in files)
        or not all(map(PLAIN_NAME.fullmatch, names))
    ):
        raise in_other_folders(path)
    for name, file in zip(names[:MOST_FILES], files, strict=False):
        if fault := fault_of_data(path / "data" / name, file.get(SIZE, 0)):
            raise _damaged(path, path / "data" / name, fault)


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
        read = file.read(LARGEST + 1) or b""
    if len(read) > LARGEST:
        return None
    if len(read) < END.size or not read.endswith(MAGIC):
        raise _damaged(path, manifest, "has lost its end")
    start = END.unpack(read[-END.size :])[0]
    length = int.from_bytes(read[start : start + 4], "little") if start < len(read) else LARGEST
    if start + 4 + length + END.size > len(read):
        raise _damaged(path, manifest, "is malformed")
    return read[start + 4 : start + 4 + length]

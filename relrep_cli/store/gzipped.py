"""Text formats packed with gzip: inflated into a temporary file, no further than an honest text goes, and read from there."""

from __future__ import annotations

import errno
import gzip
import os
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

from relrep_cli.base.errors import DataError, WriteError, printable
from relrep_cli.base.signals import check, temporary
from relrep_cli.store.beside import columns_beside
from relrep_cli.store.files import HEAD, MORE_ROOM, bad, inner_ending, mistaken, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.json_tables import read_json
from relrep_cli.store.limits import packing_fault
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.text import read_text
from relrep_cli.store.words import read_words

BLOCK = 1 << 20  # bytes
HARMLESS = 64 << 20  # inflated bytes that are allowed at any ratio
TEXTS: dict[str, Callable[[Path, str | None, Reading], Found]] = {
    ".csv": read_text,
    ".tsv": read_text,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".txt": read_words,
    ".vec": read_words,
    ".glove": read_words,
    ".bin": read_words,
}
WITH_METADATA = (".tsv", ".txt")  # the names of whose rows may be in a file beside them


def read_gzipped(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """Read a packed text file by the ending before `.gz`. Raises DataError that names the packed file."""
    ending = inner_ending(path.name)
    with opened(path) as file:
        head = os.pread(file.fileno(), HEAD, 0)
        if not head.startswith(b"\x1f\x8b"):
            raise mistaken(path, head, "gzip-compressed data")
        if ending not in TEXTS:
            finding = f"only text is read when gzipped: {', '.join(f'{name}.gz' for name in TEXTS)}"
            raise bad(path, finding, "Unpack it with gunzip, or give it its right name.")
        handle, name = tempfile.mkstemp(ending, "relrep-")
        with temporary(Path(name)) as unpacked:
            with FileIO(handle, "w") as target:
                _inflate(path, file, target)
            try:
                content = TEXTS[ending](unpacked, member, reading)
            except DataError as error:
                raise _renamed(error, str(unpacked), str(path)) from None
    if ending in WITH_METADATA and not content.columns:
        return replace(content, **columns_beside(path, len(content.x)))
    return content


def _inflate(path: Path, file: FileIO, target: FileIO) -> None:
    size, total = size_of(file), 0
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while block := stream.read(BLOCK):
                check()
                total += len(block)
                if fault := packing_fault(total, size, HARMLESS):
                    raise bad(path, fault, "Unpack it with gunzip.")
                _write(target, block)
    except EOFError:
        raise bad(path, "cut short: its gzip stream has no end", "Fetch it again.") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise bad(path, f"its gzip stream is damaged ({printable(str(error))})", "Fetch it again.") from None
    if not total:
        raise bad(path, "it holds an empty file", "Write it again.")


def _write(target: FileIO, block: bytes) -> None:
    view = memoryview(block)
    try:
        while len(view):
            view = view[target.write(view) :]
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise WriteError(os.strerror(error.errno), MORE_ROOM, file=tempfile.gettempdir()) from None


def _renamed(error: DataError, temporary_name: str, name: str) -> DataError:
    """The error, about the packed file, which the user knows, instead of the temporary one."""
    shown, wanted = printable(temporary_name, 1000), printable(name, 1000)
    fields: list[Any] = [error.finding, error.remedy, error.file, error.place]
    finding, remedy, file, place = (str(field).replace(shown, wanted) for field in fields)
    return DataError(finding, remedy, file=file, place=place)

"""Formats that relrep reads and does not write, by the ending of the file's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from relrep_cli.store.arrow import read_arrow
from relrep_cli.store.assignment import assign
from relrep_cli.store.files import mistaken, sniff
from relrep_cli.store.found import Found
from relrep_cli.store.gzipped import read_gzipped
from relrep_cli.store.json_tables import read_json
from relrep_cli.store.npy import read_npy
from relrep_cli.store.npz import read_npz
from relrep_cli.store.parquet import read_parquet
from relrep_cli.store.parts import is_several, read_parts
from relrep_cli.store.quantised import unpacked
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.safetensors import read_safetensors
from relrep_cli.store.text import read_text
from relrep_cli.store.words import read_words

__all__ = ["READERS", "found_in", "mistaken", "reader", "sniff"]

Reader = Callable[[Path, str | None, Reading], Found]  # (file, what follows `::` in its URI, what the user says of it)
AnyReader = TypeVar("AnyReader", bound=Reader)
READERS: dict[str, Reader] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": read_text,
    ".tsv": read_text,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".ipc": read_arrow,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".gz": read_gzipped,
    ".safetensors": read_safetensors,
    ".txt": read_words,
    ".vec": read_words,
    ".glove": read_words,
    ".bin": read_words,
}


def found_in(path: Path, member: str | None = None, reading: Reading = PLAIN, *, hdf5: bool = False) -> Found:
    """What a file of any format holds, or a folder or pattern of parts, with its ids and columns by the reading rule.

    hdf5: whatever its name says. Raises DataError.
    """
    from relrep_cli.store.hdf5 import read_hdf5

    if not hdf5 and is_several(path):
        found = read_parts(path, member, reading, READERS)
    else:
        found = (read_hdf5 if hdf5 else READERS.get(path.suffix.lower(), read_hdf5))(path, member, reading)
    return unpacked(path, assign(path, found, reading), reading)


def reader(*endings: str) -> Callable[[AnyReader], AnyReader]:
    """Register the decorated function for files with these endings, as `@reader(".rows")`, for packages that add a format.

    Raises TypeError for an ending that another reader has, or that has no dot or capital letters.
    """

    def register(function: AnyReader) -> AnyReader:
        for ending in endings:
            if not ending.startswith(".") or ending != ending.lower():
                raise TypeError(f"ending {ending}: write a dot and lower-case letters")
            if ending in READERS:
                raise TypeError(f"ending {ending} is registered twice")
            READERS[ending] = function
        return function

    return register

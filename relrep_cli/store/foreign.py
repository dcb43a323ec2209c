"""Formats that relrep reads and does not write, by the ending of the file's name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from relrep_cli.base.errors import printable
from relrep_cli.store.arrow import read_arrow
from relrep_cli.store.assignment import assign
from relrep_cli.store.files import HDF5_ENDINGS, HEAD, SUFFIXES, bad, mistaken, opened, sniff
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
    if not hdf5 and is_several(path):
        found = read_parts(path, member, reading, READERS)
    else:
        read, notes = (_read_hdf5, ()) if hdf5 else _reader_of(path)
        found = read(path, member, reading)
        found = replace(found, notes=(*notes, *found.notes))
    return unpacked(path, assign(path, found, reading), reading)


def _read_hdf5(path: Path, member: str | None, reading: Reading) -> Found:
    from relrep_cli.store.hdf5 import read_hdf5

    return read_hdf5(path, member, reading)


def _reader_of(path: Path) -> tuple[Reader, tuple[str, ...]]:
    """The reader for the ending of a file's name, or else for its content, and what to tell the user of that.

    Raises DataError for text under another ending, which may be anything.
    """
    ending = path.suffix.lower()
    if ending in READERS or ending in HDF5_ENDINGS:
        return READERS.get(ending, _read_hdf5), ()
    with opened(path) as file:
        kind = sniff(os.pread(file.fileno(), HEAD, 0))
    if kind == "text":
        known = "Word vectors are read from .txt, .vec and .glove, tables from .csv and .tsv, JSON from .json and .jsonl."
        raise bad(path, f"this is text, and the ending {printable(ending) or 'that it lacks'} does not say of what kind", known)
    known_reader = READERS.get(SUFFIXES.get(kind or "", ""))
    return (known_reader, (f"read as {kind}, by its content.",)) if known_reader else (_read_hdf5, ())


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

"""Zarr stores, of version 2 or 3, as folders: plain arrays and AnnData's, read by the zarr package in a child process.

The package is an extra of relrep's. It follows links within a store, so a store with links is refused before it is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.store.apart import Answer, Files
from relrep_cli.store.arrays import Array
from relrep_cli.store.files import bad
from relrep_cli.store.found import Found
from relrep_cli.store.library_files import array_of, of_texts, read_with_library, surveyed
from relrep_cli.store.limits import MEMBERS, packing_fault
from relrep_cli.store.reading import Reading
from relrep_cli.store.scaling import is_scaling

LIBRARIES = ("zarr",)  # imported by the fork server
MARKS = ("zarr.json", ".zgroup", ".zarray")
MOST = 1 << 17  # files of a store
ROWS = "obs"  # where AnnData keeps the columns of items


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / mark).is_file() for mark in MARKS)


def read_zarr(path: Path, member: str | None, reading: Reading) -> Found:
    """The array (n, d) that `member` names, AnnData's X, or the only one, with the arrays of n values beside it.

    Raises UsageError without the zarr package, DataError for a store that cannot be read.
    """
    if find_spec("zarr") is None:
        raise UsageError("this is a Zarr store", "Run pip install zarr to read it.", file=printable(str(path), 1000))
    return read_with_library(path, member, reading, survey, stored_in(path))


def stored_in(path: Path) -> int:
    """The bytes of all files of a folder. Raises DataError for links, which may lead elsewhere, and for too many files."""
    total, files, folders = 0, 0, [path]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                files += 1
                if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
                    raise bad(
                        path, f"holds {printable(entry.name, 60)}, which is not a plain file", "Copy the data into the store."
                    )
                if files > MOST:
                    raise bad(path, f"holds more than {MOST} files", "Write it with larger chunks.")
                if entry.is_dir():
                    folders.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def survey(name: str, files: Files, member: str | None, reading: Mapping[str, Any], size: int) -> Answer:
    """In the child: see `surveyed`."""
    return surveyed(name, files, member, reading, lambda path: _arrays(path, member, size), "array", size)


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    """Turn the errors of zarr and its codecs into a DataError of one line."""
    try:
        yield
    except (MemoryError, DataError):
        raise
    except Exception as error:  # of many kinds, for a damaged store
        reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__, 120)
        raise bad(path, f"the zarr package cannot read it: {reason}", "Write it again.") from None


def _arrays(path: Path, member: str | None, size: int) -> Sequence[Array]:
    import zarr

    with _plain_errors(path):
        store: Any = zarr.open(str(path), mode="r")
        if isinstance(store, zarr.Array):
            return [_array(path, "array", store, size)]
        members = dict(list(store.arrays())[:MEMBERS])
        if member is not None and "/" in member.strip("/"):
            members[member] = store[member.strip("/")]
        arrays = [_array(path, name, part, size) for name, part in members.items()]
        return [*arrays, *_of_rows(path, store, size)]


def _array(path: Path, name: str, part: Any, size: int) -> Array:
    kind = np.dtype(part.dtype)
    if kind.kind not in "fiub":
        return _texts(path, name, part)
    fault = packing_fault(part.nbytes, size)

    def read() -> np.ndarray:
        if fault:
            raise bad(path, fault, "Write it uncompressed.", name)
        with _plain_errors(path):
            return np.asarray(part[:])

    return Array(name, tuple(part.shape), kind, kind.name, read, _scaling(part))


def _scaling(part: Any) -> dict[str, np.ndarray]:
    """The attributes of an array that say what its integers stand for, as xarray writes them."""
    numbers = {name: value for name, value in dict(part.attrs).items() if is_scaling(name) and isinstance(value, int | float)}
    return {name: np.array(value) for name, value in numbers.items()}


def _texts(path: Path, name: str, part: Any) -> Array:
    if part.ndim == 1 and part.shape[0] <= 1 << 24:
        texts = of_texts(path, name, [str(value) for value in np.asarray(part[:]).tolist()])
        if texts is not None:
            return texts
    return Array(name, tuple(part.shape), None, str(part.dtype), lambda: np.empty(0))


def _of_rows(path: Path, store: Any, size: int) -> list[Array]:
    """AnnData's ids as `id`, and its columns of text or numbers; categories in place of their codes."""
    if ROWS not in store or "X" not in store:
        return []
    rows = store[ROWS]
    index = str(rows.attrs.get("_index", "_index"))
    arrays: list[Array] = []
    for name, part in list(rows.members())[:MEMBERS]:
        if hasattr(part, "shape"):
            arrays.append(_array(path, "id" if name == index else name, part, size))
        elif "codes" in part and "categories" in part:
            codes, names = np.asarray(part["codes"][:]), [str(value) for value in np.asarray(part["categories"][:]).tolist()]
            if codes.dtype.kind in "iu" and codes.size and codes.min() >= -1 and codes.max() < len(names):
                arrays.append(array_of(path, name, np.array([*names, ""])[codes]))
    return arrays

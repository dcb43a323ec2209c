"""MATLAB's .mat: version 7.3 is HDF5; versions 4, 6 and 7 are read by SciPy in a child process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.store.apart import Answer, Files, limit
from relrep_cli.store.arrays import Array
from relrep_cli.store.files import bad, opened
from relrep_cli.store.found import Found
from relrep_cli.store.hdf5 import SIGNATURE, read_hdf5
from relrep_cli.store.library_files import (
    BYTES_A_SECOND,
    MEMORY,
    SECONDS,
    UNPACKED,
    array_of,
    of_texts,
    read_with_library,
    surveyed,
)
from relrep_cli.store.reading import PLAIN, Reading

LIBRARIES = ("scipy.io",)  # imported by the fork server
BESIDE = 48 << 20  # bytes of memory for a small file
FACTOR = 2 * UNPACKED  # times the size of the file: what is unpacked, and the arrays of it


def read_matlab(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The chosen matrix (n, d), with character arrays and cells of texts of n rows beside it. Raises DataError."""
    with opened(path) as file:
        head, block = os.pread(file.fileno(), 8, 0), os.pread(file.fileno(), 8, 512)
    if SIGNATURE in (head, block):
        return read_hdf5(path, member, reading)
    return read_with_library(path, member, reading, survey)


def survey(name: str, files: Files, member: str | None, reading: Mapping[str, Any]) -> Answer:
    """In the child: see `surveyed`."""
    return surveyed(name, files, member, reading, _arrays, "matrix")


def _arrays(path: Path) -> Sequence[Array]:
    from scipy.io import loadmat

    size = os.stat(path).st_size  # beyond it, a damaged file may not ask for what the import was allowed to take
    limit(SECONDS + size / BYTES_A_SECOND, BESIDE + FACTOR * size)
    try:
        content = loadmat(path, appendmat=False, chars_as_strings=True)
    except MemoryError:
        finding = "damaged, or it unpacks to far more than is stored"
        raise bad(path, finding, "Save it again with save -v6, which does not compress.") from None
    except Exception as error:  # SciPy's own, and whatever a damaged file makes of it
        reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__, 120)
        raise bad(path, f"SciPy cannot read it as a .mat file: {reason}", "Save it again with save -v7.") from None
    limit(SECONDS + size / BYTES_A_SECOND, MEMORY + FACTOR * size)  # copies of what is known to be no larger than allowed
    arrays = [_array(path, name, value) for name, value in content.items() if not name.startswith("__")]
    return [array for array in arrays if array is not None]


def _array(path: Path, name: str, value: Any) -> Array | None:
    """A matrix as it is; a character array or a cell of texts as texts (n,)."""
    if not isinstance(value, np.ndarray):
        return None
    if value.dtype.kind == "U":
        return array_of(path, name, np.char.rstrip(value.reshape(-1)))
    if value.dtype.kind == "O" and 1 in value.shape:
        cells = [np.asarray(cell).reshape(-1) for cell in value.reshape(-1)]
        if all(cell.size == 1 and cell.dtype.kind == "U" for cell in cells):
            return of_texts(path, name, [str(cell[0]) for cell in cells])
    if value.ndim == 2 and 1 in value.shape and value.shape != (1, 1) and value.dtype.kind in "iu":
        return array_of(path, name, value.reshape(-1))  # MATLAB has no arrays of one axis
    return array_of(path, name, value, "a struct" if value.dtype.names else "")

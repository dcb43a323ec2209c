"""Files that only a library of their own reads, such as SciPy or faiss: in a child process with limits.

What the library returns becomes arrays by name, from which the reading rule chooses as it does for .npz.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.store.apart import Answer, Batch, Files, answered, limit, read_apart, spill
from relrep_cli.store.arrays import Array, content_of
from relrep_cli.store.columns import blocks, column
from relrep_cli.store.files import bad, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.reading import Reading
from relrep_cli.store.scaling import scaled

MEMORY = 1 << 30  # bytes that a library may take, beside
FACTOR = 4  # times the size of the file
SECONDS = 8  # of CPU time for its import, beside a second for
BYTES_A_SECOND = 20_000_000  # of the file
UNPACKED = 20  # times the size of the file that arrays of it may take


def read_with_library(
    path: Path, member: str | None, reading: Reading, survey: Callable[..., Answer], size: int | None = None
) -> Found:
    """Run `survey(path, files, member, reading)` in a child process, and return what it finds. Raises DataError.

    size: the bytes of a folder, which the survey gets as a last argument.
    """
    if size is not None:
        return read_apart(path, size, survey, member, asdict(reading), size)
    with opened(path) as file:
        return read_apart(path, size_of(file), survey, member, asdict(reading))


def surveyed(
    name: str,
    files: Files,
    member: str | None,
    reading: Mapping[str, Any],
    load: Callable[[Path], Sequence[Array]],
    noun: str,
    size: int | None = None,
) -> Answer:
    """In the child: the embedding among the arrays that `load` finds in a file, spilled into `files`."""
    path = Path(name)
    size = os.stat(path).st_size if size is None else size

    def work() -> Answer:
        arrays = load(path)
        chosen = content_of(path, arrays, member, Reading(**reading), noun)
        chosen = chosen if reading.get("packed_bits") else scaled(path, chosen)
        columns = {name: [column(path, name, values)] for name, values in chosen.columns.items()}
        answer = spill(path, files, _batches(chosen.x, columns))
        return {**answer, "stored": chosen.stored, "notes": list(chosen.notes), "is_array": True}

    limit(SECONDS + size / BYTES_A_SECOND, MEMORY + FACTOR * size)
    return answered(path, work)


def _batches(x: np.ndarray, columns: dict[str, list[np.ndarray]]) -> Iterator[Batch]:
    for rows in blocks(len(x), x.shape[1] * x.dtype.itemsize):
        yield x[rows], columns if not rows.start else {}


def array_of(path: Path, name: str, values: Any, kind: str = "") -> Array:
    """An array that a library returned, by name. Raises DataError where views make it far larger than the file."""
    values = np.asarray(values)
    if values.nbytes > max(64 << 20, UNPACKED * os.stat(path).st_size):
        raise bad(path, f"it unpacks to {values.nbytes} bytes, far more than is stored", "Write it as it is.", name)
    known = values.dtype if values.dtype.kind in "fiubSU" else None
    return Array(name, values.shape, known, kind or values.dtype.name, lambda: values)


def of_texts(path: Path, name: str, values: Sequence[Any]) -> Array | None:
    """A list of texts or of whole numbers as an array (n,); None for a list of anything else."""
    if values and all(isinstance(value, str) for value in values):
        return array_of(path, name, np.array(list(values)))
    if values and all(type(value) is int and abs(value) < 1 << 63 for value in values):
        return array_of(path, name, np.array(list(values), np.int64))
    return None

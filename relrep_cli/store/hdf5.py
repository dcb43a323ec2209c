"""Reading any HDF5 file as an embedding. Files are untrusted: see `survey` for what is looked at, `chunks` for the data.

libhdf5 looks at the structure in a child process that can open nothing else, for a bounded time and memory; what it finds
is checked against the size of the file, and the data are read from the file without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.errors import DataError, printable
from relrep_cli.store import child
from relrep_cli.store.arrays import real
from relrep_cli.store.chunks import SLOT, Source, Unusable, load, stored
from relrep_cli.store.columns import blocks, column, described
from relrep_cli.store.files import HEAD, mistaken, opened
from relrep_cli.store.found import Found, spool
from relrep_cli.store.heap import texts
from relrep_cli.store.limits import padding_fault

SIGNATURE = b"\x89HDF\r\n\x1a\n"
CPU = 0.8  # seconds of libhdf5 that any file gets, and one more for every
BYTES_A_SECOND = 100_000_000  # of its size
ROLES = ("label", "split")  # columns that commands use: what is wrong with one is an error, not a reason to leave it out


def read_hdf5(path: Path, member: str | None) -> Found:
    """The embedding at `member` of an HDF5 file: a collection, a dataset, or a group with one matrix; None means `/`.

    Raises DataError with one line: where, what was found, what to do.
    """
    with _source(path) as source:
        answer = _ask(source, "survey", member)
        source = Source(source.path, source.file, source.size, source.base, answer["shift"])
        found = _found(source, answer["plan"])
        _unchanged(source)
        return found


def list_hdf5(path: Path) -> list[str]:
    """The names of the embeddings in an HDF5 file, "/" for the one at its root. Raises DataError when it is none."""
    with _source(path) as source:
        return [str(name) for name in _ask(source, "contents")["plan"]]


@contextmanager
def _source(path: Path) -> Iterator[Source]:
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        yield Source(path, file, size, _signature(path, file, size))


def _signature(path: Path, file: FileIO, size: int) -> int:
    """Where HDF5 begins in the file: at 0, or behind a user block of 512, 1024, 2048 … bytes."""
    at = 0
    while at < size:
        if os.pread(file.fileno(), 8, at) == SIGNATURE:
            return at
        at = 2 * at or 512
    raise mistaken(path, os.pread(file.fileno(), HEAD, 0), "HDF5")


def _ask(source: Source, question: str, *arguments: Any) -> dict[str, Any]:
    """What the child says. Raises DataError with what it found wrong, or with how it died."""
    status = os.fstat(source.file.fileno())
    identity = [status.st_dev, status.st_ino, status.st_size]
    seconds = CPU + source.size / BYTES_A_SECOND
    try:
        answer = child.run(f"relrep_cli.store.survey:{question}", os.fspath(source.path), *arguments, identity, seconds)
    except child.Died as death:
        raise source.bad(f"{death}.") from None
    if "nothing" in answer:
        raise _nothing(source, answer["nothing"], answer["found"])
    if "error" in answer:
        where, why = answer["error"]
        raise source.bad(why, where or None)
    return answer


def _nothing(source: Source, where: str, found: list[str]) -> DataError:
    listed = ", ".join(printable(name, 60) for name in found[:20]) + (", …" if len(found) > 20 else "")
    advice = f" Write {printable(str(source.path), 1000)}::{printable(found[0])}." if found else ""
    return source.bad(f"no embedding here; found {listed or 'none in this file'}.{advice}", where)


def _unchanged(source: Source) -> None:
    if os.fstat(source.file.fileno()).st_size != source.size:
        raise source.bad("the file changed while it was read. Try again when nothing writes to it.")


# --- the plan becomes arrays ---


def _found(source: Source, plan: dict[str, Any]) -> Found:
    x = _matrix(source, plan["x"])
    columns = {name: _values(source, name, c) for name, c in plan["obs"]}
    roles = {name: columns.pop(name) for name in ROLES if columns.get(name) is not None}
    if plan["ids"] is not None:
        roles["id"] = _values(source, "id", plan["ids"])
    ids, named = described(source.path, {name: values for name, values in roles.items() if values is not None})
    return Found(
        x=x,
        ids=ids,
        obs=named | {name: values for name, values in columns.items() if values is not None},
        var={name: values for name, c in plan["var"] if (values := _values(source, name, c)) is not None},
        attrs=plan["attrs"],
        uns={name: load(source, stored(source, c)) for name, c in plan["uns"]},
    )


def _matrix(source: Source, plan: dict[str, Any]) -> np.ndarray:
    """(n, d) floats as they are stored, whatever their byte order; integers widened to the float that holds them exactly."""
    x = load(source, stored(source, plan))
    return x if x.dtype.kind == "f" else real(source.path, x, plan["name"])


def _values(source: Source, name: str, plan: dict[str, Any]) -> np.ndarray | None:
    """A column: numbers as stored, text as "S" in UTF-8. None for text that cannot be used, unless the column matters."""
    try:
        if "codes" in plan:
            return _expanded(source, name, plan)
        item = stored(source, plan)
        values = texts(source, item) if item.dtype == SLOT else load(source, item).reshape(-1)
        return column(source.path, name, values) if values.dtype.kind == "S" else values
    except Unusable:
        if name in ROLES or name == "id":
            raise
        return None


def _expanded(source: Source, name: str, plan: dict[str, Any]) -> np.ndarray | None:
    """A categorical column with every code replaced by its category; code -1 is a missing value, as text b""."""
    codes = load(source, stored(source, plan["codes"]))
    categories = _values(source, name, plan["categories"])
    if categories is None:
        return None
    low, high = (int(codes.min()), int(codes.max())) if codes.size else (0, -1)
    if codes.dtype.kind not in "iu" or low < -1 or high >= len(categories):
        raise source.bad(f"its codes do not fit its {len(categories)} categories. The file is damaged.", plan["codes"]["name"])
    if categories.dtype.kind != "S" and low < 0:
        categories = categories.astype("S")
    if categories.dtype.kind == "S":
        categories = np.append(categories, np.zeros(1, categories.dtype))
    fault = padding_fault(len(codes) * categories.dtype.itemsize, source.size)
    if fault:
        raise source.bad(fault, plan["codes"]["name"])
    out = spool(codes.shape, categories.dtype)
    for rows in blocks(len(codes), categories.dtype.itemsize):
        out[rows] = categories[codes[rows].astype(np.int64)]
    return out

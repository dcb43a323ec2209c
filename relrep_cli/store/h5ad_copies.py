"""A copy of an AnnData file with more columns in `obs` and more matrices in `obsm`; the file itself is never written.

The copy is as untrusted as the file. libhdf5 lays out the new datasets in a child process that can open nothing else, and says
where they begin; their bytes are written without it, within the bounds of the copy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say
from relrep_cli.base.signals import check
from relrep_cli.base.uris import split_uri
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.store import child
from relrep_cli.store.files import AGAIN, opened, size_of
from relrep_cli.store.writing import published

ENDING = ".h5ad"
PIECE = 1 << 24  # bytes to copy at once
SECONDS, BYTES_A_SECOND = 2.0, 100_000_000  # of CPU time that libhdf5 gets, and one more for every so many bytes


@dataclass(frozen=True, eq=False)
class Addition:
    """An array to add: (n,) for `obs`, (n, m) for `obsm`. description: what it is, kept as an attribute."""

    place: str
    name: str
    values: np.ndarray
    description: str = ""


def is_h5ad(uri: str) -> bool:
    """Whether a URI names an AnnData file, or a matrix in one."""
    return split_uri(uri)[0].lower().endswith(ENDING)


def same_file(uri: str, other: str) -> bool:
    """Whether two URIs name parts of one file."""
    return split_uri(uri)[0] == split_uri(other)[0]


def write_copy(uri: str, target: str, additions: list[Addition], force: bool) -> None:
    """Write a copy of the AnnData file of `uri` with the additions, which replace what has their name there.

    Raises DataError for a file that is no AnnData file of so many rows, UsageError where the target exists, WriteError.
    """
    source = Path(split_uri(uri)[0])
    with opened(source) as file:
        before = size_of(file)
        more = sum(a.values.nbytes for a in additions) + (1 << 16)
        with published(target, force, before + more) as path, path.open("r+b", buffering=0) as copy:
            _copy(file.fileno(), copy.fileno(), before)
            copy.truncate(before)
            offsets, replaced = _laid(source, path, before, additions)
            for addition, offset in zip(additions, offsets, strict=True):
                _fill(copy.fileno(), addition, offset, size_of(copy), source)
    names, lost = (
        ", ".join(f"{a.place}[{a.name!r}]" for a in some)
        for some in (additions, [a for a, there in zip(additions, replaced, strict=True) if there])
    )
    say(f"{target}: a copy of {source} with {names}.")
    if lost:
        say(f"{target}: {lost} of {source} had the same name, and only the new values are in the copy.")


def _copy(source: int, target: int, size: int) -> None:
    for at in range(0, size, PIECE):
        check()
        piece = os.pread(source, min(PIECE, size - at), at)
        if not piece:
            raise DataError("the file changed while it was copied", "Try again when nothing writes to it.")
        os.pwrite(target, piece, at)


def _laid(source: Path, path: Path, size: int, additions: list[Addition]) -> tuple[list[int], list[bool]]:
    """Where the bytes of each addition go, and whether it replaces what had its name."""
    wanted = [[a.place, a.name, list(a.values.shape), a.values.dtype.newbyteorder("<").str, a.description] for a in additions]
    try:
        answer = child.run(f"{__name__}:lay_out", os.fspath(path), wanted, size, SECONDS + size / BYTES_A_SECOND)
    except child.Died as death:
        raise DataError(death.finding, AGAIN, file=str(source)) from None
    if "error" in answer:
        finding, remedy = answer["error"]
        raise DataError(printable(finding, 500), printable(remedy, 500), file=str(source))
    return [int(offset) for offset in answer["offsets"]], [bool(there) for there in answer["replaced"]]


def _fill(handle: int, addition: Addition, offset: int, size: int, source: Path) -> None:
    values = addition.values
    if offset <= 0 or offset + values.nbytes > size:
        raise DataError("libhdf5 laid out the copy beyond its end; the file is damaged", AGAIN, file=str(source))
    matrix = values.reshape(len(values), -1)
    for rows in row_blocks(*matrix.shape, matrix):
        check()
        ready = np.ascontiguousarray(matrix[rows], values.dtype.newbyteorder("<"))
        os.pwrite(handle, ready.tobytes(), offset + rows.start * matrix.shape[1] * ready.itemsize)


# --- in the child ---


def lay_out(path: str, wanted: list[list[Any]], size: int, seconds: float) -> Mapping[str, Any]:
    """In the child: make the datasets, and answer {"offsets": where each begins, "replaced": whether each had a namesake} or
    {"error": [finding, remedy]}."""
    from relrep_cli.store.guards import Refused
    from relrep_cli.store.libhdf5 import h5f, h5g, h5p, h5py
    from relrep_cli.store.survey import MEMORY

    child.confine(seconds, files=1, memory=MEMORY + size // 4)
    try:
        access = h5p.create(h5p.FILE_ACCESS)
        access.set_fapl_sec2()
        access.set_file_locking(False, True)
        file = h5f.open(os.fsencode(path), h5f.ACC_RDWR, access)
        root = h5py.Group(h5g.open(file, b"/"))
        laid = [_lay_one(h5py, root, *one) for one in wanted]
        del root
        file.close()
        return {"offsets": [offset for offset, _ in laid], "replaced": [there for _, there in laid]}
    except Refused as refusal:
        where, finding, remedy = refusal.fields
        return {"error": [f"{where}: {finding}", remedy]}
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError, ValueError, TypeError, …
        return {"error": [f"libhdf5 cannot add to a copy of it ({printable(str(error), 200)})", AGAIN]}


def _lay_one(h5py: Any, root: Any, place: str, name: str, shape: list[int], dtype: str, description: str) -> tuple[int, bool]:
    from relrep_cli.store.guards import Refused, has, step

    if not has(root.id, b"obs") or "column-order" not in (frame := h5py.Group(step(root.id, b"obs", "/"))).attrs:
        raise Refused("/", "this is no AnnData file of version 0.7 or later", "Name a file that anndata wrote.")
    if has(root.id, place.encode()):
        group = h5py.Group(step(root.id, place.encode(), "/"))
    else:
        group = root.create_group(place)
        group.attrs["encoding-type"], group.attrs["encoding-version"] = "dict", "0.1.0"
    n = _rows(h5py, frame)
    if n is not None and n != shape[0]:
        raise Refused("/obs", f"it has {n} rows, and there are {shape[0]} values", "Name the file that was compared.")
    replaces = has(group.id, name.encode())
    if replaces:
        del group[name]
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind, space = h5py.h5t.py_create(np.dtype(dtype), logical=True), h5py.h5s.create_simple(tuple(shape))
    made = h5py.h5d.create(group.id, name.encode(), kind, space, creation)
    attributes = h5py.Dataset(made).attrs
    attributes["encoding-type"], attributes["encoding-version"], attributes["relrep"] = "array", "0.2.0", description
    if place == "obs":
        order = [str(column) for column in frame.attrs["column-order"] if str(column) != name]
        frame.attrs["column-order"] = np.array([*order, name], dtype=h5py.string_dtype())
    return int(made.get_offset() or 0), replaces


def _rows(h5py: Any, frame: Any) -> int | None:
    """The rows of obs, by its index; None where it does not say."""
    from relrep_cli.store.guards import has, step

    name = str(frame.attrs.get("_index", "_index")).encode()
    item = step(frame.id, name, "/obs") if has(frame.id, name) else None
    return int(item.shape[0]) if isinstance(item, h5py.h5d.DatasetID) and item.rank == 1 else None

"""Writing format version 1 (docs/format.md): libhdf5 lays out the file, plain writes fill it.

All arrays are contiguous, so their bytes go in by `pwrite`: a full disk is then an ordinary OSError, where libhdf5 ends in
SIGSEGV at exit in 7 of 10 runs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli import __version__
from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.embedding import Step, text
from relrep_cli.numerics.digests import Digest, checksum
from relrep_cli.store import seen
from relrep_cli.store.shared_rows import SharedRows, finite
from relrep_cli.store.writing import allocate, published

FORMAT, FORMAT_VERSION = "HDF5::RelRep", 1
ATTRIBUTE_LIMIT = 60_000  # bytes; object headers hold 64 KiB, and readers refuse more
ID_LIMIT = 4096  # bytes
PIECE = 1 << 20  # bytes to write at once; of 64 MiB at once, Linux spends 7 times the CPU time on finding large free pages
Columns = Mapping[str, np.ndarray]


def write(
    target: str,
    blocks: Iterable[np.ndarray] | SharedRows,
    *,
    shape: tuple[int, int],
    dtype: str,
    ids: np.ndarray,
    obs: Columns,
    var: Columns,
    kind: str,
    space: str,
    steps: list[Step],
    uns: Columns | None = None,
    source_space: str = "",
    row_ids: bool = False,
    force: bool = False,
) -> str:
    """Write one embedding to `target` (`-` is stdout) and return its digest.

    blocks: consecutive rows of the (n, d) matrix, as many as `shape` says; or who computes them. var: holds the column index
    as "id". row_ids: the ids are only row numbers.
    Raises WriteError when it cannot be written, UsageError when it exists, DataError when it does not fit the format.
    """
    if ids.dtype.itemsize > ID_LIMIT:
        raise DataError(
            f"an id is {ids.dtype.itemsize} bytes long, and the format takes {ID_LIMIT}", "Shorten the ids.", file=target
        )
    kept = np.dtype(dtype).newbyteorder("<")
    small = (ids, *obs.values(), *var.values(), *(uns or {}).values())
    size = shape[0] * shape[1] * kept.itemsize + sum(c.size * c.dtype.itemsize for c in small) + 65536
    remote = blocks if isinstance(blocks, SharedRows) else None
    with published(target, force, size) if remote is None else remote.file(target, force, size) as path:
        running, fast = Digest(*shape, kept, ids), Digest(*shape, kept, ids, fast=True)
        offset = None if remote is None else remote.offset(path)
        if offset is None:
            root = _root(kind, space, source_space, steps, row_ids)
            offset = _lay_out(path, _Contents(shape, kept, ids, obs, var, uns or {}, root))
            if remote is not None:
                remote.laid_out(path, offset)
        if isinstance(blocks, SharedRows):
            written = _take_digests(blocks.rows(path, offset, shape, kept), (running, fast))
        else:
            written = _write_rows(path, offset, blocks, kept, (running, fast))
        if written != shape[0]:
            raise RuntimeError(f"{written} rows came for a matrix of {shape[0]}")
        with _plain_errors():
            name = running.name()
            _set_digests(path, name, checksum(fast.name(), name))
    seen.remember_file(target, name)
    return name


@dataclass(frozen=True)
class _Contents:
    """Everything in a file but the numbers of its matrix. root: the attributes of the collection."""

    shape: tuple[int, int]
    dtype: np.dtype
    ids: np.ndarray
    obs: Columns
    var: Columns
    uns: Columns
    root: dict[str, Any]


def _lay_out(path: Path, contents: _Contents) -> int:
    """Make the file with everything but its matrix, and return where that begins."""
    with _plain_errors():
        layout = _Layout(path)
        try:
            offset = layout.lay(contents)
        finally:
            layout.close()
    allocate(path, path.stat().st_size)
    layout.fill()
    return offset


@contextmanager
def _plain_errors() -> Iterator[None]:
    """A full disk as the OSError that it is: libhdf5 tells of it in several ways, one of them a RuntimeError."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from None


def _root(kind: str, space: str, source_space: str, steps: list[Step], row_ids: bool) -> dict[str, Any]:
    while len(json.dumps(steps)) > ATTRIBUTE_LIMIT and len(steps) > 1:
        steps = steps[1:]  # the oldest go first; what is left still names its predecessors' ids
    return {
        "format": FORMAT,
        "format-version": FORMAT_VERSION,
        "generated-by": f"relrep {__version__}",
        "kind": kind,
        "space": space,
        **({"source-space": source_space} if source_space else {}),
        **({"row-ids": 1} if row_ids else {}),
        "digest": "sha256:" + "0" * 64,
        "checksum": "sha256:" + "0" * 64,
        "steps": json.dumps(steps, sort_keys=True),
    }


def _write_rows(path: Path, offset: int, blocks: Iterable[np.ndarray], dtype: np.dtype, hashes: Sequence[Digest]) -> int:
    rows = 0
    with path.open("r+b", buffering=0) as file:
        file.seek(offset)
        for block in blocks:
            check()
            ready = finite(block, dtype, rows)
            for one in hashes:
                one.update(ready)
            _write_all(file.fileno(), ready)
            rows += len(ready)
    return rows


def _take_digests(blocks: Iterable[np.ndarray], hashes: Sequence[Digest]) -> int:
    rows = 0
    for block in blocks:
        for one in hashes:
            one.update(block)
        rows += len(block)
    return rows


def _write_all(handle: int, array: np.ndarray) -> None:
    view = np.ascontiguousarray(array).data.cast("B") if array.size else memoryview(b"")
    while len(view):
        view = view[os.write(handle, view[:PIECE]) :]


class _Layout:
    """The empty file: every group, attribute and dataset, with the bytes of the small arrays kept for `fill`."""

    def __init__(self, path: Path) -> None:
        from relrep_cli.store.libhdf5 import h5py

        self.h5py, self.path = h5py, path
        self.small: list[tuple[int, np.ndarray]] = []
        self.file = h5py.File(path, "w", libver="v110", locking=False)  # superblock 3: checksums; the file is ours alone

    def close(self) -> None:
        self.file.close()

    def lay(self, contents: _Contents) -> int:
        """Lay out everything and return where X begins in the file."""
        self._attributes(self.file, {**contents.root, "encoding-type": "anndata", "encoding-version": "0.1.0"})
        self._frame("obs", {"id": contents.ids, **contents.obs})
        self._frame("var", contents.var)
        if contents.uns:
            group = self._group(self.file, "uns", "dict", "0.1.0")
            for name, values in contents.uns.items():
                self._array(group, name, values)
        return self._dataset(self.file, "X", contents.shape, contents.dtype, "array")

    def _attributes(self, thing: Any, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, str):
                encoded = value.encode(errors="backslashreplace")
                kind = self.h5py.string_dtype("utf-8", max(1, len(encoded)))
                thing.attrs.create(name, np.bytes_(encoded), dtype=kind)
            else:
                thing.attrs[name] = value

    def _group(self, parent: Any, name: str, kind: str, version: str) -> Any:
        group = parent.create_group(name)
        self._attributes(group, {"encoding-type": kind, "encoding-version": version})
        return group

    def _dataset(self, parent: Any, name: str, shape: tuple[int, ...], dtype: Any, encoding: str) -> int:
        """Create a contiguous dataset with its space allocated; return its offset."""
        plist = self.h5py.h5p.create(self.h5py.h5p.DATASET_CREATE)
        plist.set_layout(self.h5py.h5d.CONTIGUOUS)
        plist.set_alloc_time(self.h5py.h5d.ALLOC_TIME_EARLY)
        plist.set_fill_time(self.h5py.h5d.FILL_TIME_NEVER)
        plist.set_obj_track_times(False)
        space = self.h5py.h5s.create_simple(shape)
        kind = self.h5py.h5t.py_create(dtype, logical=True)
        made = self.h5py.h5d.create(parent.id, name.encode(), kind, space, plist)
        self._attributes(self.h5py.Dataset(made), {"encoding-type": encoding, "encoding-version": "0.2.0"})
        return int(made.get_offset() or 0)

    def _array(self, parent: Any, name: str, values: np.ndarray) -> None:
        if values.dtype.kind == "S":
            width = max(1, values.dtype.itemsize)
            offset = self._dataset(parent, name, values.shape, self.h5py.string_dtype("utf-8", width), "string-array")
        else:
            values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
            offset = self._dataset(parent, name, values.shape, values.dtype, "array")
        self.small.append((offset, values))

    def _frame(self, name: str, columns: Columns) -> None:
        group = self._group(self.file, name, "dataframe", "0.2.0")
        others = [c for c in columns if c != "id"]
        self._attributes(group, {"_index": "id"})
        order = text(others).astype(self.h5py.string_dtype("utf-8", text(others).dtype.itemsize))
        group.attrs.create("column-order", order, shape=(len(others),), dtype=order.dtype)
        for column, values in columns.items():
            if column != "id" and values.dtype.kind == "S":
                self._categorical(group, column, values)
            else:
                self._array(group, column, values)

    def _categorical(self, parent: Any, name: str, values: np.ndarray) -> None:
        """Text columns repeat themselves, so they are stored as codes; b"" is a missing value."""
        categories, codes = np.unique(values, return_inverse=True)
        if len(categories) and categories[0] == b"":
            categories, codes = categories[1:], codes - 1
        group = self._group(parent, name, "categorical", "0.2.0")
        group.attrs["ordered"] = False
        size = next(kind for kind in ("i1", "i2", "i4", "i8") if len(categories) <= np.iinfo(kind).max)
        self._array(group, "categories", categories if len(categories) else np.empty(0, "S1"))
        self._array(group, "codes", codes.astype(size))

    def fill(self) -> None:
        with self.path.open("r+b", buffering=0) as file:
            for offset, values in self.small:
                file.seek(offset)
                _write_all(file.fileno(), values)


def _set_digests(path: Path, digest: str, fast: str) -> None:
    from relrep_cli.store.libhdf5 import h5py

    with h5py.File(path, "r+", libver="v110", locking=False) as file:
        file.attrs.modify("digest", np.bytes_(digest.encode()))
        file.attrs.modify("checksum", np.bytes_(fast.encode()))

"""Read arrays of any size in row blocks with bounded memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics.halves import are_finite, widened
from relrep_cli.numerics.spool import spool

ROWS = 4096  # fixed, not derived from free memory: float32 sums depend on the block, and results must not depend on the machine
BYTES = 32 << 20
COPIED = 16 << 20  # bytes of rows copied at a time
FAULT = 2 << 20  # bytes: reading one number of a memory map loads up to this large an aligned part of the file
TOUCHED = 16  # parts of this size that are in memory at the same time while rows are picked


def block_rows(d: int) -> int:
    """Return the number of rows of d numbers in a block: a power of two, at most 4096, about 32 MiB in float64."""
    rows = max(1, min(ROWS, BYTES // max(1, 8 * d)))
    return int(1 << (rows.bit_length() - 1))


def slices(n: int, rows: int, *mapped: np.ndarray) -> Iterator[slice]:
    """Yield consecutive slices of n rows, each of at most `rows`. Checks for a pending signal before each slice.

    mapped: arrays of n rows. After each slice, its memory is freed with `release`, except what the next slice shares with it.
    """
    for start in range(0, n, rows):
        check()
        block = slice(start, min(start + rows, n))
        yield block
        for x in mapped:
            release(x, block, keep_end=block.stop < n)


def release(x: np.ndarray, rows: slice = slice(None), keep_end: bool = False) -> None:
    """Free the memory of x[rows] when x is a memory map of a file.

    No data are lost: the system keeps the contents of the file, written ones included, and reads them again when needed.
    keep_end: leave the stretch in which the rows end, for a pass that reads on from there.
    """
    file = _map_behind(x)
    if file is None:
        return
    begin = np.frombuffer(file, np.uint8).__array_interface__["data"][0]
    low, high = np.lib.array_utils.byte_bounds(x[rows])
    if keep_end:
        high = np.lib.array_utils.byte_bounds(x[rows.stop :])[0] - FAULT + 1
    first, last = max(0, low // FAULT * FAULT - begin), -(-high // FAULT) * FAULT - begin
    if last > first:
        file.madvise(mmap.MADV_DONTNEED, first, min(last, len(file)) - first)


def _map_behind(x: np.ndarray) -> mmap.mmap | None:
    """The memory map behind x; None when x is an ordinary array, or its map holds changes that are not in the file."""
    owner: Any = x
    while owner is not None and getattr(owner, "_mmap", None) is None:
        owner = getattr(owner, "base", None)
    if owner is None or owner.mode not in ("r", "r+") or not hasattr(mmap, "MADV_DONTNEED"):  # "c" keeps changes in memory
        return None
    file: mmap.mmap = owner._mmap
    return file


def pick(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Copy x[rows] in bounded memory, also when x is a memory map of a file.

    x: (n, …) array. rows: row numbers from 0, in any order and of any shape.

    Reading a row of a memory map loads a much larger part of the file (`FAULT`), which stays in memory; x[rows] for 300 rows of
    a million took 600 MiB. So rows are read in file order, a few parts at a time, and the parts are then released.

    >>> pick(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0])).tolist()
    [[3.0], [1.0]]
    """
    file = _map_behind(x)
    if file is None or len(file) <= FAULT * TOUCHED or not rows.size:
        return x[rows]
    if rows.ndim != 1:
        return pick(x, rows.ravel()).reshape(rows.shape + x.shape[1:])
    rows, out = rows.astype(np.int64, copy=False), np.empty((len(rows), *x.shape[1:]), x.dtype)
    order = None if (rows[1:] >= rows[:-1]).all() else np.argsort(rows)
    if x.ndim == 2 and x.strides[0] < abs(x.strides[1]):  # columns lie one after the other, as in Fortran
        for j in range(x.shape[1]):
            _pick_sorted(x[:, j], rows, order, out[:, j])
    else:
        _pick_sorted(x, rows, order, out)
    return out


def _pick_sorted(x: np.ndarray, rows: np.ndarray, order: np.ndarray | None, out: np.ndarray) -> None:
    """Copy x[rows] to `out`, `TOUCHED` parts of the file at a time. order: sorts the rows; None when they are sorted."""
    ascending = rows if order is None else rows[order]
    part = (x.__array_interface__["data"][0] + ascending * x.strides[0]) // FAULT
    each = 1 + x[0].nbytes // FAULT  # parts that one row spans
    batch = np.cumsum(np.diff(part, prepend=part[0]) != 0) * each // TOUCHED
    ends = [*(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(rows)]
    for start, end in zip([0, *ends], ends, strict=False):
        out[slice(start, end) if order is None else order[start:end]] = x[ascending[start:end]]
        release(x, slice(int(ascending[start]), int(ascending[end - 1]) + 1))


def row_blocks(n: int, d: int, *mapped: np.ndarray) -> Iterator[slice]:
    """Yield the `slices` of an (n, d) array in blocks of `block_rows(d)`."""
    return slices(n, block_rows(d), *mapped)


def widen(block: np.ndarray) -> np.ndarray:
    """Convert a block to native float32, or to float64 when it is stored as such; float16 must be widened before any sum."""
    if block.dtype == np.float16 and block.ndim == 2:
        return widened(block, np.zeros(block.shape[1], np.float32))
    return np.ascontiguousarray(block, np.float64 if block.dtype.itemsize == 8 else np.float32)


def take(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return x[rows]: x itself when that is all of x in order, else a copy made block by block, on disk when large."""
    if len(rows) == len(x) and np.array_equal(rows, np.arange(len(x))):
        return x
    out = spool((len(rows), x.shape[1]), x.dtype)
    for block in slices(len(rows), max(1, COPIED // max(1, x[:1].nbytes)), out):  # large blocks, read in file order
        out[block] = pick(x, rows[block])
    return out


def column_mean(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the mean (d,) of x[rows] in float64. (A float32 sum of a million rows at offset 1000 is off by 8.8.)"""
    total = np.zeros(x.shape[1])
    for block in row_blocks(len(rows), x.shape[1]):
        total += pick(x, rows[block]).sum(0, dtype=np.float64)
    return total / len(rows)


def all_finite(block: np.ndarray) -> bool:
    """Whether the block holds no NaN and no infinity."""
    return are_finite(block) if block.dtype == np.float16 else bool(np.isfinite(block).all())


def first_bad_row(x: np.ndarray) -> int | None:
    """Return the number of the first row that holds NaN or infinity, or None."""
    for block in row_blocks(*x.shape, x):
        if x.dtype == np.float16 and all_finite(x[block]):
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(widen(x[block]).sum()):
                continue  # a sum is finite only if all its terms are
        good = np.isfinite(x[block]).all(1)
        if not good.all():
            return block.start + int(np.argmin(good))
    return None

"""Choosing and converting arrays that a file names: what .npy, .npz and .safetensors share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.numerics.blocks import release
from relrep_cli.numerics.spool import spool
from relrep_cli.store.columns import blocks, described, role
from relrep_cli.store.files import bad
from relrep_cli.store.found import Found

PREFERRED = {"x", "embedding", "embeddings", "features", "vectors", "arr_0"}
FEW = 16  # columns that are read at once where each lies in a piece
EXACT = 2.0**53  # integers beyond are not float64


@dataclass(frozen=True)
class Array:
    """An array in a file, known by its header alone. dtype is None for types that relrep does not read."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype | None
    kind: str  # the type, as a message names it
    read: Callable[[], np.ndarray]

    @property
    def is_embedding(self) -> bool:
        return len(self.shape) == 2 and all(self.shape) and self.dtype is not None and target(self.dtype) is not None


def target(dtype: np.dtype) -> np.dtype | None:
    """The float type that holds `dtype` exactly: halves, singles and doubles stay, integers widen; None for others."""
    if dtype.kind == "f" and dtype.itemsize in (2, 4, 8):
        return dtype
    if dtype.kind in "iu":
        return np.dtype(np.float32 if dtype.itemsize <= 2 else np.float64)
    return None


def check_embedding(path: Path, array: Array, member: str | None) -> None:
    """Raise DataError unless `array` is (n, d) real numbers, n and d at least 1."""
    if array.dtype is None or target(array.dtype) is None:
        raise bad(path, f"dtype {array.kind}; relrep reads float16, float32, float64 and integers", "Convert it.", member)
    if len(array.shape) != 2:
        raise bad(path, f"shape {array.shape}; an embedding is (items, dimensions)", "Reshape it.", member)
    if not all(array.shape):
        raise bad(path, f"shape {array.shape} holds no numbers", "An embedding needs an item and a dimension.", member)


def real(path: Path, values: np.ndarray, member: str | None) -> np.ndarray:
    """(n, d) `values` as floats in C order: themselves if they are, else a converted copy in a spool."""
    dtype = target(values.dtype)
    assert dtype is not None
    if values.dtype == dtype and values.flags.c_contiguous:
        return values
    out = spool(values.shape, dtype)
    for rows in blocks(len(values), values.shape[1] * 8, values, out):
        for columns in _columns_at_once(values):
            out[rows, columns] = values[rows, columns]
            release(values[rows, columns])
        if values.dtype.kind in "iu" and values.dtype.itemsize == 8 and np.any(np.abs(out[rows]) >= EXACT):
            raise bad(path, "holds integers of 2^53 or more, which no float holds exactly", "Are these ids?", member)
    return out


def _columns_at_once(values: np.ndarray) -> Iterator[slice]:
    """All columns; a few at a time where they lie one after the other, since each begins elsewhere in the file."""
    step = FEW if values.flags.f_contiguous else values.shape[1]
    for start in range(0, values.shape[1], step):
        yield slice(start, start + step)


def choose(path: Path, arrays: Sequence[Array], member: str | None, noun: str = "array") -> Array:
    """The array that `member` names, or without one the only embedding, or the only one with a usual name.

    Raises DataError that lists what there is.
    """
    if member is not None:
        named = [array for array in arrays if array.name == member]
        if not named:
            remedy = f"Write {printable(str(path), 1000)}::{printable(arrays[0].name)}." if arrays else "Name another file."
            raise bad(path, f"no {noun} of this name. Found {listed(arrays)}", remedy, member)
        return named[0]
    fit = [array for array in arrays if array.is_embedding and role(array.name) is None]
    usual = [array for array in fit if array.name.lower() in PREFERRED]
    for group in (fit, usual):
        if len(group) == 1:
            return group[0]
    if not fit:
        raise bad(
            path,
            f"no embedding here, that is, no (items, dimensions) {noun} of numbers. Found {listed(arrays)}",
            "Give a file that holds one.",
        )
    raise bad(path, f"which {noun}? Found {listed(fit)}", f"Write {printable(str(path), 1000)}::{printable(fit[0].name)}.")


def listed(arrays: Sequence[Array], most: int = 6) -> str:
    """Names and shapes for a message, the first few."""
    more = [f"{len(arrays) - most} more"] if len(arrays) > most else []
    return ", ".join([*map(_described, arrays[:most]), *more]) or "nothing"


def _described(array: Array) -> str:
    shape = array.shape if len(array.shape) < 6 else f"({len(array.shape)}-D)"
    return f"{printable(array.name, 40)} {shape}" + (f" of {array.kind}" if array.dtype is None else "")


def found(path: Path, arrays: Sequence[Array], member: str | None, noun: str = "array") -> Found:
    """The chosen array and its siblings of the same length. Raises DataError."""
    array = choose(path, arrays, member, noun)
    check_embedding(path, array, array.name)
    columns: dict[str, np.ndarray] = {}
    for other in arrays:
        name = role(other.name)
        if name and name not in columns and other is not array and _is_column(other, array.shape[0]):
            columns[name] = _sibling(path, other)
    ids, obs = described(path, columns)
    return Found(real(path, array.read(), array.name), ids, obs)


def _is_column(array: Array, n: int) -> bool:
    return array.shape[:1] == (n,) and prod(array.shape[1:]) == 1


def _sibling(path: Path, array: Array) -> np.ndarray:
    if array.dtype is None:
        raise bad(path, f"dtype {array.kind}; ids, labels and splits are text or numbers", "Save it as text.", array.name)
    return array.read().reshape(-1)

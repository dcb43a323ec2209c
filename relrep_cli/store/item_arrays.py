"""Files that hold an array for each item: a vector (d,), rows (L, d) such as residues, or layers of rows (layers, L, d)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relrep_cli.numerics.spool import spool
from relrep_cli.store.arrays import Array
from relrep_cli.store.column_names import role
from relrep_cli.store.files import bad
from relrep_cli.store.found import Found
from relrep_cli.store.limits import SHORTEN, padding_fault
from relrep_cli.store.reading import Reading

ROW = 1 << 16  # numbers of one vector
Shape = Sequence[int]


def are_items(shapes: Sequence[Shape], reading: Reading) -> bool:
    """Whether arrays of these shapes are items, rather than spaces.

    Vectors of one length are, also as (1, d). Of matrices (L, d) the lengths L tell: they are items where these differ, or
    --pool is given.
    """
    first = shapes[0]
    if any(len(shape) != len(first) or shape[-1:] != first[-1:] for shape in shapes) or not all(map(all, shapes)):
        return False
    if len(first) == 1:
        return 1 < first[0] <= ROW
    if len(first) not in (2, 3) or len(shapes) < 2:
        return False
    one_row = len(first) == 2 and first[0] == 1 < first[1]
    return one_row or reading.pool is not None or any(tuple(shape) != tuple(first) for shape in shapes)


def pooling_fault(shape: Shape, reading: Reading) -> tuple[str, str] | None:
    """(finding, remedy) where the user has to say how a vector is made of an item of this shape; None where nothing is open."""
    if len(shape) == 3 and reading.layer is None:
        remedy = "Write 'FILE?layer=0&pool=mean' for the mean of the rows of the first layer."
        return f"each item has {shape[0]} layers of rows: shape {tuple(shape)}", remedy
    if len(shape) == 3 and not 0 <= (reading.layer or 0) < shape[0]:
        return f"each item has {shape[0]} layers", f"Write 'FILE?layer=0&pool=mean', or another one up to layer={shape[0] - 1}."
    if len(shape) > 1 and shape[0] > 1 and reading.pool is None:
        remedy = "Write --pool mean to make one vector of them, or --pool first or last."
        return f"each item has rows of its own, such as residues: shape {tuple(shape)}", remedy
    return None


def pooled(values: np.ndarray, reading: Reading) -> np.ndarray:
    """(d,) the vector of one item: itself, or made of its rows (L, d), those of one of its layers (layers, L, d)."""
    if values.ndim == 1:
        return values
    rows = values[reading.layer or 0] if values.ndim == 3 else values
    if reading.pool in ("first", "last") or len(rows) == 1:
        return np.asarray(rows[-1 if reading.pool == "last" else 0])
    return np.asarray(rows.mean(axis=0, dtype=np.float64).astype(np.result_type(rows.dtype, np.float32)))


def of_arrays(path: Path, arrays: Sequence[Array], size: int, reading: Reading) -> Found | None:
    """One vector for each array of a file, with their names as ids; None where the arrays are none of items.

    size: bytes of the file. Raises DataError where the user has to say how to pool.
    """
    items = [array for array in arrays if role(array.name) is None]
    if len(items) < 2 or len(items) < len(arrays) or any(a.dtype is None or a.dtype.kind != "f" for a in items):
        return None
    if not are_items([array.shape for array in items], reading):
        return None
    if fault := pooling_fault(items[0].shape, reading):
        raise bad(path, *fault)
    width = max(len(array.name.encode()) for array in items)
    if fault_of_names := padding_fault(width * len(items), size):
        raise bad(path, fault_of_names, SHORTEN)
    first = pooled(items[0].read(), reading)
    x = spool((len(items), first.shape[-1]), first.dtype.newbyteorder("="))
    for i, array in enumerate(items):
        x[i] = pooled(array.read(), reading)
    names = np.array([array.name.encode(errors="replace") for array in items])
    return Found(x, columns={"key": names}, index="key", stored=first.dtype.name)

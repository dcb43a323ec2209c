"""Integers that stand for real numbers: the scale and the offset beside them are applied, and the user is told.

Names and meanings are those that quantisers write: `scale` and `zero_point` (ONNX, TensorFlow Lite, torch), `scale_factor` and
`add_offset` (netCDF's CF conventions, xarray), `ranges` (sentence-transformers: the smallest and the largest value of each
dimension, as numpy.float32 (2, d)).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from relrep_cli.numerics.spool import spool
from relrep_cli.store.columns import blocks
from relrep_cli.store.files import bad
from relrep_cli.store.found import Found

FACTOR = ("scale", "scales", "scale_factor")
AFTER = ("offset", "offsets", "add_offset")  # added after multiplying
BEFORE = ("zero_point", "zero_points")  # subtracted before multiplying
RANGES = ("ranges",)
NAMES = {*FACTOR, *AFTER, *BEFORE, *RANGES}
ONE_BYTE = {"int8": 128, "uint8": 0}  # what is added so that the smallest number is 0


def is_scaling(name: str) -> bool:
    """Whether an array of this name says what integers beside it stand for."""
    return name.strip().lower() in NAMES


def is_complete(names: Iterable[str]) -> bool:
    """Whether one of these names is enough to imply a scale. `offset` alone is not: it may be a position in a text."""
    return any(name.strip().lower() in (*FACTOR, *RANGES, "add_offset") for name in names)


def is_scaling_shape(shape: tuple[int, ...], n: int, d: int) -> bool:
    """Whether an array of this shape can hold a value for all numbers, for each of n rows or of d columns, or their ranges."""
    return shape in ((), (1,), (1, 1), (n,), (n, 1), (d,), (1, d), (2, d))


def scaled(path: Path, content: Found) -> Found:
    """`content` with the numbers that its integers stand for. Raises DataError where it is not clear which scale is whose."""
    given = {**content.scaling, **{name: v for name, v in content.columns.items() if is_scaling(name)}}
    if not is_complete(given) or not content.stored or np.dtype(content.stored).kind not in "iu":
        return replace(content, scaling={})
    n, d = content.x.shape
    names = " and ".join(sorted(given))
    parts = {name: _fitted(path, name, values, n, d) for name, values in given.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        factor, shift = _factor_and_offset(path, content.stored, parts)
    kind = np.dtype(np.float32 if np.dtype(content.stored).itemsize <= 2 else np.float64)
    x = spool((n, d), kind)
    for rows in blocks(n, 16 * d, content.x, x):
        with np.errstate(over="ignore", invalid="ignore"):  # said below
            x[rows] = content.x[rows] * _of(factor, rows, n) + _of(shift, rows, n)
        if not np.isfinite(x[rows]).all():
            finding = (
                f"the numbers that its {content.stored} stands for, by {' and '.join(sorted(parts))}, do not fit {kind.name}"
            )
            raise bad(path, finding, "Correct the scale.")
    note = f"{content.stored} is read as the numbers that it stands for, by {names}."
    columns = {name: values for name, values in content.columns.items() if name not in parts}
    return replace(content, x=x, columns=columns, scaling={}, stored="", notes=(*content.notes, note))


def _fitted(path: Path, name: str, values: np.ndarray, n: int, d: int) -> np.ndarray:
    """`values` as floats (1, 1), (n, 1) or (1, d), or (2, d) for ranges."""
    shape = values.shape
    if values.dtype.kind == "S" and np.char.isnumeric(np.char.lstrip(values, b"-").astype("U")).all():
        values = values.astype(np.float64)  # whole numbers of tables come as text
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise bad(path, f"holds no finite numbers, and its name says that it scales the vectors: {name}", "Rename it.", name)
    values = np.asarray(values, np.float64)
    if name.strip().lower() in RANGES:
        if shape == (2, d):
            return values
        raise bad(path, f"shape {shape}; ranges of {d} dimensions have the shape (2, {d})", "Write them so.", name)
    if values.size == 1:
        return values.reshape(1, 1)
    if shape == (n,) and n == d:
        finding = f"its {n} values may be those of the rows or of the columns"
        raise bad(path, finding, f"Write it with the shape ({n}, 1) for rows, or (1, {d}) for columns.", name)
    if shape in ((n,), (n, 1)):
        return values.reshape(n, 1)
    if shape in ((d,), (1, d)):
        return values.reshape(1, d)
    finding = f"shape {shape}; a scale has one value, {n} for the rows, or {d} for the columns"
    raise bad(path, finding, "Give it such a shape, or another name if it is not a scale.", name)


def _factor_and_offset(path: Path, stored: str, parts: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The factor and the offset of integers. Raises DataError if two arrays give the same quantity."""
    one: dict[str, np.ndarray] = {}
    for meaning, names in (("factor", FACTOR), ("after", AFTER), ("before", BEFORE), ("ranges", RANGES)):
        known = [name for name in parts if name.strip().lower() in names]
        if len(known) > 1:
            raise bad(path, f"{known[0]} and {known[1]} both scale its integers", "Keep one.")
        if known:
            one[meaning] = parts[known[0]]
    if "ranges" in one:
        if len(one) > 1 or stored not in ONE_BYTE:
            raise bad(path, f"ranges go with int8 or uint8 and no scale, and it holds {stored}", "Keep one.")
        low, high = one["ranges"]
        step = ((high - low) / 255).reshape(1, -1)
        return step, low.reshape(1, -1) + ONE_BYTE[stored] * step
    factor = one.get("factor", np.ones((1, 1)))
    return factor, one.get("after", np.zeros((1, 1))) - one.get("before", np.zeros((1, 1))) * factor


def _of(values: np.ndarray, rows: slice, n: int) -> np.ndarray:
    """The part of a factor or a summand that belongs to these rows."""
    return values[rows] if len(values) == n and n > 1 else values

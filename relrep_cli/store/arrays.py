"""Choosing and converting arrays that a file names: what .npy, .npz and .safetensors share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from math import prod
from pathlib import Path

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.blocks import release
from relrep_cli.numerics.spool import spool
from relrep_cli.store.column_names import STRONG, is_id_name, role
from relrep_cli.store.columns import blocks
from relrep_cli.store.files import bad
from relrep_cli.store.found import Found
from relrep_cli.store.reading import Reading
from relrep_cli.store.scaling import is_complete, is_scaling, is_scaling_shape
from relrep_cli.store.table_columns import PREFERRED

SIBLINGS = 16  # columns beside an embedding that are looked at though no name or option asks for them
FEW = 16  # columns that are read at once where each lies in a piece
EXACT = 2.0**53  # integers beyond are not float64
EVERY = "*"  # the member that asks for the names of all embeddings


@dataclass(frozen=True)
class Array:
    """An array in a file, known by its header alone. dtype is None for types that relrep does not read."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype | None
    kind: str  # the type, as a message names it
    read: Callable[[], np.ndarray]
    scaling: Mapping[str, np.ndarray] = field(default_factory=dict)  # attributes that say what its integers stand for
    remedy: str = ""  # how to save it as one that relrep reads, where it does not

    @property
    def is_embedding(self) -> bool:
        return (
            len(matrix_shape(self.shape)) == 2 and all(self.shape) and self.dtype is not None and target(self.dtype) is not None
        )

    @property
    def is_whole(self) -> bool:
        return self.dtype is not None and self.dtype.kind in "iu"

    @property
    def is_number(self) -> bool:
        return self.dtype is not None and self.dtype.kind in "iuf"


def matrix_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape without axes of length 1, where two others are left: (n, 1, d) is (n, d).

    >>> matrix_shape((40, 1, 6)), matrix_shape((1, 6)), matrix_shape((1, 1, 6)), matrix_shape((3, 5, 6))
    ((40, 6), (1, 6), (1, 6), (3, 5, 6))
    """
    longer = [size for size in shape if size != 1]
    if len(shape) <= 2 or len(longer) > 2:
        return tuple(shape)
    return tuple(longer) if len(longer) == 2 else (1, *longer) if longer else (1, 1)


def without_single_axes(shape: Sequence[int]) -> tuple[str, ...]:
    """The note for a user whose array `matrix_shape` gives another shape."""
    kept = matrix_shape(shape)
    return () if len(kept) == len(shape) else (f"its axes of length 1 are left out: {tuple(shape)} is read as {kept}.",)


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
        raise bad(
            path,
            f"dtype {array.kind}; relrep reads float16, float32, float64 and integers",
            array.remedy or "Convert it.",
            member,
        )
    if len(matrix_shape(array.shape)) != 2:
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
            raise bad(path, "holds integers of 2^53 or more, which floats cannot hold exactly", "Are these ids?", member)
    return out


def _columns_at_once(values: np.ndarray) -> Iterator[slice]:
    """All columns; a few at a time where they lie one after the other, since each begins elsewhere in the file."""
    step = FEW if values.flags.f_contiguous else values.shape[1]
    for start in range(0, values.shape[1], step):
        yield slice(start, start + step)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits as float32, exactly: a bfloat16 is the upper half of a float32."""
    out = spool(bits.shape, np.float32)
    if not bits.ndim:
        out[()] = (bits.astype(np.uint32) << 16).view(np.float32)
        return out
    for rows in blocks(len(bits), 4 * prod(bits.shape[1:]), bits, out):
        out[rows] = (bits[rows].astype(np.uint32) << 16).view(np.float32)
    return out


class Several(DataError):
    """A file holds several embeddings; `names` are theirs."""

    def __init__(self, finding: str, remedy: str = "", *, file: str = "", place: str = "", names: Sequence[str] = ()) -> None:
        super().__init__(finding, remedy, file=file, place=place)
        self.names = tuple(names)


def choose(path: Path, arrays: Sequence[Array], member: str | None, noun: str = "array") -> Array:
    """The array that `member` names, or without one the only embedding, or the only one with a usual name.

    Raises DataError that lists what there is; for the member EVERY always, with the names of all embeddings.
    """
    fit = [a for a in arrays if a.is_embedding and role(a.name) is None and not is_scaling(a.name)]
    if member == EVERY and fit:
        raise Several("holds several embeddings", file=str(path), names=[a.name for a in fit])
    if member is not None:
        named = [array for array in arrays if array.name == member]
        if not named:
            remedy = f"Write {printable(str(path), 1000)}::{printable(arrays[0].name)}." if arrays else "Name another file."
            raise bad(path, f"no {noun} of this name. Found {listed(arrays)}", remedy, member)
        return named[0]
    usual = [array for array in fit if array.name.lower() in PREFERRED]
    for group in (fit, usual):
        if len(group) == 1:
            return group[0]
    if not fit:
        raise bad(
            path,
            f"no embedding here, that is, no (items, dimensions) {noun} of numbers. Found {listed(arrays)}",
            next((a.remedy for a in arrays if a.remedy), "Give a file that holds one."),
        )
    shown = printable(str(path), 1000)
    remedy = f"Write {shown}::{printable(fit[0].name)}. compare and evaluate take all of them: '{shown}::{EVERY}'."
    raise Several(f"which {noun}? Found {listed(fit)}", remedy, file=shown, names=[a.name for a in fit])


def listed(arrays: Sequence[Array], most: int = 6) -> str:
    """Names and shapes for a message, the first few."""
    more = [f"{len(arrays) - most} more"] if len(arrays) > most else []
    return ", ".join([*map(_described, arrays[:most]), *more]) or "nothing"


def _described(array: Array) -> str:
    shape = array.shape if len(array.shape) < 6 else f"({len(array.shape)}-D)"
    return f"{printable(array.name, 40)} {shape}" + (f" of {array.kind}" if array.dtype is None else "")


def content_of(path: Path, arrays: Sequence[Array], member: str | None, reading: Reading, noun: str = "array") -> Found:
    """The chosen array, and the arrays beside it that have a value for each of its rows. Raises DataError."""
    array = choose(path, [a for a in arrays if a.name not in reading.named.values()], member, noun)
    check_embedding(path, array, array.name)
    others = [a for a in arrays if a is not array]
    n, d = matrix_shape(array.shape)[:: -1 if reading.transpose else 1]
    beside = [a for a in others if array.is_whole and is_scaling(a.name) and a.is_number and is_scaling_shape(a.shape, n, d)]
    beside = beside if is_complete([*array.scaling, *(a.name for a in beside)]) else []
    scaling = {**array.scaling, **{a.name: np.array(a.read()) for a in beside}}
    columns = _columns(path, array, [a for a in others if a not in beside], n, reading)
    return replace(matrix(path, array, array.name, reading), columns=columns, scaling=scaling)


def matrix(path: Path, array: Array, member: str | None, reading: Reading) -> Found:
    """The numbers of an array, (n, d). Raises DataError."""
    values = array.read().reshape(matrix_shape(array.shape))
    x = real(path, values.T if reading.transpose else values, member)
    return Found(x, stored=values.dtype.name, notes=without_single_axes(array.shape), layout="array")


def _columns(path: Path, array: Array, others: Sequence[Array], n: int, reading: Reading) -> dict[str, np.ndarray]:
    """The arrays with n values that may be ids, labels or splits. Raises DataError for one that is named and is of a kind
    that is not read, and for ids of another number than n.
    """
    columns: dict[str, np.ndarray] = {}
    taken = set(reading.named.values())
    along_the_other_axis: list[Array] = []
    for other in others:
        wanted = other.name in taken or role(other.name) is not None or is_id_name(other.name)
        if not _is_column(other, n):
            if _names_other_axis(array, other, reading):
                along_the_other_axis.append(other)
        elif wanted or (other.dtype is not None and other.dtype.kind in "iuSU" and len(columns) < SIBLINGS):
            columns[other.name] = _sibling(path, other)
    sure = [other for other in along_the_other_axis if other.name.strip().lower() in STRONG]
    if misfits := sure or (along_the_other_axis if not any(map(is_id_name, columns)) else []):
        raise misfit(path, misfits[0].name, misfits[0].shape[0], n, array.shape)
    return columns


def _names_other_axis(array: Array, other: Array, reading: Reading) -> bool:
    """Whether an array can only be the ids of another number of rows: by its name, or as texts along the other axis."""
    if not other.shape or prod(other.shape[1:]) != 1 or reading.by_position:
        return False
    texts = other.dtype is not None and other.dtype.kind in "SU" and is_id_name(other.name)
    return other.name.strip().lower() in STRONG or (texts and other.shape[0] in matrix_shape(array.shape))


def misfit(path: Path, name: str, count: int, n: int, shape: Sequence[int]) -> DataError:
    """The error for `count` ids beside n rows of an array of `shape`."""
    finding = f"{count} ids, but {n} rows"
    if count in matrix_shape(shape)[1:]:
        return bad(
            path,
            f"{finding}: the array of shape {tuple(shape)} looks transposed",
            "Write --transpose to read it so, or --by-position.",
            name,
        )
    return bad(path, finding, "Give every item one id.", name)


def _is_column(array: Array, n: int) -> bool:
    return array.shape[:1] == (n,) and prod(array.shape[1:]) == 1


def _sibling(path: Path, array: Array) -> np.ndarray:
    if array.dtype is None:
        raise bad(path, f"dtype {array.kind}; ids, labels and splits are text or numbers", "Save it as text.", array.name)
    return array.read().reshape(-1)

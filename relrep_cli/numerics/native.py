"""The kernels of kernels.c, compiled when relrep was installed: loading them costs a millisecond, numba's import half a second.

An install without a C compiler has none. Then numba compiles the same kernels, which give the same bits, or NumPy computes
without tiles; float16, permuted Gram matrices and exponentials have other ways in NumPy. RELREP_NATIVE=0 does without them,
RELREP_NUMBA=0 without any compiled kernel.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache, partial
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.numerics.panels import in_tiles

FILE = Path(__file__).with_name("native_kernels")
NUMBER, POINTER = ctypes.c_int64, ctypes.c_void_p
SIGNATURES: dict[str, tuple[Any, ...]] = {  # arrays by address, numbers of rows and columns
    "one_side": (POINTER, NUMBER, NUMBER, NUMBER, POINTER, POINTER, ctypes.c_int32, POINTER, POINTER, NUMBER, POINTER),
    "both_sides": (POINTER, *[NUMBER] * 4, POINTER, ctypes.c_int32, POINTER, POINTER, NUMBER, POINTER),
    "l1": (POINTER, NUMBER, NUMBER, NUMBER, POINTER, NUMBER, POINTER),
    "chebyshev": (POINTER, NUMBER, NUMBER, NUMBER, POINTER, NUMBER, POINTER),
    "two_largest": (POINTER, NUMBER, NUMBER, POINTER, POINTER, POINTER, POINTER),
    "add_rows": (POINTER, NUMBER, NUMBER, POINTER, POINTER),
    "exponentials": (POINTER, NUMBER, ctypes.c_double),
    "recede": (POINTER, NUMBER, NUMBER, POINTER, POINTER),
    "halves_are_finite": (POINTER, NUMBER),
    "converts_halves": (),
    "widen_halves": (POINTER, NUMBER, NUMBER, POINTER, POINTER),
    "round_to_halves": (POINTER, NUMBER, NUMBER, POINTER, POINTER),
    "permuted_grams": (POINTER, NUMBER, POINTER, NUMBER, POINTER, NUMBER, NUMBER, POINTER, POINTER),
}
RETURN_NUMBERS = ("recede", "halves_are_finite", "converts_halves")
VERSION = 5  # of kernels.c
JOINS = {"l1": np.add, "chebyshev": np.maximum}


def available() -> bool:
    """Whether the kernels are there and wanted."""
    return "0" not in (os.environ.get("RELREP_NATIVE"), os.environ.get("RELREP_NUMBA")) and _library() is not None


@cache
def _library() -> dict[str, Any] | None:
    """The functions by name, or None where they were not compiled."""
    for suffix in (*EXTENSION_SUFFIXES, ".so"):
        path = FILE.with_name(FILE.name + suffix)
        if path.exists():
            try:
                loaded = ctypes.CDLL(str(path))
                functions = {name: getattr(loaded, f"relrep_{name}") for name in SIGNATURES}
                fits = loaded.relrep_version() == VERSION
            except (OSError, AttributeError):  # of another machine, or of another version
                continue
            if not fits:
                continue
            for name, function in functions.items():
                function.argtypes, function.restype = SIGNATURES[name], NUMBER if name in RETURN_NUMBERS else None
            return functions
    return None


def _function(name: str) -> Any:
    functions = _library()
    assert functions is not None
    return functions[name]


def _at(array: np.ndarray) -> int:
    """The address of an array that begins there."""
    return int(array.__array_interface__["data"][0])


def distance(name: str) -> Any:
    """The kernel `l1` or `chebyshev` of float32 x (b, d), panel (d, w) and out (b, m); see panels.py. `recede` as below."""
    if name == "recede":
        return recede
    function = _function(name)

    def tile(x: np.ndarray, panel: np.ndarray, total: np.ndarray) -> None:
        stride = x.strides[0] // x.itemsize
        function(_at(x), x.shape[0], x.shape[1], stride, _at(panel), panel.shape[1], _at(total))

    return partial(in_tiles, tile, JOINS[name])


def recede(x: np.ndarray, pick: np.ndarray, nearest: np.ndarray) -> int:
    """Update `nearest` (n,), the squared distance of each row of x (n, d) to the nearest chosen point, with a new one (1, d).

    Returns the row with the largest distance.
    """
    return int(_function("recede")(_at(x), *x.shape, _at(pick), _at(nearest)))


def two_largest(values: np.ndarray, half: np.ndarray, place: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """For each row of float32 values (n, c), less half (c,): the place of the largest value, this value, and the next one."""
    _function("two_largest")(_at(values), *values.shape, _at(half), _at(place), _at(first), _at(second))


def add_rows(x: np.ndarray, labels: np.ndarray, sums: np.ndarray) -> None:
    """Add each row of float32 x (n, d) to the row of float64 sums (c, d) that its label (n,), int64, names."""
    _function("add_rows")(_at(x), *x.shape, _at(labels), _at(sums))


def exponentials(values: np.ndarray, factor: float) -> None:
    """Replace each of the values, float64 and contiguous, by exp(value * factor); no product is above 0."""
    _function("exponentials")(_at(values), values.size, factor)


def one_side(
    tile: np.ndarray, first: int, half: np.ndarray, other: np.ndarray, near: np.ndarray, rows: np.ndarray, least: np.ndarray
) -> None:
    """Update the heaps of the rows of a tile with its columns; see neighbors/scans.py."""
    plain = not (half.any() or other.any())
    heaps = (_at(near), _at(rows), near.shape[1], _at(least))
    _function("one_side")(_at(tile), *tile.shape, first, _at(half), _at(other), plain, *heaps)


def both_sides(
    tile: np.ndarray, a: int, b: int, half: np.ndarray, near: np.ndarray, rows: np.ndarray, least: np.ndarray
) -> None:
    """Update the heaps of the rows and of the columns of a tile, rows of one space; see neighbors/scans.py."""
    plain = not (half[a : a + tile.shape[0]].any() or half[b : b + tile.shape[1]].any())
    heaps = (_at(near), _at(rows), near.shape[1], _at(least))
    _function("both_sides")(_at(tile), *tile.shape, a, b, _at(half), plain, *heaps)


def halves_are_finite(x: np.ndarray) -> bool:
    """Whether no number of x, float16 and contiguous, is NaN or infinite."""
    return bool(_function("halves_are_finite")(_at(x), x.size))


def converts_halves() -> bool:
    """Whether this processor converts float16 by itself, so that `widen_halves` and `round_to_halves` work."""
    return available() and bool(_function("converts_halves")())


def widen_halves(x: np.ndarray, less: np.ndarray, out: np.ndarray) -> None:
    """Write x - less into out (n, d) float32, where x (n, d) is float16 and less (d,) float32. All are contiguous."""
    _function("widen_halves")(_at(x), *x.shape, _at(less), _at(out))


def round_to_halves(x: np.ndarray, more: np.ndarray, out: np.ndarray) -> None:
    """Write x + more into out (n, d) float16, where x (n, d) and more (d,) are float32. All are contiguous."""
    _function("round_to_halves")(_at(x), *x.shape, _at(more), _at(out))


PADDED = 16  # LANES of kernels.c


def permuted_grams(gram: np.ndarray, orders: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The sum over i > j of gram[order[i], order[j]] * other[i, j] for each of the others and orders: (others, orders).

    gram: (n, n) float64, symmetric. orders: (m, n) int32. others: (count, size), each packed as permuted_grams.py does it.
    """
    out, room = np.empty((len(others), len(orders))), np.empty(len(gram) + PADDED)
    arrays = (_at(gram), len(gram), _at(orders), len(orders), _at(others), others.shape[1], len(others), _at(room), _at(out))
    _function("permuted_grams")(*arrays)
    return out

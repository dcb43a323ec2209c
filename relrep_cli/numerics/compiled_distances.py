"""Distances that a matrix product cannot give, compiled with numba. Only `distances` imports this: numba takes half a second.

panels.py says which arrays they take. They serve where the kernels in C (native.py) are missing, and for float64. The
innermost loops run along the anchors. So each value is summed in the same order anywhere in a block, and the compiler can use
vector registers without reordering sums (fastmath). The loops use no slices, because numba then compiles in half the time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from numba import float32, float64, int64, types

from relrep_cli.numerics import compiling
from relrep_cli.numerics.panels import STEP, in_tiles

REALS: dict[np.dtype, Any] = {np.dtype(np.float32): float32, np.dtype(np.float64): float64}


@cache
def compiled(function: Callable[..., Any], dtype: np.dtype) -> Callable[..., Any]:
    """`function` for arrays of one dtype."""
    real = REALS[dtype]
    rows = types.Array(real, 2, "C", readonly=True)  # memory maps are read-only
    fast: Any = {"reassoc"} if function in SUMS_OF_A_ROW else False
    kernel = compiling.compiled(function, SIGNATURES[function](real, rows), nogil=True, fastmath=fast)
    return partial(in_tiles, kernel, JOINS[function]) if function in JOINS else kernel


def l1(x, panel, total):  # type: ignore[no-untyped-def]
    """Sums of |x - anchor| over the dimensions of x (rows, depth) into total (rows, w)."""
    for i in range(x.shape[0]):
        for j in range(panel.shape[1]):
            total[i, j] = 0
    for k in range(0, x.shape[1], STEP):
        for i in range(x.shape[0]):
            a, b, c, e = x[i, k], x[i, k + 1], x[i, k + 2], x[i, k + 3]
            f, g, h, u = x[i, k + 4], x[i, k + 5], x[i, k + 6], x[i, k + 7]
            for j in range(panel.shape[1]):
                lower = (abs(a - panel[k, j]) + abs(b - panel[k + 1, j])) + (
                    abs(c - panel[k + 2, j]) + abs(e - panel[k + 3, j])
                )
                upper = (abs(f - panel[k + 4, j]) + abs(g - panel[k + 5, j])) + (
                    abs(h - panel[k + 6, j]) + abs(u - panel[k + 7, j])
                )
                total[i, j] += lower + upper


def chebyshev(x, panel, total):  # type: ignore[no-untyped-def]
    """The largest |x - anchor| over the dimensions of x (rows, depth) into total (rows, w)."""
    for i in range(x.shape[0]):
        for j in range(panel.shape[1]):
            total[i, j] = 0
    for k in range(0, x.shape[1], STEP):
        for i in range(x.shape[0]):
            a, b, c, e = x[i, k], x[i, k + 1], x[i, k + 2], x[i, k + 3]
            f, g, h, u = x[i, k + 4], x[i, k + 5], x[i, k + 6], x[i, k + 7]
            for j in range(panel.shape[1]):
                lower = max(
                    max(abs(a - panel[k, j]), abs(b - panel[k + 1, j])),
                    max(abs(c - panel[k + 2, j]), abs(e - panel[k + 3, j])),
                )
                upper = max(
                    max(abs(f - panel[k + 4, j]), abs(g - panel[k + 5, j])),
                    max(abs(h - panel[k + 6, j]), abs(u - panel[k + 7, j])),
                )
                total[i, j] = max(total[i, j], max(lower, upper))


def minkowski(x, panel, out, p, whole):  # type: ignore[no-untyped-def]
    """Turn the largest |x - anchor| in `out` into the Minkowski distance of order p; terms are scaled by the largest.

    whole: p when it is an integer, for which powers are computed as products; else 0.
    """
    d, width = panel.shape
    scale, base, term = np.zeros(width, x.dtype), np.empty(width, x.dtype), np.empty(width, x.dtype)
    total = np.empty(width, np.float64)
    least = np.finfo(x.dtype).tiny
    for i in range(len(x)):
        for j in range(width):
            total[j] = 0
        for j in range(out.shape[1]):
            scale[j] = 1 / out[i, j] if out[i, j] > least else 0
        for k in range(d):
            for j in range(width):
                base[j] = abs(x[i, k] - panel[k, j]) * scale[j]
                term[j] = 1
            left = whole
            while left:
                if left & 1:
                    for j in range(width):
                        term[j] *= base[j]
                left >>= 1
                if left:
                    for j in range(width):
                        base[j] *= base[j]
            if not whole:
                for j in range(width):
                    term[j] = base[j] ** p
            for j in range(width):
                total[j] += term[j]
        for j in range(out.shape[1]):
            out[i, j] *= max(total[j], 1) ** (1 / p)  # the largest counts for 1 even where it has no reciprocal


def recede(x, pick, nearest):  # type: ignore[no-untyped-def]
    """Update `nearest` (n,), the squared distance of each row to the nearest chosen point, with the new point `pick` (1, d).

    Returns the row with the largest distance. x is read once and no array of its size is written, so memory bandwidth is the
    only limit.
    """
    farthest = 0
    for i in range(len(x)):
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            gap = x[i, j] - pick[0, j]
            total += gap * gap
        if total < nearest[i]:
            nearest[i] = total
        if nearest[i] > nearest[farthest]:
            farthest = i
    return farthest


SIGNATURES: dict[Callable[..., Any], Callable[[Any, Any], Any]] = {
    l1: lambda real, rows: types.void(rows.copy(layout="A"), rows, real[:, ::1]),
    chebyshev: lambda real, rows: types.void(rows.copy(layout="A"), rows, real[:, ::1]),
    minkowski: lambda real, rows: types.void(rows, rows, real[:, :], real, int64),
    recede: lambda real, rows: int64(rows, rows, real[::1]),
}
JOINS: dict[Callable[..., Any], np.ufunc] = {l1: np.add, chebyshev: np.maximum}
SUMS_OF_A_ROW = {recede}  # whose order the compiler may choose, once for all rows, or it could not use vector registers

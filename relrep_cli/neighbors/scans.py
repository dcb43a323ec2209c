"""Compiled scans that update heaps with a tile of closeness values; imported only when needed, as numba takes half a second.

A group of values is compared with the threshold in one vector operation; only a group with a hit is scanned one by one. The
compiler needs slices of a fixed length for this.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from relrep_cli.numerics import compiling

GROUP = 32

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise ImportError("numba may not compile")

TILE = numba.types.Array(numba.float32, 2, "C")
ROWS, FLOATS, START = numba.types.Array(numba.int32, 2, "C"), numba.float32[::1], numba.int64


def _compiled(*signature: Any) -> Any:
    """Compile a function for these types when it is first called."""
    return lambda function: compiling.when_called(function, numba.void(*signature), nogil=True)


@numba.njit(nogil=True)  # compiled with those that call it, and kept with them
def _replace_least(near, rows, value, row):  # type: ignore[no-untyped-def]
    """Replace the first and least element of the heap `near` (c,), and its row in `rows` (c,), by a new value and row."""
    place, child = 0, 1
    while child < len(near):
        if child + 1 < len(near) and near[child + 1] < near[child]:
            child += 1
        if near[child] >= value:
            break
        near[place], rows[place] = near[child], rows[child]
        place, child = child, 2 * child + 1
    near[place], rows[place] = value, row


@_compiled(TILE, START, FLOATS, FLOATS, TILE, ROWS, FLOATS)
def one_side(tile, first, half, other, near, rows, least):  # type: ignore[no-untyped-def]
    """Update the heaps of the rows of a tile (a, b) with its columns, which are base rows from `first` on.

    half (a,) and other (b,) are subtracted from the tile. near, rows: (a, c) heaps. least: (a,) their first elements.
    """
    for i in range(tile.shape[0]):
        for start in range(0, tile.shape[1] - GROUP + 1, GROUP):
            line, sizes = tile[i, start : start + GROUP], other[start : start + GROUP]
            own, bar, hit = half[i], least[i], np.uint8(0)
            for j in range(GROUP):
                hit |= np.uint8(line[j] - own - sizes[j] > bar)
            if hit:
                for j in range(GROUP):
                    value = line[j] - own - sizes[j]
                    if value > least[i]:
                        _replace_least(near[i], rows[i], value, np.int32(first + start + j))
                        least[i] = near[i, 0]
        for j in range(tile.shape[1] // GROUP * GROUP, tile.shape[1]):
            value = tile[i, j] - half[i] - other[j]
            if value > least[i]:
                _replace_least(near[i], rows[i], value, np.int32(first + j))
                least[i] = near[i, 0]


@numba.njit(nogil=True)
def _meet(near, rows, least, value, i, j):  # type: ignore[no-untyped-def]
    """Update the heaps of rows i and j with each other, at closeness `value`."""
    if value > least[i]:
        _replace_least(near[i], rows[i], value, np.int32(j))
        least[i] = near[i, 0]
    if value > least[j]:
        _replace_least(near[j], rows[j], value, np.int32(i))
        least[j] = near[j, 0]


@_compiled(TILE, START, START, FLOATS, TILE, ROWS, FLOATS)
def both_sides(tile, a, b, half, near, rows, least):  # type: ignore[no-untyped-def]
    """Update the heaps of the rows and of the columns of a tile, which are rows from `a` and from `b` on of one space.

    half: (n,) subtracted on both sides. near, rows: (n, c) heaps. least: (n,) their first elements.
    """
    for i in range(a, a + tile.shape[0]):
        for start in range(0, tile.shape[1] - GROUP + 1, GROUP):
            from_b = b + start
            line = tile[i - a, start : start + GROUP]
            sizes, bars = half[from_b : from_b + GROUP], least[from_b : from_b + GROUP]
            own, bar, hit = half[i], least[i], np.uint8(0)
            for j in range(GROUP):
                value = line[j] - own - sizes[j]
                hit |= np.uint8(value > bar) | np.uint8(value > bars[j])
            if hit:
                for j in range(GROUP):
                    _meet(near, rows, least, line[j] - own - sizes[j], i, from_b + j)
        for j in range(tile.shape[1] // GROUP * GROUP, tile.shape[1]):
            _meet(near, rows, least, tile[i - a, j] - half[i] - half[b + j], i, b + j)

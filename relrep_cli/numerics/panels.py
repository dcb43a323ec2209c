"""How distances that no matrix product gives are cut into pieces for a compiled kernel, by numba or in C.

A kernel takes x (b, d), a panel (d, w) with anchors in columns, and out (b, m), m <= w. d is a multiple of STEP and w of LANES,
padded with zeros. Pieces are the same for every kernel and every number of threads, so sums have the same order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEP = 8  # dimensions folded into a running total at once: a total is loaded and stored once for 8 terms
LANES = 16  # float32 in the widest register
WIDTH = 512  # columns of a panel: STEP of its rows fit into the first cache
ROWS = 128  # of running totals, which fit into the second
DEPTH = 768  # dimensions after which a running total is put away, so that rounding errors do not grow with d


def in_tiles(kernel: Callable[..., None], join: np.ufunc, x: np.ndarray, panel: np.ndarray, out: np.ndarray) -> None:
    """Run a kernel on few rows and dimensions at a time, and join its results in `out`.

    These loops are here, not in the kernels, which take numba half the time to compile without them.
    """
    room, m = np.empty((min(len(x), ROWS), panel.shape[1]), x.dtype), out.shape[1]
    for top in range(0, len(x), ROWS):
        into = out[top : top + ROWS]
        total = room[: len(into)]
        for start in range(0, x.shape[1], DEPTH):
            kernel(x[top : top + ROWS, start : start + DEPTH], panel[start : start + DEPTH], total)
            if start:
                join(into, total[:, :m], out=into)
            else:
                into[:] = total[:, :m]

"""Rows that are equal, found by hashes of their bytes, so that no copy of the matrix is sorted."""

from __future__ import annotations

import numpy as np

from relrep_cli.numerics.blocks import row_blocks


def row_hashes(x: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each row of x (n, d) floats: equal rows have equal ones, and -0.0 equals 0.0.

    The hash is linear in the 16-bit words of the row, modulo 2^64, with odd random weights: two rows that differ share one with
    a probability below 2^-48.
    """
    out = np.empty(len(x), np.uint64)
    weights = np.random.default_rng(0).integers(1, 2**63, x.dtype.itemsize * x.shape[1] // 2, dtype=np.uint64) | np.uint64(1)
    for rows in row_blocks(*x.shape, x):
        block = np.ascontiguousarray(x[rows] + x.dtype.type(0))
        out[rows] = block.view(np.uint16).astype(np.uint64) @ weights
    return out


def first_of_equal_rows(x: np.ndarray) -> np.ndarray:
    """The numbers, ascending, of the rows of x (n, d) that equal no earlier row.

    >>> first_of_equal_rows(np.array([[1.0, 2], [0, 1], [1, 2], [-0.0, 1]])).tolist()
    [0, 1]
    """
    return np.sort(np.unique(row_hashes(x), return_index=True)[1])

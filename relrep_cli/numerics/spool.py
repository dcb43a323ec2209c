"""Arrays to fill: in memory when small, else in a temporary file that vanishes with the process."""

from __future__ import annotations

import os
import tempfile
from math import prod
from typing import Any

import numpy as np

IN_MEMORY = 32 << 20  # bytes; what is larger and cannot be mapped goes to an unlinked temporary file


def spool(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An empty array to fill: in memory when small, else mapped from a temporary file that vanishes with the process."""
    dtype = np.dtype(dtype)
    if prod(shape) * dtype.itemsize <= IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="relrep-") as file:
        os.posix_fallocate(file.fileno(), 0, prod(shape) * dtype.itemsize)
        return np.memmap(file, dtype, "r+", 0, shape)

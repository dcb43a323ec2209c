"""float16 to float32 and back, with a vector added on the way: by a compiled kernel where there is one, else by NumPy.

Both give the same bits. NumPy converts halves one by one, which costs half as much as their product with a 384 x 384 matrix.
"""

from __future__ import annotations

import numpy as np

from relrep_cli.numerics import native

MAGNITUDE, INFINITE = np.uint16(0x7FFF), np.uint16(0x7C00)  # bits of a float16 without its sign, and those of infinity


def are_finite(x: np.ndarray) -> bool:
    """Whether no number of x, float16, is NaN or infinite.

    >>> are_finite(np.array([1.0, 65504.0], np.float16)), are_finite(np.array([1.0, np.inf], np.float16))
    (True, False)
    """
    if native.available() and x.flags.c_contiguous:
        return native.halves_are_finite(x)
    return bool(((x.view(np.uint16) & MAGNITUDE) < INFINITE).all())  # NumPy is several times faster with integers


def widened(x: np.ndarray, less: np.ndarray) -> np.ndarray:
    """x - less as float32, where x (n, d) is float16 and less (d,) float32.

    >>> widened(np.array([[1.0, 2.0]], np.float16), np.float32([0.5, 0.5])).tolist()
    [[0.5, 1.5]]
    """
    if not (native.converts_halves() and x.flags.c_contiguous and x.dtype == np.float16):  # other byte orders differ
        out = x.astype(np.float32)
        out -= less
        return out
    out = np.empty(x.shape, np.float32)
    native.widen_halves(x, np.ascontiguousarray(less, np.float32), out)
    return out


def halved(x: np.ndarray, more: np.ndarray) -> np.ndarray:
    """x + more as float16, where x (n, d) and more (d,) are float32. Sums that float16 cannot hold are infinite.

    >>> halved(np.float32([[1.0, 70000.0]]), np.float32([0.5, 0.0])).tolist()
    [[1.5, inf]]
    """
    if not (native.converts_halves() and x.flags.c_contiguous):
        with np.errstate(over="ignore"):
            return (x + more).astype(np.float16)
    out = np.empty(x.shape, np.float16)
    native.round_to_halves(x, np.ascontiguousarray(more, np.float32), out)
    return out

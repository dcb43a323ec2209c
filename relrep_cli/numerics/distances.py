"""The numerical kernels behind the similarity functions: plain arrays in, results into `out`.

x is (n, d), anchors (m, d) and out (n, m), all C-contiguous and of one dtype, float32 or float64. A result never depends on
the number of threads. Distances that no matrix product gives have kernels in C (native.py) or compiled by numba, and depend on
their row and anchor alone; where both are absent, or RELREP_NUMBA is 0, NumPy computes the same, many times slower. Cosine and
Euclidean distance come from a matrix product, whose last bits may depend on where a row stands in its block: BLAS kernels of
some processors round rows and columns differently by position. docs/reliability.md states how far.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from math import frexp
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics import native
from relrep_cli.numerics.panels import LANES, STEP, WIDTH
from relrep_cli.numerics.threads import run_all

LEAST, MOST = 2.0**-80, 2.0**120  # squares between them have neither overflown nor lost what matters, even in float32
REPAIR = 3e-2  # squared distance over squared lengths below which the product form has lost digits
GATHERED = 1 << 20  # numbers that are copied at once to repair them
WHOLE = 64  # up to here powers are products; beyond, `pow` is as fast
PIECE = 1 << 27  # terms that one thread computes between two looks at signals, some 5 ms


def cosine(x: np.ndarray, unit_anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Compute the cosines (n, m) between x and anchors of length 1 (see `unit`); 0 when either is the zero vector.

    >>> cosine(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]), np.empty((1, 2))).tolist()
    [[0.6, 0.0]]
    """
    with np.errstate(all="ignore"):
        squares = np.vecdot(x, x)
        np.matmul(x, unit_anchors.T, out=out)
        far = np.flatnonzero(~((squares > LEAST) & (squares < MOST)))
        squares[far] = 1
        out /= np.sqrt(squares)[:, None]
    if len(far):
        out[far] = unit(x[far]) @ unit_anchors.T
    return out


def unit(x: np.ndarray) -> np.ndarray:
    """Scale the rows of x (n, d) to length 1; zero rows stay zero. No square over- or underflows.

    >>> unit(np.array([[3e200, 4e200], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    peak = np.abs(x).max(1)[:, None]
    with np.errstate(under="ignore"):
        scaled = x / (peak + (peak == 0))
        scaled /= np.sqrt(np.vecdot(scaled, scaled)[:, None]) + (peak == 0)
    return scaled


def euclidean(x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Compute Euclidean distances (n, m) with a matrix product; small ones, which would be inexact, from differences.

    >>> euclidean(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 4.0]]), np.empty((1, 2))).tolist()
    [[5.0, 0.0]]
    """
    with np.errstate(all="ignore"):
        sizes = _by_product(x, anchors, out)
        smallest, largest = sizes[0].min() + sizes[1].min(), max(sizes[0].max(), sizes[1].max())
    if smallest > LEAST and largest < MOST:
        return _repaired(x, anchors, sizes, out)
    measure = unit_of_measure(x, anchors)
    x, anchors = x * measure, anchors * measure
    _repaired(x, anchors, _by_product(x, anchors, out), out)
    out /= measure
    return out


def _by_product(x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Write squared distances to `out`; return squared lengths (n,) and (m,), all relative to the mean anchor for precision."""
    middle = anchors.mean(0)
    u, v = x - middle, anchors - middle
    sizes = np.vecdot(u, u), np.vecdot(v, v)
    v *= -2
    np.matmul(u, v.T, out=out)
    out += sizes[0][:, None]
    out += sizes[1]
    return sizes


def _repaired(x: np.ndarray, anchors: np.ndarray, sizes: tuple[np.ndarray, np.ndarray], out: np.ndarray) -> np.ndarray:
    """Take square roots in place; recompute from differences those that are small compared with the lengths."""
    np.sqrt(np.maximum(out, 0, out=out), out=out)
    some = np.flatnonzero(out.min(1) ** 2 < REPAIR * (sizes[0] + sizes[1].max()))
    rows, columns = np.nonzero(np.square(out[some]) < REPAIR * (sizes[0][some, None] + sizes[1]))
    at_once = max(1, GATHERED // x.shape[1])
    for start in range(0, len(rows), at_once):
        r, c = some[rows[start : start + at_once]], columns[start : start + at_once]
        out[r, c] = _lengths(x[r] - anchors[c])
    return out


def _lengths(x: np.ndarray) -> np.ndarray:
    """(n,) lengths of rows, whatever their scale."""
    peak = np.abs(x).max(1)
    with np.errstate(under="ignore"):
        x /= (peak + (peak == 0))[:, None]
        return peak * np.sqrt(np.vecdot(x, x))


def unit_of_measure(x: Any, anchors: Any) -> float:
    """Return the power of two that scales the largest entry to about 2^50, so that squares fit float32."""
    peak = max(float(abs(side).max()) for side in (x, anchors))
    return 2.0 ** min(50 - frexp(peak)[1], 126)


def l1(x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Sums of absolute differences (n, m).

    >>> l1(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 4.0]]), np.empty((1, 2))).tolist()
    [[7.0, 0.0]]
    """
    return _distances(lambda gap: gap.sum(1), "l1", (), x, anchors, out)


def chebyshev(x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Largest absolute differences (n, m).

    >>> chebyshev(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 4.0]]), np.empty((1, 2))).tolist()
    [[4.0, 0.0]]
    """
    return _distances(lambda gap: gap.max(1), "chebyshev", (), x, anchors, out)


def lp(x: np.ndarray, anchors: np.ndarray, p: float, out: np.ndarray) -> np.ndarray:
    """Minkowski distances of order p >= 1 (n, m), infinity included.

    Powers are taken of shares of the largest difference, so that none over- or underflows.

    >>> f"{lp(np.array([[3e200, 4e200]]), np.zeros((1, 2)), 2, np.empty((1, 1))).item():.9g}"
    '5e+200'
    """
    if p == 1:
        return l1(x, anchors, out)
    chebyshev(x, anchors, out)
    if p == float("inf"):
        return out
    whole = int(p) if p == int(p) and p <= WHOLE else 0
    return _distances(partial(_norms, p=p), "minkowski", (p, whole), x, anchors, out)


def _distances(
    plain: Callable[[np.ndarray], np.ndarray],
    name: str,
    extra: tuple[Any, ...],
    x: np.ndarray,
    anchors: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    """By the kernel `name` of the compiled ones, or by `plain` where there are none."""
    kernel = _compiled(name, out.dtype)
    if kernel is None:
        return _by_anchor(plain, x, anchors, out)
    return _tiled(lambda *arrays: kernel(*arrays, *extra), x, anchors, out)


def _compiled(name: str, dtype: np.dtype) -> Any:
    """The kernel `name` for arrays of one dtype, in C or by numba; None where neither is there."""
    if os.environ.get("RELREP_NUMBA") == "0":
        return None
    if dtype == np.float32 and name in native.SIGNATURES and native.available():
        return native.distance(name)
    try:
        module = import_module("relrep_cli.numerics.compiled_distances")
    except ImportError:
        return None
    return module.compiled(getattr(module, name), dtype)


def _tiled(kernel: Callable[..., None], x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Run a compiled kernel on pieces of x and panels of anchors."""
    padded = _padded(np.ascontiguousarray(anchors.T), STEP, LANES)
    lefts = range(0, len(anchors), WIDTH)
    panels = [np.ascontiguousarray(padded[:, left : left + WIDTH]) for left in lefts]
    rows = max(1, PIECE // padded.size)

    def piece(start: int) -> None:
        some, into = _padded(x[start : start + rows], 1, STEP), out[start : start + rows]
        for left, panel in zip(lefts, panels, strict=True):
            kernel(some, panel, into[:, left : left + WIDTH])

    run_all(piece, range(0, len(x), rows))
    return out


def _padded(a: np.ndarray, *multiples: int) -> np.ndarray:
    """`a` with zeros after its rows and columns, up to the next multiples."""
    missing = [-size % multiple for size, multiple in zip(a.shape, multiples, strict=True)]
    return np.pad(a, [(0, more) for more in missing]) if any(missing) else a


def _by_anchor(reduce: Callable[..., np.ndarray], x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Without a compiled kernel: reduce |x - anchor| (b, d) to (b,), one anchor and a few rows at a time."""
    rows = max(1, (1 << 16) // x.shape[1])
    for start in range(0, len(x), rows):
        check()
        some = x[start : start + rows]
        for anchor, column in zip(anchors, out[start : start + rows].T, strict=True):
            column[:] = reduce(np.abs(some - anchor))
    return out


def _norms(gap: np.ndarray, p: float) -> np.ndarray:
    """Minkowski norms (b,) of the rows of `gap`, which is not negative."""
    peak = gap.max(1)
    with np.errstate(under="ignore"):
        shares = gap / np.where(peak > 0, peak, 1)[:, None]
        return peak * (shares**p).sum(1).clip(1) ** (1 / p)


def recede(x: np.ndarray, pick: np.ndarray, gaps: np.ndarray) -> None:
    """Lower the gaps (n,) of the rows of x (n, d) to their squared distances from pick (1, d), where these are smaller."""
    kernel = _compiled("recede", x.dtype)
    if kernel is not None:
        kernel(x, pick, gaps)
        return
    rows = max(1, (1 << 16) // x.shape[1])
    for start in range(0, len(x), rows):
        gap = x[start : start + rows] - pick
        np.minimum(gaps[start : start + rows], np.vecdot(gap, gap), out=gaps[start : start + rows])


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows of float (n, d) scaled to length 1; zero rows stay zero, and no square over- or underflows."""
    peak = np.abs(x).max(1, keepdims=True)
    scaled = x / np.where(peak == 0, 1, peak)
    norm = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))[:, None]
    return scaled / np.where(norm == 0, 1, norm)

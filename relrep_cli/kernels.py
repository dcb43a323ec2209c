"""The numerical kernels behind the similarity functions: plain arrays in, results into `out`.

x is (n, d), anchors (m, d) and out (n, m), all C-contiguous and of one dtype, float32 or float64. A result depends on its
row and its anchor alone: never on the block around it or the number of threads. Distances that no matrix product gives
are compiled by numba; where it is absent, or RELREP_NUMBA is 0, NumPy computes the same, many times slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from relrep_cli.signals import check

WHOLE = 64  # up to here powers are products; beyond, `pow` is as fast
PIECE = 1 << 27  # terms that one thread computes between two looks at signals, some 5 ms


def l1(x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Sums of absolute differences (n, m).

    >>> l1(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 4.0]]), np.empty((1, 2))).tolist()
    [[7.0, 0.0]]
    """
    return _distances(lambda gap: gap.sum(1), "fold", (False,), x, anchors, out)


def chebyshev(x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Largest absolute differences (n, m).

    >>> chebyshev(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 4.0]]), np.empty((1, 2))).tolist()
    [[4.0, 0.0]]
    """
    return _distances(lambda gap: gap.max(1), "fold", (True,), x, anchors, out)


def lp(x: np.ndarray, anchors: np.ndarray, p: float, out: np.ndarray) -> np.ndarray:
    """Minkowski distances of order p >= 1 (n, m), infinity included.

    Powers are taken of shares of the largest difference, so that none over- or underflows.

    >>> lp(np.array([[3e30, 4e30]]), np.array([[0.0, 0.0], [3e30, 4e30]]), 2, np.empty((1, 2))).tolist()
    [[5e+30, 0.0]]
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
    tiles = _tiles()
    if tiles is None:
        return _by_anchor(plain, x, anchors, out)
    kernel = tiles.compiled(getattr(tiles, name), out.dtype)
    return _tiled(lambda *arrays: kernel(*arrays, *extra), tiles, x, anchors, out)


def _tiles() -> Any:
    """The module of compiled kernels, or None."""
    if os.environ.get("RELREP_NUMBA") == "0":
        return None
    try:
        return import_module("relrep_cli.tiles")
    except ImportError:
        return None


def threads() -> int:
    """How many threads kernels may use: numba's limit, which the command line sets, else one for each CPU of ours."""
    limit = os.environ.get("NUMBA_NUM_THREADS", "")
    return int(limit) if limit.isdigit() and int(limit) else len(os.sched_getaffinity(0))


def _tiled(kernel: Callable[..., None], tiles: Any, x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Run a compiled kernel on pieces of x and panels of anchors."""
    padded = _padded(np.ascontiguousarray(anchors.T), tiles.STEP, tiles.LANES)
    lefts = range(0, len(anchors), tiles.WIDTH)
    panels = [np.ascontiguousarray(padded[:, left : left + tiles.WIDTH]) for left in lefts]
    rows = max(1, min(PIECE // padded.size, -(-len(x) // threads())))

    def piece(start: int) -> None:
        some, into = _padded(x[start : start + rows], 1, tiles.STEP), out[start : start + rows]
        for left, panel in zip(lefts, panels, strict=True):
            kernel(some, panel, into[:, left : left + tiles.WIDTH])

    _spread(piece, range(0, len(x), rows))
    return out


def _padded(a: np.ndarray, *multiples: int) -> np.ndarray:
    """`a` with zeros after its rows and columns, up to the next multiples."""
    missing = [-size % multiple for size, multiple in zip(a.shape, multiples, strict=True)]
    return np.pad(a, [(0, more) for more in missing]) if any(missing) else a


def _spread(piece: Callable[[int], None], starts: range) -> None:
    """Call `piece` for every start, on all threads; each takes the next one when it is free."""
    waiting = iter(starts)

    def work() -> None:
        for start in waiting:
            check()
            piece(start)

    with ThreadPoolExecutor(threads()) as pool:
        helpers = [pool.submit(work) for _ in range(min(threads(), len(starts)) - 1)]
        work()
        for helper in helpers:
            helper.result()


def _by_anchor(reduce: Callable[..., np.ndarray], x: np.ndarray, anchors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Without numba: reduce |x - anchor| (b, d) to (b,), one anchor and a few rows at a time."""
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

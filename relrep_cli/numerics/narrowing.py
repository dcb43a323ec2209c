"""Spaces made ready for sums of squares: in a range where no square over- or underflows, and no wider than they have rows.

A space of n rows and d > n columns has its rows in n dimensions. A rotation takes it there without loss, so that a metric costs
n x n instead of d x d. Both steps are made once for all permutations of the rows.
"""

from __future__ import annotations

from math import frexp

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.blocks import column_mean, pick, row_blocks
from relrep_cli.numerics.spool import spool
from relrep_cli.numerics.workspace import UNSHARED, Workspace

EXTREME = 200  # the exponent of two of the largest number up to which fourth powers are safe in float64
EQUAL = 1e-12  # share of its sum of squares below which a space is constant
CONSTANT = 1e-28  # share of a column's raw sum of squares below which its variance is rounding error


def exponent(x: np.ndarray, workspace: Workspace = UNSHARED) -> int:
    """Return the power of two by which x (n, d) must be divided so that squares are safe; 0 for ordinary numbers."""

    def compute() -> int:
        peak = max((float(np.abs(x[block]).max(initial=0)) for block in row_blocks(*x.shape, x)), default=0.0)
        power = frexp(peak)[1] if np.isfinite(peak) else 0
        return power if abs(power) > EXTREME else 0

    return workspace.fact("exponent", workspace.origin(x)[0], compute)


def in_range(x: np.ndarray, power: int, workspace: Workspace = UNSHARED) -> np.ndarray:
    """Divide x (n, d) by 2^power, which is exact; x itself for power 0."""
    if not power:
        return x
    space, order = workspace.origin(x)

    def compute() -> np.ndarray:
        out = spool(x.shape, np.float64)
        for block in row_blocks(*x.shape, space, out):
            out[block] = np.ldexp(np.asarray(space[block], np.float64), -power)
        return out

    scaled = workspace.once("in range", (space, power), compute)
    return scaled if order is None else pick(scaled, order)


def common_powers(x: np.ndarray, y: np.ndarray, workspace: Workspace = UNSHARED) -> tuple[int, int]:
    """Return twice the power of two by which both spaces can be divided, for a metric that is not invariant to scale."""
    powers = exponent(x, workspace), exponent(y, workspace)
    power = max(powers) if min(map(abs, powers)) > 0 or max(powers) > 0 else 0
    return power, power


def scalable(x: np.ndarray, workspace: Workspace = UNSHARED) -> np.ndarray:
    """Divide x (n, d) by the power of two that brings it into range, for a metric that is invariant to scale."""
    return in_range(x, exponent(x, workspace), workspace)


@dataclass(frozen=True)
class Narrow:
    """A space of n rows in n dimensions.

    rows: (n, n) x = rows @ turn.T, up to the mean row and the units of columns. turn: (d, n) orthonormal. lengths: (d,) of the
    columns that were scaled to length 1, infinity for constant ones; None when columns kept their units.
    """

    rows: np.ndarray
    turn: np.ndarray
    lengths: np.ndarray | None


def narrow(x: np.ndarray, centred: bool, units: bool, workspace: Workspace = UNSHARED) -> Narrow | None:
    """Rotate x (n, d) into as many dimensions as it has rows; None when it has no more dims than rows.

    centred: subtract the mean row first, so that spaces far from the origin keep their digits. units: scale columns to length
    1 first. The work is done once for all permutations of the rows.
    """
    if x.shape[1] <= len(x):
        return None
    space, order = workspace.origin(x)
    narrowed = workspace.once("narrow", (space, centred, units), lambda: _narrow(space, centred, units))
    return narrowed if order is None else Narrow(narrowed.rows[order], narrowed.turn, narrowed.lengths)


def _narrow(x: np.ndarray, centred: bool, units: bool) -> Narrow:
    rows = np.asarray(x, np.float64)
    mean = column_mean(x, np.arange(len(x)))
    if centred:
        rows = rows - mean
        again = rows - rows.mean(0)  # of a constant space, the first difference is the rounding error of its mean
        rows = again if np.vdot(again, again) > EQUAL * np.vdot(rows, rows) else np.zeros(x.shape)
    lengths = None
    if units:
        lengths = np.sqrt(np.einsum("ij,ij->j", rows, rows))
        lengths = np.where(lengths**2 > CONSTANT * len(x) * mean**2, lengths, np.inf)
        rows = rows / lengths
    turn, r = np.linalg.qr(rows.T)
    return Narrow(np.ascontiguousarray(r.T), turn, lengths)

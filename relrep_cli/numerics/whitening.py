"""Means, variances, covariances and whitening matrices of rows that arrive in blocks.

Numbers whose squares float64 cannot hold are divided by a power of two first, their unit; all others are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from relrep_cli.base.errors import DataError

Blocks = Callable[[], Iterable[np.ndarray]]
LEAST = 1e-290  # below it are numbers whose inverse overflows: they count as nothing
SQUARED = 1e130  # numbers up to here, and down to the inverse of it, can be squared and added up


def unit_of(blocks: Iterable[np.ndarray], tiny: bool = True) -> float:
    """The power of two that brings the largest number near 1, where squares would overflow or vanish; else 1.

    tiny: also where they would vanish.
    """
    peak = max((float(np.abs(b).max(initial=0)) for b in blocks if b.dtype.itemsize == 8), default=0.0)
    return 2.0 ** min(float(np.frexp(peak)[1]), 1023.0) if peak > SQUARED or (tiny and LEAST < peak < 1 / SQUARED) else 1.0


def _unit_with(block: np.ndarray, unit: float | None) -> float:
    """The unit of a block and of all before it, whose unit is given."""
    if unit is None:
        return unit_of([block])
    if unit < 1 and block.size and float(np.abs(block).max()) <= SQUARED * unit:
        return unit
    return max(unit, unit_of([block], tiny=False))


def moments(blocks: Iterable[np.ndarray], full: bool = False) -> tuple[np.ndarray, np.ndarray, float]:
    """Compute the mean (d,), the variances (d,) and their unit of rows in blocks; with `full` the covariance (d, d).

    Sums are float64 and centred on the mean of the first block, so that data far from the origin keep their precision.
    Variances are those of the rows divided by the unit, which is 1 for all but huge and tiny numbers.
    """
    shift, n, total, products, unit = np.zeros(0), 0, np.zeros(0), np.zeros(0), 1.0
    for block in blocks:
        wide = np.asarray(block, np.float64)
        wanted = _unit_with(block, unit if n else None)
        if wanted != unit:
            less = unit / wanted
            shift, total, products, unit = shift * less, total * less, products * less * less, wanted
        wide = wide / unit if unit != 1 else wide
        shift = shift if n else wide.mean(0)
        z = wide - shift
        sums, squares = z.sum(0), z.T @ z if full else (z * z).sum(0)
        total, products = (total + sums, products + squares) if n else (sums, squares)
        n += len(z)
    mean = total / n
    return (shift + mean) * unit, products / n - (np.outer(mean, mean) if full else mean**2), unit


def deviations(variances: np.ndarray, unit: float = 1.0) -> np.ndarray:
    """Standard deviations; 1 for a column that is constant up to rounding, so that scaling leaves it unchanged."""
    spread = np.sqrt(np.maximum(variances, 0))
    return np.where(spread <= 1e-12 * spread.max(initial=0), 1.0, spread * unit)


def rounding(blocks: Iterable[np.ndarray], mean: np.ndarray, spread: np.ndarray, unit: float = 1.0) -> float:
    """An upper bound on the variance in any direction that comes from the rounding of the stored numbers; both in the unit."""
    dtype = next(iter(blocks)).dtype
    eps = float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
    return 4 * eps**2 * float(((mean / unit) ** 2 + np.diag(spread)).max())


def whitening(spread: np.ndarray, shrinkage: float, who: str, floor: float = 0.0, unit: float = 1.0) -> np.ndarray:
    """Return the symmetric inverse square root (d, d) of a covariance after shrinkage.

    floor: the variance up to which a direction counts as constant. Constant directions are left out. who: the option or
    function to name in the error. unit: that of the covariance and the floor.

    Raises DataError when all directions are constant.
    """
    d = len(spread)
    spread = (1 - shrinkage) * spread + shrinkage * np.trace(spread) / d * np.eye(d)
    values, vectors = np.linalg.eigh(spread)
    kept = values > max(values[-1] * d * np.finfo(np.float64).eps * 10, floor, 0)
    if not kept.any():
        raise DataError(
            "the training rows do not vary, so their covariance has no inverse root",
            "Take more or other training rows.",
            place=who,
        )
    root = (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T
    return root / unit if unit != 1 else root

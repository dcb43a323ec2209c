"""Means, variances, covariances and whitening matrices of rows that arrive in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from relrep_cli.base.errors import DataError

Blocks = Callable[[], Iterable[np.ndarray]]


def moments(blocks: Iterable[np.ndarray], full: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean (d,) and the variances (d,) of rows in blocks; with `full` the covariance (d, d) in place of the latter.

    Sums are float64 and centred on the mean of the first block, so that data far from the origin keep their precision.
    """
    shift, n, total, products = np.zeros(0), 0, np.zeros(0), np.zeros(0)
    for block in blocks:
        wide = np.asarray(block, np.float64)
        shift = shift if n else wide.mean(0)
        z = wide - shift
        sums, squares = z.sum(0), z.T @ z if full else (z * z).sum(0)
        total, products = (total + sums, products + squares) if n else (sums, squares)
        n += len(z)
    mean = total / n
    return shift + mean, products / n - (np.outer(mean, mean) if full else mean**2)


def deviations(variances: np.ndarray) -> np.ndarray:
    """Standard deviations; 1 for a column that is constant up to rounding, so that scaling leaves it unchanged."""
    spread = np.sqrt(np.maximum(variances, 0))
    return np.where(spread <= 1e-12 * spread.max(initial=0), 1.0, spread)


def rounding(blocks: Iterable[np.ndarray], mean: np.ndarray, spread: np.ndarray) -> float:
    """An upper bound on the variance in any direction that comes from the rounding of the stored numbers."""
    dtype = next(iter(blocks)).dtype
    eps = float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
    return 4 * eps**2 * float((mean**2 + np.diag(spread)).max())


def whitening(spread: np.ndarray, shrinkage: float, who: str, floor: float = 0.0) -> np.ndarray:
    """Return the symmetric inverse square root (d, d) of a covariance after shrinkage.

    floor: the variance up to which a direction counts as constant. Constant directions are left out. who: the option or
    function to name in the error.

    Raises DataError when all directions are constant.
    """
    d = len(spread)
    spread = (1 - shrinkage) * spread + shrinkage * np.trace(spread) / d * np.eye(d)
    values, vectors = np.linalg.eigh(spread)
    kept = values > max(values[-1] * d * np.finfo(np.float64).eps * 10, floor, 0)
    if not kept.any():
        raise DataError(
            "the training rows do not vary, so their covariance has no inverse root",
            "Leave out the whitening, or give rows that differ.",
            file=who,
        )
    return (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T

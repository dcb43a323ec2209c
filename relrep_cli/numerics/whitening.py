"""Means, variances, covariances and whitening matrices of rows that arrive in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from relrep_cli.base.errors import DataError

Blocks = Callable[[], Iterable[np.ndarray]]


def moments(blocks: Iterable[np.ndarray], full: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and variances (d,), or with `full` the covariance (d, d), of rows that come in blocks.

    Sums are float64 and taken about the first block's mean, so that data far from the origin keep their digits.
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
    """Standard deviations, 1 where a column does not vary but for rounding: it is left as it is, at 0 after centring."""
    spread = np.sqrt(np.maximum(variances, 0))
    return np.where(spread <= 1e-12 * spread.max(initial=0), 1.0, spread)


def rounding(blocks: Iterable[np.ndarray], mean: np.ndarray, spread: np.ndarray) -> float:
    """The variance that rows of such a size may have in any direction by the rounding of their numbers alone."""
    dtype = next(iter(blocks)).dtype
    eps = float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0
    return 4 * eps**2 * float((mean**2 + np.diag(spread)).max())


def whitening(spread: np.ndarray, shrinkage: float, who: str, floor: float = 0.0) -> np.ndarray:
    """(d, d) symmetric inverse root of a covariance after shrinkage; directions without variance are left out.

    floor: what counts as none. Raises DataError when there is none with variance.
    """
    d = len(spread)
    spread = (1 - shrinkage) * spread + shrinkage * np.trace(spread) / d * np.eye(d)
    values, vectors = np.linalg.eigh(spread)
    kept = values > max(values[-1] * d * np.finfo(np.float64).eps * 10, floor, 0)
    if not kept.any():
        raise DataError(f"{who}: the training rows do not vary, so their covariance has no inverse root.")
    return (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T

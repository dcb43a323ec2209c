"""Entropic optimal transport between two discrete distributions (Cuturi 2013), by Sinkhorn's iteration."""

from __future__ import annotations

import numpy as np

MOST = 1e100  # a scaling factor beyond this, or below its inverse, is moved into the potentials
BETWEEN = 10  # iterations between two looks at the error


def sinkhorn(costs: np.ndarray, blur: float, *, iterations: int = 200, tolerance: float = 1e-6) -> np.ndarray:
    """Return the plan that moves equal masses at the least cost, less `blur` times its entropy.

    costs: (n, m). blur: positive, in the unit of the costs. tolerance: the error of the row
    sums, Euclidean, at which to stop.

    Returns (n, m): each column sums to 1/m, and each row to 1/n within the tolerance. Source: Cuturi 2013, algorithm 1;
    factors that leave the range of floats go into potentials (Schmitzer 2019, section 3.1), so that any blur works.

    >>> sinkhorn(np.array([[0.0, 9.0], [9.0, 0.0]]), 0.1).round(3).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    n, m = costs.shape
    f, g = costs.min(1), (costs - costs.min(1)[:, None]).min(0)
    kernel, u, v = _kernel(costs, f, g, blur), np.ones(n), np.ones(m)
    for step in range(iterations):
        u = 1 / n / _positive(kernel @ v)
        v = 1 / m / _positive(kernel.T @ u)
        largest = max(u.max(), v.max(), 1 / u.min(), 1 / v.min())
        if largest > MOST:
            f, g = f + blur * np.log(u), g + blur * np.log(v)
            kernel, u, v = _kernel(costs, f, g, blur), np.ones(n), np.ones(m)
        elif step % BETWEEN == 0 and np.linalg.norm(u * (kernel @ v) - 1 / n) < tolerance:
            break
    return u[:, None] * kernel * v


def _kernel(costs: np.ndarray, f: np.ndarray, g: np.ndarray, blur: float) -> np.ndarray:
    return np.exp(np.minimum((f[:, None] + g - costs) / blur, 700.0))


def _positive(sums: np.ndarray) -> np.ndarray:
    return np.maximum(sums, 1e-300)

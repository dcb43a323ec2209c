"""The graph of near items behind Laplacian eigenmaps, and the slowest modes of a walk on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.output import say
from relrep_cli.neighbors.knn_graphs import joined
from relrep_cli.numerics.blocks import slices

BLOCK = 1024  # rows
FAINT = 1e-9  # affinities below it hold nothing together: what they alone join would be told apart by rounding errors


def affinity_graph(x: NDArray[np.float64], around: int) -> tuple[Any, float]:
    """(m, m) sparse affinities of each row and its nearest, both ways and in one part, and their Gaussian's squared width."""
    from scipy import sparse

    nearest = [nearest_rows(x[part], x, around + 1) for part in slices(len(x), BLOCK)]
    near, squares = (np.concatenate(pieces) for pieces in zip(*nearest, strict=True))
    width = max(float(np.median(squares[:, -1])), float(np.finfo(np.float32).tiny))
    places = np.repeat(np.arange(len(x)), around + 1), near.ravel()
    affinity = sparse.csr_matrix((np.exp(-squares / width).ravel(), places), (len(x), len(x)))
    affinity.data[affinity.data < FAINT] = 0
    affinity.eliminate_zeros()
    affinity, parts = joined(affinity, x, lambda lengths: np.full(len(lengths), np.exp(-1)))
    if parts > 1:
        say(f"the graph of nearest rows has {parts} parts; the shortest edges between them now join them.")
    return affinity.maximum(affinity.T), width


def slowest_modes(affinity: Any, dim: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues of the walk (dim,), greatest first, and its vectors (m, dim), without the constant one of eigenvalue 1."""
    from scipy import sparse
    from scipy.sparse.linalg import LinearOperator, eigsh

    degree = np.asarray(affinity.sum(1)).ravel()
    scale = degree**-0.5
    walk = sparse.diags(scale) @ affinity @ sparse.diags(scale)
    constant = np.sqrt(degree / degree.sum())
    # Known beforehand, the constant vector goes to the other end of the spectrum, whatever else has the eigenvalue 1.
    others = LinearOperator(walk.shape, lambda v: walk @ v - 2 * constant * (constant @ v), dtype=np.float64)
    values, vectors = eigsh(others, dim, which="LA", v0=rng.normal(size=len(degree)))
    order = np.argsort(-values)
    return values[order], with_fixed_signs((scale[:, None] * vectors[:, order]).T).T


def nearest_rows(x: NDArray[Any], base: NDArray[Any], k: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(rows, squared distances), each (b, k), of the k rows of `base` nearest to each of x, by (distance, row)."""
    squares = np.maximum((x * x).sum(1)[:, None] - 2 * x @ base.T + (base * base).sum(1), 0)
    rows = np.argsort(squares, axis=1, kind="stable")[:, :k]
    exact = (
        ((x[:, None, :] - base[rows]) ** 2).sum(2)
        if x.shape[1] * k * len(x) < 1 << 26
        else np.take_along_axis(squares, rows, 1)
    )
    return rows, exact


def affinities(x: NDArray[Any], base: NDArray[Any], k: int, width: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(rows, weights) of the nearest landmarks; far from all of them, the nearest keeps weight 1."""
    rows, squares = nearest_rows(x, base, k)
    return rows, np.exp(-(squares - squares[:, :1]) / width)


def with_fixed_signs(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """(dim, d), each row with the sign that makes its entry of largest size positive."""
    largest = components[np.arange(len(components)), np.abs(components).argmax(1)]
    return components * np.where(largest < 0, -1.0, 1.0)[:, None]

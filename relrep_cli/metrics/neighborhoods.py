"""Metrics of neighbourhoods: which rows are near."""

from __future__ import annotations

from math import comb, exp, lgamma

import numpy as np

from relrep_cli.metrics.sampling import mean_of, over_rows
from relrep_cli.metrics.score import By, Ci, Index, K, Score, metric
from relrep_cli.neighbors import Neighbors, nearest, overlap


@metric(
    bounds=(0, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=False,
    needs_same_dims=True,
    reads_coordinates=True,
    invariant={"orthogonal", "permutation", "scale"},
    source="Moschella et al. 2022, sec. 4: cross-space retrieval",
)
def jaccard(
    x: np.ndarray, y: np.ndarray, *, k: K = 10, neighbours: By = "cosine", index: Index = "exact", ci: Ci = 0.0, seed: int = 0
) -> Score:
    """Cross-space retrieval: neighbours of x_i within x against neighbours of x_i within y.

    x, y: (n, d) in one frame. The item itself counts. Value: mean |A & B| / |A | B| over items.
    """
    searches: list[Neighbors] = []

    def values(rows: np.ndarray | None) -> np.ndarray:
        a, b = (nearest(x, side, k, by=neighbours, index=index, rows=rows) for side in (x, y))
        searches.extend((a, b))
        return jaccard_of(overlap(a.rows, b.rows), k)

    found = over_rows(values, len(x), ci, seed)
    convention = f"cross-space retrieval of x_i in x and in y, {neighbours}, k = {k}, self included"
    return mean_of(found, expected_jaccard(len(x), k), convention, searches, index, ci)


@metric(
    bounds=(0, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs_same_dims=False,
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "scale"},
    source="Klabunde et al. 2023, Jaccard similarity of neighbourhoods; Wang et al. 2020",
)
def knn_jaccard(
    x: np.ndarray, y: np.ndarray, *, k: K = 10, neighbours: By = "cosine", index: Index = "exact", ci: Ci = 0.0, seed: int = 0
) -> Score:
    """Overlap of neighbourhoods, each space keeping its own neighbours: mean |N_x(i) & N_y(i)| / |N_x(i) | N_y(i)|.

    x: (n, dx), y: (n, dy). The item itself is left out by its row number.
    """
    searches: list[Neighbors] = []

    def values(rows: np.ndarray | None) -> np.ndarray:
        a, b = (nearest(side, side, k, by=neighbours, exclude_self=True, index=index, rows=rows) for side in (x, y))
        searches.extend((a, b))
        return jaccard_of(overlap(a.rows, b.rows), k)

    found = over_rows(values, len(x), ci, seed)
    convention = f"neighbours within each space, {neighbours}, k = {k}, self excluded"
    return mean_of(found, expected_jaccard(len(x) - 1, k), convention, searches, index, ci)


def jaccard_of(shared: np.ndarray, k: int) -> np.ndarray:
    """Jaccard index of two k-sets that share so many members."""
    return shared / (2 * k - shared)


def expected_jaccard(n: int, k: int) -> float:
    """Expected Jaccard index of two independent k-subsets of n things (hypergeometric overlap).

    >>> round(expected_jaccard(2, 1), 6)
    0.5
    """
    return sum(_hypergeometric(n, k, o) * o / (2 * k - o) for o in range(max(0, 2 * k - n), k + 1))


def _hypergeometric(n: int, k: int, o: int) -> float:
    if n < 1000:
        return comb(k, o) * comb(n - k, k - o) / comb(n, k)

    def log(a: int, b: int) -> float:
        return lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1)

    return exp(log(k, o) + log(n - k, k - o) - log(n, k))

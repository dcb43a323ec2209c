"""Metrics of neighbourhoods that compare sets of neighbours."""

from __future__ import annotations

from collections.abc import Callable
from math import comb, exp, lgamma

import numpy as np

from relrep_cli.metrics.families import neighbourhood_metric
from relrep_cli.metrics.sampling import describe_searches, over_neighbours
from relrep_cli.metrics.score import By, Ci, Index, K, Score
from relrep_cli.neighbors import Neighbors, nearest, overlap
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.numerics.chance_levels import UNKNOWN
from relrep_cli.numerics.workspace import UNSHARED, Workspace


def within(
    x: np.ndarray, k: int, by: By, index: Index = "exact", rows: np.ndarray | None = None, workspace: Workspace = UNSHARED
) -> Neighbors:
    """Find the k nearest other rows of each row of x (n, d), or of `rows` only; nearest first."""
    return nearest(x, x, k, by=by, exclude_self=True, index=index, rows=rows, workspace=workspace)


def within_both(
    x: np.ndarray, y: np.ndarray, k: int, by: By, index: Index, workspace: Workspace
) -> Callable[[np.ndarray | None], tuple[Neighbors, Neighbors]]:
    """A function that finds the neighbours of given rows, or of all, within x and within y.

    x: (n, dx) and y: (n, dy) floats.
    """
    return lambda rows: (within(x, k, by, index, rows, workspace), within(y, k, by, index, rows, workspace))


@neighbourhood_metric(
    symmetric=False,
    needs={"same dims"},
    reads_coordinates=True,
    source="Moschella et al. 2022, sec. 4: cross-space retrieval",
)
def jaccard(
    x: np.ndarray,
    y: np.ndarray,
    *,
    k: K = 10,
    neighbors: By = "cosine",
    index: Index = "exact",
    ci: Ci = 0.0,
    seed: int = 0,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Cross-space retrieval: neighbours of x_i within x against neighbours of x_i within y.

    x, y: (n, d) floats in the same space. The item itself counts as its neighbour. The value is the mean of
    |A & B| / |A | B| over items.
    """

    def search(rows: np.ndarray | None) -> list[Neighbors]:
        return [nearest(x, side, k, by=neighbors, index=index, rows=rows, workspace=workspace) for side in (x, y)]

    convention = f"cross-space retrieval of x_i in x and in y, {neighbors}, k = {k}, self included"
    chance = expected_jaccard(len(x), k)
    return over_neighbours(
        search,
        _jaccards,
        len(x),
        chance,
        convention,
        index=index,
        ci=ci,
        seed=seed,
        cost=cost_of_row(x, y),
        workspace=workspace,
    )


@neighbourhood_metric(source="Klabunde et al. 2023, Jaccard similarity of neighbourhoods; Wang et al. 2020")
def knn_jaccard(
    x: np.ndarray,
    y: np.ndarray,
    *,
    k: K = 10,
    neighbors: By = "cosine",
    index: Index = "exact",
    ci: Ci = 0.0,
    seed: int = 0,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Overlap of neighbourhoods, each space keeping its own neighbours: mean |N_x(i) & N_y(i)| / |N_x(i) | N_y(i)|.

    x: (n, dx) and y: (n, dy) floats. The item itself is excluded by its row number.
    """
    search = within_both(x, y, k, neighbors, index, workspace)
    convention = f"neighbours within each space, {neighbors}, k = {k}, self excluded"
    chance = expected_jaccard(len(x) - 1, k)
    return over_neighbours(
        search,
        _jaccards,
        len(x),
        chance,
        convention,
        index=index,
        ci=ci,
        seed=seed,
        cost=cost_of_row(x, y),
        workspace=workspace,
    )


@neighbourhood_metric(source="Huh et al. 2024, mutual nearest neighbours")
def mutual_knn(
    x: np.ndarray,
    y: np.ndarray,
    *,
    k: K = 10,
    neighbors: By = "cosine",
    index: Index = "exact",
    ci: Ci = 0.0,
    seed: int = 0,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Share of neighbours that both spaces agree on: mean |N_x(i) & N_y(i)| / k.

    x: (n, dx) and y: (n, dy) floats. Neighbours are found within each space; the item itself is excluded.
    """
    search, chance = within_both(x, y, k, neighbors, index, workspace), k / (len(x) - 1)
    convention = f"overlap / k within each space, {neighbors}, k = {k}, self excluded"
    return over_neighbours(
        search,
        lambda a, b: overlap(a, b) / k,
        len(x),
        chance,
        convention,
        index=index,
        ci=ci,
        seed=seed,
        cost=cost_of_row(x, y),
        workspace=workspace,
    )


@neighbourhood_metric(identity=None, symmetric=False, source="Huh et al. 2024, cycle nearest neighbours")
def cycle_knn(
    x: np.ndarray,
    y: np.ndarray,
    *,
    k: K = 10,
    neighbors: By = "cosine",
    index: Index = "exact",
    workspace: Workspace = UNSHARED,
) -> Score:
    """Share of items that one of their neighbours in y leads back to in x.

    x: (n, dx) and y: (n, dy) floats. Item i counts when i is in N_x(j) for some j in N_y(i). A space with itself can score
    below 1.
    """
    a, b = within(x, k, neighbors, index, workspace=workspace), within(y, k, neighbors, index, workspace=workspace)
    rows = np.empty(len(x))
    for block in row_blocks(len(x), k * k):
        back = a.rows[b.rows[block]] == np.arange(block.start, block.stop)[:, None, None]
        rows[block] = back.any((1, 2))
    chance = 1 - float(_missed(np.bincount(a.rows.ravel(), minlength=len(x)), k).mean())
    extra, index_note = describe_searches((a, b), index)
    convention = f"y to x and back, {neighbors}, k = {k}, self excluded (asymmetric)"
    return Score(float(rows.mean()), chance, convention + index_note, rows, extra=extra)


def _missed(known: np.ndarray, k: int) -> np.ndarray:
    """(n,) probability that k random other rows contain none of the known[i] rows that have item i as a neighbour."""
    others = len(known) - 1 - np.arange(k)
    return np.prod(np.maximum(others - known[:, None], 0) / others, axis=1)


@neighbourhood_metric(needs={"labels"}, source="histogram intersection (Swain and Ballard 1991) of the labels of neighbours")
def label_overlap(
    x: np.ndarray,
    y: np.ndarray,
    *,
    labels: np.ndarray,
    k: K = 10,
    neighbors: By = "cosine",
    index: Index = "exact",
    workspace: Workspace = UNSHARED,
) -> Score:
    """Overlap of the labels of neighbours, whichever items carry them: mean of sum_c min(share_x(c), share_y(c)).

    x: (n, dx) and y: (n, dy) floats, labels: (n,). The value is high when items lie among the same classes in both spaces.
    """
    a, b = within(x, k, neighbors, index, workspace=workspace), within(y, k, neighbors, index, workspace=workspace)
    codes = np.unique(labels, return_inverse=True)[1]
    here, there = _histogram(codes[a.rows], len(x)), _histogram(codes[b.rows], len(x))
    _, i, j = np.intersect1d(here[0], there[0], assume_unique=True, return_indices=True)
    shared_counts = np.minimum(here[1][i], there[1][j])
    rows = np.bincount(here[0][i] % len(x), shared_counts, len(x)) / k
    chance = _expected_labels(here, codes, k) if workspace.intervals else UNKNOWN.mean
    extra, index_note = describe_searches((a, b), index)
    convention = f"labels of neighbours within each space, {neighbors}, k = {k}, self excluded"
    return Score(float(rows.mean()), chance, convention + index_note, rows, extra=extra)


def _histogram(codes: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Count the labels of neighbours. codes: (n, k). Returns label * n + row for each label near each row, and its count."""
    return np.unique(codes.astype(np.int64) * n + np.arange(n)[:, None], return_counts=True)


def _expected_labels(here: tuple[np.ndarray, np.ndarray], codes: np.ndarray, k: int) -> float:
    """The expected overlap with the labels of k random other rows, from hypergeometric tails."""
    from scipy.special import gammaln

    n, sizes = len(codes), np.bincount(codes)
    label, row = here[0] // n, here[0] % n

    def log(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = np.broadcast_arrays(a, b)
        valid = (b >= 0) & (b <= a)
        return np.where(valid, gammaln(a + 1) - gammaln(b + 1) - gammaln(np.where(valid, a - b, 0) + 1), -np.inf)

    among = np.stack([sizes, sizes - 1])[
        :, :, None
    ]  # rows of each label among the others, for a row of another label and of this label
    drawn = np.arange(k + 1)
    some = np.exp(log(among, drawn) + log(n - 1 - among, k - drawn) - log(np.array(n - 1), np.array(k)))
    more = np.cumsum(some[..., ::-1], -1)[..., ::-1]
    least = np.concatenate([np.zeros_like(more[..., :1]), np.cumsum(more[..., 1:], -1)], -1)  # mean of min(count, drawn)
    own = (codes[row] == label).astype(np.int64)
    return float(least[own, label, here[1]].sum() / (n * k))


def cost_of_row(x: np.ndarray, y: np.ndarray) -> float:
    """The multiply-adds to compare one row with all rows of both spaces.

    x: (n, dx) and y: (n, dy) floats.
    """
    return float(x.size + y.size)


def _jaccards(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return jaccard_of(overlap(a, b), a.shape[1])


def jaccard_of(shared: np.ndarray, k: int) -> np.ndarray:
    """The Jaccard index of two sets of k members that share `shared` (n,) members."""
    return shared / (2 * k - shared)


def expected_jaccard(n: int, k: int) -> float:
    """The expected Jaccard index of two independent random k-subsets of n things.

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

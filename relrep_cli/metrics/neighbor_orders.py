"""Metrics of neighbourhoods that compare the order of neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from relrep_cli.metrics.families import neighbourhood_metric
from relrep_cli.metrics.forms import SEQUENCE
from relrep_cli.metrics.neighborhoods import cost_of_row, within, within_both
from relrep_cli.metrics.sampling import over_neighbours
from relrep_cli.metrics.score import By, Ci, Index, K, NotApplicable, Score
from relrep_cli.neighbors import Midranks, midranks_of_nearest, unit_rows
from relrep_cli.numerics.blocks import block_rows, pick, row_blocks
from relrep_cli.numerics.chance_levels import Level
from relrep_cli.numerics.workspace import UNSHARED, Workspace

Lists = Callable[[np.ndarray, np.ndarray], np.ndarray]


@neighbourhood_metric(
    form=SEQUENCE("lcs"), bounds=(0, None), identity="k", source="Huh et al. 2024, longest common subsequence of neighbours"
)
def lcs_knn(
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
    """Mean length of the longest common subsequence of the neighbours, nearest first.

    x: (n, dx) and y: (n, dy) floats. The value lies between 0 and k.
    """
    return _of_lists(
        _longest, x, y, k, neighbors, "longest common subsequence of neighbours in order", index, ci, seed, workspace
    )


@neighbourhood_metric(form=SEQUENCE("edit"), source="Huh et al. 2024, edit distance of neighbours")
def edit_knn(
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
    """Agreement of the neighbours in order: 1 - mean edit distance / k.

    x: (n, dx) and y: (n, dy) floats. Insertion, deletion and substitution cost 1 each.
    """
    return _of_lists(_edits, x, y, k, neighbors, "1 - edit distance / k of neighbours in order", index, ci, seed, workspace)


@neighbourhood_metric(form=SEQUENCE("ranks"), source="Wang et al. 2020; Klabunde et al. 2023, rank similarity")
def rank_similarity(
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
    """Agreement of the ranks of shared neighbours, near ones counting more.

    x: (n, dx) and y: (n, dy) floats. For each item, the sum of 2 / ((1 + |r - s|) (r + s)) over shared neighbours, whose ranks
    are r in x and s in y, divided by its maximum for this number of shared neighbours (a harmonic number). The value is the
    mean over items.
    """
    return _of_lists(_rank_agreement, x, y, k, neighbors, "ranks of shared neighbours", index, ci, seed, workspace)


def _of_lists(
    rows_of: Lists,
    x: np.ndarray,
    y: np.ndarray,
    k: int,
    by: By,
    convention: str,
    index: Index,
    ci: float,
    seed: int,
    workspace: Workspace,
) -> Score:
    def values(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.concatenate([rows_of(a[block], b[block]) for block in row_blocks(len(a), k * k)])

    chance = list_chance(rows_of, len(x) - 1, k, seed)
    convention = f"{convention}, {by}, k = {k}, self excluded"
    search = within_both(x, y, k, by, index, workspace)
    measured = over_neighbours(
        search,
        values,
        len(x),
        chance.mean,
        convention,
        index=index,
        ci=ci,
        seed=seed,
        cost=cost_of_row(x, y),
        workspace=workspace,
    )
    return replace(measured, draws=chance.draws, chance_error=chance.error)


def apart(x: np.ndarray, own_rows: slice | np.ndarray, others: np.ndarray, by: By) -> np.ndarray:
    """Compute the squared distances (b, k) of some rows to the rows `others` (b, k).

    x: (n, d) floats. by: for cosine, rows are first scaled to length 1. A zero row has cosine 0 with everything, so its squared
    distance is 2.
    """
    few = by == "cosine" and len(x) <= min(others.size, block_rows(x.shape[1]))  # each row is scaled once, not k times
    if few:
        x = unit_rows(np.asarray(x, np.float64))
    near = np.asarray(pick(x, others.ravel()), np.float64)
    own = np.asarray(x[own_rows] if isinstance(own_rows, slice) else pick(x, own_rows), np.float64)
    if by == "cosine" and not few:
        near, own = unit_rows(near), unit_rows(own)
    near = near.reshape(*others.shape, x.shape[1])
    difference = near - own[:, None]
    out = np.einsum("ijk,ijk->ij", difference, difference)
    if by == "cosine":
        zero = ~np.asarray(own.any(1))
        out[~near.any(2) | zero[:, None]] = 2
    return out


def _longest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) lengths of the longest common subsequences of the lists a[i] and b[i], which hold no repeats.

    >>> _longest(np.array([[1, 2, 3]]), np.array([[2, 3, 1]])).tolist()
    [2.0]
    """
    lengths = np.zeros((len(a), b.shape[1] + 1))
    for place in a.T:
        step = np.where(place[:, None] == b, lengths[:, :-1] + 1, lengths[:, 1:])
        lengths[:, 1:] = np.maximum.accumulate(step, axis=1)
    return lengths[:, -1]


def _edits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) 1 - edit distance / k of the lists a[i] and b[i] of length k.

    >>> _edits(np.array([[1, 2, 3, 4]]), np.array([[2, 3, 4, 1]])).tolist()
    [0.5]
    """
    k = b.shape[1]
    steps = np.arange(k + 1, dtype=np.float64)
    costs = np.tile(steps, (len(a), 1))
    for number, place in enumerate(a.T, 1):
        change = np.minimum(costs[:, :-1] + (place[:, None] != b), costs[:, 1:] + 1)
        fresh = np.concatenate([np.full((len(a), 1), float(number)), change], 1)
        costs = np.minimum.accumulate(fresh - steps, axis=1) + steps
    return 1 - costs[:, -1] / k


def _rank_agreement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) rank similarity of the lists a[i] and b[i]; 0 when they share nothing.

    >>> _rank_agreement(np.array([[1, 2]]), np.array([[1, 3]])).tolist()  # 2 / (1 * 2), over 1
    [1.0]
    """
    ranks = np.arange(1, a.shape[1] + 1)
    weights = 2 / ((1 + np.abs(ranks[:, None] - ranks)) * (ranks[:, None] + ranks))
    met = a[:, :, None] == b[:, None, :]
    harmonic = np.concatenate([[1.0], np.cumsum(1 / ranks)])
    return (np.einsum("nij,ij->n", met, weights) / harmonic[np.count_nonzero(met, (1, 2))]).clip(0, 1)


@cache
def list_chance(rows_of: Lists, others: int, k: int, seed: int = 0) -> Level:
    """The mean of `rows_of` over pairs of random lists of k of the other items."""
    rng, draws = np.random.default_rng(seed), int(np.clip(4_000_000 // k**2, 500, 20_000))
    shared_count = rng.hypergeometric(k, others - k, k, draws)
    a = np.tile(np.arange(k), (draws, 1))
    b = np.where(a < shared_count[:, None], rng.permuted(a, axis=1), a + k)
    b = rng.permuted(b, axis=1)
    drawn = np.concatenate([rows_of(a[block], b[block]) for block in row_blocks(draws, k * k)])
    return Level(float(drawn.mean()), draws, float(drawn.std(ddof=1) / np.sqrt(draws)))


@neighbourhood_metric(
    bounds=(0, 2), identity=None, higher_is_closer=False, symmetric=False, source="Glielmo et al. 2022, eq. 1"
)
def information_imbalance(x: np.ndarray, y: np.ndarray, *, neighbors: By = "cosine", workspace: Workspace = UNSHARED) -> Score:
    """Information imbalance: 2 / n times the mean rank in y of the nearest neighbour in x.

    x: (n, dx) and y: (n, dy) floats. The value is near 0 when neighbours in x are neighbours in y, 1 at chance, and 2 / n for
    a space with itself. Rows of y that are equally near share the mean of their ranks; where several rows of x are nearest,
    the mean of their ranks counts. The record's `reverse` is the value from y to x, and `tied` counts the items with such ties.

    Raises NotApplicable for fewer than 3 items, or a space whose rows are all the same.
    """
    if len(x) < 3:
        raise NotApplicable(f"{len(x)} items are too few")
    for name, side in (("first", x), ("second", y)):
        if _all_same(side, neighbors):
            raise NotApplicable(f"all rows of the {name} space {'are' if neighbors == 'euclidean' else 'point'} the same")
    there, back = (_imbalances(a, b, neighbors, workspace) for a, b in ((x, y), (y, x)))
    rows = 2 / len(x) * there.values
    convention = f"{neighbors}, nearest neighbour in x, its rank in y; ties share the mean rank; reverse: from y to x"
    extra = {"reverse": float(2 / len(x) * back.values.mean()), "tied": int(np.count_nonzero(there.shared | back.shared))}
    return Score(float(rows.mean()), 1.0, convention, rows, extra=extra)


def _imbalances(x: np.ndarray, y: np.ndarray, by: By, workspace: Workspace) -> Midranks:
    return midranks_of_nearest(x, y, within(x, 2, by, workspace=workspace).rows, by=by)


def _all_same(x: np.ndarray, by: By) -> bool:
    """Whether all rows of x (n, d) are equal, or for cosine whether they have the same direction, up to rounding."""
    first = np.asarray(x[:1], np.float64)
    first = unit_rows(first) if by == "cosine" else first
    for block in row_blocks(*x.shape, x):
        rows = np.asarray(x[block], np.float64)
        rows = unit_rows(rows) if by == "cosine" else rows
        if (np.abs(rows - first) > 1e-14 * np.abs(first).max()).any():
            return False
    return True

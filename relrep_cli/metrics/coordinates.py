"""Metrics that compare coordinates. Both files must be in the same space, such as relative spaces on the same anchors."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from relrep_cli.base.registry import Param
from relrep_cli.metrics.families import coordinate_metric
from relrep_cli.metrics.sampling import mean_of, over_rows
from relrep_cli.metrics.score import By, Ci, K, NotApplicable, Score
from relrep_cli.neighbors import ranks, unit_rows
from relrep_cli.numerics import midranks as ranking
from relrep_cli.numerics.blocks import column_mean, row_blocks
from relrep_cli.numerics.narrowing import scalable
from relrep_cli.numerics.workspace import UNSHARED, Workspace

At = Annotated[int, Param("Count only ranks up to this one; 0 counts all ranks.", minimum=0)]


@coordinate_metric(source="Moschella et al. 2022, sec. 4: mean cosine of paired rows")
def cosine(x: np.ndarray, y: np.ndarray) -> Score:
    """Mean cosine of paired rows (the cosine index).

    x, y: (n, d) floats. A zero row has cosine 0 with everything.

    >>> cosine(np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0]])).value
    0.5
    """
    rows, mean_x, mean_y = np.empty(len(x)), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for block in row_blocks(*x.shape, x, y):
        u, v = (unit_rows(np.asarray(side[block], np.float64)) for side in (x, y))
        rows[block] = np.einsum("ij,ij->i", u, v).clip(-1, 1)
        mean_x, mean_y = mean_x + u.sum(0), mean_y + v.sum(0)
    chance = float(mean_x @ mean_y) / len(x) ** 2
    return Score(float(rows.mean()), chance, "mean cosine of paired rows", rows)


@coordinate_metric(bounds=(0, 1), symmetric=False, source="mean reciprocal rank of the paired row among all rows of y")
def mrr(
    x: np.ndarray,
    y: np.ndarray,
    *,
    at: At = 0,
    neighbors: By = "cosine",
    ci: Ci = 0.0,
    seed: int = 0,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Mean reciprocal rank of y_i among all rows of y, seen from x_i.

    x, y: (n, d) floats. Ties are ordered by row number. With `at`, ranks beyond it count as 0.
    """

    def values(rows: np.ndarray | None) -> np.ndarray:
        own_ranks = ranks(x, y, by=neighbors, rows=rows, workspace=workspace)
        return np.where((at == 0) | (own_ranks <= at), 1.0 / own_ranks, 0.0)

    reach = min(at, len(x)) if at else len(x)
    chance = float((1.0 / np.arange(1, reach + 1)).sum() / len(x))
    cut = f"ranks up to {at}" if at else "full rank"
    convention = f"{neighbors}, {cut}, row i of y ranked among all rows of y"
    return mean_of(over_rows(values, len(x), ci, seed), chance, convention, ci)


@coordinate_metric(bounds=(0, 1), symmetric=False, source="recall at k of the paired row among all rows of y")
def recall(
    x: np.ndarray,
    y: np.ndarray,
    *,
    k: K = 10,
    neighbors: By = "cosine",
    ci: Ci = 0.0,
    seed: int = 0,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Share of items whose y_i is among the k rows of y nearest to x_i.

    x, y: (n, d) floats. Ties are ordered by row number.
    """

    def values(rows: np.ndarray | None) -> np.ndarray:
        return (ranks(x, y, by=neighbors, rows=rows, workspace=workspace) <= k).astype(np.float64)

    convention = f"{neighbors}, k = {k}, row i of y among all rows of y"
    return mean_of(over_rows(values, len(x), ci, seed), k / len(x), convention, ci)


@coordinate_metric(
    bounds=(0, None),
    identity=0,
    higher_is_closer=False,
    invariant={"orthogonal", "permutation", "translation"},
    source="mean squared error, over items and coordinates",
)
def mse(x: np.ndarray, y: np.ndarray) -> Score:
    """Mean squared difference of coordinates.

    x, y: (n, d) floats. The mean is over all n d coordinates.

    >>> mse(np.array([[0.0, 1.0]]), np.array([[2.0, 1.0]])).value
    2.0
    """
    rows, own = np.empty(len(x)), 0.0
    means = [column_mean(side, np.arange(len(side))) for side in (x, y)]
    for block in row_blocks(*x.shape, x, y):
        rows[block] = np.square(np.asarray(x[block], np.float64) - y[block]).mean(1)
        own += sum(float(np.square(side[block] - mean).sum()) for side, mean in zip((x, y), means, strict=True))
    chance = own / x.size + float(np.square(means[0] - means[1]).mean())
    return Score(float(rows.mean()), chance, "mean over items and coordinates", rows)


@coordinate_metric(
    invariant={"permutation", "scale"},
    source="Pearson 1895, of all coordinates; Cannistraci et al. 2023, cross-seed figures",
)
def pearson(x: np.ndarray, y: np.ndarray) -> Score:
    """Pearson correlation of all coordinates of x with those of y.

    x, y: (n, d) floats. One correlation over the n d pairs of numbers. Raises NotApplicable when a space is constant.

    >>> round(pearson(np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[0.0, 1.0], [2.0, 1.0]])).value, 6)
    0.632456
    """
    x, y = scalable(x), scalable(y)
    means = [column_mean(side, np.arange(len(side))) for side in (x, y)]
    sums = np.zeros((len(x), 5))
    for block in row_blocks(*x.shape, x, y):
        u, v = (side[block] - mean.mean() for side, mean in zip((x, y), means, strict=True))
        products = (u * u, v * v, u * v)
        sums[block] = np.stack([u.sum(1), v.sum(1), *(p.sum(1) for p in products)], 1)
    value = float(_correlation(sums.sum(0), x.size))
    without = _correlation(sums.sum(0) - sums, x.size - x.shape[1]) if len(x) > 2 else None
    u, v = (mean - mean.mean() for mean in means)
    chance = float(u @ v) * len(x) / np.sqrt(np.prod(_spreads(sums.sum(0), x.size)))
    return Score(value, float(chance), "Pearson, all coordinates", jackknife=without)


def _spreads(sums: np.ndarray, count: int) -> np.ndarray:
    """The centred sums of squares (…, 2) of u and v, from the sums (…, 5) of u, v, u^2, v^2 and uv."""
    return sums[..., 2:4] - sums[..., :2] ** 2 / count


def _correlation(sums: np.ndarray, count: int) -> np.ndarray:
    spreads = _spreads(sums, count)
    for side, name in enumerate(("first", "second")):
        if not (spreads[..., side] > 1e-24 * np.max(sums[..., 2 + side])).all():
            raise NotApplicable(f"the coordinates of the {name} space are all equal")
    cross = sums[..., 4] - sums[..., 0] * sums[..., 1] / count
    return np.clip(cross / np.sqrt(spreads[..., 0]) / np.sqrt(spreads[..., 1]), -1, 1)


@coordinate_metric(
    invariant={"permutation", "scale"},
    source="Spearman 1904, of all coordinates; Cannistraci et al. 2023, cross-seed figures",
)
def spearman(x: np.ndarray, y: np.ndarray) -> Score:
    """Spearman rank correlation of all coordinates of x with those of y; equal numbers share their mean rank.

    x, y: (n, d) floats. Ranks are exact up to 4 million numbers, and binned on float32 bits above (error below 2e-8). Raises
    NotApplicable when a space is constant.

    >>> round(spearman(np.array([[0.0, 1.0], [2.0, 30.0]]), np.array([[0.0, 1.0], [3.0, 2.0]])).value, 6)
    0.8
    """
    x, y = scalable(x), scalable(y)
    left, right = ranking.ranked(x), ranking.ranked(y)
    for name, side in (("first", left), ("second", right)):
        if not side.ranks.any():
            raise NotApplicable(f"the coordinates of the {name} space are all equal")
    n, d = x.shape
    spread, columns = np.zeros(2), np.zeros((2, d))
    along = np.zeros(len(left.ranks)), np.zeros(len(right.ranks))  # for each code, the sum of the other side's ranks
    for block in row_blocks(n, d):
        codes = left.codes(block), right.codes(block)
        u, v = left.ranks[codes[0]], right.ranks[codes[1]]
        along[0][:] += np.bincount(codes[0].ravel(), v.ravel(), len(along[0]))
        along[1][:] += np.bincount(codes[1].ravel(), u.ravel(), len(along[1]))
        columns += u.sum(0), v.sum(0)
        spread += np.vdot(u, u), np.vdot(v, v)
    size = float(np.sqrt(spread[0]) * np.sqrt(spread[1]))
    value = float(np.clip(along[0] @ left.ranks / size, -1, 1))
    rows = _influence(left, right, along, x.shape) * (n / size)
    jackknife = value - (rows - rows.mean()) / (n - 1) if n > 2 else None
    exact = "exact ranks" if x.size <= ranking.EXACT else "ranks binned on float32 bits"
    chance = float(columns[0] @ columns[1]) / n / size
    return Score(value, chance, f"Spearman, all coordinates, {exact}", jackknife=jackknife)


def _influence(
    left: ranking.Ranked, right: ranking.Ranked, along: tuple[np.ndarray, np.ndarray], shape: tuple[int, int]
) -> np.ndarray:
    """The contribution (n,) of each row to the sum of products of ranks: by its own ranks, and by raising larger ranks."""
    below = [np.cumsum(a[::-1])[::-1] - a / 2 for a in along]
    rows = np.empty(shape[0])
    for block in row_blocks(*shape):
        cx, cy = left.codes(block), right.codes(block)
        rows[block] = (left.ranks[cx] * right.ranks[cy] + below[0][cx] + below[1][cy]).sum(1)
    return rows

"""Agreement of the merges of single linkage, which are the connected components of a space at every scale."""

from __future__ import annotations

from math import frexp

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.metrics.families import kernel_metric
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.numerics import row_pairs as pairs
from relrep_cli.numerics.chance_levels import UNKNOWN, drawn
from relrep_cli.numerics.intervals import halves
from relrep_cli.numerics.narrowing import scalable
from relrep_cli.numerics.workspace import UNSHARED, Workspace

ROWS = 2048  # more rows are sampled; up to here, an n x n array holds the heights
LEAST = 30  # rows for an interval
DIGITS = 40  # bits of the largest distance that count; lower bits are rounding errors


@dataclass(frozen=True)
class Merges:
    """Single linkage of n rows. edges: (n - 1, 2) the pairs at which clusters merge, the tree of least total length. heights:
    (n, n) the distance at which two rows come into one cluster."""

    edges: np.ndarray
    heights: np.ndarray


@kernel_metric(bounds=(-1, 1), source="Wang and Hu 2026, normalized topological similarity of merge orders (arXiv 2606.06342)")
def nts(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Normalised topological similarity: rank agreement of the merges of single linkage.

    x: (n, dx) and y: (n, dy) floats. The pairs of rows that are edges of the minimum spanning tree of either space, by
    Euclidean distance; the value is Spearman's correlation of the distances at which each pair comes into one cluster, in x
    and in y. Above 2048 rows a random sample of rows is used, which the convention states.

    Raises NotApplicable for fewer than 4 items, or when all merges within a space are at one distance.
    """
    if len(x) < 4:
        raise NotApplicable(f"{len(x)} items are too few")
    x, y, note = pairs.sample(x, y, ROWS)
    every = np.arange(len(x))
    first, second = (pairs.between(scalable(side), "euclidean")(every, every.copy()) for side in (x, y))
    a, b = _merges(first), _merges(second)
    value = _agreement(a, b)
    for name, side in (("first", a), ("second", b)):
        if not np.ptp(side.heights[tuple(side.edges.T)]):
            raise NotApplicable(f"the merges within the {name} space are all at one distance")
    level = drawn(lambda rng: _agreement(a, b, rng.permutation(len(x))), 1.0, seed) if workspace.intervals else UNKNOWN
    jackknife = None
    if workspace.intervals and len(x) >= LEAST:  # a jackknife would overestimate: without a row, trees change by whole edges
        jackknife = halves(value, len(x), lambda rows: _of_rows(first, second, rows))
    convention = f"merge distances of single linkage, Euclidean, edges of both trees, Spearman{note}"
    return Score(value, level.mean, convention, jackknife=jackknife, draws=level.draws, chance_error=level.error)


def _merges(distances: np.ndarray) -> Merges:
    """Prim's method, which starts at row 0. distances: (n, n); of equal ones, the earlier row comes first.

    >>> _merges(np.abs(np.subtract.outer([0.0, 1.0, 3.0], [0.0, 1.0, 3.0]))).heights.tolist()
    [[0.0, 1.0, 2.0], [1.0, 0.0, 2.0], [2.0, 2.0, 0.0]]
    """
    n = len(distances)
    step = 2.0 ** (frexp(float(distances.max()))[1] - DIGITS)
    near = np.rint(distances[0] / step)
    parent, outside = np.zeros(n, np.int64), np.ones(n, bool)
    outside[0] = False
    edges, heights, known = np.empty((n - 1, 2), np.int64), np.zeros((n, n)), np.zeros(n, np.int64)
    for done in range(1, n):
        new = int(np.argmin(np.where(outside, near, np.inf)))
        edges[done - 1] = parent[new], new
        there = known[:done]
        heights[new, there] = np.maximum(heights[parent[new], there], near[new])
        heights[there, new] = heights[new, there]
        known[done], outside[new] = new, False
        own = np.rint(distances[new] / step)
        closer = own < near
        near[closer], parent[closer] = own[closer], new
    return Merges(edges, heights * step)


def _agreement(a: Merges, b: Merges, order: np.ndarray | None = None) -> float:
    """Spearman's correlation of the heights at the edges of both trees. order: pairs row i of a with row order[i] of b."""
    n = len(a.heights)
    order = np.arange(n) if order is None else order
    back = np.argsort(order)
    ends = np.sort(np.concatenate([a.edges, back[b.edges]]), axis=1)
    i, j = np.divmod(np.unique(ends[:, 0] * n + ends[:, 1]), n)
    u, v = (_centred_ranks(h) for h in (a.heights[i, j], b.heights[order[i], order[j]]))
    size = float(np.sqrt(u @ u) * np.sqrt(v @ v))
    return float(np.clip(u @ v / size, -1, 1)) if size else 0.0


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """The midranks of values, less their mean."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[codes] - (len(values) + 1) / 2


def _of_rows(first: np.ndarray, second: np.ndarray, rows: np.ndarray) -> float:
    """The value of some rows alone."""
    return _agreement(_merges(first[np.ix_(rows, rows)]), _merges(second[np.ix_(rows, rows)]))

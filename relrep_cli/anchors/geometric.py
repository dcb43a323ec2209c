"""Strategies that choose anchors by the positions of the candidates."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from relrep_cli.anchors.candidates import Candidates, strategy
from relrep_cli.anchors.mixtures import Mixtures, mixed
from relrep_cli.base.errors import DataError
from relrep_cli.base.registry import Param
from relrep_cli.base.signals import check
from relrep_cli.neighbors import nearest
from relrep_cli.neighbors.kmeans import centroids, medoids
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.farthest_rows import farthest as rows_far_apart
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.store.limits import STATISTIC

By = Annotated[str, Param("Distance between candidates.", choices=("euclidean", "cosine"))]
Kernel = Annotated[
    str, Param("Kernel whose mean the anchors match: rbf, or linear for the plain mean.", choices=("rbf", "linear"))
]
Members = Annotated[int, Param("Items in each mixture, those nearest to its centre; 0 for its whole cluster.", minimum=0)]
ON_DEVICE = ("farthest", "kmeans", "mixture")  # strategies that read Candidates.device
SAMPLE = 2048  # random rows that approximate a mean over all pairs of rows


@strategy(gives="items", reads="", source="Lloyd 1982; Moschella et al. 2022, sec. A.2")
def kmeans(c: Candidates, m: int, rng: np.random.Generator, *, by: By = "euclidean") -> np.ndarray:
    """The item nearest to each of m k-means centroids, each item once.

    Returns (m,) places among the candidates.
    """
    x = c.vectors(by)
    centres = centroids(x, m, rng, device=c.device)
    return medoids(x, centres, c.ranges.near(c, centres, by) if c.ranges else (), c.device)


@strategy(gives="items", reads="", source="Gonzalez 1985: at most twice the smallest covering radius")
def farthest(c: Candidates, m: int, rng: np.random.Generator, *, by: By = "euclidean") -> np.ndarray:
    """From a random item on, always the item farthest from all chosen so far; of equals, the first.

    Returns (m,) places among the candidates.
    """
    first = int(rng.integers(len(c)))
    return c.ranges.farthest(c, first, m, by) if c.ranges else rows_far_apart(c.vectors(by), first, m, c.device)


@strategy(gives="items", reads="", source="Welling 2009; Chen, Welling & Smola 2010 with a kernel")
def herding(c: Candidates, m: int, rng: np.random.Generator, *, by: By = "euclidean", kernel: Kernel = "rbf") -> np.ndarray:
    """Items whose mean, of a kernel's features, follows the mean of all candidates as closely as each next one can.

    With the rbf kernel, the width is the median distance between 2,048 random candidates, and the mean over these replaces
    the mean over all candidates.

    Returns (m,) places among the candidates.
    """
    x = c.vectors(by)
    sample = np.asarray(pick(x, np.sort(rng.choice(len(x), min(SAMPLE, len(x)), replace=False))), np.float64)
    center = sample.mean(0)
    closeness = _rbf(sample, center) if kernel == "rbf" else lambda rows, picks: (rows - center) @ (picks - center).T
    target, own, sums, chosen = np.empty(len(x)), np.ones(len(x)), np.zeros(len(x)), np.empty(m, np.int64)
    for b in row_blocks(len(x), max(x.shape[1], len(sample)), x):
        rows = np.asarray(x[b], np.float64)
        target[b] = closeness(rows, sample).mean(1)
        if kernel == "linear":
            own[b] = np.square(rows - center).sum(1)
    for place in range(m):
        check()
        chosen[place] = row = int(np.argmax(target - (sums + own / 2) / (place + 1)))
        target[row] = -np.inf  # an item is chosen only once
        for b in row_blocks(*x.shape, x):
            sums[b] += closeness(np.asarray(x[b], np.float64), np.asarray(x[[row]], np.float64))[:, 0]
    return chosen


def _rbf(sample: np.ndarray, center: np.ndarray):  # type: ignore[no-untyped-def]
    """The Gaussian kernel (b, p) between rows (b, d) and picks (p, d); its width is the median distance within `sample`."""

    def squares(rows: np.ndarray, picks: np.ndarray) -> np.ndarray:
        u, v = rows - center, picks - center
        return np.maximum(np.vecdot(u, u)[:, None] + np.vecdot(v, v) - 2 * u @ v.T, 0)

    width = float(np.median(squares(sample, sample[:: max(1, len(sample) // 256)]))) or 1.0
    return lambda rows, picks: np.exp(-squares(rows, picks) / (2 * width))


@strategy(gives="mixtures", reads="", source="k-means centroids as means of items, so that every space has them")
def mixture(c: Candidates, m: int, rng: np.random.Generator, *, by: By = "euclidean", members: Members = 0) -> Mixtures:
    """Means of the m clusters of k-means: no items, but weights over items, which each space fills with its own rows.

    Returns Mixtures of the candidates.

    Raises DataError when the weights would not fit into the file.
    """
    if not members and len(c) > STATISTIC:
        raise DataError(
            f"{len(c)} weights are more than an anchor file takes", "Write --members 100, say.", file=c.spaces[0].uri
        )
    x = c.vectors(by)
    centres, on = centroids(x, m, rng, device=c.device), Workspace(shares=False, device=c.device)
    if members:
        near = nearest(centres, x, min(members, len(x)), by="euclidean", workspace=on).rows
        return mixed(c.ids, list(near))
    cluster_of = nearest(x, centres, 1, by="euclidean", workspace=on).rows[:, 0]
    medoid_of = dict(zip(range(m), medoids(x, centres, device=c.device), strict=True))  # stands in for an empty cluster
    order, ends = np.argsort(cluster_of, kind="stable"), np.cumsum(np.bincount(cluster_of, minlength=m))
    clusters = np.split(order, ends[:-1])
    return mixed(c.ids, [rows if len(rows) else np.array([medoid_of[i]]) for i, rows in enumerate(clusters)])

"""Strategies that look at where the candidates lie."""

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
from relrep_cli.numerics import distances as kernels
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.store.limits import STATISTIC

By = Annotated[str, Param("What makes candidates near to each other.", choices=("euclidean", "cosine"))]
Kernel = Annotated[str, Param("Whose mean the anchors match: rbf, or linear for the plain mean.", choices=("rbf", "linear"))]
Members = Annotated[int, Param("Items in each mixture, those nearest to its centre; 0 for its whole cluster.", minimum=0)]
SAMPLE = 2048  # rows that stand for all where a mean over all pairs is wanted


@strategy(gives="items", reads="", source="Lloyd 1982 by faiss.Kmeans; Moschella et al. 2022, sec. A.2")
def kmeans(c: Candidates, m: int, rng: np.random.Generator, *, by: By = "euclidean") -> np.ndarray:
    """The item nearest to each of m k-means centroids, each item once."""
    x = c.vectors(by)
    return medoids(x, centroids(x, m, rng))


@strategy(gives="items", reads="", source="Gonzalez 1985: at most twice the smallest covering radius")
def farthest(c: Candidates, m: int, rng: np.random.Generator, *, by: By = "euclidean") -> np.ndarray:
    """From a random item on, always the item farthest from all chosen so far; of equals, the first."""
    return kernels.farthest(c.vectors(by), int(rng.integers(len(c))), m)


@strategy(gives="items", reads="", source="Welling 2009; Chen, Welling & Smola 2010 with a kernel")
def herding(c: Candidates, m: int, rng: np.random.Generator, *, by: By = "euclidean", kernel: Kernel = "rbf") -> np.ndarray:
    """Items whose mean, of a kernel's features, follows the mean of all candidates as closely as each next one can.

    rbf: its width is the median distance of 2,048 random candidates, and the mean over all is that over these.
    """
    x = c.vectors(by)
    some = np.asarray(pick(x, np.sort(rng.choice(len(x), min(SAMPLE, len(x)), replace=False))), np.float64)
    middle = some.mean(0)
    like = _rbf(some, middle) if kernel == "rbf" else lambda rows, picks: (rows - middle) @ (picks - middle).T
    goal, own, sums, found = np.empty(len(x)), np.ones(len(x)), np.zeros(len(x)), np.empty(m, np.int64)
    for b in row_blocks(len(x), max(x.shape[1], len(some)), x):
        rows = np.asarray(x[b], np.float64)
        goal[b] = like(rows, some).mean(1)
        if kernel == "linear":
            own[b] = np.square(rows - middle).sum(1)
    for place in range(m):
        check()
        found[place] = row = int(np.argmax(goal - (sums + own / 2) / (place + 1)))
        goal[row] = -np.inf  # never again
        for b in row_blocks(*x.shape, x):
            sums[b] += like(np.asarray(x[b], np.float64), np.asarray(x[[row]], np.float64))[:, 0]
    return found


def _rbf(some: np.ndarray, middle: np.ndarray):  # type: ignore[no-untyped-def]
    """The Gaussian kernel (b, p) of rows (b, d) and picks (p, d), as wide as the median distance among `some` rows."""

    def squares(rows: np.ndarray, picks: np.ndarray) -> np.ndarray:
        u, v = rows - middle, picks - middle
        return np.maximum(np.vecdot(u, u)[:, None] + np.vecdot(v, v) - 2 * u @ v.T, 0)

    width = float(np.median(squares(some, some[:: max(1, len(some) // 256)]))) or 1.0
    return lambda rows, picks: np.exp(-squares(rows, picks) / (2 * width))


@strategy(gives="mixtures", reads="", source="k-means centroids as means of items, so that every space has them")
def mixture(c: Candidates, m: int, rng: np.random.Generator, *, by: By = "euclidean", members: Members = 0) -> Mixtures:
    """Means of the m clusters of k-means: no items, but weights over items, which each space fills with its own rows.

    Raises DataError when the weights would not fit into the file.
    """
    if not members and len(c) > STATISTIC:
        raise DataError(f"{c.spaces[0].uri}: {len(c)} weights are more than an anchor file takes; write --members 100, say.")
    x = c.vectors(by)
    centres = centroids(x, m, rng)
    if members:
        near = nearest(centres, x, min(members, len(x)), by="euclidean").rows
        return mixed(c.ids, list(near))
    of = nearest(x, centres, 1, by="euclidean").rows[:, 0]
    alone = dict(zip(range(m), medoids(x, centres), strict=True))  # for a cluster that nobody is left in
    order, ends = np.argsort(of, kind="stable"), np.cumsum(np.bincount(of, minlength=m))
    clusters = np.split(order, ends[:-1])
    return mixed(c.ids, [rows if len(rows) else np.array([alone[i]]) for i, rows in enumerate(clusters)])

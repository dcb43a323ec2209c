"""K-means with faiss, with the same result on any number of threads."""

from __future__ import annotations

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import pick, take
from relrep_cli.numerics.threads import single_threaded

ITERATIONS = 25
ROUNDS = 5  # iterations between two checks for signals
ROWS_PER_CENTROID, BYTES = 256, 64 << 20  # training rows per centroid, and bytes of all training rows


def centroids(x: np.ndarray, c: int, rng: np.random.Generator, iterations: int = ITERATIONS) -> np.ndarray:
    """Compute c centroids of the rows of x (n, d), n >= c, with Lloyd's algorithm from random rows (`faiss.Kmeans`).

    A large x is sampled: 256 random rows per centroid, at most 64 MiB, but at least c rows.

    Returns (c, d) float32.
    """
    import faiss

    most = max(c, min(ROWS_PER_CENTROID * c, BYTES // (4 * x.shape[1])))
    rows = np.arange(len(x)) if len(x) <= most else np.sort(rng.choice(len(x), most, replace=False))
    some = np.ascontiguousarray(pick(x, rows), np.float32)
    centres = some[rng.choice(len(some), c, replace=False)]
    with single_threaded("blas"):  # with several threads, rounding would depend on their number
        for done in range(0, iterations, ROUNDS):
            check()
            trained = faiss.Kmeans(
                x.shape[1],
                c,
                niter=min(ROUNDS, iterations - done),
                min_points_per_centroid=1,
                max_points_per_centroid=len(some),
                seed=int(rng.integers(1 << 30)),
            )
            trained.train(some, init_centroids=centres)
            centres = np.asarray(trained.centroids)
    return centres


def medoids(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """For each centre in turn, choose the nearest row of x (n, d) that is not taken yet. Returns (c,) row numbers."""
    near = nearest(centres, x, min(len(x), 16), by="euclidean").rows
    taken = np.zeros(len(x), bool)
    for place, options in enumerate(near):
        free = options[~taken[options]]
        row = free[0] if len(free) else _nearest_free(x, centres[place], taken)
        near[place, 0] = row
        taken[row] = True
    return near[:, 0].copy()


def _nearest_free(x: np.ndarray, centre: np.ndarray, taken: np.ndarray) -> int:
    free = np.flatnonzero(~taken)
    return int(free[nearest(centre[None], take(x, free), 1, by="euclidean").rows[0, 0]])

"""K-means with faiss, with the same result on any number of threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import pick, take
from relrep_cli.numerics.spread import row_ranges
from relrep_cli.numerics.threads import single_threaded

ITERATIONS = 25
ROUNDS = 5  # iterations between two checks for signals
ROWS_PER_CENTROID, BYTES = 256, 64 << 20  # training rows per centroid, and bytes of all training rows

NEAR = 16  # rows nearest to a centre among which one is likely to be free


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


def medoids(x: np.ndarray, centres: np.ndarray, near: Sequence[np.ndarray] = ()) -> np.ndarray:
    """For each centre in turn, choose the nearest row of x (n, d) that is not taken yet. Returns (c,) row numbers.

    near: for each range of the rows of x, what `nearest_in` found there, as numbers of rows of x; by default it is found here.
    """
    ranges = row_ranges(len(x), float(centres.size))
    near_of_ranges = [*near] or [start + nearest_in(x[start:stop], centres) for start, stop in ranges]
    near_all = near_of_ranges[0]
    if len(near_of_ranges) > 1:
        options = np.sort(np.concatenate(near_of_ranges, 1))
        order = [
            nearest(c[None], pick(x, rows), min(len(rows), NEAR), by="euclidean").rows[0]
            for c, rows in zip(centres, options, strict=True)
        ]
        near_all = np.take_along_axis(options, np.stack(order), 1)
    taken = np.zeros(len(x), bool)
    for place, options in enumerate(near_all):
        free = options[~taken[options]]
        row = free[0] if len(free) else _nearest_free(x, centres[place], taken)
        near_all[place, 0] = row
        taken[row] = True
    return near_all[:, 0].copy()


def nearest_in(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(c, up to NEAR) numbers of the rows of x (n, d) that are nearest to each centre (c, d)."""
    return nearest(centres, x, min(len(x), NEAR), by="euclidean").rows


def _nearest_free(x: np.ndarray, centre: np.ndarray, taken: np.ndarray) -> int:
    free = np.flatnonzero(~taken)
    return int(free[nearest(centre[None], take(x, free), 1, by="euclidean").rows[0, 0]])

"""K-means by Lloyd's algorithm, with the same result on any number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from threading import local

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import pick, slices, take
from relrep_cli.numerics.spread import row_ranges
from relrep_cli.numerics.threads import run_all

ITERATIONS = 25
ROWS_PER_CENTROID, BYTES = 256, 64 << 20  # training rows per centroid, and bytes of all training rows
TILE = 1 << 20  # bytes of a tile of products, which the second cache holds

NEAR = 16  # rows nearest to a centre among which one is likely to be free


def centroids(x: np.ndarray, c: int, rng: np.random.Generator, iterations: int = ITERATIONS) -> np.ndarray:
    """Compute c centroids of the rows of x (n, d), n >= c, with Lloyd's algorithm from random rows.

    A large x is sampled: 256 random rows per centroid, at most 64 MiB, but at least c rows.

    Returns (c, d) float32.
    """
    most = max(c, min(ROWS_PER_CENTROID * c, BYTES // (4 * x.shape[1])))
    rows = np.arange(len(x)) if len(x) <= most else np.sort(rng.choice(len(x), most, replace=False))
    some = np.ascontiguousarray(pick(x, rows), np.float32)
    middle = some.mean(0, dtype=np.float64).astype(np.float32)
    some = some - middle  # far from the origin, squared lengths would hide the distances
    centres, labels = some[rng.choice(len(some), c, replace=False)], np.full(len(some), -1)
    for _ in range(iterations):
        check()
        before, labels = labels, _nearest_centre(some, centres)
        if np.array_equal(before, labels):
            break
        centres = _means(some, labels, centres)
    return centres + middle


def _nearest_centre(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(n,) the number of the centre that is nearest to each row; the first one of several."""
    labels, half, own = np.empty(len(x), np.int64), 0.5 * np.einsum("ij,ij->i", centres, centres), local()
    rows = max(64, TILE // (4 * len(centres)))

    def label(tile: slice) -> None:
        if not hasattr(own, "room"):
            own.room = np.empty((rows, len(centres)), np.float32)
        products = own.room[: tile.stop - tile.start]
        np.matmul(x[tile], centres.T, out=products)
        products -= half
        products.argmax(1, out=labels[tile])

    run_all(label, slices(len(x), rows))
    return labels


def _means(x: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The mean of the rows of each centre. A centre without rows moves to one of the rows that are farthest from theirs."""
    c = len(centres)
    order = np.argsort(labels.astype(np.uint16 if c <= 1 << 16 else np.int64), kind="stable")
    ends, sorted_rows = np.cumsum(np.bincount(labels, minlength=c)), x[order]
    moved = centres.copy()
    for centre, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if end > start:
            moved[centre] = sorted_rows[start:end].mean(0, dtype=np.float64)
    empty = np.flatnonzero(np.diff(ends, prepend=0) == 0)
    if len(empty):
        gaps = np.concatenate([np.square(x[rows] - moved[labels[rows]]).sum(1) for rows in slices(len(x), 4096)])
        moved[empty] = x[np.argsort(-gaps, kind="stable")[: len(empty)]]
    return moved


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

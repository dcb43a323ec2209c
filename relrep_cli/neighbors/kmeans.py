"""K-means by Lloyd's algorithm, with the same result on any number of threads and on any device.

Float32 products find the two nearest centres of a row, and float64 decides where their rounding could. Means are float64 sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import local

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.neighbors import nearest, torch_tiles
from relrep_cli.neighbors.frames import UNIT
from relrep_cli.numerics import native
from relrep_cli.numerics.blocks import pick, row_blocks, slices, take
from relrep_cli.numerics.devices import NUMPY, chosen
from relrep_cli.numerics.spread import row_ranges
from relrep_cli.numerics.threads import run_all
from relrep_cli.numerics.workspace import Workspace

ITERATIONS = 25
ROWS_PER_CENTROID, BYTES = 256, 64 << 20  # training rows per centroid, and bytes of all training rows
TILE = 1 << 20  # bytes of a tile of products, which the second cache holds

NEAR = 16  # rows nearest to a centre among which one is likely to be free


# centres (c, d), half of their squared lengths (c,) -> the nearest centre of each row (n,), its closeness, that of the next
TwoNearest = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def centroids(x: np.ndarray, c: int, rng: np.random.Generator, iterations: int = ITERATIONS, device: str = NUMPY) -> np.ndarray:
    """Compute c centroids of the rows of x (n, d), n >= c, with Lloyd's algorithm from random rows.

    A large x is sampled: 256 random rows per centroid, at most 64 MiB, but at least c rows. device: where the products of rows
    and centroids are computed; see devices.chosen.

    Returns (c, d) float32.
    """
    most = max(c, min(ROWS_PER_CENTROID * c, BYTES // (4 * x.shape[1])))
    rows = np.arange(len(x)) if len(x) <= most else np.sort(rng.choice(len(x), most, replace=False))
    some = np.ascontiguousarray(pick(x, rows), np.float32)
    middle = some.mean(0, dtype=np.float64).astype(np.float32)
    some = some - middle  # far from the origin, squared lengths would hide the distances
    two = partial(_two_nearest, some) if chosen(device) == NUMPY else torch_tiles.two_nearest(some, c, device)
    lengths = np.sqrt(np.einsum("ij,ij->i", some, some, dtype=np.float64))
    centres, labels = some[rng.choice(len(some), c, replace=False)], np.full(len(some), -1)
    for _ in range(iterations):
        check()
        before, labels = labels, _nearest_centre(some, centres, lengths, two)
        if np.array_equal(before, labels):
            break
        centres = _means(some, labels, centres)
    return centres + middle


def _nearest_centre(x: np.ndarray, centres: np.ndarray, lengths: np.ndarray, two: TwoNearest) -> np.ndarray:
    """(n,) the number of the centre that is nearest to each row; the first one of several. lengths: (n,) of the rows.

    A centre is as close as its product with the row, less half of its squared length. The error of d float32 roundings is at
    most `slack`; a centre that could be the nearest is no longer than the row and its distance from the next one together.
    """
    wide = centres.astype(np.float64)
    half = np.einsum("ij,ij->i", wide, wide) / 2
    labels, first, second = two(centres, half.astype(np.float32))
    apart = np.sqrt(np.maximum(lengths**2 - 2 * second, 0))  # infinite for a single centre
    longest = np.minimum(np.sqrt(2 * half.max()), lengths + 2 * apart)
    slack = (x.shape[1] + 16) * UNIT * longest * (lengths + longest)
    unsure = np.flatnonzero(first - second <= 2 * slack)
    for block in row_blocks(len(unsure), max(centres.shape)):
        some = unsure[block]
        labels[some] = (x[some].astype(np.float64) @ wide.T - half).argmax(1)
    return labels


def _two_nearest(x: np.ndarray, centres: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest centre of each row, and how close it and the next one are, in float32 on the CPU; see TwoNearest."""
    labels, first, second = np.empty(len(x), np.int64), np.empty(len(x), np.float32), np.empty(len(x), np.float32)
    rows, own = max(64, TILE // (4 * len(centres))), local()
    largest = native.two_largest if native.available() else _two_largest

    def label(tile: slice) -> None:
        if not hasattr(own, "room"):
            own.room = np.empty((rows, len(centres)), np.float32)
        products = np.matmul(x[tile], centres.T, out=own.room[: tile.stop - tile.start])
        largest(products, half, labels[tile], first[tile], second[tile])

    run_all(label, slices(len(x), rows))
    return labels, first.astype(np.float64), second.astype(np.float64)


def _two_largest(values: np.ndarray, half: np.ndarray, place: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """As native.two_largest, with NumPy; `values` are overwritten."""
    values -= half
    rows = np.arange(len(values))
    values.argmax(1, out=place)
    first[:] = values[rows, place]
    values[rows, place] = -np.inf
    values.max(1, out=second)


def _means(x: np.ndarray, labels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The mean of the rows of each centre. A centre without rows moves to one of the rows that are farthest from theirs."""
    sums, counts = np.zeros(centres.shape), np.bincount(labels, minlength=len(centres))
    (native.add_rows if native.available() else _add_rows)(x, labels, sums)
    full = counts > 0
    moved = centres.copy()
    moved[full] = sums[full] / counts[full, None]
    if not full.all():
        gaps = np.concatenate([np.square(x[rows] - moved[labels[rows]]).sum(1) for rows in slices(len(x), 4096)])
        moved[~full] = x[np.argsort(-gaps, kind="stable")[: len(centres) - full.sum()]]
    return moved


def _add_rows(x: np.ndarray, labels: np.ndarray, sums: np.ndarray) -> None:
    """As native.add_rows, with NumPy, which adds the rows of a centre in the same order."""
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=len(sums)))
    for centre, rows in enumerate(np.split(order, ends[:-1])):
        sums[centre] = x[rows].sum(0, dtype=np.float64)


def medoids(x: np.ndarray, centres: np.ndarray, near: Sequence[np.ndarray] = (), device: str = NUMPY) -> np.ndarray:
    """For each centre in turn, choose the nearest row of x (n, d) that is not taken yet. Returns (c,) row numbers.

    near: for each range of the rows of x, what `nearest_in` found there, as numbers of rows of x; by default it is found here.
    device: where these are searched; see devices.chosen.
    """
    ranges = row_ranges(len(x), float(centres.size))
    near_of_ranges = [*near] or [start + nearest_in(x[start:stop], centres, device) for start, stop in ranges]
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


def nearest_in(x: np.ndarray, centres: np.ndarray, device: str = NUMPY) -> np.ndarray:
    """(c, up to NEAR) numbers of the rows of x (n, d) that are nearest to each centre (c, d). device: see devices.chosen."""
    on = Workspace(shares=False, device=device)
    return nearest(centres, x, min(len(x), NEAR), by="euclidean", workspace=on).rows


def _nearest_free(x: np.ndarray, centre: np.ndarray, taken: np.ndarray) -> int:
    free = np.flatnonzero(~taken)
    return int(free[nearest(centre[None], take(x, free), 1, by="euclidean").rows[0, 0]])

"""Sums over all pairs of rows of two spaces, computed tile by tile without an n x n array.

Rows are split into groups, and there is a sum for each pair of groups. So the sums without any one group are known exactly,
which gives a jackknife for quantities defined on pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import frexp
from typing import Literal

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.numerics import native
from relrep_cli.numerics.blocks import column_mean, pick, row_blocks
from relrep_cli.numerics.devices import NUMPY
from relrep_cli.numerics.distances import unit_rows
from relrep_cli.numerics.pair_products import Products, RowsOf, products_of
from relrep_cli.numerics.threads import in_order

Distance = Literal["correlation", "cosine", "euclidean"]
GROUPS = 20
TILE = 512  # rows on either side of a tile, at most: two float64 tiles and their products stay in the CPU cache
PREPARED = 128 << 20  # up to this many bytes, rows are preprocessed once and not for each tile
MOST = 20_000  # up to this many rows, all pairs are used; of more rows, a random sample
LEAST_WIDTH = 1e-150  # of the RBF kernel, for the largest coordinate: the inverse of its square fits float64
NOTHING = np.empty(0)
WIDTH_ROWS = 2048  # rows used for the median distance


@dataclass(frozen=True)
class Tile:
    """The pairs of rows `i` with rows `j`. When both are the same rows, the tile holds both triangles and the diagonal.

    g, h: the groups of rows i and j, ascending. at, to: where each of these groups begins within i and j.
    """

    i: np.ndarray
    j: np.ndarray
    g: np.ndarray
    h: np.ndarray
    at: np.ndarray
    to: np.ndarray

    @property
    def same(self) -> bool:
        return self.i is self.j

    def by_groups(self, values: np.ndarray) -> np.ndarray:
        """Sum (i, j) values over pairs of groups: (len(g), len(h))."""
        if len(self.g) == len(self.h) == 1:
            return values.sum(keepdims=True)
        return np.add.reduceat(np.add.reduceat(values, self.to, axis=1), self.at, axis=0)

    def products(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Sum a * b over pairs of groups."""
        return np.array([[np.vdot(a, b)]]) if len(self.g) == len(self.h) == 1 else self.by_groups(a * b)


def tiles(n: int, groups: int = GROUPS) -> Iterator[Tile]:
    """Yield tiles that cover each pair of n rows once.

    Row r is in group r modulo `groups`, so that the groups of a sorted file are similar. Large groups have tiles of their own;
    with small groups, a tile spans several.
    """
    groups = min(groups, n)
    dealt = [np.arange(g, n, groups) for g in range(groups)]
    if n < groups * TILE // 4:
        dealt = [np.concatenate(dealt)]
    pieces = [part for rows in dealt for part in np.array_split(rows, -(-len(rows) // TILE))]
    starts = [np.unique(part % groups, return_index=True) for part in pieces]
    for a, (i, (g, at)) in enumerate(zip(pieces, starts, strict=True)):
        check()
        for j, (h, to) in zip(pieces[a:], starts[a:], strict=True):
            yield Tile(i, j, g, h, at, to)


def sample(x: np.ndarray, y: np.ndarray, most: int | None = None) -> tuple[np.ndarray, np.ndarray, str]:
    """Take the same random rows, at most `most`, from both spaces. Returns both, and a note for the convention."""
    n, most = len(x), most or MOST
    if n <= most:
        return x, y, ""
    rows = np.sort(np.random.default_rng(0).permutation(n)[:most])
    return pick(x, rows), pick(y, rows), f", {most} of {n} items (seed 0)"


Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]


def between(x: np.ndarray, distance: Distance, device: str = NUMPY) -> Measure:
    """Return a function from row numbers i (p,) and j (q,) to their distances (p, q) within (n, d) x, in float64.

    device: where products of rows are computed; see devices.chosen.
    """
    origin = column_mean(x, np.arange(len(x))) if distance == "euclidean" else None

    def prepared(rows: np.ndarray) -> np.ndarray:
        wide = np.asarray(pick(x, rows), np.float64)
        if origin is not None:
            return wide - origin
        return unit_rows(wide - wide.mean(1, keepdims=True) if distance == "correlation" else wide)

    known = None
    if x.size * 8 <= PREPARED:
        known = np.empty(x.shape)
        for block in row_blocks(*x.shape, x):
            known[block] = prepared(np.arange(block.start, block.stop))

    rows_of = prepared if known is None else known.__getitem__
    products_of_rows = products_of(rows_of, x.shape, device)
    sizes = None if origin is None else row_sizes(rows_of, x.shape)

    def measure(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        products = products_of_rows(i, j)
        return np.subtract(1, products, out=products) if sizes is None else _euclidean(sizes[i], sizes[j], products)

    return measure


def row_sizes(rows_of: RowsOf, shape: tuple[int, ...]) -> np.ndarray:
    """The squared lengths (n,) of all rows of a space of a shape (n, d)."""
    n, d = shape
    blocks = (rows_of(np.arange(block.start, block.stop)) for block in row_blocks(n, d))
    return np.concatenate([np.einsum("ij,ij->i", rows, rows) for rows in blocks])


def _euclidean(own: np.ndarray, other: np.ndarray, products: np.ndarray) -> np.ndarray:
    """sqrt(|a|^2 + |b|^2 - 2 ab) in place. Values below the rounding error become 0, so equal rows have distance 0."""
    sizes = own[:, None] + other
    products *= -2
    products += sizes  # added to each other first, so that (i, j) and (j, i) have the same bits
    sizes *= 1e-14
    products[products < sizes] = 0
    return np.sqrt(products, out=products)


def gaussian(x: np.ndarray, device: str = NUMPY) -> tuple[Measure, float]:
    """Return the RBF kernel exp(-d^2 / (2 w^2)) between rows of (n, d) x, and its width w, the median distance between rows.

    All is computed in float64: float32 products would move CKA by up to 5e-9 from one processor to another. device: where
    products of rows are computed; see devices.chosen.

    Raises NotApplicable when more than half of the distances are 0.
    """
    rows, unit = _centred(x, device)
    width, known = rows.median()
    if not LEAST_WIDTH < width < np.inf:
        raise NotApplicable("the median distance is 0" + " beside the largest coordinate" * (width > 0))

    def measure(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        at, to, closeness = known.get((i[0], j[0]), (NOTHING, NOTHING, NOTHING))
        fits = np.array_equal(i, at) and np.array_equal(j, to)
        return _exponentials(closeness.copy() if fits else rows.closeness(i, j), 1 / width**2)

    return measure, width / unit


def _exponentials(values: np.ndarray, factor: float) -> np.ndarray:
    """exp(values * factor) in place, for contiguous float64 values; no product is above 0."""
    if native.available():
        native.exponentials(values, factor)
        return values
    values *= factor
    return np.exp(values, out=values)


@dataclass(frozen=True)
class _Centred:
    """Products of rows (n, d) relative to their mean, and half their squared lengths, `halves` (n,)."""

    products: Products
    halves: np.ndarray

    def closeness(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Minus half the squared distances (p, q) between rows i (p,) and j (q,)."""
        out = self.products(i, j)
        out -= self.halves[i][:, None]
        out -= self.halves[j]
        return np.minimum(out, 0, out=out)

    def median(self) -> tuple[float, dict[tuple[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]]:
        """Return the median distance between evenly spaced rows; where these are all rows, also each tile: i, j, closeness.

        A tile is known by the first of its rows on either side.
        """
        rows = np.arange(0, len(self.halves), -(-len(self.halves) // WIDTH_ROWS))
        known, apart = {}, []

        def closeness(tile: Tile) -> tuple[Tile, np.ndarray]:
            i = rows[tile.i]
            return tile, self.closeness(i, i if tile.same else rows[tile.j])

        for tile, values in in_order(closeness, tiles(len(rows))):
            apart.append(values[~np.tri(len(values), dtype=bool)] if tile.same else values.ravel())
            if len(rows) == len(self.halves):
                known[tile.i[0], tile.j[0]] = tile.i, tile.j, values
        return float(np.sqrt(-2 * _middle(np.concatenate(apart))).mean()), known


def _centred(x: np.ndarray, device: str) -> tuple[_Centred, float]:
    """Return the rows of x (n, d) less their mean, times a power of two so that squares neither over- nor underflow; and it."""
    from relrep_cli.numerics.spool import spool

    origin = column_mean(x, np.arange(len(x)))
    peak = max(max(float(x[b].max()), -float(x[b].min())) for b in row_blocks(*x.shape, x))
    unit = 2.0 ** min(-frexp(peak)[1], 1000)
    centred, halves = spool(x.shape, np.float64), np.empty(len(x))
    for block in row_blocks(*x.shape, x, centred):
        rows = (x[block] - origin) * unit
        centred[block], halves[block] = rows, np.einsum("ij,ij->i", rows, rows) / 2
    rows_of = centred.__getitem__ if centred.nbytes <= PREPARED else partial(pick, centred)
    return _Centred(products_of(rows_of, x.shape, device), halves), unit


def _middle(values: np.ndarray) -> np.ndarray:
    """(2,) the two middle order statistics of values (m,), equal when m is odd.

    A sample gives an interval that contains the median almost surely, and only the values within it are partitioned. This takes
    a third of the time of np.median.
    """
    m = len(values)
    few = np.sort(values[:: max(1, m // 10_000)])
    low, high = few[int(0.48 * len(few))], few[int(0.52 * len(few))]
    first = int(np.count_nonzero(values < low))
    near = values[(values >= low) & (values <= high)]
    places = np.array([(m - 1) // 2, m // 2])
    if places[0] < first or places[1] >= first + len(near):
        first, near = 0, values
    return np.partition(near, places - first)[places - first]


@dataclass(frozen=True)
class PairSums:
    """Sums of a_ij, b_ij, a_ij^2, b_ij^2 and a_ij b_ij over ordered pairs of different rows, for each pair of groups.

    n: rows. totals: (5, G, G) sums over pairs of groups. rows: (2, n, G) sums of a_ij and b_ij over the j of each group.
    """

    n: int
    totals: np.ndarray
    rows: np.ndarray

    def whole(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Return n, the sums over all pairs (5,), and the sums over each row (2, n)."""
        return self.n, self.totals.sum((1, 2)), self.rows.sum(2)

    def without(self, g: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Return the same without group g."""
        groups = self.totals.shape[1]
        kept = np.arange(self.n) % groups != g
        left = self.totals.sum((1, 2)) - 2 * self.totals[:, g].sum(1) + self.totals[:, g, g]
        return int(kept.sum()), left, self.rows[:, kept].sum(2) - self.rows[:, kept, g]

    def jackknife(self, value: Callable[[int, np.ndarray, np.ndarray], float]) -> np.ndarray | None:
        """Return `value` without each group (G,); None when there are too few rows, or one of the values is undefined."""
        groups = self.totals.shape[1]
        if groups < 5 or self.n < 2 * groups:
            return None
        try:
            return np.array([value(*self.without(g)) for g in range(groups)])
        except NotApplicable:
            return None


def pair_sums(n: int, first: Measure, second: Measure) -> PairSums:
    """Sum the distances that `first` and `second` return, and their products, over all pairs of n rows."""
    groups = min(GROUPS, n)
    totals, rows = np.zeros((5, groups, groups)), np.zeros((2, n, groups))

    def sums(tile: Tile) -> tuple[Tile, np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """The sums (5, |g|, |h|) over pairs of groups, the sums over rows i, and the sums over rows j."""
        a, b = first(tile.i, tile.j), second(tile.i, tile.j)
        if tile.same:
            np.fill_diagonal(a, 0)
            np.fill_diagonal(b, 0)
        of_i = [np.add.reduceat(v, tile.to, axis=1) for v in (a, b)]
        of_j = [] if tile.same else [np.add.reduceat(v, tile.at, axis=0).T for v in (a, b)]
        products = [tile.products(*both) for both in ((a, a), (b, b), (a, b))]
        return tile, np.stack([*(np.add.reduceat(v, tile.at) for v in of_i), *products]), of_i, of_j

    for tile, total, of_i, of_j in in_order(sums, tiles(n)):
        totals[:, tile.g[:, None], tile.h] += total
        for side, v in enumerate(of_i):
            rows[side, tile.i[:, None], tile.h] += v
        if not tile.same:
            totals[:, tile.h[:, None], tile.g] += total.transpose(0, 2, 1)
            for side, v in enumerate(of_j):
                rows[side, tile.j[:, None], tile.g] += v
    return PairSums(n, totals, rows)

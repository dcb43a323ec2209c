"""Metrics of kernels, on the dissimilarities of all pairs of rows; visited in tiles, nothing is n x n but up to 2048 rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from relrep_cli import pairs, ranking
from relrep_cli.inference import wanted
from relrep_cli.metrics.kernels import _hsic_of_pairs, expected_alignment
from relrep_cli.metrics.score import NotApplicable, Score, metric
from relrep_cli.registry import Param

Distance = Annotated[
    Literal["correlation", "cosine", "euclidean"],
    Param("Dissimilarity of two rows.", choices=("correlation", "cosine", "euclidean")),
]
Correlation = Annotated[
    Literal["spearman", "pearson", "kendall"],
    Param("How dissimilarities are correlated.", choices=("spearman", "pearson", "kendall")),
]
EXACT_ROWS = 2048  # rows whose dissimilarities are ranked exactly, in memory
KENDALL_ROWS = 500
KEPT_ROWS = 6000  # rows whose codes are kept between passes, 150 MB; of more, they are made again
SAMPLE_ROWS = 1024  # rows whose dissimilarities say how they are spread


@metric(
    family="kernels",
    bounds=(0, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs=set(),
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "scale", "translation"},
    source="Szekely et al. 2007",
)
def distance_correlation(x: np.ndarray, y: np.ndarray) -> Score:
    """Distance correlation, of Euclidean distances.

    x: (n, dx), y: (n, dy). The square root of the correlation of doubly centred distances. Its chance level is the root of
    the expected square.
    """
    x, y, said = pairs.sample(x, y)
    sums = pairs.pair_sums(len(x), pairs.between(x, "euclidean"), pairs.between(y, "euclidean"))

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        xx, yy, xy = _hsic_of_pairs(n, totals, rows, 0.0, False)
        _refuse_flat(xx * n**2 / max(totals[2], 1e-300), yy * n**2 / max(totals[3], 1e-300))
        return float(np.sqrt(np.clip(xy / np.sqrt(xx) / np.sqrt(yy), 0, 1)))

    found = value(*sums.whole())
    level = float(np.sqrt(expected_alignment(*sums.whole(), 0.0)))
    return Score(found, level, f"Euclidean distances, biased{said}", jackknife=sums.jackknife(value))


def _refuse_flat(first: float, second: float) -> None:
    for name, share in (("first", first), ("second", second)):
        if not share > 1e-12:
            raise NotApplicable(f"the dissimilarities within the {name} space are all equal")


@metric(
    family="kernels",
    bounds=(0, None),
    identity=0,
    higher_is_closer=False,
    symmetric=True,
    needs=set(),
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "translation"},
    source="Klabunde et al. 2023, norm of the difference of similarity matrices",
)
def rsm_norm(x: np.ndarray, y: np.ndarray) -> Score:
    """Root mean square difference of Euclidean distances.

    x: (n, dx), y: (n, dy). Over pairs of different rows: the Frobenius norm of the difference over sqrt(n (n - 1)).
    """
    x, y, said = pairs.sample(x, y)
    first, second = pairs.between(x, "euclidean"), pairs.between(y, "euclidean")

    def apart(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return first(i, j) - second(i, j)

    sums = pairs.pair_sums(len(x), apart, second)
    spreads = pairs.pair_sums(len(x), first, second).whole()[1]

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        return float(np.sqrt(totals[2] / (n * (n - 1))))

    count = len(x) * (len(x) - 1)
    level = float(np.sqrt((spreads[2] + spreads[3] - 2 * spreads[0] * spreads[1] / count) / count))
    said = f"root mean square over pairs, Euclidean distances{said}"
    return Score(value(*sums.whole()), level, said, jackknife=sums.jackknife(value))


@metric(
    family="kernels",
    bounds=(-1, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs=set(),
    reads_coordinates=False,
    invariant={"permutation", "scale"},
    source="Kriegeskorte et al. 2008",
)
def rsa(x: np.ndarray, y: np.ndarray, *, distance: Distance = "correlation", correlation: Correlation = "spearman") -> Score:
    """Representational similarity analysis: correlation of the dissimilarities of all pairs of rows.

    x: (n, dx), y: (n, dy). Spearman: exact ranks up to 2048 rows, above ranks binned on float32 bits (error below 2e-8).
    Kendall: tau-b. Above 20,000 rows (Kendall: 500) a random sample of rows, which the convention states.
    """
    if len(x) < 4:
        raise NotApplicable(f"{len(x)} items are too few")
    x, y, said = pairs.sample(x, y, KENDALL_ROWS if correlation == "kendall" else pairs.MOST)
    first, second = pairs.between(x, distance), pairs.between(y, distance)
    way = {"spearman": _spearman, "pearson": _pearson, "kendall": _kendall}[correlation]
    value, jackknife = way(len(x), first, second)
    return Score(value, 0.0, f"{distance} distance, {correlation.capitalize()}{said}", jackknife=jackknife)


def _pearson(n: int, first: pairs.Measure, second: pairs.Measure) -> tuple[float, np.ndarray | None]:
    sums = pairs.pair_sums(n, first, second)

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        a, b, aa, bb, ab = totals / (n * (n - 1))
        _refuse_flat((aa - a * a) / max(aa, 1e-300), (bb - b * b) / max(bb, 1e-300))
        return float(np.clip((ab - a * b) / np.sqrt(aa - a * a) / np.sqrt(bb - b * b), -1, 1))

    return value(*sums.whole()), sums.jackknife(value)


def _kendall(n: int, first: pairs.Measure, second: pairs.Measure) -> tuple[float, np.ndarray | None]:
    from scipy.stats import kendalltau

    rows = np.arange(n)
    i, j = np.triu_indices(n, 1)
    a, b = first(rows, rows)[i, j], second(rows, rows)[i, j]
    _refuse_flat(float(np.ptp(a)), float(np.ptp(b)))
    groups = min(10, n)
    kept = [(i % groups != g) & (j % groups != g) for g in range(groups)]
    jackknife = np.array([kendalltau(a[k], b[k]).statistic for k in kept]) if n >= 30 and wanted() else None
    return float(kendalltau(a, b).statistic), jackknife


@dataclass(frozen=True)
class _Coded:
    """One space's dissimilarities as codes in ascending order, and the centred midrank of each code."""

    codes: pairs.Measure
    ranks: np.ndarray


def _spearman(n: int, first: pairs.Measure, second: pairs.Measure) -> tuple[float, np.ndarray | None]:
    a, b = _coded(n, first), _coded(n, second)
    _refuse_flat(*(float(np.abs(side.ranks).max()) for side in (a, b)))
    along, squares = (np.zeros(len(a.ranks)), np.zeros(len(b.ranks))), np.zeros(2)
    for weight, ca, cb in _code_tiles(n, a, b):
        u, v = a.ranks[ca], b.ranks[cb]
        along[0][:] += weight * np.bincount(ca, v, len(along[0]))
        along[1][:] += weight * np.bincount(cb, u, len(along[1]))
        squares += weight * np.vdot(u, u), weight * np.vdot(v, v)
    size = float(np.sqrt(squares[0]) * np.sqrt(squares[1]))
    value = float(np.clip(along[0] @ a.ranks / size, -1, 1))
    return value, _influence(n, a, b, along, value, size)


def _influence(
    n: int, a: _Coded, b: _Coded, along: tuple[np.ndarray, np.ndarray], value: float, size: float
) -> np.ndarray | None:
    """The value without each group of rows, to first order: what each pair adds by its own ranks and in larger ones."""
    groups = min(pairs.GROUPS, n)
    if n < 2 * groups or groups < 5 or not wanted():
        return None
    below = [np.cumsum(s[::-1])[::-1] - s / 2 for s in along]
    totals = np.zeros((groups, groups))
    for tile in pairs.tiles(n):
        ca, cb = a.codes(tile.i, tile.j), b.codes(tile.i, tile.j)
        added = a.ranks[ca] * b.ranks[cb] + below[0][ca] + below[1][cb]
        if tile.same:
            np.fill_diagonal(added, 0)
        found = tile.by_groups(added)
        totals[tile.g[:, None], tile.h] += found
        if not tile.same:
            totals[tile.h[:, None], tile.g] += found.T
    counts = np.bincount(np.arange(n) % groups)
    left = totals.sum() - 2 * totals.sum(1) + np.diag(totals)
    kept = (n - counts) * (n - counts - 1)
    mean = totals.sum() / (n * (n - 1))
    return value + (left / kept - mean) * n * (n - 1) / size


def _code_tiles(n: int, a: _Coded, b: _Coded) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """How often the pairs of each tile count among ordered pairs, and their codes, flat: pairs of different rows."""
    for tile in pairs.tiles(n):
        ca, cb = a.codes(tile.i, tile.j), b.codes(tile.i, tile.j)
        if tile.same:
            off = ~np.eye(len(tile.i), dtype=bool)
            yield 1, ca[off], cb[off]
        else:
            yield 2, ca.ravel(), cb.ravel()


def _coded(n: int, measure: pairs.Measure) -> _Coded:
    middle = (n * (n - 1) + 1) / 2
    if n <= EXACT_ROWS:
        codes, counts = _exact_codes(n, measure)
        return _Coded(lambda i, j: codes[np.ix_(i, j)], ranking.midranks(counts) - middle)
    rows = np.arange(0, n, -(-n // SAMPLE_ROWS))
    some = measure(rows, rows.copy())[~np.eye(len(rows), dtype=bool)]
    bins = ranking.bins_for(some, float(some.max()))
    kept: dict[tuple[int, int], np.ndarray] = {}

    def codes_of(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        key = int(i[0]), int(j[0])
        found = kept.get(key)
        if found is None:
            found = bins.codes(measure(i, j))
            if n <= KEPT_ROWS:
                kept[key] = found
        return found

    counts = np.zeros(bins.size, np.int64)
    for tile in pairs.tiles(n):
        found = np.bincount(codes_of(tile.i, tile.j).ravel(), minlength=bins.size)
        if tile.same:
            found -= np.bincount(np.diag(codes_of(tile.i, tile.j)), minlength=bins.size)
        counts += found if tile.same else 2 * found
    return _Coded(codes_of, np.where(counts, ranking.midranks(counts) - middle, 0))


def _exact_codes(n: int, measure: pairs.Measure) -> tuple[np.ndarray, np.ndarray]:
    rows, off = np.arange(n), ~np.eye(n, dtype=bool)
    values = measure(rows, rows)
    found, counts = ranking.dense(values[off])
    codes = np.zeros((n, n), np.int32)
    codes[off] = found
    return codes, counts

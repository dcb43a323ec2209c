"""Metrics of the dissimilarities of all pairs of rows. They are computed in tiles; only up to 2048 rows need an n x n array."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import frexp
from typing import Annotated, Literal

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Param
from relrep_cli.metrics.families import kernel_metric
from relrep_cli.metrics.kernels import _hsic_of_pairs, expected_alignment
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.numerics import midranks as ranking
from relrep_cli.numerics import row_pairs as pairs
from relrep_cli.numerics.blocks import slices, take
from relrep_cli.numerics.intervals import spread_of_all
from relrep_cli.numerics.narrowing import common_powers, in_range, scalable
from relrep_cli.numerics.workspace import UNSHARED, Workspace

Distance = Annotated[
    Literal["correlation", "cosine", "euclidean"],
    Param("Dissimilarity of two rows.", choices=("correlation", "cosine", "euclidean")),
]
Correlation = Annotated[
    Literal["spearman", "pearson", "kendall"],
    Param("How dissimilarities are correlated.", choices=("spearman", "pearson", "kendall")),
]
EXACT_ROWS = 2048  # up to this many rows, dissimilarities are ranked exactly, in memory
KENDALL_ROWS = 500
KEPT_ROWS = 6000  # up to this many rows, codes are kept between passes (150 MB); beyond, they are recomputed
STRIP = 1 << 20  # pairs processed at a time
LEFT_OUT = 256  # rows left out one by one, at most, for the interval
DIGITS = 40  # bits of the largest dissimilarity that are ranked; lower bits are rounding errors
SAMPLE_ROWS = 1024  # rows whose dissimilarities give the bins for all


@kernel_metric(source="Szekely et al. 2007")
def distance_correlation(x: np.ndarray, y: np.ndarray, *, workspace: Workspace = UNSHARED) -> Score:
    """Distance correlation, of Euclidean distances.

    x: (n, dx) and y: (n, dy) floats. The square root of the correlation of doubly centred distances. The chance level is the
    root of the expected square. Above 20,000 rows a random sample of rows is used, which the convention states.

    Raises NotApplicable when all distances within a space are equal.
    """
    x, y, sample_note = pairs.sample(x, y)
    x, y = scalable(x), scalable(y)
    sums = pairs.pair_sums(len(x), *(pairs.between(side, "euclidean", workspace.device) for side in (x, y)))

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        xx, yy, xy = _hsic_of_pairs(n, totals, rows, 0.0, False)
        _refuse_flat(xx * n**2 / max(totals[2], 1e-300), yy * n**2 / max(totals[3], 1e-300))
        return float(np.sqrt(np.clip(xy / np.sqrt(xx) / np.sqrt(yy), 0, 1)))

    estimate = value(*sums.whole())
    level = float(np.sqrt(expected_alignment(*sums.whole(), 0.0)))
    return Score(
        estimate,
        level,
        f"Euclidean distances, biased{sample_note}",
        jackknife=sums.jackknife(value) if workspace.intervals else None,
    )


def _refuse_flat(first: float, second: float) -> None:
    for name, share in (("first", first), ("second", second)):
        if not share > 1e-12:
            raise NotApplicable(f"the dissimilarities within the {name} space are all equal")


@kernel_metric(
    bounds=(0, None),
    identity=0,
    higher_is_closer=False,
    invariant={"orthogonal", "permutation", "translation"},
    source="Klabunde et al. 2023, norm of the difference of similarity matrices",
)
def rsm_norm(x: np.ndarray, y: np.ndarray, *, workspace: Workspace = UNSHARED) -> Score:
    """Root mean square difference of Euclidean distances.

    x: (n, dx) and y: (n, dy) floats. The Frobenius norm of the difference of the distance matrices, divided by
    sqrt(n (n - 1)). Above 20,000 rows a random sample of rows is used, which the convention states.
    """
    x, y, sample_note = pairs.sample(x, y)
    power, _ = common_powers(x, y)
    first, second = (pairs.between(in_range(side, power), "euclidean", workspace.device) for side in (x, y))

    def apart(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return first(i, j) - second(i, j)

    sums = pairs.pair_sums(len(x), apart, second)
    spreads = pairs.pair_sums(len(x), first, second).whole()[1]

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        return float(np.sqrt(totals[2] / (n * (n - 1))))

    count = len(x) * (len(x) - 1)
    level = float(np.sqrt((spreads[2] + spreads[3] - 2 * spreads[0] * spreads[1] / count) / count))
    convention = f"root mean square over pairs, Euclidean distances{sample_note}"
    jackknife = sums.jackknife(value) if workspace.intervals else None
    return Score(value(*sums.whole()), level, convention, jackknife=jackknife, scale="log").times(power)


@kernel_metric(bounds=(-1, 1), invariant={"permutation", "scale"}, source="Kriegeskorte et al. 2008")
def rsa(
    x: np.ndarray,
    y: np.ndarray,
    *,
    distance: Distance = "correlation",
    correlation: Correlation = "spearman",
    workspace: Workspace = UNSHARED,
) -> Score:
    """Representational similarity analysis: correlation of the dissimilarities of all pairs of rows.

    x: (n, dx) and y: (n, dy) floats. Spearman uses exact ranks up to 2048 rows, and ranks binned on float32 bits above (error
    below 2e-8). Kendall is tau-b. Above 20,000 rows (Kendall: 500) a random sample of rows is used, which the convention
    states.

    Rows without a direction, whose dissimilarity to others is 0/0 (constant rows for correlation, zero rows for cosine), are
    left out of both spaces, and counted in the convention.

    Raises NotApplicable for fewer than 4 items, or when all dissimilarities within a space are equal.
    """
    defined = _has_direction(x, distance) & _has_direction(y, distance)
    if lost := int((~defined).sum()):
        x, y = take(x, np.flatnonzero(defined)), take(y, np.flatnonzero(defined))
    if len(x) < 4:
        raise NotApplicable(f"{len(x)} items are too few{f', {lost} without a direction left out' if lost else ''}")
    x, y, sample_note = pairs.sample(x, y, KENDALL_ROWS if correlation == "kendall" else pairs.MOST)
    sample_note += f", {lost} rows without a direction left out" if lost else ""
    first, second = (pairs.between(scalable(side), distance, workspace.device) for side in (x, y))
    correlate = {"spearman": _spearman, "pearson": _pearson, "kendall": _kendall}[correlation]
    value, jackknife = correlate(len(x), first, second, workspace.intervals)
    convention = f"{distance} distance, {correlation.capitalize()}{sample_note}"
    return Score(value, 0.0, convention, jackknife=jackknife, sample=np.flatnonzero(defined) if lost else None)


def _has_direction(x: np.ndarray, distance: Distance) -> np.ndarray:
    """Whether each row (n,) has a dissimilarity to others: not constant for correlation, not zero for cosine."""
    out = np.ones(len(x), bool)
    for rows in slices(len(x), 4096) if distance != "euclidean" else ():
        block = np.asarray(x[rows])
        out[rows] = (block != block[:, :1]).any(1) if distance == "correlation" else block.any(1)
    return out


def _pearson(n: int, first: pairs.Measure, second: pairs.Measure, intervals: bool) -> tuple[float, np.ndarray | None]:
    sums = pairs.pair_sums(n, first, second)

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        a, b, aa, bb, ab = totals / (n * (n - 1))
        _refuse_flat((aa - a * a) / max(aa, 1e-300), (bb - b * b) / max(bb, 1e-300))
        return float(np.clip((ab - a * b) / np.sqrt(aa - a * a) / np.sqrt(bb - b * b), -1, 1))

    return value(*sums.whole()), sums.jackknife(value) if intervals else None


def _levels(distances: np.ndarray, largest: float) -> np.ndarray:
    """Round distances, in place, to multiples of about 2^-40 of the largest, so that rounding errors do not break ties."""
    distances *= 2.0 ** min(DIGITS - frexp(max(largest, 0.0))[1], 1000)
    return np.rint(distances, out=distances)


def _kendall(n: int, first: pairs.Measure, second: pairs.Measure, intervals: bool) -> tuple[float, np.ndarray | None]:
    from scipy.stats import kendalltau

    rows = np.arange(n)
    i, j = np.triu_indices(n, 1)
    a, b = (_levels(distances, distances.max()) for distances in (first(rows, rows)[i, j], second(rows, rows)[i, j]))
    _refuse_flat(float(np.ptp(a)), float(np.ptp(b)))
    groups = min(10, n)
    kept = [(i % groups != g) & (j % groups != g) for g in range(groups)]
    jackknife = np.array([kendalltau(a[k], b[k]).statistic for k in kept]) if n >= 30 and intervals else None
    return float(kendalltau(a, b).statistic), jackknife


@dataclass(frozen=True)
class _Coded:
    """The dissimilarities of one space as integer codes, in ascending order.

    strip: function of a slice of rows; returns the codes of their pairs with later rows, flat. rows: function of row numbers
    (m,); returns their codes with all rows (m, n). ranks: the centred midrank of each code. size: the norm of the ranks of all
    pairs.
    """

    strip: Callable[[slice], np.ndarray]
    rows: Callable[[np.ndarray], np.ndarray]
    ranks: np.ndarray
    size: float


def _spearman(n: int, first: pairs.Measure, second: pairs.Measure, intervals: bool) -> tuple[float, np.ndarray | None]:
    a, b = _coded(n, first), _coded(n, second)
    _refuse_flat(*(float(np.abs(side.ranks).max()) for side in (a, b)))
    products = sum(float(np.vdot(a.ranks[a.strip(part)], b.ranks[b.strip(part)])) for part in _strips(n))
    value = float(np.clip(products / a.size / b.size, -1, 1))
    return value, _leave_one_out(n, a, b, value) if n >= 40 and intervals else None


def _leave_one_out(n: int, a: _Coded, b: _Coded, value: float) -> np.ndarray:
    """(g,) first-order estimates of the value without each of some rows.

    The pairs of a row contribute by their own ranks, and by raising the ranks of larger dissimilarities.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:LEFT_OUT])
    parts = np.array_split(chosen, -(-len(chosen) * n // STRIP))
    along = [np.zeros(len(side.ranks)) for side in (a, b)]  # at each code, the sum of the other side's ranks
    off = [np.arange(n) != part[:, None] for part in parts]
    codes = [(a.rows(part)[o], b.rows(part)[o]) for part, o in zip(parts, off, strict=True)]
    for ca, cb in codes:
        along[0] += np.bincount(ca, b.ranks[cb], len(along[0]))
        along[1] += np.bincount(cb, a.ranks[ca], len(along[1]))
    share = n / 2 / len(chosen)  # of all pairs, of which these rows have so many
    below = [(np.cumsum(s[::-1])[::-1] - s / 2) * share for s in along]
    added = [(a.ranks[ca] * b.ranks[cb] + below[0][ca] + below[1][cb]).reshape(-1, n - 1).mean(1) for ca, cb in codes]
    rows = np.concatenate(added)
    without = value + (rows.mean() - rows) * n * (n - 1) / (n - 2) / a.size / b.size
    return spread_of_all(without, n)


def _strips(n: int) -> Iterator[slice]:
    """Slices of consecutive rows with about STRIP pairs each."""
    return slices(n, max(1, STRIP // n))


def _later(part: slice, codes: np.ndarray) -> np.ndarray:
    """The codes of pairs i < j, flat. codes: (b, n - start), of the rows `part` with all rows from its start on."""
    width = part.stop - part.start
    return np.concatenate([codes[:, :width][np.triu_indices(width, 1)], codes[:, width:].ravel()])


def _coded(n: int, measure: pairs.Measure) -> _Coded:
    if n <= EXACT_ROWS:
        codes, counts = _exact_codes(n, measure)
        ranks = _centred_ranks(counts)
        return _Coded(lambda p: _later(p, codes[p, p.start :]), codes.__getitem__, ranks, _size(ranks, counts))
    some = np.arange(0, n, -(-n // SAMPLE_ROWS))
    sample = measure(some, some.copy())[~np.eye(len(some), dtype=bool)]
    largest, every = float(sample.max()), np.arange(n)
    bins = ranking.bins_for(_levels(sample, largest), 2.0**DIGITS)

    def binned(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return bins.codes(_levels(measure(i, j), largest))

    kept: dict[int, np.ndarray] = {}

    def strip(part: slice) -> np.ndarray:
        piece = kept.get(part.start)
        if piece is None:
            piece = _later(part, binned(every[part], every[part.start :]))
            if n <= KEPT_ROWS:
                kept[part.start] = piece
        return piece

    counts = np.zeros(bins.size, np.int64)
    for part in _strips(n):
        counts += np.bincount(strip(part), minlength=bins.size)
    ranks = _centred_ranks(counts)
    return _Coded(strip, lambda rows: binned(rows, every), ranks, _size(ranks, counts))


def _centred_ranks(counts: np.ndarray) -> np.ndarray:
    return np.where(counts, ranking.midranks(counts) - (counts.sum() + 1) / 2, 0)


def _size(ranks: np.ndarray, counts: np.ndarray) -> float:
    return float(np.sqrt(counts @ ranks**2))


def _exact_codes(n: int, measure: pairs.Measure) -> tuple[np.ndarray, np.ndarray]:
    """The codes (n, n), 0 on the diagonal, and the number of pairs with each code."""
    rows, upper = np.arange(n), np.triu_indices(n, 1)
    values = measure(rows, rows)[upper]
    values, counts = ranking.dense(_levels(values, values.max()))
    codes = np.zeros((n, n), np.int32)
    codes[upper] = values
    return codes + codes.T, counts

"""How classes lie apart, and how items fill the space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.comparison.dependent_rows import widened, widening_factor
from relrep_cli.evaluations.findings import GROUPS, Finding, Space, distances, evaluation, mean_of, mean_of_pairs, some
from relrep_cli.metrics.score import Score
from relrep_cli.metrics.statistics import log_ratios, potential
from relrep_cli.neighbors import nearest, unit_rows
from relrep_cli.numerics import row_pairs as pairs
from relrep_cli.numerics.blocks import column_mean, row_blocks, slices
from relrep_cli.numerics.intervals import bootstrap, halves
from relrep_cli.numerics.narrowing import scalable

MOST = 10_000  # items whose pairs are all visited
HALVED = 40  # items whose halves are large enough to have a dimension
SPAN = "in units of the root mean square distance of two items"


@evaluation(
    needs=set(),
    labels=True,
    source="Gilad-Bachrach et al. 2004, hypothesis margin; Wang and Isola 2020; Facco et al. 2017, TwoNN",
)
def separation(s: Space, *, seed: int = 0) -> Iterator[Finding]:
    """Class diameters and margins, alignment, uniformity, intrinsic dimension, and how far the rows lie from the origin.

    diameter: the largest Euclidean distance within a class, mean over classes. margin: half of the distance to the nearest
    item of another class less that to the nearest of the same. Both in units of the root mean square distance of two items.
    alignment: mean squared distance over pairs of items of a class. uniformity: log mean exp(-2 d^2) of all pairs. Both at
    length 1, lower is better. dimension: 1 / mean log(r2 / r1). magnitude: the length of the mean row. concentricity: the mean
    cosine of the rows with it.
    """
    rows, of = some(s.test, MOST, seed)
    sample = f", {of} items"
    vectors = s.vectors(rows)
    x = scalable(vectors)
    if s.codes is not None and len(s.classes) > 1:
        yield from _classes(x, s.codes[rows], sample, s.e.ids[rows])
    if len(x) > 2:
        for finding in chain(_uniformity(x, sample), _dimension(x, sample), _off_centre(vectors, sample, s.unit)):
            yield replace(finding, ids=s.e.ids[rows])


def _classes(x: np.ndarray, codes: np.ndarray, sample: str, ids: np.ndarray) -> Iterator[Finding]:
    """What is known of classes; nothing where all items are the same, or no class has two."""
    x, codes, ids = x[codes >= 0], codes[codes >= 0], ids[codes >= 0]
    unit = _span(x)
    sizes = np.bincount(codes, minlength=1)
    if not unit or sizes.max(initial=0) < 2:
        return
    several = [c for c in range(len(sizes)) if sizes[c] > 1]
    widths = np.array([_diameter(x[codes == c]) / unit for c in several])
    wide = mean_of(
        "diameter",
        widths,
        f"largest Euclidean distance within a class, {SPAN}, mean over classes{sample}",
        np.array(several),
        (0, None),
    )
    yield replace(wide, n=int(sizes[several].sum()), counts=sizes[several], lower_is_better=True)
    if len(np.unique(codes)) > 1:
        margins, order = _margins(x, codes, several)
        convention = f"(nearest of another class - nearest of the same) / 2, Euclidean, {SPAN}{sample}"

        def subset(places: np.ndarray) -> np.ndarray:
            return _margins_among(x[order[places]], codes[order[places]]) / unit

        yield replace(mean_of("margin", margins / unit, convention, codes[order], ids=ids[order]), subset=subset)
    yield _alignment(x, codes, sample, ids)


def _span(x: np.ndarray) -> float:
    """The root mean square distance of two different rows."""
    mean = np.asarray(x, np.float64).mean(0) if len(x) else np.zeros(x.shape[1])
    total = sum(float(np.square(x[b] - mean).sum()) for b in row_blocks(*x.shape, x))
    return float(np.sqrt(2 * total / max(len(x) - 1, 1)))


def _diameter(x: np.ndarray) -> float:
    """The largest distance between two rows."""
    measure = pairs.between(x, "euclidean")
    everything = np.arange(len(x))
    return max(float(measure(everything[block], everything).max()) for block in slices(len(x), pairs.TILE))


def _margins(x: np.ndarray, codes: np.ndarray, several: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """(m,) hypothesis margins of all rows of classes with more than one, and their row numbers."""
    margins, of = [], []
    for c in several:
        own, others = x[codes == c], x[codes != c]
        same = nearest(own, own, 1, by="euclidean", exclude_self=True).rows
        other = nearest(own, others, 1, by="euclidean").rows
        gap = distances(own, others, other, "euclidean") - distances(own, own, same, "euclidean")
        margins.append(gap[:, 0] / 2)
        of.append(np.flatnonzero(codes == c))
    return np.concatenate(margins), np.concatenate(of)


def _margins_among(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(n,) the margins of all rows, NaN for a row that is alone in its class. Raises NotApplicable for a single class."""
    sizes, out = np.bincount(codes), np.full(len(x), np.nan)
    if np.count_nonzero(sizes) < 2 or sizes.max() < 2:
        raise NotApplicable("there is only one class, or no class has two items")
    margins, order = _margins(x, codes, np.flatnonzero(sizes > 1).tolist())
    out[order] = margins
    return out


def _alignment(x: np.ndarray, codes: np.ndarray, sample: str, ids: np.ndarray) -> Finding:
    """The mean squared distance over pairs of a class, all at length 1. A row's own mean is 2 - 2 u (S - u) / (n - 1)."""
    unit = unit_rows(np.asarray(x, np.float64))
    sums, sizes = np.zeros((codes.max() + 1, x.shape[1])), np.bincount(codes)
    np.add.at(sums, codes, unit)
    kept = sizes[codes] > 1
    unit, codes, ids = unit[kept], codes[kept], ids[kept]
    others = sizes[codes] - 1
    rows = (2 - 2 * np.einsum("ij,ij->i", unit, sums[codes] - unit) / others).clip(0, 4)
    convention = f"squared distance at length 1, mean over pairs of items of a class{sample}"
    return replace(mean_of_pairs("alignment", rows, others, convention, codes, (0, 4), ids), lower_is_better=True)


def _uniformity(x: np.ndarray, sample: str) -> Iterator[Finding]:
    """The uniformity on the sphere; none where most rows are zero and lie nowhere on it."""
    if np.asarray(x).any(1).mean() < 0.5:
        return
    x = np.asarray(x)[np.random.default_rng(0).permutation(len(x))]  # pair_sums deals its groups in turn
    closeness = potential(pairs.between(x, "cosine"))
    sums = pairs.pair_sums(len(x), closeness, lambda i, j: np.zeros((len(i), len(j))))

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        return float(np.log(totals[0] / (n * (n - 1))))

    convention = f"log mean exp(-2 d^2) over pairs of items, at length 1{sample}"
    yield Finding("uniformity", value(*sums.whole()), len(x), convention, bounds=(-8, 0), without=sums.jackknife(value))


def _off_centre(x: np.ndarray, sample: str, unit: float) -> Iterator[Finding]:
    """The length of the mean row, and the mean cosine of the rows with it; none of a mean row of zeros.

    unit: what the rows were divided by.
    """
    everything = np.arange(len(x))
    mean = column_mean(x, everything)
    size = _length(mean)
    if not size > 0:
        return
    groups = min(GROUPS, len(x))
    without = np.array([_length(column_mean(x, everything[everything % groups != g])) for g in range(groups)])
    parts = without * unit if groups > 4 else None
    yield Finding("magnitude", size * unit, len(x), f"length of the mean row{sample}", without=parts, bounds=(0, None))
    cosines = [unit_rows(np.asarray(x[block], np.float64)) @ (mean / size) for block in row_blocks(*x.shape, x)]
    rows = np.concatenate(cosines).clip(-1, 1)
    yield mean_of("concentricity", rows, f"cosine of rows with the mean row{sample}", bounds=(-1, 1))


def _length(row: np.ndarray) -> float:
    """The length of a row whose squares may not fit float64."""
    largest = float(np.abs(row).max(initial=0))
    return largest * float(np.linalg.norm(row / largest)) if largest else 0.0


def _dimension(x: np.ndarray, sample: str) -> Iterator[Finding]:
    """The TwoNN dimension of the items that differ; none where hardly any do."""
    ratios = log_ratios(x)
    copies = int(np.isnan(ratios).sum())
    x, ratios = np.asarray(x)[np.isfinite(ratios)], ratios[np.isfinite(ratios)]
    if len(ratios) < 3 or not ratios.sum() > 0:
        return
    factor = widening_factor(lambda some, _: Score(0.0, np.nan, "", log_ratios(x[some])), ratios, 0)
    low, high = widened(bootstrap(ratios, np.random.default_rng(0)), float(ratios.mean()), factor)
    interval = (1 / high, 1 / low) if low > 0 else None
    value = float(1 / ratios.mean())
    yield Finding(
        "dimension",
        value,
        len(ratios),
        f"intrinsic, TwoNN, Euclidean{sample}{f', {copies} copies of items left out' if copies else ''}",
        interval=interval,
        bounds=(0, None),
        without=halves(value, len(x), lambda rows: _dimension_of(x[rows])) if len(x) >= HALVED else None,
    )


def _dimension_of(x: np.ndarray) -> float:
    """NaN where the items are too much alike."""
    mean = float(log_ratios(x).mean())
    return 1 / mean if mean > 0 else float("nan")

"""Metrics that compare one number of each space, such as its spread. The pairing of rows does not matter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relrep_cli.metrics.families import statistic_metric
from relrep_cli.metrics.neighbor_orders import apart
from relrep_cli.metrics.neighborhoods import within
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.neighbors import unit_rows
from relrep_cli.numerics import row_pairs as pairs
from relrep_cli.numerics.blocks import column_mean, row_blocks, slices, take
from relrep_cli.numerics.equal_rows import first_of_equal_rows
from relrep_cli.numerics.narrowing import common_powers, in_range, scalable
from relrep_cli.numerics.workspace import UNSHARED, Workspace

GROUPS = 20


@statistic_metric(invariant={"orthogonal", "permutation"}, source="Wang et al. 2020; Klabunde et al. 2023, magnitude")
def magnitude_difference(x: np.ndarray, y: np.ndarray) -> Score:
    """Difference of the lengths of the two mean rows.

    x: (n, dx) and y: (n, dy) floats. The value is | |mean x| - |mean y| |.

    >>> magnitude_difference(np.array([[3.0, 0.0], [3.0, 8.0]]), np.array([[1.0], [1.0]])).value
    4.0
    """
    power, _ = common_powers(x, y)
    sums = [_group_sums(in_range(side, power)) for side in (x, y)]

    def length(side: int, without: int | None) -> float:
        groups, counts = sums[side]
        left = groups.sum(0) - (0 if without is None else groups[without])
        return float(np.linalg.norm(left / (counts.sum() - (0 if without is None else counts[without]))))

    return _difference(length, len(sums[0][1]), "length of the mean row").times(power)


def _group_sums(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums (G, d) of the rows g, g + G, g + 2 G, … of each group g, and the number of rows of each group."""
    groups = min(GROUPS, len(x))
    out = np.zeros((groups, x.shape[1]))
    for block in row_blocks(*x.shape, x):
        for g in range(groups):
            out[g] += x[block][(g - block.start) % groups :: groups].sum(0, dtype=np.float64)
    return out, np.bincount(np.arange(len(x)) % groups)


def _difference(number: Callable[[int, int | None], float], groups: int, what: str) -> Score:
    """The absolute difference of a number of each space. number: function of the side and the group to leave out, or None."""
    value = abs(number(0, None) - number(1, None))
    jackknife = np.array([number(0, g) - number(1, g) for g in range(groups)]) if groups > 4 else None
    convention = f"absolute difference of the {what}; any pairing of rows gives the same"
    return Score(value, value, convention, jackknife=jackknife, scale="folded")


def _difference_of_rows(rows: list[np.ndarray], value: Callable[[np.ndarray], float], what: str) -> Score:
    """The same for a number that is a function of row values. rows: (n,) values of each side."""
    groups = min(GROUPS, len(rows[0]))

    def number(side: int, without: int | None) -> float:
        kept = rows[side] if without is None else rows[side][np.arange(len(rows[side])) % groups != without]
        return value(kept)

    return _difference(number, groups, what)


@statistic_metric(bounds=(0, 2), source="Wang et al. 2020; Klabunde et al. 2023, concentricity")
def concentricity_difference(x: np.ndarray, y: np.ndarray) -> Score:
    """Difference of the mean cosines of rows with their mean row.

    x: (n, dx) and y: (n, dy) floats. A zero row has cosine 0.
    """
    rows = []
    for side in map(scalable, (x, y)):
        centre = unit_rows(column_mean(side, np.arange(len(side)))[None])[0]
        found = [unit_rows(np.asarray(side[block], np.float64)) @ centre for block in row_blocks(*side.shape, side)]
        rows.append(np.concatenate(found).clip(-1, 1))
    return _difference_of_rows(rows, lambda r: float(r.mean()), "mean cosine with the mean row")


@statistic_metric(bounds=(0, 8), source="Wang and Isola 2020, uniformity")
def uniformity_difference(x: np.ndarray, y: np.ndarray, *, workspace: Workspace = UNSHARED) -> Score:
    """Difference of the uniformity of the rows at length 1.

    x: (n, dx) and y: (n, dy) floats. The uniformity is log mean exp(-2 d^2) over pairs of different rows. A zero row has cosine
    0 with everything.

    Raises NotApplicable for fewer than 3 items.
    """
    if len(x) < 3:
        raise NotApplicable(f"{len(x)} items are too few")
    x, y, sample_note = pairs.sample(x, y)
    potentials = [potential(pairs.between(side, "cosine")) for side in (x, y)]
    sums = pairs.pair_sums(len(x), *potentials)

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        return float(np.log(totals[0] / totals[1]))

    found = abs(value(*sums.whole()))
    what = f"uniformity, exponent 2, unit rows, pairs of different rows{sample_note}; any pairing of rows gives the same"
    jackknife = sums.jackknife(value) if workspace.intervals else None
    return Score(found, found, f"absolute difference of the {what}", jackknife=jackknife, scale="folded")


def potential(distance: pairs.Measure) -> pairs.Measure:
    """exp(-2 d^2) of unit rows from their cosine distances."""

    def measure(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        out = distance(i, j)
        out *= -4  # -2 d^2, and d^2 = 2 (1 - cos)
        return np.exp(out, out=out)

    return measure


@statistic_metric(invariant={"orthogonal", "permutation", "scale", "translation"}, source="Facco et al. 2017, TwoNN")
def intrinsic_dimension_difference(x: np.ndarray, y: np.ndarray, *, workspace: Workspace = UNSHARED) -> Score:
    """Difference of the intrinsic dimensions, estimated from the two nearest neighbours.

    x: (n, dx) and y: (n, dy) floats. The dimension is 1 / mean log(r2 / r1) over rows, where r1 and r2 are the Euclidean
    distances to the two nearest other rows. Of rows that are equal, the first alone counts, as the authors do it.

    Raises NotApplicable for fewer than 3 items, or when fewer than 3 rows are left.
    """
    if len(x) < 3:
        raise NotApplicable(f"{len(x)} items are too few")
    rows = []
    for name, side in (("first", x), ("second", y)):
        found = log_ratios(side, workspace)
        if not np.nansum(found) > 0 or np.isfinite(found).sum() < 3:
            raise NotApplicable(f"the {name} space has too few rows that differ")
        rows.append(found)
    copies = " and ".join(str(int(np.isnan(r).sum())) for r in rows)
    said = f", {copies} copies of rows left out" if any(np.isnan(r).any() for r in rows) else ""
    return _difference_of_rows(rows, lambda r: float(1 / np.nanmean(r)), f"TwoNN dimension, Euclidean{said}")


def log_ratios(x: np.ndarray, workspace: Workspace = UNSHARED) -> np.ndarray:
    """Compute log(r2 / r1) of each row (n,) from the distances to its two nearest rows that differ from it.

    NaN for a row that equals an earlier one, and for all when fewer than 3 rows differ: copies are dropped before distances are
    looked at, since r1 would be 0.
    """
    kept, out = first_of_equal_rows(x), np.full(len(x), np.nan)
    if len(kept) < 3:
        return out
    x = x if len(kept) == len(x) else take(x, kept)
    near = within(x, 2, "euclidean", workspace=workspace).rows
    x = scalable(x)
    for block in slices(len(x), 4096):
        squares = apart(x, block, near[block], "euclidean")
        good = np.flatnonzero(squares[:, 0] > 0)
        out[kept[block.start + good]] = np.log(squares[good, 1] / squares[good, 0]) / 2
    return out

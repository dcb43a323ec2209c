"""Metrics that compare one number of each space, such as its spread. The pairing of rows does not matter."""

from __future__ import annotations

from collections.abc import Sequence

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


@statistic_metric(invariant={"orthogonal", "permutation"}, source="Wang et al. 2020; Klabunde et al. 2023, magnitude")
def magnitude_difference(x: np.ndarray, y: np.ndarray) -> Score:
    """Difference of the lengths of the two mean rows.

    x: (n, dx) and y: (n, dy) floats. The value is | |mean x| - |mean y| |.

    >>> magnitude_difference(np.array([[3.0, 0.0], [3.0, 8.0]]), np.array([[1.0], [1.0]])).value
    4.0
    """
    power, _ = common_powers(x, y)
    lengths = [float(np.linalg.norm(column_mean(in_range(side, power), np.arange(len(side))))) for side in (x, y)]
    return _difference(lengths, "length of the mean row").times(power)


def _difference(numbers: Sequence[float], what: str) -> Score:
    """The absolute difference of a number of each space. It has no interval: that of the size of a difference is above 0 even
    where there is none, and holds the truth nearly always. `evaluate --against` has the interval of the signed difference."""
    value = abs(numbers[0] - numbers[1])
    return Score(value, value, f"absolute difference of the {what}; any pairing of rows gives the same")


@statistic_metric(bounds=(0, 2), source="Wang et al. 2020; Klabunde et al. 2023, concentricity")
def concentricity_difference(x: np.ndarray, y: np.ndarray) -> Score:
    """Difference of the mean cosines of rows with their mean row.

    x: (n, dx) and y: (n, dy) floats. A zero row has cosine 0.
    """
    rows = []
    for side in map(scalable, (x, y)):
        centre = unit_rows(column_mean(side, np.arange(len(side)))[None])[0]
        cosines = [unit_rows(np.asarray(side[block], np.float64)) @ centre for block in row_blocks(*side.shape, side)]
        rows.append(np.concatenate(cosines).clip(-1, 1))
    return _difference([float(r.mean()) for r in rows], "mean cosine with the mean row")


@statistic_metric(bounds=(0, 8), source="Wang and Isola 2020, uniformity")
def uniformity_difference(x: np.ndarray, y: np.ndarray) -> Score:
    """Difference of the uniformity of the rows at length 1.

    x: (n, dx) and y: (n, dy) floats. The uniformity is log mean exp(-2 d^2) over pairs of different rows. A zero row has cosine
    0 with everything.

    Raises NotApplicable for fewer than 3 items.
    """
    if len(x) < 3:
        raise NotApplicable(f"{len(x)} items are too few")
    x, y, sample_note = pairs.sample(x, y)
    sums = pairs.pair_sums(len(x), *(potential(pairs.between(side, "cosine")) for side in (x, y)))
    _, totals, _ = sums.whole()
    what = f"uniformity, exponent 2, unit rows, pairs of different rows{sample_note}"
    return _difference([float(np.log(totals[0] / totals[1])), 0.0], what)


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
    distances to the two nearest other rows. Of equal rows, only the first counts, as in the authors' code.

    Raises NotApplicable for fewer than 3 items, or when fewer than 3 rows are left.
    """
    if len(x) < 3:
        raise NotApplicable(f"{len(x)} items are too few")
    rows = []
    for name, side in (("first", x), ("second", y)):
        ratios = log_ratios(side, workspace)
        if not np.nansum(ratios) > 0 or np.isfinite(ratios).sum() < 3:
            raise NotApplicable(f"the {name} space has too few rows that differ")
        rows.append(ratios)
    copies = " and ".join(str(int(np.isnan(r).sum())) for r in rows)
    left_out = f", {copies} copies of rows left out" if any(np.isnan(r).any() for r in rows) else ""
    return _difference([float(1 / np.nanmean(r)) for r in rows], f"TwoNN dimension, Euclidean{left_out}")


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

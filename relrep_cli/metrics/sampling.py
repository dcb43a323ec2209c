"""Means over rows, computed from all rows or from a sample that is large enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.metrics.score import Score
from relrep_cli.neighbors import Neighbors
from relrep_cli.numerics.intervals import rows_needed
from relrep_cli.numerics.spread import WORTH as WORTH_A_PIECE
from relrep_cli.numerics.spread import Taken, row_ranges
from relrep_cli.numerics.workspace import UNSHARED, Workspace

PILOT = 500  # rows of the first sample, which estimates the variance
WORTH = 0.4  # share of rows above which all rows are taken: searching a whole space within itself costs half as much per row
MORE = 1.02  # margin on the estimated sample size, so that a further sample is seldom needed


@dataclass(frozen=True)
class Measured:
    """Values of rows.

    values: (m,). sample: (m,) row numbers, ascending; None when all rows were measured. population: the number of all rows.
    """

    values: np.ndarray
    sample: np.ndarray | None
    population: int


def over_rows(values_of: Callable[[np.ndarray | None], np.ndarray], n: int, ci: float, seed: int) -> Measured:
    """Compute the values of all n rows, or of a random sample whose 95 % interval has the half-width `ci`.

    values_of: function of row numbers (m,), or None for all; returns (m,) values. ci: 0 for all rows. The sample is drawn
    without replacement.
    """
    if not ci:
        return Measured(values_of(None), None, n)
    order = np.random.default_rng(seed).permutation(n)
    values, wanted = np.empty(0), PILOT
    while len(values) < wanted:
        if wanted > WORTH * n:
            return Measured(values_of(None), None, n)
        values = np.concatenate([values, values_of(order[len(values) : wanted])])
        needed = rows_needed(values, n, ci)
        wanted = int(needed * MORE) + 1 if needed > wanted else wanted
    by_row = np.argsort(order[:wanted])
    return Measured(values[by_row], order[:wanted][by_row], n)


def over_neighbours(
    search: Callable[[np.ndarray | None], Sequence[Neighbors]],
    values_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    n: int,
    chance: float,
    convention: str,
    *,
    index: str,
    ci: float,
    seed: int,
    cost: float = 0.0,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Compute the score of a metric that is a mean over rows, where each row's value depends on its neighbours in two spaces.

    search: function of row numbers (m,), or None for all; returns their neighbours in both spaces. values_of: function of these
    neighbours, (m, k) each; returns (m,) values. ci: as in over_rows. cost: multiply-adds to find the neighbours of one row.
    workspace: may send rows to other processes; values of rows do not depend on where they are found.
    """
    searches: list[Neighbors] = []
    if (piece := workspace.piece) is not None and piece.what == "rows":
        both = search(np.asarray(piece.some) if isinstance(piece.some, list) else np.arange(*piece.some))
        raise Taken((values_of(both[0].rows, both[1].rows), [measured.tied for measured in both]))

    def values(rows: np.ndarray | None) -> np.ndarray:
        count = n if rows is None else len(rows)
        if workspace.spread is not None and index == "exact" and count * cost >= 2 * WORTH_A_PIECE:
            ranges: list[Any] = row_ranges(count, cost)
            parts = ranges if rows is None else [rows[start:stop].tolist() for start, stop in ranges]
            measured = workspace.spread("rows", "", parts)
            searches.extend(Neighbors(np.empty((0, 0), np.int64), tied) for _, both in measured for tied in both)
            return np.concatenate([some for some, _ in measured])
        both = search(rows)
        searches.extend(both)
        return values_of(both[0].rows, both[1].rows)

    measured = over_rows(values, n, ci, seed)
    extra, index_note = describe_searches(searches, index)
    return mean_of(measured, chance, convention + index_note, ci, extra)


def describe_searches(searches: Sequence[Neighbors], index: str) -> tuple[dict[str, Any], str]:
    """Return extra columns on the searches (ties, index, recall), and a note on the index for the convention."""
    extra: dict[str, Any] = {"tied": sum(s.tied for s in searches)}
    if index == "exact":
        return extra, ""
    used = sorted({s.index for s in searches} - {"exact"})
    extra |= {"index": used[0] if used else "exact", "recall": min(s.recall for s in searches)}
    return extra, f", {index} index" + (f" with recall {extra['recall']:.4f}" if used else " gave way to exact search")


def mean_of(measured: Measured, chance: float, convention: str, ci: float, extra: Mapping[str, Any] | None = None) -> Score:
    """Make the score of a mean over rows. The convention and the column `sampled` state the size of the sample, if any."""
    extra = dict(extra or {})
    if ci:
        extra["sampled"] = len(measured.values)
        convention += f", {'all rows' if measured.sample is None else f'{len(measured.values)} rows sampled'} for +-{ci:g}"
    rows, sample, population = measured.values, measured.sample, measured.population
    return Score(float(rows.mean()), chance, convention, rows, sample=sample, population=population, extra=extra)

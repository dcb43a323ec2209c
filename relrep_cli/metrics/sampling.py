"""A mean over rows from just enough of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relrep_cli.metrics.score import Score
from relrep_cli.neighbors import Neighbors
from relrep_cli.numerics.intervals import rows_needed

PILOT = 500  # rows that say how much values spread
WORTH = 0.4  # of the rows: for more than that, all cost no more, since a space searched with itself costs half
MORE = 1.02  # of what is needed, so that the last look seldom asks for another


@dataclass(frozen=True)
class Measured:
    """values: (m,) of the rows `sample` (m,), ascending, out of `population`; sample None: of all rows."""

    values: np.ndarray
    sample: np.ndarray | None
    population: int


def over_rows(values_of: Callable[[np.ndarray | None], np.ndarray], n: int, ci: float, seed: int) -> Measured:
    """The values of all n rows for ci = 0, else of a random sample whose 95 % interval reaches `ci` to either side.

    values_of: from row numbers (m,), or None for all, to their values. The sample is drawn without replacement.
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
) -> Score:
    """The score of a mean over n rows, all or just enough, of a value of each row's neighbours in two spaces.

    search: from row numbers (m,), or None for all, to their neighbours in both. values_of: from these, (m, k) each, to (m,).
    """
    searches: list[Neighbors] = []

    def values(rows: np.ndarray | None) -> np.ndarray:
        both = search(rows)
        searches.extend(both)
        return values_of(both[0].rows, both[1].rows)

    found = over_rows(values, n, ci, seed)
    extra, said = searched(searches, index)
    return mean_of(found, chance, convention + said, ci, extra)


def searched(searches: Sequence[Neighbors], index: str) -> tuple[dict[str, Any], str]:
    """What a result says of its searches, and what the index found where one was asked for."""
    extra: dict[str, Any] = {"tied": sum(s.tied for s in searches)}
    if index == "exact":
        return extra, ""
    used = sorted({s.index for s in searches} - {"exact"})
    extra |= {"index": used[0] if used else "exact", "recall": min(s.recall for s in searches)}
    return extra, f", {index} index" + (f" with recall {extra['recall']:.4f}" if used else " gave way to exact search")


def mean_of(found: Measured, chance: float, convention: str, ci: float, extra: Mapping[str, Any] | None = None) -> Score:
    """The score of a mean over rows, saying how many were sampled where that was asked for."""
    extra = dict(extra or {})
    if ci:
        extra["sampled"] = len(found.values)
        convention += f", {'all rows' if found.sample is None else f'{len(found.values)} rows sampled'} for +-{ci:g}"
    value = float(found.values.mean())
    return Score(value, chance, convention, found.values, sample=found.sample, population=found.population, extra=extra)

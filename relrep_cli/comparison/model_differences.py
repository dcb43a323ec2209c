"""Which of several models differ on one measure: paired differences of all pairs, q-values, and letters for groups."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.dependent_rows import FREEDOM
from relrep_cli.comparison.letters import letters
from relrep_cli.comparison.permutations import benjamini_hochberg
from relrep_cli.numerics.paired_differences import Difference, Estimate, paired_difference

Record = dict[str, Any]
ALL = "all"  # every pair of models, instead of the pairs with one of them
APART = 0.05  # q up to which two models are told apart
VALUES: tuple[str, ...] = ("value_a", "value_b", "difference", "low", "high", "p", "q", "groups", "n")
CHANCE = "chance alone makes half of the difference or more (chance_difference)"


@dataclass(frozen=True, eq=False)
class Value:
    """The value of one model. estimate: None where there is no value, and convention then says why. chance: its chance level,
    NaN where it is not known."""

    estimate: Estimate | None
    convention: str
    chance: float = np.nan


@dataclass(frozen=True, eq=False)
class Measure:
    """One measure of several models.

    keys: what every record says of it, such as the metric. values: by model, in the order of the files. sign: 1 where higher is
    closer, -1 where lower is, 0 where neither is known. bounds: of the values. factor: of two models, by which dependence
    between rows widens the interval of their difference, None for independent rows. extra: further columns, which follow n.
    """

    keys: Record
    values: Mapping[str, Value]
    sign: int = 0
    bounds: tuple[float | None, float | None] = (None, None)
    factor: Callable[[str, str], float | None] = lambda a, b: None
    extra: Record = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subtracted:
    """The differences of a measure, by pairs of models; None where one has no value. Its measure keeps no row values."""

    measure: Measure
    differences: Mapping[tuple[str, str], Difference | None]


def compare_models(measures: Sequence[Measure], against: str = ALL, seed: int = 0) -> list[Record]:
    """Compare all pairs of models on each measure. Returns the records of the pairs with `against`; see records_of_models."""
    return records_of_models([subtracted(measure, pairs_of_models(measure, against), seed) for measure in measures], against)


def records_of_models(compared: Sequence[Subtracted], against: str = ALL) -> list[Record]:
    """The records of the pairs of models with `against`.

    compared: every pair of models of each measure, with `against` as the first one. against: a model, which becomes `a` of its
    records, or `all` for every pair.

    q corrects for all pairs of models on all measures, also for pairs that are not returned, because the letters tell all
    models apart: two models share a letter exactly if their q is above 0.05 (see letters).
    """
    tested = [one for each in compared for one in each.differences.values() if one is not None and one.p is not None]
    q = dict(zip(map(id, tested), benjamini_hochberg([one.p for one in tested if one.p is not None]), strict=True))
    records: list[Record] = []
    for each in compared:
        levels = {pair: q.get(id(one)) for pair, one in each.differences.items()}
        groups = _groups(each.measure, levels)
        for (a, b), one in each.differences.items():
            if against in (ALL, a):
                records.append(_record(each.measure, a, b, one, levels[a, b], groups))
    return records


def pairs_of_models(measure: Measure, against: str) -> list[tuple[str, str]]:
    """Each pair of models, with `against` as the first one."""
    models = list(measure.values)
    if against in models:
        models.insert(0, models.pop(models.index(against)))
    return list(itertools.combinations(models, 2))


def subtracted(measure: Measure, pairs: Sequence[tuple[str, str]], seed: int) -> Subtracted:
    """Subtract the values of pairs of models, and forget the values of rows. seed: of the bootstraps."""
    out: dict[tuple[str, str], Difference | None] = {}
    for a, b in pairs:
        first, second = measure.values[a].estimate, measure.values[b].estimate
        out[a, b] = None
        if first is not None and second is not None:
            out[a, b] = paired_difference(first, second, seed=seed, factor=measure.factor(a, b), freedom=FREEDOM)
    small = {model: replace(value, estimate=_without_rows(value.estimate)) for model, value in measure.values.items()}
    return Subtracted(Measure(measure.keys, small, measure.sign, measure.bounds, extra=measure.extra), out)


def _without_rows(estimate: Estimate | None) -> Estimate | None:
    return None if estimate is None else Estimate(estimate.value, estimate.n)


def _groups(measure: Measure, q: Mapping[tuple[str, str], float | None]) -> dict[str, str]:
    """The letters of each model with a value; none where a pair of them was not tested."""
    values = {name: value.estimate.value for name, value in measure.values.items() if value.estimate is not None}
    models = list(values)
    apart = np.zeros((len(models), len(models)), bool)
    for (a, b), level in q.items():
        if a in values and b in values:
            if level is None:
                return {}
            i, j = models.index(a), models.index(b)
            apart[i, j] = apart[j, i] = level <= APART
    order = np.argsort([-(measure.sign or 1) * value for value in values.values()], kind="stable")
    return dict(zip(models, letters(order.tolist(), apart), strict=True))


def _record(
    measure: Measure, a: str, b: str, difference: Difference | None, q: float | None, groups: Mapping[str, str]
) -> Record:
    first, second = measure.values[a], measure.values[b]
    values = [None if value.estimate is None else value.estimate.value for value in (first, second)]
    names = {"a": a, "b": b} | measure.keys
    if difference is None:
        lacking = ", ".join(dict.fromkeys(value.convention for value in (first, second) if value.estimate is None))
        blank = dict(zip(VALUES, [*values, *[None] * 7], strict=True))
        return names | blank | measure.extra | {"convention": lacking, "chance_difference": None}
    low, high = within_bounds(difference, measure.bounds)
    shared = f"{groups[a]}, {groups[b]}" if groups else None
    assert first.estimate is not None
    numbers = [*values, difference.value, low, high, difference.p, q, shared, first.estimate.n]
    chance = second.chance - first.chance
    convention = _convention(measure, first, second, difference)
    return (
        names
        | dict(zip(VALUES, numbers, strict=True))
        | measure.extra
        | {"convention": convention, "chance_difference": float(chance) if np.isfinite(chance) else None}
    )


def within_bounds(difference: Difference, bounds: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    """The interval, cut at what two values within the bounds can differ by."""
    if difference.low is None or difference.high is None or bounds[0] is None or bounds[1] is None:
        return difference.low, difference.high
    widest = bounds[1] - bounds[0]
    return max(difference.low, -widest), min(difference.high, widest)


def chance_makes_half(measure: Measure, first: Value, second: Value, difference: Difference) -> bool:
    """Whether the chance levels of two values of a bounded measure differ by half of the difference or more."""
    chance = second.chance - first.chance
    return None not in measure.bounds and bool(difference.value) and abs(chance) > abs(difference.value) / 2


def _convention(measure: Measure, first: Value, second: Value, difference: Difference) -> str:
    closer = {1: "b - a, above 0 b is closer", -1: "b - a, below 0 b is closer", 0: "b - a"}[measure.sign]
    own = first.convention if first.convention == second.convention else f"{first.convention} (a), {second.convention} (b)"
    much = [CHANCE] if chance_makes_half(measure, first, second, difference) else []
    return "; ".join([closer, difference.method, own, *much])

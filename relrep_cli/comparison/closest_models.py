"""Which model is closest to a reference, and whether it is closer than every other one."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from relrep_cli.comparison.model_differences import (
    CHANCE,
    Measure,
    Record,
    Subtracted,
    chance_makes_half,
    subtracted,
    within_bounds,
)
from relrep_cli.comparison.permutations import benjamini_hochberg
from relrep_cli.numerics.paired_differences import Difference

CLOSEST = "closest"
VALUES = ("value_closest", "value_rival", "difference", "low", "high", "p", "q", "n")
COLUMNS = ("reference", "closest", "rival", "metric", *VALUES, "k", "convention", "joined")


def closest_of(measure: Measure, seed: int) -> Subtracted:
    """Subtract the values of all other models from that of the closest one. seed: of the bootstraps."""
    return subtracted(measure, [(other, _ranked(measure)[0]) for other in _ranked(measure)[1:]], seed)


def records_of_closest(compared: Sequence[Subtracted]) -> list[Record]:
    """One record for each measure: the closest model, and its rival, the one that is hardest to tell from it.

    p is the largest p of the closest model against the others, one by one, so the rival is as a rule the second closest. q
    corrects for the number of records.

    That the same data choose the closest model needs no further correction. Of jointly normal values with any means and
    covariance, the chance that the closest one has a p up to a level, and is not closer than all others in truth, is at most
    this level. For a wrong model is the closest with a probability g of at most 1/2. Values that also have p up to the level
    lie deeper in that set than the normal quantile c, so by the isoperimetric inequality of Gauss space their probability is at
    most Phi(Phi^-1(g) - c). This is convex in g and 0 at 0, and the g of all wrong models add up to 1 at most. The sum is
    therefore at most that of two models with 1/2 each, 2 Phi(-c), which is the level.
    """
    rivals = [_rival(each) for each in compared]
    levels = [None if one is None else one[2] for one in rivals]
    tested = iter(benjamini_hochberg([level for level in levels if level is not None]))
    q = [None if level is None else next(tested) for level in levels]
    return [_record(each, one, level) for each, one, level in zip(compared, rivals, q, strict=True)]


def _ranked(measure: Measure) -> list[str]:
    """The models that have a value, the closest one first."""
    values = {name: value.estimate.value for name, value in measure.values.items() if value.estimate is not None}
    models = sorted(values, key=lambda name: -(measure.sign or 1) * values[name])
    return models if len(models) > 1 else list(measure.values)


def _rival(compared: Subtracted) -> tuple[str, Difference, float | None] | None:
    """The model that is hardest to tell from the closest one, their difference and its p, None where a model was not tested.
    None where fewer than two models have values."""
    known = [(other, one) for (other, _), one in compared.differences.items() if one is not None]  # the second closest first
    if not known:
        return None
    if any(one.p is None for _, one in known):
        return *known[0], None
    other, one = max(known, key=lambda pair: pair[1].p or 0.0)
    return other, one, one.p


def _record(compared: Subtracted, rival: tuple[str, Difference, float | None] | None, q: float | None) -> Record:
    measure, keys = compared.measure, dict(compared.measure.keys)
    names: Record = {"reference": keys.pop("reference")}
    if rival is None:
        lacking = ", ".join(dict.fromkeys(value.convention for value in measure.values.values() if value.estimate is None))
        blank: Record = {"closest": None, "rival": None} | keys | dict.fromkeys(VALUES)
        return names | blank | measure.extra | {"convention": lacking, "chance_difference": None}
    other, one, p = rival
    best = next(closest for _, closest in compared.differences)
    first, second = measure.values[best], measure.values[other]
    assert first.estimate is not None and second.estimate is not None
    low, high = within_bounds(one, measure.bounds)
    numbers = (first.estimate.value, second.estimate.value, one.value, low, high, p, q, first.estimate.n)
    closer = {1: "closest - rival, above 0 the closest is closer", -1: "closest - rival, below 0 the closest is closer"}
    others = sum(each is not None for each in compared.differences.values())
    largest = f"p: the largest of {others}" if p is not None and others > 1 else ""
    own = first.convention if first.convention == second.convention else f"{first.convention}, {second.convention} (rival)"
    chance = CHANCE if chance_makes_half(measure, second, first, one) else ""
    convention = "; ".join(filter(None, [closer.get(measure.sign, "closest - rival"), one.method, largest, own, chance]))
    values = dict(zip(VALUES, numbers, strict=True)) | measure.extra
    difference = float(first.chance - second.chance)
    more: Record = {"convention": convention, "chance_difference": difference if isfinite(difference) else None}
    return names | {"closest": best, "rival": other} | keys | values | more

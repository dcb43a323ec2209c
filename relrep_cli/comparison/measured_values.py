"""The value of one model for a reference, with all that a difference of two such values needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, NotApplicable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.dependent_rows import FREEDOM, Halves, factor_of, random_halves, values_of_halves
from relrep_cli.comparison.model_differences import Record, Value
from relrep_cli.comparison.pairs_of_files import measure, measure_subset
from relrep_cli.embedding import Embedding
from relrep_cli.numerics.paired_differences import Difference, Estimate, paired_difference, same_items
from relrep_cli.numerics.workspace import Workspace


@dataclass(frozen=True, eq=False)
class Measured:
    """The value of one model, with the row values of random halves of the items, where it has row values.

    dependent: whether these change without the other half; see dependent_rows.
    """

    value: Value
    halves: Halves = field(default_factory=list)
    dependent: bool = False


def measured(
    name: str, params: Mapping[str, Any], x: Embedding, y: Embedding, seed: int, workspace: Workspace | None = None
) -> Measured:
    """Compute a metric on two embeddings with parallel rows, with what a paired difference needs.

    x: the reference. y: the model. Two results for the same reference and the same rows can be subtracted; see paired.

    Raises DataError when row i is not the same item in both.
    """
    if not (x.row_ids or y.row_ids) and not np.array_equal(x.ids, y.ids):
        raise DataError(f"its rows are not those of {x.uri}, in their order", "Take both by match_ids first.", file=y.uri)
    workspace = workspace or Workspace()
    try:
        score = measure(name, params, x, y, seed, workspace)
    except NotApplicable as reason:
        return Measured(Value(None, f"n/a: {reason}"))
    estimate = Estimate(score.value, x.n, score.rows, score.jackknife, score.sample)
    value, rows = Value(estimate, score.convention, score.chance), score.rows
    if rows is None or len(rows) < 2:
        return Measured(value)
    splits = random_halves(x.n, seed, np.argsort(x.ids))
    halves = values_of_halves(partial(measure_subset, name, params, x, y, seed, workspace=workspace), rows, splits)
    if halves is None:
        return Measured(value, [(rows[first], rows[second]) for first, second in splits])
    return Measured(value, halves, dependent=True)


def paired(a: Measured, b: Measured, seed: int = 0) -> Difference:
    """Subtract two results of `measured` for the same metric, reference, rows and seed. seed: of the bootstrap.

    Raises NotApplicable, with the reason, when one of them has no value.
    """
    first, second = a.value.estimate, b.value.estimate
    for one, estimate in ((a, first), (b, second)):
        if estimate is None:
            raise NotApplicable(one.value.convention)
    assert first is not None and second is not None
    return paired_difference(first, second, seed=seed, factor=difference_factor(a, b), freedom=FREEDOM)


def difference_factor(a: Measured, b: Measured) -> float | None:
    """By how much dependence between rows widens the interval of the difference of two values; None for independent rows."""
    if not (a.dependent or b.dependent):
        return None
    return factor_of([(v[0] - u[0], v[1] - u[1]) for u, v in zip(a.halves, b.halves, strict=False)])


def encoded(one: Measured) -> bytes:
    """One value as bytes for the cache: a line of JSON, then the arrays that it names, as float64."""
    known, estimate = one.value, one.value.estimate
    arrays: list[tuple[str, np.ndarray]] = []
    numbers: Record = {"convention": known.convention, "chance": known.chance if np.isfinite(known.chance) else None}
    if estimate is not None:
        numbers |= {"value": estimate.value, "n": estimate.n}
        optional = {"rows": estimate.rows, "without": estimate.without, "items": estimate.items}
        arrays += [(name, array) for name, array in optional.items() if array is not None]
    numbers |= {"halves": len(one.halves), "dependent": one.dependent}
    arrays += [(f"{side} {place}", half) for place, both in enumerate(one.halves) for side, half in enumerate(both)]
    numbers["arrays"] = {name: len(array) for name, array in arrays}
    return json.dumps(numbers).encode() + b"\n" + b"".join(array.astype("<f8").tobytes() for _, array in arrays)


def decoded(content: bytes) -> Measured:
    """The value that `encoded` wrote. The cache has checked that the bytes are whole."""
    head, _, rest = content.partition(b"\n")
    numbers, arrays, start = json.loads(head), {}, 0
    for name, length in numbers["arrays"].items():
        arrays[name] = np.frombuffer(rest, "<f8", length, start)
        start += 8 * length
    chance = np.nan if numbers["chance"] is None else numbers["chance"]
    if "value" not in numbers:
        return Measured(Value(None, numbers["convention"], chance))
    optional = (arrays.get(name) for name in ("rows", "without", "items"))
    halves = [(arrays[f"0 {i}"], arrays[f"1 {i}"]) for i in range(numbers["halves"])]
    estimate = Estimate(numbers["value"], numbers["n"], *optional)
    return Measured(Value(estimate, numbers["convention"], chance), halves, numbers["dependent"])


def mean_of(repeats: Sequence[Measured]) -> Measured:
    """The mean of the values for each repeat of the items, with the means of all that an interval is made of."""
    first, estimates = repeats[0], [one.value.estimate for one in repeats]
    lacking = [one for one in repeats if one.value.estimate is None]
    if len(repeats) == 1 or lacking:
        return lacking[0] if lacking else first
    whole = [estimate for estimate in estimates if estimate is not None]
    value, chance = (float(np.mean(numbers)) for numbers in ([e.value for e in whole], [one.value.chance for one in repeats]))
    parts = [[getattr(e, name) for e in whole] for name in ("rows", "without")]
    alike = all(same_items(e, whole[0]) for e in whole)
    rows, without = (np.mean(each, 0) if alike and _one_length(each) else None for each in parts)
    estimate = Estimate(value, whole[0].n, rows, without, whole[0].items)
    halves = [
        tuple(np.mean(side, 0) for side in zip(*both, strict=True)) for both in zip(*(r.halves for r in repeats), strict=False)
    ]
    convention = f"{first.value.convention}, mean over {len(repeats)} repeats"
    return Measured(Value(estimate, convention, chance), halves, any(one.dependent for one in repeats))


def _one_length(parts: Sequence[np.ndarray | None]) -> bool:
    """Whether these are arrays of one length."""
    return len({None if part is None else len(part) for part in parts}) == 1 and parts[0] is not None

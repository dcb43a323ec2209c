"""Compare several models with one reference on the same items, so that their values can be subtracted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, NotApplicable, UsageError
from relrep_cli.base.output import progress, say
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.comparison.dependent_rows import FREEDOM, Halves, factor_of, random_halves, values_of_halves
from relrep_cli.comparison.joins import join
from relrep_cli.comparison.layers import FIRST, reference_group
from relrep_cli.comparison.model_differences import ALL, VALUES, Measure, Record, Value, compare_models
from relrep_cli.comparison.pairs_of_files import View, largest_k, measure, measure_subset
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.repeats import noise_ceiling, repeats_of
from relrep_cli.comparison.runs import warn_of_different_spaces
from relrep_cli.embedding import Embedding, select
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.paired import Difference, Estimate, paired_difference
from relrep_cli.numerics.workspace import Workspace

COLUMNS = ("a", "b", "metric", "reference", *VALUES, "k", "convention", "joined")
Task = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Measured:
    """The value of one model, with the row values of random halves of the items, where it has row values.

    dependent: whether these change without the other half; see dependent_rows.
    """

    value: Value
    halves: Halves = field(default_factory=list)
    dependent: bool = False


def models_of(plan: Plan, against: str) -> tuple[str, list[str]]:
    """The reference and the models of a plan.

    Raises UsageError when there is no single reference, there are fewer than two models, or `against` is none of them.
    """
    group = reference_group(plan.groups, plan.reference or FIRST)
    if len(group) > 1:
        raise UsageError(f"--against needs one reference, and {group[0]} is one of {len(group)}", "Name one with --reference.")
    models = [uri for uri in plan.files if uri != group[0]]
    if len(models) < 2:
        raise UsageError("--against compares two or more models with a reference", "Name a reference and two more files.")
    if against not in (ALL, *models):
        which = "is the reference" if against == group[0] else "is none of the files"
        raise UsageError(which, "Write all, or one of the other files.", place=f"--against {against}")
    if any(params.get("ci") for _, params in plan.tasks):
        raise UsageError("--ci samples other rows for each pair of files", "Remove --ci or --against.")
    return group[0], models


def reference_differences(
    plan: Plan,
    views: Mapping[str, list[View] | DataError],
    against: str,
    cache: Records,
    workspace: Workspace,
    repeats: str = "",
) -> list[Record]:
    """Compare the models of a plan with its reference, on the items that all share, and subtract the values.

    views: as for runs.run. against: a model, or `all`. cache: finished tasks, read and extended. repeats: the column of the
    reference that names the item behind each row; values are then means over the repeats. "" for one row of each item.

    A model that cannot be used gets a record with the error. Raises DataError when the reference cannot be used, or fewer than
    two models can.
    """
    reference, models = models_of(plan, against)
    target = _targets(views[reference], repeats)
    found, errors = _usable(plan, views, target[0][0], models)
    rows = _shared_rows(found)
    measures = []
    with progress("comparing") as advance:
        for number, several in enumerate(target):
            view = several[0]
            values: dict[str, list[Measured]] = {}
            for done, (model, (own, _)) in enumerate(found.items()):
                advance(number * len(found) + done, len(target) * len(found), f"{reference} {model}")
                if number == len(target) - 1:
                    warn_of_different_spaces(view.embedding, own[number].embedding, list(plan.metrics))
                each = [_values(plan, one, own[number], rows[model], cache, workspace) for one in several]
                values[model] = [_mean(list(of_repeats)) for of_repeats in zip(*each, strict=True)]
            extra = {"joined": "position" if view.embedding.row_ids else "id"}
            extra |= {"projection": view.label} if len(target) > 1 else {}
            for place, (name, params) in enumerate(plan.tasks):
                of_models = {model: each[place] for model, each in values.items()}
                keys = {"metric": name, "reference": reference}
                more = {"k": params.get("k")} | extra
                if repeats:
                    shared = next(iter(rows.values()))[0]
                    own_items = [select(one.embedding, shared) for one in several]
                    bounds = noise_ceiling(name, params, own_items, plan.seed)
                    more |= dict(zip(("ceiling_low", "ceiling_high"), bounds, strict=True))
                measures.append(_measure(name, keys, of_models, more))
    records = compare_models(measures, against, plan.seed)
    return records + [
        dict.fromkeys(COLUMNS) | {"b": model, "reference": reference, "error": str(error)} for model, error in errors.items()
    ]


def _targets(views: list[View] | DataError, repeats: str) -> list[list[View]]:
    """For each view of the reference, one view of each repeat; a single one without repeats."""
    if isinstance(views, DataError):
        raise views
    return [repeats_of(view, repeats) if repeats else [view] for view in views]


def _mean(repeats: Sequence[Measured]) -> Measured:
    """The mean of the values for each repeat of the items, with the means of all that an interval is made of."""
    first, found = repeats[0], [one.value.estimate for one in repeats]
    lacking = [one for one in repeats if one.value.estimate is None]
    if len(repeats) == 1 or lacking:
        return lacking[0] if lacking else first
    whole = [estimate for estimate in found if estimate is not None]
    value, chance = (float(np.mean(numbers)) for numbers in ([e.value for e in whole], [one.value.chance for one in repeats]))
    parts = [[getattr(e, name) for e in whole] for name in ("rows", "without")]
    rows, without = (None if any(part is None for part in each) else np.mean(each, 0) for each in parts)
    estimate = Estimate(value, whole[0].n, rows, without, whole[0].items)
    halves = [
        tuple(np.mean(side, 0) for side in zip(*both, strict=True)) for both in zip(*(r.halves for r in repeats), strict=False)
    ]
    convention = f"{first.value.convention}, mean over {len(repeats)} repeats"
    return Measured(Value(estimate, convention, chance), halves, any(one.dependent for one in repeats))


def _usable(
    plan: Plan, views: Mapping[str, list[View] | DataError], target: View, models: Sequence[str]
) -> tuple[dict[str, tuple[list[View], tuple[np.ndarray, np.ndarray]]], dict[str, DataError]]:
    """The views of each model with the rows that it shares with the reference, and the errors of the other models."""
    found: dict[str, tuple[list[View], tuple[np.ndarray, np.ndarray]]] = {}
    errors: dict[str, DataError] = {}
    for model in models:
        own = views[model]
        try:
            if isinstance(own, DataError):
                raise own
            found[model] = own, join(target.embedding, own[0].embedding, plan.require_all)
        except DataError as error:
            errors[model] = error
    if len(found) < 2:
        raise next(iter(errors.values()))
    return found, errors


def _shared_rows(
    found: Mapping[str, tuple[list[View], tuple[np.ndarray, np.ndarray]]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each model, the row numbers in the reference and in the model of the items that all models share."""
    shared = reduce(np.intersect1d, [rows[0] for _, rows in found.values()])
    if not len(shared):
        raise DataError("share no items", "Name files of the same items.", file=" and ".join(found))
    most = max(own[0].embedding.n for own, _ in found.values())
    if len(shared) < most:
        say(f"{len(shared)} items are in all files; up to {most - len(shared)} rows of a file are left out.")
    out = {}
    for model, (_, (ours, theirs)) in found.items():
        kept = np.isin(ours, shared)
        out[model] = ours[kept], theirs[kept]
    return out


def _values(
    plan: Plan, target: View, model: View, rows: tuple[np.ndarray, np.ndarray], cache: Records, workspace: Workspace
) -> list[Measured]:
    """The values of one model by each task of the plan, in one view."""
    x, y = select(target.embedding, rows[0]), select(model.embedding, rows[1])
    for side, view in ((x, target), (y, model)):
        if side.x is view.embedding.x:
            workspace.register(side.x, view.content)
    of_pair = workspace.for_pair(largest_k(plan.tasks, x.n))
    digest = hashlib.sha256(rows[0].tobytes() + rows[1].tobytes()).hexdigest()
    out = []
    for name, params in plan.tasks:
        key = f"{task_key(target.content, model.content, digest, name, params, plan.seed)}.paired"
        known = cache.get_bytes(key, 64 * x.n + (1 << 24)) if target.content else None
        if known is not None:
            out.append(_decoded(known))
            continue
        one = measured(name, params, x, y, plan.seed, of_pair)
        if target.content:
            cache.put_bytes(key, _encoded(one))
        out.append(one)
    return out


def measured(
    name: str, params: Mapping[str, Any], x: Embedding, y: Embedding, seed: int, workspace: Workspace | None = None
) -> Measured:
    """Compute a metric on two embeddings with parallel rows, with what a paired difference needs.

    x: the reference. y: the model. Two results for the same reference and the same rows can be subtracted; see paired.
    """
    try:
        score = measure(name, params, x, y, seed, workspace or Workspace())
    except NotApplicable as reason:
        return Measured(Value(None, f"n/a: {reason}"))
    without = score.jackknife
    if without is not None and score.scale == "folded":
        without = np.abs(without)
    estimate = Estimate(score.value, x.n, score.rows, without, score.sample)
    value, rows = Value(estimate, score.convention, score.chance), score.rows
    if rows is None or len(rows) < 2:
        return Measured(value)
    splits = random_halves(x.n, seed, np.argsort(x.ids))
    halves = values_of_halves(partial(measure_subset, name, params, x, y, seed), rows, splits)
    if halves is None:
        return Measured(value, [(rows[first], rows[second]) for first, second in splits])
    return Measured(value, halves, dependent=True)


def _measure(
    name: str,
    keys: Record,
    found: Mapping[str, Measured],
    extra: Record,
) -> Measure:
    """The measure of one task, whose intervals know how rows depend on each other."""
    entry, values = METRICS[name], {model: one.value for model, one in found.items()}
    sign = 1 if entry.higher_is_closer else -1
    return Measure(keys, values, sign, entry.bounds, lambda a, b: difference_factor(found[a], found[b]), extra)


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


def difference_factor(a: Measured, b: Measured) -> float:
    """By how much dependence between rows widens the interval of the difference of two values; 1 without row values."""
    if not (a.dependent or b.dependent):
        return 1.0
    return factor_of([(v[0] - u[0], v[1] - u[1]) for u, v in zip(a.halves, b.halves, strict=False)])


def _encoded(one: Measured) -> bytes:
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


def _decoded(content: bytes) -> Measured:
    """The value that `_encoded` wrote. The cache has checked that the bytes are whole."""
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

"""Compare several models with one reference on the same items, so that their values can be subtracted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.output import progress, say
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.comparison.joins import join
from relrep_cli.comparison.layers import FIRST, reference_group
from relrep_cli.comparison.measured_values import Measured, decoded, difference_factor, encoded, mean_of, measured
from relrep_cli.comparison.model_differences import ALL, VALUES, Measure, Record, compare_models
from relrep_cli.comparison.pairs_of_files import View, largest_k
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.repeats import noise_ceiling, repeats_of, turned
from relrep_cli.comparison.runs import warn_of_different_spaces
from relrep_cli.embedding import select
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.workspace import Workspace

COLUMNS = ("a", "b", "metric", "reference", *VALUES, "k", "convention", "joined")
Task = tuple[str, Mapping[str, Any]]


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
    if repeats and turned([view.embedding for view in target[0]]):
        say(
            f"{reference}: its repeats do not share coordinates, so their mean vectors and the noise ceiling say nothing."
            " Compare seeds of a network with each other instead."
        )
    usable, errors = _usable(plan, views, target[0][0], models)
    rows = _shared_rows(usable)
    for own, _ in usable.values():
        warn_of_different_spaces(target[-1][0].embedding, own[-1].embedding, list(plan.metrics))
    measures = []
    with progress("comparing") as advance:
        for number, several in enumerate(target):
            values: dict[str, list[Measured]] = {}
            for done, (model, (own, _)) in enumerate(usable.items()):
                advance(number * len(usable) + done, len(target) * len(usable), f"{reference} {model}")
                each = [_values(plan, view, own[number], rows[model], cache, workspace) for view in several]
                values[model] = [mean_of(of_repeats) for of_repeats in zip(*each, strict=True)]
            for place, task in enumerate(plan.tasks):
                extra = _extra(plan, task, target, number, next(iter(rows.values()))[0])
                of_models = {model: each[place] for model, each in values.items()}
                measures.append(_measure(task[0], {"metric": task[0], "reference": reference}, of_models, extra))
    records = compare_models(measures, against, plan.seed)
    return records + [
        dict.fromkeys(COLUMNS) | {"b": model, "reference": reference, "error": str(error)} for model, error in errors.items()
    ]


def _extra(plan: Plan, task: Task, target: Sequence[Sequence[View]], number: int, shared: np.ndarray) -> Record:
    """Further columns of a task in one view of the reference. shared: (n,) row numbers of the items that are compared."""
    name, params = task
    several = target[number]
    extra: Record = {"k": params.get("k"), "joined": "position" if several[0].embedding.row_ids else "id"}
    extra |= {"projection": several[0].label} if len(target) > 1 else {}
    if len(several) > 1:
        bounds = noise_ceiling(name, params, [select(view.embedding, shared) for view in several], plan.seed)
        extra |= dict(zip(("ceiling_low", "ceiling_high"), bounds, strict=True))
    return extra


def _targets(views: list[View] | DataError, repeats: str) -> list[list[View]]:
    """For each view of the reference, one view of each repeat; a single one without repeats."""
    if isinstance(views, DataError):
        raise views
    return [repeats_of(view, repeats) if repeats else [view] for view in views]


def _usable(
    plan: Plan, views: Mapping[str, list[View] | DataError], target: View, models: Sequence[str]
) -> tuple[dict[str, tuple[list[View], tuple[np.ndarray, np.ndarray]]], dict[str, DataError]]:
    """The views of each model with the rows that it shares with the reference, and the errors of the other models."""
    usable: dict[str, tuple[list[View], tuple[np.ndarray, np.ndarray]]] = {}
    errors: dict[str, DataError] = {}
    for model in models:
        own = views[model]
        try:
            if isinstance(own, DataError):
                raise own
            usable[model] = own, join(target.embedding, own[0].embedding, plan.require_all)
        except DataError as error:
            errors[model] = error
    if len(usable) < 2:
        raise next(iter(errors.values()))
    return usable, errors


def _shared_rows(
    usable: Mapping[str, tuple[list[View], tuple[np.ndarray, np.ndarray]]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each model, the row numbers in the reference and in the model of the items that all models share."""
    shared = reduce(np.intersect1d, [rows[0] for _, rows in usable.values()])
    if not len(shared):
        raise DataError("share no items", "Name files of the same items.", file=" and ".join(usable))
    most = max(own[0].embedding.n for own, _ in usable.values())
    if len(shared) < most:
        say(f"{len(shared)} items are in all files; up to {most - len(shared)} rows of a file are left out.")
    out = {}
    for model, (_, (ours, theirs)) in usable.items():
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
            out.append(decoded(known))
            continue
        one = measured(name, params, x, y, plan.seed, of_pair)
        if target.content:
            cache.put_bytes(key, encoded(one))
        out.append(one)
    return out


def _measure(
    name: str,
    keys: Record,
    measured: Mapping[str, Measured],
    extra: Record,
) -> Measure:
    """The measure of one task, whose intervals know how rows depend on each other."""
    entry, values = METRICS[name], {model: one.value for model, one in measured.items()}
    sign = 1 if entry.higher_is_closer else -1
    return Measure(keys, values, sign, entry.bounds, lambda a, b: difference_factor(measured[a], measured[b]), extra)

"""Compare several models with one reference, or with each of several, so that their values can be subtracted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import progress, say
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.comparison.closest_models import CLOSEST, closest_of, records_of_closest
from relrep_cli.comparison.closest_models import COLUMNS as CLOSEST_COLUMNS
from relrep_cli.comparison.common_items import Rows, rows_of_shared, shared_items
from relrep_cli.comparison.layers import FIRST, reference_group
from relrep_cli.comparison.measured_values import Measured, decoded, difference_factor, encoded, mean_of, measured
from relrep_cli.comparison.model_differences import (
    ALL,
    VALUES,
    Measure,
    Record,
    Subtracted,
    pairs_of_models,
    records_of_models,
    subtracted,
)
from relrep_cli.comparison.pairs_of_files import View, largest_k
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.repeats import noise_ceiling, turned
from relrep_cli.comparison.runs import usable, warn_of_different_spaces
from relrep_cli.embedding import select
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.workspace import Workspace

COLUMNS = ("a", "b", "metric", "reference", *VALUES, "k", "convention", "joined")
TURNED = (
    "its repeats do not share coordinates, so their mean vectors and the noise ceiling say nothing."
    " Compare seeds of a network with each other instead."
)
Task = tuple[str, Mapping[str, Any]]


def columns_of(against: str) -> tuple[str, ...]:
    """The columns of the records that all have."""
    return CLOSEST_COLUMNS if against == CLOSEST else COLUMNS


def models_of(plan: Plan, against: str) -> tuple[list[str], list[str]]:
    """The references and the models of a plan.

    Raises UsageError when there are fewer than two models, or `against` is none of them.
    """
    references = reference_group(plan.groups, plan.reference or FIRST)
    models = [uri for uri in plan.files if uri not in references]
    if len(models) < 2:
        more = "Name two more files." if len(references) == 1 else "Name the files to compare them with, or one by --reference."
        raise UsageError("--against compares two or more models with a reference", more)
    if against not in (ALL, CLOSEST, *models):
        which = "is a reference" if against in references else "is none of the files"
        remedy = "Write all, closest, or one of the other files."
        raise UsageError(f"{printable(against)} {which}", remedy, place="--against")
    if any(params.get("ci") for _, params in plan.tasks):
        raise UsageError("--ci samples other rows for each pair of files", "Remove --ci or --against.")
    return references, models


def reference_differences(
    plan: Plan,
    views: Mapping[str, list[View] | DataError],
    against: str,
    cache: Records,
    workspace: Workspace,
    repeats: str = "",
) -> list[Record]:
    """Compare the models of a plan with each of its references, on the items that all share, and subtract the values.

    views: as for runs.run. against: a model, `all`, or `closest`, which subtracts from the closest model of each reference.
    cache: finished tasks, read and extended. repeats: the column of the references that names the item behind each row; values
    are then means over the repeats. "" for one row of each item.

    A file that cannot be used gets a record with the error. Raises DataError when no reference can be used, or fewer than two
    models can.
    """
    references, models = models_of(plan, against)
    shared = shared_items(plan, views, references, models, repeats)
    compared: list[Subtracted] = []
    with progress("comparing") as advance:
        for number, reference in enumerate(shared.references):
            target, rows = rows_of_shared(views, reference, shared, repeats)
            if repeats and turned([view.embedding for view in target[0]]):
                say(f"{reference}: {TURNED}")

            def step(done: int, of: int, note: str, number: int = number) -> None:
                advance(number * of + done, len(shared.references) * of, note)

            for measure in _measures(plan, views, (reference, target), rows, cache, workspace, step):
                closest = against == CLOSEST
                pairs = pairs_of_models(measure, against)
                compared.append(closest_of(measure, plan.seed) if closest else subtracted(measure, pairs, plan.seed))
    records = records_of_closest(compared) if against == CLOSEST else records_of_models(compared, against)
    return records + [_failed(uri, error, references, against) for uri, error in shared.errors.items()]


def _failed(uri: str, error: DataError, references: Sequence[str], against: str) -> Record:
    """The record of a file that could not be used."""
    known, other = (CLOSEST_COLUMNS, "rival") if against == CLOSEST else (COLUMNS, "b")
    names: Record = {"reference": uri} if uri in references else {other: uri, "reference": references[0]}
    names |= {"reference": None} if uri not in references and len(references) > 1 else {}
    return dict.fromkeys(known) | names | {"error": str(error)}


def _measures(
    plan: Plan,
    views: Mapping[str, list[View] | DataError],
    reference: tuple[str, list[list[View]]],
    rows: Mapping[str, Rows],
    cache: Records,
    workspace: Workspace,
    step: Callable[[int, int, str], None],
) -> Iterator[Measure]:
    """Every task in every view of one reference. reference: its name and its views. rows: of the models. step: of progress."""
    name, target = reference
    models = {model: usable(views[model]) for model in rows}
    for own in models.values():
        warn_of_different_spaces(target[-1][0].embedding, own[-1].embedding, list(plan.metrics))
    for number, several in enumerate(target):
        values: dict[str, list[Measured]] = {}
        for done, (model, own) in enumerate(models.items()):
            step(number * len(models) + done, len(target) * len(models), f"{name} {model}")
            each = [_values(plan, view, own[number], rows[model], cache, workspace) for view in several]
            values[model] = [mean_of(of_repeats) for of_repeats in zip(*each, strict=True)]
        for place, task in enumerate(plan.tasks):
            extra = _extra(plan, task, target, number, next(iter(rows.values()))[0])
            of_models = {model: each[place] for model, each in values.items()}
            yield _measure(task[0], {"metric": task[0], "reference": name}, of_models, extra)


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

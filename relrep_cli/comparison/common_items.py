"""The items that all references and models of a comparison share, as row numbers in each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.output import say
from relrep_cli.comparison.joins import join
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.repeats import repeats_of

Rows = tuple[np.ndarray, np.ndarray]  # row numbers in a reference and in a model, parallel
FileViews = Mapping[str, list[View] | DataError]


@dataclass(frozen=True, eq=False)
class SharedItems:
    """rows: for each usable reference, those of each usable model. errors: of the other files."""

    rows: dict[str, dict[str, Rows]] = field(default_factory=dict)
    errors: dict[str, DataError] = field(default_factory=dict)


def shared_items(
    plan: Plan, views: FileViews, references: Sequence[str], models: Sequence[str], repeats: str = ""
) -> SharedItems:
    """Find the items that all usable files share. repeats: the column of the references that names items, "" for ids.

    The first usable reference says which models can be used; a later one must join all of these.

    Raises DataError when no reference can be used, fewer than two models can, or they share no items.
    """
    shared = SharedItems()
    usable = list(models)
    for reference in references:
        try:
            target = targets_of(views[reference], repeats)[0][0]
        except DataError as error:
            shared.errors[reference] = error
            continue
        rows, errors = _joined(plan, views, target, usable)
        if shared.rows and errors:  # other references have joined these models
            shared.errors[reference] = next(iter(errors.values()))
            continue
        if len(rows) < 2:
            raise next(iter(errors.values()))
        usable = list(rows)
        shared.rows[reference] = rows
        shared.errors.update(errors)
    if not shared.rows:
        raise next(iter(shared.errors.values()))
    _keep_common(shared.rows)
    kept = len(next(iter(next(iter(shared.rows.values())).values()))[0])
    most = max(own[0].embedding.n for own in map(views.__getitem__, usable) if not isinstance(own, DataError))
    if not kept:
        raise DataError("share no items", "Name files of the same items.", file=" and ".join(usable))
    if kept < most:
        say(f"{kept} items are in all files; up to {most - kept} rows of a file are left out.")
    return shared


def targets_of(views: list[View] | DataError, repeats: str) -> list[list[View]]:
    """For each view of a reference, one view of each repeat; a single one without repeats."""
    if isinstance(views, DataError):
        raise views
    return [repeats_of(view, repeats) if repeats else [view] for view in views]


def _joined(plan: Plan, views: FileViews, target: View, models: Sequence[str]) -> tuple[dict[str, Rows], dict[str, DataError]]:
    """The rows of each model that it shares with a reference, and the errors of the other models."""
    rows: dict[str, Rows] = {}
    errors: dict[str, DataError] = {}
    for model in models:
        own = views[model]
        try:
            if isinstance(own, DataError):
                raise own
            rows[model] = join(target.embedding, own[0].embedding, plan.require_all)
        except DataError as error:
            errors[model] = error
    return rows, errors


def _keep_common(rows: dict[str, dict[str, Rows]]) -> None:
    """Keep the rows of items that every model shares with every reference."""
    in_first_model = []
    for of_models in rows.values():
        ours = reduce(np.intersect1d, [ours for ours, _ in of_models.values()])
        mine, theirs = next(iter(of_models.values()))
        in_first_model.append(theirs[np.isin(mine, ours)])
    common = reduce(np.intersect1d, in_first_model)
    for of_models in rows.values():
        mine, theirs = next(iter(of_models.values()))
        shared = mine[np.isin(theirs, common)]
        for model, (ours, own) in of_models.items():
            kept = np.isin(ours, shared)
            of_models[model] = ours[kept], own[kept]

"""The items that all references and models of a comparison share, as row numbers in each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say
from relrep_cli.comparison.joins import join
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.repeats import repeats_of
from relrep_cli.comparison.runs import usable
from relrep_cli.embedding import match_ids

Rows = tuple[np.ndarray, np.ndarray]  # row numbers in a reference and in a model, parallel
FileViews = Mapping[str, list[View] | DataError]


@dataclass(frozen=True, eq=False)
class SharedItems:
    """What all usable files share.

    references, models: those that can be used. rows: of the shared items in the first model, ascending. errors: of the other
    files.
    """

    references: list[str]
    models: list[str]
    rows: np.ndarray
    errors: dict[str, DataError]


def shared_items(
    plan: Plan, views: FileViews, references: Sequence[str], models: Sequence[str], repeats: str = ""
) -> SharedItems:
    """Find the items that all usable files share. repeats: the column of the references that names items, "" for ids.

    The first usable reference says which models can be used; a later one must join all of these.

    Raises DataError when no reference can be used, fewer than two models can, or they share no items.
    """
    joined, known, kept = list(models), list[str](), np.empty(0, np.int64)
    failed: dict[str, DataError] = {}
    for reference in references:
        try:
            target = targets_of(views[reference], repeats)[0][0]
        except DataError as error:
            failed[reference] = error
            continue
        rows, errors = _joined(plan, views, target, joined)
        if known and errors:  # other references have joined these models
            failed[reference] = next(iter(errors.values()))
            continue
        if len(rows) < 2:
            raise next(iter(errors.values()))
        ours = reduce(np.intersect1d, [ours for ours, _ in rows.values()])
        mine, theirs = next(iter(rows.values()))
        here = np.sort(theirs[np.isin(mine, ours)])
        kept = np.intersect1d(kept, here) if known else here
        joined, failed = list(rows), failed | errors
        known.append(reference)
    if not known:
        raise next(iter(failed.values()))
    _say_what_is_left_out(views, joined, len(kept))
    return SharedItems(known, joined, kept, failed)


def rows_of_shared(
    views: FileViews, reference: str, shared: SharedItems, repeats: str = ""
) -> tuple[list[list[View]], dict[str, Rows]]:
    """The views of a reference, see targets_of, and the row numbers of the shared items in it and in each model."""
    target = targets_of(views[reference], repeats)
    matched = {m: match_ids(target[0][0].embedding.ids, usable(views[m])[0].embedding.ids) for m in shared.models}
    mine, theirs = matched[shared.models[0]]
    items = mine[np.isin(theirs, shared.rows)]
    rows = {}
    for model, (ours, own) in matched.items():
        kept = np.isin(ours, items)
        rows[model] = ours[kept], own[kept]
    return target, rows


def _say_what_is_left_out(views: FileViews, models: Sequence[str], kept: int) -> None:
    if not kept:
        raise DataError("share no items", "Name files of the same items.", file=" and ".join(models))
    most = max(usable(views[model])[0].embedding.n for model in models)
    if kept < most:
        say(f"{kept} items are in all files; up to {most - kept} rows of a file are left out.")


def targets_of(views: list[View] | DataError, repeats: str) -> list[list[View]]:
    """For each view of a reference, one view of each repeat; a single one without repeats."""
    return [repeats_of(view, repeats) if repeats else [view] for view in usable(views)]


def _joined(plan: Plan, views: FileViews, target: View, models: Sequence[str]) -> tuple[dict[str, Rows], dict[str, DataError]]:
    """The rows of each model that it shares with a reference, and the errors of the other models."""
    rows: dict[str, Rows] = {}
    errors: dict[str, DataError] = {}
    for model in models:
        try:
            rows[model] = join(target.embedding, usable(views[model])[0].embedding, plan.require_all)
        except DataError as error:
            errors[model] = error
    return rows, errors

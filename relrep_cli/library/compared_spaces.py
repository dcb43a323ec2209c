"""`compare` and `diagnose`: measure how alike spaces are, and find how they are related."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relrep_cli.base.errors import UsageError
from relrep_cli.base.output import say
from relrep_cli.base.task_cache import Records
from relrep_cli.comparison.pairs_of_files import Rows, View
from relrep_cli.comparison.plans import Outputs, Plan, make_plan
from relrep_cli.comparison.result_columns import columns_of
from relrep_cli.comparison.row_values import label_of_each, row_keys, row_records
from relrep_cli.comparison.runs import run
from relrep_cli.embedding import Embedding
from relrep_cli.library.call_parts import (
    Names,
    check_numbers,
    grouped_spaces,
    name_of,
    named_spaces,
    names_of,
    recipe_of,
    results_of,
)
from relrep_cli.library.given_spaces import Column, Space, Spaces
from relrep_cli.library.result_tables import Result, Results, notes_kept
from relrep_cli.library.wording import speaks_python
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.catalogue import expand, remarks
from relrep_cli.numerics.devices import NUMPY, chosen
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.relative.file_views import views_of_space
from relrep_cli.relative.recipes import Recipe


@speaks_python
def compare(
    x: Spaces,
    y: Spaces = None,
    *others: Spaces,
    metric: Names = "cka",
    anchors: Any = None,
    recipe: Mapping[str, Any] | None = None,
    ids_x: Column | None = None,
    ids_y: Column | None = None,
    labels: Column | None = None,
    split: str | None = None,
    permutations: int = 0,
    reference: str | int | None = None,
    against: str | int = "",
    per_row: bool = False,
    seed: int = 0,
    device: str = NUMPY,
    require_all: bool = False,
    **options: Any,
) -> Results:
    """Measure how alike two or more spaces are, as `relrep compare` does.

    x, y, others: see `as_embedding`. Rows join by id; arrays without ids pair by position, and must have equal lengths. One of
    them may stand for several spaces: a mapping, whose keys name them, a list, or a pattern such as "a.h5::layer/*". Such
    spaces are compared with those of the other arguments, and with each other only where theirs is the only argument.
    metric: a name, a family, "all", or several; the command without --metric computes "cka" and "knn-jaccard". options: of the
    metrics, such as k, or as_="angle" for procrustes. anchors: also compare the relative spaces on these anchors, projected by
    this recipe; see `project`. ids_x, ids_y: (n,) ids of the rows of x and y. labels: (n,) of x, for metrics that need them.
    split: compare these rows alone. permutations: of a permutation test, which adds p, q and corrected. reference: the name of
    a space, or its place among all: compare every other one with it alone; "first": with those of x. against: the place among
    all spaces or the name of one, or "all": compare each with the reference, else x, and subtract; "closest": is the closest
    space closer than every other one? per_row: give the value of each item, not their mean. device: where large products are
    computed, such as "cuda" or "auto".

    Returns one record for each pair, metric and view; with against, for each difference; with per_row, for each item, too, with
    its id and label. If there is only one, `result.value`, `.low`, `.high` and `.chance` are its fields.

    Raises UsageError for an unknown metric or option, or when the only metric has no value; DataError when rows do not join.

    >>> import numpy as np
    >>> x = np.arange(40.0).reshape(20, 2) ** 2
    >>> results = compare(x, -x, metric=["cka", "knn-jaccard"], k=3)
    >>> [(r.metric, round(r.value, 6)) for r in results]
    [('cka', 1.0), ('knn-jaccard', 1.0)]
    """
    check_numbers(seed=seed, permutations=permutations)
    names = expand(names_of(metric))
    params, recipes = METRICS.choose(names, options), _recipes(anchors, recipe)
    with notes_kept() as notes:
        groups = _compared(x, [] if y is None else [y, *others], [ids_x, ids_y], labels)
        _say_remarks(names)
        wanted, uris = Outputs(permutations=permutations, row_table=per_row), [[e.uri for e in group] for group in groups]
        plan = make_plan(uris, params, wanted, reference=_reference(reference, uris), seed=seed, require_all=require_all)
        views = {e.uri: views_of_space(e, split, recipes, device=device) for group in groups for e in group}
        if against != "":
            return _differences(plan, views, against, chosen(device), notes)
        outcome = run(plan, views, Records(None), Workspace.of_run(Records(None), chosen(device)))
    if per_row:
        return _row_values(outcome.rows, views, bool(recipes), notes)
    return results_of(outcome.records, notes, columns_of(outcome, bool(recipes)))


def _say_remarks(metrics: list[str]) -> None:
    for remark in remarks(metrics):
        say(f"{remark}.")


def _compared(x: Spaces, others: list[Spaces], ids: list[Column | None], labels: Column | None) -> list[list[Embedding]]:
    """The spaces that each argument stands for. Raises UsageError for a metric among them, and for one space alone."""
    if named := next((one for one in others if isinstance(one, str) and one in METRICS), ""):
        raise UsageError(f"{named!r} is a metric, and a space is expected in its place", f'Write metric="{named}".')
    groups = grouped_spaces([x, *others], ids, labels)
    if not others and len(groups[0]) < 2:
        remedy = 'Give another space; or as x several, in a mapping or by a pattern such as "a.h5::layer/*".'
        raise UsageError("y is missing, and x is one space", remedy)
    return groups


def _reference(given: str | int | None, groups: Sequence[Sequence[str]]) -> str | None:
    return None if given is None else name_of(given, [uri for group in groups for uri in group])


def _recipes(anchors: Any, how: Mapping[str, Any] | None) -> list[Recipe]:
    if anchors is None and how:
        raise UsageError("recipe says how to project on anchors, which are missing", "Give anchors, or leave recipe out.")
    return [] if anchors is None else recipe_of(anchors, **(how or {})).each_similarity()


def _row_values(rows: Sequence[Rows], views: Mapping[str, list[View]], projected: bool, notes: list[str]) -> Results:
    if not rows:
        raise UsageError("none of the metrics has a value for each row", 'Add one such as "knn-jaccard", or leave per_row out.')
    sides = [[views[r.record[side]][0].embedding for side in ("a", "b")] for r in rows]
    labels = [label_of_each(r.ids, *both) for r, both in zip(rows, sides, strict=True)]
    keys = row_keys(rows, projected)
    return results_of(row_records(rows, keys, labels), notes, ["id", "label", *keys, "value"])


def _differences(plan: Plan, views: Mapping[str, list[View]], against: str | int, device: str, notes: list[str]) -> Results:
    if plan.outputs.permutations or plan.outputs.row_table:
        other = "permutations do" if plan.outputs.permutations else "per_row does"
        raise UsageError(f"{other} not go with against", "Leave one out.")
    from relrep_cli.comparison.reference_values import columns_of as columns_of_differences
    from relrep_cli.comparison.reference_values import reference_differences

    named = name_of(against, plan.files)
    records = reference_differences(plan, dict(views), named, Records(None), Workspace.of_run(Records(None), device))
    return results_of(records, notes, columns_of_differences(named))


@speaks_python
def diagnose(x: Space, y: Space, *, ids_x: Column | None = None, ids_y: Column | None = None, seed: int = 0) -> Result:
    """Find the simplest relation between two spaces of the same items, as `relrep compare --diagnose` does.

    Returns its record: `relation`, with the evidence for it. docs/diagnosis.md lists the relations.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> diagnose(x, 3 * x).relation
    'scaled'
    """
    from relrep_cli.comparison.diagnosis_records import diagnose_pairs

    a, b = named_spaces([x, y], [ids_x, ids_y], None)
    views: Any = {e.uri: views_of_space(e, None, []) for e in (a, b)}
    (diagnosis,) = diagnose_pairs([(a.uri, b.uri)], views, False, seed)
    return Result(next(record for record in diagnosis.records() if record["holds"] == "yes"))

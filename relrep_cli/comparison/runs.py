"""Run a plan of comparisons: measure its pairs one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import Record, progress, say
from relrep_cli.base.task_cache import Records
from relrep_cli.comparison.joins import join, left_out
from relrep_cli.comparison.layers import family
from relrep_cli.comparison.pairs_of_files import Rows, View, compare_pair, failure, ratios
from relrep_cli.comparison.permutations import Significance
from relrep_cli.comparison.plans import Plan
from relrep_cli.embedding import Embedding
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.workspace import Workspace

Views = Mapping[str, list[View] | DataError]  # each file in every view, or what is wrong with the file


@dataclass(frozen=True)
class Results:
    """The results of a run.

    records: one for each pair, view and task, then the ratios of the pair. rows: row values, where the plan needs them.
    tests: the permutation tests, which have written their columns into the records.
    """

    records: list[Record]
    rows: list[Rows]
    tests: Significance


def run(plan: Plan, views: Views, cache: Records, workspace: Workspace) -> Results:
    """Measure every pair of the plan.

    views: every file of the plan in every view, the absolute view first, or the error that makes the file unusable. cache:
    finished tasks, read and extended. workspace: that of the run; see Workspace.of_run.

    A pair with an unusable file, or without common rows, gets records that hold the error.

    Raises DataError when this happens to the only pair, and UsageError when the only task has no value.
    """
    results = Results([], [], Significance(plan.outputs.permutations, plan.seed, cache))
    with progress("comparing") as advance:
        for done, (a, b) in enumerate(plan.pairs):
            advance(done, len(plan.pairs), f"{a} {b}")
            show = partial(_show, advance, done, len(plan.pairs), f"{a} {b}: permutations")
            try:
                records, rows = _run_pair(plan, views, (a, b), results.tests, cache, workspace, show)
            except DataError as error:
                if plan.single:
                    raise
                records, rows = [failure(a, b, name, error) for name, _ in plan.tasks], []
            results.records.extend(records)
            results.rows.extend(rows)
    _refuse_no_value(plan, results.records)
    for note in results.tests.close(results.records):
        say(note)
    return results


def _run_pair(
    plan: Plan,
    views: Views,
    pair: tuple[str, str],
    tests: Significance,
    cache: Records,
    workspace: Workspace,
    show: Any,
) -> tuple[list[Record], list[Rows]]:
    """Measure one pair of files. Raises DataError when one cannot be used, or when they share no rows."""
    left, right = (_usable(views[uri]) for uri in pair)
    a, b = left[0].embedding, right[0].embedding
    common = join(a, b, plan.require_all)
    if note := left_out(a, b, common):
        say(f"{a.uri} and {b.uri}: {note}")
    warn_of_different_spaces(left[-1].embedding, right[-1].embedding, list(plan.metrics))
    records, rows = compare_pair(left, right, common, plan.metrics, plan.seed, cache, plan.outputs.row_values, workspace)
    if tests.permutations:
        tests.add(records, (left, right), common, plan.tasks, family(plan.groups, *pair), show, workspace)
    return records + ratios(records, len(left)), rows


def _usable(views: list[View] | DataError) -> list[View]:
    if isinstance(views, DataError):
        raise views
    return views


def _show(advance: Any, done: int, total: int, note: str, part: float) -> None:
    advance(done + part, total, note)


def warn_of_different_spaces(x: Embedding, y: Embedding, names: list[str]) -> None:
    """Say which metrics read coordinates of two spaces that need not correspond."""
    affected = [n for n in names if METRICS[n].reads_coordinates and x.d == y.d]
    if affected and (not x.space or x.space != y.space):
        known = [printable(e.space) for e in (x, y) if e.space]
        spaces = " and ".join(known) if len(known) == 2 else "one file names its space" if known else "neither names its space"
        verb = "reads" if len(affected) == 1 else "read"
        which = ", ".join(affected)
        say(f"{x.uri} and {y.uri}: different spaces ({spaces}); {which} {verb} coordinates that need not correspond.")


def _refuse_no_value(plan: Plan, records: list[Record]) -> None:
    if len(plan.metrics) == len(records) == 1 and records[0]["value"] is None and "error" not in records[0]:
        r = records[0]
        raise UsageError(f"{r['metric']} is {r['convention']}", file=f"{r['a']} and {r['b']}")

"""Run a plan of comparisons: measure its pairs one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import partial
from typing import Any

from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, say
from relrep_cli.base.task_cache import Records
from relrep_cli.comparison.batches import take_ahead
from relrep_cli.comparison.joins import join, left_out
from relrep_cli.comparison.layers import family
from relrep_cli.comparison.low_dims import by_angle, hint
from relrep_cli.comparison.pairs_of_files import Rows, View, compare_pair, failure, ratios
from relrep_cli.comparison.permutations import Layer, Significance
from relrep_cli.comparison.permuted_layers import later_spaces
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.row_summaries import Summaries, cache_key, decoded, encoded, summaries_of
from relrep_cli.embedding import Embedding
from relrep_cli.engine.jobs import Advance, Job, Outcome, Task
from relrep_cli.engine.running import outcomes
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.workspace import Workspace

Views = Mapping[str, list[View] | DataError]  # each file in every view, or what is wrong with the file


@dataclass(frozen=True)
class Results:
    """The results of a run.

    records: one for each pair, view and task, then the ratios of the pair. rows: row values, where the plan needs them.
    tests: the permutation tests, which have written their columns into the records. summaries: of row values, for a report.
    """

    records: list[Record]
    rows: list[Rows]
    tests: Significance
    summaries: Summaries = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Session:
    """What the pairs of a run share in one process.

    views: every file of the plan in every view, the absolute view first, or the error that makes the file unusable. cache:
    finished tasks, read and extended. workspace: that of the run; see Workspace.of_run. prepared: the common rows of pairs, for
    pieces; see comparison/pieces.py. taken: the pairs of batches; see comparison/batches.py.
    """

    plan: Plan
    views: Views
    cache: Records
    workspace: Workspace
    prepared: dict[tuple[str, str, int], tuple[Embedding, Embedding, str]] = field(default_factory=dict)
    taken: set[tuple[tuple[str, str], int]] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class PairResult:
    """The results of one pair of files.

    layers: of its permutation tests, for `Significance.join`. contents: what the values were computed from, "" where unknown.
    summaries: of row values, for a report.
    """

    records: list[Record]
    rows: list[Rows]
    layers: list[Layer]
    contents: tuple[str, str] = ("", "")
    summaries: Summaries = field(default_factory=dict)


def run(plan: Plan, views: Views, cache: Records, workspace: Workspace) -> Results:
    """Measure every pair of the plan in this process. The parameters are those of Session; see `collect`."""
    return collect(plan, cache, outcomes(job_of(plan), state=Session(plan, views, cache, workspace)))


def job_of(plan: Plan, setup: str = "", shared: Any = None) -> Job:
    """The job that measures the pairs of the plan. setup, shared: how another process makes its Session; see Job."""
    tasks = [Task(pair, " ".join(pair)) for pair in plan.pairs]
    return Job("comparing", f"{__name__}:measure_pair", setup, shared, tasks)


def collect(plan: Plan, cache: Records, outcomes: Iterable[Outcome]) -> Results:
    """Make the results of a run from the outcomes of its pairs, in the order of the pairs.

    A pair with an unusable file, or without common rows, gets records that hold the error.

    Raises DataError when this happens to the only pair, and UsageError when the only task has no value.
    """
    results = Results([], [], Significance(plan.outputs.permutations, plan.seed, cache))
    for (a, b), outcome in zip(plan.pairs, outcomes, strict=True):
        if outcome.error is not None:
            if plan.single or not isinstance(outcome.error, DataError):
                raise outcome.error
            results.records.extend(failure(a, b, name, outcome.error) for name, _ in plan.tasks)
            continue
        pair: PairResult = outcome.result
        results.tests.join(pair.records, pair.layers)
        results.records.extend(pair.records)
        results.rows.extend(pair.rows)
        results.summaries.update(pair.summaries)
    _refuse_no_value(plan, results.records)
    for note in results.tests.close(results.records):
        say(note)
    return results


def measure_pair(session: Session, advance: Advance, a: str, b: str) -> PairResult:
    """Measure one pair of files. Raises DataError when one cannot be used, or when they share no rows."""
    plan, views, cache, workspace = session.plan, session.views, session.cache, session.workspace
    left, right = (usable(views[uri]) for uri in (a, b))
    x, y = left[0].embedding, right[0].embedding
    common = join(x, y, plan.require_all)
    if note := left_out(x, y, common):
        say(f"{x.uri} and {y.uri}: {note}")
    warn_of_different_spaces(left[-1].embedding, right[-1].embedding, list(plan.metrics))
    for uri, e in ((a, x), (b, y)):
        if (note := hint(e, by_angle(METRICS, plan.metrics))) and next(
            (pair for pair in plan.pairs if uri in pair), (a, b)
        ) == (a, b):  # once
            say(note)
    wanted = plan.outputs
    contents = [view.content for view in (*left, *right)]
    key = cache_key(contents, common, plan.tasks, plan.seed, wanted.report) if wanted.report else ""
    known = decoded(cache.get(key), a, b) if key else None
    want_rows = wanted.keeps_row_values or (bool(wanted.report) and known is None)
    if (a, b) in plan.pairs:  # another process knows no plan
        take_ahead((a, b), plan, views, lambda key: cache.get(key) is not None, workspace, session.taken)
    records, rows = compare_pair(left, right, common, plan.metrics, plan.seed, cache, want_rows, workspace, wanted.intervals)
    summaries = summaries_of(rows, wanted.report) if known is None and wanted.report else known or {}
    if key and known is None:
        cache.put(key, encoded(summaries))
    layers: list[Layer] = []
    if plan.outputs.permutations:
        tests = Significance(plan.outputs.permutations, plan.seed, cache)
        later = partial(later_spaces, (a, b), plan=plan, views=views, workspace=workspace)
        layers = tests.test(records, (left, right), common, plan.tasks, family(plan.groups, a, b), advance, workspace, later)
    kept = [] if wanted.report and not wanted.keeps_row_values else rows
    ends = left[-1].content, right[-1].content
    return PairResult(records + ratios(records, len(left)), kept, layers, ends, summaries)


def usable(views: list[View] | DataError) -> list[View]:
    """The views of a file. Raises the error that makes it unusable."""
    if isinstance(views, DataError):
        raise views
    return views


def warn_of_different_spaces(x: Embedding, y: Embedding, names: list[str]) -> None:
    """Say which metrics read coordinates of two spaces that need not correspond."""
    affected = [n for n in names if METRICS[n].reads_coordinates and x.d == y.d]
    if affected and (not x.space or x.space != y.space):
        known = [printable(e.space) for e in (x, y) if e.space]
        named = "one file names its space" if known else "neither names its space"
        spaces = f"spaces {' and '.join(known)}" if len(known) == 2 else named
        verb = "reads" if len(affected) == 1 else "read"
        which = ", ".join(affected)
        apart = "different spaces, and" if len(known) == 2 else "their spaces may differ, and"
        what = f"{apart} {which} {verb} coordinates, which need not correspond."
        say(f"{x.uri} and {y.uri} ({spaces}): {what}")  # what follows the colon is said of a few pairs, and counted


def _refuse_no_value(plan: Plan, records: list[Record]) -> None:
    if len(plan.metrics) == len(records) == 1 and records[0]["value"] is None and "error" not in records[0]:
        r = records[0]
        raise UsageError(f"{r['metric']} is {r['convention']}", file=f"{r['a']} and {r['b']}")

"""Compute the chosen metrics on the rows that two embeddings share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import each
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.comparison.corrected_values import correction
from relrep_cli.comparison.dependent_rows import MeasureRows, widened, widening_factor
from relrep_cli.embedding import Embedding, select
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.numerics import intervals
from relrep_cli.numerics.blocks import first_bad_row, take
from relrep_cli.numerics.workspace import UNSHARED, Sample, Workspace

Record = dict[str, Any]
RATIO = "relative / absolute"
NO_RATIO = ("n/a: the absolute value is not above 0", "n/a: there is no absolute value")
RESULT = {"value", "corrected", "low", "high", "chance", "n", "k", "convention"}  # keys of every record of a pair


@dataclass(frozen=True, eq=False)
class View:
    """One embedding in one representation.

    label: `absolute`, or the name of a relative projection. content: a key that identifies the data in the task cache; empty
    when results are not cached.
    """

    label: str
    embedding: Embedding
    content: str = ""


@dataclass(frozen=True, eq=False)
class Rows:
    """The per-row values (n,) of one metric on one pair of files, with the ids (n,) of the rows."""

    record: Record
    ids: np.ndarray
    values: np.ndarray


def measure(
    name: str, params: Mapping[str, Any], a: Embedding, b: Embedding, seed: int = 0, workspace: Workspace = UNSHARED
) -> Score:
    """Compute the metric `name` on two embeddings with parallel rows.

    params: options of the metric. seed: used only by metrics that sample. workspace: where intermediate results are
        shared.

    Raises NotApplicable with the reason when the metric is undefined on these data.
    """
    entry = METRICS[name]
    if "same dims" in entry.needs and a.d != b.d:
        raise NotApplicable(
            f"dims differ ({a.d} and {b.d}); project both onto shared anchors first, or use --metric knn-jaccard"
        )
    if "k" in params and a.n <= params["k"]:
        raise NotApplicable(f"k = {params['k']} needs more than {a.n} items; write --k {a.n - 1} or less")
    for which, embedding in (("first", a), ("second", b)):
        if (row := _first_bad_row(embedding.x, workspace)) is not None:
            raise NotApplicable(f"row {row} of the {which} space is not finite")
    labels = _labels(a, b) if "labels" in entry.needs else None
    with np.errstate(all="ignore"):  # an overflow makes the value infinite or NaN, which is reported below
        try:
            score = entry.compute(a.x, b.x, params, seed=seed, labels=labels, workspace=workspace)
        except np.linalg.LinAlgError as error:
            raise NotApplicable(f"no solution: {error}") from None
    if not np.isfinite(score.value):
        raise NotApplicable("the value is not a finite number: the squares of the coordinates do not fit float64")
    return score


def _first_bad_row(x: np.ndarray, workspace: Workspace) -> int | None:
    space, order = workspace.origin(x)
    bad = workspace.fact("first bad row", space, lambda: first_bad_row(space))
    return bad if order is None or bad is None else first_bad_row(x)


def _labels(a: Embedding, b: Embedding) -> np.ndarray:
    """The labels of the items, from either file; two files with labels must agree."""
    labels = [embedding.obs["label"].astype("S") for embedding in (a, b) if "label" in embedding.obs]
    if not labels:
        raise NotApplicable("neither file has labels; give them with relrep embed --labels")
    if differ := int((labels[0] != labels[-1]).sum()):
        raise NotApplicable(f"the files give {differ} of {a.n} common items different labels; make them agree")
    return labels[0]


def interval(
    name: str,
    score: Score,
    seed: int,
    measure_rows: MeasureRows | None = None,
    ids: np.ndarray | None = None,
) -> tuple[float | None, float | None]:
    """Return the 95 % confidence interval of a score, clipped to the bounds of the metric.

    measure_rows: computes the score of a subset of items; see widening_factor. With it, the interval is widened when row
        values depend on each other.
    ids: (n,) ids of the items. With them, the interval does not depend on the order of the rows.

    Returns (None, None) when there are too few rows for an interval.
    """
    if score.rows is not None and score.sample is not None:
        ends = intervals.sampled(score.rows, score.population)
    elif score.rows is not None and len(score.rows) > 1:
        ends = intervals.of_mean(score.rows, np.random.default_rng(seed))
        if measure_rows is not None:
            order = None if ids is None else np.argsort(ids)
            ends = widened(ends, score.value, widening_factor(measure_rows, score.rows, seed, order))
    elif score.jackknife is not None and np.isfinite(score.jackknife).all():
        ends = intervals.jackknife(score.value, score.jackknife, score.scale)
    else:
        return None, None
    low, high = intervals.within(ends, METRICS[name].bounds)
    return min(low, score.value), max(high, score.value)  # which rounding may leave just outside


def compare_pair(
    a: Sequence[View],
    b: Sequence[View],
    rows: tuple[np.ndarray, np.ndarray],
    chosen: Mapping[str, Mapping[str, Any]],
    seed: int,
    cache: Records,
    want_rows: bool,
    workspace: Workspace,
    intervals: bool = True,
) -> tuple[list[Record], list[Rows]]:
    """Compute every chosen metric in every view of one pair of files.

    a, b: the views of the two files, in the same order. rows: parallel row numbers in a and in b. chosen: metric names with
    their options. cache: the finished tasks, read and extended. want_rows: also compute per-row values, which are not
    cached. workspace: that of the run; see Workspace.of_run. intervals: whether the records get them.

    Returns the records (docs/reference.md explains their columns) and the per-row values. A metric that is undefined on this
    pair gets a record with the reason.
    """
    records: list[Record] = []
    per_row: list[Rows] = []
    digest = rows_key(rows)
    for place, (left, right) in enumerate(zip(a, b, strict=True)):
        x, y = select(left.embedding, rows[0]), select(right.embedding, rows[1])
        for side, view in ((x, left), (y, right)):
            if side.x is view.embedding.x:
                workspace.register(side.x, view.content)
        of_pair = workspace.for_pair(largest_k(tasks(chosen), x.n))
        for name, params in tasks(chosen):
            base = {"a": x.uri, "b": y.uri, "metric": name}
            key = record_key(left, right, digest, name, params, seed, intervals)
            done = None if want_rows or not left.content else cache.get(key)
            done = done if done and done.keys() >= RESULT else None
            if done is None:
                if of_pair.spread is not None:
                    of_pair.spread.task = place, name, params
                done, score = _result(name, params, x, y, seed, of_pair, intervals)
                if left.content:
                    cache.put(key, done)
                if score is not None and score.rows is not None:
                    ids = x.ids if score.sample is None else x.ids[score.sample]
                    per_row.append(Rows(base | {"k": params.get("k"), "projection": left.label}, ids, score.rows))
            joined = {"joined": "position" if x.row_ids else "id"}
            records.append(base | done | joined | ({"projection": left.label} if len(a) > 1 else {}))
    return records, per_row


def rows_key(rows: tuple[np.ndarray, np.ndarray]) -> str:
    """What names the parallel rows of a pair in keys of its tasks."""
    return hashlib.sha256(rows[0].tobytes() + rows[1].tobytes()).hexdigest()


def record_key(left: View, right: View, rows: str, name: str, params: Mapping[str, Any], seed: int, intervals: bool) -> str:
    """The key of a finished task of a pair. rows: see rows_key."""
    return task_key(left.content, right.content, rows, name, params, seed, *([] if intervals else ["no interval"]))


def tasks(chosen: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """List every chosen metric with each set of its parameters: a metric with three values of k occurs three times."""
    return [(name, one) for name, params in chosen.items() for one in each(params)]


def largest_k(tasks: Sequence[tuple[str, Mapping[str, Any]]], n: int) -> int:
    """The number of neighbours that one search must find to serve all tasks. A task with k >= n has no value."""
    return max((params["k"] for _, params in tasks if "k" in params and params["k"] < n), default=0)


def _result(
    name: str, params: Mapping[str, Any], x: Embedding, y: Embedding, seed: int, workspace: Workspace, with_interval: bool
) -> tuple[Record, Score | None]:
    try:
        score = measure(name, params, x, y, seed, workspace)
    except NotApplicable as reason:
        blank = dict.fromkeys(("value", "corrected", "low", "high", "chance"))
        return blank | {"n": x.n, "k": params.get("k"), "convention": f"n/a: {reason}"}, None
    subset = partial(measure_subset, name, params, x, y, seed, workspace=workspace)
    low, high = interval(name, score, seed, subset, x.ids) if with_interval else (None, None)
    chance = score.chance if np.isfinite(score.chance) else None
    record = {"value": score.value, "low": low, "high": high, "chance": chance, "n": x.n, "k": params.get("k")}
    drawn = {"chance_error": score.chance_error} if score.draws else {}
    record |= {"convention": score.convention} | dict(score.extra) | drawn
    return record | {"corrected": correction({"metric": name} | record)}, score


def measure_subset(
    name: str,
    params: Mapping[str, Any],
    x: Embedding,
    y: Embedding,
    seed: int,
    rows: np.ndarray,
    among: np.ndarray | None = None,
    *,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Compute the metric on a subset of rows, without sampling.

    rows: ascending. among: (m,) ascending row numbers of a sample that holds these and other subsets. Neighbours are then
    searched for once in the sample, and serve every subset. workspace: of the pair. What a subset of one space gives serves
    every pair of the run.
    """
    params = {**params, **({"ci": 0.0} if "ci" in params else {})}
    a, b = select(x, rows), select(y, rows)
    inner = workspace.of_subsets([(a.x, x.x), (b.x, y.x)], rows)
    if among is not None and workspace.shares:
        inner = inner.within_sample(_sample(x.x, y.x, among, workspace), (a.x, b.x), np.searchsorted(among, rows))
    return measure(name, params, a, b, seed, inner)


def _sample(x: np.ndarray, y: np.ndarray, among: np.ndarray, workspace: Workspace) -> Sample:
    """The same rows of both spaces, made once for a pair."""

    def make() -> Sample:
        spaces = take(x, among), take(y, among)
        return Sample(spaces, workspace.of_subsets(list(zip(spaces, (x, y), strict=True)), among))

    return workspace.once("sample", (x, y, among), make)


def ratios(records: Sequence[Record], views: int) -> list[Record]:
    """Divide each relative value of one pair by the absolute value of the same metric.

    records: the absolute records, then those of each relative view, in the same order of tasks. views: the number of views,
    the absolute one included. The ratio is undefined when the absolute value is zero or negative; the record then holds null.
    """
    tasks_each = len(records) // views
    out = []
    for place, relative in enumerate(records[tasks_each:]):
        absolute = records[place % tasks_each]
        defined = (absolute["value"] or 0) > 0 and relative["value"] is not None
        out.append(
            {key: relative[key] for key in ("a", "b", "metric")}
            | {"value": relative["value"] / absolute["value"] if defined else None}
            | dict.fromkeys(("corrected", "low", "high", "chance"))
            | {"n": relative["n"], "k": relative["k"], "convention": RATIO if defined else NO_RATIO[absolute["value"] is None]}
            | {"joined": relative["joined"], "projection": "ratio" if views == 2 else f"ratio:{relative['projection']}"}
        )
    return out


def counts_for_gate(record: Record) -> bool:
    """Whether `--fail-under` and the matrix use a record. Ratios, and absolute values beside relative ones, do not count."""
    projection = str(record.get("projection", ""))
    return projection != "absolute" and not projection.startswith("ratio")


def misses_gate(record: Record, threshold: float) -> bool:
    """Whether the value of a record is missing, or farther than the threshold."""
    sign = 1 if METRICS[record["metric"]].higher_is_closer else -1
    return record["value"] is None or sign * record["value"] < sign * threshold


def failure(a: str, b: str, name: str, error: DataError) -> Record:
    """Make the record of a task that an unusable file prevented."""
    blank = dict.fromkeys(("value", "corrected", "low", "high", "chance", "n", "k", "convention", "joined"))
    return {"a": a, "b": b, "metric": name, **blank, "error": str(error)}

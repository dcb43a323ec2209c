"""Pairs of embeddings, joined by id and measured."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.registry import each
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.comparison.dependent_rows import stretch, stretched
from relrep_cli.embedding import Embedding, match_ids, refuse_row_numbers, select
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.numerics import intervals as inference
from relrep_cli.numerics.blocks import first_bad_row
from relrep_cli.numerics.memo import introduce, shared, sharing

Record = dict[str, Any]
RATIO = "relative / absolute"
RESULT = {"value", "low", "high", "chance", "n", "k", "convention"}  # what every record of a pair holds
_bad_row = shared(first_bad_row)


@dataclass(frozen=True, eq=False)
class View:
    """One embedding seen in one way: `absolute`, or relative to anchors. content: names what it holds, for records."""

    label: str
    e: Embedding
    content: str = ""


@dataclass(frozen=True, eq=False)
class Rows:
    """Each row's own value of one metric on one pair."""

    record: Record
    ids: np.ndarray
    values: np.ndarray


def join(a: Embedding, b: Embedding, require_all: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers in a and in b of the ids they share, in the order of a, which `in_id_order` makes that of the ids.

    Raises DataError when they share none, when row numbers would pair files of unequal length, or when rows would be left
    out under `require_all`.
    """
    refuse_row_numbers([a, b])
    rows = match_ids(a.ids, b.ids)
    shared = len(rows[0])
    if not shared:
        raise DataError(f"{a.uri} and {b.uri}: no common ids; {_example(a)} against {_example(b)}.")
    if require_all and (shared < a.n or shared < b.n):
        raise DataError(f"{a.uri} and {b.uri}: {shared} common ids of {a.n} and {b.n}, and --require-all allows no loss.")
    return rows[0], rows[1]


def _example(e: Embedding) -> str:
    return f"row numbers in {e.uri}" if e.row_ids else f"{printable(bytes(e.ids[0]))!r} in {e.uri}"


def measure(name: str, params: Mapping[str, Any], a: Embedding, b: Embedding, seed: int = 0) -> Score:
    """The named metric of two embeddings whose rows are parallel; seed: for a metric that samples.

    Raises NotApplicable with the reason.
    """
    entry = METRICS[name]
    if "same dims" in entry.needs and a.d != b.d:
        raise NotApplicable(
            f"dims differ ({a.d} and {b.d}); project both onto shared anchors first, or use --metric knn-jaccard"
        )
    if "k" in params and a.n <= params["k"]:
        raise NotApplicable(f"k = {params['k']} needs more than {a.n} items; write --k {a.n - 1} or less")
    for which, e in (("first", a), ("second", b)):
        if (row := _bad_row(e.x)) is not None:
            raise NotApplicable(f"row {row} of the {which} space is not finite")
    more: dict[str, Any] = {"labels": _labels(a, b)} if "labels" in entry.needs else {}
    more |= {"seed": seed} if entry.seeded else {}
    with np.errstate(all="ignore"):  # what overflows is found below, and named
        try:
            score = entry.function(a.x, b.x, **more, **params)
        except np.linalg.LinAlgError as error:
            raise NotApplicable(f"no solution: {error}") from None
    if not np.isfinite(score.value):
        raise NotApplicable("the value is not a finite number; the sizes of the coordinates pass what float64 can square")
    return score


def _labels(a: Embedding, b: Embedding) -> np.ndarray:
    """The labels of both files, or of the only one that has some; those of one item must be the same."""
    labels = [e.obs["label"].astype("S") for e in (a, b) if "label" in e.obs]
    if not labels:
        raise NotApplicable("neither file has labels; give them with relrep embed --labels")
    if differ := int((labels[0] != labels[-1]).sum()):
        raise NotApplicable(f"the files give {differ} of {a.n} common items different labels; make them alike")
    return labels[0]


def interval(
    name: str,
    score: Score,
    seed: int,
    some: Callable[[np.ndarray], Score] | None = None,
    ids: np.ndarray | None = None,
) -> tuple[float | None, float | None]:
    """95 % confidence interval of a score, cut at the metric's bounds; (None, None) where there are too few rows.

    some: the score of some items alone, by which rows that depend on each other get the wider interval they need; ids: of
    the items, so that their order in the file does not count.
    """
    if score.rows is not None and score.sample is not None:
        found = inference.sampled(score.rows, score.population)
    elif score.rows is not None and len(score.rows) > 1:
        found = inference.bootstrap(score.rows, np.random.default_rng(seed))
        if some is not None:
            found = stretched(found, score.value, stretch(some, score.rows, seed, None if ids is None else np.argsort(ids)))
    elif score.jackknife is not None and np.isfinite(score.jackknife).all():
        found = inference.jackknife(score.value, score.jackknife)
    else:
        return None, None
    return inference.within(found, METRICS[name].bounds)


def compare_pair(
    a: Sequence[View],
    b: Sequence[View],
    rows: tuple[np.ndarray, np.ndarray],
    chosen: Mapping[str, Mapping[str, Any]],
    seed: int,
    kept: Records,
    want_rows: bool,
) -> tuple[list[Record], list[Rows]]:
    """Every chosen metric in every view of one pair of files, joined on `rows`; see docs/reference.md for the columns.

    Metrics without a value on this pair give a record that says why. Finished tasks are taken from and added to `kept`.
    """
    records: list[Record] = []
    per_row: list[Rows] = []
    joined = hashlib.sha256(rows[0].tobytes() + rows[1].tobytes()).hexdigest()
    for left, right in zip(a, b, strict=True):
        x, y = select(left.e, rows[0]), select(right.e, rows[1])
        for side, view in ((x, left), (y, right)):
            if side.x is view.e.x:
                introduce(side.x, view.content)
        with sharing(_largest_k(chosen, x.n)):
            for name, params in tasks(chosen):
                base = {"a": x.uri, "b": y.uri, "metric": name}
                key = task_key(left.content, right.content, joined, name, params, seed)
                done = None if want_rows or not left.content else kept.get(key)
                done = done if done and done.keys() >= RESULT else None
                if done is None:
                    done, score = _result(name, params, x, y, seed)
                    if left.content:
                        kept.put(key, done)
                    if score is not None and score.rows is not None:
                        ids = x.ids if score.sample is None else x.ids[score.sample]
                        per_row.append(Rows(base | {"k": params.get("k"), "projection": left.label}, ids, score.rows))
                records.append(base | done | ({"projection": left.label} if len(a) > 1 else {}))
    return records, per_row


def tasks(chosen: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Every chosen metric with one set of parameters: a metric with several k occurs several times."""
    return [(name, one) for name, params in chosen.items() for one in each(params)]


def _largest_k(chosen: Mapping[str, Mapping[str, Any]], n: int) -> int:
    """How many neighbours one search must find to serve all tasks; those that ask for too many have no value."""
    return max((params["k"] for _, params in tasks(chosen) if "k" in params and params["k"] < n), default=0)


def _result(name: str, params: Mapping[str, Any], x: Embedding, y: Embedding, seed: int) -> tuple[Record, Score | None]:
    try:
        score = measure(name, params, x, y, seed)
    except NotApplicable as reason:
        blank = dict.fromkeys(("value", "low", "high", "chance"))
        return blank | {"n": x.n, "k": params.get("k"), "convention": f"n/a: {reason}"}, None
    low, high = interval(name, score, seed, partial(measure_some, name, params, x, y, seed), x.ids)
    chance = score.chance if np.isfinite(score.chance) else None
    record = {"value": score.value, "low": low, "high": high, "chance": chance, "n": x.n, "k": params.get("k")}
    return record | {"convention": score.convention} | dict(score.extra), score


def measure_some(name: str, params: Mapping[str, Any], x: Embedding, y: Embedding, seed: int, rows: np.ndarray) -> Score:
    """The metric of these rows alone, all of them measured; nothing of it is remembered."""
    params = {**params, **({"ci": 0.0} if "ci" in params else {})}
    with sharing(), inference.values_only():
        return measure(name, params, select(x, rows), select(y, rows), seed)


def ratios(records: Sequence[Record], views: int) -> list[Record]:
    """relative / absolute for each metric of one pair, from its absolute records followed by those of each relative view.

    Of an absolute value that is not above 0 nothing is so many times as much.
    """
    tasks_each = len(records) // views
    out = []
    for at, after in enumerate(records[tasks_each:]):
        before = records[at % tasks_each]
        can = (before["value"] or 0) > 0 and after["value"] is not None
        out.append(
            {key: after[key] for key in ("a", "b", "metric")}
            | {"value": after["value"] / before["value"] if can else None}
            | dict.fromkeys(("low", "high", "chance"))
            | {"n": after["n"], "k": after["k"], "convention": RATIO if can else "n/a: no absolute value above 0"}
            | {"projection": "ratio" if views == 2 else f"ratio:{after['projection']}"}
        )
    return out


def judged(record: Record) -> bool:
    """Whether a record says how alike two spaces are in the frame that was asked for: no ratio, no absolute one beside it."""
    projection = str(record.get("projection", ""))
    return projection != "absolute" and not projection.startswith("ratio")


def failure(a: str, b: str, name: str, error: DataError) -> Record:
    """The record of a task that a bad file prevented."""
    blank = dict.fromkeys(("value", "low", "high", "chance", "n", "k", "convention"))
    return {"a": a, "b": b, "metric": name, **blank, "error": str(error)}

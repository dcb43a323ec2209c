"""Row values of one metric on one pair of files, in short: a histogram, and the items that agree least."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import Any

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.task_cache import task_key
from relrep_cli.comparison.pairs_of_files import Rows
from relrep_cli.comparison.row_values import plain_text
from relrep_cli.comparison.worst_items import worst_rows
from relrep_cli.metrics import METRICS

BINS = 24
OF_PAIR, OF_TASK = ("a", "b"), ("metric", "k", "projection")
Key = tuple[Any, ...]


@dataclass(frozen=True)
class RowSummary:
    """low, high: the range of the values. counts: how many fall into each of BINS equal parts of it. worst: id and value."""

    low: float
    high: float
    counts: list[int]
    worst: list[tuple[str, float]] = field(default_factory=list)


Summaries = dict[Key, RowSummary]  # by pair and task, see key_of


def summary_of(values: np.ndarray) -> RowSummary:
    """The histogram of finite values (n,).

    >>> summary_of(np.array([0.0, 0.5, 1.0])).counts[12], sum(summary_of(np.array([1.0, 1.0 + 2.0**-52])).counts)
    (1, 2)
    """
    low, high = float(values.min()), float(values.max())
    shares = (values - low) / (high - low) if high > low else np.zeros(len(values))
    places = np.minimum((shares * BINS).astype(np.int64), BINS - 1)  # np.histogram refuses ranges of a few last digits
    return RowSummary(low, high, np.bincount(places, minlength=BINS).tolist())


def summaries_of(rows: Sequence[Rows], worst: int) -> Summaries:
    """The summaries of all row values of a pair. worst: how many items each names."""
    summaries: Summaries = {}
    for one in rows:
        picked, _ = worst_rows(one.values, METRICS[one.record["metric"]].higher_is_closer, worst)
        named = [(plain_text(one.ids[row]), float(one.values[row])) for row in picked.tolist()]
        summaries[key_of(one.record)] = replace(summary_of(one.values), worst=named)
    return summaries


def key_of(record: Mapping[str, Any]) -> Key:
    """The key of a record of results, or of row values."""
    return tuple({"projection": "absolute", **record}.get(key) for key in (*OF_PAIR, *OF_TASK))


def cache_key(contents: Sequence[str], rows: tuple[np.ndarray, np.ndarray], tasks: Sequence[Any], seed: int, worst: int) -> str:
    """The key under which the summaries of a pair are kept. contents: of its views. "" where one is unknown."""
    digest = hashlib.sha256(rows[0].tobytes() + rows[1].tobytes()).hexdigest()
    return task_key(*contents, digest, "row summaries", [list(task) for task in tasks], seed, worst) if all(contents) else ""


def encoded(summaries: Summaries) -> dict[str, Any]:
    """The summaries of one pair as a record for the cache, without the names of its files."""
    return {"summaries": [[list(key[len(OF_PAIR) :]), asdict(one)] for key, one in summaries.items()]}


def decoded(record: dict[str, Any] | None, a: str, b: str) -> Summaries | None:
    """The summaries that `encoded` wrote, for files named a and b; None for a record that holds none."""
    try:
        known = (record or {})["summaries"]
        return {(a, b, *key): RowSummary(**{**one, "worst": [(i, v) for i, v in one["worst"]]}) for key, one in known}
    except (KeyError, TypeError, ValueError):
        return None

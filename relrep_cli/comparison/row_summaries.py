"""Row values of one metric on one pair of files, in short: a histogram, and the items that agree least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from relrep_cli.comparison.pairs_of_files import Rows
from relrep_cli.comparison.worst_items import plain_text, worst_rows
from relrep_cli.metrics import METRICS

BINS = 24
KEYS = ("a", "b", "metric", "k", "projection")
Key = tuple[Any, ...]


@dataclass(frozen=True)
class RowSummary:
    """low, high: the range of the values. counts: how many fall into each of BINS equal parts of it. worst: id and value."""

    low: float
    high: float
    counts: list[int]
    worst: list[tuple[str, float]] = field(default_factory=list)


def summary_of(values: np.ndarray) -> RowSummary:
    """The histogram of finite values (n,)."""
    low, high = float(values.min()), float(values.max())
    counts = np.histogram(values, BINS, (low, high) if high > low else (low - 0.5, low + 0.5))[0]
    return RowSummary(low, high, counts.tolist())


@dataclass(frozen=True)
class RowSummaries:
    """The summaries of a run, made pair by pair, so that the values need not be kept. worst: how many items each names."""

    worst: int
    found: dict[Key, RowSummary] = field(default_factory=dict)

    def add(self, rows: Rows) -> None:
        """Summarise the values of one pair."""
        values = rows.values
        picked, _ = worst_rows(values, METRICS[rows.record["metric"]].higher_is_closer, self.worst)
        named = [(plain_text(rows.ids[row]), float(values[row])) for row in picked.tolist()]
        self.found[key_of(rows.record)] = replace(summary_of(values), worst=named)

    def of(self, record: Mapping[str, Any]) -> RowSummary | None:
        """The summary behind a record of results, if its metric has row values."""
        return self.found.get(key_of({"projection": "absolute", **record}))


def key_of(record: Mapping[str, Any]) -> Key:
    return tuple(record.get(key) for key in KEYS)

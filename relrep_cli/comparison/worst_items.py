"""The items on which two spaces agree least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from relrep_cli.comparison.pairs_of_files import Rows
from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.metrics import METRICS

Record = dict[str, Any]


def worst_rows(values: np.ndarray, higher_is_closer: bool, count: int) -> tuple[np.ndarray, int]:
    """The `count` rows with the values farthest from agreement, worst first, and how many unlisted ones equal the last.

    Equal values stand in the order of their ids.

    >>> [part.tolist() for part in map(np.asarray, worst_rows(np.array([0.5, 0.0, 1.0, 0.0, 0.0]), True, 2))]
    [[1, 3], 1]
    """
    order = np.argsort(values if higher_is_closer else -values, kind="stable")[:count]
    return order, int(np.count_nonzero(values == values[order[-1]]) - np.count_nonzero(values[order] == values[order[-1]]))


def worst(rows: Sequence[Rows], count: int, files: Mapping[str, Embedding], projected: bool) -> tuple[list[Record], list[str]]:
    """Records (id, label, a, b, metric, value) of the worst items of each metric on each pair, and what to say of ties.

    files: what a record's `a` and `b` name, for labels; without any, records have no label. projected: records
    say of which projection; of which k, where one metric has several.
    """
    several = len({tuple(v for key, v in r.record.items() if key != "k") for r in rows}) < len(rows)
    left_out = {*(() if projected else ("projection",)), *(() if several else ("k",))}
    records: list[Record] = []
    notes: list[str] = []
    for r in rows:
        picked, tied = worst_rows(r.values, METRICS[r.record["metric"]].higher_is_closer, count)
        labels = _labels(r.ids[picked], files[r.record["a"]], files[r.record["b"]])
        what = {key: value for key, value in r.record.items() if key not in left_out}
        for row, label in zip(picked.tolist(), labels, strict=True):
            name = {"id": _text(r.ids[row])} | ({} if label is None else {"label": label})
            records.append(name | what | {"value": float(r.values[row])})
        if tied:
            pair, last = f"{r.record['a']} and {r.record['b']}", f"{r.record['metric']} {r.values[picked[-1]]:.6g}"
            notes.append(f"{pair}: {tied} more items have {last}, like the last listed.")
    return records, notes


def _labels(ids: np.ndarray, a: Embedding, b: Embedding) -> list[str | None]:
    for e in (a, b):
        if "label" in e.obs:
            return [_text(e.obs["label"][row]) for row in find_ids(e.ids, ids)]
    return [None] * len(ids)


def _text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)

"""List the items on which two spaces agree least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from relrep_cli.comparison.pairs_of_files import Rows
from relrep_cli.comparison.row_values import label_of_each, plain_text, several_k
from relrep_cli.embedding import Embedding
from relrep_cli.metrics import METRICS

Record = dict[str, Any]


def worst_rows(values: np.ndarray, higher_is_closer: bool, count: int) -> tuple[np.ndarray, int]:
    """Find the rows with the worst values.

    values: (n,) floats, one per row; rows are in the order of their ids, which breaks ties.

    Returns at most `count` row numbers, worst first, and the number of further rows whose value equals the last one listed.

    >>> [part.tolist() for part in map(np.asarray, worst_rows(np.array([0.5, 0.0, 1.0, 0.0, 0.0]), True, 2))]
    [[1, 3], 1]
    """
    order = np.argsort(values if higher_is_closer else -values, kind="stable")[:count]
    return order, int(np.count_nonzero(values == values[order[-1]]) - np.count_nonzero(values[order] == values[order[-1]]))


def worst(rows: Sequence[Rows], count: int, files: Mapping[str, Embedding], projected: bool) -> tuple[list[Record], list[str]]:
    """List the worst items of each metric on each pair of files.

    files: the embeddings by URI; the labels come from them. projected: whether the records name the projection. They name k
    when a metric was computed with several.

    Returns records (id, label, a, b, metric, value), and a note for each list that ends within a tie.
    """
    left_out = {*(() if projected else ("projection",)), *(() if several_k(rows) else ("k",))}
    records: list[Record] = []
    notes: list[str] = []
    for r in rows:
        picked, tied = worst_rows(r.values, METRICS[r.record["metric"]].higher_is_closer, count)
        labels = label_of_each(r.ids[picked], files[r.record["a"]], files[r.record["b"]])
        what = {key: value for key, value in r.record.items() if key not in left_out}
        for row, label in zip(picked.tolist(), labels, strict=True):
            name = {"id": plain_text(r.ids[row])} | ({} if label is None else {"label": label})
            records.append(name | what | {"value": float(r.values[row])})
        if tied:
            pair, last = f"{r.record['a']} and {r.record['b']}", f"{r.record['metric']} {r.values[picked[-1]]:.6g}"
            notes.append(f"{pair}: {tied} more items are tied with the last one listed ({last}).")
    return records, notes

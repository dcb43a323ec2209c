"""Tables of the values that metrics give to single rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.base.output import Record
from relrep_cli.comparison.pairs_of_files import Rows
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.store.h5ad_copies import Addition


def several_k(rows: Sequence[Rows]) -> bool:
    """Whether a metric of one pair was computed with more than one k, so that records must name it."""
    without_k = {tuple(value for key, value in r.record.items() if key != "k") for r in rows}
    return len(without_k) < len(rows)


def row_keys(rows: Sequence[Rows], projected: bool) -> tuple[str, ...]:
    """The keys that name a list of row values. projected: whether the projection is one of them."""
    return ("a", "b", "metric", *(["k"] if several_k(rows) else []), *(["projection"] if projected else []))


def row_records(rows: Sequence[Rows], keys: Sequence[str], labels: Sequence[Sequence[str | None]]) -> list[Record]:
    """Return one record (id, label if there is one, then `keys`, then value) for each row of each list.

    labels: for each list, those of its rows.
    """
    return [
        {"id": plain_text(i), **({} if label is None else {"label": label}), **{k: r.record[k] for k in keys}, "value": v}
        for r, own in zip(rows, labels, strict=True)
        for i, label, v in zip(r.ids.tolist(), own, r.values.tolist(), strict=True)
    ]


def label_of_each(ids: np.ndarray, a: Embedding, b: Embedding) -> list[str | None]:
    """The labels of the items with these ids (n,) in the first of two embeddings that has labels; else None for each."""
    for embedding in (a, b):
        if "label" in embedding.obs:
            return [plain_text(embedding.obs["label"][row]) for row in find_ids(embedding.ids, ids)]
    return [None] * len(ids)


def plain_text(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def row_matrix(rows: Sequence[Rows], keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the ids (n,), the row values (n, c) with one column for each list, and the names of the columns.

    Raises UsageError when the lists do not hold the same rows.
    """
    ids = rows[0].ids
    if any(len(r.ids) != len(ids) or (r.ids != ids).any() for r in rows):
        raise UsageError("the pairs share different rows", "Write a .tsv, which holds them all.", place="--per-row")
    return ids, np.stack([r.values for r in rows], 1), [":".join(str(r.record[k]) for k in keys) for r in rows]


def obs_additions(rows: Sequence[Rows], ids: np.ndarray) -> list[Addition]:
    """Columns for `obs` of an AnnData file: the values of each list at the cells with ids (n,), NaN where one has none.

    A name holds the metric, and what else tells the lists of this metric apart: the files, k, the projection.
    """
    names = short_names([r.record[side] for r in rows for side in ("a", "b")])
    additions = []
    for r in rows:
        alike = [other.record for other in rows if other.record["metric"] == r.record["metric"]]
        several = len({(record["a"], record["b"]) for record in alike}) > 1
        pair = [names[r.record["a"]], names[r.record["b"]]] if several else []
        chosen = [str(r.record[key]) for key in ("k", "projection") if len({record.get(key) for record in alike}) > 1]
        values = np.full(len(ids), np.nan)
        places = find_ids(ids, r.ids)
        values[places[places >= 0]] = r.values[places >= 0]
        description = f"{r.record['metric']} of each item, {r.record['a']} and {r.record['b']}"
        name = "_".join(["relrep", r.record["metric"], *pair, *chosen])
        additions.append(Addition("obs", re.sub(r"[^\w.+-]+", "_", name), values, description))
    return additions

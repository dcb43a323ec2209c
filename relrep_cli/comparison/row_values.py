"""Tables of the values that metrics give to single rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.base.output import Record
from relrep_cli.comparison.pairs_of_files import Rows


def several_k(rows: Sequence[Rows]) -> bool:
    """Whether a metric of one pair was computed with more than one k, so that records must name it."""
    without_k = {tuple(value for key, value in r.record.items() if key != "k") for r in rows}
    return len(without_k) < len(rows)


def row_keys(rows: Sequence[Rows], projected: bool) -> tuple[str, ...]:
    """The keys that name a list of row values. projected: whether the projection is one of them."""
    return ("a", "b", "metric", *(["k"] if several_k(rows) else []), *(["projection"] if projected else []))


def row_records(rows: Sequence[Rows], keys: Sequence[str]) -> list[Record]:
    """Return one record (id, then `keys`, then value) for each row of each list."""
    return [
        {"id": i.decode(errors="backslashreplace"), **{k: r.record[k] for k in keys}, "value": v}
        for r in rows
        for i, v in zip(r.ids.tolist(), r.values.tolist(), strict=True)
    ]


def row_matrix(rows: Sequence[Rows], keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the ids (n,), the row values (n, c) with one column for each list, and the names of the columns.

    Raises UsageError when the lists do not hold the same rows.
    """
    ids = rows[0].ids
    if any(len(r.ids) != len(ids) or (r.ids != ids).any() for r in rows):
        raise UsageError("the pairs share different rows", "Write a .tsv, which holds them all.", place="--per-row")
    return ids, np.stack([r.values for r in rows], 1), [":".join(str(r.record[k]) for k in keys) for r in rows]

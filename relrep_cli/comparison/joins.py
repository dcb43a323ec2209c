"""Join two embeddings by item id, and explain the rows that have no partner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.embedding import Embedding, match_ids
from relrep_cli.store.normalizing import difference
from relrep_cli.store.positions import check_positions

SHOWN = 3  # ids that a note names


def join(a: Embedding, b: Embedding, require_all: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Match the rows of two embeddings by id.

    Returns the row numbers in a and in b of the ids that both hold, in the order of a.

    Raises DataError when the files share no id, when neither has ids and their lengths differ, or when
    `require_all` is set and a row has no partner, or can be paired only by its position.
    """
    if check_positions([a, b]) and require_all:
        raise DataError(
            "neither has ids, and --require-all joins by id only",
            "Give both files ids with relrep embed --ids, or remove --require-all.",
            file=f"{a.uri} and {b.uri}",
        )
    rows = match_ids(a.ids, b.ids)
    shared = len(rows[0])
    if not shared:
        raise DataError(
            f"no common ids; {_example(a)} against {_example(b)}{_reason(a, b, rows)}",
            _remedy(a, b, rows) or "Name files of the same items, or give both files the same ids with relrep embed --ids.",
            file=f"{a.uri} and {b.uri}",
        )
    if require_all and (shared < a.n or shared < b.n):
        raise DataError(
            f"{shared} common ids of {a.n} and {b.n}, and --require-all allows no loss",
            "Remove --require-all to compare the common rows.",
            file=f"{a.uri} and {b.uri}",
        )
    return rows[0], rows[1]


def left_out(a: Embedding, b: Embedding, rows: tuple[np.ndarray, np.ndarray]) -> str:
    """The note about rows without a partner; "" if every row has one."""
    n = len(rows[0])
    if n == max(a.n, b.n):
        return ""
    remedy = _remedy(a, b, rows)
    lost = f"{a.n - n} and {b.n - n} rows left out{_reason(a, b, rows) or _alone(a, b, rows)}."
    return f"{n} common ids; {lost}" + (f" {remedy}" if remedy else "")


def _alone(a: Embedding, b: Embedding, rows: Sequence[np.ndarray]) -> str:
    """The first ids that only one of the files holds, so that the user can look for them."""
    parts = []
    for which, embedding, taken in zip(("first", "second"), (a, b), rows, strict=True):
        ids = np.delete(embedding.ids, taken)
        if len(ids) and not embedding.row_ids:  # without its name, so that layers of two files say it once
            names = ", ".join(printable(bytes(name)) for name in ids[:SHOWN])
            parts.append(f"only in the {which}: {names}{', …' if len(ids) > SHOWN else ''}")
    return f" ({'; '.join(parts)})" if parts else ""


def _unmatched(a: Embedding, b: Embedding, rows: Sequence[np.ndarray]) -> tuple[str, str, int] | None:
    """How the ids without a partner differ: see normalizing.difference."""
    return difference(*(np.delete(e.ids, taken) for e, taken in zip((a, b), rows, strict=True)))


def _reason(a: Embedding, b: Embedding, rows: Sequence[np.ndarray]) -> str:
    missing = _unmatched(a, b, rows)
    return f"; {missing[2]} of them differ only by {missing[1]}" if missing else ""


def _remedy(a: Embedding, b: Embedding, rows: Sequence[np.ndarray]) -> str:
    missing = _unmatched(a, b, rows)
    return f"Write --normalize-ids {missing[0]} to join them." if missing else ""


def _example(embedding: Embedding) -> str:
    if embedding.row_ids:
        return f"row numbers in {embedding.uri}"
    return f"{printable(bytes(embedding.ids[0]))!r} in {embedding.uri}"

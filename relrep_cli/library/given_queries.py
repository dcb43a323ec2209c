"""What a caller gives as queries: items of the space that is searched, or other vectors, and the items relevant to them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.base.uris import split_uri
from relrep_cli.embedding import Embedding, find_ids, text
from relrep_cli.library.given_spaces import Space, as_embedding, ids_of
from relrep_cli.store.relevance_files import read_relevant


def holds_vectors(queries: Any, e: Embedding) -> bool:
    """Whether the queries are vectors, or a file of them, and not items of e. A text that is an id of e is that item.

    Raises UsageError for a text that is neither an id nor a file.
    """
    if isinstance(queries, str):
        if find_ids(e.ids, text([queries]))[0] >= 0:
            return False
        if not os.path.exists(split_uri(queries)[0]):
            raise UsageError(f"{queries!r} is neither an item of x nor a file", "Correct it.", place="queries")
        return True
    if isinstance(queries, Embedding | os.PathLike) or hasattr(queries, "columns"):
        return True
    return queries is not None and np.ndim(queries.detach().cpu() if hasattr(queries, "detach") else queries) == 2


def rows_named(queries: Any, e: Embedding, given: Embedding) -> np.ndarray:
    """(q,) row numbers in e of the ids, or of row numbers in `given`, whose rows e holds in another order; None names all."""
    from relrep_cli.evaluations.lookup import rows_of_ids

    if queries is None:
        return np.arange(e.n)
    if np.asarray(queries).dtype.kind in "iu":
        if np.max(queries, initial=0) >= e.n or np.min(queries, initial=0) < 0:
            raise UsageError("queries are not all row numbers of x", f"Give whole numbers from 0 to {e.n - 1}, or ids.")
        queries = given.ids[np.asarray(queries)]
    return rows_of_ids(e, [one.decode() for one in ids_of(queries).tolist()], lambda ids: ids)


def queries_of_each(queries: Space | Sequence[Space] | None, count: int) -> list[list[Embedding]]:
    """The queries for each of `count` spaces: one for all, or a list with one for each, or with several for one space."""
    if queries is None:
        return [[]] * count
    if not isinstance(queries, list | tuple) or not queries or np.ndim(queries[0]) == 1:  # a list of vectors is one space
        return [[as_embedding(queries, name="queries")]] * count
    read = [as_embedding(one, name=f"queries {place}") for place, one in enumerate(queries)]
    if count > 1 and len(read) != count:
        raise UsageError(f"queries are {len(read)} for {count} spaces", "Give one for all, or one for each.")
    return [read] if count == 1 else [[one] for one in read]


def relevant_pairs(relevant: Any) -> tuple[np.ndarray, np.ndarray]:
    """The ids of queries (p,), and of items that are relevant to them.

    relevant: a file; pairs; or a mapping from a query to an item, to several, or to grades of items. Grade 0 is left out.

    >>> relevant_pairs({"q1": "a", "q2": ["b", "c"], "q3": {"d": 1, "e": 0}})[1].tolist()
    [b'a', b'b', b'c', b'd']
    """
    if isinstance(relevant, str | os.PathLike):
        return read_relevant(os.fspath(relevant))
    if isinstance(relevant, Mapping):
        pairs = [(query, item) for query, items in relevant.items() for item in _items_of(items)]
    else:
        rows = relevant.to_numpy() if hasattr(relevant, "to_numpy") else relevant
        pairs = [tuple(row) for row in rows]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise UsageError(
            "relevant holds no pairs of a query and an item", 'Give a file, a list of pairs, or {"query": "item"}.'
        )
    names = [tuple(one if isinstance(one, bytes) else str(one) for one in pair) for pair in pairs]
    queries, items = zip(*dict.fromkeys(names), strict=True)
    return text(queries), text(items)


def _items_of(items: Any) -> Iterable[Any]:
    if isinstance(items, Mapping):
        return [item for item, grade in items.items() if grade > 0]
    return [items] if isinstance(items, str | bytes) or not isinstance(items, Iterable) else items

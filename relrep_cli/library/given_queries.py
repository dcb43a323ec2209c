"""What a caller gives as queries of `nearest`: items of the space that is searched, or other vectors."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.base.uris import split_uri
from relrep_cli.embedding import Embedding, find_ids, text
from relrep_cli.library.given_spaces import ids_of


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

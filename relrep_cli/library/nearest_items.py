"""`nearest`: the items of a space that are nearest to each query."""

from __future__ import annotations

from typing import Any

import numpy as np

from relrep_cli.embedding import in_id_order
from relrep_cli.evaluations.lookup import COLUMNS, Queries, look_up, look_up_vectors
from relrep_cli.evaluations.lookup import records_of as listed
from relrep_cli.library.call_parts import results_of
from relrep_cli.library.given_queries import holds_vectors, rows_named
from relrep_cli.library.given_spaces import Space, as_embedding
from relrep_cli.library.result_tables import Results, notes_kept
from relrep_cli.library.wording import speaks_python
from relrep_cli.neighbors import By
from relrep_cli.numerics.devices import NUMPY


@speaks_python
def nearest(
    x: Space, k: int = 10, *, queries: Any = None, by: By = "cosine", farthest: bool = False, device: str = NUMPY
) -> Results:
    """Find the k nearest, or farthest, items of each query, as `relrep neighbors` does.

    x: see `as_embedding`. queries: ids, or whole numbers for rows of x; None for all; or other vectors of the same model: an
    Embedding, an array (q, d), a data frame, or the path of a file. by: "cosine" or "euclidean". device: where
    large products are computed, such as "cuda" or "auto".

    Returns one record for each query and rank. An item of x is not its own neighbour; equal distances are sorted by id.

    Raises UsageError for queries that are not in x, or another `by`; DataError for vectors of other dims.

    >>> [r.id for r in nearest(np.eye(3), 2, queries=[[0.1, 0.9, 0.2]])]
    ['1', '2']
    """
    given = as_embedding(x)
    e = in_id_order(given)
    everything = np.arange(e.n)
    with notes_kept() as notes:
        if holds_vectors(queries, e):
            others = as_embedding(queries, name="queries")
            asked = Queries(others.ids, others.obs.get("label"))
            lookup = look_up_vectors(e, others, everything, k, by, farthest, device)
        else:
            rows = rows_named(queries, e, given)
            asked = Queries(e.ids[rows], e.obs["label"][rows] if "label" in e.obs else None)
            lookup = look_up(e, rows, everything, k, by, farthest, device)
    return results_of(listed(asked, e, lookup, e.obs.get("label")), notes, COLUMNS)

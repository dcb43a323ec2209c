"""`anchor` and `project`: choose anchors among the rows of a space, and describe its items by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.embedding import Embedding, id_order, in_id_order, select
from relrep_cli.library.call_parts import check_numbers, recipe_of
from relrep_cli.library.given_spaces import Column, Space, as_embedding
from relrep_cli.library.wording import speaks_python
from relrep_cli.numerics.devices import NUMPY, chosen
from relrep_cli.relative.projection import basis, relative


@speaks_python
def anchor(
    x: Space,
    n: int = 300,
    *,
    strategy: str = "random",
    split: str | None = None,
    labels: Column | None = None,
    seed: int = 0,
    device: str = NUMPY,
    **options: Any,
) -> np.ndarray:
    """Choose n anchors among the training rows of a space, as `relrep anchor` does.

    x: see `as_embedding`. strategy: `relrep anchor --help` lists them; those that choose pairs or mixtures are the command's
    alone. split: choose from this split, or from "all". labels: (n,), for strategies that need them.
    device: where large products are computed, such as "cuda" or "auto". options: of the strategy, by their names on the command
    line.

    Returns their ids (n,), UTF-8 in a NumPy "S" array; for rows without ids, their row numbers (n,) as integers.

    Raises UsageError for an unknown strategy or option, DataError for fewer than n candidates.
    """
    from relrep_cli.anchors.shared_items import candidates
    from relrep_cli.anchors.strategies import STRATEGIES, choose

    check_numbers(seed=seed)
    e, entry = as_embedding(x, labels=labels), STRATEGIES[strategy]
    if entry.gives != "items" or entry.reads in ("list", "collections", "seeds"):
        raise UsageError(f"strategy {strategy} needs files", "Use the command `relrep anchor`.")
    params = STRATEGIES.choose([strategy], options)[strategy]
    c = replace(candidates([e], split, False, None), device=chosen(device))
    ids = c.ids[choose(c, strategy, n, np.random.default_rng(seed), params)]
    return ids.astype(np.int64) if e.row_ids else ids


@speaks_python
def project(x: Space, anchors: Any, *, double: bool = False, exact: bool = False, device: str = NUMPY, **how: Any) -> Embedding:
    """Describe each item by its similarities to the anchors (Moschella et al. 2022, equation 1).

    x: see `as_embedding`. anchors: their ids (m,), row numbers of an array, or an anchor file.
    double: compute in float64. exact: the same bits on every processor; see docs/reliability.md.
    device: where this is computed, such as "cuda" or "auto".
    how: `similarity` (a name, or several, default cosine), `aggregate`, `center`, `scale`, `whiten`, `normalize`,
    `standardize_columns`, `negate`, `transductive`, `anchor_vectors` (a file of the same space), and options of the functions.

    Returns an Embedding with x (n, m), and the ids and columns of the input, in the order of its rows.

    Raises DataError when an anchor has no vector in this space, UsageError for an unknown function or option.
    """
    given = as_embedding(x)
    e = in_id_order(given)
    if exact and chosen(device) != NUMPY:
        raise UsageError("exact computes with NumPy, so it does not go with device", "Leave one of them out.")
    projected, order = relative(e, basis(e, recipe_of(anchors, **how), double, exact), device), id_order(given.ids)
    return projected if order is None else select(projected, np.argsort(order))

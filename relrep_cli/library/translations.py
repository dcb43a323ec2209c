"""Translate one space into another: the function of the library, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relrep_cli.embedding import Embedding
from relrep_cli.library.calls import recipe_of
from relrep_cli.library.given_spaces import Space, as_embedding
from relrep_cli.library.result_tables import Results, notes_kept
from relrep_cli.stitching.translation import FIT_ROWS, Fitting, fit_map
from relrep_cli.stitching.translation_quality import COLUMNS
from relrep_cli.stitching.translators import TRANSLATORS, Affine


@dataclass(frozen=True, eq=False)
class Translation:
    """The result of `translate`.

    embedding: the items of the first space, with vectors in the second. quality: how well items that the map was not fitted
    on find themselves there, one record for each measure. carry: the map, for other rows of the first space.
    """

    embedding: Embedding
    quality: Results
    carry: Affine

    def __call__(self, x: Space) -> np.ndarray:
        """Translate other vectors (n, d) of the first space, such as queries. Returns (n, d2) float64."""
        return self.carry(as_embedding(x).x)

    def _repr_html_(self) -> str:
        return self.quality._repr_html_()


def translate(
    x: Space,
    into: Space,
    anchors: Any = None,
    method: str = "orthogonal",
    *,
    rows: int = FIT_ROWS,
    seed: int = 0,
    **options: Any,
) -> Translation:
    """Turn the vectors of x into vectors of the space of `into`, as `relrep translate` does.

    x, into: see `as_embedding`; rows are paired by id. anchors: ids, row numbers or an anchor file to fit the map on; None
    for all shared training rows, at most `rows` of them. method: the name of a translator. options: of the translator.

    Returns a Translation. Raises UsageError for an unknown method or option, DataError for too few shared items.
    """
    e, target = as_embedding(x, name="x"), as_embedding(into, name="into")
    recipe = None if anchors is None else recipe_of(anchors)
    how = Fitting(method, TRANSLATORS.choose([method], options)[method], recipe, rows, seed)
    with notes_kept() as notes:
        carry, records = fit_map(e, target, how)
    moved = replace(e, x=carry.narrow(e.x), var={}, space=target.space, kind=target.kind, steps=[], digest="", claim=None)
    return Translation(moved, Results(records, COLUMNS, notes), carry)

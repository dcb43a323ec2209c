"""Translate one space into another: the function of the library, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.embedding import Embedding
from relrep_cli.library.call_parts import named_spaces, recipe_of, results_of
from relrep_cli.library.given_spaces import Space, as_embedding
from relrep_cli.library.result_tables import Results, notes_kept
from relrep_cli.library.wording import speaks_python
from relrep_cli.stitching.translation import FIT_ROWS, Fitting, fit_map
from relrep_cli.stitching.translation_quality import COLUMNS
from relrep_cli.stitching.translators import TRANSLATORS, Affine
from relrep_cli.stitching.universe import UNIVERSES
from relrep_cli.stitching.universe_files import FIT_ROWS as UNIVERSE_ROWS
from relrep_cli.stitching.universe_files import Building, build_universe


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

    def __repr__(self) -> str:
        return f"<Translation: {self.embedding!r}>\n{self.quality!r}"

    def _repr_html_(self) -> str:
        return self.quality._repr_html_()


@speaks_python
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
    return Translation(moved, results_of(records, notes, COLUMNS), carry)


@dataclass(frozen=True, eq=False)
class Universe:
    """The result of `universe`: a common space with a map from each space that it was built of.

    embeddings: the items of each space, with vectors in the common space. quality: how well items that it was not fitted on
    find themselves, for every two spaces. maps: one for each space, in order; `maps[0](vectors)` moves other rows (n, d).
    """

    embeddings: tuple[Embedding, ...]
    quality: Results
    maps: tuple[Affine, ...]

    def __repr__(self) -> str:
        return f"<Universe of {len(self.maps)} spaces, {self.embeddings[0].d} dims>\n{self.quality!r}"

    def _repr_html_(self) -> str:
        return self.quality._repr_html_()


@speaks_python
def universe(
    *spaces: Space, anchors: Any = None, method: str = "universe", rows: int = UNIVERSE_ROWS, seed: int = 0, **options: Any
) -> Universe:
    """Build a common space of two or more, as `relrep translate` does for several files without --into.

    spaces: see `as_embedding`; rows are paired by id. anchors: ids, row numbers or an anchor file to fit on; None for all
    shared training rows, at most `rows` of them. method: `relrep translate --help` lists them. options: of the method.

    Returns a Universe. Raises UsageError for an unknown method or option, DataError for too few shared items.
    """
    if len(spaces) < 2:
        raise UsageError(f"a universe needs two spaces or more, and {len(spaces)} is given", "Give more.")
    named = named_spaces(spaces)
    es = [e if e.space else replace(e, space=e.uri) for e in named]
    recipe = None if anchors is None else recipe_of(anchors)
    params = UNIVERSES.choose([method], options)[method]
    with notes_kept() as notes:
        built, _, records = build_universe(es, Building(method, params, recipe, rows, seed))
    moved = tuple(
        replace(e, x=carry.narrow(e.x), var={}, space=built.space, steps=[], digest="", claim=None)
        for e, carry in zip(named, built.maps, strict=True)
    )
    return Universe(moved, results_of(records, notes, COLUMNS), tuple(built.maps))

"""Translate one space into another: the function of the library, and what it returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding, Step, chain
from relrep_cli.library.call_parts import named_spaces, recipe_of, results_of
from relrep_cli.library.given_spaces import Space, as_embedding
from relrep_cli.library.result_tables import Results, notes_kept
from relrep_cli.library.saved_maps import SavedMap, write_map
from relrep_cli.library.wording import speaks_python
from relrep_cli.relative.recipes import Recipe
from relrep_cli.stitching.space_maps import SpaceMaps
from relrep_cli.stitching.translation import FIT_ROWS, Fitting, fit_map, maps_of
from relrep_cli.stitching.translation_quality import COLUMNS
from relrep_cli.stitching.translators import TRANSLATORS, Affine
from relrep_cli.stitching.universe import PENALTY, UNIVERSES
from relrep_cli.stitching.universe_files import FIT_ROWS as UNIVERSE_ROWS
from relrep_cli.stitching.universe_files import Building, build_universe

ORTHOGONAL = "orthogonal"
Saving = Callable[[], tuple[SpaceMaps, list[Step]]]


@dataclass(frozen=True, eq=False)
class Translation:
    """The result of `translate`.

    embedding: the items of the first space, with vectors in the second. quality: how well items that the map was not fitted
    on find themselves there, one record for each measure. carry: the map, for other rows of the first space. saving: makes what
    `save` writes.
    """

    embedding: Embedding
    quality: Results
    carry: Affine
    saving: Saving

    def __call__(self, x: Space) -> np.ndarray:
        """Translate other vectors (n, d) of the first space, such as queries. Returns (n, d2) float64."""
        return self.carry(as_embedding(x).x)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the map as a file that `read_map` and `relrep translate --map` read."""
        write_map(path, *self.saving(), overwrite)

    def __repr__(self) -> str:
        return f"<Translation: {self.embedding!r}>\n{self.quality!r}"

    def _repr_html_(self) -> str:
        return self.quality._repr_html_()


@speaks_python
def translate(
    x: Space,
    into: Space | SavedMap,
    anchors: Any = None,
    method: str = "",
    *,
    rows: int = FIT_ROWS,
    seed: int = 0,
    **options: Any,
) -> Translation:
    """Turn the vectors of x into vectors of the space of `into`, as `relrep translate` does.

    x, into: see `as_embedding`; rows are paired by id. into: can also be a universe, from `read_map`, which x joins. anchors:
    ids, row numbers or an anchor file to fit the map on; None for all shared training rows, at most `rows` of them, or for the
    anchors of the universe. method: the name of a translator; "" for orthogonal, or as the universe was built. options: of the
    translator.

    Returns a Translation. Raises UsageError for an unknown method or option, DataError for too few shared items.
    """
    recipe = None if anchors is None else recipe_of(anchors)
    e = as_embedding(x, name="x")
    if isinstance(into, SavedMap):
        target = into.held.as_embedding()
        how = joining(into.held, method, recipe, rows, seed, options)
    else:
        target, method = as_embedding(into, name="into"), method or ORTHOGONAL
        how = Fitting(method, TRANSLATORS.choose([method], options)[method], recipe, rows, seed)
    with notes_kept() as notes:
        carry, records = fit_map(e, target, how)
    moved = replace(e, x=carry.narrow(e.x), var={}, space=target.space, kind=target.kind, steps=[], digest="", claim=None)

    def saving() -> tuple[SpaceMaps, list[Step]]:
        own, other = store.digested(e), store.digested(target)
        return maps_of(own, other, carry, how), chain([own, other], how.step(own, other, "float32"))

    return Translation(moved, results_of(records, notes, COLUMNS), carry, saving)


def joining(
    universe: SpaceMaps, method: str, recipe: Recipe | None, rows: int, seed: int, options: Mapping[str, Any]
) -> Fitting:
    """How a space joins a universe: as the universe was built, on its anchors; or by the translator that is named."""
    if method not in ("", universe.method):
        return Fitting(method, TRANSLATORS.choose([method], options)[method], recipe, rows, seed)
    if options:
        raise UsageError(f"{next(iter(options))} is for a translator, and the universe says how to join it", "Leave it out.")
    assert universe.anchor_ids is not None
    params = {PENALTY: universe.params[PENALTY]}
    return Fitting(universe.method, params, recipe or Recipe(universe.anchor_ids), seed=seed)


@dataclass(frozen=True, eq=False)
class Universe:
    """The result of `universe`: a common space with a map from each space that it was built of.

    embeddings: the items of each space, with vectors in the common space. quality: how well items that it was not fitted on
    find themselves, for every two spaces. maps: one for each space, in order; `maps[0](vectors)` moves other rows (n, d).
    saving: makes what `save` writes.
    """

    embeddings: tuple[Embedding, ...]
    quality: Results
    maps: tuple[Affine, ...]
    saving: Saving

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the maps as a file that `read_map` and `relrep translate --map` read, and that other spaces can join."""
        write_map(path, *self.saving(), overwrite)

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
        how = Building(method, params, recipe, rows, seed)
        built, held, records = build_universe(es, how)
    moved = tuple(
        replace(e, x=carry.narrow(e.x), var={}, space=built.space, steps=[], digest="", claim=None)
        for e, carry in zip(named, built.maps, strict=True)
    )

    def saving() -> tuple[SpaceMaps, list[Step]]:
        own = [store.digested(e) for e in es]
        return held, chain(own, how.step(own, built))

    return Universe(moved, results_of(records, notes, COLUMNS), tuple(built.maps), saving)

"""What the functions of the library share: names, spaces, recipes and results."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.embedding import Embedding
from relrep_cli.library.given_spaces import Column, Space, as_embedding, ids_of
from relrep_cli.library.result_tables import Results
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.recipes import Postprocessing, Recipe
from relrep_cli.relative.similarities import SIMILARITIES

Names = str | Iterable[str]


def recipe_of(
    anchors: Any,
    *,
    similarity: Names = "cosine",
    aggregate: str = "",
    center: bool = False,
    scale: bool = False,
    whiten: bool = False,
    normalize: bool = False,
    standardize: bool = False,
    negate: bool = False,
    transductive: bool = False,
    anchor_vectors: Space | None = None,
    **options: Any,
) -> Recipe:
    """Return the settings of a projection. anchors: ids, row numbers, or an anchor file."""
    if isinstance(anchors, str | os.PathLike):
        ids, spare, meaning = read_anchors(os.fspath(anchors))
    elif isinstance(anchors, Embedding):
        ids, spare, meaning = anchors.ids, anchors, None
    else:
        ids, spare, meaning = ids_of(anchors), None, None
    chosen = SIMILARITIES.choose(names_of(similarity), options)
    sources = [one for one in (spare, None if anchor_vectors is None else as_embedding(anchor_vectors)) if one is not None]
    return Recipe(
        ids,
        similarities=chosen,
        before=Preprocessing(center, scale, whiten, normalize),
        aggregate=aggregate or ("concat" if len(chosen) > 1 else ""),
        after=Postprocessing(negate, standardize),
        transductive=transductive,
        anchor_sources=tuple(sources),
        meaning=meaning,
    )


def names_of(names: Names) -> list[str]:
    """Names given one by one, or with commas."""
    several = [names] if isinstance(names, str) else list(names)
    return [part.strip() for name in several for part in name.split(",") if part.strip()]


def given_names(spaces: Sequence[Space], ids: Sequence[Column | None], labels: Column | None) -> list[Embedding]:
    """The spaces as Embeddings with a name each, by which records tell them apart."""
    letters = ["x", "y", *(f"z{i}" for i in range(1, len(spaces)))]
    out: list[Embedding] = []
    for place, space in enumerate(spaces):
        own = ids[place] if place < len(ids) else None
        e = as_embedding(space, ids=own, labels=labels if place == 0 else None, name=letters[place])
        taken = {other.uri for other in out}
        out.append(replace(e, uri=e.uri if e.uri and e.uri not in taken else letters[place]))
    return out


def with_columns(e: Embedding, first: Embedding, names: Sequence[str]) -> Embedding:
    """A space with the columns that it lacks and the first space has, row by row, where both have the same ids in order."""
    missing = {name: first.obs[name] for name in names if name in first.obs and name not in e.obs}
    if not missing or e.n != first.n or not np.array_equal(e.ids, first.ids):
        return e
    return replace(e, obs={**e.obs, **missing})


def results_of(records: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> Results:
    columns = list(dict.fromkeys(name for record in records for name in record))
    return Results(list(records), columns, tuple(notes))

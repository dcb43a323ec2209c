"""Measure invariances on a file's own data: how much each relative representation changes when the space is transformed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.numerics.blocks import pick
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.relative.transformations import TRANSFORMATIONS, with_implied

ROWS = 1000  # evenly spaced items used for the measurement
Record = dict[str, Any]


def table() -> Iterator[Record]:
    """Yield a record of declared invariances for the absolute coordinates and for every similarity function."""
    for name, invariant in [("absolute", set[str]()), *((n, e.invariant) for n, e in SIMILARITIES.items())]:
        kept = with_implied(invariant)
        yield {"similarity": name} | {t: "yes" if t in kept else "no" for t in TRANSFORMATIONS}


def sample(e: Embedding, recipe: Recipe, rows: int = ROWS) -> Embedding:
    """Return at most `rows` evenly spaced items of `e`, then all anchors, in float64."""
    anchors = recipe.vectors(e)
    some = np.arange(e.n)[:: max(1, -(-e.n // rows))]
    some = some[find_ids(recipe.anchor_ids, e.ids[some]) < 0]
    x = np.concatenate([np.asarray(pick(e.x, some), np.float64), anchors.astype(np.float64)])
    return Embedding(x, np.concatenate([e.ids[some], recipe.anchor_ids]), uri=e.uri, space=e.space)


def audit(
    e: Embedding, recipe: Recipe, seed: int, advance: Callable[[int, int], None] = lambda done, total: None
) -> list[Record]:
    """Measure the change under every transformation of the absolute coordinates, each similarity function and the aggregate.

    e: the result of `sample`.

    Returns one record for each. A value is the root mean square change of the coordinates divided by their standard deviation;
    0 means invariant.
    """
    recipe = replace(recipe, meaning=None)  # the sample holds the anchors' own vectors
    recipes: dict[str, Recipe | None] = {"absolute": None}
    for name, params in recipe.similarities.items():
        alone = replace(recipe, similarities={name: params}, aggregate="")
        recipes[name if len(recipe.similarities) > 1 else alone.label] = alone
    if recipe.aggregate:
        recipes[f"product/{recipe.aggregate}"] = recipe
    before = {label: _coordinates(e, one) for label, one in recipes.items()}
    records: list[Record] = [{"similarity": label} for label in recipes]
    for done, (name, entry) in enumerate(TRANSFORMATIONS.items()):
        advance(done, len(TRANSFORMATIONS))
        moved = replace(e, x=entry.function(np.random.default_rng(seed), e.x)(e.x))
        for record, (label, one) in zip(records, recipes.items(), strict=True):
            record[name] = change(before[label], _coordinates(moved, one))
    return records


def _coordinates(e: Embedding, recipe: Recipe | None) -> np.ndarray:
    return e.x if recipe is None else relative(e, basis(e, recipe)).x


def change(before: np.ndarray, after: np.ndarray) -> float:
    """Root mean square change divided by the standard deviation of `before`. Missing columns of the narrower count as 0.

    before: (n, d). after: (n, d').
    """
    wide = max(before.shape[1], after.shape[1])
    padded = [np.pad(x, ((0, 0), (0, wide - x.shape[1]))) for x in (before, after)]
    spread = float((before - before.mean(0)).std()) or 1.0
    return float(np.sqrt(np.mean((padded[1] - padded[0]) ** 2)) / spread)


def described(record: Mapping[str, Any]) -> Record:
    """Return an audit record for output, with changes below 1e-9 set to 0."""
    return {k: 0.0 if isinstance(v, float) and v < 1e-9 else v for k, v in record.items()}

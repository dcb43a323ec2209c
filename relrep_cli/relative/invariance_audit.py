"""Which invariances a file's own data have: how far each relative representation moves when the whole space is moved."""

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
from relrep_cli.relative.transformations import TRANSFORMATIONS, unfelt

ROWS = 1000  # items looked at, at even steps
Record = dict[str, Any]


def table() -> Iterator[Record]:
    """For every similarity function, and for the absolute coordinates, what it declares not to feel."""
    for name, invariant in [("absolute", set[str]()), *((n, e.invariant) for n, e in SIMILARITIES.items())]:
        kept = unfelt(invariant)
        yield {"similarity": name} | {t: "yes" if t in kept else "no" for t in TRANSFORMATIONS}


def sample(e: Embedding, recipe: Recipe, rows: int = ROWS) -> Embedding:
    """At most `rows` items of e at even steps, then all anchors, in float64."""
    anchors = recipe.vectors(e)
    some = np.arange(e.n)[:: max(1, -(-e.n // rows))]
    some = some[find_ids(recipe.anchor_ids, e.ids[some]) < 0]
    x = np.concatenate([np.asarray(pick(e.x, some), np.float64), anchors.astype(np.float64)])
    return Embedding(x, np.concatenate([e.ids[some], recipe.anchor_ids]), uri=e.uri, space=e.space)


def audit(
    e: Embedding, recipe: Recipe, seed: int, advance: Callable[[int, int], None] = lambda done, total: None
) -> list[Record]:
    """One record for each similarity function of `recipe`, for their aggregate, and for the absolute coordinates.

    Each holds, for every transformation, the root mean square change of the coordinates over their standard deviation: 0
    where nothing moves. e: what `sample` gave.
    """
    recipe = replace(recipe, meaning=None)  # the sample holds the anchors' own vectors
    ways: dict[str, Recipe | None] = {"absolute": None}
    for name, params in recipe.similarities.items():
        alone = replace(recipe, similarities={name: params}, aggregate="")
        ways[name if len(recipe.similarities) > 1 else alone.label] = alone
    if recipe.aggregate:
        ways[f"product/{recipe.aggregate}"] = recipe
    plain = {label: _seen(e, way) for label, way in ways.items()}
    records: list[Record] = [{"similarity": label} for label in ways]
    for done, (name, entry) in enumerate(TRANSFORMATIONS.items()):
        advance(done, len(TRANSFORMATIONS))
        moved = replace(e, x=entry.function(np.random.default_rng(seed), e.x)(e.x))
        for record, (label, way) in zip(records, ways.items(), strict=True):
            record[name] = change(plain[label], _seen(moved, way))
    return records


def _seen(e: Embedding, way: Recipe | None) -> np.ndarray:
    return e.x if way is None else relative(e, basis(e, way)).x


def change(before: np.ndarray, after: np.ndarray) -> float:
    """Root mean square change over the standard deviation of `before`; columns that only one has count as 0 in the other."""
    wide = max(before.shape[1], after.shape[1])
    padded = [np.pad(x, ((0, 0), (0, wide - x.shape[1]))) for x in (before, after)]
    spread = float((before - before.mean(0)).std()) or 1.0
    return float(np.sqrt(np.mean((padded[1] - padded[0]) ** 2)) / spread)


def described(record: Mapping[str, Any]) -> Record:
    """An audit's record for eyes and files alike: changes below 1e-9 are none."""
    return {k: 0.0 if isinstance(v, float) and v < 1e-9 else v for k, v in record.items()}

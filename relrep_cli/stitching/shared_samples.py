"""Which shared items of two or more files a map is fitted on, and which are held out to measure it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relrep_cli.anchors.correspondences import Pairs
from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.joins import join
from relrep_cli.embedding import Embedding, find_ids, id_order, match_ids
from relrep_cli.numerics.blocks import pick
from relrep_cli.relative.recipes import Recipe
from relrep_cli.splits import drawn
from relrep_cli.stitching.translation_quality import QUERIES
from relrep_cli.store.positions import check_positions

HELD_OUT = 0.1  # share of the shared items that is held out where no file has a split
FEWEST = 2  # items that a map is fitted on


@dataclass(frozen=True, eq=False)
class Samples:
    """vectors: (m, d) of each file, the items to fit a map on. ids: (m,) their names. held: (q,) of each file, the rows of the
    items held out."""

    vectors: list[np.ndarray]
    ids: np.ndarray
    held: list[np.ndarray]


def samples(es: Sequence[Embedding], recipe: Recipe | None, most: int, seed: int) -> Samples:
    """The anchors of the recipe, and other shared items held out; or without one, shared training rows and shared test rows.

    Of more than `most` training rows, and of more than QUERIES held-out rows, so many are drawn by the seed. Where no file
    has a split, a tenth of the items is held out, drawn by id. Raises DataError when there are too few items for a map.
    """
    drawn = _training_samples(es, most, seed) if recipe is None else _anchor_samples(es, recipe, seed)
    if len(drawn.vectors[0]) < FEWEST:
        raise DataError(
            f"share {len(drawn.vectors[0])} items to fit a map on, and it needs two or more",
            "Give files that share more items, or name anchors with --anchors.",
            file=" and ".join(e.uri for e in es),
        )
    return drawn


def _anchor_samples(es: Sequence[Embedding], recipe: Recipe, seed: int) -> Samples:
    shared = match_ids(*(e.ids for e in es))
    free = np.all([find_ids(recipe.items(e), e.ids[rows]) < 0 for e, rows in zip(es, shared, strict=True)], 0)
    renamed = isinstance(recipe.meaning, Pairs) and not recipe.meaning.one_name
    if renamed or len({e.row_ids for e in es}) > 1:  # an id of one file need not mean the same item in another
        free[:] = False
    shared = [rows[free] for rows in shared]
    test = _tested(es, shared)
    if test is not None and test.any():
        shared = [rows[test] for rows in shared]
    return Samples([recipe.vectors(e) for e in es], recipe.anchor_ids, _drawn(es[0], shared, QUERIES, seed))


def _training_samples(es: Sequence[Embedding], most: int, seed: int) -> Samples:
    check_positions(es)
    for other in es[1:]:
        join(es[0], other)
    shared = match_ids(*(e.ids for e in es))
    test = _tested(es, shared)
    if test is None:
        test = drawn(es[0].ids[shared[0]], HELD_OUT, seed)
        train = ~test
    else:
        train = np.all([_is_split(e, rows, b"train", True) for e, rows in zip(es, shared, strict=True)], 0)
    held, rows = (
        _drawn(es[0], [one[chosen] for one in shared], count, seed) for chosen, count in ((test, QUERIES), (train, most))
    )
    return Samples([pick(e.x, one) for e, one in zip(es, rows, strict=True)], es[0].ids[rows[0]], held)


def _tested(es: Sequence[Embedding], shared: Sequence[np.ndarray]) -> np.ndarray | None:
    """(s,) whether a shared item is a test row of any file; None where none has a split."""
    if not any("split" in e.obs for e in es):
        return None
    return np.any([_is_split(e, rows, b"test", False) for e, rows in zip(es, shared, strict=True)], 0)


def _is_split(e: Embedding, rows: np.ndarray, name: bytes, unknown: bool) -> np.ndarray:
    return e.obs["split"][rows] == name if "split" in e.obs else np.full(len(rows), unknown)


def _drawn(e: Embedding, shared: Sequence[np.ndarray], most: int, seed: int) -> list[np.ndarray]:
    """At most `most` of the shared items in the order of their ids, drawn by the seed whatever the order of the file."""
    order = id_order(e.ids[shared[0]])
    order = np.arange(len(shared[0])) if order is None else order
    if len(order) > most:
        order = order[np.sort(np.random.default_rng(seed).permutation(len(order))[:most])]
    return [rows[order] for rows in shared]

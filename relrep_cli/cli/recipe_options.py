"""What project, compare and stitch share: the options that say how to project, read into a Recipe."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.anchor_files import read_anchors
from relrep_cli.base.errors import UsageError
from relrep_cli.cli.options import Given, How, split_names
from relrep_cli.relative.aggregators import AGGREGATORS, load
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.recipes import Postprocessing, Recipe, with_trained_aggregator
from relrep_cli.relative.similarities import SIMILARITIES

OF_AGGREGATOR = {"--similarity", "--aggregate", "--center", "--scale", "--whiten", "--normalize", "--as-similarity"}


def read_recipe(how: How, given: Given, anchor_ids: np.ndarray | None = None, trains: bool = False) -> Recipe:
    """The recipe that the options describe, on the anchors they name unless `anchor_ids` says which.

    trains: whether the command can train an aggregator that needs it. Raises UsageError where they contradict each other.
    """
    if not how.anchors and anchor_ids is None:
        raise UsageError("--anchors FILE is missing; make one with relrep anchor.")
    if how.whiten and how.scale:
        raise UsageError("--whiten and --scale both bring the axes to one width; choose one.")
    if how.statistics and how.transductive:
        raise UsageError("--statistics takes them from a file, --transductive from all rows here; choose one.")
    if not isfinite(how.round):
        raise UsageError(f"--round is {how.round}; it must be a step that coordinates can be rounded to, such as 0.1.")
    if how.aggregate and AGGREGATORS[how.aggregate].trainable and not trains:
        raise UsageError(
            f"--aggregate {how.aggregate} has to be trained first: relrep stitch --aggregate {how.aggregate} "
            "--save-aggregator FILE; then name FILE with --aggregator."
        )
    ids, spare, meaning = read_anchors(how.anchors) if anchor_ids is None else (anchor_ids, None, None)
    recipe = Recipe(
        ids,
        spares=tuple(([spare] if spare else []) + [store.read(v) for v in how.anchor_vectors]),
        after=Postprocessing(how.as_similarity, how.standardize_columns, how.round),
        transductive=how.transductive,
        like=store.read(how.statistics) if how.statistics else None,
        meaning=meaning,
    )
    return _learnt(recipe, how, given) if how.aggregator else _told(recipe, how, given)


def _told(recipe: Recipe, how: How, given: Given) -> Recipe:
    """With the similarity functions, the preparation and the aggregate that the options name."""
    names = split_names(how.similarity) or ["cosine"]
    names = list(SIMILARITIES) if "all" in names else names
    chosen = given.choose(SIMILARITIES, names)
    aggregate = how.aggregate or ("concat" if len(chosen) > 1 else "")
    before = Preprocessing(how.center, how.scale, how.whiten, how.normalize)
    return replace(recipe, similarities=chosen, before=before, aggregate=aggregate)


def _learnt(recipe: Recipe, how: How, given: Given) -> Recipe:
    """With what a trained aggregator was trained on."""
    clash = [o for o in how.given() if o in OF_AGGREGATOR]
    if clash:
        raise UsageError(f"{clash[0]} does not go with --aggregator, which brings its own.")
    given.refuse(SIMILARITIES, "--aggregator, which brings its own")
    return with_trained_aggregator(recipe, load(how.aggregator))

"""Which similarity functions make spaces agree best, judged without labels on anchors that were held out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.embedding import Embedding
from relrep_cli.numerics.intervals import bootstrap
from relrep_cli.relative.aggregators import layer_norm
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Recipe

FOLDS = 5
Record = dict[str, Any]
Agreements = dict[str, list[np.ndarray]]  # for each similarity function, (h, h) correlations of each fold of each pair


@dataclass(frozen=True)
class Judged:
    """How a set of similarity functions did: reciprocal ranks of the held-out anchors, and their mean correlation."""

    names: tuple[str, ...]
    ranks: np.ndarray
    correlation: float

    @property
    def key(self) -> tuple[float, float]:
        return float(self.ranks.mean()), self.correlation


def select(
    spaces: Sequence[Embedding], recipe: Recipe, seed: int, advance: Callable[[int, int], None] = lambda done, total: None
) -> list[Record]:
    """Similarity functions one by one, and sets of them grown greedily, ranked by the agreement they give across spaces.

    The anchors are dealt into five folds. Each fold in turn is described by its similarities to the other anchors, in every
    space, and each of its items looks for itself in the other space: by the correlation of the relative vectors, averaged
    over the functions of a set. agreement: the mean reciprocal rank, 1 if every item finds itself first.
    Raises DataError with fewer than ten anchors.
    """
    if len(recipe.anchor_ids) < 2 * FOLDS:
        raise DataError(f"--select needs {2 * FOLDS} anchors or more to hold some out; there are {len(recipe.anchor_ids)}.")
    found = agreements(spaces, recipe, seed, advance)
    single = sorted((_judge((name,), found) for name in found), key=lambda j: j.key, reverse=True)
    grown = _grow(single[0], found)
    ranked = sorted([*single, *grown], key=lambda j: j.key, reverse=True)
    return [_record(place, judged, seed) for place, judged in enumerate(ranked, 1)]


def agreements(
    spaces: Sequence[Embedding], recipe: Recipe, seed: int, advance: Callable[[int, int], None] = lambda done, total: None
) -> Agreements:
    """Correlations of held-out anchors between every two spaces, for each similarity function and fold."""
    folds = np.array_split(np.random.default_rng(seed).permutation(len(recipe.anchor_ids)), FOLDS)
    found: Agreements = {name: [] for name in recipe.similarities}
    for done, (fold, name) in enumerate(itertools.product(folds, found)):
        advance(done, len(folds) * len(found))
        rest = np.setdiff1d(np.arange(len(recipe.anchor_ids)), fold)
        alone = replace(
            recipe, anchor_ids=recipe.anchor_ids[rest], similarities={name: recipe.similarities[name]}, aggregate=""
        )
        seen = [_held_out(e, recipe, alone, fold) for e in spaces]
        found[name] += [a @ b.T / a.shape[1] for a, b in itertools.combinations(seen, 2)]
    return found


def _held_out(e: Embedding, recipe: Recipe, alone: Recipe, fold: np.ndarray) -> np.ndarray:
    """(h, m) the anchors of a fold, relative to the others, row by row at mean 0 and variance 1."""
    ids = recipe.anchor_ids[fold]
    held = replace(e, x=recipe.vectors(e, ids), ids=ids, obs={})
    return np.asarray(layer_norm(np.asarray(relative(held, basis(e, alone)).x, np.float64)))


def _judge(names: tuple[str, ...], found: Mapping[str, list[np.ndarray]]) -> Judged:
    means = [np.mean(parts, 0) for parts in zip(*(found[name] for name in names), strict=True)]
    ranks = [1 / _mean_ranks(m) for mean in means for m in (mean, mean.T)]
    return Judged(names, np.concatenate(ranks), float(np.mean([np.diag(m).mean() for m in means])))


def _mean_ranks(m: np.ndarray) -> np.ndarray:
    """(h,) the rank of the diagonal in its row, among equals their mean: a space where all is alike finds nothing.

    >>> _mean_ranks(np.array([[3.0, 1.0], [2.0, 2.0]])).tolist()
    [1.0, 1.5]
    """
    own = np.diag(m)[:, None]
    return np.asarray(1 + (m > own).sum(1) + ((m == own).sum(1) - 1) / 2)


def _grow(best: Judged, found: Mapping[str, list[np.ndarray]]) -> list[Judged]:
    """Add the function that helps most, as long as one does; with the set of all at the end, for comparison."""
    grown: list[Judged] = []
    while len(best.names) < len(found):
        nexts = [_judge((*best.names, name), found) for name in found if name not in best.names]
        better = max(nexts, key=lambda j: j.key)
        if better.key <= best.key:
            break
        best = better
        grown.append(best)
    everything = tuple(found)
    if len(everything) > 1 and all(set(j.names) != set(everything) for j in grown):
        grown.append(_judge(everything, found))
    return grown


def _record(place: int, judged: Judged, seed: int) -> Record:
    low, high = bootstrap(judged.ranks, np.random.default_rng(seed))
    return {
        "rank": place,
        "similarities": ",".join(judged.names),
        "agreement": judged.key[0],
        "low": low,
        "high": min(high, 1.0),
        "correlation": judged.correlation,
        "n": len(judged.ranks),
    }

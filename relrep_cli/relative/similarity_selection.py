"""Rank similarity functions by how well spaces agree with them, on held-out anchors and without labels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding
from relrep_cli.numerics.intervals import bootstrap
from relrep_cli.relative.aggregators import layer_norm
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Recipe

FOLDS = 5
Record = dict[str, Any]
Agreements = dict[str, list[np.ndarray]]  # for each similarity function, (h, h) correlations for each fold and pair of spaces


@dataclass(frozen=True)
class Result:
    """The result of a set of similarity functions. ranks: reciprocal ranks (q,) of the held-out anchors. correlation: the
    mean correlation of a held-out anchor with itself in the other space."""

    names: tuple[str, ...]
    ranks: np.ndarray
    correlation: float

    @property
    def key(self) -> tuple[float, float]:
        return float(self.ranks.mean()), self.correlation


def select(
    spaces: Sequence[Embedding], recipe: Recipe, seed: int, advance: Callable[[int, int], None] = lambda done, total: None
) -> list[Record]:
    """Rank single similarity functions, and sets of them grown greedily, by the agreement of the spaces.

    The anchors are split into five folds. The anchors of one fold are projected onto the other anchors in every space. Each of
    them is then retrieved in the other space, by the correlation of the relative vectors, averaged over the functions of a set.

    Returns one record per set. `agreement` is the mean reciprocal rank, 1 when every anchor is retrieved first.

    Raises DataError when there are fewer than ten anchors.
    """
    if len(recipe.anchor_ids) < 2 * FOLDS:
        raise DataError(
            f"--select needs {2 * FOLDS} anchors or more to hold some out; there are {len(recipe.anchor_ids)}",
            "Choose more anchors with relrep anchor.",
        )
    agreement = agreements(spaces, recipe, seed, advance)
    single = sorted((_result((name,), agreement) for name in agreement), key=lambda j: j.key, reverse=True)
    grown = _grow(single[0], agreement)
    ranked = sorted([*single, *grown], key=lambda j: j.key, reverse=True)
    return [_record(place, result, seed) for place, result in enumerate(ranked, 1)]


def agreements(
    spaces: Sequence[Embedding], recipe: Recipe, seed: int, advance: Callable[[int, int], None] = lambda done, total: None
) -> Agreements:
    """Compute the correlations of held-out anchors between every two spaces, for each similarity function and fold."""
    folds = np.array_split(np.random.default_rng(seed).permutation(len(recipe.anchor_ids)), FOLDS)
    agreement: Agreements = {name: [] for name in recipe.similarities}
    for done, (fold, name) in enumerate(itertools.product(folds, agreement)):
        advance(done, len(folds) * len(agreement))
        rest = np.setdiff1d(np.arange(len(recipe.anchor_ids)), fold)
        alone = replace(
            recipe, anchor_ids=recipe.anchor_ids[rest], similarities={name: recipe.similarities[name]}, aggregate=""
        )
        projected = [_held_out(e, recipe, alone, fold) for e in spaces]
        agreement[name] += [a @ b.T / a.shape[1] for a, b in itertools.combinations(projected, 2)]
    return agreement


def _held_out(e: Embedding, recipe: Recipe, alone: Recipe, fold: np.ndarray) -> np.ndarray:
    """(h, m) the anchors of a fold projected onto the others, each row standardised."""
    ids = recipe.anchor_ids[fold]
    held = replace(e, x=recipe.vectors(e, ids), ids=ids, obs={})
    return np.asarray(layer_norm(np.asarray(relative(held, basis(e, alone)).x, np.float64)))


def _result(names: tuple[str, ...], agreement: Mapping[str, list[np.ndarray]]) -> Result:
    means = [np.mean(parts, 0) for parts in zip(*(agreement[name] for name in names), strict=True)]
    ranks = [1 / _mean_ranks(m) for mean in means for m in (mean, mean.T)]
    return Result(names, np.concatenate(ranks), float(np.mean([np.diag(m).mean() for m in means])))


def _mean_ranks(m: np.ndarray) -> np.ndarray:
    """(h,) the rank of the diagonal element in its row; tied values get their mean rank, so a constant space scores low.

    >>> _mean_ranks(np.array([[3.0, 1.0], [2.0, 2.0]])).tolist()
    [1.0, 1.5]
    """
    own = np.diag(m)[:, None]
    return np.asarray(1 + (m > own).sum(1) + ((m == own).sum(1) - 1) / 2)


def _grow(best: Result, agreement: Mapping[str, list[np.ndarray]]) -> list[Result]:
    """Add the function that improves the result most, as long as one does. Ends with the set of all, for comparison."""
    grown: list[Result] = []
    while len(best.names) < len(agreement):
        nexts = [_result((*best.names, name), agreement) for name in agreement if name not in best.names]
        better = max(nexts, key=lambda j: j.key)
        if better.key <= best.key:
            break
        best = better
        grown.append(best)
    everything = tuple(agreement)
    if len(everything) > 1 and all(set(j.names) != set(everything) for j in grown):
        grown.append(_result(everything, agreement))
    return grown


def _record(place: int, result: Result, seed: int) -> Record:
    low, high = bootstrap(result.ranks, np.random.default_rng(seed))
    return {
        "rank": place,
        "similarities": ",".join(result.names),
        "agreement": result.key[0],
        "low": low,
        "high": min(high, 1.0),
        "correlation": result.correlation,
        "n": len(result.ranks),
    }

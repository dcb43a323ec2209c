"""How good a translation is: each translated item looks for itself in the target space."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from relrep_cli.base.output import Record
from relrep_cli.embedding import Embedding
from relrep_cli.neighbors import nearest, nearest_and_ranks, overlap, ranks, unit_rows
from relrep_cli.numerics.blocks import pick
from relrep_cli.numerics.intervals import bootstrap_of_few, of_share, within
from relrep_cli.stitching.translators import Affine

K = 10
QUERIES, INDEX = 2000, 20_000  # rows that the quality is measured on, and rows that are searched unless the user says how many
FOLDS = 5
HITS = ("recall_1", "recall_10")
COLUMNS = ("file", "into", "measure", "value", "low", "high", "n", "index_size", "fitted_on", "held_out")
Fit = Callable[[np.ndarray, np.ndarray], Affine]
Scores = dict[str, np.ndarray]


def scores(moved: np.ndarray, own: np.ndarray, index: np.ndarray, before: np.ndarray | None = None) -> Scores:
    """The scores (q,) of translated rows (q, d), whose items are the rows `own` of an index (n, d) in the target space.

    recall_1, recall_10: whether the item's own vector is the nearest, or among the ten nearest, by cosine. cosine: of the
    translated row with the item's own vector. retained: the share of the ten items nearest to the own vector that are among
    the ten nearest to the translated one; only of an index of 12 rows or more. before: the index (n, d2) that says what is
    nearest to the own vector, where `index` was translated, too.
    """
    first: np.ndarray | slice = np.concatenate([own, np.setdiff1d(np.arange(len(index)), own)])  # query i is to find row i
    if np.array_equal(own, np.arange(len(own))):
        first = slice(None)  # it does already; a large index is not copied
    base = index[first]
    enough = len(base) >= K + 2
    near, places = nearest_and_ranks(moved, base, K) if enough else (None, ranks(moved, base))
    hits = {"recall_1": places == 1, "recall_10": places <= K}
    hits["cosine"] = np.einsum("ij,ij->i", unit_rows(moved), unit_rows(base[: len(own)]))
    if near is not None:
        old = base if before is None else before[first]
        wanted = nearest(old, old, K, exclude_self=True, rows=np.arange(len(own)))
        hits["retained"] = overlap(near, wanted.rows) / K
    return {name: np.asarray(values, np.float64) for name, values in hits.items()}


def quality(scores: Scores, seed: int, flags: Record) -> Iterator[Record]:
    """One record for each score: its mean with a 95 % interval over items, Wilson's for hits and misses, else by bootstrap."""
    for name, values in scores.items():
        bounds = (-1, 1) if name == "cosine" else (0, 1)
        if name in HITS:
            low, high = of_share(float(values.mean()), len(values))
        else:
            low, high = within(bootstrap_of_few(values, np.random.default_rng(seed)), bounds)
        yield {"measure": name, "value": float(values.mean()), "low": low, "high": high, "n": len(values), **flags}


def index_rows(target: Embedding, own: np.ndarray, seed: int, most: int = INDEX) -> np.ndarray:
    """Rows of the target to search: `own` first, then others, at most so many in all, drawn by the seed.

    own: (k,) row numbers. Returns (p,) row numbers.
    """
    others = np.delete(np.arange(target.n), own)
    if len(own) + len(others) > most:
        others = np.sort(np.random.default_rng(seed).permutation(others)[: max(most - len(own), 0)])
    return np.concatenate([own, others])


def held_out_scores(
    carry: Affine, e: Embedding, rows: np.ndarray, target: Embedding, own: np.ndarray, index: np.ndarray
) -> Scores:
    """The scores of the rows of e whose items are the rows `own` of the target.

    rows, own: (k,) row numbers, where place i is the same item. index: (p,) rows of the target to search, `own` first.
    """
    return scores(carry(pick(e.x, rows)), np.arange(len(own)), pick(target.x, index))


def crossed_scores(fit: Fit, x: np.ndarray, y: np.ndarray, seed: int) -> Scores:
    """The scores of anchors x (m, dx) in y (m, dy) where each part of the anchors is translated by a fit on the others."""
    parts = np.array_split(np.random.default_rng(seed).permutation(len(x)), min(FOLDS, len(x)))
    folds: list[tuple[np.ndarray, Scores]] = []
    for part in parts:
        rest = np.setdiff1d(np.arange(len(x)), part)
        folds.append((part, scores(fit(x[rest], y[rest])(x[part]), part, y)))
    order = np.argsort(np.concatenate([part for part, _ in folds]))
    return {name: np.concatenate([one[name] for _, one in folds])[order] for name in folds[0][1]}

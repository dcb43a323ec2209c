"""Whether an item finds others of its class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.evaluations.findings import By, Finding, Space, evaluation, mean_of, some
from relrep_cli.neighbors import nearest, unit_rows
from relrep_cli.numerics.blocks import column_mean, pick, row_blocks, slices

RECALLS = (1, 10)
PAIRS = 50_000_000  # of items that are ranked for mean average precision
TILE, MORE, ROWS = 1 << 22, 1 << 25, 32  # pairs at once; up to so many more, so that a pass over all items serves some queries
FEWEST = 200  # queries whose precision is measured, however many items there are


@evaluation(needs={"labels"}, labels=True, source="Jegou et al. 2011, recall@R; Manning et al. 2008, sec. 8.4")
def retrieval(s: Space, *, neighbors: By = "cosine", seed: int = 0) -> Iterator[Finding]:
    """Recall at 1 and 10, and mean average precision, of items of the same class.

    Each judged item looks among all other judged items. recall@k is the share that find one of their class among the k
    nearest. Average precision ranks all others; of many items, that of a sample. Items that are alone in their class cannot be
    found and are left out as queries.
    """
    rows, codes = s.labelled(s.test)
    sizes = np.bincount(codes)[codes]
    asking = np.flatnonzero(sizes > 1)
    if not len(asking):
        raise NotApplicable("every item is alone in its class")
    x, n, ids = s.vectors(rows), len(rows), s.e.ids[rows]
    alone = f"; {n - len(asking)} alone in their class are left out as queries" if len(asking) < n else ""
    convention = f"each item among {n - 1} others, {neighbors}, self excluded{alone}"
    ks = [k for k in RECALLS if k < n]
    near = nearest(x, x, ks[-1], by=neighbors, exclude_self=True, rows=asking, workspace=s.searching).rows
    hits = codes[near] == codes[asking][:, None]
    for k in ks:
        any_hit = hits[:, :k].any(1).astype(np.float64)
        luck = float(_lucky(sizes[asking], n, k).mean())
        recall = mean_of(f"recall@{k}", any_hit, convention, codes[asking], (0, 1), luck, ids[asking])
        yield replace(recall, subset=_among(x, codes, asking, partial(_recalled, k=k, by=neighbors)))
    queries, of = some(asking, max(FEWEST, PAIRS // n), seed)
    precision = _average_precision(x, codes, queries, neighbors)
    chance = float(_random_precision(sizes[queries] - 1, n - 1).mean())
    convention = f"mean average precision of {of} queries, {convention}"
    mean = mean_of("map", precision, convention, codes[queries], (0, 1), chance, ids[queries])
    yield replace(mean, subset=_among(x, codes, queries, partial(_average_precision, by=neighbors)))


def _among(
    x: np.ndarray, codes: np.ndarray, items: np.ndarray, value: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from places among `items` to the values of these items where they are all there is; see Finding.subset."""

    def subset(places: np.ndarray) -> np.ndarray:
        own, of = pick(x, items[places]), codes[items[places]]
        out, asking = np.full(len(of), np.nan), np.flatnonzero(np.bincount(of)[of] > 1)
        if len(asking) > 1:
            out[asking] = value(own, of, asking)
        return out

    return subset


def _recalled(x: np.ndarray, codes: np.ndarray, rows: np.ndarray, k: int, by: By) -> np.ndarray:
    """(q,) whether rows of x find one of their class among the k nearest others. Raises NotApplicable for too few others."""
    if k >= len(x):
        raise NotApplicable(f"{len(x)} items are too few")
    near = nearest(x, x, k, by=by, exclude_self=True, rows=rows).rows
    return np.asarray((codes[near] == codes[rows][:, None]).any(1), np.float64)


def _lucky(sizes: np.ndarray, n: int, k: int) -> np.ndarray:
    """(q,) the chance that k random others hold one of the same class, of so many items."""
    others = n - 1 - np.arange(k)
    return 1 - np.prod(np.maximum(n - sizes[:, None] - np.arange(k), 0) / others, axis=1)


def _random_precision(right: np.ndarray, n: int) -> np.ndarray:
    """(q,) the expected average precision of a random order of n items of which so many are right.

    >>> _random_precision(np.array([1, 2]), 2).tolist()  # (1 + 1/2) / 2, and all are right
    [0.75, 1.0]
    """
    harmonic = float((1 / np.arange(1, n + 1)).sum())
    return ((right - 1) / max(n - 1, 1) * (n - harmonic) + harmonic) / n


def _average_precision(x: np.ndarray, codes: np.ndarray, queries: np.ndarray, by: By) -> np.ndarray:
    """(q,) average precision of rows `queries` of x among its other rows; equally near ones in the order of their ids."""
    n, out = len(x), np.empty(len(queries))
    origin = column_mean(x, np.arange(n)) if by == "euclidean" else None
    first = _first_copies(x)
    for block in slices(len(queries), max(1, TILE // n, min(ROWS, MORE // n))):
        own = queries[block]
        far = _apart(x, own, origin)[:, first]  # copies, whose products may differ in their last bit, are equally near
        far[np.arange(len(own)), own] = np.inf
        for place, (row, code) in enumerate(zip(far, codes[own], strict=True), block.start):
            right = codes[np.argsort(row, kind="stable")[:-1]] == code
            ranks = np.flatnonzero(right) + 1
            out[place] = (np.arange(1, len(ranks) + 1) / ranks).mean()
    return out


def _first_copies(x: np.ndarray) -> np.ndarray | slice:
    """(n,) the number of the first row that equals each row; all rows as they are where none is twice.

    >>> _first_copies(np.array([[1.0], [2.0], [1.0]])).tolist()
    [0, 1, 0]
    """
    rows = np.ascontiguousarray(x).view(np.dtype((np.void, x.shape[1] * x.itemsize))).ravel()
    _, first, place = np.unique(rows, return_index=True, return_inverse=True)
    return first[place] if len(first) < len(x) else slice(None)


def _apart(x: np.ndarray, rows: np.ndarray, origin: np.ndarray | None) -> np.ndarray:
    """(q, n) what orders all rows of x (n, d) by their distance to some: Euclidean about an origin, without one cosine."""

    def ready(part: np.ndarray) -> np.ndarray:
        wide = np.asarray(part, np.float64)
        return unit_rows(wide) if origin is None else wide - origin

    own, out = ready(pick(x, rows)), np.empty((len(rows), len(x)))
    for block in row_blocks(*x.shape, x):
        base = ready(x[block])
        out[:, block] = -(own @ base.T)
        if origin is not None:
            out[:, block] += np.einsum("ij,ij->i", base, base) / 2
    return out

"""Strategies that choose anchors, and where the vectors of anchors come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from relrep_cli.blocks import take
from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.errors import DataError, printable
from relrep_cli.registry import Registry

STRATEGIES: Registry = Registry("strategy", ("needs_labels", "source"))
strategy = STRATEGIES


@strategy(needs_labels=False, source="Moschella et al. 2022, sec. 4")
def random(x: np.ndarray, labels: np.ndarray | None, m: int, rng: np.random.Generator) -> np.ndarray:
    """Items drawn uniformly, without repeats.

    x: (n, d) candidates. Returns (m,) row numbers.
    """
    return rng.choice(len(x), m, replace=False)


@strategy(needs_labels=True, source="Moschella et al. 2022: equally many anchors of each class")
def per_class(x: np.ndarray, labels: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    """Equally many items of each class, drawn uniformly within it.

    Where m does not divide, earlier classes in sorted order get one more; a class that is too small gives all it has and
    the others make up for it. Returns (m,) row numbers, class by class.
    """
    classes = np.unique(labels)
    pools = {c: rng.permutation(np.flatnonzero(labels == c)) for c in classes}
    quota = dict.fromkeys(classes.tolist(), 0)
    while sum(quota.values()) < m:
        open_classes = [c for c in classes.tolist() if quota[c] < len(pools[c])]
        share, extra = divmod(m - sum(quota.values()), len(open_classes))
        for place, c in enumerate(open_classes):
            quota[c] = min(len(pools[c]), quota[c] + share + (place < extra))
    return np.concatenate([pools[c][: quota[c]] for c in classes.tolist()])


@strategy(needs_labels=False, source="the order of the file")
def first(x: np.ndarray, labels: np.ndarray | None, m: int, rng: np.random.Generator) -> np.ndarray:
    """The first items of the file."""
    return np.arange(m)


def choose(e: Embedding, rows: np.ndarray, name: str, m: int, rng: np.random.Generator, params: dict[str, Any]) -> np.ndarray:
    """(m,) row numbers of `e` chosen among the candidates `rows` by the named strategy.

    Raises DataError when there are fewer candidates than m, or no labels for a strategy that needs them.
    """
    labels = e.column("label")[rows] if STRATEGIES[name].needs_labels else None
    if labels is not None:  # an item without a label belongs to no class
        rows, labels = rows[labels != b""], labels[labels != b""]
    if m > len(rows):
        raise DataError(f"{e.uri}: {m} anchors asked of {len(rows)} candidate items; write -n {len(rows)} or less.")
    return rows[STRATEGIES[name].function(take(e.x, rows), labels, m, rng, **params)]


def anchor_vectors(e: Embedding, ids: np.ndarray, spares: Sequence[Embedding] = ()) -> np.ndarray:
    """(m, d) vectors of the anchors `ids` in the space of `e`: its own rows, else rows of a spare of the same space.

    Raises DataError when an anchor is in none of them; coordinates of another space are never taken.
    """
    out = np.empty((len(ids), e.d), np.result_type(*(s.x.dtype.newbyteorder("=") for s in (e, *spares))))
    missing = np.ones(len(ids), bool)
    for source in (e, *(s for s in spares if s.space and s.space == e.space and s.d == e.d)):
        rows = find_ids(source.ids, ids)
        found = missing & (rows >= 0)
        out[found] = source.x[rows[found]]
        missing &= ~found
    if missing.any():
        raise DataError(_missing(e, ids[missing], spares))
    return out


def _named(e: Embedding) -> str:
    return printable(e.space) or "an unnamed one"


def _missing(e: Embedding, ids: np.ndarray, spares: Sequence[Embedding]) -> str:
    some = ", ".join(printable(i) for i in ids[:3].tolist()) + (", …" if len(ids) > 3 else "")
    text = f"{e.uri}: {len(ids)} anchors are not among its {e.n} items: {some}. "
    for spare in spares:
        if spare.space != e.space and (find_ids(spare.ids, ids) >= 0).any():
            text += f"{spare.uri} has some in another space ({_named(spare)}, not {_named(e)}). "
    return (
        text
        + "Name a file of the same space that holds them with --anchor-vectors FILE; relrep embed --space NAME names spaces."
    )

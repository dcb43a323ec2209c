"""Positive pairs: for each item, which others are to lie close to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import pick


@dataclass(frozen=True)
class Pairs:
    """rows: (p,) row numbers, group by group. start, count: (n,) where the positives of each item lie among them."""

    rows: NDArray[np.intp]
    start: NDArray[np.intp]
    count: NDArray[np.intp]
    by_label: bool = False

    def of(self, rows: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
        """One positive for each of `rows`, drawn anew; the item itself where it has none."""
        drawn = self.start[rows] + (rng.random(len(rows)) * self.count[rows]).astype(np.intp)
        return np.where(self.count[rows] > 0, self.rows[np.minimum(drawn, len(self.rows) - 1)], rows)


def by_label(label: NDArray[np.bytes_], train: NDArray[np.intp]) -> Pairs:
    """Training rows of the same label; an item may be drawn as its own positive. Empty labels have none."""
    train = train[label[train] != b""]
    if not len(train):
        raise DataError("no training item has a label, which --positives label needs", "Give items with labels.")
    known, codes = np.unique(label[train], return_inverse=True)
    counts = np.bincount(codes, minlength=len(known))
    starts = np.cumsum(counts) - counts
    places = np.clip(np.searchsorted(known, label), 0, len(known) - 1)
    there = known[places] == label
    return Pairs(train[np.argsort(codes, kind="stable")], starts[places], np.where(there, counts[places], 0), by_label=True)


def by_neighbors(ids: NDArray[np.bytes_], train: NDArray[np.intp], valid: NDArray[np.intp], e: Embedding, k: int) -> Pairs:
    """The k nearest training rows of each training row, and of each valid row that is there, in another space, by cosine.

    Raises DataError for the id of a training row that it lacks.
    """
    own = find_ids(e.ids, ids[train])
    if (own < 0).any():
        missing = ids[train][own < 0]
        name = bytes(missing[0]).decode()
        raise DataError(
            f"lacks {len(missing)} of the {len(train)} training items, such as {name}", "Embed them too.", file=e.uri
        )
    x = pick(e.x, own)
    near = nearest(x, x, k, exclude_self=True).rows
    own = find_ids(e.ids, ids[valid])
    valid, own = valid[own >= 0], own[own >= 0]
    if len(valid):
        near = np.concatenate([near, nearest(pick(e.x, own), x, k).rows])
    rows = np.concatenate([train, valid])
    start, count = np.zeros(len(ids), np.intp), np.zeros(len(ids), np.intp)
    start[rows], count[rows] = k * np.arange(len(rows)), k
    return Pairs(train[near].reshape(-1), start, count)

"""A reference that measured its items several times: one space for each repeat, and the noise ceiling that they leave."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, NotApplicable, printable
from relrep_cli.comparison.pairs_of_files import View, measure
from relrep_cli.embedding import Embedding, id_order, select
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.numerics.spool import spool
from relrep_cli.numerics.workspace import Workspace

SHARED = 2.0  # standard deviations of a random rotation, above which coordinates are shared
FEWEST_DIMS = 8  # in which a rotation can be told from none


def repeats_of(view: View, column: str) -> list[View]:
    """Split a view into one for each repeat of its items, whose ids are the names of the items.

    column: the obs column that names the item behind each row. Rows of one item are its first, second, … repeat in the order of
    their ids. Where items have unequal numbers of rows, every item keeps as many as the one with the fewest.

    Raises DataError when there is no such column, or an item has a single row.
    """
    e = view.embedding
    values = e.column(column)
    names = np.asarray(values if values.dtype.kind == "S" else values.astype("S"))
    items, places, counts = np.unique(names, return_inverse=True, return_counts=True)
    place = f"column {printable(column)}"
    if (fewest := int(counts.min())) < 2:
        lone = printable(bytes(items[counts.argmin()]), 60)
        what = f"item {lone} has one row, and a noise ceiling needs two or more of each item"
        raise DataError(what, "Leave such items out, or remove --repeats.", file=e.uri, place=place)
    order = np.argsort(places, kind="stable")
    firsts = np.cumsum(counts) - counts
    sorted_items = id_order(items)
    firsts, items = (firsts, items) if sorted_items is None else (firsts[sorted_items], items[sorted_items])
    out = []
    for number in range(fewest):
        rows = order[firsts + number]
        key = hashlib.sha256(rows.tobytes() + items.tobytes()).hexdigest()
        own = replace(select(e, rows), ids=items, row_ids=False)
        out.append(View(view.label, own, f"{view.content}:{key}" if view.content else ""))
    return out


def noise_ceiling(
    name: str, params: Mapping[str, Any], repeats: Sequence[Embedding], seed: int
) -> tuple[float | None, float | None]:
    """The noise ceiling of a metric: what a model could reach that knows the items as well as their repeats allow.

    repeats: embeddings with parallel rows. Each repeat is compared with the mean of the other ones (lower bound) and with the
    mean of all (upper bound, which has seen the repeat); both are averaged over repeats (Nili et al. 2014). (None, None) where
    the metric has no value.
    """
    shape, count = repeats[0].x.shape, len(repeats)
    mean = spool(shape, np.float64)
    for block in row_blocks(*shape, mean):
        mean[block] = sum(np.asarray(e.x[block], np.float64) for e in repeats) / count
    records = []
    try:
        for e in repeats:
            rest = spool(shape, np.float64)
            for block in row_blocks(*shape, rest, mean):
                rest[block] = (count * mean[block] - e.x[block]) / (count - 1)
            sides = (replace(e, x=rest), replace(e, x=mean))
            records.append([measure(name, params, e, side, seed, Workspace(intervals=False)).value for side in sides])
    except NotApplicable:
        return None, None
    lower, upper = np.mean(records, 0)
    return float(lower), float(upper)


def turned(repeats: Sequence[Embedding]) -> bool:
    """Whether the repeats look as if each had coordinates of its own, so that a mean of their vectors means nothing.

    repeats: embeddings (n, d) with parallel rows. The trace of the cross-covariance of two spaces says how far they share
    coordinates. Under a random rotation it has mean 0 and the standard deviation |C| / sqrt(d), where |C| is its Frobenius norm
    (the second moment of the Haar measure); they look turned when the traces, in these units, are below 2 on average.
    """
    (n, d), (first, *others) = repeats[0].x.shape, repeats
    if d < FEWEST_DIMS:  # a rotation of few dims can look like none
        return False
    means = [sum(np.asarray(e.x[block], np.float64).sum(0) for block in row_blocks(n, d, e.x)) / n for e in repeats]
    units = []
    for other, mean in zip(others, means[1:], strict=True):
        cross = np.zeros((d, d))
        for block in row_blocks(n, d, first.x, other.x):
            cross += (first.x[block] - means[0]).T @ (other.x[block] - mean)
        if norm := float(np.linalg.norm(cross)):
            units.append(float(np.trace(cross)) * np.sqrt(d) / norm)
    return bool(units) and float(np.mean(units)) < SHARED

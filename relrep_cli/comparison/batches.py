"""Linear CKA of many pairs of files: one pass over the rows takes the sums of many pairs, before the first one is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.comparison.pairs_of_files import View, record_key, rows_key
from relrep_cli.comparison.plans import Plan
from relrep_cli.numerics.flat_sums import cross_size
from relrep_cli.numerics.moment_sums import tile_rows
from relrep_cli.numerics.moments import take_together
from relrep_cli.numerics.workspace import Workspace

Pair = tuple[str, str]
SUMS, TILES = 40 << 20, 64 << 20  # bytes of the sums of a batch (up to three times in memory), and of a tile of all its files


def take_ahead(
    pair: Pair,
    plan: Plan,
    views: Mapping[str, list[View] | DataError],
    done: Callable[[str], bool],
    workspace: Workspace,
    taken: set[tuple[Pair, int]],
) -> None:
    """Take the sums that linear CKA needs of this pair, and of pairs after it in the plan that share files with it.

    done: whether a task with this key is finished. taken: the pairs and views that were in a batch, extended here. Every value
    has the same bits without a batch.
    """
    own = views[pair[0]]
    if workspace.spaces is None or workspace.spread is not None or isinstance(own, DataError) or not _wants_sums(plan):
        return
    for place in range(len(own)):
        batch = [] if (pair, place) in taken else _batch(pair, place, plan, views, done)
        taken.update((one, place) for one in batch)
        if len(batch) < 2:
            continue
        spaces = [(_view(views, a, place), _view(views, b, place)) for a, b in batch]
        for view in (view for both in spaces for view in both):
            workspace.register(view.embedding.x, view.content)
        with np.errstate(all="ignore"):  # numbers that are too large are said when their pair is measured
            take_together([(a.embedding.x, b.embedding.x) for a, b in spaces], workspace.spaces, workspace.device)


def _wants_sums(plan: Plan) -> bool:
    return any(
        name == "cka" and params["kernel"] == "linear" and params["estimator"] != "minibatch" for name, params in plan.tasks
    )


def _view(views: Mapping[str, list[View] | DataError], uri: str, place: int) -> View:
    usable = views[uri]
    assert not isinstance(usable, DataError)
    return usable[place]


def _batch(
    pair: Pair, place: int, plan: Plan, views: Mapping[str, list[View] | DataError], done: Callable[[str], bool]
) -> list[Pair]:
    """This pair and later ones of the same rows and dims that fit into memory together."""
    first = _view(views, pair[0], place)
    n, d = first.embedding.x.shape
    files: dict[str, bool] = {}  # whether a file is in the batch
    most, tile = SUMS // (8 * cross_size(d, d)), 8 * d * min(n, tile_rows(d))
    chosen: list[Pair] = []
    for one in plan.pairs[plan.pairs.index(pair) :]:
        for uri in one:
            if uri not in files:
                room = (sum(files.values()) + 1) * tile <= TILES
                files[uri] = room and d <= n and _alike(first, views[uri], place)
        if len(chosen) < most and all(files[uri] for uri in one) and not _finished(one, place, plan, views, done):
            chosen.append(one)
    return chosen if pair in chosen else []


def _alike(first: View, other: list[View] | DataError, place: int) -> bool:
    """Whether a file has the rows of the first in the same order, and as many dims."""
    if isinstance(other, DataError):
        return False
    a, b = first.embedding, other[place].embedding
    return a.x.shape == b.x.shape and (a.ids is b.ids or np.array_equal(a.ids, b.ids))


def _finished(
    pair: Pair, place: int, plan: Plan, views: Mapping[str, list[View] | DataError], done: Callable[[str], bool]
) -> bool:
    left, right = (_view(views, uri, place) for uri in pair)
    if not left.content:
        return False
    every = np.arange(left.embedding.n)
    digest = rows_key((every, every))
    keys = (
        record_key(left, right, digest, name, params, plan.seed, plan.outputs.intervals)
        for name, params in plan.tasks
        if name == "cka"
    )
    return all(done(key) for key in keys)

"""stitch --target retrieval and asif: queries of every file against the index of every other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.output import Record, progress, say
from relrep_cli.cli import options
from relrep_cli.cli.stitch_run import Spaces
from relrep_cli.embedding import Embedding, find_ids, in_id_order
from relrep_cli.numerics.blocks import take
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.shared_views import KEPT, Views
from relrep_cli.stitching.cross_retrieval import Sparse, retrieve
from relrep_cli.stitching.grid import Route
from relrep_cli.stitching.methods import Method, routes

TARGETS = ("retrieval", "asif")
COLUMNS = ("encoder", "index", "method", "anchors", "recall_1", "recall_10", "mrr", "retained", "low", "high", "n", "size")


def judge(target: str, found: Sequence[Method], recipe: Recipe | None, others: Mapping[str, Any]) -> list[Method]:
    """The methods that retrieval goes by. Raises UsageError for options that need heads, by their name in `others`."""
    if refused := next((name for name, value in others.items() if value), None):
        raise UsageError(f"{refused} is for heads, and --target {target} trains none.")
    if target == "asif":
        if recipe is None:
            raise UsageError("--target asif needs --anchors FILE.")
        return [Method("asif", replace(recipe, similarities={"cosine": {}}, aggregate=""))]
    if trained := next((m.label for m in found if m.trains), None):
        raise UsageError(f"{trained} is trained with a head, and retrieval trains none; leave its --aggregate out.")
    return list(found)


def records_of(spaces: Spaces, found: Sequence[Method], sparse: Sparse, seed: int) -> list[Record]:
    """Every method on every pair of spaces: the test items of the first, looked up among all items of the second."""
    es = [in_id_order(e) for e in spaces.es]
    views = [Views(e, KEPT // len(es), options.notes) for e in es]
    records: list[Record] = []
    with progress("retrieving") as advance:
        for done, m in enumerate(found):
            advance(done, len(found), m.label)
            xs = [v.e.x if m.recipe is None else v.of(m.recipe).e.x for v in views]
            xs = [sparse.of(x) for x in xs] if m.label == "asif" else xs
            number = len(spaces.recipe.anchor_ids) if spaces.recipe is not None and m.anchored else None
            route = routes([m], spaces.anchors)[0]
            records += [r | {"method": m.label, "anchors": number} | spaces.flags for r in _pairs(es, xs, route, seed)]
    return records


def _pairs(es: Sequence[Embedding], xs: Sequence[np.ndarray], route: Route, seed: int) -> Iterator[Record]:
    """One method on every pair; `none` looks up each space's items in itself, as re-embedding would."""
    for e, h in itertools.product(range(len(es)), repeat=2):
        if (e == h) != route.own:
            continue
        record: Record = {"encoder": es[e].uri, "index": es[h].uri}
        carry = None if route.carry is None or e == h else route.carry(e, h)
        if carry is None and xs[e].shape[1] != xs[h].shape[1]:
            say(f"{es[e].uri} and {es[h].uri}: {route.label} of unequal dims finds nothing: n/a.")
            yield record
            continue
        rows, own = _shared(es[e], es[h])
        queries = np.asarray(take(xs[e], rows))
        yield record | retrieve(queries if carry is None else carry(queries), own, xs[h], seed)


def _shared(a: Embedding, b: Embedding) -> tuple[np.ndarray, np.ndarray]:
    """The test rows of a that b has as well, and their rows in b. Raises DataError when there are none."""
    rows = a.rows_of_split("test")
    rows = np.zeros(0, np.int64) if rows is None else rows
    places = find_ids(b.ids, a.ids[rows])
    if not (places >= 0).any():
        raise DataError(f"{a.uri} and {b.uri}: no test item of the first is in the second; queries need something to find.")
    return rows[places >= 0], places[places >= 0]

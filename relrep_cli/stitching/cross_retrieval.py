"""Retrieval across spaces: queries of one encoder against the index of another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.output import Record, progress, say
from relrep_cli.embedding import Embedding, find_ids, in_id_order
from relrep_cli.neighbors import nearest, overlap, ranks, unit_rows
from relrep_cli.numerics.blocks import row_blocks, take
from relrep_cli.numerics.intervals import bootstrap_of_few, within
from relrep_cli.numerics.spool import spool
from relrep_cli.relative.projection import Basis
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.shared_views import KEPT, Views
from relrep_cli.stitching.grid import Route
from relrep_cli.stitching.methods import Method, routes
from relrep_cli.stitching.spaces import Spaces

K = 10
TARGETS = ("retrieval", "asif")
COLUMNS = ("encoder", "index", "method", "anchors", "recall_1", "recall_10", "mrr", "retained", "low", "high", "n", "size")


@dataclass(frozen=True)
class Sparse:
    """How relative rows become sparse (Norelli et al. 2023, sec. 2): the `kept` largest similarities of each row, raised to
    `power`; negative ones count 0."""

    kept: int
    power: float

    def of(self, x: np.ndarray) -> np.ndarray:
        """(n, m) rows of (n, m) similarities, of length 1."""
        out = spool(x.shape, np.float32)
        kept = min(self.kept, x.shape[1])
        for block in row_blocks(*x.shape, x, out):
            rows = np.asarray(x[block], np.float64).clip(0)
            least = np.partition(rows, -kept, axis=1)[:, -kept, None]
            out[block] = unit_rows(np.where(rows >= least, rows, 0) ** self.power)
        return out


def retrieve(queries: np.ndarray, own: np.ndarray, base: np.ndarray, seed: int) -> dict[str, Any]:
    """How well queries (q, d) find their items, the rows `own` (q,) of the index base (n, d), by cosine.

    recall_1, recall_10, mrr: of the query's own item among all n. retained: the share of the ten other items nearest to the
    item's own vector, which re-embedding the query would find, that the query finds among its ten nearest others; low and
    high: its 95 % interval. Raises UsageError for an index of fewer than 12 items.
    """
    index = take(base, np.concatenate([own, np.setdiff1d(np.arange(len(base)), own)]))  # query i is to find row i
    places = ranks(queries, index)
    found = nearest(queries, index, K, exclude_self=True)
    wanted = nearest(index, index, K, exclude_self=True, rows=np.arange(len(own)))
    kept = overlap(found.rows, wanted.rows) / K
    low, high = within(bootstrap_of_few(kept, np.random.default_rng(seed)), (0, 1))
    return {
        "recall_1": float((places == 1).mean()),
        "recall_10": float((places <= K).mean()),
        "mrr": float((1 / places).mean()),
        "retained": float(kept.mean()),
        "low": low,
        "high": high,
        "n": len(queries),
        "size": len(base),
    }


def retrieval_methods(target: str, found: Sequence[Method], recipe: Recipe | None) -> list[Method]:
    """The methods of one of TARGETS, out of those that were found. Raises UsageError for one that trains an aggregator."""
    if target == "asif":
        if recipe is None:
            raise UsageError("--target asif needs --anchors FILE", "Make one with relrep anchor.")
        return [Method("asif", replace(recipe, similarities={"cosine": {}}, aggregate=""))]
    if trained := next((m.label for m in found if m.trains), None):
        raise UsageError(f"{trained} is trained with a head, and retrieval trains none", "Leave its --aggregate out.")
    return list(found)


@dataclass(frozen=True, eq=False)
class RetrievalPlan:
    """Spaces, and the methods by which to look up the test items of each in every other.

    sparse: for the method asif. on_basis: gets each space and its basis.
    """

    spaces: Spaces
    methods: Sequence[Method]
    sparse: Sparse
    seed: int
    on_basis: Callable[[Embedding, Basis], None]
    columns = COLUMNS

    @property
    def failed(self) -> list[Record]:
        """Records of the files that cannot be used."""
        return self.spaces.failed

    def lines(self) -> list[str]:
        """What --dry-run prints, one line for each method."""
        count = len(self.spaces.es)
        return [f"look up the test items of {count} spaces in each other by {m.label}" for m in self.methods]

    def run(self) -> list[Record]:
        """Every method on every pair of spaces: the test items of the first, looked up among all items of the second."""
        spaces = self.spaces
        es = [in_id_order(e) for e in spaces.es]
        views = [Views(e, KEPT // len(es), self.on_basis) for e in es]
        records: list[Record] = []
        with progress("retrieving") as advance:
            for done, m in enumerate(self.methods):
                advance(done, len(self.methods), m.label)
                xs = self._coordinates(views, m)
                xs = [self.sparse.of(x) for x in xs] if m.label == "asif" else xs
                number = len(spaces.recipe.anchor_ids) if spaces.recipe is not None and m.anchored else None
                route = routes([m], spaces.anchors)[0]
                records += [r | {"method": m.label, "anchors": number} | spaces.flags for r in _pairs(es, xs, route, self.seed)]
        return records

    def _coordinates(self, views: Sequence[Views], m: Method) -> list[np.ndarray]:
        """The rows of every space as the method looks them up."""
        if m.universe:
            maps = self.spaces.universe(m.universe, m.params, heads=False).maps
            return [carry.narrow(v.e.x) for carry, v in zip(maps, views, strict=True)]
        return [v.e.x if m.recipe is None else v.of(m.recipe).e.x for v in views]


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
        raise DataError(
            "no test item of the first is in the second; queries need something to find",
            "Give files that share test items.",
            file=f"{a.uri} and {b.uri}",
        )
    return rows[places >= 0], places[places >= 0]

"""Retrieval across spaces: queries of one encoder against the index of another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, progress, say
from relrep_cli.embedding import Embedding, find_ids, in_id_order
from relrep_cli.neighbors import nearest, nearest_and_ranks, overlap, unit_rows
from relrep_cli.numerics.blocks import pick, row_blocks, take
from relrep_cli.numerics.intervals import bootstrap_of_few, of_share, within
from relrep_cli.numerics.spool import spool
from relrep_cli.relative.projection import Basis
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.shared_views import KEPT, Views
from relrep_cli.stitching.cycles import cycle_losses
from relrep_cli.stitching.grid import Route
from relrep_cli.stitching.methods import Method, routes
from relrep_cli.stitching.retrieval_summary import Hits, Losses, Summary
from relrep_cli.stitching.spaces import Spaces

K = 10
MAPS_KEPT = 2**25  # numbers of the maps between pairs that are kept for their cycles
TARGETS = ("retrieval", "asif")
SHARES = ("recall_1", "recall_10", "retained")
COLUMNS = (
    *("encoder", "index", "method", "anchors", "recall_1", "recall_10", "mrr", "retained"),
    *(f"{name}_{end}" for name in SHARES for end in ("low", "high")),
    *("cycle_loss", "cycle_worst", "n", "size"),
)


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


@dataclass(frozen=True, eq=False)
class Lookups:
    """places: (q,) the rank of each query's own item among all. kept: (q,) the share of the ten other items nearest to the
    item's own vector, which re-embedding the query would find, that the query finds among its ten nearest others."""

    places: np.ndarray
    kept: np.ndarray
    size: int

    def record(self, seed: int) -> Record:
        """The means, and the 95 % intervals of the shares over items: Wilson's for hits and misses, else by bootstrap."""
        rows = dict(zip(SHARES, (self.places == 1, self.places <= K, self.kept), strict=True))
        record: Record = {name: float(values.mean()) for name, values in rows.items()}
        record["mrr"] = float((1 / self.places).mean())
        for name, values in rows.items():
            one = of_share(record[name], len(values)) if values.dtype == bool else None
            low, high = one or within(bootstrap_of_few(values, np.random.default_rng(seed)), (0, 1))
            record |= {f"{name}_low": low, f"{name}_high": high}
        return record | {"n": len(self.places), "size": self.size}


@dataclass(frozen=True, eq=False)
class Index:
    """The rows of a space (n, d), of which query i is to find row i, and what re-embedding query i would find (q, K)."""

    base: np.ndarray
    wanted: np.ndarray

    def look_up(self, queries: np.ndarray) -> Lookups:
        """How well queries (q, d) find their items, by cosine."""
        near, places = nearest_and_ranks(queries, self.base, K)
        return Lookups(places, overlap(near, self.wanted) / K, len(self.base))


def index_of(base: np.ndarray, own: np.ndarray, wanted: np.ndarray | None = None) -> Index:
    """The index base (n, d), where the items of the queries are the rows `own` (q,). wanted: found before, see `Index`.

    Raises UsageError for an index of fewer than 12 items.
    """
    index = take(base, np.concatenate([own, np.setdiff1d(np.arange(len(base)), own)]))
    if wanted is None:
        wanted = nearest(index, index, K, exclude_self=True, rows=np.arange(len(own))).rows
    return Index(index, wanted)


class _Indexes:
    """The indexes of one run. What re-embedding finds where no method changes the index is searched once for all methods."""

    def __init__(self, es: Sequence[Embedding]) -> None:
        self.es = es
        self.wanted: dict[tuple[int, bytes], np.ndarray] = {}

    def of(self, place: int, base: np.ndarray, own: np.ndarray) -> Index:
        """See index_of. place: the number of the space."""
        if base is not self.es[place].x:
            return index_of(base, own)
        key = place, own.tobytes()
        index = index_of(base, own, self.wanted.get(key))
        self.wanted[key] = index.wanted
        return index


def retrieval_methods(target: str, chosen: Sequence[Method], recipe: Recipe | None) -> list[Method]:
    """The methods for one of TARGETS, out of those chosen. Raises UsageError for one that trains an aggregator."""
    if target == "asif":
        if recipe is None:
            raise UsageError("--target asif needs --anchors FILE", "Make one with relrep anchor.")
        return [Method("asif", replace(recipe, similarities={"cosine": {}}, aggregate=""))]
    if trained := next((m.label for m in chosen if m.trains), None):
        raise UsageError(f"{trained} is trained with a head, and retrieval trains no head", "Leave its --aggregate out.")
    return list(chosen)


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
        summary, indexes = Summary(es, self.seed), _Indexes(es)
        with progress("retrieving") as advance:
            for done, m in enumerate(self.methods):
                advance(done, len(self.methods), m.label)
                records += self._by(m, es, views, summary, indexes)
        for line in summary.lines():
            say(line)
        if len(es) == 2:
            say(f"to decide on a bridge: relrep translate {es[0].uri} --into {es[1].uri} --anchors FILE --report.")
        return records

    def _by(
        self, m: Method, es: Sequence[Embedding], views: Sequence[Views], summary: Summary, indexes: _Indexes
    ) -> Iterator[Record]:
        """The records of one method, whose hits the summary counts."""
        spaces = self.spaces
        xs = self._coordinates(views, m)
        xs = [self.sparse.of(x) for x in xs] if m.label == "asif" else xs
        flags: Record = {"method": m.label, "anchors": None, **spaces.flags}
        if spaces.recipe is not None and m.anchored:
            flags["anchors"] = len(spaces.recipe.anchor_ids)
        route = routes([m], spaces.anchors)[0]
        if route.carry is not None:  # each map is fitted once for lookups and cycles
            largest = max(e.d for e in es)
            route = replace(route, carry=lru_cache(max(1, MAPS_KEPT // largest**2))(route.carry))
        losses = self._cycle_losses(m, route, es)
        summary.cycles[m.label] = losses
        unequal = []
        for a, b, record, hits in sorted(_pairs(es, xs, route, indexes, self.seed), key=lambda pair: pair[:2]):
            if hits is None:
                unequal.append(f"{es[a].uri} and {es[b].uri}")
            else:
                summary.count(m.label, a, b, hits)
            if of_pair := losses.get((a, b)):
                record |= {"cycle_loss": float(np.mean(of_pair)), "cycle_worst": max(of_pair)}
            yield record | flags
        if unequal:
            more = f" and {len(unequal) - 1} other pairs" if unequal[1:] else ""
            say(f"{unequal[0]}{more}: {m.label} of unequal dims cannot be looked up: n/a.")

    def _cycle_losses(self, m: Method, route: Route, es: Sequence[Embedding]) -> Losses:
        """Translators lose something on a round trip; one common space loses nothing."""
        if route.carry is not None:
            rows = [pick(e.x, test) for e in es if (test := e.rows_of_split("test")) is not None]
            return cycle_losses(route.carry, rows, self.seed) if len(rows) == len(es) else {}
        if m.universe or m.recipe is not None:
            return {pair: [0.0] for pair in itertools.permutations(range(len(es)), 2)}
        return {}

    def _coordinates(self, views: Sequence[Views], m: Method) -> list[np.ndarray]:
        """The rows of every space as the method looks them up."""
        if m.universe:
            maps = self.spaces.universe(m.universe, m.params, heads=False).maps
            return [carry.narrow(v.e.x) for carry, v in zip(maps, views, strict=True)]
        return [v.e.x if m.recipe is None else v.of(m.recipe).e.x for v in views]


def _pairs(
    es: Sequence[Embedding], xs: Sequence[np.ndarray], route: Route, indexes: _Indexes, seed: int
) -> Iterator[tuple[int, int, Record, Hits | None]]:
    """One method on every pair, with its hits; `none` looks up each space's items in itself, as re-embedding would.

    All queries of an index follow each other, so that it is prepared once.
    """
    index, prepared, rows_of_index = None, -1, np.zeros(0, np.int64)
    for h, e in itertools.product(range(len(es)), repeat=2):
        if (e == h) != route.own:
            continue
        record: Record = {"encoder": es[e].uri, "index": es[h].uri}
        carry = None if route.carry is None or e == h else route.carry(e, h)
        if carry is None and xs[e].shape[1] != xs[h].shape[1]:
            yield e, h, record, None
            continue
        rows, own = _shared(es[e], es[h])
        if index is None or prepared != h or not np.array_equal(own, rows_of_index):
            index, prepared, rows_of_index = indexes.of(h, xs[h], own), h, own
        queries = np.asarray(take(xs[e], rows))
        lookups = index.look_up(queries if carry is None else carry(queries))
        yield e, h, record | lookups.record(seed), (es[e].ids[rows], lookups.places == 1)


def _shared(a: Embedding, b: Embedding) -> tuple[np.ndarray, np.ndarray]:
    """The test rows of a that b has as well, and their rows in b. Raises DataError when there are none."""
    rows = a.rows_of_split("test")
    rows = np.zeros(0, np.int64) if rows is None else rows
    places = find_ids(b.ids, a.ids[rows])
    if not (places >= 0).any():
        raise DataError(
            "no test item of the first is in the second, so there is nothing to look up",
            "Give files that share test items.",
            file=f"{a.uri} and {b.uri}",
        )
    return rows[places >= 0], places[places >= 0]

"""Whether to bridge an old index and a new model by a map: what each method finds again, and what more anchors would bring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.output import Record
from relrep_cli.embedding import Embedding
from relrep_cli.neighbors import nearest, ranks, unit_rows
from relrep_cli.numerics.blocks import pick
from relrep_cli.stitching.learning_curve import MORE, RESAMPLES, Curve, Map, Trial, by_anchors, curve
from relrep_cli.stitching.local_maps import LocalMaps
from relrep_cli.stitching.query_pairs import KEPT, query_pairs, query_records
from relrep_cli.stitching.shared_samples import Samples, samples
from relrep_cli.stitching.translation import Fitting
from relrep_cli.stitching.translation_quality import FOLDS, K, Scores, index_rows, quality, scores
from relrep_cli.stitching.universe import PENALTY, UNIVERSES, build

COLUMNS = ("part", "method", "at", "measure", "value", "low", "high", "n", "note")
SHRUNK = (8, 4, 2)  # sizes of the index below the measured one: so many times as small
RANKS = (5, 2, 1)  # ranks that stand for rank ten in larger indexes
CHOOSERS = 1000  # anchors that choose the method
FEWEST = 8  # anchors for a learning curve, and held-out items for a verdict
SHARES = (0.1, 0.5, 0.9)  # quantiles of the similarities at which thresholds are mapped
LOCAL = "local"
MEASURED, EXTRAPOLATED = "measured", "extrapolated"
WITH_ITEMS = "measured, held-out items as more"
Asked = tuple[Embedding, tuple[np.ndarray, np.ndarray]]
BRIDGE, REEMBED, MORE_ANCHORS, UNSURE = "bridge", "re-embed", "not enough anchors", "too few items to tell"


@dataclass(frozen=True, eq=False)
class Report:
    """records: of all parts. verdict: BRIDGE, REEMBED, MORE_ANCHORS or UNSURE. sentence: the same for the user, in one line."""

    records: list[Record]
    verdict: str
    sentence: str


@dataclass(frozen=True, eq=False)
class _Lookup:
    """Held-out items of the new model (q, d), which are the first rows of an index (n, d2), and that index as it was."""

    queries: np.ndarray
    index: np.ndarray
    before: np.ndarray

    def by(self, how: Fitting, x: np.ndarray, y: np.ndarray) -> _Lookup:
        """The same in one space, by maps that are fitted on anchors x to y.

        x: (m, dx) and y: (m, dy).
        """
        return self.moved(*_maps(how, x, y))

    def moved(self, for_queries: Map, for_index: Map) -> _Lookup:
        return _Lookup(for_queries(self.queries), for_index(self.index), self.before)

    @cached_property
    def scores(self) -> Scores:
        return scores(self.queries, np.arange(len(self.queries)), self.index, self.before)


def _maps(how: Fitting, x: np.ndarray, y: np.ndarray) -> tuple[Map, Map]:
    """The maps of new and of old vectors. A translator leaves the old ones; a universe maps both into a common space."""
    if how.method in UNIVERSES:
        new, old = build(how.method, [x, y], dict(how.params)).maps
        return new, old
    return how.fit(x, y), lambda z: z


def report(
    e: Embedding,
    target: Embedding,
    methods: Mapping[str, Mapping[str, Any]],
    how: Fitting,
    wanted: float,
    asked: Asked | None = None,
) -> Report:
    """The report for a new model e and the old index `target`.

    methods: the translators and universes to try, with their params. how: has the anchors and the seed. wanted: the recall at
    ten that a bridge must have; with queries, as a share of that of re-embedding. asked: queries of the new model, and ids of
    queries and of documents that are relevant to them. The method is chosen by cross-validation over the anchors alone; all
    values are those of held-out items.

    Raises DataError when fewer than eight shared items are left to measure on, or fewer than eight can be fitted on, or the
    queries cannot be used.
    """
    rows = samples([e, target], how.recipe, how.rows, how.seed)
    if len(rows.held[0]) < FEWEST or len(rows.vectors[0]) < FEWEST:
        raise DataError(
            f"share {len(rows.vectors[0])} items to fit on and {len(rows.held[0])} others; a report needs {FEWEST} of each",
            "Give files that share more items, or name fewer anchors.",
            file=f"{e.uri} and {target.uri}",
        )
    index = pick(target.x, index_rows(target, rows.held[1], how.seed))
    lookup = _Lookup(pick(e.x, rows.held[0]), index, index)
    pairs = asked and query_pairs(*asked, e, target, rows.ids, how.seed)
    tried = {name: replace(how, method=name, params=params) for name, params in methods.items()}
    maps = {name: _maps(one, *_pair(rows)) for name, one in tried.items()}
    if len(maps) > 1 and LOCAL in maps and not isinstance(maps[LOCAL][0], LocalMaps):
        del maps[LOCAL], tried[LOCAL]  # one region, which is the map of orthogonal
    moved = {name: lookup.moved(*one) for name, one in maps.items()}
    records = [r for name, one in moved.items() for r in _method_records(tried[name], one)]
    best = tried[_chosen(tried, rows)]
    records += _index_records(moved[best.method], best)
    more, reached, needed = _learning_curve(best, rows, lookup, wanted)
    records += [*more, *_thresholds(moved[best.method], best)]
    decides = "method", best.method, "recall_10"
    if pairs:
        records += query_records(pairs, {name: (new(pairs.x), old(pairs.old)) for name, (new, old) in maps.items()}, how.seed)
        decides = "queries", best.method, KEPT
    now = next(r for r in records if (r["part"], r["method"], r["measure"]) == decides)
    verdict = _verdict(now, wanted, reached)
    records.append({**now, "part": "verdict", "note": verdict})
    return Report(records, verdict, _sentence(verdict, best, now, len(rows.vectors[0]), needed, wanted))


def _pair(rows: Samples) -> tuple[np.ndarray, np.ndarray]:
    return rows.vectors[0], rows.vectors[1]


def _verdict(now: Record, wanted: float, reached: bool) -> str:
    """reached: whether more anchors would bring the wanted recall, of items; for queries that is not known."""
    if now["measure"] == KEPT and now["high"] < wanted:
        return REEMBED
    if now["value"] >= wanted or now["measure"] == KEPT:
        return BRIDGE if now["low"] >= wanted else UNSURE
    return MORE_ANCHORS if reached else REEMBED


def _sentence(verdict: str, best: Fitting, now: Record, count: int, needed: int, wanted: float) -> str:
    share = " of that of re-embedding" if now["measure"] == KEPT else ""
    sentence = f"recall@10 {now['value']:.3f} ({now['low']:.3f} to {now['high']:.3f}){share} in an index of {now['at']}"
    sentence += f", by {best.method}"
    if verdict == BRIDGE:
        more = ", and translate the index, too" if best.method in UNIVERSES else ""
        return f"bridge with {best.method}{more}: {sentence}, and {wanted:g} is wanted."
    if verdict == UNSURE:
        return f"too few items to tell: {sentence}, and the lower end must reach {wanted:g}; {now['n']} items were looked up."
    if verdict == MORE_ANCHORS:
        return f"not enough anchors: {sentence}; {count} were used, and about {needed} would reach {wanted:g}."
    if now["measure"] == KEPT:
        return f"re-embed: {sentence}, and {wanted:g} is wanted; how much more anchors would help queries is not known."
    return f"re-embed: {sentence}; not even {MORE[-1]} times the {count} anchors would reach {wanted:g}."


def _chosen(tried: Mapping[str, Fitting], rows: Samples) -> str:
    """The method by which left-out anchors find themselves best among all anchors."""
    scores = {name: _left_out(one, *_pair(rows)) for name, one in tried.items()}
    return max(scores, key=lambda name: scores[name])


def _left_out(how: Fitting, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The recall of anchors that took no part in the fit, and their cosine, which decides between equal recalls."""
    recalls = []
    for part in np.array_split(np.random.default_rng(how.seed).permutation(len(x))[:CHOOSERS], FOLDS):
        rest = np.setdiff1d(np.arange(len(x)), part)
        new, old = _maps(how, x[rest], y[rest])
        recalls.append(scores(new(x[part]), part, old(y)))
    recall = np.mean([one["recall_1"].mean() + one["recall_10"].mean() for one in recalls])
    return float(recall), float(np.mean([one["cosine"].mean() for one in recalls]))


def _method_records(how: Fitting, moved: _Lookup) -> Iterator[Record]:
    note = "measured, index translated" if how.method in UNIVERSES else MEASURED
    flags: Record = {"part": "method", "method": how.method, "at": len(moved.index), "note": note}
    return quality(moved.scores, how.seed, flags)


def _index_records(moved: _Lookup, how: Fitting) -> Iterator[Record]:
    """Recall at other sizes of the index: for smaller ones the mean over all subsets, for larger ones estimated from ranks.

    An item with a share f of the rows ahead of it is within rank j of n rows, on average over Poisson's distribution and over
    shares that are as probable at every scale, where log(n f) is below the harmonic sum 1 + 1/2 + … + 1/(j - 1), up to a
    constant. So it is within rank ten of as many times more rows as the exponential of the sums' difference says.
    """
    n, places = len(moved.index), ranks(moved.queries, moved.index)
    hits = {n // part: (_hits_in_subsets(places, n, n // part), "sub-sampled") for part in SHRUNK if n // part > K}
    hits[n] = places <= K, MEASURED
    hits |= {round(n * larger(rank)): (places <= rank, "estimated from ranks") for rank in RANKS}
    for size, (hit, note) in hits.items():
        value = curve([size], [hit], how.seed).at(size)
        yield _point("index", how, size, value, len(places), note)


def larger(rank: int) -> float:
    """The factor by which the index can grow until an item of this rank is about the tenth."""
    return float(np.exp(sum(1 / j for j in range(rank, K))))


def _hits_in_subsets(places: np.ndarray, n: int, size: int) -> np.ndarray:
    """(q,) the probability that an item at `places` of n rows is within rank ten of `size` of them, itself among these.

    The number of rows ahead that are drawn has a hypergeometric distribution.
    """
    others, drawn, ahead = n - 1, size - 1, places - 1
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])  # logarithms of factorials
    total = np.zeros(len(places))
    for j in range(min(K, drawn + 1)):
        possible = (ahead >= j) & (others - ahead >= drawn - j)
        a, b = np.where(possible, ahead, j), np.where(possible, others - ahead, drawn - j)
        chosen = log[a] - log[j] - log[a - j] + log[b] - log[drawn - j] - log[b - drawn + j]
        total += np.where(possible, np.exp(chosen - log[others] + log[drawn] + log[others - drawn]), 0)
    return total.clip(0, 1)


def _learning_curve(how: Fitting, rows: Samples, lookup: _Lookup, wanted: float) -> tuple[list[Record], bool, int]:
    """The recall with fewer and with more anchors; whether MORE anchors reach the wanted one, and how many are needed."""
    x, y = _pair(rows)
    settled = how
    if how.method in UNIVERSES:
        penalty = build(how.method, [x, y], dict(how.params)).penalty
        settled = replace(how, params={**how.params, PENALTY: penalty} if penalty else how.params)
    trial = Trial(x, y, lookup.queries, lookup.index, K)
    fitted, own = by_anchors(trial, lambda x, y: _maps(how, x, y), lambda x, y: _maps(settled, x, y), how.seed)
    notes = {count: MEASURED if n < own else WITH_ITEMS for n, count in enumerate(fitted.places)}
    notes |= {len(x) * times: EXTRAPOLATED for times in MORE if len(x) * times not in notes}
    records = [_point("anchors", how, count, fitted.at(count), fitted.items, notes[count]) for count in sorted(notes)]
    reached = records[-1]["value"] >= wanted
    return records, reached, _needed(fitted, len(x), wanted) if reached else 0


def _needed(fitted: Curve, count: int, wanted: float) -> int:
    """The number of anchors, to two digits, at which the lower end of the interval reaches the wanted recall."""
    for more in np.geomspace(1, MORE[-1], 61)[1:]:
        if fitted.at(round(count * more))[1] >= wanted:
            step = 10 ** max(0, len(str(round(count * more))) - 2)
            return int(-(-round(count * more) // step) * step)
    return count * MORE[-1]


def _point(part: str, how: Fitting, at: float, value: tuple[float, float, float], n: int, note: str) -> Record:
    value_, low, high = value
    return {
        "part": part, "method": how.method, "at": at, "measure": "recall_10", "value": value_, "low": low, "high": high, "n": n,
        "note": note,
    }  # fmt: skip


def _thresholds(moved: _Lookup, how: Fitting) -> Iterator[Record]:
    """For some thresholds on the cosine of old vectors, the one on translated queries that lets as many results through."""
    k, q = min(K, len(moved.index) - 2), len(moved.queries)
    old = _similarities(moved.before[:q], moved.before, k)
    new = _similarities(moved.queries, moved.index, k)
    rng = np.random.default_rng(how.seed)
    draws = [rng.integers(0, q, q) for _ in range(RESAMPLES // 4)]
    for share in SHARES:
        value = float(np.quantile(new, share))
        spread = [float(np.quantile(new[rows], share)) for rows in draws]
        low, high = np.quantile(spread, [0.025, 0.975])
        at = float(np.quantile(old, share))
        yield {**_point("threshold", how, at, (value, float(low), float(high)), q, "old cosine at"), "measure": "cosine"}


def _similarities(queries: np.ndarray, index: np.ndarray, k: int) -> np.ndarray:
    """(q, k) the cosines of the nearest others; row i of the index is the item of query i."""
    near = nearest(queries, index, k, exclude_self=True).rows
    unit_queries, unit_index = unit_rows(queries), unit_rows(index)
    return np.einsum("ij,ikj->ik", unit_queries, unit_index[near])

"""Whether to bridge an old index and a new model by a map: what each method finds again, and what more anchors would bring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record
from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.neighbors import nearest, ranks, unit_rows
from relrep_cli.numerics.blocks import pick
from relrep_cli.numerics.intervals import student, within
from relrep_cli.stitching.bridge_verdicts import BRIDGE, sentence_of, verdict_of
from relrep_cli.stitching.index_sizes import recalls_by_size
from relrep_cli.stitching.learning_curve import MORE, Curve, Map, Trial, by_anchors
from relrep_cli.stitching.local_maps import LocalMaps
from relrep_cli.stitching.query_pairs import KEPT, query_pairs, query_records
from relrep_cli.stitching.shared_samples import Samples, samples
from relrep_cli.stitching.translation import Fitting
from relrep_cli.stitching.translation_quality import K, Scores, index_rows, quality, scores
from relrep_cli.stitching.universe import PENALTY, UNIVERSES, build

COLUMNS = ("part", "method", "at", "measure", "value", "low", "high", "n", "note")
CHOOSERS, LEFT_OUT = 1000, 20  # anchors that choose the method, in so many parts
FEWEST = 8  # anchors for a learning curve, and held-out items for a verdict
SHARES = (0.1, 0.5, 0.9)  # quantiles of the similarities at which thresholds are mapped
LOCAL = "local"
MEASURED, EXTRAPOLATED = "measured", "extrapolated"
AT_CEILING = "not extrapolated: every item is found already"
ANCHORS_LEFT_OUT = "anchors, a twentieth left out at a time"
# Another draw of anchors changes the map, too, which intervals over items do not know: recalls vary as much by it as by items,
# and cosines, which differ less between items, twice as much. Coverage: benchmarks/migration_coverage.py.
WIDER = {"recall_1": 2**0.5, "recall_10": 2**0.5, "retained": 2**0.5, "cosine": 3**0.5}
WITH_ITEMS = "measured, held-out items as more"
Asked = tuple[Embedding, tuple[np.ndarray, np.ndarray]]


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
    cosines: Sequence[float] = (),
) -> Report:
    """The report for a new model e and the old index `target`.

    methods: the translators and universes to try, with their params. how: has the anchors and the seed. wanted: the recall at
    ten that a bridge must have; with queries, as a share of that of re-embedding. asked: queries of the new model, and ids of
    queries and of documents that are relevant to them. cosines: thresholds on old vectors to map, besides the usual ones. The
    method is chosen by cross-validation over the anchors alone; all values are those of held-out items.

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
    numbers = index_rows(target, rows.held[1], how.seed, how.searched)
    index = pick(target.x, numbers)
    lookup = _Lookup(pick(e.x, rows.held[0]), index, index)
    pairs = asked and query_pairs(*asked, e, target, rows.ids, how.seed, how.searched)
    tried = {name: replace(how, method=name, params=params) for name, params in methods.items()}
    maps = {name: _maps(one, *_pair(rows)) for name, one in tried.items()}
    if len(maps) > 1 and LOCAL in maps and not isinstance(maps[LOCAL][0], LocalMaps):
        del maps[LOCAL], tried[LOCAL]  # one region, which is the map of orthogonal
    moved = {name: lookup.moved(*one) for name, one in maps.items()}
    records = [r for name, one in moved.items() for r in _scores_records("method", tried[name], one.scores, len(index))]
    others = _others(target, numbers, rows.ids)
    left_out = {name: _left_out(one, *_pair(rows), others) for name, one in tried.items()}
    size = len(rows.ids) + len(others)
    records += [r for name, scored in left_out.items() for r in _scores_records("left out", tried[name], scored, size)]
    best = tried[max(left_out, key=lambda name: _merit(left_out[name]))]  # the first of those that are equal
    records += _index_records(moved[best.method], best)
    more, reached, needed = _learning_curve(best, rows, lookup, wanted)
    records += [*more, *_thresholds(moved[best.method], best, cosines)]
    decides = "method", best.method, "recall_10"
    if pairs:
        records += query_records(pairs, {name: (new(pairs.x), old(pairs.old)) for name, (new, old) in maps.items()}, how.seed)
        decides = "queries", best.method, KEPT
    now = next(r for r in records if (r["part"], r["method"], r["measure"]) == decides)
    verdict = verdict_of(now, wanted, reached)
    translated = ", index translated" if verdict == BRIDGE and best.method in UNIVERSES else ""
    records.append({**now, "part": "verdict", "note": verdict + translated})
    retained = float(kept.mean()) if (kept := moved[best.method].scores.get("retained")) is not None else None
    chosen = " (chosen by items, not by queries)" if pairs and len(tried) > 1 else ""
    return Report(records, verdict, sentence_of(verdict, best, now, len(rows.vectors[0]), needed, wanted, retained, chosen))


def _pair(rows: Samples) -> tuple[np.ndarray, np.ndarray]:
    return rows.vectors[0], rows.vectors[1]


def _others(target: Embedding, index: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """The rows of an index (numbers of rows) that are no anchors."""
    anchors = find_ids(target.ids, fitted)
    return pick(target.x, np.setdiff1d(index, anchors))


def _left_out(how: Fitting, x: np.ndarray, y: np.ndarray, others: np.ndarray) -> Scores:
    """The scores of anchors by maps of the other anchors, looked up among all anchors and the other rows of the index."""
    how, index = _settled(how, x, y), np.concatenate([y, others])
    recalls = []
    order = np.random.default_rng(how.seed).permutation(len(x))[:CHOOSERS]
    for part in np.array_split(order, min(LEFT_OUT, len(order))):
        rest = np.setdiff1d(np.arange(len(x)), part)
        new, old = _maps(how, x[rest], y[rest])
        recalls.append(scores(new(x[part]), part, old(index), index))
    return {name: np.concatenate([one[name] for one in recalls]) for name in recalls[0]}


def _merit(scored: Scores) -> tuple[float, float]:
    """The recalls; between equal ones decide the old results that are retained. An index of a few rows has none of these."""
    return float(scored["recall_1"].mean() + scored["recall_10"].mean()), float(scored.get("retained", np.zeros(1)).mean())


def _settled(how: Fitting, x: np.ndarray, y: np.ndarray) -> Fitting:
    """The same with the penalty that all anchors chose."""
    if how.method not in UNIVERSES:
        return how
    penalty = build(how.method, [x, y], dict(how.params)).penalty
    return replace(how, params={**how.params, PENALTY: penalty}) if penalty else how


def _scores_records(part: str, how: Fitting, scored: Scores, size: int) -> Iterator[Record]:
    note = MEASURED if part == "method" else ANCHORS_LEFT_OUT
    if how.method in UNIVERSES:
        note += ", index translated"
    for r in quality(scored, how.seed, {"part": part, "method": how.method, "at": size, "note": note}):
        low, high = r["low"], r["high"]
        if part != "method":
            low, high = (r["value"] + WIDER[r["measure"]] * (end - r["value"]) for end in (low, high))
        yield r | dict(zip(("low", "high"), within((low, high), (-1 if r["measure"] == "cosine" else 0, 1)), strict=True))


def _index_records(moved: _Lookup, how: Fitting) -> Iterator[Record]:
    for size, value, note in recalls_by_size(ranks(moved.queries, moved.index), len(moved.index)):
        yield _point("index", how, size, value, len(moved.queries), note)


def _learning_curve(how: Fitting, rows: Samples, lookup: _Lookup, wanted: float) -> tuple[list[Record], bool, int]:
    """The recall with fewer and with more anchors; whether MORE anchors reach the wanted one, and how many are needed."""
    x, y = _pair(rows)
    settled = _settled(how, x, y)
    trial = Trial(x, y, lookup.queries, lookup.index, K)
    fitted, own = by_anchors(trial, lambda x, y: _maps(how, x, y), lambda x, y: _maps(settled, x, y), how.seed)
    notes = {count: MEASURED if n < own else WITH_ITEMS for n, count in enumerate(fitted.places)}
    beyond = AT_CEILING if fitted.recalls[-1] == 1 else EXTRAPOLATED
    notes |= {len(x) * times: beyond for times in MORE if len(x) * times not in notes}
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


def _thresholds(moved: _Lookup, how: Fitting, cosines: Sequence[float]) -> Iterator[Record]:
    """For some thresholds on the cosine of old vectors, the one on translated queries that lets as many results through.

    cosines: further ones; a note stands in place of a value for one that no result, or every result, passes.
    """
    k, q = min(K, len(moved.index) - 2), len(moved.queries)
    _, old = _similarities(moved.before[:q], moved.before, k)
    near, similarities = _similarities(moved.queries, moved.index, min(k + 1, len(moved.index) - 1))
    new, last = similarities[:, :k], similarities[:, -1:]
    asked = [(float(np.quantile(old, share)), share) for share in SHARES] + [(c, float((old <= c).mean())) for c in cosines]
    for at, share in sorted(asked):
        if not 0 < share < 1:
            passing = "no" if share else "every"
            nothing: Any = (None, None, None)
            yield {**_point("threshold", how, at, nothing, q, f"{passing} old result passes this"), "measure": "cosine"}
            continue
        value = float(np.quantile(new, share))
        below = (new <= value).mean(1)  # Woodruff 1952: ends for the share of results below, then the results there
        shared = _variance_of_shared_rows(near[:, :k], (new > value) & (last <= value), len(moved.index))
        reach = student(q - 1) * np.sqrt(float(below.var(ddof=1)) / q + shared)
        low, high = (float(np.quantile(new, end)) for end in (max(share - reach, 0), min(share + reach, 1)))
        yield {**_point("threshold", how, at, (value, low, high), q, "for this old cosine"), "measure": "cosine"}


def _variance_of_shared_rows(near: np.ndarray, lost: np.ndarray, n: int) -> float:
    """What rows of the index that several queries find add to the variance of a share of all results, beyond that of queries.

    near: (q, k) the rows, of n, that each query finds. lost: (q, k) whether a result that counts would be replaced by one that
    does not, if its row were not in the index.

    It is the jackknife variance over rows, less that of each query by itself, which the variance between queries holds already.
    At least 0.
    """
    of_rows, of_queries = np.bincount(near.ravel(), lost.ravel()), lost.sum(1)
    together = np.square(of_rows).sum() - of_rows.sum() ** 2 / n
    apart = of_queries.sum() - np.square(of_queries).sum() / n
    return max(0.0, float(together - apart)) / near.size**2


def _similarities(queries: np.ndarray, index: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(q, k) the rows of the nearest others, and their cosines; row i of the index is the item of query i."""
    near = nearest(queries, index, k, exclude_self=True).rows
    unit_queries, unit_index = unit_rows(queries), unit_rows(index)
    return near, np.einsum("ij,ikj->ik", unit_queries, unit_index[near])

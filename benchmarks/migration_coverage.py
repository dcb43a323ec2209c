"""How often the 95 % intervals of the report of a migration hold the truth.

    python benchmarks/migration_coverage.py [METHOD ...] [NOISE ...] [--smoke]

200 draws of 200 held-out items and of an index, from a pool, by the same anchors. The truth of
what is measured is the mean of all draws; in larger indexes and with more anchors it is what the whole pool gives there.
Three noises, 0.4, 0.65 and 0.9: recalls that are near 1, middling and low. Prints the share of draws whose interval holds the
truth.
"""

from __future__ import annotations

import sys
from typing import Any

from common import size  # isort: split

import numpy as np
from migration import METHODS, WANTED, Pair

from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.neighbors import ranks
from relrep_cli.relative.recipes import Recipe
from relrep_cli.stitching.index_sizes import hits_in_subsets
from relrep_cli.stitching.migration import _left_out, _Lookup, _scores_records, report
from relrep_cli.stitching.translation import Fitting

DRAWS, HELD, INDEX, POOL = size(200, 2), size(200, 40), size(1000, 200), size(18_000, 600)
ANCHORS, QUERIES, REFITS = size(60, 20), size(2000, 100), size(60, 2)
DEFAULT = ("orthogonal", "ridge", "universe")
Key = tuple[str, str, object]
Records = dict[Key, dict[str, Any]]


class Setting:
    """A pair of spaces with its anchors, and one method."""

    def __init__(self, noise: float, method: str) -> None:
        self.x, self.y = Pair("", "", ANCHORS, factors=24, noise=noise).spaces(POOL, 0)
        self.how = Fitting(method, METHODS[method], Recipe(row_numbers(POOL)[:ANCHORS]))
        self.anchors, self.pool = np.arange(ANCHORS), np.arange(ANCHORS, POOL)

    def draw(self, seed: int) -> Records:
        """The records of one draw of held-out items and of other rows of the index."""
        drawn = np.random.default_rng(seed).choice(self.pool, INDEX - ANCHORS, replace=False)
        ids, new, old = row_numbers(POOL), np.r_[self.anchors, np.sort(drawn[:HELD])], np.r_[self.anchors, np.sort(drawn)]
        e = Embedding(self.x[new], ids[new], space="new", uri="new")
        target = Embedding(self.y[old], ids[old], space="old", uri="old")
        return keyed(report(e, target, {self.how.method: self.how.params}, self.how, WANTED).records)

    def truth(self, key: Key, r: dict[str, Any], measured: float) -> float:
        if r["part"] == "index" and r["at"] > INDEX:
            return self.in_larger_index(r["at"])
        if r["part"] == "anchors" and r["at"] > ANCHORS:
            return self.by_more_anchors(r["at"])
        return measured

    def in_larger_index(self, count: int) -> float:
        moved = self.lookup(self.pool[:QUERIES], np.arange(POOL)).by(self.how, self.x[:ANCHORS], self.y[:ANCHORS])
        return float(hits_in_subsets(ranks(moved.queries, moved.index), POOL, min(count, POOL)).mean())

    def by_more_anchors(self, count: int) -> float:
        """The mean over several draws of the anchors that are added."""
        rng, rates = np.random.default_rng(1), []
        for _ in range(REFITS):
            order = rng.permutation(self.pool)
            rows = np.r_[:ANCHORS, order[: count - ANCHORS]]
            moved = self.lookup(order[-HELD:], order[-5 * (INDEX - ANCHORS) :]).by(self.how, self.x[rows], self.y[rows])
            size = len(moved.index)
            rates.append(hits_in_subsets(ranks(moved.queries, moved.index), size, INDEX).mean())
        return float(np.mean(rates))

    def lookup(self, queries: np.ndarray, index: np.ndarray) -> _Lookup:
        index = np.r_[queries, np.setdiff1d(index, queries)]
        return _Lookup(self.x[queries], self.y[index], self.y[index])


def keyed(records: list[dict[str, Any]]) -> Records:
    """Records by part, measure and place; thresholds by their number, since each draw has thresholds of its own."""
    by_place: Records = {}
    for r in records:
        place = sum(part == r["part"] for part, _, _ in by_place) if r["part"] == "threshold" else r["at"]
        by_place[r["part"], r["measure"], place] = r
    return by_place


def covered(noise: float, method: str) -> None:
    setting = Setting(noise, method)
    drawn = [setting.draw(seed) for seed in range(DRAWS)]
    for key, first in drawn[0].items():
        rows = [r for one in drawn if (r := one.get(key))]
        value, low, high = (np.array([r[name] for r in rows]) for name in ("value", "low", "high"))
        truth = setting.truth(key, first, float(value.mean()))
        share = np.mean((low <= truth) & (truth <= high))
        row = noise, method, key[0], f"{first['at']:.4g}", key[1], f"{share:.3f}", f"{np.mean(truth < low):.3f}"
        more = (
            f"{np.mean(truth > high):.3f}",
            f"{truth:.4f}",
            f"{value.mean():.4f}",
            f"{(high - low).mean():.4f}",
            first["note"],
        )
        print(*row, *more, sep="\t", flush=True)


def covered_left_out(noise: float, method: str) -> None:
    """Draws of the anchors; the truth is the recall of other items by the map of these anchors, in the same index."""
    setting, draws = Setting(noise, method), []
    for seed in range(DRAWS):
        drawn = np.random.default_rng(seed).permutation(POOL)
        anchors, others, queries = np.split(drawn[: INDEX + QUERIES // 4], [ANCHORS, INDEX])
        left = _left_out(setting.how, setting.x[anchors], setting.y[anchors], setting.y[others])
        true: dict[str, list[float]] = {}
        for part in np.array_split(queries, size(10, 2)):
            lookup = setting.lookup(part, np.r_[drawn[:INDEX]])
            moved = lookup.by(setting.how, setting.x[anchors], setting.y[anchors])
            for name, values in moved.scores.items():
                true.setdefault(name, []).append(float(values.mean()))
        draws.append((true, {r["measure"]: r for r in _scores_records("left out", setting.how, left, INDEX)}))
    for name in draws[0][1]:
        truth = np.array([np.mean(true[name]) for true, _ in draws])
        value, low, high = (np.array([r[name][end] for _, r in draws]) for end in ("value", "low", "high"))
        share = np.mean((low <= truth) & (truth <= high))
        row = noise, method, "left out", INDEX, name, f"{share:.3f}", f"{np.mean(truth < low):.3f}"
        more = f"{np.mean(truth > high):.3f}", f"{truth.mean():.4f}", f"{value.mean():.4f}", f"{(high - low).mean():.4f}"
        print(*row, *more, "anchors drawn, too", sep="\t", flush=True)


if __name__ == "__main__":
    columns = "noise", "method", "part", "at", "measure", "covered", "truth below", "above", "truth", "mean", "width", "note"
    print(*columns, sep="\t")
    noises = [float(word) for word in sys.argv[1:] if word not in METHODS] or (0.4, 0.65, 0.9)
    for wanted in [word for word in sys.argv[1:] if word in METHODS] or DEFAULT[: size(3, 1)]:
        for noise in noises:
            covered(noise, wanted)
            covered_left_out(noise, wanted)

"""Curves of a recall over a number: the recall with fewer and with more anchors, with intervals over items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from relrep_cli.neighbors import ranks

RESAMPLES = 400
EDGE = 0.5  # of one item: how far from 0 and 1 a share is kept, so that its logit is finite
RECENT = 4.5  # beyond the last place, a line goes on through the places from the last one over this number
FEWER, MORE = (4, 2, 1), (2, 4, 8)  # parts of the anchors, and multiples of them
USEFUL = 1.2  # times as many anchors are worth a point of their own
Map = Callable[[np.ndarray], np.ndarray]
Maps = Callable[[np.ndarray, np.ndarray], tuple[Map, Map]]  # anchors x, y -> the maps of queries and of the index


@dataclass(frozen=True, eq=False)
class Curve:
    """places: (k,) growing numbers. means: (1 + RESAMPLES, k) the recall at each, and that of resampled items. items: how
    many there are."""

    places: Sequence[int]
    means: np.ndarray
    items: int

    def at(self, place: float) -> tuple[float, float, float]:
        """The recall at a place, with its 95 % interval.

        Between two places, logits are interpolated over the logarithm of the number; beyond the last one they go on along a
        line through the last places.
        """
        if place in self.places:
            found = self.means[:, list(self.places).index(int(place))]
        else:
            bounded = self.means.clip(EDGE / self.items, 1 - EDGE / self.items)
            logits, over = np.log(bounded / (1 - bounded)), np.log(self.places)
            slope, level = (
                np.polyfit(over[near], logits[:, near].T, 1) if len(near := self._near(place)) > 1 else (0, logits.T[0])
            )
            found = 1 / (1 + np.exp(-(slope * np.log(place) + level)))
        low, high = np.quantile(found[1:], [0.025, 0.975])
        return float(found[0]), float(min(low, found[0])), float(max(high, found[0]))

    def _near(self, place: float) -> np.ndarray:
        """The places that a line is drawn through."""
        places = np.asarray(self.places)
        if place < places[-1]:
            after = int(np.searchsorted(places, place))
            return np.arange(max(after - 1, 0), after + 1) if after else np.arange(min(2, len(places)))
        recent = np.flatnonzero(places * RECENT >= places[-1])
        return np.arange(max(len(places) - max(len(recent), 2), 0), len(places))


def curve(places: Sequence[int], hits: Sequence[np.ndarray], seed: int) -> Curve:
    """The curve of hits (q,) at each place."""
    table = np.array(hits, np.float64)
    rng, q = np.random.default_rng(seed), table.shape[1]
    drawn = np.array([table[:, rng.integers(0, q, q)].mean(1) for _ in range(RESAMPLES)])
    return Curve(places, np.concatenate([table.mean(1)[None], drawn]), q)


@dataclass(frozen=True, eq=False)
class Trial:
    """What a curve over numbers of anchors is measured on.

    x, y: (m, d) the anchors in the new and the old space. queries: (q, d) the held-out items in the new space, which are the
    first rows of the index (n, d2). k: how many results count.
    """

    x: np.ndarray
    y: np.ndarray
    queries: np.ndarray
    index: np.ndarray
    k: int

    def hits(self, maps: Maps, x: np.ndarray, y: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(i,) whether some items are found by maps fitted on x and y."""
        new, old = maps(x, y)
        rest = np.setdiff1d(np.arange(len(self.index)), items)
        index = old(self.index[np.concatenate([items, rest])])
        return np.asarray(ranks(new(self.queries[items]), index) <= self.k, np.float64)


def by_anchors(trial: Trial, maps: Maps, settled: Maps, seed: int) -> tuple[Curve, int]:
    """The recall by parts of the anchors and by more of them, as far as held-out items can serve as more; and how many of the
    first places are fitted on anchors alone.

    settled: fits as `maps` does, with what all anchors chose already. Each half of the held-out items is looked up by a map
    that was fitted on the anchors and items of the other half.
    """
    m, q = len(trial.x), len(trial.queries)
    rng = np.random.default_rng(seed)
    order, halves = rng.permutation(m), np.array_split(rng.permutation(q), 2)
    everything = np.arange(q)
    places = [m // part for part in FEWER if m // part >= 2]
    hits = [trial.hits(maps, trial.x[order[:count]], trial.y[order[:count]], everything) for count in places]
    own, spare = len(places), min(map(len, halves))
    more = [m * times for times in MORE if m * (times - 1) <= spare]
    if m * MORE[-1] > m + spare >= USEFUL * (more[-1] if more else m):
        more.append(m + spare)
    for count in more:
        found = np.zeros(q)
        for half, other in (halves, halves[::-1]):
            added = other[: count - m]
            x = np.concatenate([trial.x, trial.queries[added]])
            y = np.concatenate([trial.y, trial.index[added]])
            found[half] = trial.hits(settled, x, y, half)
        hits.append(found)
    return curve([*places, *more], hits, seed), own

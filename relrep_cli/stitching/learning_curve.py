"""Curves of a recall over a number: the recall with fewer and with more anchors, with intervals over items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from relrep_cli.neighbors import ranks
from relrep_cli.numerics.intervals import of_share

RESAMPLES = 400
PRIOR = 0.5  # of a hit and of a miss that are added to every draw, as Jeffreys does: a share without a miss may be chance
RECENT = 2  # beyond the last place, a line goes on through the places from the last one over this number
FEWER, MORE = (4, 2, 1), (2, 4, 8)  # parts of the anchors, and multiples of them
USEFUL = 1.2  # times as many anchors are worth a point of their own
Map = Callable[[np.ndarray], np.ndarray]
Maps = Callable[[np.ndarray, np.ndarray], tuple[Map, Map]]  # anchors x, y -> the maps of queries and of the index


@dataclass(frozen=True, eq=False)
class Curve:
    """places: (k,) growing numbers. recalls: (k,) at each. draws: (RESAMPLES, k) of them, strictly between 0 and 1. items: how
    many were looked up."""

    places: Sequence[int]
    recalls: np.ndarray
    draws: np.ndarray
    items: int

    def at(self, place: float) -> tuple[float, float, float]:
        """The recall at a place, with its 95 % interval: Wilson's where it was measured.

        Between two places, logits are interpolated over the logarithm of the number; beyond the last one they go on along a
        line through the last places.
        """
        if place in self.places:
            value = float(self.recalls[list(self.places).index(int(place))])
            return value, *of_share(value, self.items)
        bounded = self.recalls.clip(PRIOR / self.items, 1 - PRIOR / self.items)
        shares, near = np.concatenate([bounded[None], self.draws]), self._near(place)
        logits = np.log(shares / (1 - shares))[:, near]
        slope, level = np.polyfit(np.log(self.places)[near], logits.T, 1) if len(near) > 1 else (0, logits[:, 0])
        recall = 1 / (1 + np.exp(-(slope * np.log(place) + level)))
        low, high = np.quantile(recall[1:], [0.025, 0.975])
        return float(recall[0]), float(min(low, recall[0])), float(max(high, recall[0]))

    def _near(self, place: float) -> np.ndarray:
        """The places that a line is drawn through."""
        places = np.asarray(self.places)
        if place < places[-1]:
            after = int(np.searchsorted(places, place))
            return np.arange(max(after - 1, 0), after + 1) if after else np.arange(min(2, len(places)))
        recent = np.flatnonzero(places * RECENT >= places[-1])
        return np.arange(max(len(places) - max(len(recent), 2), 0), len(places))


def curve(places: Sequence[int], hits: Sequence[np.ndarray], seed: int) -> Curve:
    """The curve of hits (q,) at each place. Its draws are of the Bayesian bootstrap: items get random weights, the same ones
    at every place."""
    table = np.array(hits, np.float64)
    rng, q = np.random.default_rng(seed), table.shape[1]
    draws = np.empty((RESAMPLES, len(table)))
    for number in range(RESAMPLES):
        weights = np.asarray(rng.standard_exponential(q))
        hit, miss = np.asarray(rng.standard_gamma(PRIOR, 2))
        draws[number] = (table @ weights + hit) / (weights.sum() + hit + miss)
    return Curve(places, table.mean(1), draws, q)


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
        recalls = np.zeros(q)
        for half, other in (halves, halves[::-1]):
            added = other[: count - m]
            x = np.concatenate([trial.x, trial.queries[added]])
            y = np.concatenate([trial.y, trial.index[added]])
            recalls[half] = trial.hits(settled, x, y, half)
        hits.append(recalls)
    return curve([*places, *more], hits, seed), own

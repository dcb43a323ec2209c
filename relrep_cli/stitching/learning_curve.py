"""Curves of a recall over a number: the recall with fewer and with more anchors, with intervals over items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.neighbors import ranks
from relrep_cli.numerics.intervals import of_share

RESAMPLES = 400
PRIOR = 0.5  # of a hit and of a miss that are added to every draw, as Jeffreys does: a share without a miss may be chance
RECENT = 4  # beyond the last place, a line goes on through the places from the last one over this number
LAST = 2  # the same in every other draw, which trusts the last places more
BENDS = np.linspace(-0.5, 1.5, 21)  # exponents of the scale of a line: 0 is the logarithm of the number, 1 minus its inverse
OFF = 0.05  # deviation of logits from a line that is right
FEWER, MORE = (4, 2, 1), (2, 4, 8)  # parts of the anchors, and multiples of them
HALVINGS = 3  # of the held-out items that serve as more anchors
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

        Between two places, logits are interpolated over the logarithm of the number. Beyond the last one they go on along a
        line through the last places, which does not fall; how it bends differs from draw to draw. The recall there is never
        below the last one: where every item was found, it stays 1.
        """
        if place in self.places:
            value = float(self.recalls[list(self.places).index(int(place))])
            return value, *of_share(value, self.items)
        if place > self.places[-1]:
            return self._beyond(place)
        shares = np.concatenate([_bounded(self.recalls, self.items)[None], self.draws])
        recall = np.array([np.interp(np.log(place), np.log(self.places), one) for one in _logits(shares)])
        return _with_ends(float(_share(recall[0])), _share(recall[1:]))

    def _beyond(self, place: float) -> tuple[float, float, float]:
        """Lines of every bend, each as probable as the last places say; every other draw trusts the very last ones more."""
        shares = _bounded(self.recalls, self.items)
        lines, off = self._line(np.tile(shares, (len(BENDS), 1)), RECENT, BENDS, place)
        weights = np.exp(-(off - off.min()) / (2 / (self.items * shares[-1] * (1 - shares[-1])) + 2 * OFF**2))
        weights /= weights.sum()
        bends = np.interp(np.linspace(0, 1, len(self.draws)), np.cumsum(weights) - weights / 2, BENDS)
        ways = enumerate((RECENT, LAST))
        draws = [self._line(self.draws[part::2], recent, bends[part::2], place)[0] for part, recent in ways]
        last = float(self.recalls[-1])
        value, low, high = _with_ends(max(float(_share(weights @ _logits(lines))), last), np.concatenate(draws))
        low = min(low, of_share(value, self.items)[0])  # never surer than if it were measured
        return value, low, max(high, of_share(last, self.items)[1])

    def _line(self, shares: np.ndarray, recent: int, bends: np.ndarray, place: float) -> tuple[np.ndarray, np.ndarray]:
        """(r,) the recalls at a place by a line for each row of shares (r, k), over numbers on a scale for each row; and the
        squares by which it misses the logits."""
        places = np.asarray(self.places, float)
        count = min(max(int((places * recent >= places[-1]).sum()), 2), len(places))
        logits, near = _logits(shares[:, -count:]), _scaled(places[-count:] / places[-1], bends)
        level, middle = logits.mean(1), near.mean(1)
        apart = near - middle[:, None]
        slope = ((apart * logits).sum(1) / np.maximum(np.square(apart).sum(1), 1e-12)).clip(0)
        there = _scaled(np.array([place / places[-1]]), bends)[:, 0]
        off = np.square(logits - level[:, None] - slope[:, None] * apart).sum(1)
        return _share((level + slope * (there - middle)).clip(-30, 30)), off


def _scaled(ratios: np.ndarray, bends: np.ndarray) -> np.ndarray:
    """(r, k) Box and Cox's scale of ratios (k,) for each exponent (r,)."""
    bends = np.where(np.abs(bends) < 1e-9, 1e-9, bends)[:, None]
    return (1 - ratios**-bends) / bends


def _bounded(shares: np.ndarray, items: int) -> np.ndarray:
    return shares.clip(PRIOR / items, 1 - PRIOR / items)


def _logits(shares: np.ndarray) -> np.ndarray:
    return np.log(shares / (1 - shares))


def _share(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def _with_ends(value: float, draws: np.ndarray) -> tuple[float, float, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return value, float(min(low, value)), float(max(high, value))


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
    that was fitted on the anchors and items of the other half, in several halvings.
    """
    m, q = len(trial.x), len(trial.queries)
    rng = np.random.default_rng(seed)
    order = rng.permutation(m)
    halvings = [np.array_split(rng.permutation(q), 2) for _ in range(HALVINGS)]
    places = [m // part for part in FEWER if m // part >= 2]
    hits = [trial.hits(maps, trial.x[order[:count]], trial.y[order[:count]], np.arange(q)) for count in places]
    own, spare = len(places), q // 2
    more = [m * times for times in MORE if m * (times - 1) <= spare]
    if m * MORE[-1] > m + spare >= USEFUL * (more[-1] if more else m):
        more.append(m + spare)
    hits += [np.mean([_with_items(trial, settled, halves, count - m) for halves in halvings], 0) for count in more]
    return curve([*places, *more], hits, seed), own


def _with_items(trial: Trial, maps: Maps, halves: Sequence[np.ndarray], count: int) -> np.ndarray:
    """(q,) whether items are hits by maps fitted on the anchors and so many items of the other half."""
    hits = np.zeros(len(trial.queries))
    for half, other in (halves, halves[::-1]):
        added = other[:count]
        x, y = np.concatenate([trial.x, trial.queries[added]]), np.concatenate([trial.y, trial.index[added]])
        hits[half] = trial.hits(maps, x, y, half)
    return hits

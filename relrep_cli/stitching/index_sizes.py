"""The recall at ten in smaller and in larger indexes than the one that was measured, from the ranks of items in that one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relrep_cli.numerics.intervals import of_share, of_shares

K = 10
SMALLER = (8, 4, 2)  # parts of the index
LARGER = (2, 4, 8, 16)  # multiples of it
EDGES = np.array([1, 2, 3, 5, 7, 10, 15, 22, 33, 47, 68, 100])  # ranks that are told apart; those beyond are one group
PRIOR = 2  # items whose z-scores vary by 1 are added to those that were seen
NARROWEST = 0.1  # standard deviation of z-scores
ROUNDS, SETTLED = 300, 1e-4

Point = tuple[int, tuple[float, float, float], str]


def recalls_by_size(places: np.ndarray, n: int) -> Iterator[Point]:
    """Sizes of the index, the recall at ten with its 95 % interval, and how it was found. places: (q,) ranks among n rows."""
    for part in SMALLER:
        if n // part > K:
            hits = hits_in_subsets(places, n, n // part)
            yield n // part, (float(hits.mean()), *of_shares(hits)), "sub-sampled"
    share = float((places <= K).mean())
    yield n, (share, *of_share(share, len(places))), "measured"
    for times in LARGER:
        share = min(share, recall_in_larger(places, n, times))  # the estimate of a small sample can lie above what was measured
        yield n * times, (share, *of_share(share, len(places))), "extrapolated"


def hits_in_subsets(places: np.ndarray, n: int, size: int) -> np.ndarray:
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


def recall_in_larger(places: np.ndarray, n: int, times: int) -> float:
    """The recall at ten in an index so many times as large.

    It lies between two estimates: nearby at that from ranks, which assumes least, and far away at that from z-scores, which
    errs least there.
    """
    far = np.log(times) / np.log(LARGER[-1])
    return float((1 - far) * _from_ranks(places, times) + far * _from_z_scores(places, n, times))


def _from_ranks(places: np.ndarray, times: int) -> float:
    """The recall at j is that at ten in an index so many times as large as the exponential of 1/j + … + 1/9 says.

    For an item with a share f of the rows ahead of it is within rank j of n rows, on average over Poisson's distribution and
    over shares that are as probable at every scale, where log(n f) is below 1 + 1/2 + … + 1/(j - 1), up to a constant.
    """
    ranks = np.arange(K, 0, -1)
    sums = np.array([sum(1 / j for j in range(rank, K)) for rank in ranks])
    return float(np.interp(np.log(times), sums, (places <= ranks[:, None]).mean(1)))


def _from_z_scores(places: np.ndarray, n: int, times: int) -> float:
    """The share of rows ahead of an item is Phi(z), and z is normal over items, as in signal detection (Green and Swets 1966).

    Mean and deviation of z are fitted to the ranks by expectation maximisation; ranks beyond the hundredth count as one.
    """
    from scipy.special import bdtr, ndtr

    z = np.linspace(-9, 3, 241)
    ahead = ndtr(z)
    edges = EDGES[n > EDGES]
    within = np.array([bdtr(j - 1, n - 1, ahead) for j in edges])  # (j, z) whether an item is within that rank
    likelihood = np.diff(np.concatenate([np.zeros((1, len(z))), within, np.ones((1, len(z)))]), axis=0)
    counts = np.diff([0, *((places <= j).sum() for j in edges), len(places)])
    mean, deviation = -2.0, 1.0
    for _ in range(ROUNDS):
        prior = _normal(z, mean, deviation)
        joint = likelihood * prior
        weights = counts @ (joint / np.maximum(joint.sum(1, keepdims=True), 1e-300))
        before, mean = mean, float(weights @ z / weights.sum())
        spread = (weights @ np.square(z - mean) + PRIOR) / (weights.sum() + PRIOR)
        deviation = max(float(np.sqrt(spread)), NARROWEST)
        if abs(mean - before) < SETTLED:
            break
    return float(_normal(z, mean, deviation) @ bdtr(K - 1, n * times - 1, ahead))


def _normal(z: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    density = np.exp(-np.square((z - mean) / deviation) / 2)
    return density / density.sum()

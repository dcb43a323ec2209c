"""The error of a mean over neighbourhoods from halves of the items."""

from __future__ import annotations

import numpy as np
import pytest

from relrep_cli.metrics.halves import depth, half_sampled_error
from relrep_cli.metrics.neighborhoods import jaccard_of


def neighbours(x: np.ndarray, k: int) -> np.ndarray:
    """(n, k) the nearest others by Euclidean distance, nearest first."""
    apart = np.square(x[:, None] - x[None]).sum(2)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1, kind="stable")[:, :k]


def pair(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    return x, x + 0.3 * rng.normal(size=x.shape)


def test_a_half_is_searched_as_a_collection_of_its_own() -> None:
    (x, y), k = pair(60, 0), 4
    lists = (neighbours(side, depth(k, 60)) for side in (x, y))
    found = half_sampled_error(*lists, k, lambda shared: jaccard_of(shared, k), seed=5, splits=3)
    rng, squares = np.random.default_rng(5), []
    for _ in range(3):
        order = rng.permutation(60)
        means = []
        for half in (np.sort(order[:30]), np.sort(order[30:])):
            near = [neighbours(side[half], k) for side in (x, y)]
            shared = (near[0][:, :, None] == near[1][:, None, :]).sum((1, 2))
            means.append(jaccard_of(shared, k).mean())
        squares.append((means[0] - means[1]) ** 2 / 4)
    assert found == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-12)


def test_the_error_is_the_spread_over_draws() -> None:
    """Within a fifth, where that of independent rows would be a third too small."""
    k, n, values, errors, naive = 5, 120, [], [], []
    for seed in range(150):
        a, b = (neighbours(side, depth(k, n)) for side in pair(n, seed))
        rows = jaccard_of((a[:, :k, None] == b[:, None, :k]).sum((1, 2)), k)
        values.append(rows.mean())
        errors.append(half_sampled_error(a, b, k, lambda shared: jaccard_of(shared, k), seed))
        naive.append(rows.std() / np.sqrt(n))
    spread = np.std(values)
    assert 0.85 < np.mean(errors) / spread < 1.2
    assert np.mean(naive) / spread < 0.8

"""Rows that share neighbours are not independent, and intervals know it."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from relrep_cli.comparison.dependent_rows import widening_factor
from relrep_cli.comparison.pairs_of_files import interval, measure, measure_subset
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS, Score


def pair(n: int, seed: int) -> tuple[Embedding, Embedding]:
    rng = np.random.default_rng([seed, n])
    x = rng.normal(size=(n, 4))
    return Embedding(x, row_numbers(n)), Embedding(x + 0.4 * rng.normal(size=x.shape), row_numbers(n))


@pytest.mark.parametrize("name", ["cosine", "mse"])
def test_rows_that_stand_alone_keep_their_interval(name: str) -> None:
    x, y = pair(80, 0)
    score = measure(name, {}, x, y)
    some = partial(measure_subset, name, {}, x, y, 0)
    assert widening_factor(some, score.rows, 0) == 1
    assert interval(name, score, 0, some) == interval(name, score, 0)


@pytest.mark.slow
def test_the_width_of_knn_jaccard_is_its_spread_over_draws() -> None:
    """Within a fourth, where the bootstrap over rows is a third too narrow."""
    params, values, widths, naive = METRICS["knn-jaccard"].resolve({"k": "5"}), [], [], []
    with threadpool_limits(1):
        for seed in range(60):
            x, y = pair(100, seed)
            score = measure("knn-jaccard", params, x, y)
            values.append(score.value)
            if seed < 8:
                for actual, some in ((widths, partial(measure_subset, "knn-jaccard", params, x, y, seed)), (naive, None)):
                    low, high = interval("knn-jaccard", score, seed, some)
                    actual.append((high - low) / 3.92)
    assert 0.8 < np.mean(widths) / np.std(values) < 1.3
    assert np.mean(naive) / np.std(values) < 0.8


def test_a_few_items_are_not_dealt() -> None:
    x, y = pair(12, 0)
    params = METRICS["knn-jaccard"].resolve({})
    score = measure("knn-jaccard", params, x, y)
    assert widening_factor(partial(measure_subset, "knn-jaccard", params, x, y, 0), score.rows, 0) == 1
    assert widening_factor(lambda rows, _: Score(0.0, 0.0, ""), np.zeros(40), 0) == 1

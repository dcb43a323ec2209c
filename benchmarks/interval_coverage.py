"""How often 95 % intervals hold the truth, and whether permutation p-values are uniform when there is nothing to find.

    python benchmarks/interval_coverage.py [DRAWS] [METRIC …] [--smoke]

Draws of n items from a fixed source (hidden factors seen through two noisy maps). Truth is the mean value over the draws
and twice as many more: what a metric gives on average at this n, which for biased estimators is not its limit. Prints TSV.
`/naive` after a name is the bootstrap over rows as if they were independent; it is tried for no p-values. `/heavy` takes 200
items from clusters whose noise has heavy tails.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from math import sqrt

from common import SMOKE, size  # isort: split

import numpy as np
from scipy import stats
from scipy.linalg import expm

from relrep_cli.comparison.pairs_of_files import interval, measure, measure_subset
from relrep_cli.comparison.permutations import null_values, p_value
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.workspace import Workspace

NAMES = (
    ("cka", "knn-jaccard", "knn-jaccard/naive")
    if SMOKE
    else ("jaccard", "knn-jaccard", "cka", "procrustes", "rsa", "svcca", "jaccard/naive", "knn-jaccard/naive")
)
SIZES = (100,) if SMOKE else (100, 400)
D, NOISE, TIMES = 8, 0.4, size(99, 9)
Pair = tuple[np.ndarray, np.ndarray]


def related(n: int, seed: int) -> Pair:
    """Two views of the same hidden factors with noise of their own, the second turned a little: about one frame.

    No axis holds less than a few per cent of the variance, so that no share of it (svcca) is met by one axis more or less
    from draw to draw: there the value jumps, and no interval from one draw can know.
    """
    skew = np.random.default_rng(12345).normal(size=(D, D))
    turn, scales = expm(0.05 * (skew - skew.T)), np.linspace(2, 0.8, D)
    rng = np.random.default_rng([seed, n])
    hidden = rng.normal(size=(n, D))
    x, y = ((hidden + NOISE * rng.normal(size=(n, D))) * scales for _ in range(2))
    return x, y @ turn


def unrelated(n: int, seed: int) -> Pair:
    rng = np.random.default_rng([seed, n, 1])
    return rng.normal(size=(n, D)), rng.normal(size=(n, D)) @ np.diag(np.arange(1.0, D + 1))


CENTRES = 2 * np.random.default_rng(5).normal(size=(6, D))
TURN = np.linalg.qr(np.random.default_rng(6).normal(size=(D, D)))[0]


def heavy_tailed(n: int, seed: int) -> Pair:
    """Six clusters, whose noise and whose views' own noise have Student's t distribution with 4 degrees of freedom."""
    rng = np.random.default_rng([seed, n, 7])
    hidden = CENTRES[rng.integers(0, 6, n)] + rng.standard_t(4, size=(n, D))
    return hidden + NOISE * rng.standard_t(4, size=(n, D)), (hidden + NOISE * rng.standard_t(4, size=(n, D))) @ TURN


def coverage(
    name: str, n: int, draws: int, naive: bool = False, source: Callable[[int, int], Pair] = related
) -> tuple[float, float, float]:
    """The share of draws whose interval holds the truth, its mean width over that of +-1.96 deviations, and the truth."""
    result, params = [], METRICS[name].resolve({})
    for seed in range(draws):
        x, y = (Embedding(side, row_numbers(n)) for side in source(n, seed))
        score = measure(name, params, x, y)
        some = None if naive else partial(measure_subset, name, params, x, y, seed)
        result.append((score.value, *interval(name, score, seed, some)))
    plain = Workspace(intervals=False)
    more = [
        METRICS[name].compute(*source(n, seed), params, workspace=plain.for_pair()).value for seed in range(draws, 3 * draws)
    ]
    values, low, high = np.array(result, np.float64).T
    truth = float(np.mean([*values, *more]))
    width = float((high - low).mean() / (2 * 1.96 * np.std([*values, *more])))
    return float(((low <= truth) & (truth <= high)).mean()), width, truth


def uniformity(name: str, n: int, draws: int) -> tuple[float, float]:
    """Kolmogorov-Smirnov of p under independence, each spread over its step: (the p-value of the test, share of p <= 0.05)."""
    entry, rng = METRICS[name], np.random.default_rng(0)
    p = []
    for seed in range(draws):
        x, y = (Embedding(side, row_numbers(n)) for side in unrelated(n, seed))
        value = entry.function(x.x, y.x, **entry.resolve({})).value
        null = null_values(name, entry.resolve({}), x, y, range(TIMES), seed, lambda part: None)
        p.append(p_value(value, null, entry.higher_is_closer))
    spread = np.array(p) - rng.random(draws) / (TIMES + 1)
    return float(stats.kstest(spread, "uniform").pvalue), float(np.mean(np.array(p) <= 0.05))


def main(arguments: list[str]) -> None:
    draws = int(arguments[0]) if arguments else size(300, 3)
    print("metric\tn\tcovered\tmargin\twidth\ttruth\tks p\tp <= 0.05\tseconds")
    for name in arguments[1:] or NAMES:
        bare, _, kind = name.partition("/")
        for n in (200,) if kind == "heavy" else SIZES:
            start = time.process_time()
            covered, width, truth = coverage(bare, n, draws, kind == "naive", heavy_tailed if kind == "heavy" else related)
            fit, small = uniformity(bare, n, draws) if n == SIZES[0] and not kind else (np.nan, np.nan)
            margin, took = 1.96 * sqrt(covered * (1 - covered) / draws), time.process_time() - start
            print(
                f"{name}\t{n}\t{covered:.3f}\t{margin:.3f}\t{width:.2f}\t{truth:.4f}\t{fit:.2f}\t{small:.3f}\t{took:.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])

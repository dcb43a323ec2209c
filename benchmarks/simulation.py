"""Whether the figures of `compare` mean what they say, on draws from known sources. Prints TSV.

    python benchmarks/simulation.py BAR [DRAWS] [METRIC …] [--results FILE] [--smoke]

BAR is one of:

differences   how often the 95 % interval of a paired difference holds the true difference of two models (--against)
equal         how often p is at most 0.05 for two models that are equally close
intervals     how often the 95 % interval of a value holds the truth, for every metric that has an interval
independent   the mean `corrected` of independent spaces, for every bounded metric
permutations  CPU seconds of seven metrics with 999 permutations each

Truth is the mean over the draws and as many more without intervals: what a metric gives on average at this n. With --results,
finished draws are kept in FILE, one JSON line for 25 of them, and a later run goes on from there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from pathlib import Path

from common import SMOKE, size  # isort: split

import numpy as np
from scipy import stats
from scipy.linalg import expm

from relrep_cli.comparison.corrected_values import best_value, corrected
from relrep_cli.comparison.measured_values import measured, paired
from relrep_cli.comparison.pairs_of_files import interval, measure, measure_subset
from relrep_cli.comparison.permutations import null_values
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import NotApplicable
from relrep_cli.numerics.workspace import Workspace

CHUNK = 25
D, NOISE = 8, 0.4
PAIRED = ("cosine", "mse", "knn-jaccard", "mrr", "cka", "rsa", "procrustes", "bures", "svcca", "ridge")
SEVEN = ("procrustes", "angular-procrustes", "bures", "cca", "svcca", "ridge", "cka")
LABELS = np.array([b"a", b"b", b"c", b"d"])


def kept(path: str) -> dict[tuple[str, ...], list[list[float]]]:
    """The draws of earlier runs, by what they are of."""
    result: dict[tuple[str, ...], list[list[float]]] = {}
    if path and Path(path).exists():
        for line in Path(path).read_text("utf-8").splitlines():
            key, rows = json.loads(line)
            result.setdefault(tuple(key), []).extend(rows)
    return result


def gather(path: str, key: Sequence[object], draws: int, one: Callable[[int], Sequence[float]]) -> np.ndarray:
    """(draws, m) what `one` returns for each seed; NaN where a metric has no value."""
    name = tuple(map(str, key))
    result = kept(path).get(name, [])
    while len(result) < draws:
        rows = [list(map(float, one(seed))) for seed in range(len(result), min(len(result) + CHUNK, draws))]
        result += rows
        if path:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, rows]) + "\n")
    return np.array(result[:draws])


def views(n: int, seed: int, noises: Sequence[float]) -> list[Embedding]:
    """Spaces that see the same hidden factors with noise of their own; each further one is turned a little.

    No axis holds less than a few per cent of the variance: where one more axis or one less is kept by chance, a value jumps
    from draw to draw, and no interval from one draw can know.
    """
    skew, scales = np.random.default_rng(12345).normal(size=(D, D)), np.linspace(2, 0.8, D)
    rng = np.random.default_rng([seed, n])
    hidden = rng.normal(size=(n, D))
    seen = [(hidden + noise * rng.normal(size=(n, D))) * scales for noise in noises]
    return [embedding(x if not place else x @ expm(0.05 * (skew - skew.T)), hidden) for place, x in enumerate(seen)]


def mixtures(n: int, seed: int) -> list[Embedding]:
    """Two spaces with many columns that share factors, of other sizes in each, for an estimate of all columns."""
    fixed, rng = np.random.default_rng(12345), np.random.default_rng([seed, n])
    hidden, sizes = rng.normal(size=(n, D)), np.linspace(2, 0.5, D)
    mixes = [own[:, None] * fixed.normal(size=(D, 3 * D)) for own in (sizes, sizes[::-1])]
    return [embedding(hidden @ mix + NOISE * rng.normal(size=(n, 3 * D)), hidden) for mix in mixes]


def embedding(x: np.ndarray, hidden: np.ndarray | None = None) -> Embedding:
    classes = 2 * (hidden[:, 0] > 0) + (hidden[:, 1] > 0) if hidden is not None else np.arange(len(x)) % 4
    return Embedding(x, row_numbers(len(x)), obs={"label": LABELS[classes]})


def pair(name: str, n: int, seed: int) -> list[Embedding]:
    return mixtures(n, seed) if name == "row-column-cka" else views(n, seed, (NOISE, NOISE))


def a_difference(name: str, n: int, noises: Sequence[float], seed: int) -> Sequence[float]:
    reference, a, b = views(n, seed, noises)
    params = METRICS[name].resolve({})
    difference = paired(measured(name, params, reference, a, seed), measured(name, params, reference, b, seed), seed)
    return difference.value, difference.low or 0.0, difference.high or 0.0, np.nan if difference.p is None else difference.p


def a_plain_difference(name: str, n: int, noises: Sequence[float], seed: int) -> Sequence[float]:
    reference, a, b = views(n, seed + 10**6, noises)
    return (value_of(name, reference, b) - value_of(name, reference, a),)


def an_interval(name: str, n: int, seed: int) -> Sequence[float]:
    x, y = pair(name, n, seed)
    params = METRICS[name].resolve({})
    try:
        score = measure(name, params, x, y)
    except NotApplicable:
        return np.nan, np.nan, np.nan
    low, high = interval(name, score, seed, partial(measure_subset, name, params, x, y, seed), x.ids)
    return score.value, np.nan if low is None else low, np.nan if high is None else high


def a_plain_value(name: str, n: int, seed: int) -> Sequence[float]:
    return (value_of(name, *pair(name, n, seed + 10**6)),)


def value_of(name: str, x: Embedding, y: Embedding) -> float:
    try:
        return measure(name, METRICS[name].resolve({}), x, y, workspace=Workspace(intervals=False)).value
    except NotApplicable:
        return float("nan")


def covered(result: np.ndarray, more: np.ndarray) -> tuple[float, float, float]:
    """The share of intervals that hold the truth, their mean width over that of +-1.96 deviations, and the truth."""
    result, values = result[np.isfinite(result[:, :3]).all(1)], np.concatenate([result[:, 0], more[:, 0]])
    values = values[np.isfinite(values)]
    low, high, truth = result[:, 1], result[:, 2], values.mean()
    share = float(((low <= truth) & (truth <= high)).mean())
    return share, float((high - low).mean() / (2 * 1.96 * values.std())), float(truth)


def differences(draws: int, names: Sequence[str], path: str) -> None:
    print("metric\tn\tcovered\tmargin\twidth\ttruth\tdraws")
    for name in names or PAIRED:
        for n in size_list(100, 400):
            noises = (0.3, NOISE, 0.5)
            result = gather(path, ("differences", name, n), draws, partial(a_difference, name, n, noises))
            more = gather(path, ("differences more", name, n), 2 * draws, partial(a_plain_difference, name, n, noises))
            share, width, truth = covered(result, more)
            print(f"{name}\t{n}\t{share:.3f}\t{margin(share, draws):.3f}\t{width:.2f}\t{truth:.4f}\t{draws}", flush=True)


def equal(draws: int, names: Sequence[str], path: str) -> None:
    print("metric\tn\tp <= 0.05\tmargin\tdraws")
    for name in names or PAIRED:
        for n in size_list(100, 400):
            one = partial(a_difference, name, n, (0.3, NOISE, NOISE))
            p = gather(path, ("equal", name, n), draws, one)[:, 3]
            share = float((p <= 0.05).mean())
            print(f"{name}\t{n}\t{share:.3f}\t{margin(share, draws):.3f}\t{draws}", flush=True)


def intervals(draws: int, names: Sequence[str], path: str) -> None:
    print("metric\tn\tcovered\tmargin\twidth\ttruth\tdraws")
    for name in names or METRICS:
        for n in size_list(100, 400):
            result = gather(path, ("intervals", name, n), draws, partial(an_interval, name, n))
            if not np.isfinite(result[:, 1]).any():
                print(f"{name}\t{n}\tno interval", flush=True)
                continue
            share, width, truth = covered(
                result, gather(path, ("intervals more", name, n), 2 * draws, partial(a_plain_value, name, n))
            )
            print(f"{name}\t{n}\t{share:.3f}\t{margin(share, draws):.3f}\t{width:.2f}\t{truth:.4f}\t{draws}", flush=True)


def a_null(name: str, n: int, d: int, seed: int) -> Sequence[float]:
    """The corrected value and the value of two independent normal spaces; NaN where the metric has none.

    row-column-cka has none where columns share nothing, so its columns are mixtures of eight.
    """
    rng = np.random.default_rng([seed, n, d])
    x, y = (embedding(rng.normal(size=(n, d))) for _ in range(2))
    if name == "row-column-cka":
        x, y = (embedding(side.x[:, :D] @ rng.normal(size=(min(d, D), d))) for side in (x, y))
    try:
        score = measure(name, METRICS[name].resolve({}), x, y, workspace=Workspace())
    except NotApplicable:
        return np.nan, np.nan
    result = corrected(score.value, score.chance, best_value({"metric": name, **METRICS[name].resolve({})}))
    return np.nan if result is None else result, score.value


def independent(draws: int, names: Sequence[str], path: str) -> None:
    print("metric\tn\tdims\tcorrected\tmargin\tvalue\tdraws")
    bounded = [name for name, entry in METRICS.items() if best_value({"metric": name, **entry.resolve({})}) is not None]
    for name in names or bounded:
        if METRICS[name].family == "statistics":  # these do not look at the pairing
            continue
        for n in size_list(50, 100, 400, 2000):
            for d in (4,) if SMOKE else (8, 64, 768):
                result = enough(path, name, n, d, max(2, draws * 50 // n))
                means, reach = result.mean(0), error(result)
                print(f"{name}\t{n}\t{d}\t{means[0]:.4f}\t{reach:.4f}\t{means[1]:.4f}\t{len(result)}", flush=True)


def enough(path: str, name: str, n: int, d: int, draws: int) -> np.ndarray:
    """As many draws as the mean needs to be known to 0.015, at least `draws` and at most 1600."""
    while True:
        result = gather(path, ("independent", name, n, d), draws, partial(a_null, name, n, d))
        if not error(result) > 0.015 or SMOKE or draws >= 1600:
            return result
        draws = min(1600, max(draws + 2, int(draws * min(4.0, 1.1 * (error(result) / 0.015) ** 2))))


def error(result: np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean."""
    return float(stats.t.ppf(0.975, len(result) - 1) * result[:, 0].std(ddof=1) / sqrt(len(result)))


def permutations(draws: int, names: Sequence[str], path: str) -> None:
    print("metric\tCPU seconds")
    rng, total = np.random.default_rng(0), 0.0
    x, y = (embedding(rng.normal(size=(100, size(768, 12)))) for _ in range(2))
    workspace = Workspace()
    for name in names or SEVEN:
        before = sum(os.times()[:2])
        null_values(name, METRICS[name].resolve({}), x, y, range(size(999, 3)), 0, lambda part: None, workspace)
        took = sum(os.times()[:2]) - before
        total += took
        print(f"{name}\t{took:.2f}", flush=True)
    print(f"together\t{total:.2f}")


def size_list(*whole: int) -> tuple[int, ...]:
    return (60,) if SMOKE else whole


def margin(share: float, draws: int) -> float:
    return 1.96 * sqrt(share * (1 - share) / draws)


BARS = {
    "differences": (differences, 1000),
    "equal": (equal, 1000),
    "intervals": (intervals, 300),
    "independent": (independent, 40),
    "permutations": (permutations, 1),
}


def main(arguments: list[str]) -> None:
    path = ""
    if "--results" in arguments:
        place = arguments.index("--results")
        path = arguments[place + 1]
        del arguments[place : place + 2]
    few = ["cosine", "cka"] if SMOKE else []
    for bar in arguments[:1] or BARS:
        run, draws = BARS[bar]
        run(int(arguments[1]) if len(arguments) > 1 else size(draws, 2), arguments[2:] or few, path)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Speed of choosing anchors: farthest points against memory bandwidth and numpy, and k-means against scikit-learn.

    python benchmarks/anchor.py [ROUNDS] [--smoke]

Data are normal, float32, from NumPy's generator with seed 0. All run on one thread. Ratios are of CPU seconds (user + system,
median of rounds in which all take turns). Bandwidth is what np.dot of the array with itself reads, which is the fastest
read of those tried (max, sum). numpy's farthest point takes squared distances from a product (gemv) and squares made once.
Needs 1 GB of memory and a minute.
"""

from __future__ import annotations

import sys

from common import SMOKE, Work, ratio, seconds, size  # isort: split

import numpy as np

from relrep_cli.neighbors.kmeans import centroids
from relrep_cli.numerics.farthest_rows import farthest

SHAPES = ((2000, 8),) if SMOKE else ((1_000_000, 48), (200_000, 256), (100_000, 768))
PICKS = size(20, 3)
N, CENTROIDS = size(60_000, 1000), size(300, 10)


def line(what: str, value: float, goal: str, met: bool) -> None:
    print(f"{what:56} {value:8.2f}  {goal:10} {'met' if met else 'MISSED'}", flush=True)


def by_numpy(x: np.ndarray, first: int, m: int) -> list[int]:
    squares = np.einsum("ij,ij->i", x, x)
    nearest, result = np.full(len(x), np.inf, x.dtype), [first]
    for _ in range(m):
        pick = x[result[-1]]
        np.minimum(nearest, squares - 2 * (x @ pick) + squares[result[-1]], out=nearest)
        result.append(int(np.argmax(nearest)))
    return result[:m]


def by_difference(x: np.ndarray, first: int, m: int) -> list[int]:
    nearest, result = np.full(len(x), np.inf, x.dtype), [first]
    for _ in range(m):
        nearest = np.minimum(nearest, ((x - x[result[-1]]) ** 2).sum(1))
        result.append(int(np.argmax(nearest)))
    return result[:m]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else size(5, 1)
    for n, d in SHAPES:
        x = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
        works: dict[str, Work] = {
            "read": lambda x=x: [np.dot(x.ravel(), x.ravel()) for _ in range(PICKS)],
            "ours": lambda x=x: farthest(x, 0, PICKS),
            "numpy gemv": lambda x=x: by_numpy(x, 0, PICKS),
            "numpy difference": lambda x=x: by_difference(x, 0, PICKS),
        }
        times = seconds(works, rounds)
        gigabytes = ratio(PICKS * x.nbytes / 1e9, times["read"])
        line(f"farthest, {n} x {d}: bandwidth, GB/s", gigabytes, "", True)
        line(
            f"farthest, {n} x {d}: share of bandwidth",
            ratio(times["read"], times["ours"]),
            ">= 0.80",
            ratio(times["read"], times["ours"]) >= 0.8,
        )
        for name in ("numpy gemv", "numpy difference"):
            line(f"farthest, {n} x {d}: {name} / ours", ratio(times[name], times["ours"]), "", True)
    x = np.random.default_rng(0).normal(size=(N, 48)).astype(np.float32)
    from sklearn.cluster import KMeans

    works = {
        "ours": lambda: centroids(x, CENTROIDS, np.random.default_rng(0)),
        "sklearn": lambda: KMeans(CENTROIDS, init="random", n_init=1, max_iter=25, tol=0, random_state=0).fit(x),
    }
    times = seconds(works, rounds)
    line(f"k-means, {N} x 48, {CENTROIDS} centroids: scikit-learn / ours", ratio(times["sklearn"], times["ours"]), "", True)


if __name__ == "__main__":
    main()

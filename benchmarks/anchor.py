"""Speed of choosing anchors: farthest points against memory bandwidth and numpy, and k-means against scikit-learn.

    python benchmarks/anchor.py [ROUNDS]

Data are normal, float32, from NumPy's generator with seed 0. All run on one thread. Ratios are of CPU seconds (user + system,
median of rounds in which all take turns). Bandwidth is what np.dot of the array with itself reads, which is the fastest
read of those tried (max, sum). numpy's farthest point takes squared distances from a product (gemv) and squares made once.
Needs 1 GB of memory and a minute.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[0] = str(CHECKOUT)  # not this folder, whose coverage.py numba would take for the package of that name
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
from sklearn.cluster import KMeans  # noqa: E402

from relrep_cli.neighbors.kmeans import centroids  # noqa: E402
from relrep_cli.numerics import distances as kernels  # noqa: E402

SHAPES = ((1_000_000, 48), (200_000, 256), (100_000, 768))
PICKS = 20
Work = Callable[[], object]


def seconds(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each, in rounds that take turns after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            before = sum(os.times()[:2])
            work()
            times[name].append(sum(os.times()[:2]) - before)
    return {name: median(found[1:]) for name, found in times.items()}


def line(what: str, ratio: float, goal: str, met: bool) -> None:
    print(f"{what:56} {ratio:8.2f}  {goal:10} {'met' if met else 'MISSED'}", flush=True)


def by_numpy(x: np.ndarray, first: int, m: int) -> list[int]:
    squares = np.einsum("ij,ij->i", x, x)
    nearest, found = np.full(len(x), np.inf, x.dtype), [first]
    for _ in range(m):
        pick = x[found[-1]]
        np.minimum(nearest, squares - 2 * (x @ pick) + squares[found[-1]], out=nearest)
        found.append(int(np.argmax(nearest)))
    return found[:m]


def by_difference(x: np.ndarray, first: int, m: int) -> list[int]:
    nearest, found = np.full(len(x), np.inf, x.dtype), [first]
    for _ in range(m):
        nearest = np.minimum(nearest, ((x - x[found[-1]]) ** 2).sum(1))
        found.append(int(np.argmax(nearest)))
    return found[:m]


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for n, d in SHAPES:
        x = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
        works: dict[str, Work] = {
            "read": lambda x=x: [np.dot(x.ravel(), x.ravel()) for _ in range(PICKS)],
            "ours": lambda x=x: kernels.farthest(x, 0, PICKS),
            "numpy gemv": lambda x=x: by_numpy(x, 0, PICKS),
            "numpy difference": lambda x=x: by_difference(x, 0, PICKS),
        }
        found = seconds(works, rounds)
        gigabytes = PICKS * x.nbytes / found["read"] / 1e9
        line(f"farthest, {n} x {d}: bandwidth, GB/s", gigabytes, "", True)
        line(
            f"farthest, {n} x {d}: share of bandwidth",
            found["read"] / found["ours"],
            ">= 0.80",
            found["read"] / found["ours"] >= 0.8,
        )
        for name in ("numpy gemv", "numpy difference"):
            line(f"farthest, {n} x {d}: {name} / ours", found[name] / found["ours"], "", True)
    x = np.random.default_rng(0).normal(size=(60_000, 48)).astype(np.float32)
    works = {
        "ours": lambda: centroids(x, 300, np.random.default_rng(0)),
        "sklearn": lambda: KMeans(300, init="random", n_init=1, max_iter=25, tol=0, random_state=0).fit(x),
    }
    found = seconds(works, rounds)
    line("k-means, 60000 x 48, 300 centroids: scikit-learn / ours", found["sklearn"] / found["ours"], "", True)


if __name__ == "__main__":
    main()

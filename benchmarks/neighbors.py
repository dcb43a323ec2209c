"""Nearest neighbours against their peers: CPU seconds as ratios, in rounds that take turns.

    python benchmarks/neighbors.py [P2 P3 P4 P5 P6 P7] [--rounds 3] [--smoke]

Every number is a ratio of medians of user + system time on one thread (threads that wait for each other would be counted
as work), on the same data, within one run. Seed 0. Goals:

P2  knn-jaccard of 10k x 64 at 20 times platonic-rep's mutual_knn, of 50k x 64 at 8 times scikit-learn's brute force by cosine
P3  exact neighbours of 10k x 768 at 1.5 times faiss.knn
P4  exact neighbours of 50k x 64 at 75 %, of 50k x 768 at 85 % of what a plain product of all pairs takes
P5  100k x 64 with --index ivf within 0.35 of exact, its recall measured and at least 0.99
P6  50k x 64 with --ci 0.005 at 15 times all rows, the interval covering the value of all rows in 93 to 97 % of 200 draws
P7  knn-jaccard of 50k x 768 within 1 GiB in all, of two files of 200k x 384 within 2 GiB
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from statistics import median

from common import RELREP, SMOKE, installed, ratio, size, usage  # isort: split

import faiss
import numpy as np

from relrep_cli.metrics import METRICS
from relrep_cli.neighbors import nearest, overlap, tiles
from relrep_cli.numerics import intervals as inference

K = 10
SHRINK = size(1, 50)  # of the rows; the text names their number in full


def spaces(n: int, d: int, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy views, float32 (n, d), of points in 12 dimensions around 100 centres."""
    rng, n = np.random.default_rng(0), n // SHRINK
    z = 2 * rng.normal(size=(100, 12))[rng.integers(100, size=n)] + rng.normal(size=(n, 12))
    return tuple((z @ rng.normal(size=(12, d)) + noise * rng.normal(size=(n, d))).astype(np.float32) for _ in range(2))  # type: ignore[return-value]


def cpu(rounds: int, **runs: Callable[[], object]) -> dict[str, float]:
    """Median CPU seconds of each run, in rounds that take turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    return {name: median(items_read) for name, items_read in times.items()}


def report(goal: str, what: str, value: float, bar: str, times: dict[str, float]) -> None:
    seconds = ", ".join(f"{name.replace('_', ' ')} {t:.2f} s" for name, t in times.items())
    print(f"{goal}  {what:58} {value:7.2f}  (goal {bar}; {seconds})", flush=True)


def knn_jaccard(x: np.ndarray, y: np.ndarray, **params: object):  # type: ignore[no-untyped-def]
    return METRICS["knn-jaccard"].function(x, y, k=K, **params)


def mutual_knn(x: np.ndarray, y: np.ndarray) -> float:
    """As platonic-rep computes it: unit rows, all similarities at once, topk, and a mask of all pairs."""
    import torch

    torch.set_num_threads(1)

    def neighbours(side: np.ndarray) -> torch.Tensor:
        unit = torch.nn.functional.normalize(torch.from_numpy(side), dim=-1)
        return (unit @ unit.T).fill_diagonal_(-1e8).argsort(dim=1, descending=True)[:, :K]

    a, b = neighbours(x), neighbours(y)
    n, rows = len(a), torch.arange(len(a)).unsqueeze(1)
    left, right = torch.zeros(n, n), torch.zeros(n, n)
    left[rows, a], right[rows, b] = 1.0, 1.0
    return float(((left * right).sum(dim=1) / K).mean())


def mutual_knn_topk(x: np.ndarray, y: np.ndarray) -> float:
    """The same with topk for the full sort, and sets compared without a mask: the peer at its best."""
    import torch

    torch.set_num_threads(1)

    def neighbours(side: np.ndarray) -> np.ndarray:
        unit = torch.nn.functional.normalize(torch.from_numpy(side), dim=-1)
        return (unit @ unit.T).fill_diagonal_(-1e8).topk(K).indices.numpy()

    return float(overlap(neighbours(x), neighbours(y)).mean() / K)


def sklearn_jaccard(x: np.ndarray, y: np.ndarray) -> float:
    from sklearn.neighbors import NearestNeighbors

    a, b = (NearestNeighbors(n_neighbors=K, algorithm="brute", metric="cosine").fit(s).kneighbors()[1] for s in (x, y))
    shared = overlap(a, b)
    return float((shared / (2 * K - shared)).mean())


def p2(rounds: int) -> None:
    if installed("torch"):
        x, y = spaces(10_000, 64)
        t = cpu(
            rounds,
            relrep=lambda: knn_jaccard(x, y),
            platonic=lambda: mutual_knn(x, y),
            platonic_with_topk=lambda: mutual_knn_topk(x, y),
        )
        report("P2", "knn-jaccard 10k x 64, times platonic-rep", ratio(t["platonic"], t["relrep"]), ">= 20", t)
        report("P2", "  the same if platonic-rep used topk", ratio(t["platonic_with_topk"], t["relrep"]), "none", t)
    u, v = spaces(50_000, 64)
    t = cpu(max(1, rounds // 3), relrep=lambda: knn_jaccard(u, v), sklearn=lambda: sklearn_jaccard(u, v))
    report("P2", "knn-jaccard 50k x 64, times scikit-learn", ratio(t["sklearn"], t["relrep"]), ">= 8", t)


def p3(rounds: int) -> None:
    x = np.random.default_rng(0).normal(size=(10_000 // SHRINK, 768)).astype(np.float32)

    def by_faiss() -> np.ndarray:
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        rows = faiss.knn(unit, unit, K + 1, metric=faiss.METRIC_INNER_PRODUCT)[1]
        keep = rows != np.arange(len(x))[:, None]
        keep[keep.all(1), -1] = False
        return rows[keep].reshape(-1, K)

    near = nearest(x, x, K, exclude_self=True).rows
    t = cpu(rounds, relrep=lambda: nearest(x, x, K, exclude_self=True), faiss=by_faiss)
    report("P3", "exact 10k x 768, times faiss.knn", ratio(t["faiss"], t["relrep"]), ">= 1.5", t)
    differ = np.flatnonzero(overlap(near, by_faiss()) < K)
    wide = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    close = wide[differ] @ wide.T
    close[np.arange(len(differ)), differ] = -2
    ours = overlap(near[differ], np.argsort(-close, kind="stable")[:, :K]) == K
    print(f"P3  sets unlike faiss.knn's: {len(differ)} of {len(x)}, of which ours equal float64's: {ours.sum()}", flush=True)


def p4(rounds: int) -> None:
    for d, bar in ((64, 75), (768, 85)):
        x = np.random.default_rng(0).normal(size=(50_000 // SHRINK, d)).astype(np.float32)
        room = np.empty((2048, 2048), np.float32)

        def product(x: np.ndarray = x, room: np.ndarray = room) -> None:
            for i in range(0, len(x), 2048):
                for j in range(0, len(x), 2048):
                    a, b = x[i : i + 2048], x[j : j + 2048]
                    np.matmul(a, b.T, out=room[: len(a), : len(b)])

        t = cpu(1 if d > 64 else rounds, relrep=lambda x=x: nearest(x, x, K, exclude_self=True), product=product)
        report("P4", f"exact 50k x {d}, % of all pairs' product", ratio(100 * t["product"], t["relrep"]), f">= {bar}", t)


def p5(rounds: int) -> None:
    x, _ = spaces(100_000, 64)
    t = cpu(
        max(1, rounds // 2),
        ivf=lambda: nearest(x, x, K, exclude_self=True, index="ivf"),
        hnsw=lambda: nearest(x, x, K, exclude_self=True, index="hnsw"),
        exact=lambda: nearest(x, x, K, exclude_self=True),
    )
    near, exact = nearest(x, x, K, exclude_self=True, index="ivf"), nearest(x, x, K, exclude_self=True)
    report("P5", "100k x 64 with ivf, part of exact", ratio(t["ivf"], t["exact"]), "<= 0.35", t)
    report("P5", "  with hnsw", ratio(t["hnsw"], t["exact"]), "none", t)
    print(f"P5  recall measured on 200 rows {near.recall:.4f}, on all {overlap(near.rows, exact.rows).mean() / K:.4f}")


def p6(rounds: int) -> None:
    for noise in (0.3, 2.0):  # the rows of the first spread more, so that it takes more of them
        x, y = spaces(50_000, 64, noise)
        t = cpu(
            rounds,
            sampled=lambda x=x, y=y: knn_jaccard(x, y, ci=0.005),
            all_rows=lambda x=x, y=y: knn_jaccard(x, y),
            by_faiss=lambda x=x, y=y: [faiss.knn(side, side, K + 1) for side in (x, y)],
        )
        whole, part = knn_jaccard(x, y), knn_jaccard(x, y, ci=0.005)
        what = f"50k x 64 --ci 0.005, {len(part.rows)} rows of spread {part.rows.std():.3f}"
        report("P6", f"{what}, times all", ratio(t["all_rows"], t["sampled"]), ">= 15", t)
        report("P6", "  times all rows by faiss.knn", ratio(t["by_faiss"], t["sampled"]), "none", t)
        few, many = (coverage(whole.rows, size(draws, 5)) for draws in (200, 5000))
        print(f"P6  covered {few} of 200 draws, {many / 50:.1f} % of 5000", flush=True)


def coverage(every: np.ndarray, draws: int) -> int:
    """How many draws' intervals hold the mean of all rows; the values of rows are known, so a draw costs nothing."""
    from relrep_cli.metrics.sampling import over_rows

    hits = 0
    for seed in range(draws):
        result = over_rows(lambda rows: every if rows is None else every[rows], len(every), 0.005, seed)
        low, high = inference.sampled(result.values, len(every))
        hits += low <= every.mean() <= high
    return hits


def p7(rounds: int) -> None:
    for n, d, bar in ((50_000, 768, 1.0), (200_000, 384, 2.0))[: size(2, 1)]:
        with tempfile.TemporaryDirectory() as folder:
            for name, side in zip("ab", spaces(n, d), strict=True):
                np.save(f"{folder}/{name}.npy", side)
            command = ["compare", f"{folder}/a.npy", f"{folder}/b.npy", "-m", "knn-jaccard", "-q"]
            seconds, peak, _ = usage([*RELREP, *command])
        report("P7", f"GiB at most of knn-jaccard {n} x {d}", peak / 2**30, f"<= {bar}", {"cpu": seconds})


GOALS = {"P2": p2, "P3": p3, "P4": p4, "P5": p5, "P6": p6, "P7": p7}


def main() -> None:
    parser = argparse.ArgumentParser(description="Ratios of nearest neighbours to their peers.")
    parser.add_argument("goals", nargs="*", metavar="GOAL", help=", ".join(GOALS))
    parser.add_argument("--rounds", type=int, default=size(3, 1))
    given = parser.parse_args()
    if not SMOKE:
        tiles.scans()  # compiled once for ever, so not part of any figure
    if unknown := [goal for goal in given.goals if goal not in GOALS]:
        parser.error(f"no goal {unknown[0]}; choose from {', '.join(GOALS)}")
    for goal in given.goals or GOALS:
        GOALS[goal](given.rounds)


if __name__ == "__main__":
    main()

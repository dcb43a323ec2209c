"""Rows of the table that are single operations in one process, against what the scripts of benchmarks/ measure.

Each operation makes its data when it is asked for, and returns relrep's work and the peer's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the scripts find each other
import anchor as anchors
import compare as metrics
import neighbors
import project
from common import SMOKE, Work, ratio, seconds, size  # isort: split

import numpy as np
from scipy.spatial.distance import cdist

from relrep_cli.metrics import METRICS
from relrep_cli.neighbors import nearest
from relrep_cli.neighbors.kmeans import centroids
from relrep_cli.numerics import distances as kernels
from relrep_cli.numerics.farthest_rows import farthest

SHRINK = size(1, 50)


@dataclass(frozen=True)
class Operation:
    """An operation, what it is measured against, and at most how many times the peer's CPU seconds it may take."""

    operation: str
    shapes: str
    peer: str
    goal: float | None
    make: Callable[[], tuple[Work, Work]]
    peer_share: float = 1.0  # of the rows that the peer computes, where all would take minutes
    heavy: bool = False
    unit: str = "x"

    @property
    def name(self) -> str:
        return f"{self.operation}, {self.shapes}"


def normal(n: int, d: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(max(60, n // SHRINK), max(8, d // (8 if SMOKE else 1)))).astype(np.float32)


def _metric(row: str) -> Callable[[], tuple[Work, Work]]:
    def make() -> tuple[Work, Work]:
        data, metric, params, plain = metrics.ROWS[row]
        (x, y), entry = data(), METRICS[metric]
        return lambda: entry.function(x, y, **entry.resolve(params)), lambda: plain(x, y)

    return make


def _overlap(n: int, peer: Callable[..., Any]) -> Callable[[], tuple[Work, Work]]:
    def make() -> tuple[Work, Work]:
        x, y = neighbors.spaces(n, 64)
        return lambda: neighbors.knn_jaccard(x, y), lambda: peer(x, y)

    return make


def _search(n: int, d: int, peer: Callable[[np.ndarray], object]) -> Callable[[], tuple[Work, Work]]:
    def make() -> tuple[Work, Work]:
        x = normal(n, d)
        return lambda: nearest(x, x, 10, exclude_self=True), lambda: peer(x)

    return make


def by_faiss(x: np.ndarray) -> object:
    import faiss

    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return faiss.knn(unit, unit, 11, metric=faiss.METRIC_INNER_PRODUCT)


def all_products(x: np.ndarray) -> None:
    room = np.empty((2048, 2048), np.float32)
    for i in range(0, len(x), 2048):
        for j in range(0, len(x), 2048):
            a, b = x[i : i + 2048], x[j : j + 2048]
            np.matmul(a, b.T, out=room[: len(a), : len(b)])


def _sampled() -> tuple[Work, Work]:
    x, y = neighbors.spaces(50_000, 64)
    return lambda: neighbors.knn_jaccard(x, y, ci=0.005), lambda: neighbors.knn_jaccard(x, y)


def _indexed() -> tuple[Work, Work]:
    x, _ = neighbors.spaces(100_000, 64)
    return lambda: nearest(x, x, 10, exclude_self=True, index="ivf"), lambda: nearest(x, x, 10, exclude_self=True)


def _distance(kernel: Callable[..., object], peer: str) -> Callable[[], tuple[Work, Work]]:
    def make() -> tuple[Work, Work]:
        x = normal(100_000, 768)
        to = x[: min(300, len(x))].copy()
        few = x[: len(x) // 50]
        return lambda: project.blockwise(kernel, x, to), lambda: cdist(few, to, peer)

    return make


def _cosine() -> tuple[Work, Work]:
    x = normal(100_000, 768)
    to = x[: min(300, len(x))].copy()
    unit = kernels.unit(to)
    product = lambda some, anchors, out: np.matmul(some, anchors.T, out=out)  # noqa: E731
    return lambda: project.blockwise(kernels.cosine, x, unit), lambda: project.blockwise(product, x, to)


def _farthest(n: int, d: int) -> Callable[[], tuple[Work, Work]]:
    def make() -> tuple[Work, Work]:
        x = normal(n, d)
        picks = anchors.PICKS
        return lambda: farthest(x, 0, picks), lambda: [np.dot(x.ravel(), x.ravel()) for _ in range(picks)]

    return make


def _kmeans() -> tuple[Work, Work]:
    from sklearn.cluster import KMeans

    x, k = normal(60_000, 48), size(300, 10)
    peer = KMeans(k, init="random", n_init=1, max_iter=25, tol=0, random_state=0)
    return lambda: centroids(x, k, np.random.default_rng(0)), lambda: peer.fit(x)


READ = "reading the rows"
OPERATIONS = (
    Operation("k-NN", "10k x 64", "faiss.knn", 1.0, _search(10_000, 64, by_faiss)),
    Operation("k-NN (P3)", "10k x 768", "faiss.knn", 1 / 1.5, _search(10_000, 768, by_faiss)),
    Operation("k-NN (P4)", "50k x 64", "product of all pairs", 1 / 0.75, _search(50_000, 64, all_products)),
    Operation("k-NN (P4)", "50k x 768", "product of all pairs", 1 / 0.85, _search(50_000, 768, all_products), heavy=True),
    Operation("knn-jaccard (P2)", "10k x 64", "platonic-rep's mutual_knn", 1 / 20, _overlap(10_000, neighbors.mutual_knn)),
    Operation("knn-jaccard (P2)", "50k x 64", "scikit-learn", 1 / 8, _overlap(50_000, neighbors.sklearn_jaccard), heavy=True),
    Operation("k-NN --index ivf (P5)", "100k x 64", "exact k-NN of relrep", 0.35, _indexed, heavy=True),
    Operation("knn-jaccard --ci 0.005 (P6)", "50k x 64", "all rows", 1 / 15, _sampled),
    Operation("cosine (P8)", "100k x 768 on 300", "matrix product", 1 / 0.88, _cosine),
    Operation("L1 (P8)", "100k x 768 on 300", "scipy", 1 / 8, _distance(kernels.l1, "cityblock"), 50),
    Operation("Chebyshev (P8)", "100k x 768 on 300", "scipy", 1 / 4, _distance(kernels.chebyshev, "chebyshev"), 50),
    Operation("linear CKA (P10)", "2k x 768", "Gram matrices, torch", 1 / 10, _metric("linear CKA 2k x 768")),
    Operation("RBF CKA (P10)", "2k x 768", "Gram matrices, torch", 1 / 12, _metric("RBF CKA 2k x 768")),
    Operation("SVCCA (P11)", "20k x 300", "as the reference code goes", 1 / 2, _metric("SVCCA 20k x 300")),
    Operation("RSA, Spearman (P11)", "5k x 64", "scipy", 1 / 12, _metric("RSA 5k x 64"), heavy=True),
    Operation("farthest points (P12)", "1M x 48", READ, 1 / 0.8, _farthest(1_000_000, 48)),
    Operation("farthest points (P12)", "200k x 256", READ, 1 / 0.8, _farthest(200_000, 256)),
    Operation("farthest points (P12)", "100k x 768", READ, 1 / 0.8, _farthest(100_000, 768)),
    Operation("k-means, 300 centroids", "60k x 48", "scikit-learn", 1.0, _kmeans),
)


def measured(operation: Operation, rounds: int) -> dict[str, object]:
    """One row of the table: the median of rounds in which both take turns, after one to warm up."""
    ours, theirs = operation.make()
    timings = seconds({"ours": ours, "theirs": theirs}, 1 if operation.heavy else rounds)
    peer = timings["theirs"] * operation.peer_share
    times = ratio(timings["ours"], peer)
    kept = {name: getattr(operation, name) for name in ("operation", "shapes", "peer", "goal", "unit")}
    kept["goal"] = None if operation.goal is None else round(operation.goal, 4)
    met = None if operation.goal is None else bool(times <= operation.goal)
    return {**kept, "ours": round(timings["ours"], 4), "theirs": round(peer, 4), "ratio": round(times, 4), "met": met}

"""Agreement with other packages on random draws, where they compute the same; run where they are installed: pytest -m peers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relrep_cli.metrics import METRICS
from relrep_cli.numerics.workspace import Workspace

pytestmark = pytest.mark.peers


def clouds(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(90, 7))
    return x, x @ rng.normal(size=(7, 5)) + 2 * rng.normal(size=(90, 5))


def value(name: str, x: np.ndarray, y: np.ndarray, **params: Any) -> float:
    return float(METRICS[name].compute(x, y, params, workspace=Workspace(intervals=False)).value)


@pytest.mark.parametrize(("theirs", "ours"), [("spearman", "spearman"), ("corr", "pearson"), ("tau-b", "kendall")])
@pytest.mark.parametrize("distance", ["correlation", "euclidean"])
def test_rsa_equals_rsatoolbox(distance: str, theirs: str, ours: str) -> None:
    toolbox = pytest.importorskip("rsatoolbox")
    if distance == "euclidean" and ours == "pearson":
        return  # theirs are squared distances, which only ranks do not feel
    for seed in range(3):
        x, y = clouds(seed)
        rdms = [toolbox.rdm.calc_rdm(toolbox.data.Dataset(side), method=distance) for side in (x, y)]
        wanted = float(toolbox.rdm.compare(*rdms, method=theirs).squeeze())
        assert value("rsa", x, y, distance=distance, correlation=ours) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_linear_cka_equals_ckatorch(estimator: str) -> None:
    core = pytest.importorskip("ckatorch.core")
    import torch

    for seed in range(3):
        x, y = clouds(seed)
        wanted = core.cka_base(torch.from_numpy(x), torch.from_numpy(y), unbiased=estimator == "unbiased")
        assert value("cka", x, y, estimator=estimator) == pytest.approx(float(wanted), abs=1e-9)


def test_unbiased_linear_cka_equals_pytorch_cka() -> None:
    peer = pytest.importorskip("cka.cka")
    import torch

    for seed in range(3):
        x, y = clouds(seed)
        wanted = float(peer.cka_from_features(torch.from_numpy(x), torch.from_numpy(y)))
        assert value("cka", x, y, estimator="unbiased") == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("k", [3, 10])
def test_mutual_knn_equals_torchdr(k: int) -> None:
    peer = pytest.importorskip("torchdr.eval.neighborhood_preservation")
    for seed in range(3):
        x, y = clouds(seed)
        wanted = float(peer.neighborhood_preservation(x, y, k))
        assert value("mutual-knn", x, y, k=k, neighbors="euclidean") == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("by", ["cosine", "euclidean"])
def test_neighbours_equal_those_of_scikit_learn(by: str) -> None:
    from sklearn.neighbors import NearestNeighbors

    def sets(base: np.ndarray, queries: np.ndarray | None, k: int) -> list[set[int]]:
        return [
            set(row) for row in NearestNeighbors(n_neighbors=k, algorithm="brute", metric=by).fit(base).kneighbors(queries)[1]
        ]

    def agreement(a: list[set[int]], b: list[set[int]]) -> float:
        return float(np.mean([len(p & q) / len(p | q) for p, q in zip(a, b, strict=True)]))

    for seed in range(3):
        x, y = clouds(seed)
        own = agreement(sets(x, None, 10), sets(y, None, 10))
        assert value("knn-jaccard", x, y, k=10, neighbors=by) == pytest.approx(own, abs=1e-12)
        z = x + 0.3 * y[:, [0, 1, 2, 3, 4, 0, 1]]
        assert value("jaccard", x, z, k=10, neighbors=by) == pytest.approx(agreement(sets(x, x, 10), sets(z, x, 10)), abs=1e-12)


@pytest.mark.slow
def test_regressions_equal_those_of_scikit_learn() -> None:
    """Each item predicted from all the others; the penalty is on sums of squares, as theirs."""
    from sklearn.linear_model import LinearRegression, Ridge
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    for seed in range(3):
        x, y = clouds(seed)
        predicted = cross_val_predict(LinearRegression(), x, y, cv=LeaveOneOut())
        means = cross_val_predict(LinearRegression(), np.zeros((len(x), 1)), y, cv=LeaveOneOut())
        wanted = 1 - np.square(y - predicted).sum() / np.square(y - means).sum()
        assert value("linear-regression", x, y) == pytest.approx(wanted, abs=1e-9)
        centred = x - x.mean(0)
        predicted = cross_val_predict(Ridge(alpha=0.1 * np.square(centred).sum()), x, y, cv=LeaveOneOut())
        wanted = 1 - np.square(y - predicted).sum() / np.square(y - means).sum()
        assert value("linear-regression:ridge", x, y, penalty=0.1) == pytest.approx(wanted, abs=2e-3)


def test_shapes_equal_those_of_scipy() -> None:
    from scipy.linalg import orthogonal_procrustes
    from scipy.spatial import procrustes

    for seed in range(3):
        x, y = clouds(seed)
        y = np.pad(y, ((0, 0), (0, 2)))
        similarity = np.sqrt(1 - procrustes(x, y)[2])  # theirs also finds the best size
        assert value("procrustes", x, y) == pytest.approx(np.sqrt(2 - 2 * similarity), abs=1e-9)
        a, b = x - x.mean(0), y - y.mean(0)
        wanted = np.linalg.norm(a @ orthogonal_procrustes(a, b)[0] - b)
        assert value("procrustes:size", x, y) == pytest.approx(wanted, abs=1e-9)


def test_correlations_equal_those_of_scipy() -> None:
    from scipy import stats

    for seed in range(3):
        x, y = clouds(seed)
        y = x[:, :5] + y
        for name, theirs in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
            assert value(name, x[:, :5], y) == pytest.approx(theirs(x[:, :5].ravel(), y.ravel())[0], abs=1e-12)


def test_canonical_correlations_equal_those_of_scikit_learn() -> None:
    """CCA by NIPALS there: its first correlation; ours by moments."""
    from sklearn.cross_decomposition import CCA

    for seed in range(3):
        x, y = clouds(seed)
        u, v = CCA(n_components=5, max_iter=10_000, tol=1e-12).fit_transform(x, y)
        wanted = np.mean([np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(5)])
        assert value("cca", x, y) == pytest.approx(wanted, abs=1e-4)

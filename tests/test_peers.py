"""Agreement with other packages on random draws, where they compute the same; run where they are installed: pytest -m peers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from relrep_cli.inference import values_only
from relrep_cli.metrics import METRICS

pytestmark = pytest.mark.peers


def clouds(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(90, 7))
    return x, x @ rng.normal(size=(7, 5)) + 2 * rng.normal(size=(90, 5))


def value(name: str, x: np.ndarray, y: np.ndarray, **params: Any) -> float:
    with values_only():
        return float(METRICS[name].function(x, y, **params).value)


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

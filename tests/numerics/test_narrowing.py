"""Spaces with more dims than rows: rotated into as many dims as rows, with the same values, also in permutations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from relrep_cli.comparison.permutations import null_values
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS, kernels
from relrep_cli.metrics.score import NotApplicable
from relrep_cli.numerics import covariances, narrowing
from relrep_cli.numerics.narrowing import narrow
from relrep_cli.numerics.workspace import Workspace

ROTATED: list[tuple[str, dict[str, Any]]] = [
    *(
        (name, {})
        for name in (
            "procrustes",
            "procrustes:size",
            "procrustes:angle",
            "procrustes:similarity",
            "aligned-cosine",
            "svcca",
            "linear-regression:ridge",
        )
    ),
    ("gulp", {}),
    ("cka", {}),
    ("cka", {"estimator": "biased"}),
]
OF_LOW_RANK: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in ("cca", "pwcca", "linear-regression")]


def wide(n: int = 40, dx: int = 90, dy: int = 70, rank: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy views with more dims than rows, off centre and of unequal units; of a given rank up to the mean."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(n, 6))
    x, y = (hidden @ rng.normal(size=(6, d)) + 0.5 * rng.normal(size=(n, d)) for d in (dx, dy))
    if rank:
        x, y = (side[:, :rank] @ rng.normal(size=(rank, side.shape[1])) for side in (x, y))
    return x * np.geomspace(1, 1e3, dx) + 3, y - 1


def never(*_: Any) -> None:
    """No space is rotated."""


@pytest.fixture
def unrotated(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Any], np.ndarray, np.ndarray], Any]:
    """Computes the score in d x d."""

    def score(name: str, params: dict[str, Any], x: np.ndarray, y: np.ndarray) -> Any:
        with monkeypatch.context() as patch:
            for module in (covariances, kernels):
                patch.setattr(module, "narrow", lambda *_, **__: None)
            return METRICS[name].compute(x, y, params)

    return score


@pytest.mark.parametrize(("name", "params"), ROTATED, ids=str)
@pytest.mark.parametrize("swap", [False, True])
def test_the_cheaper_route_has_the_same_value(name: str, params: dict[str, Any], swap: bool, unrotated: Any) -> None:
    x, y = wide()
    for a, b in ((x, y), (x, y[:, :20])):
        a, b = (b, a) if swap else (a, b)
        result, plain = METRICS[name].compute(a, b, params), unrotated(name, params, a, b)
        assert result.value == pytest.approx(plain.value, rel=1e-10, abs=1e-10)
        assert result.extra.get("reverse", 0) == pytest.approx(plain.extra.get("reverse", 0), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(("name", "params"), OF_LOW_RANK, ids=str)
def test_the_cheaper_route_has_the_same_value_and_cuts_as_many_axes(name: str, params: dict[str, Any], unrotated: Any) -> None:
    x, y = wide(rank=9)
    x[:, 5] = 2.0  # a constant column
    result, plain = METRICS[name].compute(x, y, params), unrotated(name, params, x, y)
    assert result.value == pytest.approx(plain.value, rel=1e-9)
    assert result.convention == plain.convention
    assert "axes of the first space" in result.convention


@pytest.mark.parametrize(("name", "params"), [*ROTATED, *OF_LOW_RANK], ids=str)
@pytest.mark.parametrize("shape", ["wide", "one wide", "long"])
def test_permutations_have_the_values_of_permuted_rows(name: str, params: dict[str, Any], shape: str) -> None:
    rank = 9 if (name, params) in OF_LOW_RANK else None
    x, y = wide(rank=rank) if shape != "long" else wide(60, 7, 5)
    y = y[:, :8] if shape == "one wide" else y
    null = null_values(
        name, params, *(Embedding(side, row_numbers(len(side))) for side in (x, y)), range(4), 3, lambda part: None
    )
    orders = [np.random.default_rng([3, number]).permutation(len(y)) for number in range(4)]
    wanted = [METRICS[name].compute(x, y[order], params, workspace=Workspace(intervals=False)).value for order in orders]
    assert null == pytest.approx(wanted, rel=1e-9, abs=1e-10)


def test_a_rotation_keeps_inner_products_and_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = wide()
    for centred in (True, False):
        actual = narrow(x, centred, False)
        rows = x - x.mean(0) if centred else x
        assert actual is not None and actual.rows.shape == (40, 40)
        assert actual.rows @ actual.turn.T == pytest.approx(rows, abs=1e-9)
    assert narrow(x[:, :40], True, False) is None
    counts: list[int] = []
    real = narrowing._narrow
    monkeypatch.setattr(narrowing, "_narrow", lambda *a: (counts.append(1), real(*a))[1])
    workspace = Workspace(intervals=False)
    workspace.hold(x)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(40)
        permuted = x[order]
        inner = workspace.with_permutation(permuted, x, order)
        assert narrow(permuted, True, False, inner).rows == pytest.approx(
            real(permuted, True, False).rows @ (real(permuted, True, False).turn.T @ narrow(permuted, True, False, inner).turn),
            abs=1e-8,
        )
    assert len(counts) == 1


@pytest.mark.parametrize("name", ["procrustes", "cka", "linear-regression:ridge", "cca", "svcca"])
def test_a_constant_wide_space_is_named(name: str) -> None:
    x, y = wide()
    for fill in (0.1, 1e8 + 0.1):
        with pytest.raises(NotApplicable, match="the second space is constant"):
            METRICS[name].compute(x, np.full(y.shape, fill) * np.linspace(0.3, 0.7, y.shape[1]), {})

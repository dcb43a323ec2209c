"""Chance levels: those that are drawn are known to one per cent, follow the seed, and are those of random pairings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from conftest import Workdir
from transformations import NEED_SHARED_COLUMNS

from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import Score
from relrep_cli.numerics import chance_levels
from relrep_cli.numerics.chance_levels import Level, drawn
from relrep_cli.numerics.workspace import Workspace

DRAWN = [
    "ordered-knn:lcs", "ordered-knn", "ordered-knn:ranks", "second-order-cosine", "cknna", "nts", "cca", "svcca", "pwcca",
    "procrustes", "procrustes:size", "procrustes:angle", "procrustes:similarity", "aligned-cosine", "matching", "matching:semi",
    "matching:soft", "matching:partial",
]  # fmt: skip


def score(name: str, x: np.ndarray, y: np.ndarray, seed: int = 0) -> Score:
    return METRICS[name].compute(x, y, METRICS[name].resolve({}), seed=seed, labels=np.arange(len(x)) % 5)


def best(name: str) -> float:
    identity = METRICS[name].identity
    return 10.0 if identity == "k" else 1.0 if identity is None else float(identity)


def clouds(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + 0.5
    return x, x + rng.normal(size=(n, d))


def test_all_metrics_that_draw_are_tested() -> None:
    x, y = clouds(40, 4)
    assert [name for name in METRICS if name not in NEED_SHARED_COLUMNS and score(name, x, y).draws] == DRAWN


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(("n", "d"), [(24, 4), (150, 8)])
def test_a_drawn_level_is_known_to_one_per_cent_of_the_way_to_the_best(name: str, n: int, d: int) -> None:
    result = score(name, *clouds(n, d))
    assert 0 < result.chance_error < 0.01 * max(abs(best(name) - result.chance), 0.2)


@pytest.mark.parametrize("name", DRAWN)
def test_another_seed_draws_another_level_within_its_error(name: str) -> None:
    x, y = clouds(60, 5)
    one, again, other = (score(name, x, y, seed) for seed in (0, 0, 1))
    assert one.chance == again.chance != other.chance
    assert one.value == other.value
    assert abs(one.chance - other.chance) < 5 * np.hypot(one.chance_error, other.chance_error)


@pytest.mark.parametrize("name", ["matching", "matching:semi"])
def test_the_level_of_sparse_columns_is_that_of_random_pairings(name: str) -> None:
    """Few ones among zeros: sums of products are far from normal, so that no random rotation stands for a pairing."""
    rng = np.random.default_rng(2)
    x, y = ((rng.random((200, 40)) < 0.02) * 1.0 for _ in range(2))
    plain = Workspace(intervals=False)
    values = [METRICS[name].compute(x, y[rng.permutation(200)], {}, workspace=plain.for_pair()).value for _ in range(60)]
    result = score(name, x, y)
    assert result.chance == pytest.approx(np.mean(values), abs=5 * np.hypot(np.std(values) / 60**0.5, result.chance_error))


def test_rotations_stand_for_pairings_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds(400, 6)
    for name in ("procrustes", "matching"):
        paired = score(name, x, y)
        with monkeypatch.context() as patch:
            patch.setattr(chance_levels, "PAIRED", 0)
            rotated = score(name, x, y)
        assert paired.chance != rotated.chance
        assert paired.chance == pytest.approx(rotated.chance, abs=5 * np.hypot(paired.chance_error, rotated.chance_error))


def test_drawing_ends_when_the_error_is_small_or_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    actual = drawn(lambda rng: float(rng.normal(0.5, 0.1)), 1.0, 0)
    assert actual.error < 0.01 * abs(1 - actual.mean)
    assert abs(actual.mean - 0.5) < 5 * actual.error
    assert drawn(lambda rng: 0.25, 1.0, 0) == Level(0.25, 10, 0.0)
    monkeypatch.setattr(chance_levels, "MOST", 50)
    assert drawn(lambda rng: float(rng.normal(0, 100)), 1.0, 0).draws == 50


def test_the_error_is_printed_and_the_seed_obeyed(empty: Workdir) -> None:
    x, y = clouds(60, 5)
    np.save(empty / "a.npy", x)
    np.save(empty / "b.npy", y)
    records: list[list[dict[str, Any]]] = [
        json.loads(empty.here(f"relrep compare a.npy b.npy -m matching,cosine --seed {seed} --json -q").out) for seed in (0, 1)
    ]
    (first, closed), (second, _) = records
    assert first["chance"] != second["chance"]
    assert 0 < first["chance_error"] < 0.01
    assert closed.get("chance_error") is None

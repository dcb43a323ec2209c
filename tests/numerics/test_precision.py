"""Metrics keep their digits: at any offset, in any unit, where distances tie, and at the ends of float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from transformations import NEED_SHARED_COLUMNS

from relrep_cli.comparison.pairs_of_files import measure
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS, Score, dissimilarities
from relrep_cli.metrics.score import NotApplicable
from relrep_cli.neighbors import ranks
from relrep_cli.numerics import row_pairs
from relrep_cli.numerics.intervals import jackknife


def score(name: str, x: np.ndarray, y: np.ndarray, **params: Any) -> Score:
    labels = {"labels": params.pop("labels")} if "labels" in params else {}
    return METRICS[name].function(x, y, **METRICS[name].resolve(params), **labels)


def pair(n: int = 200, d: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two noisy views of one cloud, of numbers that stay exact at an offset of up to 2^26."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    return tuple(np.rint(side * 2**20) / 2**20 for side in (x, x + rng.normal(size=(n, d))))  # type: ignore[return-value]


# Metrics that follow the scale, with the power that they follow. The mean squared error leaves float64 before the others do.
FOLLOW_SCALE = {"procrustes:size": 1, "rsm-norm": 1, "magnitude-difference": 1, "mse": 2}
SCALES = [(1e-160, 1e-160), (1e150, 1e150), (1e-160, 1.0), (1.0, 1e150), (1e-300, 1e300)]
ONCE_MORE = [("cka", {"estimator": "biased"}), ("cka", {"estimator": "minibatch"}), ("cka", {"kernel": "rbf"})]


def numbers(result: Score) -> np.ndarray:
    jackknife = np.empty(0) if result.jackknife is None else result.jackknife
    return np.array([result.value, result.chance, *jackknife, *(() if result.rows is None else result.rows)])


@pytest.mark.parametrize(
    ("name", "params"), [*((name, {}) for name in METRICS if name not in {"mse", *NEED_SHARED_COLUMNS}), *ONCE_MORE], ids=str
)
def test_spaces_at_the_ends_of_float64_have_the_values_of_ordinary_ones(name: str, params: dict[str, Any]) -> None:
    x, y = pair(60, 4)
    x, y = x + 0.25, y + 0.25
    labels = {"labels": np.arange(60) % 3} if name == "label-overlap" else {}
    wanted = numbers(score(name, x, y, **params, **labels))
    for a, b in SCALES if name not in FOLLOW_SCALE else [(1e-160, 1e-160), (1e150, 1e150), (1e300, 1e300)]:
        actual = numbers(score(name, x * a, y * b, **params, **labels)) / a ** FOLLOW_SCALE.get(name, 0)
        assert actual == pytest.approx(wanted, rel=1e-7, abs=1e-9), (a, b)


def test_the_interval_of_large_numbers_does_not_overflow() -> None:
    without = np.array([1.0, 2.0, 3.0, 2.5, 1.5])
    wanted = np.array(jackknife(2.0, without))
    for unit in (1e-200, 1e200):
        assert np.array(jackknife(2.0 * unit, without * unit)) == pytest.approx(wanted * unit, rel=1e-12)


def test_what_leaves_float64_is_said_to() -> None:
    a, b = (Embedding(side * 1e200, row_numbers(200)) for side in pair())
    with pytest.raises(NotApplicable, match="the squares of the coordinates do not fit float64"):
        measure("mse", {}, a, b)


def test_the_chance_level_of_mse_is_the_same_at_any_offset() -> None:
    x, y = pair()
    wanted = np.square(x[:, None] - y[None]).mean()
    for offset in (0.0, 2.0**20, 2.0**26):
        assert score("mse", x + offset, y + offset).chance == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("unit", [1e-20, 1e20])
@pytest.mark.parametrize("correlation", ["spearman", "pearson", "kendall"])
def test_rsa_is_the_same_in_any_unit(correlation: str, unit: float) -> None:
    x, y = pair(60)
    wanted = score("rsa", x, y, distance="euclidean", correlation=correlation).value
    result = score("rsa", x * unit, y, distance="euclidean", correlation=correlation).value
    assert result == pytest.approx(wanted, abs=1e-9)


def pairs_of(table: np.ndarray) -> np.ndarray:
    return table[np.triu_indices(len(table), 1)]


@pytest.mark.parametrize("exact_rows", [2048, 40], ids=["exact", "binned"])
@pytest.mark.parametrize("correlation", ["spearman", "kendall"])
def test_rsa_ranks_equal_distances_alike(correlation: str, exact_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two dims, correlation distances are all 0 or 2."""
    monkeypatch.setattr(dissimilarities, "EXACT_ROWS", exact_rows)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    y[:30] = x[:30]
    signs = [np.sign(side[:, 0] - side[:, 1]) for side in (x, y)]
    u, v = (pairs_of(sign[:, None] != sign) for sign in signs)
    assert score("rsa", x, y, correlation=correlation).value == pytest.approx(np.corrcoef(u, v)[0, 1], abs=1e-9)
    assert score("rsa", x, 3 * x, correlation=correlation).value == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean"])
@pytest.mark.parametrize("correlation", ["spearman", "kendall"])
def test_rsa_of_whole_numbers_feels_no_order_of_the_columns(correlation: str, distance: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(200, 12)).astype(float)
    result = score("rsa", x, x[:, rng.permutation(12)], distance=distance, correlation=correlation)
    assert result.value == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize("name", ["knn-jaccard", "ordered-knn", "mutual-knn"])
def test_neighbours_at_equal_cosine_come_by_row_number(name: str, offset: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(200, 12)).astype(float) + offset
    order = rng.permutation(12)
    assert score(name, x, x[:, order]).value == 1
    assert score(name, x, 3 * x[:, order]).value == 1


@pytest.mark.parametrize("offset", [0, 3])
def test_ranks_at_equal_cosine_go_by_row_number(offset: int) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 2, size=(200, 12)).astype(float) + offset for _ in range(2))
    order = rng.permutation(12)
    assert np.array_equal(ranks(x, y), ranks(3 * x[:, order], y[:, order]))


@pytest.mark.parametrize("neighbours", ["cosine", "euclidean"])
def test_information_imbalance_far_from_the_origin(neighbours: str) -> None:
    x, y = pair(300)[0], pair(300, seed=1)[0]
    actual = [score("information-imbalance", x + o, y + o, neighbors=neighbours).value for o in (2.0**14, 2.0**20, 2.0**24)]
    assert actual == pytest.approx([actual[0]] * 3, abs=1e-3)
    assert 0.9 < actual[0] < 1.1


@pytest.mark.parametrize("unit", [1e-8, 1e8])
@pytest.mark.parametrize("name", ["matching", "matching:semi"])
def test_one_column_in_another_unit_changes_no_matching(name: str, unit: float) -> None:
    x, y = pair(300, 5)
    y = y @ np.random.default_rng(1).normal(size=(5, 5))
    result = score(name, x * [1, unit, 1, 1, 1], y)
    assert result.value == pytest.approx(score(name, x, y).value, abs=1e-9)
    assert result.chance == pytest.approx(score(name, x, y).chance, abs=1e-9)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e7 + 0.1])
def test_constant_columns_are_left_out_whatever_their_size(constant: float) -> None:
    x, y = pair(3000, 5)
    more = np.insert(x, 2, constant, 1)
    result = score("matching", more, y)
    assert result.value == pytest.approx(score("matching", x, y).value, abs=1e-9)
    assert "1 constant columns left out" in result.convention


def test_columns_that_vary_in_their_last_bit_are_constant() -> None:
    x, y = pair(300, 5)
    more = np.insert(x, 2, np.where(np.arange(300) % 2, 0.1, np.nextafter(0.1, 1)), 1)
    result = score("matching:semi", more, y)
    assert result.value == pytest.approx(score("matching:semi", x, y).value, abs=1e-9)
    assert "1 constant columns left out" in result.convention


@pytest.mark.parametrize("unit", [1e-8, 1e8])
def test_one_column_in_another_unit_changes_no_canonical_correlation(unit: float) -> None:
    x, y = pair(300, 5)
    wanted = score("cca", x, y).value
    assert score("cca", x * [1, unit, 1, 1, 1], y).value == pytest.approx(wanted, abs=1e-9)
    constant = np.insert(x * [1, 1, 1, unit, 1], 2, 0.1, 1)
    assert score("cca", constant, y).value == pytest.approx(wanted, abs=1e-9)


def press(x: np.ndarray, y: np.ndarray) -> float:
    """Held-out R2 of y from x, each row left out, from a QR decomposition of columns of length 1."""
    n, u, v = len(x), x - x.mean(0), y - y.mean(0)
    q = np.linalg.qr(u / np.linalg.norm(u, axis=0))[0]
    errors = (v - q @ (q.T @ v)) / (1 - 1 / n - np.square(q).sum(1))[:, None]
    return float(1 - np.square(errors).sum() / np.square(v * n / (n - 1)).sum())


def overlap(x: np.ndarray, y: np.ndarray) -> float:
    u, v = (np.linalg.qr(side / np.linalg.norm(side, axis=0))[0] for side in (x, y))
    return float(np.square(u.T @ v).sum() / max(x.shape[1], y.shape[1]))


def pwcca(x: np.ndarray, y: np.ndarray) -> float:
    u, v = x - x.mean(0), y - y.mean(0)
    left, right = (np.linalg.qr(side / np.linalg.norm(side, axis=0))[0] for side in (u, v))
    turn, correlations, _ = np.linalg.svd(left.T @ right, full_matrices=False)
    weights = np.abs((left @ turn).T @ u).sum(1)
    return float(weights @ correlations / weights.sum())


UNITS = [np.array([1e-7, 1, 1, 1, 1]), np.array([1, 1e7, 1, 1, 1])]
CUTTING = {"linear-regression": press, "eigenspace-overlap": overlap, "pwcca": pwcca}


@pytest.mark.parametrize("name", CUTTING)
@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_no_axis_is_cut_because_a_column_has_another_unit(name: str, unit: np.ndarray) -> None:
    x, y = pair(300, 5)
    for a, b in ((x * unit, y), (x, y * unit)):
        result = score(name, a, b)
        assert result.value == pytest.approx(CUTTING[name](a, b), abs=1e-8)
        assert " axes " not in result.convention


def test_one_large_column_of_many_leaves_the_others_to_predict() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 200))
    y = x @ rng.normal(size=(200, 10)) + rng.normal(size=(500, 10))
    x[:, 0] *= 1e7
    assert score("linear-regression", x, y).value == pytest.approx(press(x, y), abs=1e-8)


@pytest.mark.parametrize("name", ["cca", *CUTTING])
def test_axes_that_are_cut_are_counted_in_the_convention(name: str) -> None:
    x, y = pair(300, 5)
    wide = np.concatenate([x, x[:, :1] + x[:, 1:2], np.full((300, 1), 2.0)], 1)[:, : 6 if name == "eigenspace-overlap" else 7]
    cut = wide.shape[1] - 5
    assert f", {cut} of {wide.shape[1]} axes of the first space cut" in score(name, wide, y).convention
    assert f", {cut} of {wide.shape[1]} axes of the second space cut" in score(name, y, wide).convention


@pytest.mark.parametrize("name", ["linear-regression:ridge", "gulp"])
def test_a_penalty_needs_no_cut(name: str) -> None:
    """An axis with 1e-15 of the variance counts as it should beside the least penalty, and its removal changes the value."""
    x, y = pair(300, 5)
    x = x * [3e-8, 1, 1, 1, 1]
    u, v = x - x.mean(0), y - y.mean(0)
    penalty = 1e-9
    if name == "linear-regression:ridge":
        n, spread = 300, np.square(u).sum()
        hat = u @ np.linalg.solve(u.T @ u + penalty * spread * np.eye(5), u.T)
        errors = (v - hat @ v) / (1 - 1 / n - np.diag(hat))[:, None]
        wanted = 1 - np.square(errors).sum() / np.square(v * n / (n - 1)).sum()
    else:
        hats = [s @ np.linalg.solve(s.T @ s + penalty * np.square(s).sum() * np.eye(5), s.T) for s in (u, v)]
        wanted = np.square(hats[0] - hats[1]).sum()
    assert score(name, x, y, penalty=penalty).value == pytest.approx(wanted, rel=1e-9)


def test_eigenspace_overlap_far_from_the_origin_is_refused_not_wrong() -> None:
    x, y = pair(300, 5)
    assert score("eigenspace-overlap", x + 1e5, y + 1e5).value == pytest.approx(
        score("eigenspace-overlap", x + 1e3, y + 1e3).value, abs=1e-2
    )
    with pytest.raises(NotApplicable, match="the second space lies so far from the origin"):
        score("eigenspace-overlap", x, y + 1e6)


def test_distances_of_near_rows_are_no_rounding() -> None:
    """Rows a ten-thousandth apart beside lengths of 3 keep their digits; equal rows are at 0 exactly."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 9))
    x = np.concatenate([x, x + 1e-4 * rng.normal(size=x.shape), x[:5]])
    every = np.arange(len(x))
    actual = row_pairs.between(x, "euclidean")(every, every.copy())
    exact = np.sqrt(np.square(x[:, None] - x).sum(2))
    assert actual == pytest.approx(exact, rel=1e-6, abs=1e-30)
    assert (actual[exact == 0] == 0).all() and np.count_nonzero(actual == 0) == len(x) + 10

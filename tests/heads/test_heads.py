"""Heads learn what is there to learn, of classes and of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from relrep_cli.base.errors import UsageError
from relrep_cli.heads import heads, linear_models
from relrep_cli.heads.heads import HEADS, weighted_f1

CLASSES, DIMS = 4, 12
LONGER: dict[str, dict[str, Any]] = {name: {} for name in HEADS} | {"mlp": {"head_epochs": 40}, "knn": {"neighbors": 240}}
CLASSIFIERS = [name for name in HEADS if "classes" in HEADS[name].predicts]
every_head = pytest.mark.parametrize("name", CLASSIFIERS)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clouds(n: int = 1200, seed: int = 0, d: int = DIMS, means: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four clouds whose means stand well apart; `means` is the seed that places them."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, CLASSES, n)
    return 2.0 * np.random.default_rng(means).normal(size=(CLASSES, d))[target] + 0.7 * rng.normal(size=(n, d)), target


def train(name: str, x: np.ndarray, target: np.ndarray, seed: int = 0, classes: int = CLASSES, **given: Any) -> heads.Trained:
    few = {"head_epochs": 5} if name == "mlp" else {}
    return heads.train(name, x, target, classes, HEADS[name].resolve(few | given), seed)


def accuracy(name: str, x: np.ndarray, target: np.ndarray, q: np.ndarray, truth: np.ndarray, **given: Any) -> float:
    return float((train(name, x, target, **given)(q) == truth).mean())


# Heads


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.dtype(">f4")], ids=str)
@every_head
def test_clouds_apart_are_told_apart(name: str, dtype: Any) -> None:
    (x, target), (q, truth) = clouds(), clouds(seed=1)
    assert accuracy(name, x.astype(dtype), target, q.astype(dtype), truth) > 0.95


@every_head
def test_labels_that_say_nothing_are_not_learned(name: str) -> None:
    (x, _), (q, _) = clouds(), clouds(seed=1)
    rng = np.random.default_rng(2)
    assert accuracy(name, x, rng.integers(0, CLASSES, len(x)), q, rng.integers(0, CLASSES, len(q))) == pytest.approx(
        0.25, abs=0.06
    )


@every_head
def test_the_same_seed_predicts_the_same(name: str) -> None:
    (x, target), (q, _) = clouds(400, d=3), clouds(3000, seed=1, d=3)
    state = torch.random.get_rng_state()
    predicted = [train(name, x, target, seed=seed)(q) for seed in (3, 3, 4)]
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random state is left alone"
    assert np.array_equal(predicted[0], predicted[1])
    assert np.array_equal(predicted[0], predicted[2]) == HEADS[name].deterministic


@every_head
def test_the_order_of_the_questions_is_nothing(name: str) -> None:
    (x, target), (q, _) = clouds(400), clouds(9000, seed=1)  # more than one block
    head = train(name, x, target)
    order = np.random.default_rng(0).permutation(len(q))
    assert np.array_equal(head(q[order]), head(q)[order])
    assert head(q[:0]).shape == (0,)


# Large ones do drown the mlp head, whose first layer puts each row on one scale.
CONSTANTS = [(name, value) for name in CLASSIFIERS for value in (0.0, 0.1, -7.3, 1e6 + 0.1) if name != "mlp" or value < 10]


@pytest.mark.parametrize(("name", "value"), CONSTANTS)
def test_constant_columns_say_nothing(name: str, value: float) -> None:
    """Their deviation is rounding, of either sign, and must not become a divisor."""
    for n in (997, 1000, 1200):
        (x, target), (q, truth) = clouds(n), clouds(seed=1)
        x[:, [2, 5]] = value
        q[:, [2, 5]] = value
        assert accuracy(name, x, target, q, truth) > 0.95


@every_head
def test_a_space_of_constants_predicts_the_largest_class(name: str) -> None:
    target = np.repeat([0, 1, 2, 3], [10, 200, 20, 10])
    x = np.full((240, 5), 0.3)
    assert set(train(name, x, target, **LONGER[name])(x)) == {1}


@every_head
def test_a_class_without_training_rows_is_not_expected(name: str) -> None:
    (x, target), (q, truth) = clouds(), clouds(seed=1)
    for absent in (0, CLASSES - 1):
        kept = target != absent
        predicted = train(name, x[kept], target[kept])(q)
        assert (predicted == absent).mean() < 0.01
        assert (predicted == truth)[truth != absent].mean() > 0.95


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_linear_head_knows_no_unit(scale: float) -> None:
    (x, target), (q, _) = clouds(300), clouds(2000, seed=1)
    factors = np.geomspace(1, scale, DIMS)
    assert np.array_equal(train("linear", x * factors + scale, target)(q * factors + scale), train("linear", x, target)(q))


def test_the_linear_head_is_ridge_regression() -> None:
    """Against the normal equations on standard-scaled columns, all rows at once."""
    (x, target), (q, _) = clouds(300, d=5), clouds(2000, seed=1, d=5)
    mean, deviation = x.mean(0), x.std(0)
    z, aims = (x - mean) / deviation, np.eye(CLASSES)[target]
    for ridge in (0.01, 3.0):
        weights = np.linalg.solve(z.T @ z + ridge * len(x) * np.eye(5), z.T @ (aims - aims.mean(0)))
        wanted = ((q - mean) / deviation @ weights + aims.mean(0)).argmax(1)
        assert np.array_equal(train("linear", x, target, ridge=ridge)(q), wanted)


def test_more_columns_than_rows() -> None:
    (x, target), (q, truth) = clouds(60, d=100), clouds(400, seed=1, d=100)
    assert accuracy("linear", x, target, q, truth) > 0.95
    assert accuracy("linear", x, target, x, target, ridge=0.0) == 1


@every_head
def test_read_only_maps_are_taken_as_they_are(name: str, tmp_path: Path) -> None:
    """A warning is an error in these tests, and torch warns of memory that it may not write to."""
    x, target = clouds(300)
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.array_equal(train(name, mapped, target)(mapped), train(name, np.array(mapped), target)(np.array(mapped)))


@pytest.mark.parametrize("classes", [0, 2, 5])
@pytest.mark.parametrize("name", ["linear", "logistic"])
def test_linear_models_of_a_device_are_those_of_the_cpu(name: str, classes: int) -> None:
    """Columns of unequal scale, far from the origin; a class that no row has."""
    if not classes and "numbers" not in HEADS[name].predicts:
        pytest.skip("predicts classes only")
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (1200, 100)) * rng.uniform(0.1, 10, 100)
    target = (x[:, : max(classes, 1)] - x[:, : max(classes, 1)].mean(0)) / x[:, : max(classes, 1)].std(0)
    y = (target + rng.normal(size=target.shape)).argmax(1) if classes else target[:, 0] + 1e3
    here, there = (heads.train(name, x, y, classes and classes + 1, {}, device=device) for device in ("cpu", "torch:cpu"))
    for part in here.arrays:
        wanted = here.arrays[part]
        assert np.abs(there.arrays[part] - wanted).max() <= 1e-9 * np.abs(wanted).max()
    np.testing.assert_allclose(there(x), here(x), rtol=1e-9)


def test_auto_looks_for_a_device_for_much_work_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """To load torch takes seconds; without torch there is no device."""
    monkeypatch.setattr("relrep_cli.numerics.devices.find_spec", lambda name: None)
    assert linear_models.device_of("auto", 10**7, 1000, 10) is None
    monkeypatch.setattr(linear_models, "device_for", lambda *given: given)
    assert linear_models.device_of("auto", 10**5, 1000, 10) is None
    assert linear_models.device_of("auto", 10**7, 1000, 10) == ("auto", 10**7, 1000)
    assert linear_models.device_of("cuda", 10**3, 10, 10) == ("cuda", 10**3, 10)


@pytest.mark.parametrize("device", ["abacus", "mps"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    x, target = clouds(20)
    with pytest.raises(UsageError, match=f"--device {device}: this machine has no such device"):
        HEADS["mlp"].function(x, target, CLASSES, seed=0, device=device)


@pytest.mark.slow
@every_head
def test_the_same_predictions_for_any_number_of_threads(name: str) -> None:
    """Labels are noise here, so that the least difference between two heads would show."""
    rng, actual = np.random.default_rng(0), []
    x, q, target = rng.normal(size=(600, 200)), rng.normal(size=(1500, 200)), rng.integers(0, 5, 600)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        actual.append(train(name, x, target, classes=5)(q))
        assert torch.get_num_threads() == threads, "the caller's threads are given back"
    assert np.array_equal(*actual)


@pytest.mark.parametrize(
    ("predicted", "target", "classes", "wanted"),
    [
        ([0, 0, 1], [0, 1, 1], 2, 2 / 3),
        ([0, 1, 2, 2], [0, 1, 2, 2], 3, 1.0),
        ([1, 0], [0, 1], 2, 0.0),
        # class 0: precision 1/2, recall 1: 2/3; class 1: precision 1, recall 2/3: 4/5; class 2 is never true
        ([0, 0, 1, 1, 2], [0, 1, 1, 1, 0], 3, (2 * 0.5 + 3 * 0.8) / 5),
    ],
)
def test_weighted_f1_by_hand(predicted: list[int], target: list[int], classes: int, wanted: float) -> None:
    assert weighted_f1(np.array(predicted), np.array(target), classes) == pytest.approx(wanted)


# Heads of scikit-learn, and k nearest neighbours, against it


def scaled(x: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (x - x.mean(0)) / x.std(0), (q - x.mean(0)) / x.std(0)


def test_logistic_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    (x, target), (q, _) = clouds(300, d=5), clouds(2000, seed=1, d=5)
    z, zq = scaled(x, q)
    wanted = LogisticRegression(C=1 / (0.01 * 300), max_iter=500).fit(z, target).predict(zq)
    assert (train("logistic", x, target, penalty=0.01)(q) == wanted).mean() > 0.999


def test_knn_is_that_of_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    (x, target), (q, _) = clouds(300, d=5), clouds(2000, seed=1, d=5)
    wanted = KNeighborsClassifier(3).fit(x, target).predict_proba(q)
    sure = np.sort(wanted, 1)[:, -1] > 0.5  # no tie of votes
    predicted = train("knn", x, target, neighbors=3)(q)
    assert sure.mean() > 0.9 and np.array_equal(predicted[sure], wanted.argmax(1)[sure])
    numbers = KNeighborsRegressor(3).fit(x, x[:, 0]).predict(q)
    assert np.allclose(train("knn", x, x[:, 0], classes=0, neighbors=3)(q), numbers)


def test_the_mlp_head_runs_as_torch_would() -> None:
    x, target = clouds(300)
    arrays = train("mlp", x, target).arrays
    t = {name: torch.from_numpy(values) for name, values in arrays.items()}
    normed = torch.nn.functional.layer_norm(torch.from_numpy(x.astype(np.float32)), (DIMS,), t["norm.weight"], t["norm.bias"])
    active = torch.tanh(normed @ t["hidden.weight"].T + t["hidden.bias"])
    wanted = active @ t["out.weight"].T + t["out.bias"]
    assert np.allclose(HEADS["mlp"].scores(arrays, x), wanted.numpy(), atol=1e-4)


def test_the_mlp_head_converges_on_few_rows() -> None:
    """One pass over 140 rows is one step, so a number of passes that suits 60,000 rows would leave the head untrained."""
    (x, target), (q, truth) = clouds(140), clouds(1000, seed=1)
    default, few = (accuracy("mlp", x, target, q, truth, head_epochs=epochs) for epochs in (0, 5))
    assert HEADS["mlp"].resolve({})["head_epochs"] == 0 and default > 0.97 > few


@pytest.mark.parametrize("name", ["logistic", "svm"])
@pytest.mark.parametrize("seen", [[1], [0, 3], [0, 1, 2, 3]], ids=str)
def test_any_number_of_classes_may_be_seen(name: str, seen: list[int]) -> None:
    (x, target), (q, truth) = clouds(), clouds(seed=1)
    kept, judged = np.isin(target, seen), np.isin(truth, seen)
    assert (train(name, x[kept], target[kept])(q[judged]) == truth[judged]).mean() > 0.95


# Numbers


@pytest.mark.parametrize("name", [name for name in HEADS if "numbers" in HEADS[name].predicts])
@pytest.mark.parametrize(("level", "spread"), [(0.0, 1.0), (1e6, 20.0), (-3.0, 1e-6)])
def test_numbers_are_predicted_in_their_own_unit(name: str, level: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    x, q, weights = rng.normal(size=(1500, 6)), rng.normal(size=(500, 6)), rng.normal(size=6)
    y, truth = (level + spread * (rows @ weights) for rows in (x, q))
    predicted = train(name, x, y, classes=0, **({"head_epochs": 30} if name == "mlp" else {}))(q)
    assert 1 - np.square(predicted - truth).mean() / truth.var() > (0.5 if name == "mlp" else 0.8)  # it sees directions only
    shuffled = train(name, x, rng.permutation(y), classes=0)(q)
    assert 1 - np.square(shuffled - truth).mean() / truth.var() < 0.2


def test_linear_numbers_are_exact() -> None:
    rng = np.random.default_rng(0)
    x, q, weights = rng.normal(size=(200, 6)), rng.normal(size=(50, 6)), rng.normal(size=6)
    assert np.allclose(train("linear", x, 1e5 + x @ weights, classes=0, ridge=0.0)(q), 1e5 + q @ weights, atol=1e-6)


@pytest.mark.parametrize("classes", [0, CLASSES])
def test_rows_that_stay_on_the_device_train_the_same_head(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, target = clouds(300)
    here = train("mlp", x, target, classes=classes)
    monkeypatch.setattr("relrep_cli.heads.mlp.own_memory", lambda on: 1 << 30)
    there = train("mlp", x, target, classes=classes)
    assert all(np.array_equal(here.arrays[name], there.arrays[name]) for name in here.arrays)

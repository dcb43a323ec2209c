"""Heads learn what is there to learn, and stitching across rotations works in relative coordinates and fails in absolute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from relrep_cli.embedding import Embedding, row_numbers, text
from relrep_cli.errors import DataError, UsageError
from relrep_cli.heads import HEADS, weighted_f1
from relrep_cli.projection import Recipe, basis, relative
from relrep_cli.stitching import Task, grid, prepare, refuse_leaks, targets

CLASSES, DIMS = 4, 12
LONGER: dict[str, dict[str, Any]] = {
    name: {"head_epochs": 40} if "head_epochs" in HEADS[name].keywords else {} for name in HEADS
}
every_head = pytest.mark.parametrize("name", HEADS)


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


def train(name: str, x: np.ndarray, target: np.ndarray, seed: int = 0, classes: int = CLASSES, **given: Any) -> Any:
    params = HEADS[name].resolve(given)
    return HEADS[name].function(x, target, classes, seed=seed, device="cpu", **params)


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
    found = [train(name, x, target, seed=seed)(q) for seed in (3, 3, 4)]
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random state is left alone"
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2]) == HEADS[name].deterministic


@every_head
def test_the_order_of_the_questions_is_nothing(name: str) -> None:
    (x, target), (q, _) = clouds(400), clouds(9000, seed=1)  # more than one block
    head = train(name, x, target)
    order = np.random.default_rng(0).permutation(len(q))
    assert np.array_equal(head(q[order]), head(q)[order])
    assert head(q[:0]).shape == (0,)


# Large ones do drown the mlp head, whose first layer puts each row on one scale.
CONSTANTS = [(name, value) for name in HEADS for value in (0.0, 0.1, -7.3, 1e6 + 0.1) if name != "mlp" or value < 10]


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
        found = train(name, x[kept], target[kept])(q)
        assert (found == absent).mean() < 0.01
        assert (found == truth)[truth != absent].mean() > 0.95


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


@pytest.mark.parametrize("device", ["abacus", "mps"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    x, target = clouds(20)
    with pytest.raises(UsageError, match=f"--device {device}: torch finds no such device here; found: cpu"):
        HEADS["mlp"].function(x, target, CLASSES, seed=0, device=device)


@every_head
def test_the_same_predictions_for_any_number_of_threads(name: str) -> None:
    """Labels are noise here, so that the least difference between two heads would show."""
    rng, found = np.random.default_rng(0), []
    x, q, target = rng.normal(size=(1000, 300)), rng.normal(size=(3000, 300)), rng.integers(0, 5, 1000)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(train(name, x, target, classes=5)(q))
        assert torch.get_num_threads() == threads, "the caller's threads are given back"
    assert np.array_equal(*found)


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


# Stitching


def encoded(turn_seed: int | None, d: int = DIMS, n: int = 1500) -> Embedding:
    """One cloud of items as an encoder of that seed sees it: turned and scaled; None leaves it as it is."""
    x, target = clouds(n)
    if turn_seed is not None:
        rng = np.random.default_rng(turn_seed)
        x = 1.7 * x @ np.linalg.qr(rng.normal(size=(DIMS, DIMS)))[0][:, :d]
    split = np.where(np.arange(n) % 3 == 0, b"test", b"train")
    obs = {"label": text(f"class {t}" for t in target), "split": split}
    return Embedding(x, row_numbers(n), obs, uri=f"{turn_seed}.h5", space=str(turn_seed))


def stitched(spaces: list[Embedding], name: str, seeds: range = range(1)) -> list[dict[str, Any]]:
    classes = targets(spaces, "label")
    tasks = [prepare(e, "label", classes) for e in spaces]
    return grid(tasks, len(classes), name, HEADS[name].resolve({}), seeds, "cpu", lambda *_: None)


def test_relative_heads_stitch_across_a_rotation_and_absolute_ones_do_not() -> None:
    spaces = [encoded(None), encoded(1)]
    anchors = spaces[0].ids[1:60:3]
    related = [relative(e, basis(e, Recipe(anchors))) for e in spaces]
    for name in HEADS:
        for record in stitched(related, name):
            assert record["end_to_end"] > 0.95
            assert record["stitching_index"] == pytest.approx(1, abs=0.01)
        for record in stitched(spaces, name):
            assert record["end_to_end"] > 0.95
            if record["encoder"] == record["head"]:
                assert record["stitching_index"] == 1
            else:
                assert record["accuracy"] < 0.6


@every_head
def test_a_cell_says_all_that_it_should(name: str) -> None:
    spaces = [encoded(None), encoded(1)]
    records = stitched(spaces, name, range(5, 8))
    assert [(r["encoder"], r["head"]) for r in records] == [(a, b) for a in ("None.h5", "1.h5") for b in ("None.h5", "1.h5")]
    for record in records:
        assert record["n"] == 500
        assert 0 <= record["low"] <= record["accuracy"] <= record["high"] <= 1
        assert record["low"] < record["high"] or record["accuracy"] == 1
        assert 0 <= record["f1"] <= 1
        assert record["stitching_index"] == record["accuracy"] / record["end_to_end"]
    assert any(r["deviation"] > 0 for r in records) != HEADS[name].deterministic


def test_unequal_dims_have_no_value() -> None:
    records = stitched([encoded(None), encoded(1, d=8)], "linear")
    for record in records:
        names = ("accuracy", "f1", "stitching_index", "deviation", "low", "high")
        missing = [name for name in names if record[name] is None]
        assert missing == ([] if record["encoder"] == record["head"] else list(names))
        assert record["end_to_end"] is not None


def test_a_class_absent_in_one_space_is_still_a_class() -> None:
    a, b = encoded(None), encoded(1)
    kept = b.obs["label"] != b"class 3"
    b = Embedding(b.x[kept], b.ids[kept], {k: v[kept] for k, v in b.obs.items()}, uri="b.h5")
    assert targets([b, a], "label").tolist() == [f"class {i}".encode() for i in range(4)]
    fewer = int((b.obs["split"] == b"test").sum())
    assert [r["n"] for r in stitched([a, b], "linear")] == [500, 500, fewer, fewer]


def test_rows_without_a_known_class_are_left_out() -> None:
    e = encoded(None)
    labels = e.obs["label"].copy()
    labels[:300] = b""
    e = Embedding(e.x, e.ids, {**e.obs, "label": labels}, uri="a.h5")
    classes = targets([e], "label")
    assert b"" not in classes
    task = prepare(e, "label", classes)
    assert (len(task.x_train), len(task.x_test)) == (800, 400)
    assert isinstance(task, Task) and set(task.y_train) == set(range(4))


def test_what_cannot_be_stitched_is_refused() -> None:
    e = encoded(None, n=90)

    def having(**obs: Any) -> Embedding:
        return Embedding(e.x, e.ids, {k: v for k, v in {**e.obs, **obs}.items() if v is not None}, uri="a.h5")

    with pytest.raises(DataError, match=r"a\.h5: no column 'lable'; columns found: label, split"):
        targets([having()], "lable")
    with pytest.raises(DataError, match=r"column score holds numbers with fractions"):
        targets([having(score=np.linspace(0, 1, 90))], "score")
    with pytest.raises(DataError, match=r"column label: 1 class in the training rows; a head needs two"):
        targets([having(label=text(["x"] * 90))], "label")
    for split, missing in ((None, "train"), (text(["train"] * 90), "test"), (text(["test"] * 90), "train")):
        with pytest.raises(DataError, match=rf"a\.h5: no rows of split '{missing}'"):
            prepare(having(split=split), "label", targets([having()], "label"))


def test_an_item_that_trains_here_and_tests_there_is_a_leak() -> None:
    a, b = encoded(None, n=90), encoded(1, n=90)
    refuse_leaks([a, b])
    moved = Embedding(b.x, b.ids, {**b.obs, "split": np.roll(b.obs["split"], 1)}, uri="b.h5")
    with pytest.raises(DataError, match=r"30 items train in None\.h5 and test in b\.h5, such as 1; use one split for all"):
        refuse_leaks([a, moved])

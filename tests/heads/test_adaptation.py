"""Stitched heads that learn on: on a few rows of the new encoder, and back to images."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from conftest import Workdir, columns, vectors

from relrep_cli.embedding import row_numbers, text
from relrep_cli.heads import mlp as networks
from relrep_cli.heads.decoder import pixels
from relrep_cli.heads.heads import Trained, train
from relrep_cli.relative.aggregators import AGGREGATORS
from relrep_cli.splits import drawn
from relrep_cli.stitching import adaptation
from relrep_cli.stitching.adaptation import Adaptation, adapted
from relrep_cli.stitching.grid import Target, Task

CLASSES, WIDTH = 4, 10


def clouds(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = rng.integers(0, CLASSES, n)
    return 1.5 * rng.normal(size=(CLASSES, WIDTH))[target] + rng.normal(size=(n, WIDTH)), target


# Adaptation


def test_adaptation_moves_its_part_alone_and_learns() -> None:
    """The encoder's second subspace is spoilt: the frozen head fails, a few rows turn the attention away from it."""
    rng = np.random.default_rng(0)
    x, y = clouds(1200)
    spoilt = np.concatenate([x, rng.normal(size=x.shape)], 1).astype(np.float32)
    sound = np.concatenate([x, x], 1).astype(np.float32)
    front = partial(AGGREGATORS["self-attention"].function, 2, WIDTH)
    trained = train("mlp", sound[:800], y[:800], CLASSES, {"hidden": 32, "head_epochs": 20}, front=front)
    ids = row_numbers(1200)
    task = Task("b.h5", spoilt[:800], y[:800], spoilt[800:], y[800:], ids[:800], ids[800:])
    frozen = float((trained(task.x_test) == task.y_test).mean())
    before = {name: values.clone() for name, values in trained.front.state_dict().items()}
    shares = networks.attention(trained.front, task.x_test)
    assert shares is not None and shares.sum() == pytest.approx(1)
    for what in networks.ADAPTED:
        after = adapted(trained, task, what, Adaptation([what], 0.3), 0)
        kept = {name: bool((values == before[name]).all()) for name, values in after.front.state_dict().items()}
        same = all(np.array_equal(values, trained.arrays[name]) for name, values in after.arrays.items())
        assert all(kept.values()) == (what == "head") and same == (what == "qkv")
        assert float((after(task.x_test) == task.y_test).mean()) > frozen + (0.02 if what != "head" else -0.05)
    assert all((values == before[name]).all() for name, values in trained.front.state_dict().items()), "a copy is adapted"
    again = adapted(trained, task, "all", Adaptation(["all"], 0.3), 0)
    assert np.array_equal(again(task.x_test), after(task.x_test))


def test_few_rows_are_drawn_apart_from_the_split() -> None:
    ids = row_numbers(5000)
    ids = ids[~drawn(ids, 0.2, 0)]
    none = np.zeros(0)
    task = Task("b.h5", none, none, none, none, ids, ids)
    assert 0.08 < len(Adaptation(["all"], 0.1).rows(task)) / len(ids) < 0.12


@dataclass(frozen=True)
class Answer:
    """A head that always says the same; `front` is the attention that each subspace gets."""

    label: int
    front: Sequence[float]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.full(len(x), self.label)


def test_cells_before_and_after_adaptation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head is adapted to other encoders than its own; the attention is that of the head it stands beside."""
    monkeypatch.setattr(adaptation, "adapted", lambda trained, *rest: Answer(1, [0.9, 0.1]))
    monkeypatch.setattr(networks, "attention", lambda front, x: np.array(front))
    ids, y = row_numbers(9), np.ones(9, int)
    tasks = [Task(uri, np.zeros((9, 2)), y, np.zeros((9, 2)), y, ids, ids) for uri in ("a.h5", "b.h5")]
    actual, hear = adaptation.cells(tasks, Target("label", text("xy")), Adaptation(["all"], 1.0), ["p", "q"], [0])
    for e, h in ((0, 0), (1, 0)):
        hear("product", e, h, [Answer(0, [0.25, 0.75])], [])
    assert set(actual) == {(0, 0, ""), (1, 0, ""), (1, 0, "all")}
    assert actual[1, 0, ""] == {"attention_p": 0.25, "attention_q": 0.75}
    after = actual[1, 0, "all"]
    assert (after["accuracy"], after["attention_p"], after["attention_q"], after["adapted_rows"]) == (1, 0.9, 0.1, 9)
    frozen = [{"method": "product", "accuracy": 0.4, "end_to_end": 0.8, "stitching_index": 0.5}] * 4
    records = adaptation.records(frozen, {(1, 0, "all"): {"accuracy": 0.6}}, ["a.h5", "b.h5"])
    assert [r["method"] for r in records] == ["product"] * 3 + ["product+adapted-all", "product"]
    assert [r["stitching_index"] for r in records] == pytest.approx([0.5, 0.5, 0.5, 0.75, 0.5])


@pytest.mark.parametrize("n", [7, 40 * networks.BATCH])
def test_few_rows_are_passed_often_enough(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many passes as PASSES, and as many steps as STEPS."""
    passes = []
    monkeypatch.setattr(networks, "adapted", lambda *given: passes.append(given[-1]) or ({}, None))
    task = Task("b.h5", np.zeros((n, 1)), np.zeros(n), np.zeros((1, 1)), np.zeros(1), row_numbers(n), row_numbers(1))
    adapted(Trained("mlp", 2, {}), task, "all", Adaptation(["all"], 1.0), 0)
    wanted = {7: adaptation.STEPS, 40 * networks.BATCH: adaptation.PASSES}
    assert passes == [wanted[n]]


def test_numbers_keep_their_unit_through_adaptation() -> None:
    """A head that fits already stays as good, whatever mean and deviation the few rows have."""
    x, _ = clouds(1000)
    y = 40 * x[:, 0] + 2000
    doubled = np.concatenate([x, x], 1).astype(np.float32)
    front = partial(AGGREGATORS["self-attention"].function, 2, WIDTH)
    trained = train("mlp", doubled[:600], y[:600], 0, {"hidden": 32, "head_epochs": 60}, front=front)
    ids = row_numbers(1000)
    task = Task("b.h5", doubled[:600], y[:600], doubled[600:], y[600:], ids[:600], ids[600:])
    frozen = float(np.square(trained(task.x_test) - task.y_test).mean() / task.y_test.var())
    assert frozen < 0.2
    for what in networks.ADAPTED:
        after = adapted(trained, task, what, Adaptation([what], 0.3), 0)
        assert np.square(after(task.x_test) - task.y_test).mean() / task.y_test.var() < 1.2 * frozen + 0.01


@pytest.mark.slow
def test_adaptation_through_the_command(work: Workdir) -> None:
    command = "relrep stitch a.h5 b.h5 -a anchors.h5 -m product -s cosine,l1 --aggregate self-attention --head-epochs 5"
    done = work.here(f"{command} --adapt qkv,all --adapt-fraction 0.3 --plot attention.png")
    states = [(r["encoder"] == r["head"], r["method"].partition("attention")[2]) for r in done.rows]
    stitched = [(False, ""), (False, "+adapted-qkv"), (False, "+adapted-all")]
    assert states == [(True, ""), *stitched, *stitched, (True, "")]
    for r in done.rows:
        assert float(r["attention_cosine"]) + float(r["attention_l1"]) == pytest.approx(1, abs=1e-5)
        assert (r["adapted_rows"] != "n/a") == ("adapted" in r["method"])
    frozen = [r for r in done.rows if "adapted" not in r["method"]]
    plain = work.here(command).rows
    assert [{k: r[k] for k in plain[0]} for r in frozen] == plain, "before is what it was"
    assert (work / "attention.png").read_bytes()[:4] == b"\x89PNG"
    work.error("relrep stitch a.h5 b.h5 -a anchors.h5 --adapt qkv", 2, "needs an aggregator that is trained")
    work.error(f"{command} --adapt kqv", 2, "unknown part for --adapt 'kqv'. Did you mean qkv?")
    work.error(f"{command} --adapt qkv --adapt-fraction 0", 3, "leaves none of 160 training rows")


# Images


def images_of(work: Workdir) -> np.ndarray:
    """src/, 240 images of 8 x 8 that follow from a's vectors, under the ids that the source gives."""
    rng = np.random.default_rng(0)
    x, seen = vectors()
    images = (255 / (1 + np.exp(-x @ rng.normal(size=(16, 64)) / 3))).astype(np.uint8).reshape(-1, 8, 8)
    (work / "src").mkdir()
    test = columns(seen)["split"] == "test"
    for part, rows in (("train", images[~test]), ("t10k", images[test])):
        head = struct.pack(">IIII", 0x803, len(rows), 8, 8)
        (work / "src" / f"{part}-images-idx3-ubyte").write_bytes(head + rows.tobytes())
    ids = [f"train-{i:05d}" for i in range(int((~test).sum()))] + [f"test-{i:05d}" for i in range(int(test.sum()))]
    order = np.concatenate([np.flatnonzero(~test), np.flatnonzero(test)])
    for name, turn in (("p", np.eye(16)), ("q", np.linalg.qr(rng.normal(size=(16, 16)))[0])):
        split = ["test" if i.startswith("test") else "train" for i in ids]
        np.savez(work / f"{name}.npz", x=(x[order] @ turn).astype(np.float32), ids=ids, split=split)
    return images[order]


@pytest.mark.slow
def test_images_come_back_through_a_stitched_decoder(work: Workdir) -> None:
    images_of(work)
    (work / "ids.txt").write_text("".join(f"train-{i:05d}\n" for i in range(0, 160, 4)))
    command = "relrep stitch p.npz q.npz -a ids.txt --target images --source src -m none,absolute,orthogonal"
    done = work.here(f"{command} --head-epochs 200 --plot images.png")
    mse = {(r["method"], r["encoder"] == r["head"]): float(r["mse"]) for r in done.rows}
    flat = 0.25 * mse["absolute", False]
    assert mse["orthogonal", False] == pytest.approx(mse["orthogonal", True], rel=0.05)
    assert mse["orthogonal", False] < flat, "what goes in as it is comes out as something else"
    for r in done.rows:
        assert r["decoder"] == "decoder" and r["accuracy"] == "n/a"
        assert float(r["stitching_index"]) == pytest.approx(float(r["end_to_end"]) / float(r["mse"]))
        assert float(r["low"]) <= float(r["mse"]) <= float(r["high"])
    assert (work / "images.png").read_bytes()[:4] == b"\x89PNG"
    work.error("relrep stitch p.npz q.npz -a ids.txt --target images", 2, "--target images and --source DIR go together")
    work.error(f"{command} --head svm", 2, "head svm does not predict images", "Choose --head decoder")
    work.error(f"{command} --predictions p.tsv", 2, "not for images")


@pytest.mark.slow
def test_a_decoder_gives_back_what_it_saw() -> None:
    """Colours, odd sizes and the same for the same seed; unit and origin of the vectors do not count."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6))
    images = (255 / (1 + np.exp(-x @ rng.normal(size=(6, 7 * 5 * 3))))).astype(np.uint8).reshape(-1, 7, 5, 3)
    predicted = [train("decoder", rows, images, 0, {"head_epochs": 60}) for rows in (x, x, 1e3 * x + 50)]
    wanted = pixels(images)
    assert np.square(predicted[0](x) - wanted).mean() < 0.4 * wanted.var()
    first, same, moved = predicted
    assert np.array_equal(first(x), same(x)) and np.allclose(first(x), moved(1e3 * x + 50), atol=0.02)
    assert predicted[0](x).shape == (400, 105) and predicted[0](x[:0]).shape[0] == 0


def test_images_that_stay_on_the_device_train_the_same_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, images = rng.normal(size=(300, 6)), rng.integers(0, 256, (300, 8, 8), np.uint8)
    here = train("decoder", x, images, 0, {"head_epochs": 1})
    monkeypatch.setattr("relrep_cli.heads.decoder.own_memory", lambda on: 1 << 30)
    there = train("decoder", x, images, 0, {"head_epochs": 1})
    assert all(np.array_equal(here.arrays[name], there.arrays[name]) for name in here.arrays)

"""Encoders: deterministic, honest about their files, and doing what they say. Torch runs on images of a few pixels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.encoders import ENCODERS, Checkpoint, Trained, encode, load, rows_at_once, space, spectral, to_bytes
from relrep_cli.encoders.base import random_state, restore_random, seeded, torch_device, training_rows
from relrep_cli.sources import Items

NAMES = list(ENCODERS)
SMALL = {
    "dim": 5,
    "epochs": 2,
    "batch_size": 16,
    "channels": 2,
    "projector": 8,
    "hidden": 8,
    "width": 32,
    "depth": 1,
    "around": 4,
}
TRAINED = [name for name in NAMES if "epochs" in ENCODERS[name].keywords]
ROWWISE = [name for name in NAMES if "graph" not in ENCODERS[name].takes]
SIZED = [name for name in NAMES if "dim" in ENCODERS[name].keywords]
torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def blobs(n: int = 96, h: int = 9, w: int = 6, seed: int = 0) -> np.ndarray:
    """Images (n, h, w) uint8 of one bright spot each, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, [h, w], (n, 2))
    rows, columns = np.mgrid[:h, :w]
    distance = (rows - at[:, :1, None]) ** 2 + (columns - at[:, 1:, None]) ** 2
    return (255 * np.exp(-distance / 6)).astype(np.uint8)


def of(x: np.ndarray, **given: Any) -> Items:
    """Items without a source: every third image has another label."""
    obs = {"label": (np.arange(len(x)) % 3).astype("S1"), **given.pop("obs", {})}
    return Items(x, np.arange(len(x)).astype("S"), "sha256:", obs, **given)


def ring(x: np.ndarray) -> Items:
    """A graph: the items flattened, each joined to the next."""
    rows = np.arange(len(x))
    return of(x.reshape(len(x), -1) / np.float32(255), edges=np.stack([rows, (rows + 1) % len(x)], 1))


def items_for(name: str, x: np.ndarray) -> Items:
    """The images as what the encoder takes: a graph of them, or each as one row of numbers."""
    takes = ENCODERS[name].takes
    if "graph" in takes:
        return ring(x)
    return of(x) if "images" in takes else of(x.reshape(len(x), int(np.prod(x.shape[1:]))) / np.float32(255))


def width(name: str, shape: tuple[int, ...] = (9, 6)) -> int:
    return 5 if name in SIZED else int(np.prod(shape))


def fit(name: str, x: np.ndarray | None = None, train: Any = None, **given: Any) -> Trained:
    x = blobs() if x is None else x
    train = np.ones(len(x), bool) if train is None else train
    known = ENCODERS[name].keywords
    own = {key: value for key, value in {**SMALL, **given}.items() if key in known or key in given}
    return ENCODERS[name].function(items_for(name, x), train, **own)


def vectors(trained: Trained, x: np.ndarray, **given: Any) -> np.ndarray:
    return np.concatenate(list(encode(trained, items_for(trained.name, x), **given)))


def same(a: Trained, b: Trained) -> bool:
    return a.weights.keys() == b.weights.keys() and all(np.array_equal(a.weights[n], b.weights[n]) for n in a.weights)


# What holds for every encoder


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_bytes(name: str) -> None:
    state = torch.random.get_rng_state()
    first = fit(name, seed=3)
    torch.set_num_threads(2)
    second = fit(name, seed=3)
    assert to_bytes(first) == to_bytes(second) and space(first) == space(second)
    assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == 2, "the caller's own are left alone"


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_gives_the_same_vectors(name: str, tmp_path: Path) -> None:
    trained, items = fit(name), blobs(40, seed=1)
    (tmp_path / "encoder.safetensors").write_bytes(to_bytes(trained))
    for loaded in (
        load(to_bytes(trained)),
        load(tmp_path / "encoder.safetensors"),
        load(str(tmp_path / "encoder.safetensors")),
    ):
        assert np.array_equal(vectors(trained, items), vectors(loaded, items))
        assert (loaded.name, loaded.params, loaded.shape) == (trained.name, trained.params, trained.shape)
        assert space(loaded) == space(trained) and to_bytes(loaded) == to_bytes(trained)


@pytest.mark.parametrize("name", NAMES)
def test_every_default_is_recorded(name: str) -> None:
    trained = fit(name, seed=7)
    assert trained.params.keys() == ENCODERS[name].keywords.keys() | {"seed"}
    assert trained.params["seed"] == 7 and trained.params.get("dim", 5) == 5
    assert (trained.log or name not in TRAINED) and all(np.isfinite(list(record.values())).all() for record in trained.log)


@pytest.mark.parametrize("name", NAMES)
def test_the_declared_shapes_are_those_of_the_weights(name: str) -> None:
    trained = fit(name)
    assert ENCODERS[name].shapes(trained.shape, trained.params) == {n: w.shape for n, w in trained.weights.items()}


@pytest.mark.parametrize("name", ROWWISE)
def test_a_vector_does_not_depend_on_its_company(name: str) -> None:
    trained, items = fit(name), blobs(70, seed=1)
    whole = vectors(trained, items, batch=32)
    assert whole.shape == (70, width(name)) and whole.dtype == np.float32
    assert [len(block) for block in encode(trained, items_for(name, items), batch=32)] == [32, 32, 6]
    assert np.array_equal(whole[40:47], vectors(trained, items[40:47], batch=32))
    assert vectors(trained, items[:1]).shape == (1, width(name))
    assert list(encode(trained, items_for(name, items[:0]))) == []


@pytest.mark.parametrize("name", ROWWISE)
def test_only_training_rows_are_seen(name: str) -> None:
    items, train = blobs(), np.arange(96) < 64
    other = items.copy()
    other[64:] = 255 - other[64:]
    assert same(fit(name, items, train), fit(name, other, train))
    assert same(fit(name, items, train), fit(name, items, np.arange(64)))


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize(("shape", "dim"), [((1, 1), 1), ((1, 7), 3), ((5, 2), 1), ((13, 11), 3)])
def test_any_size_of_image(name: str, shape: tuple[int, int], dim: int) -> None:
    if name == "pca" and dim > np.prod(shape):
        pytest.skip("no more components than pixels")
    items = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    trained = fit(name, items, dim=dim)
    assert vectors(load(to_bytes(trained)), items).shape == (40, dim)


@pytest.mark.parametrize("name", NAMES)
def test_read_only_items(name: str, tmp_path: Path) -> None:
    blobs().tofile(tmp_path / "raw")
    items = np.memmap(tmp_path / "raw", np.uint8, "r", shape=(96, 9, 6))
    trained = fit(name, items)
    assert same(trained, fit(name)) and np.array_equal(vectors(trained, items), vectors(trained, blobs()))


@pytest.mark.parametrize("name", SIZED)
def test_progress_reaches_its_end_and_may_interrupt(name: str) -> None:
    """An encoder without `dim` may be too quick to tell."""
    seen: list[tuple[int, int]] = []
    fit(name, progress=lambda done, total, message: seen.append((done, total)))
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))] or seen[-1] == (96, 96)

    def stop(done: int, total: int, message: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(name, progress=stop)


@pytest.mark.parametrize("name", NAMES)
def test_images_of_another_size(name: str) -> None:
    with pytest.raises(DataError) as caught:
        encode(fit(name), items_for(name, blobs(4, 9, 7)))
    actual, wanted = ("9 x 7", "9 x 6") if "images" in ENCODERS[name].takes else ("63", "54")
    assert str(caught.value).startswith(f"the items are {actual}, encoder {name} takes {wanted}. Give items of that size")


@pytest.mark.parametrize("name", [name for name in NAMES if ENCODERS[name].learns])
def test_too_few_training_rows(name: str) -> None:
    with pytest.raises(DataError, match="1 training rows; the encoder needs at least"):
        fit(name, train=np.array([4]))


def test_a_block_holds_so_many_numbers() -> None:
    """The shape of an item alone says how many rows are encoded at once: other blocks would round differently."""
    sizes = {(28, 28): 1024, (32, 32, 3): 1024, (4096,): 1024, (4097,): 512, (128, 128): 256, (224, 224, 3): 16, (1 << 23,): 1}
    assert {shape: rows_at_once(shape) for shape in sizes} == sizes
    x = np.random.default_rng(0).integers(0, 256, (300, 128, 128), dtype=np.uint8)
    trained = ENCODERS["random-projection"].function(of(x), np.arange(3), dim=2)
    assert [len(block) for block in encode(trained, of(x))] == [256, 44]


def test_space_names_the_weights() -> None:
    spaces = {space(fit("conv-ae", seed=seed)) for seed in (0, 1)} | {space(fit("pca"))}
    assert len(spaces) == 3 and all(len(name.split(":")[1]) == 16 for name in spaces)


# The autoencoder


def test_autoencoder_learns() -> None:
    log = fit("conv-ae", epochs=12, dropout=0.0, learning_rate=3e-3).log
    assert log[-1]["held_out_loss"] < log[0]["held_out_loss"] / 2
    assert [record["epoch"] for record in log] == list(range(1, 13))


def test_autoencoder_seeds_differ() -> None:
    assert not same(fit("conv-ae", seed=0), fit("conv-ae", seed=1))


class Stopped(Exception):
    """What a signal does to a training."""


def stop_at(epoch: int) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, message: str) -> None:
        if message.startswith(f"epoch {epoch}"):
            raise Stopped

    return progress


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_bits() -> None:
    """Stopped in two of its epochs, with dropout and early stopping at work, and with a state that somebody damaged."""
    whole, kept, losses = fit("conv-ae", epochs=5), dict[str, bytes](), list[dict[str, float]]()
    checkpoint = Checkpoint(lambda: kept.get("state"), lambda state: kept.update(state=state), losses.append)
    for epoch in (3, 4):
        losses.clear()
        with pytest.raises(Stopped):
            fit("conv-ae", epochs=5, checkpoint=checkpoint, progress=stop_at(epoch))
    seen: list[str] = []
    resumed = fit("conv-ae", epochs=5, checkpoint=checkpoint, progress=lambda done, total, message: seen.append(message))
    assert same(resumed, whole) and resumed.log == whole.log == losses[3:], "each epoch is logged, those before the stop again"
    assert set(seen) == {"epoch 4 of 5", "epoch 5 of 5"}
    for damaged in (b"", b"nonsense", kept["state"][:-9], b"\xff" * 64):
        assert same(fit("conv-ae", epochs=5, checkpoint=Checkpoint(lambda damaged=damaged: damaged)), whole)


def scripted(monkeypatch: pytest.MonkeyPatch, *errors: float) -> None:
    """Let the held-out errors of the epochs be these, whatever the network does."""
    left = iter(errors)
    monkeypatch.setattr("relrep_cli.encoders.training._error", lambda *_: next(left))


def test_autoencoder_stops_early_and_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for patience, errors in [(1, (3, 1, 2)), (3, (3, 1, 2, 2, 2)), (1, (3, 2, 1, 2))]:
        scripted(monkeypatch, *errors)
        runs.append(fit("conv-ae", epochs=9, patience=patience))
        assert [record["held_out_loss"] for record in runs[-1].log] == list(errors)
    assert same(runs[0], runs[1]) and not same(runs[0], runs[2]), "the second epoch is best, the second, the third"


def test_autoencoder_that_diverges(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, float("nan"))
    with pytest.raises(UsageError, match=r"diverged at --learning-rate 0.5. Give a smaller one"):
        fit("conv-ae", learning_rate=0.5)


@pytest.mark.parametrize("n", [3, 4, 17, 33])
def test_no_batch_of_one_row(n: int) -> None:
    assert vectors(fit("conv-ae", blobs(n, 2, 2), batch_size=2), blobs(n, 2, 2)).shape == (n, 5)


# Principal components


def test_pca_is_the_eigendecomposition_of_the_training_rows() -> None:
    items, train = blobs(), np.arange(96) % 2 == 0
    trained = fit("pca", items, train, dim=4)
    x = items[train].reshape(48, -1) / 255
    _, values, components = np.linalg.svd(x - x.mean(0), full_matrices=False)
    signs = np.sign(components[np.arange(4), np.abs(components[:4]).argmax(1)])
    np.testing.assert_allclose(trained.weights["components"], components[:4] * signs[:, None], atol=1e-6)
    np.testing.assert_allclose(trained.weights["mean"], 255 * x.mean(0))
    assert trained.log[0]["explained_variance"] == pytest.approx((values[:4] ** 2).sum() / (values**2).sum())
    expected = (items.reshape(96, -1) / 255 - x.mean(0)) @ (components[:4] * signs[:, None]).T
    np.testing.assert_allclose(vectors(trained, items), expected, atol=1e-5)


def test_pca_of_few_rows_is_that_of_their_covariance() -> None:
    """40 rows of 54 pixels: the axes of the rows themselves span what those of the covariance do."""
    x = blobs(40)
    few, many = (way(x, np.arange(40), lambda *_: None) for way in (spectral._of_few, spectral._of_many))
    np.testing.assert_allclose(few[0], many[0], rtol=1e-12)
    np.testing.assert_allclose(few[1][:39], many[1][:39], rtol=1e-8)
    np.testing.assert_allclose(np.abs((few[2][:20] * many[2][:20]).sum(1)), 1, atol=1e-8)


@pytest.mark.slow
def test_pca_is_the_same_for_any_number_of_threads() -> None:
    code = """if True:
        import hashlib, numpy as np
        from relrep_cli.encoders import ENCODERS, encode, space
        from relrep_cli.sources import Items
        x = np.random.default_rng(0).integers(0, 256, (400, 12, 12), dtype=np.uint8)
        items = Items(x, np.arange(400).astype("S"), "")
        trained = ENCODERS["pca"].function(items, np.arange(300), dim=9)
        print(space(trained), hashlib.sha256(np.concatenate(list(encode(trained, items))).tobytes()).hexdigest())"""

    def run(threads: str) -> str:
        environment = os.environ | {f"{library}_NUM_THREADS": threads for library in ("OPENBLAS", "MKL", "OMP")}
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout

    assert run("1") == run("2") != ""


def test_pca_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UsageError, match="--dim is 55, but pca of 96 training rows of 54 pixels has at most 54"):
        fit("pca", dim=55)
    with pytest.raises(DataError, match="the items have 10000 pixels; pca takes at most 8192"):
        fit("pca", np.zeros((4, 100, 100), np.uint8), dim=1)


def test_pca_of_one_colour() -> None:
    trained = fit("pca", np.full((9, 3, 3), 7, np.uint8), dim=2)
    assert np.isfinite(vectors(trained, blobs(5, 3, 3))).all() and trained.log[0]["explained_variance"] <= 1


# Files that are not what they say


def forged(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def edited(change: Callable[[dict[str, Any], dict[str, Any]], Any], data: Callable[[bytes], bytes] = lambda d: d) -> bytes:
    """A good pca encoder after `change(header, record)` and `data(arrays)`."""
    good = to_bytes(fit("pca"))
    length = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + length])
    record = json.loads(header["__metadata__"]["relrep-encoder"])
    change(header, record)
    if isinstance(header.get("__metadata__"), dict) and "relrep-encoder" in header["__metadata__"]:
        header["__metadata__"]["relrep-encoder"] = json.dumps(record)
    return forged(header, data(good[8 + length :]))


def put(where: str, key: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    """A change that sets one key of the record ("record"), of its params, or of a tensor in the header."""

    def change(header: dict[str, Any], record: dict[str, Any]) -> None:
        {"header": header, "record": record, "params": record["params"]}.get(where, header.get(where))[key] = value

    return change


def overlap(header: dict[str, Any], record: dict[str, Any]) -> None:
    header["copy"] = dict(header["components"])


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not a safetensors file"),
    "pickle": (lambda: b"\x80\x04\x95" + bytes(40), "not a safetensors file"),
    "huge header": (lambda: (2**60).to_bytes(8, "little") + b"{}", "not a safetensors file"),
    "header past the end": (lambda: (100).to_bytes(8, "little") + b"{}", "not a safetensors file"),
    "header of a list": (lambda: forged([1, 2]), "not a safetensors file"),
    "deep header": (lambda: forged(b"[" * 900_000), "not a safetensors file"),
    "broken text": (lambda: forged(b'{"\xff": 1}'), "not a safetensors file"),
    "no metadata": (lambda: forged({}), "without an encoder's metadata"),
    "metadata of a list": (lambda: edited(put("header", "__metadata__", [1])), "without an encoder's metadata"),
    "record of a number": (lambda: forged({"__metadata__": {"relrep-encoder": "7"}}), "metadata that cannot be read"),
    "later version": (lambda: edited(put("record", "version", 2)), "encoder format 2; this relrep reads 1"),
    "unknown name": (lambda: edited(put("record", "name", "os\x1b[31m")), "an encoder named 'os\\x1b[31m'"),
    "another encoder": (lambda: edited(put("record", "name", "conv-ae")), "parameters that are not those of encoder conv-ae"),
    "shape of text": (lambda: edited(put("record", "shape", ["9", 6])), "metadata that cannot be read"),
    "shape of another image": (lambda: edited(put("record", "shape", [9, 7])), "weights that do not fit encoder pca"),
    "unknown parameter": (lambda: edited(put("params", "evil", 1)), "parameters that are not those of encoder pca"),
    "dim of text": (lambda: edited(put("params", "dim", "5")), "parameters that are not those of encoder pca"),
    "dim too large": (lambda: edited(put("params", "dim", 10**12)), "--dim is 1000000000000"),
    "dim that does not fit": (lambda: edited(put("params", "dim", 6)), "weights that do not fit encoder pca"),
    "integers": (lambda: edited(put("mean", "dtype", "I64")), "not of float32 or float64"),
    "unhashable type": (lambda: edited(put("mean", "dtype", ["F32"])), "missing or malformed"),
    "no entry": (lambda: edited(put("header", "mean", 3)), "missing or malformed"),
    "negative offsets": (lambda: edited(put("mean", "data_offsets", [-8, 8])), "missing or malformed"),
    "three offsets": (lambda: edited(put("mean", "data_offsets", [0, 8, 16])), "missing or malformed"),
    "huge tensor": (lambda: edited(put("mean", "shape", [2**40, 2**40])), "does not fit its"),
    "overlap": (lambda: edited(overlap), "overlap, leave a gap"),
    "cut": (lambda: edited(lambda h, r: None, lambda d: d[:-1]), "pass the end"),
    "longer": (lambda: edited(lambda h, r: None, lambda d: d + b"x"), "1 bytes belong to no tensor"),
    "not a number": (lambda: edited(lambda h, r: None, lambda d: b"\xff" * len(d)), "weights that are not finite"),
}


@pytest.mark.parametrize("content, actual", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(content: Callable[[], bytes], actual: str, tmp_path: Path) -> None:
    path = tmp_path / "encoder"
    path.write_bytes(content())
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and actual in message and message.isprintable()
    assert message.endswith("Give an encoder that relrep embed saved.")


def test_the_unchanged_edit_loads() -> None:
    assert same(load(edited(lambda header, record: None)), fit("pca"))


def test_images_of_a_rank_that_the_encoder_does_not_know() -> None:
    trained = fit("conv-ae")
    with pytest.raises(DataError, match="weights that do not fit encoder conv-ae"):
        load(to_bytes(Trained(trained.name, trained.params, (9, 6, 3), trained.weights)))


def test_no_file(tmp_path: Path) -> None:
    for path, actual in [(tmp_path / "absent", "no such file"), (tmp_path, "not a regular file"), ("a\0b", "no such file")]:
        with pytest.raises(DataError, match=actual):
            load(path)


# What is shared


def test_training_rows() -> None:
    assert list(training_rows(np.zeros(5), np.array([False, True, True, False, True]), 3)) == [1, 2, 4]
    assert list(training_rows(np.zeros(5), np.array([4, 1]), 2)) == [4, 1]


def test_device() -> None:
    assert torch_device("cpu").type == "cpu" and torch_device("auto").type in ("cuda", "mps", "cpu")
    with pytest.raises(UsageError, match=r"--device gpu: this machine has no such device[.] Choose from: auto, "):
        torch_device("gpu")


def test_random_numbers_go_on_after_a_seeded_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the CPU, and of a device with a generator of its own, which a second one stands for here."""
    own = torch.Generator().manual_seed(1)
    toy = SimpleNamespace(get_rng_state=own.get_state, set_rng_state=own.set_state)
    monkeypatch.setattr(torch, "toy", toy, raising=False)
    cpu, on = torch.device("cpu"), SimpleNamespace(type="toy")

    def drawn() -> list[float]:
        return [torch.rand(1).item(), torch.rand(1, generator=own).item()]

    with seeded(3, cpu):
        first = torch.rand(1)
    before = random_state(on)
    wanted = drawn()
    restore_random(before, on)
    with seeded(3, on):
        assert torch.rand(1) == first and drawn() != wanted
    assert drawn() == wanted
    restore_random({name: state for name, state in before.items() if name == "random"}, on)
    assert drawn()[0] == wanted[0], "a state that was kept on the CPU serves it alone"
    assert random_state(cpu).keys() == {"random"} and before.keys() == {"random", "random.toy"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_stopped_training_goes_on_with_the_random_numbers_of_its_device() -> None:
    kept = dict[str, bytes]()
    checkpoint = Checkpoint(lambda: kept.get("state"), lambda state: kept.update(state=state))
    whole = fit("conv-ae", epochs=3, device="cuda")
    with pytest.raises(Stopped):
        fit("conv-ae", epochs=3, device="cuda", checkpoint=checkpoint, progress=stop_at(3))
    resumed = fit("conv-ae", epochs=3, device="cuda", checkpoint=checkpoint)
    assert [r["train_loss"] for r in resumed.log] == pytest.approx([r["train_loss"] for r in whole.log], rel=1e-3)


def test_importing_costs_no_torch() -> None:
    code = "import sys, relrep_cli.encoders; print([m for m in ('torch', 'safetensors', 'h5py', 'faiss') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

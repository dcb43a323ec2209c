"""`--device`: what every command asks of one place. torch's CPU device stands for a GPU."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import Workdir

import relrep_cli as relrep
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.task_cache import Records
from relrep_cli.heads import linear_models
from relrep_cli.metrics import METRICS
from relrep_cli.neighbors import torch_tiles
from relrep_cli.numerics import devices, moment_sums, pair_products, permuted_products
from relrep_cli.numerics.devices import KeptBlocks, memory_of, sent
from relrep_cli.numerics.moment_sums import device_for
from relrep_cli.numerics.moments import moments, take_together
from relrep_cli.numerics.pair_products import products_of
from relrep_cli.numerics.permuted_products import Batch
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.relative import projection


def blocks(count: int) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return [[rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=3).astype(">f8")] for _ in range(count)]


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_blocks_arrive_in_order(count: int, streams: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without streams, as on mps."""
    if not streams:
        monkeypatch.setattr(torch, "cpu", SimpleNamespace())
    there = list(sent(blocks(count), torch.device("cpu")))
    assert len(there) == count
    for wanted, got in zip(blocks(count), there, strict=True):
        assert all(np.array_equal(array, tensor.numpy()) for array, tensor in zip(wanted, got, strict=True))


def test_what_is_sent_is_a_copy_of_its_dtype() -> None:
    x = np.zeros((2, 2), np.float16)
    x.setflags(write=False)
    ((there,),) = sent([[x]], torch.device("cpu"))
    there += 1
    assert there.dtype == torch.float16 and not x.any()


def test_a_block_is_made_while_the_one_before_is_used() -> None:
    made: list[int] = []

    def make() -> Any:
        for number in range(4):
            made.append(number)
            yield [np.zeros(1)]

    for number, _ in enumerate(sent(make(), torch.device("cpu"))):
        assert made == list(range(min(number + 2, 4)))


@pytest.mark.parametrize("room", [0, 2 * 3 * 8, 1 << 20])
def test_some_blocks_stay_and_all_come_again(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(devices.FREE, "cpu", 2 * room)
    x, made = np.arange(14.0).reshape(7, 2), []

    def prepare(rows: np.ndarray) -> list[np.ndarray]:
        made.append(len(rows))
        return [rows]

    kept = KeptBlocks(x, 3, torch.device("cpu"), prepare)
    for _ in range(3):
        arrived = [(start, there.numpy().copy()) for start, (there,) in kept]
        assert [start for start, _ in arrived] == [0, 3, 6]
        assert np.array_equal(np.concatenate([rows for _, rows in arrived]), x)
    assert len(made) == {0: 9, 48: 3 + 2 + 2, 1 << 20: 3}[room]


def test_a_lack_of_memory_is_one_line() -> None:
    for error in (torch.cuda.OutOfMemoryError("CUDA"), RuntimeError("MPS backend out of memory (…)")):
        with (
            pytest.raises(DataError, match=r"cuda has too little memory free: a tile takes 2 GiB\. Use --device cpu\."),
            memory_of("cuda", "a tile takes 2 GiB"),
        ):
            raise error
    with pytest.raises(RuntimeError, match="shapes"), memory_of("cuda", ""):
        raise RuntimeError("shapes differ")


def test_float32_keeps_its_bits_and_sums_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    try:
        cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = True, True, True, False
        devices.keep_all_bits(torch)
        assert (cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic) == (False, False, False, True)
    finally:
        cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = before
    assert devices.os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_device_without_float64_leaves_sums_to_the_cpu_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    caplog.set_level(logging.INFO, logger="relrep")
    devices._note_of_float64.cache_clear()
    assert [devices.in_float64(name) for name in ("cpu", "torch:cpu", "mps", "mps")] == ["cpu", "torch:cpu", "cpu", "cpu"]
    assert [record.getMessage() for record in caplog.records] == [
        "--device mps: it has no float64, so the CPU computes what needs it."
    ]


@pytest.mark.parametrize("groups", [1, 10, 50])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_moments_of_a_device_are_those_of_the_cpu(groups: int, dtype: Any) -> None:
    """Far from the origin, in float64; the second time, the sums of each space alone are known."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(5, 1, (2101, d)).astype(dtype) for d in (40, 50))
    there = Workspace.of_run(Records(None), "torch:cpu")
    for side in (x, y):
        there.register(side)
    for _ in range(2):
        for here, other in zip(moments(x, y, groups), moments(x, y, groups, workspace=there), strict=True):
            for name in ("sums", "products", "norms", "norm_products", "weighted"):
                wanted, got = (np.asarray(getattr(m, name)) for m in (here, other))
                assert np.abs(wanted - got).max() <= 1e-12 * np.abs(wanted).max(), name


def test_moments_of_many_pairs_and_of_lanes_are_those_of_the_cpu() -> None:
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=(5000, 40)).astype(np.float32) for _ in range(3)]
    workspace = Workspace.of_run(Records(None), "torch:cpu")
    for x in xs:
        workspace.register(x)
    assert workspace.spaces is not None
    take_together([(xs[0], xs[1]), (xs[1], xs[2])], workspace.spaces, "torch:cpu")
    for a, b in ((0, 1), (1, 2)):
        (got,), (wanted,) = moments(xs[a], xs[b], workspace=workspace), moments(xs[a], xs[b])
        np.testing.assert_allclose(got.products, wanted.products, rtol=1e-11, atol=1e-9)
        np.testing.assert_allclose(got.norm_products, wanted.norm_products, rtol=1e-12)


def test_products_of_permutations_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large spaces, too, which NumPy multiplies block by block."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(3, 1, (1500, d)).astype(np.float32) for d in (50, 40))
    means = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
    here, there = (Batch(range(5), lambda number: np.random.default_rng(number).permutation(1500)) for _ in range(2))
    wanted = [here.product(x, y, means, number) for number in range(5)]
    monkeypatch.setattr(permuted_products, "SMALL", 0)
    monkeypatch.setattr(permuted_products, "ROOM", 2 * 50 * 40)
    assert here.product(x, y, means, 0) is None
    for number in range(5):
        np.testing.assert_allclose(there.product(x, y, means, number, "torch:cpu"), wanted[number], rtol=1e-11, atol=1e-10)
    moved = there.product(x, y, (0.0, 0.0), 4, "torch:cpu")
    np.testing.assert_allclose(moved, x.astype(float).T @ y[np.random.default_rng(4).permutation(1500)], rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("metric", "params"),
    [
        ("rsa", {"correlation": "spearman"}),
        ("rsa", {"correlation": "pearson", "distance": "euclidean"}),
        ("distance-correlation", {}),
        ("rsm-norm", {}),
        ("cka", {"kernel": "rbf"}),
    ],
)
def test_metrics_of_pairs_of_rows_are_those_of_the_cpu(metric: str, params: dict[str, str], dtype: Any) -> None:
    """Some rows are equal, and all lie far from the origin."""
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (1300, 80))
    x[700:710] = x[20]
    spaces = [(x + rng.normal(size=x.shape)).astype(dtype), x.astype(dtype)]
    function, made = METRICS[metric].function, []
    with mock.patch.object(
        pair_products, "_on_device", lambda *given, real=pair_products._on_device: made.append(given) or real(*given)
    ):
        here = function(*spaces, **params)
        assert not made
        there = function(*spaces, **params, workspace=Workspace(device="torch:cpu"))
    assert [given[-1] for given in made] == ["torch:cpu"] * len(made) and made
    assert there.value == pytest.approx(here.value, rel=1e-11)
    np.testing.assert_allclose(there.jackknife, here.jackknife, rtol=1e-11)


def test_products_of_rows_stay_within_the_memory_of_a_device(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="relrep")
    rows, asked = np.random.default_rng(0).normal(size=(900, 130)), []

    def rows_of(numbers: np.ndarray) -> np.ndarray:
        asked.append(len(numbers))
        return rows[numbers]

    i, j = np.array([3, 0, 899]), np.arange(800, 820)
    for room, late in ((2 * rows.nbytes, 0), (2 * rows.nbytes - 1, 23)):
        monkeypatch.setitem(devices.FREE, "cpu", room)
        products = products_of(rows_of, (900, 130), "torch:cpu")
        asked.clear()
        np.testing.assert_allclose(products(i, j), rows[i] @ rows[j].T, rtol=1e-9, atol=1e-9)
        assert sum(asked) == late
        note = "--device torch:cpu: half of its free memory does not hold 900 rows of 130 numbers, so the CPU multiplies them."
        assert [record.getMessage() for record in caplog.records] == [note] * bool(late)


def test_a_device_is_not_asked_for_a_little() -> None:
    """Nor is it looked for: `--device auto` and a light install without torch cost nothing then."""
    assert device_for("nowhere", 100, 100) is None and device_for("cpu", 10**9, 100) is None
    assert device_for("torch:cpu", 10**4, 100) == torch.device("cpu")
    rows = np.random.default_rng(0).normal(size=(100, 10))
    few = np.arange(3)
    assert np.array_equal(products_of(rows.__getitem__, (100, 10), "nowhere")(few, few), rows[:3] @ rows[:3].T)


def test_a_lack_of_memory_for_moments_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(moment_sums, "_add_there", full)
    x = np.random.default_rng(0).normal(size=(1200, 100))
    with pytest.raises(DataError, match=r"too little memory free: the sums of products take 0 MiB\. Use --device cpu\."):
        moments(x, x, workspace=Workspace(device="torch:cpu"))


@pytest.fixture
def spaces(empty: Workdir) -> Workdir:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 80))
    for name in "ab":
        ids = np.array([f"i{row:03d}" for row in range(500)])
        np.savez(empty / f"{name}.npz", x=(x + rng.normal(size=x.shape)).astype(np.float32), ids=ids)
    (empty / "ids.txt").write_text("".join(f"{item}\n" for item in ids[::25]))
    return empty


def test_compare_on_a_device_says_what_it_says_on_the_cpu(spaces: Workdir) -> None:
    """Of absolute vectors within 1e-9. What one device finished does not stand for the other, though it is as good."""
    added: list[Any] = []
    real = moment_sums._add_there
    command = "relrep compare a.npz b.npz -m cka,cca,knn-jaccard -a ids.txt --cache kept --device"
    with mock.patch.object(moment_sums, "_add_there", lambda *given: added.append(1) or real(*given)):
        here = spaces.here(f"{command} cpu").rows
        assert not added
        there = spaces.here(f"{command} torch:cpu").rows
        assert added
    assert [(row["projection"], row["metric"]) for row in here] == [(row["projection"], row["metric"]) for row in there]
    for one, other in zip(here, there, strict=True):
        allowed = 1e-9 if one["projection"] == "absolute" else 1e-5
        assert float(other["value"]) == pytest.approx(float(one["value"]), rel=allowed, abs=allowed), one


def test_permutations_on_a_device_give_the_same_p(spaces: Workdir) -> None:
    command = "relrep compare a.npz b.npz -m cca,procrustes --permutations 19 --device"
    here, there = (spaces.here(f"{command} {device}").rows for device in ("cpu", "torch:cpu"))
    assert [row["p"] for row in here] == [row["p"] for row in there]


def test_auto_takes_the_first_there_is_and_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.chosen("auto") == "cpu"
    with pytest.raises(UsageError, match=r"--device cuda: this machine has no such device\. Choose from: auto, cpu\."):
        devices.chosen("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.chosen("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [devices.chosen(name) for name in ("auto", "cuda", "cuda:0", "cuda:1")] == ["cuda", "cuda", "cuda:0", "cuda:1"]
    with pytest.raises(UsageError, match=r"auto, cuda, cuda:1, mps, cpu"):
        devices.chosen("cuda:2")


def test_functions_of_the_library_take_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each computes there, with the answer of the CPU."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(1500, 90)).astype(np.float32) for _ in range(2))
    labels, asked = (x[:, 0] > 0).astype(int), []
    monkeypatch.setattr(devices, "sent", lambda *given, real=devices.sent: asked.append(1) or real(*given))
    for module in (moment_sums, pair_products, torch_tiles, projection, linear_models):
        monkeypatch.setattr(module, "sent", devices.sent)
    calls: dict[str, Any] = {
        "compare": lambda device: [r.value for r in relrep.compare(x, y, metric=["cka", "rsa"], device=device)],
        "views": lambda device: [r.value or 0 for r in relrep.compare(x, y, metric="cka", anchors=range(30), device=device)],
        "against": lambda device: [r.difference for r in relrep.compare(x, y, x + y, against=1, device=device)],
        "project": lambda device: relrep.project(x, np.arange(30), device=device).x,
        "anchor": lambda device: relrep.anchor(x, 20, strategy="kmeans", device=device),
        "nearest": lambda device: [r.id for r in relrep.nearest(x, 3, device=device)],
        "evaluate": lambda device: [
            r.value or 0 for r in relrep.evaluate(x, labels=labels, task="knn,linear-probe", holdout=0.3, device=device)
        ],
    }
    within = {"project": 2e-6, "views": 1e-5}
    for name, call in calls.items():
        here = call("cpu")
        assert not asked, name
        there = call("torch:cpu")
        assert asked, name
        asked.clear()
        if name in ("anchor", "nearest"):
            assert list(there) == list(here)
        else:
            np.testing.assert_allclose(there, here, rtol=1e-9, atol=within.get(name, 1e-12))
        with pytest.raises(UsageError, match=r"device=\"nowhere\": this machine has no such device"):
            call("nowhere")
    with pytest.raises(UsageError, match="exact computes with NumPy"):
        relrep.project(x, np.arange(3), exact=True, device="torch:cpu")

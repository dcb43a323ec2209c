"""Vectors whose squares float64 cannot hold, or float32 cannot hold at all: right answers or a line in our words, no warning.

pytest turns every warning into an error here, so a command that ends as expected has given none.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli import cli
from relrep_cli.base import output
from relrep_cli.heads.heads import HEADS, train
from relrep_cli.numerics.whitening import deviations, moments, rounding, unit_of, whitening
from relrep_cli.stitching.translators import TRANSLATORS, fit

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5))
POWERS = [2.0**600, 2.0**1010, 2.0**-600]


def files(folder: Path, power: float) -> None:
    n = np.arange(60)
    more = {"id": [f"i{i}" for i in n], "label": n // 3 % 3, "split": np.where(n % 3, "train", "test")}
    np.savez(folder / "plain.npz", x=X, **more)
    np.savez(folder / "big.npz", x=X * power, **more)


# --- the numbers ---


def test_a_unit_is_for_what_cannot_be_squared() -> None:
    assert [unit_of([X * p]) for p in (1, 1e100, 1e-100)] == [1, 1, 1]
    assert unit_of([X.astype(np.float32) * np.float32(1e30)]) == 1
    for power in POWERS:
        unit = unit_of([X, X * power]) if power > 1 else unit_of([X * power])
        assert unit != 1 and np.log2(unit) % 1 == 0 and np.isfinite(np.square(X * power / unit)).all()
    assert unit_of([X * 2.0**-600], tiny=False) == 1 and unit_of([np.zeros((1, 1))]) == unit_of([]) == 1


@pytest.mark.parametrize("power", POWERS)
def test_moments_of_huge_and_tiny_numbers_are_those_of_others(power: float) -> None:
    """To the last bit, since a power of two is divided out; also where the first block is not huge."""
    for blocks in (np.array_split(X, 4), [X[:20] * (0 if power > 1 else 1), X[20:]]):
        mean, spread, _ = moments(blocks)
        full = moments(blocks, full=True)
        scaled = [b * power for b in blocks]
        big_mean, big_spread, unit = moments(scaled)
        big_full = moments(scaled, full=True)
        assert np.array_equal(big_mean, mean * power)
        assert np.array_equal(deviations(big_spread, unit), deviations(spread) * power)
        args = (big_full[1], 0.0, "w", rounding(scaled, big_full[0], big_full[1], unit), unit)
        assert np.allclose(whitening(*args) * power, whitening(full[1], 0.0, "w", rounding(blocks, *full)), rtol=1e-9)


def test_moments_of_ordinary_numbers_keep_their_bits() -> None:
    mean, variances, unit = moments([X])
    shifted = X - X.mean(0)
    assert unit == 1 and np.array_equal(variances, (shifted * shifted).sum(0) / 60 - (shifted.sum(0) / 60) ** 2)
    assert np.allclose(mean, X.mean(0), rtol=1e-14)


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("name", sorted({n for n in HEADS if "classes" in HEADS[n].predicts} - {"mlp"}))
def test_heads_learn_the_same(name: str, power: float) -> None:
    y = np.arange(60) // 3 % 3
    assert np.array_equal(train(name, X * power, y, 3, {})(X * power), train(name, X, y, 3, {})(X))


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("name", list(TRANSLATORS))
def test_translators_carry_the_same(name: str, power: float) -> None:
    y = X @ np.linalg.qr(RNG.normal(size=(5, 5)))[0] + 3
    params = TRANSLATORS.choose([name], {})[name]
    there, back = fit(name, X * power, y, params), fit(name, y, X * power, params)
    assert np.allclose(there(X * power), fit(name, X, y, params)(X), rtol=1e-6, atol=1e-9)
    assert np.allclose(back(y) / power, fit(name, y, X, params)(y), rtol=1e-6, atol=1e-9)


# --- commands ---


@pytest.mark.parametrize("task", ["linear-probe", "knn", "cluster", "separation", "retrieval"])
@pytest.mark.parametrize("power", POWERS[1:])
def test_evaluate_finds_the_same(empty: Workdir, task: str, power: float) -> None:
    """But for the magnitude, which is in the unit of the space."""
    files(empty.path, power)
    texts = [empty.here(f"relrep evaluate {name}.npz --task {task} --json -q").stdout for name in ("plain", "big")]
    plain, big = (json.loads(text.replace("big.npz", "plain.npz")) for text in texts)
    for record, other in zip(plain, big, strict=True):
        if record["name"] == "magnitude":
            for key in ("value", "low", "high"):
                assert other.pop(key) == pytest.approx(record.pop(key) * power, rel=1e-6)
        assert other == record


@pytest.mark.parametrize("how", ["--center", "--scale", "--whiten", "-s mahalanobis", "--standardize-columns"])
def test_project_gives_the_same(empty: Workdir, how: str) -> None:
    files(empty.path, POWERS[0])
    for name in ("plain", "big"):
        empty.here(f"relrep anchor {name}.npz -n 6 --strategy random -o {name}.a.h5 -q")
        empty.here(f"relrep project {name}.npz -a {name}.a.h5 {how} --dtype float64 -o {name}.h5 -q")
    from relrep_cli import store

    plain, big = (store.read(str(empty / f"{name}.h5")).x for name in ("plain", "big"))
    assert np.allclose(big, plain, rtol=1e-6, atol=1e-9)


def test_encoders_name_what_float32_cannot_hold(empty: Workdir) -> None:
    encoders = ("pca", "laplacian-eigenmaps", "random-projection", "lin-ae")
    for power, encoder in zip([*POWERS, 1e20], encoders, strict=True):
        files(empty.path, power)
        empty.error(f"relrep embed big.npz --encoder {encoder} --dim 2 -o o.h5", 3, "big.npz", "encoders compute in float32")


def test_the_mlp_head_names_it_too(empty: Workdir) -> None:
    files(empty.path, POWERS[0])
    empty.here("relrep anchor big.npz -n 6 --strategy random -o a.h5 -q")
    empty.error("relrep stitch big.npz big.npz -a a.h5 -m absolute --head mlp", 3, "the mlp head computes in float32")


@pytest.mark.parametrize("strategy", ["kmeans", "farthest", "herding"])
def test_anchors_of_numbers_whose_inverse_overflows(empty: Workdir, strategy: str) -> None:
    files(empty.path, 2.0**-1030)
    empty.here(f"relrep anchor big.npz -n 6 --strategy {strategy} -o a.h5")


def test_a_saved_head_of_huge_weights_is_named(work: Workdir) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    work.here("relrep stitch a.h5 b.h5 -a anchors.h5 -m relative -s cosine --head linear --save-head head.safetensors -q")
    with safe_open(work / "head.safetensors", "np") as file:
        metadata, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arrays["head.weights"] = np.where(arrays["head.weights"] > 0, 1e308, -1e308)
    save_file(arrays, work / "head.safetensors", metadata)
    line = work.error("relrep stitch b.h5 -a anchors.h5 --head head.safetensors", 3, "not finite", "too large")
    assert "internal" not in line


def test_equal_rows_make_fewer_clusters_which_is_said(empty: Workdir) -> None:
    n = np.arange(60)
    np.savez(empty / "a.npz", x=X[n % 2], id=n, label=n // 3 % 3)
    assert "3 clusters, of which 2 hold rows that differ" in empty.here("relrep evaluate a.npz --task cluster").stdout


# --- what libraries warn of ---


def test_a_warning_of_a_library_is_a_detail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    def noisy(*_: object) -> int:
        warnings.simplefilter("always")
        warnings.warn("array is not writable", UserWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(cli, "_exit_code", noisy)
    cli.run(["info"])
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(output, "detail", output.say)
    cli.run(["info"])
    assert "a library warns: UserWarning: array is not writable" in capsys.readouterr().err

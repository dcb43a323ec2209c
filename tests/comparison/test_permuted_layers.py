"""Permutations of linear CKA by Gram matrices: the values of moments, and the same bits whatever is computed beside a pair."""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.task_cache import Records
from relrep_cli.comparison.permutations import null_values, unpermuted
from relrep_cli.comparison.permuted_layers import AHEAD
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS
from relrep_cli.numerics import native, permuted_grams
from relrep_cli.numerics.workspace import Workspace

pytestmark = pytest.mark.skipif(not native.available(), reason="relrep was installed without a C compiler")
SHAPES = {"tall": (70, 5, 8), "wide": (12, 30, 20), "least": (4, 3, 3), "one column": (40, 1, 2)}


def cloud(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + 3


def test_the_sums_are_those_of_gram_matrices() -> None:
    x, *others = (cloud(37, d, d) for d in (4, 6, 50))
    orders = [np.random.default_rng(i).permutation(37) for i in range(5)]
    actual = permuted_grams.sums_of_grams(x, others, orders)
    centred = x - x.mean(0)
    for per_space, y in zip(actual, others, strict=True):
        for below, equal, order in zip(*per_space, orders, strict=True):
            permuted = (y - y.mean(0))[order]
            product = (centred @ centred.T) * (permuted @ permuted.T)
            assert equal == pytest.approx(np.trace(product), rel=1e-12)
            assert below == pytest.approx(np.tril(product, -1).sum(), rel=1e-10)
            assert 2 * below + equal == pytest.approx(np.square(centred.T @ permuted).sum(), rel=1e-10)  # |x'y|^2


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_they_give_the_values_of_each_permutation_alone(
    shape: tuple[int, int, int], estimator: str, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, dx, dy = shape
    x, y = (Embedding(cloud(n, d, d), row_numbers(n)) for d in (dx, dy))
    params = METRICS["cka"].resolve({"estimator": estimator, "kernel": kernel})

    def values() -> np.ndarray:
        return null_values("cka", params, x, y, range(40), 3, lambda part: None)

    actual = values()
    for choice in ("serves", "serves_kernels"):
        monkeypatch.setattr(permuted_grams, choice, lambda *shape: False)
    np.testing.assert_allclose(actual, values(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_numbers_of_any_size_have_values(scale: float) -> None:
    x, y = (Embedding(cloud(50, 4, seed), row_numbers(50)) for seed in (0, 1))
    large = Embedding(x.x * scale, x.ids)
    of_x, of_large = (null_values("cka", METRICS["cka"].resolve({}), e, y, range(9), 0, lambda part: None) for e in (x, large))
    np.testing.assert_allclose(of_large, of_x, rtol=1e-9)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_neither_later_pairs_nor_the_cut_change_a_bit(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone, in pieces of 50 permutations, one by one, with other spaces and on two threads."""
    x, y, *later = (cloud(60, d, d) for d in (7, 5, 5, 9))
    a, b = Embedding(x, row_numbers(60)), Embedding(y, row_numbers(60))
    run = Workspace.of_run(Records(None))
    for space in (x, y, *later):
        run.register(space)
    params = METRICS["cka"].resolve({"kernel": kernel})

    def values(others: Any, cuts: list[int]) -> bytes:
        known, number = unpermuted(a, b, range(130), 0, run.for_pair(), others), range(130)
        parts = [
            null_values("cka", params, a, b, number[i:j], 0, lambda part: None, known=known)
            for i, j in zip([0, *cuts], [*cuts, 130], strict=True)
        ]
        return np.concatenate(parts).tobytes()

    alone = values((), [])
    assert values((), [50, 100]) == values((), [1, 2, 3]) == values(later, [50, 100]) == alone
    monkeypatch.setenv("RELREP_THREADS", "2")
    assert values(later, []) == alone
    monkeypatch.setattr("relrep_cli.comparison.permuted_layers.AHEAD", 7)
    assert values(later, [50, 100]) == alone
    assert AHEAD % 50 == 0  # else the permutations of a record would be in two blocks


def test_two_kernels_of_one_pair_of_spaces_are_told_apart() -> None:
    a, b = (Embedding(cloud(50, 4, seed), row_numbers(50)) for seed in (0, 1))
    known, number = unpermuted(a, b, range(9), 0, Workspace.of_run(Records(None)).for_pair(), ()), range(9)

    def values(**shared: Any) -> list[np.ndarray]:
        chosen = [METRICS["cka"].resolve({"kernel": kernel}) for kernel in ("linear", "rbf")]
        return [null_values("cka", params, a, b, number, 0, lambda part: None, **shared) for params in chosen]

    for together, alone in zip(values(known=known), values(), strict=True):
        assert np.array_equal(together, alone)


def test_the_choice_follows_from_the_shapes_and_memory_is_bounded() -> None:
    assert permuted_grams.serves(1000, 128, 128) and permuted_grams.serves(100, 1, 1)
    assert not permuted_grams.serves(1000, 64, 64) and not permuted_grams.serves(2049, 4096, 4096)
    assert permuted_grams.serves_kernels(2048) and not permuted_grams.serves_kernels(2049)
    assert permuted_grams.most_spaces(1000) >= 11 and permuted_grams.most_spaces(2048) * 2048**2 * 4 <= 64 << 20


@pytest.fixture
def layers(empty: Workdir) -> Workdir:
    """a.npz and b.npz with three layers of 60 rows each, the last of b with other dims."""
    for seed, name in enumerate("ab"):
        common = cloud(60, 6, 9)
        spaces = {f"l{i}": common[:, : 6 - i * seed] + i * cloud(60, 6 - i * seed, seed) for i in range(3)}
        np.savez(empty / f"{name}.npz", **spaces)
    return empty


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_file_is_gathered_once_for_all_layers_of_the_other(layers: Workdir, kernel: str) -> None:
    """With the p-values of pairs alone, and from records without any gathering."""
    options = f"--permutations 60 -q --kernel {kernel}"
    command = f"relrep compare 'a.npz::l*' 'b.npz::l*' -m cka,procrustes {options} --cache kept"
    original = permuted_grams.sums_of_grams
    with mock.patch.object(permuted_grams, "sums_of_grams", wraps=original) as gathered:
        rows = layers.here(command).rows
    assert [len(call.args[1]) for call in gathered.call_args_list] == [3, 3, 3]
    for r in rows:
        both = layers.here(f"relrep compare {r['a']} {r['b']} -m cka,procrustes {options}").rows
        (alone,) = (one for one in both if one["metric"] == r["metric"])
        assert (alone["value"], alone["p"]) == (r["value"], r["p"])
    with mock.patch.object(permuted_grams, "sums_of_grams", side_effect=AssertionError):
        assert layers.here(command).rows == rows
    assert layers.here(command.replace("--cache kept", "--cluster local:2")).rows == rows


def test_layers_that_share_other_rows_are_measured_alone(layers: Workdir) -> None:
    ids = np.array([f"i{i:02d}" for i in range(60)], "S")
    np.savez(layers / "c.npz", x=np.load(layers / "b.npz")["l1"][:50], ids=ids[:50])
    np.savez(layers / "d.npz", x=np.load(layers / "b.npz")["l1"], ids=ids)
    np.savez(layers / "e.npz", x=np.load(layers / "a.npz")["l1"], ids=ids)
    together = layers.here("relrep compare e.npz c.npz d.npz --reference first -m cka --permutations 20 -q").rows
    alone = [layers.here(f"relrep compare e.npz {name}.npz -m cka --permutations 20 -q").rows[0] for name in "cd"]
    assert [r["p"] for r in together] == [r["p"] for r in alone] and [r["n"] for r in together] == ["50", "60"]

"""Similarity functions: equal to scipy's float64 distances, whatever the data, and invariant exactly where declared."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from transformations import PROMISES, TRANSFORMATIONS, expected

from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.errors import DataError, UsageError
from relrep_cli.projection import Recipe, basis, relative, relative_blocks
from relrep_cli.similarities import SIMILARITIES, torch_device


def similar(name: str, x: Any, anchors: Any) -> Any:
    return SIMILARITIES[name].function(x, anchors, **SIMILARITIES[name].resolve({}))


def reference(name: str, x: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """By scipy, in float64; the cosine of a zero row is 0 by definition."""
    x, anchors = x.astype(np.float64), anchors.astype(np.float64)
    if name == "euclidean":
        return cdist(x, anchors)
    peaks = [np.abs(side).max(1, keepdims=True) for side in (x, anchors)]
    u, v = (side / np.where(peak == 0, 1, peak) for side, peak in zip((x, anchors), peaks, strict=True))
    zero = (peaks[0] == 0) | (peaks[1] == 0).T
    with np.errstate(invalid="ignore"):
        return np.where(zero, 0.0, 1 - cdist(u, v, "cosine"))


REFERRED = ("cosine", "euclidean")


def cloud(n: int = 200, d: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.geomspace(2, 0.5, d)


def near_duplicates() -> np.ndarray:
    """Groups of four rows: two equal, one 0.1 % and one 10 % away."""
    x, noise = cloud(50), cloud(50, seed=1)
    return np.stack([x, x, x + 1e-3 * noise, x + 0.1 * noise], 1).reshape(200, -1)


def with_zero_rows() -> np.ndarray:
    x = cloud()
    x[::5] = 0
    return x


DATA: dict[str, Any] = {
    "plain": cloud,
    "one dimension": lambda: cloud(d=1),
    "near duplicates": near_duplicates,
    "near duplicates in three dimensions": lambda: near_duplicates()[:, :3],
    "zero rows": with_zero_rows,
    "all zero": lambda: np.zeros((200, 24)),
    **{f"offset {offset:g}": (lambda o=offset: cloud() + o) for offset in (10, 1e3, 1e6)},
    **{f"times {scale:g}": (lambda s=scale: near_duplicates() * s) for scale in (1e15, 1e-15, 1e-20, 1e30, 1e-30)},
    "one row far out": lambda: np.concatenate([cloud(199), np.full((1, 24), 1e15)]),
    "one row absurdly far out": lambda: np.concatenate([cloud(199), np.full((1, 24), 1e30)]),
}


HELD = [kind for kind in DATA if not kind.startswith(("times", "one row", "offset 1e+06"))]  # by float16
STORED = [(kind, dtype) for kind in DATA for dtype in (np.float64, np.float32)] + [(kind, np.float16) for kind in HELD]


@pytest.mark.parametrize(("kind", "dtype"), STORED, ids=lambda v: v if isinstance(v, str) else v.__name__)
@pytest.mark.parametrize("name", REFERRED)
def test_equal_to_scipy(name: str, kind: str, dtype: type) -> None:
    """To 1e-5 of the value, of its largest for cosines; stored float16 through the projection, which widens it."""
    x = np.asarray(DATA[kind](), dtype)
    anchors = x[::7].copy()
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        if dtype is np.float16:
            recipe = Recipe(row_numbers(200)[::7], name)
            found = np.concatenate(list(relative_blocks(x, basis(Embedding(x, row_numbers(200)), recipe))))
        else:
            found = similar(name, x, anchors)
    wanted = reference(name, x, anchors)
    assert found.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=0 if SIMILARITIES[name].distance else 1e-6)
    if SIMILARITIES[name].distance:
        assert (found[np.arange(0, 200, 7), np.arange(len(anchors))] == 0).all()
        assert (found[wanted == 0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("name", SIMILARITIES)
def test_torch_tensors_give_equal_results(name: str, kind: str, dtype: torch.dtype) -> None:
    x = torch.from_numpy(DATA[kind]()).to(dtype)
    found = similar(name, x, x[::7])
    assert isinstance(found, torch.Tensor) and found.dtype == dtype
    wanted = similar(name, x.numpy(), x[::7].numpy())
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=0 if SIMILARITIES[name].distance else 1e-6)


# What every similarity function declares


def test_traits_are_known() -> None:
    for name, entry in SIMILARITIES.items():
        assert set(entry.invariant) <= set(PROMISES), name
        for trait in entry.invariant:
            assert PROMISES[trait] - {"signed-permutation"} <= set(entry.invariant), (name, trait)


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("name", SIMILARITIES)
def test_invariant_exactly_where_declared(name: str, transformation: str) -> None:
    """The same map on items and anchors: equal to 1e-9 where declared or implied, else nearly all change by over 1 %."""
    x = cloud(60, 8) + 0.4
    anchors = cloud(9, 8, seed=1) + 0.4
    moved = TRANSFORMATIONS[transformation](np.random.default_rng(7), 8)
    plain, after = similar(name, x, anchors), similar(name, moved(x), moved(anchors))
    change = np.abs(after - plain) / np.abs(plain).max()
    if expected(name, SIMILARITIES[name].invariant, transformation):
        assert change.max() < 1e-9
    else:
        assert np.median(change) > 0.01


@pytest.mark.parametrize("name", SIMILARITIES)
def test_nearest_means_most_similar(name: str) -> None:
    """A distance grows from 0 and a similarity falls as an item leaves its anchor."""
    anchor, away = cloud(1, 8), cloud(1, 8, seed=1)
    found = similar(name, anchor + np.array([[0], [0.1], [0.5], [2]]) * away, anchor)[:, 0]
    assert found.tolist() == sorted(found, reverse=not SIMILARITIES[name].distance)
    assert len(set(found.tolist())) == 4
    assert (found[0] == 0) == SIMILARITIES[name].distance


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 40),
    m=st.integers(1, 12),
    d=st.integers(1, 30),
    exponent=st.integers(-18, 18),
    offset=st.sampled_from([0, 1, 1000]),
    zeros=st.integers(0, 2),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_rows_and_anchors_do_not_feel_each_other(
    seed: int, n: int, m: int, d: int, exponent: int, offset: int, zeros: int, dtype: type
) -> None:
    """A value depends on its item and its anchor alone, up to rounding, and is finite."""
    rng = np.random.default_rng(seed)
    x, anchors = (((rng.normal(size=(rows, d)) + offset) * 10.0**exponent).astype(dtype) for rows in (n, m))
    x[:zeros] = 0
    for name, entry in SIMILARITIES.items():
        whole = similar(name, x, anchors)
        assert whole.shape == (n, m) and np.isfinite(whole).all()
        i, j = rng.integers(n), rng.integers(m)
        alone = similar(name, x[i : i + 1], anchors[j : j + 1])[0, 0]
        assert whole[i, j] == pytest.approx(alone, rel=3e-5, abs=0 if entry.distance else 1e-6)


# The projection that calls them


def embedding(x: np.ndarray, **more: Any) -> Embedding:
    return Embedding(x, row_numbers(len(x)), uri="a.h5", **more)


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("center", [False, True])
def test_blocks_make_no_difference(name: str, center: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from relrep_cli import blocks

    e = embedding(cloud(100) + 3)
    to = basis(e, Recipe(e.ids[:10], name, center=center))
    whole = np.concatenate(list(relative_blocks(e.x, to)))
    monkeypatch.setattr(blocks, "ROWS", 8)
    parts = list(relative_blocks(e.x, to))
    assert len(parts) == 13
    assert np.concatenate(parts) == pytest.approx(whole, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16], ids=lambda t: t.__name__)
def test_centring_subtracts_the_mean_of_the_training_rows(dtype: type) -> None:
    x = (cloud(100) + 50).astype(dtype)
    split = np.where(np.arange(100) % 2, b"train", b"test")
    e = embedding(x, obs={"split": split})
    wide = x.astype(np.float64)
    wanted = reference("cosine", wide - wide[1::2].mean(0), (wide - wide[1::2].mean(0))[:10])
    found = relative(e, basis(e, Recipe(e.ids[:10], center=True))).x
    assert found == pytest.approx(wanted, abs=1e-6)
    plain = relative(e, basis(e, Recipe(e.ids[:10]))).x
    assert np.abs(found - plain).max() > 0.5


def test_a_stored_mean_is_used() -> None:
    mean = np.full(24, 7.0)
    e = embedding(cloud(50) + 50, uns={"center": mean})
    assert basis(e, Recipe(e.ids[:5], center=True)).origin == pytest.approx(mean)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_relative_spaces_agree_across_a_rotation_where_the_function_is_invariant(name: str) -> None:
    x = cloud(80)
    turned = TRANSFORMATIONS["orthogonal"](np.random.default_rng(3), 24)(x)
    found = [relative(e, basis(e, Recipe(e.ids[::8], name))) for e in map(embedding, (x, turned))]
    assert found[0].space == found[1].space and found[0].d == 10
    assert (np.abs(found[0].x - found[1].x).max() < 1e-9) == ("orthogonal" in SIMILARITIES[name].invariant)


def test_the_space_names_all_that_makes_it() -> None:
    ids = row_numbers(9)
    recipes = [
        Recipe(ids),
        Recipe(ids[::-1]),
        Recipe(ids[:8]),
        Recipe(ids, "euclidean"),
        Recipe(ids, center=True),
        Recipe(ids, params={"power": 2}),
    ]
    assert len({r.space() for r in recipes}) == len(recipes)
    assert Recipe(ids.copy()).space() == Recipe(ids).space()


def test_a_relative_file_is_not_projected_again() -> None:
    e = embedding(cloud(20))
    again = relative(e, basis(e, Recipe(e.ids[:5])))
    with pytest.raises(DataError, match=r"a\.h5: is a relative representation already"):
        basis(again, Recipe(e.ids[:5]))


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--device abacus: torch finds no such device here; found: cpu"):
        torch_device("abacus")

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

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.numerics.devices import torch_device
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.projection import basis, relative, relative_blocks
from relrep_cli.relative.recipes import Postprocessing, Recipe
from relrep_cli.relative.similarities import SIMILARITIES, Training
from relrep_cli.relative.transformations import TRANSFORMATIONS, with_implied


def similar(name: str, x: Any, anchors: Any, **given: Any) -> Any:
    """The function on plain arrays or tensors; what it must know of the space it finds in x."""
    entry = SIMILARITIES[name]
    params = entry.resolve(given)
    if entry.fit is None:
        return entry.function(x, anchors, **params)
    rows, ends = (np.asarray(side) for side in (x, anchors))
    return entry.function(x, anchors, **params, fitted=entry.fit(Training(lambda: [rows], len(rows)), ends, **params))


def reference(name: str, x: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """By scipy, in float64; the cosine of a zero row is 0 by definition."""
    x, anchors = x.astype(np.float64), anchors.astype(np.float64)
    if name in PEERS:
        return cdist(x, anchors, *PEERS[name][:1], **PEERS[name][1])
    peaks = [np.abs(side).max(1, keepdims=True) for side in (x, anchors)]
    u, v = (side / np.where(peak == 0, 1, peak) for side, peak in zip((x, anchors), peaks, strict=True))
    zero = (peaks[0] == 0) | (peaks[1] == 0).T
    with np.errstate(invalid="ignore"):
        return np.where(zero, 0.0, 1 - cdist(u, v, "cosine"))


PEERS: dict[str, Any] = {
    "euclidean": ("euclidean", {}),
    "l1": ("cityblock", {}),
    "chebyshev": ("chebyshev", {}),
    "lp": ("minkowski", {"p": 3}),
}
REFERRED = ("cosine", *PEERS)
COORDINATES = [name for name, entry in SIMILARITIES.items() if entry.fit is None and name != "inner"]  # of any data whatever


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
            recipe = Recipe(row_numbers(200)[::7], {name: SIMILARITIES[name].resolve({})})
            actual = np.concatenate(list(relative_blocks(x, basis(Embedding(x, row_numbers(200)), recipe))))
        else:
            actual = similar(name, x, anchors)
    wanted = reference(name, x, anchors)
    assert actual.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=0 if SIMILARITIES[name].distance else 1e-6)
    if SIMILARITIES[name].distance:
        assert (actual[np.arange(0, 200, 7), np.arange(len(anchors))] == 0).all()
        assert (actual[wanted == 0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("name", COORDINATES)
def test_torch_tensors_give_equal_results(name: str, kind: str, dtype: torch.dtype) -> None:
    x = torch.from_numpy(DATA[kind]()).to(dtype)
    computed = similar(name, x, x[::7])
    assert isinstance(computed, torch.Tensor) and computed.dtype == dtype
    wanted = similar(name, x.numpy(), x[::7].numpy())
    exact = SIMILARITIES[name].distance and name != "angular"  # unit vectors are rounded, so small angles are, too
    np.testing.assert_allclose(computed.numpy(), wanted, rtol=1e-5, atol=0 if exact else 1e-6)


@pytest.mark.parametrize("name", ["inner", *(n for n, e in SIMILARITIES.items() if e.fit is not None)])
def test_torch_tensors_for_the_rest(name: str) -> None:
    x = torch.from_numpy(cloud())
    computed = similar(name, x, x[::7])
    assert isinstance(computed, torch.Tensor) and computed.dtype == torch.float64
    np.testing.assert_allclose(computed.numpy(), similar(name, x.numpy(), x[::7].numpy()), rtol=1e-9, atol=1e-12)


def test_invariances_are_those_that_are_registered() -> None:
    """A misspelt one would be declared and never tried."""
    for name, entry in SIMILARITIES.items():
        assert set(entry.invariant) <= set(TRANSFORMATIONS), name


def test_mahalanobis_is_that_of_scipy() -> None:
    x = cloud(300, 6) @ np.random.default_rng(1).normal(size=(6, 6)) + 3
    wanted = cdist(x, x[::9], "mahalanobis", VI=np.linalg.inv(np.cov(x.T, bias=True)))
    assert similar("mahalanobis", x, x[::9]) == pytest.approx(wanted, rel=1e-9)
    flat = np.concatenate([x, np.ones((300, 2))], 1)
    assert similar("mahalanobis", flat, flat[::9]) == pytest.approx(wanted, rel=1e-6), "an axis without variance is left out"
    shrunk = 0.7 * np.cov(x.T, bias=True) + 0.3 * np.trace(np.cov(x.T, bias=True)) / 6 * np.eye(6)
    wanted = cdist(x, x[::9], "mahalanobis", VI=np.linalg.inv(shrunk))
    assert similar("mahalanobis", x, x[::9], shrinkage=0.3) == pytest.approx(wanted, rel=1e-9)
    with pytest.raises(DataError, match="mahalanobis: the training rows do not vary"):
        similar("mahalanobis", np.ones((5, 3)), np.ones((2, 3)))


def test_angles_keep_their_digits() -> None:
    """Where arccos of a cosine has none left: next to 0 and next to pi."""
    tiny = np.geomspace(1e-7, 1e-2, 9)
    x = np.stack([np.cos(tiny), np.sin(tiny)], 1)
    assert similar("angular", x, np.array([[1.0, 0]]))[:, 0] == pytest.approx(tiny, rel=1e-9)
    assert np.pi - similar("angular", x, np.array([[-1.0, 0]]))[:, 0] == pytest.approx(tiny, rel=1e-6)
    assert similar("angular", np.zeros((1, 2)), x) == pytest.approx(np.pi / 2)


def test_rbf_width() -> None:
    x = cloud(100, 5)
    apart = cdist(x, x[::9])
    assert similar("rbf", x, x[::9]) == pytest.approx(np.exp(-(apart**2) / (2 * np.median(apart) ** 2)), rel=1e-9)
    assert similar("rbf", x, x[::9], width=2.0) == pytest.approx(np.exp(-(apart**2) / 8), rel=1e-9)
    with pytest.raises(DataError, match="Set the width with --width"):
        similar("rbf", np.ones((5, 3)), np.ones((2, 3)))


def test_the_width_of_rbf_does_not_depend_on_blocks() -> None:
    """Every third of 5000 rows stands for all, however they arrive."""
    x = cloud(5000, 3)
    wanted = np.median(cdist(x[::3], x[:7]))
    for parts in (1, 2, 7):
        train = Training(lambda parts=parts: np.array_split(x, parts), len(x))
        assert SIMILARITIES["rbf"].fit(train, x[:7], width=0.0)["width"] == pytest.approx([wanted], rel=1e-9)


@pytest.mark.parametrize("p", [1.0, 2.0, 8.0, 64.0])
def test_the_smooth_chebyshev_comes_from_above(p: float) -> None:
    """Lp falls to the largest difference as p grows, by no more than a factor d^(1/p)."""
    x = cloud(60, 12)
    exact, smooth = similar("chebyshev", x, x[::9]), similar("chebyshev", x, x[::9], p=p)
    assert smooth == pytest.approx(cdist(x, x[::9], "minkowski", p=p), rel=1e-9)
    assert (smooth >= exact * (1 - 1e-12)).all() and (smooth <= exact * 12 ** (1 / p) * (1 + 1e-12)).all()


def test_inner_that_leaves_the_range() -> None:
    """float32 cannot hold it: said, not infinite; float64 can."""
    e = embedding((cloud() * 1e25).astype(np.float32))
    recipe = Recipe(e.ids[:3], {"inner": {}})
    with pytest.raises(DataError, match=r"inner: values leave the range of float32\. Use .* --dtype float64"):
        relative(e, basis(e, recipe))
    assert np.isfinite(relative(e, basis(e, recipe, double=True)).x).all()


# What every similarity function declares


def test_traits_are_known() -> None:
    for name, entry in SIMILARITIES.items():
        assert set(entry.invariant) <= set(TRANSFORMATIONS), name
        assert with_implied(entry.invariant) == set(entry.invariant), f"{name}: all that is implied is declared"


def sheet() -> np.ndarray:
    """900 points of a flat strip in space: what can be rolled up."""
    return np.concatenate([np.random.default_rng(0).uniform(0, [6, 2], (900, 2)), np.zeros((900, 1))], 1)


EXACT = {np.float64: 1e-9, np.float32: 2e-6, np.float16: 5e-3}  # of the largest value; what rounding to the type leaves


@pytest.mark.parametrize("dtype", EXACT, ids=lambda t: t.__name__)
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("name", SIMILARITIES)
def test_invariant_exactly_where_declared(name: str, transformation: str, dtype: type) -> None:
    """The same map on items and anchors, then stored: equal where declared, else most values change by over 1 %."""
    x = sheet() if transformation == "isometry" else cloud(160, 8) + 0.4
    moved = TRANSFORMATIONS[transformation].function(np.random.default_rng(7), x)(x)
    recipe = Recipe(row_numbers(len(x))[:12], {name: SIMILARITIES[name].resolve({})})
    plain, after = (relative(e, basis(e, recipe)).x for e in (embedding(side.astype(dtype)) for side in (x, moved)))
    change = np.abs(after.astype(np.float64) - plain) / np.abs(plain).max()
    if transformation not in SIMILARITIES[name].invariant:
        assert np.median(change) > 0.01
    elif transformation == "isometry":
        assert change.max() < 0.03, "paths are those of a graph"
    elif name == "geodesic" and dtype is np.float16:
        assert np.quantile(change, 0.9) < 0.02, "rounding gives some items another neighbour, and another path"
    else:
        assert change.max() < EXACT[dtype]


@pytest.mark.parametrize("name", [n for n in SIMILARITIES if n != "inner"])
def test_nearest_means_most_similar(name: str) -> None:
    """A distance grows from 0 and a similarity falls as an item leaves its anchor."""
    anchor, away = cloud(1, 8), cloud(1, 8, seed=1)
    cases = anchor + np.array([[0], [0.1], [0.5], [2]]) * away
    entry = SIMILARITIES[name]
    fitted = {}
    if entry.fit is not None:
        rows = np.concatenate([cases, cloud(50, 8)])
        fitted = {"fitted": entry.fit(Training(lambda: [rows], len(rows)), anchor, **entry.resolve({}))}
    actual = entry.function(cases, anchor, **entry.resolve({}), **fitted)[:, 0]
    assert actual.tolist() == sorted(actual, reverse=not entry.distance)
    assert len(set(actual.tolist())) == 4
    assert (actual[0] < 1e-12) == entry.distance


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
    for name in COORDINATES:
        entry = SIMILARITIES[name]
        whole = similar(name, x, anchors)
        assert whole.shape == (n, m) and np.isfinite(whole).all()
        i, j = rng.integers(n), rng.integers(m)
        alone = similar(name, x[i : i + 1], anchors[j : j + 1])[0, 0]
        assert whole[i, j] == pytest.approx(alone, rel=3e-5, abs=0 if entry.distance else 1e-6)


# The projection that calls them


def embedding(x: np.ndarray, **more: Any) -> Embedding:
    return Embedding(x, row_numbers(len(x)), uri="a.h5", **more)


def recipe(ids: np.ndarray, name: str = "cosine", center: bool = False) -> Recipe:
    return Recipe(ids, {name: SIMILARITIES[name].resolve({})}, Preprocessing(center))


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("center", [False, True])
def test_blocks_make_no_difference(name: str, center: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from relrep_cli.numerics import blocks

    e = embedding(cloud(100) + 3)
    to = basis(e, recipe(e.ids[:10], name, center))
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
    actual = relative(e, basis(e, recipe(e.ids[:10], center=True))).x
    assert actual == pytest.approx(wanted, abs=1e-6)
    plain = relative(e, basis(e, Recipe(e.ids[:10]))).x
    assert np.abs(actual - plain).max() > 0.5


def test_a_stored_mean_is_used() -> None:
    mean = np.full(24, 7.0)
    e = embedding(cloud(50) + 50, uns={"center": mean})
    assert basis(e, recipe(e.ids[:5], center=True)).statistics["center"] == pytest.approx(mean)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_relative_spaces_agree_across_a_rotation_where_the_function_is_invariant(name: str) -> None:
    x = cloud(80)
    turned = TRANSFORMATIONS["orthogonal"].function(np.random.default_rng(3), x)(x)
    actual = [relative(e, basis(e, recipe(e.ids[::8], name))) for e in map(embedding, (x, turned))]
    assert actual[0].space == actual[1].space and actual[0].d == 10
    assert (np.abs(actual[0].x - actual[1].x).max() < 1e-9) == ("orthogonal" in SIMILARITIES[name].invariant)


def test_the_space_names_all_that_makes_it() -> None:
    ids = row_numbers(9)
    recipes = [
        Recipe(ids),
        Recipe(ids[::-1]),
        Recipe(ids[:8]),
        Recipe(ids, {"euclidean": {}}),
        Recipe(ids, before=Preprocessing(center=True)),
        Recipe(ids, before=Preprocessing(scale=True)),
        Recipe(ids, {"cosine": {"power": 2}}),
        Recipe(ids, {"cosine": {}, "l1": {}}, aggregate="concat"),
        Recipe(ids, {"l1": {}, "cosine": {}}, aggregate="concat"),
        Recipe(ids, {"cosine": {}, "l1": {}}, aggregate="sum"),
        Recipe(ids, after=Postprocessing(negate=True)),
        Recipe(ids, after=Postprocessing(standardize=True)),
        Recipe(ids, after=Postprocessing(step=0.1)),
        Recipe(ids, before=Preprocessing(center=True), transductive=True),
    ]
    assert len({r.space() for r in recipes}) == len(recipes)
    assert Recipe(ids.copy()).space() == Recipe(ids).space()


def test_the_names_of_spaces_stay() -> None:
    """What relrep 0.1.0 wrote: files made before and after an update must agree."""
    ids = row_numbers(9)
    assert Recipe(ids).space() == "relative:ab2848e00bb5c97d"
    assert recipe(ids, "euclidean", True).space() == "relative:c022a72466be8527"


def test_a_relative_file_is_not_projected_again() -> None:
    e = embedding(cloud(20))
    again = relative(e, basis(e, Recipe(e.ids[:5])))
    with pytest.raises(DataError, match=r"a\.h5: is a relative representation already"):
        basis(again, Recipe(e.ids[:5]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=lambda t: t.__name__)
@pytest.mark.parametrize("name", SIMILARITIES)
def test_a_device_projects_as_the_cpu_does(name: str, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several blocks."""
    from relrep_cli.numerics import blocks

    e = embedding(cloud(100).astype(dtype))
    to = basis(e, recipe(e.ids[:10], name))
    wanted = np.concatenate(list(relative_blocks(e.x, to)))
    monkeypatch.setattr(blocks, "ROWS", 32)
    parts = list(relative_blocks(e.x, to, "torch:cpu"))
    assert [len(part) for part in parts] == [32, 32, 32, 4]
    assert np.abs(np.concatenate(parts) - wanted).max() <= 2e-6 * np.abs(wanted).max()


def test_a_device_without_float64_leaves_float64_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    e = embedding(cloud(40))
    to = basis(e, recipe(e.ids[:5]))
    assert to.dtype == np.float64
    wanted = np.concatenate(list(relative_blocks(e.x, to)))
    assert np.array_equal(np.concatenate(list(relative_blocks(e.x, to, "mps"))), wanted)


def test_a_device_names_values_out_of_range() -> None:
    e = embedding(cloud(20).astype(np.float32) * np.float32(1e30))
    with pytest.raises(DataError, match=r"values leave the range of float32"):
        list(relative_blocks(e.x, basis(e, recipe(e.ids[:5], "inner")), "torch:cpu"))


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--device abacus: this machine has no such device"):
        torch_device("abacus")

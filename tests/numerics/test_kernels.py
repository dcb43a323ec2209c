"""Kernels: equal to scipy in float64, whatever the data; equal bits whatever the block and the number of threads."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from relrep_cli.base import signals
from relrep_cli.numerics import distances as kernels
from relrep_cli.numerics import native

DISTANCES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "euclidean": (kernels.euclidean, {"metric": "euclidean"}),
    "l1": (kernels.l1, {"metric": "cityblock"}),
    "chebyshev": (kernels.chebyshev, {"metric": "chebyshev"}),
    **{
        f"lp {p}": (lambda x, anchors, out, p=p: kernels.lp(x, anchors, p, out), {"metric": "minkowski", "p": p})
        for p in (1, 2, 3, 1.5, 16, 70, np.inf)
    },
}


def cloud(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) * np.geomspace(2, 0.5, d)


def clusters() -> np.ndarray:
    """Four rows around each of fifty points: two equal, one 0.1 % and one 10 % away."""
    x, noise = cloud(50, 24), cloud(50, 24, seed=1)
    return np.stack([x, x, x + 1e-3 * noise, x + 0.1 * noise], 1).reshape(200, -1)


DATA: dict[str, Callable[[], np.ndarray]] = {
    "random": lambda: cloud(150, 24),
    "clustered": clusters,
    "constant": lambda: np.full((40, 24), 3.7),
    "zero": lambda: np.zeros((40, 24)),
    **{f"times {scale:g}": (lambda s=scale: clusters() * s) for scale in (1e15, 1e30, 1e-20, 1e-30)},
    "far from the origin": lambda: cloud(150, 24) + 1e6,
    "one row": lambda: cloud(1, 24),
    "one dimension": lambda: cloud(150, 1),
    "no multiples": lambda: cloud(137, 61),
    "many dimensions": lambda: cloud(9, 1201),
    "many anchors": lambda: cloud(1100, 3),
}


def distances(name: str, x: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    out = np.full((len(x), len(anchors)), np.nan, x.dtype)
    assert DISTANCES[name][0](x, anchors, out=out) is out
    return out


@cache
def reference(name: str, kind: str, dtype: type) -> np.ndarray:
    """By scipy in float64; where powers leave its range, of shares of the largest difference."""
    x, anchors = (side.astype(np.float64) for side in sides(kind, dtype))
    how = DISTANCES[name][1]
    p = how.get("p", 1)
    if p <= 3 or p == np.inf:
        return cdist(x, anchors, **how)
    gaps = np.abs(x[:, None] - anchors)
    peaks = gaps.max(2) + (gaps.max(2) == 0)
    with np.errstate(under="ignore"):
        return np.where(gaps.max(2) == 0, 0, peaks * ((gaps / peaks[..., None]) ** p).sum(2) ** (1 / p))


def sides(kind: str, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Items, read-only, and anchors."""
    x = DATA[kind]().astype(dtype)
    anchors = x[:: 1 if kind == "many anchors" else 3].copy()
    x.flags.writeable = False
    return x[:50] if kind == "many anchors" else x, anchors


@pytest.fixture(params=["c", "numba", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RELREP_NUMBA", "0" if request.param == "numpy" else "1")
    monkeypatch.setenv("RELREP_NATIVE", "1" if request.param == "c" else "0")
    if request.param == "c" and not native.available():
        pytest.skip("relrep was installed without a C compiler")
    return str(request.param)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda t: t.__name__)
@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("name", DISTANCES)
def test_equal_to_scipy(name: str, kind: str, dtype: type, way: str) -> None:
    x, anchors = sides(kind, dtype)
    with np.errstate(all="raise"):
        computed = distances(name, x, anchors)
    wanted = reference(name, kind, dtype)
    np.testing.assert_allclose(computed, wanted, rtol=1e-12 if dtype is np.float64 else 1e-5, atol=0)
    assert (computed[wanted == 0] == 0).all() and computed[0, 0] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda t: t.__name__)
@pytest.mark.parametrize("kind", DATA)
def test_cosines(kind: str, dtype: type) -> None:
    """To 1e-6 or 1e-12 of 1; row by row the same."""
    x, anchors = sides(kind, dtype)
    u, v = (side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-300) for side in map(np.float64, (x, anchors)))
    with np.errstate(all="raise"):
        actual = kernels.cosine(x, kernels.unit(anchors), np.empty((len(x), len(anchors)), dtype))
        alone = kernels.cosine(x[-1:], kernels.unit(anchors), np.empty((1, len(anchors)), dtype))
    np.testing.assert_allclose(actual, u @ v.T, rtol=0, atol=1e-12 if dtype is np.float64 else 1e-6)
    np.testing.assert_allclose(actual[-1:], alone, rtol=0, atol=1e-12 if dtype is np.float64 else 1e-6)


@pytest.mark.parametrize("name", [name for name in DISTANCES if name != "euclidean"])
def test_blocks_and_threads_give_equal_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, anchors = cloud(301, 37).astype(np.float32), cloud(83, 37, seed=1).astype(np.float32)
    whole = distances(name, x, anchors)
    for count, rows in ((1, 301), (2, 301), (2, 128), (1, 7), (2, 1)):
        monkeypatch.setenv("NUMBA_NUM_THREADS", str(count))
        parts = [distances(name, x[at : at + rows], anchors) for at in range(0, 301, rows)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    monkeypatch.setattr(kernels, "PIECE", 1)
    np.testing.assert_array_equal(distances(name, x, anchors[40:]), whole[:, 40:])


@pytest.mark.skipif(not native.available(), reason="relrep was installed without a C compiler")
@pytest.mark.parametrize("name", ["l1", "chebyshev"])
def test_kernels_in_c_and_by_numba_give_equal_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, anchors = cloud(150, 530).astype(np.float32), cloud(40, 530, seed=1).astype(np.float32)
    in_c = distances(name, x, anchors)
    monkeypatch.setenv("RELREP_NATIVE", "0")
    np.testing.assert_array_equal(distances(name, x, anchors), in_c)


def test_a_signal_ends_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_pending", [15])
    for numba in "01":
        monkeypatch.setenv("RELREP_NUMBA", numba)
        with pytest.raises(signals.Interrupted):
            distances("l1", cloud(10, 3), cloud(2, 3))


# The cache of compiled code


def broken(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("place", ["no folder", "full disk"])
@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_done_without(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.core import caching

    from relrep_cli.numerics import compiled_distances as tiles

    if place == "no folder":
        monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    else:
        monkeypatch.setattr(caching.IndexDataCacheFile, "load", lambda *_: None)
        monkeypatch.setattr(caching.IndexDataCacheFile, "save", broken)
    tiles.compiled.cache_clear()
    x = cloud(5, 3)
    np.testing.assert_allclose(distances("l1", x, x), cdist(x, x, "cityblock"), rtol=1e-12)


def test_a_library_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "VERSION", -1)
    native._library.cache_clear()
    assert not native.available()
    native._library.cache_clear()


@pytest.mark.skipif(not native.available(), reason="relrep was installed without a C compiler")
@pytest.mark.parametrize("factor", [1.0, 0.37, 1e-200])
def test_exponentials_are_those_of_numpy(factor: float) -> None:
    """To two units in the last place, where those of NumPy may be wrong by one; what falls below 1e-307 stays there."""
    values = -np.abs(np.random.default_rng(0).standard_cauchy(4099)) / factor
    values[:6] = np.array([0, -1e-300, -0.34657359027997264, -700, -5000, np.nan]) / factor
    actual = values.copy()
    native.exponentials(actual, factor)
    wanted = np.exp(values * factor)
    plain = wanted > 1e-300
    assert plain.sum() > 4000 and (np.abs(actual - wanted)[plain] <= 2 * np.spacing(wanted[plain])).all()
    assert np.isnan(actual[5]) and (actual[~plain & ~np.isnan(wanted)] < 1e-300).all()
    assert actual[0] == 1

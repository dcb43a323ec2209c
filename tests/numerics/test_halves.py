"""float16 to float32 and back: the kernel in C gives NumPy's bits for every number there is."""

from __future__ import annotations

import numpy as np
import pytest

from relrep_cli.numerics import native
from relrep_cli.numerics.blocks import all_finite, widen
from relrep_cli.numerics.halves import are_finite, halved, widened

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),  # of infinite numbers, by NumPy
]


@pytest.fixture(params=["c", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RELREP_NATIVE", "1" if request.param == "c" else "0")
    if request.param == "c" and not native.converts_halves():
        pytest.skip("no C compiler when relrep was installed, or a processor without F16C")
    return str(request.param)


def every_half(columns: int) -> np.ndarray:
    """All 65,536 numbers of float16, and some of them again, in rows of `columns`."""
    return np.resize(np.arange(1 << 16, dtype=np.uint16), (-(-(1 << 16) // columns), columns)).view(np.float16)


def assert_same_bits(a: np.ndarray, b: np.ndarray) -> None:
    bits = np.uint16 if a.dtype == np.float16 else np.uint32
    numbers = ~np.isnan(b)
    assert a.dtype == b.dtype and (np.isnan(a) == ~numbers).all()
    np.testing.assert_array_equal(a.view(bits)[numbers], b.view(bits)[numbers])


@pytest.mark.parametrize("columns", [1, 7, 16, 515])
def test_every_half_widens_exactly(columns: int, way: str) -> None:
    x = every_half(columns)
    less = np.linspace(-3, 3, columns).astype(np.float32)
    assert_same_bits(widened(x, less), x.astype(np.float32) - less)
    assert_same_bits(widen(x), x.astype(np.float32))


@pytest.mark.parametrize("columns", [1, 7, 16, 515])
def test_sums_are_rounded_to_the_nearest_half(columns: int, way: str) -> None:
    """Also half-way between two halves, below the least half, and beyond the largest."""
    halves = every_half(columns).astype(np.float32)
    between = (halves[:-1] + halves[1:]) / 2
    spread = np.random.default_rng(0).standard_normal((50, columns)) * 10.0 ** np.linspace(-10, 7, 50)[:, None]
    x = np.concatenate([halves, between, spread.astype(np.float32)])
    for more in (np.zeros(columns, np.float32), np.linspace(-1, 1, columns).astype(np.float32)):
        with np.errstate(over="ignore"):
            wanted = (x + more).astype(np.float16)
        assert_same_bits(halved(x, more), wanted)


def test_other_byte_orders_and_columns_apart(way: str) -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    for held in (x.astype(">f2"), np.asfortranarray(x.astype(np.float16)), np.repeat(x, 2, 1).astype(np.float16)[:, ::2]):
        np.testing.assert_array_equal(widened(held, np.ones(6, np.float32)), x - 1)
        np.testing.assert_array_equal(halved(np.asfortranarray(x), np.ones(6, np.float32)), x + 1)
        assert all_finite(held)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 63, 2999])
def test_a_number_that_is_not_finite_is_found(bad: float, place: int, way: str) -> None:
    x = np.full(3000, -65504, np.float16)
    assert are_finite(x) and are_finite(x[:0])
    x[place] = bad
    assert not are_finite(x) and not are_finite(np.repeat(x, 2)[::2])

"""Row blocks and moments: any grouping sums to the whole, in float64, whatever the size and offset of the data."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relrep_cli.base import signals
from relrep_cli.numerics.blocks import (
    block_rows,
    column_mean,
    first_bad_row,
    release,
    row_blocks,
    take,
    widen,
)
from relrep_cli.numerics.moments import Moments, moments

PARTS = ("n", "sums", "products", "norms", "norm_products", "weighted")
DTYPES = [np.float16, np.float32, np.float64, np.dtype(">f2"), np.dtype(">f4"), np.dtype(">f8")]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def cloud(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


@pytest.mark.parametrize("d", [1, 48, 768, 1023, 1025, 4096, 100_000, 10_000_000])
def test_blocks_are_powers_of_two_within_their_size(d: int) -> None:
    rows = block_rows(d)
    assert rows & (rows - 1) == 0
    assert 1 <= rows <= 4096
    assert rows == 1 or rows * d * 8 <= 32 << 20
    assert rows == 4096 or 2 * rows * d * 8 > 32 << 20


@pytest.mark.parametrize("n", [0, 1, 4095, 4096, 4097, 12_288, 12_289])
def test_blocks_cover_every_row_once(n: int) -> None:
    rows = np.concatenate([np.arange(n)[block] for block in row_blocks(n, 3)] or [np.empty(0)])
    assert np.array_equal(rows, np.arange(n))
    assert all(block.stop - block.start == 4096 for block in list(row_blocks(n, 3))[:-1])


def test_a_signal_ends_the_work_between_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    walk = row_blocks(10_000, 3)
    next(walk)
    monkeypatch.setattr(signals, "_pending", [15])
    with pytest.raises(signals.Interrupted) as ended:
        next(walk)
    assert ended.value.code == 143


@every_dtype
def test_widen_gives_native_floats_that_sums_can_use(dtype: Any) -> None:
    x = np.full((4, 768), 10, dtype)
    wide = widen(x[::2])
    assert wide.dtype == (np.float64 if x.dtype.itemsize == 8 else np.float32) and wide.dtype.isnative
    assert wide.flags.c_contiguous and np.array_equal(wide, np.full((2, 768), 10.0))
    assert np.linalg.norm(wide[0]) == pytest.approx(10 * np.sqrt(768))  # infinite in float16, which sums in float16


# Reading rows


@every_dtype
def test_take_copies_the_rows_in_order(dtype: Any) -> None:
    x = cloud(5000, 3).astype(dtype)
    rows = np.random.default_rng(1).integers(0, 5000, 4500)
    actual = take(x, rows)
    assert actual.dtype == x.dtype and np.array_equal(actual, x[rows])
    assert take(x, np.arange(5000)) is x, "all rows in order need no copy"
    assert take(x, np.arange(4999)) is not x
    assert take(x, np.arange(5000)[::-1]) is not x
    assert take(x, np.empty(0, int)).shape == (0, 3)


def test_take_from_a_memory_map(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", cloud(100, 3))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert take(x, np.arange(100)) is x
    assert np.array_equal(take(x, np.array([7, 3])), x[[7, 3]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_column_mean_of_data_far_from_zero(dtype: type) -> None:
    """A float32 column sum of these rows is off by hundreds."""
    x = (cloud(200_000, 2) + 1e6).astype(dtype)
    rows = np.flatnonzero(np.random.default_rng(2).random(len(x)) < 0.7)
    exact = x[rows].astype(np.longdouble).mean(0)
    assert np.abs(column_mean(x, rows) - exact).max() < 1e-6
    if dtype is np.float32:
        assert np.abs(x[rows].sum(0) / np.float32(len(rows)) - exact).max() > 1


@every_dtype
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [[0], [9000, 4095], [4096], [9999, 9998]], ids=str)
def test_the_first_bad_row_is_found(dtype: Any, bad: float, rows: list[int]) -> None:
    x = np.zeros((10_000, 4), dtype)
    assert first_bad_row(x) is None
    x[rows, 3] = bad
    assert first_bad_row(x) == min(rows)


@pytest.mark.parametrize(("dtype", "huge"), [(np.float16, 6e4), (np.float32, 3e38), (np.float64, 1.7e308)])
def test_a_sum_that_overflows_is_no_bad_row(dtype: type, huge: float) -> None:
    x = np.full((5000, 8), huge, dtype)
    assert first_bad_row(x) is None
    x[:, 1::2] *= -1
    x[4097, 2] = np.nan
    assert first_bad_row(x) == 4097


def test_infinities_of_both_signs_do_not_cancel() -> None:
    x = np.zeros((10, 2), np.float32)
    x[3], x[5] = np.inf, -np.inf
    assert first_bad_row(x) == 3


# Moments


def assert_equal(actual: Moments, wanted: Moments) -> None:
    """Up to rounding, which is relative to what a sum would be if nothing in it cancelled."""
    z, norms = np.sqrt(np.diag(wanted.products)), np.sqrt(np.diag(wanted.norm_products))
    sizes = (0, np.sqrt(wanted.n) * z, np.outer(z, z), wanted.norms, np.outer(norms, norms), np.outer(z, norms))
    for part, size in zip(PARTS, sizes, strict=True):
        error = np.abs(np.asarray(getattr(actual, part)) - getattr(wanted, part))
        assert (error <= 1e-12 * size).all(), part


def slow(x: np.ndarray, y: np.ndarray) -> Moments:
    """Sums over rows one by one, of the same shifted data."""
    first = slice(0, block_rows(x.shape[1] + y.shape[1]))
    shift = np.concatenate([side[first].mean(0, dtype=np.float64) for side in (x, y)])
    x, y = (side.astype(np.float64) - side[first].mean(0, dtype=np.float64) for side in (x, y))
    z, norms = np.concatenate([x, y], 1), np.stack([np.square(x).sum(1), np.square(y).sum(1)], 1)
    outer = [sum(np.outer(p, q) for p, q in zip(a, b, strict=True)) for a, b in ((z, z), (norms, norms), (z, norms))]
    return Moments(x.shape[1], len(x), z.sum(0), outer[0], norms.sum(0), outer[1], outer[2], shift)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=lambda t: t.__name__)
@pytest.mark.parametrize("groups", [1, 2, 7, 50])
@pytest.mark.parametrize("n", [50, 333])
def test_moments_are_the_sums_they_name(n: int, groups: int, dtype: type) -> None:
    x, y = cloud(n, 3).astype(dtype), (cloud(n, 4, 1) + 5).astype(dtype)
    parts = moments(x, y, groups)
    assert len(parts) == groups
    assert_equal(sum(parts[1:], parts[0]), slow(x, y))


def test_a_part_holds_every_so_manyth_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interleaved, over block borders too, so that a file sorted by class gives parts alike."""
    monkeypatch.setattr("relrep_cli.numerics.moments.FIRST", 16)
    x = cloud(101, 3)
    shift = x[:16].mean(0)
    for g, part in enumerate(moments(x, x, 7)):
        assert part.n == len(range(g, 101, 7))
        assert part.sums[:3] == pytest.approx((x[g::7] - shift).sum(0), abs=1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 120),
    dx=st.integers(1, 6),
    dy=st.integers(1, 6),
    groups=st.integers(1, 60),
    rows=st.sampled_from([2, 8, 64, 4096]),
    exponent=st.integers(-18, 18),
)
def test_any_grouping_and_block_size_sum_to_the_whole(
    seed: int, n: int, dx: int, dy: int, groups: int, rows: int, exponent: int
) -> None:
    x, y = cloud(n, dx, seed) * 10.0**exponent, cloud(n, dy, seed + 1)
    x, y = x - x[:1], y - y[:1]
    x, y = (np.concatenate([side, -side]) for side in (x, y))  # pairs that cancel, so every even first block has mean 0
    order = np.arange(2 * n).reshape(2, n).T.ravel()
    x, y = x[order], y[order]
    with pytest.MonkeyPatch.context() as patch:
        whole = moments(x, y)[0]
        patch.setattr("relrep_cli.numerics.moments.FIRST", rows)
        parts = moments(x, y, groups)
    assert len(parts) == min(groups, 2 * n)
    assert_equal(sum(parts[1:], parts[0]), whole)
    assert_equal(whole - parts[0] + parts[0], whole)


def test_moments_far_from_zero_keep_their_digits() -> None:
    """Shifted by the mean of the first block: the covariance at offset 1e6 is that at offset 0."""
    x, y = cloud(9000, 3), cloud(9000, 2, 1)

    def covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        m = moments(x, y)[0]
        return m.products / m.n - np.outer(m.sums, m.sums) / m.n**2

    np.testing.assert_allclose(covariance(x + 1e6, y - 1e6), covariance(x, y), rtol=0, atol=1e-9)


def test_moments_about_the_mean_are_those_of_centred_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shifted by the mean of a few rows only, which is far from that of all."""
    monkeypatch.setattr("relrep_cli.numerics.moments.FIRST", 2)
    x, y = cloud(60, 3) * [1.0, 2, 3] + 4, cloud(60, 4, 1) - 3
    actual = moments(x, y)[0].centred()
    u, v = x - x.mean(0), y - y.mean(0)
    z, norms = np.concatenate([u, v], 1), np.stack([np.square(u).sum(1), np.square(v).sum(1)], 1)
    wanted = Moments(
        3, 60, z.sum(0), z.T @ z, norms.sum(0), norms.T @ norms, z.T @ norms, np.concatenate([x.mean(0), y.mean(0)])
    )
    assert_equal(actual, wanted)
    assert actual.shift == pytest.approx(wanted.shift, rel=1e-12)


# Memory of what is mapped from files


def resident() -> int:
    """Bytes of files in this process's memory."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
@pytest.mark.parametrize("view", [lambda x: x, np.asarray, lambda x: np.asarray(x)[:, ::2]], ids=["map", "array", "view"])
def test_blocks_that_were_read_leave_memory(view: Any, tmp_path: Path) -> None:
    np.ones((65536, 64), np.float32).tofile(tmp_path / "x")
    x = view(np.memmap(tmp_path / "x", np.float32, "r", 0, (65536, 64)))
    before = resident()
    for mapped, bound in (((x,), (0, 4 << 20)), ((), (15 << 20, 17 << 20))):
        most = 0
        for block in row_blocks(*x.shape, *mapped):
            assert x[block].max() == 1
            most = max(most, resident() - before)
        assert bound[0] <= most <= bound[1]
    release(x)
    assert resident() - before < 1 << 20


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_what_was_written_to_a_map_survives_its_release(mode: Any, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(1 << 20))
    x = np.memmap(tmp_path / "x", np.uint8, mode)
    x[:] = 7
    release(x, slice(5, 70_000))
    release(x)
    assert (x == 7).all()


def test_what_is_no_map_is_not_released() -> None:
    x = np.ones((5, 3))
    release(x[1:])
    release(np.empty(0))
    assert (x == 1).all()

"""Neighbours: equal to float64 brute force in every set, whatever the data, the blocks and the threads."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.neighbors import (
    nearest,
    nearest_and_ranks,
    nearest_targets,
    overlap,
    ranks,
    search,
    tiles,
    torch_tiles,
    unit_rows,
)
from relrep_cli.neighbors.frames import Frame
from relrep_cli.numerics import blocks, native
from relrep_cli.numerics.workspace import Workspace

faiss.omp_set_num_threads(1)
BY = ("cosine", "euclidean")
N, D = 240, 16


def cloud(n: int = N, d: int = D, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def outlier() -> np.ndarray:
    x = cloud()
    x[17] = 1e20
    return x


def absurd_outlier() -> np.ndarray:
    """Beside it, squares of the others fall below what float32 holds with all its digits."""
    x = cloud() * 128
    x[17] = 1e38
    return x


def some_zero() -> np.ndarray:
    x = cloud()
    x[::2] = 0
    return x


def far_some_zero() -> np.ndarray:
    x = cloud() + 30
    x[::3] = 0
    return x


DATA: dict[str, Any] = {
    **{f"offset {offset}": (lambda o=offset: cloud() + o) for offset in (0, 3, 30, 100, 1000)},
    "every row 4 times": lambda: np.repeat(cloud(N // 4), 4, 0),
    "every row 40 times": lambda: np.repeat(cloud(N // 40), 40, 0),
    "every row 4 times, offset 1000": lambda: np.repeat(cloud(N // 4), 4, 0) + 1000,
    "constant": lambda: np.full((N, D), 0.1),
    "half zero": some_zero,
    "third zero, offset 30": far_some_zero,
    "one row far out": outlier,
    "one row absurdly far out": absurd_outlier,
    "huge": lambda: cloud() * 1e30,
    "tiny": lambda: cloud() * 1e-30,
    "one dimension": lambda: cloud(d=1),
}
WHOLE = {"whole numbers": lambda: np.rint(cloud(d=4)), "whole numbers, offset 1000": lambda: np.rint(cloud(d=4)) + 1000}
PAIRS = [(by, kind) for by in BY for kind in DATA] + [("euclidean", kind) for kind in WHOLE]
every_kind = pytest.mark.parametrize(("by", "kind"), PAIRS)


def make(kind: str) -> np.ndarray:
    return (DATA | WHOLE)[kind]().astype(np.float32)


def distances(q: np.ndarray, base: np.ndarray, by: str) -> np.ndarray:
    """(q, n) squared distances in float64, of rows at length 1 for cosine: 2 - 2 cos, which is 2 where a row is zero."""
    q, base = q.astype(np.float64), base.astype(np.float64)
    if by == "euclidean":
        return np.stack([np.square(base - row).sum(1) for row in q])
    lengths = [np.linalg.norm(side, axis=1, keepdims=True) for side in (q, base)]
    u, v = (side / np.where(length == 0, 1, length) for side, length in zip((q, base), lengths, strict=True))
    plain = np.stack([np.square(v - row).sum(1) for row in u])
    return np.where((lengths[0] == 0) | (lengths[1] == 0).T, 2.0, plain)


def brute(q: np.ndarray, base: np.ndarray, k: int, by: str, exclude_self: bool = False) -> tuple[np.ndarray, int]:
    """(q, k) row numbers in order of (distance, row number), and how many queries tie at the k-th place."""
    return first(distances(q, base, by), k, exclude_self)


def first(actual: np.ndarray, k: int, exclude_self: bool) -> tuple[np.ndarray, int]:
    """The same from the distances."""
    actual = actual.copy()
    if exclude_self:
        np.fill_diagonal(actual, np.inf)
    order = np.argsort(actual, axis=1, kind="stable")
    ordered = np.take_along_axis(actual, order, 1)
    tied = ordered[:, k - 1] == ordered[:, k] if k < actual.shape[1] else np.zeros(len(actual), bool)
    return order[:, :k], int(tied.sum())


@lru_cache(4)
def brute_of_kind(kind: str, by: str, count: int, exclude_self: bool) -> tuple[np.ndarray, int]:
    """The 10 rows nearest to each of the first `count` rows of such data, computed once for every path."""
    return first(distances_of_kind(kind, by)[:count], 10, exclude_self)


@lru_cache(1)
def distances_of_kind(kind: str, by: str) -> np.ndarray:
    return distances(make(kind), make(kind), by)


def brute_ranks(q: np.ndarray, base: np.ndarray, by: str) -> np.ndarray:
    order = brute(q, base, len(base), by)[0]
    return 1 + np.argmax(order == np.arange(len(q))[:, None], 1)


def assert_same_sets(actual: np.ndarray, wanted: np.ndarray) -> None:
    differ = np.flatnonzero((np.sort(actual, 1) != np.sort(wanted, 1)).any(1))
    assert not len(differ), f"{len(differ)} of {len(actual)} sets differ, first that of query {differ[0]}"


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows everywhere, so that every merge runs on small data."""
    monkeypatch.setattr(blocks, "ROWS", 32)
    monkeypatch.setattr(search, "_base_rows", lambda d: 48)
    monkeypatch.setattr(search, "_query_rows", lambda base: 50)


@every_kind
@pytest.mark.parametrize("exclude_self", [True, False], ids=["self excluded", "self included"])
def test_sets_equal_brute_force(by: Any, kind: str, exclude_self: bool) -> None:
    x = make(kind)
    wanted, tied = brute(x, x, 10, by, exclude_self)
    near = nearest(x, x, 10, by=by, exclude_self=exclude_self)
    assert_same_sets(near.rows, wanted)
    assert near.tied == tied


@every_kind
def test_sets_equal_brute_force_over_many_blocks(by: Any, kind: str, small_blocks: None) -> None:
    x = make(kind)
    queries = x[::-1][:130] + np.float32(0.25) * (kind not in WHOLE)
    for exclude_self in (True, False):
        wanted, tied = brute(queries, x, 7, by, exclude_self)
        near = nearest(queries, x, 7, by=by, exclude_self=exclude_self)
        assert_same_sets(near.rows, wanted)
        assert near.tied == tied


PATHS = ("faiss", "tiles by numba", "tiles by numba of a few rows", "tiles in C", "tiles in C of a few rows")


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to find candidates, tiles also where every block is cut short."""
    for least in ("PAYS", "LOADED"):
        monkeypatch.setattr(tiles, least, np.inf if request.param == "faiss" else 0)
    if "in C" not in request.param:
        monkeypatch.setenv("RELREP_NATIVE", "0")
    elif not native.available():
        pytest.skip("relrep was installed without a C compiler")
    if "numba" in request.param:
        pytest.importorskip("numba")
    if "few" in request.param:
        monkeypatch.setattr(tiles, "_side", lambda d: 56)
        monkeypatch.setattr(tiles, "BLOCK", 120)
        monkeypatch.setenv("RELREP_THREADS", "2")
    return request.param


@every_kind
def test_torch_finds_the_same_neighbours(by: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, in tiles that are cut short; the code of a GPU is the same."""
    monkeypatch.setattr(torch_tiles, "QUERIES", 57)
    monkeypatch.setattr(torch_tiles, "ROWS", {"cpu": 71})
    x, on_device = make(kind), Workspace(device="torch:cpu")
    for queries in (x, x[: N - 3].copy()):
        here, there = (nearest(queries, x, 7, by=by, workspace=workspace) for workspace in (Workspace(), on_device))
        np.testing.assert_array_equal(here.rows, there.rows)
        assert here.tied == there.tied


def test_a_device_without_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(torch: Any, *_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch_tiles, "_search", full)
    x = np.eye(9, 5, dtype=np.float32)
    with pytest.raises(DataError, match=r"torch:cpu has too little memory free: a tile takes 32 MiB\. Use --device cpu\."):
        nearest(x, x, 3, workspace=Workspace(device="torch:cpu"))


@every_kind
def test_order_equals_brute_force_on_every_path(by: Any, kind: str, path: str) -> None:
    """A space with itself takes both sides of a tile at once, other queries one side."""
    x = make(kind)
    for queries in (x, x[: N - 3].copy()):
        for exclude_self in (True, False):
            wanted, tied = brute_of_kind(kind, by, len(queries), exclude_self)
            near = nearest(queries, x, 10, by=by, exclude_self=exclude_self)
            assert np.array_equal(near.rows, wanted)
            assert near.tied == tied


@pytest.mark.slow
def test_paths_agree_on_more_rows_than_a_tile_holds(path: str) -> None:
    x = (cloud(1500, 40) + 0.5).astype(np.float32)
    for by in BY:
        wanted = np.argsort(distances(x, x, by) + np.diag(np.full(1500, np.inf)), axis=1, kind="stable")[:, :20]
        assert np.array_equal(nearest(x, x, 20, by=by, exclude_self=True).rows, wanted)  # type: ignore[arg-type]


@every_kind
def test_ranks_equal_brute_force(by: Any, kind: str) -> None:
    x = make(kind)
    queries = x + cloud(*x.shape, seed=9).astype(np.float32) * (kind not in WHOLE)
    for q in (x, queries, x[::-1]):
        assert np.array_equal(ranks(q, x, by=by), brute_ranks(q, x, by))


@every_kind
def test_ranks_of_the_nearest_of_several_rows(by: Any, kind: str) -> None:
    x = make(kind)
    queries, rng = x[:20] + cloud(20, x.shape[1], seed=9).astype(np.float32) * (kind not in WHOLE), np.random.default_rng(6)
    query, target = np.repeat(np.arange(20), 3), rng.integers(len(x), size=60)
    places = 1 + np.argsort(brute(queries, x, len(x), by)[0], axis=1)[query, target].reshape(20, 3)
    best = nearest_targets(queries, x, query, target, by=by)
    assert np.array_equal(best, target.reshape(20, 3)[np.arange(20), places.argmin(1)])
    assert np.array_equal(ranks(queries, x, by=by, targets=best), places.min(1))
    some = np.array([3, 17])
    assert np.array_equal(ranks(queries, x, by=by, rows=some, targets=best[some]), places.min(1)[some])


@pytest.mark.parametrize("kind", [*DATA, *WHOLE])
def test_ranks_and_neighbours_of_one_pass_are_those_of_two(kind: str) -> None:
    """Repeated rows, rows of zeros and far rows are among the kinds."""
    x = make(kind)
    queries = x + cloud(*x.shape, seed=9).astype(np.float32) * (kind not in WHOLE)
    for q in (x, queries, x[::-1], queries[:20]):
        near, ranked = nearest_and_ranks(q, x, 10)
        assert np.array_equal(near, nearest(q, x, 10, exclude_self=True).rows) and np.array_equal(ranked, ranks(q, x))


def test_ranks_over_many_blocks(small_blocks: None) -> None:
    x = np.repeat(cloud(50), 4, 0).astype(np.float32)
    queries = x + cloud(200, seed=9).astype(np.float32)
    for by in BY:
        assert np.array_equal(ranks(queries, x, by=by), brute_ranks(queries, x, by))  # type: ignore[arg-type]


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("n", [2, 3, 9, 30])
def test_every_k_up_to_all_rows(by: Any, n: int) -> None:
    x = np.repeat(cloud(n), 2, 0)[:n].astype(np.float32)
    for exclude_self in (True, False):
        for k in range(1, n + 1 - exclude_self):
            wanted, tied = brute(x, x, k, by, exclude_self)
            near = nearest(x, x, k, by=by, exclude_self=exclude_self)
            assert_same_sets(near.rows, wanted)
            assert near.tied == tied


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.dtype(">f4"), np.dtype(">f8")], ids=str)
@pytest.mark.parametrize("by", BY)
def test_every_dtype(by: Any, dtype: Any) -> None:
    x = (cloud() + 3).astype(dtype)
    assert_same_sets(nearest(x, x, 10, by=by).rows, brute(x, x, 10, by)[0])
    assert np.array_equal(ranks(x[::-1], x, by=by), brute_ranks(x[::-1], x, by))


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("kind", ["every row 4 times", "every row 40 times", "every row 4 times, offset 1000", "half zero"])
def test_the_layout_in_memory_is_nothing(by: Any, kind: str) -> None:
    """Files may hold columns one after the other, and sums over such rows once differed in their last bits."""
    x = make(kind).astype(np.float64)
    for other in (np.asfortranarray(x), x[:, np.arange(D)], np.repeat(x, 2, 1)[:, ::2], x.astype(">f8")):
        for exclude_self in (True, False):
            plain, near = (nearest(side, side, 10, by=by, exclude_self=exclude_self) for side in (x, other))
            assert_same_sets(near.rows, plain.rows)
            assert near.tied == plain.tied
        assert np.array_equal(ranks(other, other, by=by), ranks(x, x, by=by))
        assert np.array_equal(ranks(x[::-1], other, by=by), ranks(x[::-1], x, by=by))


@pytest.mark.parametrize("offset", [1e6, 1e10])
@pytest.mark.parametrize("by", BY)
def test_float64_keeps_what_float32_cannot_hold(by: Any, offset: float) -> None:
    """At offset 1e10 a coordinate is known to 2e-6 only, so only sets with a wider gap have an answer."""
    x = cloud() + offset * (1 if by == "euclidean" else 1e-3)
    near, exact = nearest(x, x, 10, by=by, exclude_self=True).rows, distances(x, x, by)
    np.fill_diagonal(exact, np.inf)
    ordered = np.sort(exact, 1)
    clear = ordered[:, 10] - ordered[:, 9] > 1e-4 * ordered[:, 9]
    assert clear.sum() > 0.8 * N
    assert_same_sets(near[clear], brute(x, x, 10, by, True)[0][clear])


def test_whole_numbers_by_cosine_have_no_nearer_row_outside() -> None:
    """Angles of whole numbers, compared without any rounding: cos^2 with its sign is a fraction."""
    x = np.rint(cloud(150, 3) * 2)
    dots, norms = (x @ x.T).astype(np.int64), np.square(x).sum(1).astype(np.int64)
    near = nearest(x, x, 10).rows
    assert len({tuple(row) for row in x}) < 150
    for i, chosen in enumerate(near):
        sides = [np.isin(np.arange(150), chosen), ~np.isin(np.arange(150), chosen)]
        key = np.sign(dots[i]) * dots[i] ** 2 * (np.lcm.reduce(norms[norms > 0]) // np.where(norms == 0, 1, norms))
        assert key[sides[0]].min() >= key[sides[1]].max()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 70),
    d=st.integers(1, 40),
    k=st.integers(1, 12),
    offset=st.sampled_from([0.0, 1.0, 30.0, 1000.0]),
    exponent=st.integers(-18, 18),
    repeats=st.sampled_from([1, 2, 7]),
    zeros=st.integers(0, 3),
    by=st.sampled_from(BY),
    exclude_self=st.booleans(),
    small=st.booleans(),
)
@pytest.mark.slow
def test_any_data_equals_brute_force(
    seed: int,
    n: int,
    d: int,
    k: int,
    offset: float,
    exponent: int,
    repeats: int,
    zeros: int,
    by: Any,
    exclude_self: bool,
    small: bool,
) -> None:
    x = np.repeat(cloud(n, d, seed) + offset, repeats, 0)[:n]
    x[: min(zeros, n - 1)] = 0
    x = np.random.default_rng(seed).permutation((x * 10.0**exponent).astype(np.float32))
    if by == "cosine" and d == 1:
        x = np.sign(x)  # cosines of lengths 1 are 1 or -1 up to a rounding that may differ from the reference's
    k = min(k, n - exclude_self)
    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(blocks, "ROWS", 4)
            patch.setattr(search, "_base_rows", lambda d: 8)
            patch.setattr(search, "_query_rows", lambda base: 5)
        near = nearest(x, x, k, by=by, exclude_self=exclude_self)
        wanted, tied = brute(x, x, k, by, exclude_self)
        assert_same_sets(near.rows, wanted)
        assert near.tied == tied
        assert np.array_equal(ranks(x[::-1], x, by=by), brute_ranks(x[::-1], x, by))


@pytest.mark.parametrize("kind", ["offset 0", "offset 30", "offset 1000", "every row 40 times", "one row far out"])
@pytest.mark.parametrize("by", BY)
def test_ordinary_data_need_no_search_of_all_rows_in_float64(by: Any, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cosines off centre and distances beside an outlier once left float32 unsure of every query: 100 times slower."""
    searched: list[int] = []
    plainly = search._exhaustive
    monkeypatch.setattr(search, "_exhaustive", lambda frame, q, base: searched.append(len(q)) or plainly(frame, q, base))
    x = make(kind)
    assert_same_sets(nearest(x, x, 10, by=by).rows, brute(x, x, 10, by)[0])
    assert sum(searched) <= (kind == "one row far out")


def test_equal_rows_get_equal_closeness_in_any_grouping() -> None:
    """Ties are found by equal bits, so one pair must give the same bits alone, among candidates and among all rows."""
    x = unit_rows(cloud(64, 33))
    for center in (None, np.zeros(33)):
        frame = Frame(None, center)
        every = frame.closeness(x, x[None])
        assert np.array_equal(every[:, :3], frame.closeness(x, np.repeat(x[None, :3], 64, 0)))
        assert np.array_equal(np.diag(every), frame.closeness(x, x[:, None, :])[:, 0])
        assert np.array_equal(every[5], frame.closeness(x[5][None], x[None])[0])


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize(("k", "exclude_self", "most"), [(5, True, 4), (6, False, 5)])
def test_too_large_k_says_how_large_it_may_be(by: Any, k: int, exclude_self: bool, most: int) -> None:
    x = cloud(5)
    with pytest.raises(UsageError, match=rf"--k {k} takes .* items, there are 5\. Write --k {most} or less"):
        nearest(x, x, k, by=by, exclude_self=exclude_self)


def test_unit_rows_of_any_size() -> None:
    x = np.concatenate([cloud(3) * scale for scale in (1e-300, 1e-30, 1, 1e30, 1e300)] + [np.zeros((2, D))])
    actual = unit_rows(x)
    assert np.linalg.norm(actual, axis=1) == pytest.approx([1] * 15 + [0] * 2, abs=1e-15)
    assert actual[:15] == pytest.approx(np.tile(actual[6:9], (5, 1)), abs=1e-15)


def test_overlap_counts_shared_members() -> None:
    a, b = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[3, 1, 9], [7, 8, 9]])
    assert overlap(a, b).tolist() == [2, 0]
    rng = np.random.default_rng(0)
    a, b = (np.stack([rng.permutation(40)[:10] for _ in range(5000)]) for _ in range(2))
    assert overlap(a, b).tolist() == [len(set(p) & set(q)) for p, q in zip(a.tolist(), b.tolist(), strict=True)]


PROGRAM = """
import hashlib, numpy as np
from relrep_cli.neighbors import nearest, ranks, tiles
for pays in (1e30, 0):  # without tiles and with them
    tiles.pay = lambda queries, base, pays=pays: not pays and tiles.scans() is not None
    rng = np.random.default_rng(0)
    digest = hashlib.sha256()
    for x in (rng.normal(size=(1500, 48)), np.repeat(rng.normal(size=(300, 48)), 4, 0), rng.normal(size=(1000, 48)) + 100):
        x = x.astype(np.float32)
        for by in ("cosine", "euclidean"):
            found = nearest(x, x, 10, by=by, exclude_self=True)
            digest.update(found.rows.tobytes() + str(found.tied).encode() + ranks(x[::-1], x, by=by).tobytes())
    print(digest.hexdigest())
"""


@pytest.mark.slow
def test_the_same_answer_for_any_number_of_threads_with_and_without_tiles_and_numba() -> None:
    root, actual = str(Path(blocks.__file__).parents[1]), set[bytes]()
    for threads, numba, c in (("1", "1", "1"), ("5", "1", "0"), ("3", "1", "1"), ("2", "0", "0")):
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        env = {**os.environ, **limits, "PYTHONPATH": root, "RELREP_NUMBA": numba, "RELREP_NATIVE": c}
        actual |= set(subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, check=True).stdout.split())
    assert len(actual) == 1

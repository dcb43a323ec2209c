"""Anchors: every strategy draws distinct candidates by its seed, classes get equal shares, vectors stay in their space."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relrep_cli.anchors import id_lists
from relrep_cli.anchors.mixtures import Mixtures, mixed, mixtures_of
from relrep_cli.anchors.strategies import ON_DEVICE, STRATEGIES, Candidates, anchor_vectors, choose
from relrep_cli.base.errors import DataError
from relrep_cli.embedding import Embedding, row_numbers, text
from relrep_cli.neighbors import kmeans, torch_tiles
from relrep_cli.neighbors.kmeans import centroids, medoids
from relrep_cli.numerics import devices, farthest_rows, native
from relrep_cli.numerics.farthest_rows import farthest

MANY_THREADS = ["kmeans", "farthest", "herding", "mixture"]
ITEMS = [name for name, entry in STRATEGIES.items() if entry.gives == "items"]
every_strategy = pytest.mark.parametrize("name", ITEMS)


def embedding(labels: list[str], seed: int = 0, **more: Any) -> Embedding:
    x = np.random.default_rng(seed).normal(size=(len(labels), 4)).astype(np.float32)
    columns = {"label": text(labels), "count": np.arange(len(labels)) % 7}
    return Embedding(x, row_numbers(len(labels)), columns, uri="a.h5", **more)


def classes(counts: list[int], seed: int = 0) -> list[str]:
    """Labels in mixed order, so many of each class."""
    labels = [f"c{number}" for number, count in enumerate(counts) for _ in range(count)]
    return [labels[i] for i in np.random.default_rng(seed).permutation(len(labels))]


def chosen(name: str, e: Embedding, rows: np.ndarray, m: int, seed: int = 0) -> np.ndarray:
    c = Candidates((e,), (rows,), listed=e.ids[np.random.default_rng(seed).permutation(rows)])
    return rows[choose(c, name, m, np.random.default_rng(seed), STRATEGIES[name].resolve({}))]


@settings(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), counts=st.lists(st.integers(1, 30), min_size=1, max_size=6), share=st.floats(0, 1))
@pytest.mark.slow
def test_every_strategy_gives_distinct_candidates_by_its_seed(seed: int, counts: list[int], share: float) -> None:
    e = embedding(classes(counts, seed))
    rows = np.sort(np.random.default_rng(seed).permutation(e.n)[: max(1, int(share * e.n))])
    m = 1 + seed % len(rows)
    for name in ITEMS:
        picked = chosen(name, e, rows, m, seed)
        assert picked.shape == (m,) and len(set(picked.tolist())) == m
        assert np.isin(picked, rows).all()
        assert np.array_equal(picked, chosen(name, e, rows, m, seed))
        assert np.array_equal(np.sort(chosen(name, e, rows, len(rows), seed)), rows), "all candidates, when all are asked"


@pytest.mark.parametrize("name", ["random", "per-class"])
def test_another_seed_gives_others(name: str) -> None:
    e = embedding(classes([40, 40]))
    picked = [set(chosen(name, e, np.arange(80), 20, seed).tolist()) for seed in range(5)]
    assert len({frozenset(f) for f in picked}) == 5


def test_random_anchors_are_uniform() -> None:
    """Each of 20 items is drawn in a quarter of 4,000 draws: within 5 standard deviations."""
    e = embedding(["a"] * 20)
    counts = np.zeros(20)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        counts[choose(Candidates((e,), (np.arange(20),)), "random", 5, rng, {})] += 1
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)


def test_first_is_the_order_of_the_file() -> None:
    e = embedding(["a"] * 9)
    assert chosen("first", e, np.array([2, 3, 5, 7]), 3).tolist() == [2, 3, 5]


@pytest.mark.parametrize(
    ("counts", "m", "quota"),
    [
        ([50, 50, 50], 30, [10, 10, 10]),
        ([50, 50, 50], 31, [11, 10, 10]),
        ([50, 50, 50], 32, [11, 11, 10]),
        ([50, 3, 50], 30, [14, 3, 13]),  # a class that is too small gives all it has
        ([2, 3, 50], 30, [2, 3, 25]),
        ([1, 1, 1, 20], 20, [1, 1, 1, 17]),
        ([5, 5], 10, [5, 5]),
        ([9, 9, 9], 2, [1, 1, 0]),
        ([40], 7, [7]),
    ],
)
def test_classes_get_equal_shares(counts: list[int], m: int, quota: list[int]) -> None:
    e = embedding(classes(counts))
    picked = e.obs["label"][chosen("per-class", e, np.arange(e.n), m)].tolist()
    assert [picked.count(f"c{number}".encode()) for number in range(len(counts))] == quota
    assert picked == sorted(picked), "class by class"


def test_shares_count_candidates_only() -> None:
    e = embedding(classes([50, 50]))
    rows = np.flatnonzero((e.obs["label"] == b"c0") | (np.cumsum(e.obs["label"] == b"c1") <= 4))
    picked = e.obs["label"][chosen("per-class", e, rows, 20)].tolist()
    assert (picked.count(b"c0"), picked.count(b"c1")) == (16, 4)


def test_rows_without_a_number_as_label_belong_to_no_class() -> None:
    e = embedding(classes([20, 20]))
    e.obs["label"] = np.where(np.arange(40) < 8, np.nan, np.repeat([0.0, 1.0], 20))  # type: ignore[index]
    picked = chosen("per-class", e, np.arange(40), 20)
    assert np.bincount(e.obs["label"][picked].astype(int)).tolist() == [10, 10]
    with pytest.raises(DataError, match="33 anchors requested, but only 32 candidate items"):
        chosen("per-class", e, np.arange(40), 33)


@every_strategy
def test_more_anchors_than_candidates_are_refused(name: str) -> None:
    e = embedding(["a"] * 9)
    with pytest.raises(DataError, match=r"a\.h5: 5 anchors requested, but only 4 candidate items. Write -n 4 or less\."):
        chosen(name, e, np.arange(4), 5)


@every_strategy
def test_columns_are_asked_for_only_where_declared(name: str) -> None:
    e = Embedding(np.zeros((9, 2), np.float32), row_numbers(9), uri="a.h5")
    column = {"labels": "label", "counts": "count"}.get(STRATEGIES[name].reads)
    if column:
        with pytest.raises(DataError, match=rf"a\.h5: no column '{column}'; columns found: none"):
            chosen(name, e, np.arange(9), 3)
    else:
        assert len(chosen(name, e, np.arange(9), 3)) == 3


# Vectors of anchors


def space(name: str, ids: list[str], value: float, d: int = 3, dtype: Any = np.float32) -> Embedding:
    return Embedding(np.full((len(ids), d), value, dtype), text(ids), space=name, uri=f"{value:g}.h5")


def test_vectors_come_from_the_file_itself_then_from_spares_of_its_space() -> None:
    e = space("s", ["a", "b"], 1)
    anchor_sources = [space("other", ["c"], 2), space("s", ["b", "c"], 3), space("s", ["c", "d"], 4)]
    actual = anchor_vectors(e, text(["d", "c", "b", "a"]), anchor_sources)
    assert actual[:, 0].tolist() == [4, 3, 1, 1]
    assert actual.shape == (4, 3)


@pytest.mark.parametrize(
    ("mine", "theirs"), [("s", "t"), ("", ""), ("s", ""), ("", "t")], ids=["other", "both unnamed", "theirs", "mine"]
)
def test_vectors_never_come_from_another_space(mine: str, theirs: str) -> None:
    with pytest.raises(DataError, match=r"1\.h5: 1 anchors are not among its 2 items: c\. .*--anchor-vectors FILE"):
        anchor_vectors(space(mine, ["a", "b"], 1), text(["a", "c"]), [space(theirs, ["a", "c"], 2)])


def test_the_space_that_would_not_do_is_named() -> None:
    with pytest.raises(DataError, match=r"2\.h5 has some in another space \(t, not s\)"):
        anchor_vectors(space("s", ["a"], 1), text(["a", "c"]), [space("t", ["c"], 2)])


def test_anchors_that_are_spelt_otherwise_name_the_change() -> None:
    """Only where it would find some; a part that is missing altogether points to anchors of several files."""
    cells = [f"ACGTACGTACGT{end}" for end in "ACG"]
    with pytest.raises(DataError, match=r"2 of them differ only by -1.* Write --normalize-ids barcode to find them\."):
        anchor_vectors(space("s", cells, 1), text([f"{name}-1" for name in cells[:2]] + ["other"]))
    with pytest.raises(DataError, match=r"1 anchors are not among .*name them all: relrep anchor A B\."):
        anchor_vectors(space("s", cells, 1), text([*cells[:2], "other"]))
    with pytest.raises(DataError, match=r"names spaces\.$"):
        anchor_vectors(space("s", cells, 1), text(["none", "other"]))


def test_vectors_of_another_width_are_not_taken() -> None:
    with pytest.raises(DataError, match="are not among"):
        anchor_vectors(space("s", ["a"], 1), text(["c"]), [space("s", ["c"], 2, d=4)])


def test_missing_anchors_are_counted_and_a_few_named() -> None:
    with pytest.raises(DataError, match=r"5 anchors are not among its 1 items: b, c, d, …\."):
        anchor_vectors(space("s", ["a"], 1), text("abcdef"))


def test_precision_is_that_of_the_widest_source() -> None:
    e, spare = space("s", ["a"], 1, dtype=np.float16), space("s", ["b"], 1 / 3, dtype=np.float64)
    actual = anchor_vectors(e, text(["a", "b"]), [spare])
    assert actual.dtype == np.float64 and actual[1, 0] == 1 / 3
    swapped = space("s", ["a"], 1, dtype=">f4")
    assert anchor_vectors(swapped, text(["a"])).dtype == np.float32
    assert anchor_vectors(swapped, text(["a"]))[0, 0] == 1


# Strategies that look at vectors


def naive(x: np.ndarray, first: int, m: int) -> list[int]:
    """Farthest-point search as its definition says, in float64."""
    actual = [first]
    while len(actual) < m:
        gaps = np.square(x[:, None, :].astype(np.float64) - x[actual].astype(np.float64)).sum(2).min(1)
        gaps[actual] = -1
        actual.append(int(np.argmax(gaps)))
    return actual


@pytest.mark.parametrize("off", ["", "RELREP_NATIVE", "RELREP_NUMBA"])
@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_farthest_is_what_its_definition_says(monkeypatch: Any, off: str, threads: str, dtype: Any) -> None:
    monkeypatch.setenv(off or "RELREP_NUMBA", "0" if off else "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    x = np.random.default_rng(0).normal(size=(301, 19)).astype(dtype)
    assert farthest(x, 7, 60).tolist() == naive(x, 7, 60)


@pytest.mark.parametrize("numba", ["1", "0"])
def test_farthest_takes_the_first_of_equals_and_none_twice(monkeypatch: Any, numba: str) -> None:
    monkeypatch.setenv("RELREP_NUMBA", numba)
    x = np.repeat([[0.0], [1.0], [1.0], [5.0]], 2, 0)
    assert farthest(x, 0, 8).tolist() == [0, 6, 2, 1, 3, 4, 5, 7]


@pytest.mark.parametrize("threads", ["1", "3"])
def test_farthest_passes_again_where_other_rows_may_be_farther(monkeypatch: Any, threads: str) -> None:
    """Few rows are kept of a pass, and many are equally far, on a grid."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    monkeypatch.setattr(farthest_rows, "LEAST", 3)
    monkeypatch.setattr(farthest_rows, "SHARE", 100)
    x = np.random.default_rng(0).integers(0, 7, (150, 2)).astype(np.float32)
    assert farthest(x, 7, 60).tolist() == naive(x, 7, 60)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["normal", "grid", "far", "outlier", "copies"])
def test_farthest_on_a_device_is_that_of_the_cpu(monkeypatch: Any, kind: str, dtype: Any) -> None:
    """Also where rounding in float32 hides which row is farther, and with blocks that do not all stay on the device."""
    monkeypatch.setattr(farthest_rows, "LEAST", 3)
    monkeypatch.setattr(farthest_rows, "SHARE", 50)
    monkeypatch.setattr(farthest_rows, "PASSED", 1)
    monkeypatch.setattr(farthest_rows, "block_rows", lambda d: 64)
    monkeypatch.setitem(devices.FREE, "cpu", 2 * 64 * 5 * 3 * 4)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(301, 5))
    if kind == "outlier":
        x[17] *= 1e6
    else:
        x = {"normal": x, "grid": np.rint(x), "far": x + 1e4, "copies": np.repeat(x[:43], 7, 0)}[kind]
    x = x.astype(dtype)
    assert farthest(x, 7, 60, "torch:cpu").tolist() == farthest(x, 7, 60).tolist()


@pytest.mark.parametrize("by", ["euclidean", "cosine"])
@pytest.mark.parametrize("name", ON_DEVICE)
def test_a_device_chooses_the_same_anchors(name: str, by: str) -> None:
    e = embedding(classes([300, 200, 100]))
    c = Candidates((e, replace(e, x=e.x[::-1] + 1)), (np.arange(600), np.arange(600)))
    params = {**STRATEGIES[name].resolve({}), "by": by}
    here, there = (
        choose(replace(c, device=device), name, 20, np.random.default_rng(0), params) for device in ("cpu", "torch:cpu")
    )
    if name == "mixture":
        assert here.names.tolist() == there.names.tolist() and np.array_equal(here.items, there.items)
    else:
        assert here.tolist() == there.tolist()


def test_farthest_covers_within_twice_the_best() -> None:
    """Gonzalez' theorem: against every choice of 3 out of 11."""
    import itertools

    x = np.random.default_rng(1).normal(size=(11, 2))
    gaps = np.linalg.norm(x[:, None] - x, axis=2)
    best = min(gaps[:, list(three)].min(1).max() for three in itertools.combinations(range(11), 3))
    assert all(gaps[:, farthest(x, first, 3)].min(1).max() <= 2 * best for first in range(11))


def blobs(counts: list[int], d: int = 8, seed: int = 0) -> Embedding:
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=(n, d)) * 0.1 + 10 * rng.normal(size=d) for n in counts]).astype(np.float32)
    return Embedding(x, row_numbers(len(x)), {"label": text(np.repeat(np.arange(len(counts)), counts).astype(str))}, uri="a.h5")


@pytest.mark.parametrize("name", ["kmeans", "farthest", "mixture"])
def test_each_blob_is_found(name: str) -> None:
    e = blobs([50, 20, 30, 40])
    c = Candidates((e,), (np.arange(e.n),))
    picked = choose(c, name, 4, np.random.default_rng(0), STRATEGIES[name].resolve({}))
    x = picked.vectors(e, picked.names) if isinstance(picked, Mixtures) else e.x[picked]
    middles = np.stack([e.x[e.obs["label"] == str(i).encode()].mean(0) for i in range(4)])
    near = np.linalg.norm(x[:, None] - middles, axis=2)
    assert sorted(near.argmin(1).tolist()) == [0, 1, 2, 3]
    if name == "mixture":
        assert near.min(1).max() < 1e-4, "the mean of its items"
    if name == "kmeans":
        inside = [np.linalg.norm(e.x[e.obs["label"] == str(i).encode()] - middles[i], axis=1).min() for i in near.argmin(1)]
        assert near.min(1) == pytest.approx(inside, rel=1e-3), "the item nearest to the centre"


def test_by_cosine_length_does_not_count() -> None:
    e = embedding(classes([60]))
    scaled = Embedding(e.x * np.random.default_rng(5).uniform(0.01, 100, (60, 1)), e.ids, e.obs, uri="a.h5")
    for name in ("kmeans", "farthest", "herding"):
        params = STRATEGIES[name].resolve({"by": "cosine"})
        actual = [
            choose(Candidates((s,), (np.arange(60),)), name, 7, np.random.default_rng(0), params).tolist() for s in (e, scaled)
        ]
        assert actual[0] == actual[1], name
    plain = STRATEGIES["farthest"].resolve({})
    assert (
        len(
            {
                tuple(choose(Candidates((s,), (np.arange(60),)), "farthest", 7, np.random.default_rng(0), plain))
                for s in (e, scaled)
            }
        )
        == 2
    )


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_herding_follows_the_mean_better_than_chance(kernel: str) -> None:
    e = embedding(classes([300]))
    c = Candidates((e,), (np.arange(300),))
    params = STRATEGIES["herding"].resolve({"kernel": kernel})
    picked = choose(c, "herding", 20, np.random.default_rng(0), params)
    off = np.linalg.norm(e.x[picked].mean(0) - e.x.mean(0))
    chance = [np.linalg.norm(e.x[chosen("random", e, np.arange(300), 20, s)].mean(0) - e.x.mean(0)) for s in range(200)]
    assert off < np.quantile(chance, 0.05)


def test_herding_gives_each_blob_its_share() -> None:
    e = blobs([60, 20])
    picked = e.obs["label"][chosen("herding", e, np.arange(80), 12)].tolist()
    assert (picked.count(b"0"), picked.count(b"1")) == (9, 3)


def test_huge_and_tiny_numbers_do_not_overflow() -> None:
    e = blobs([9, 9, 9])
    for name in ("kmeans", "farthest", "herding"):
        plain = chosen(name, e, np.arange(27), 3).tolist()
        for factor in (2.0**100, 2.0**-100):
            assert (
                chosen(name, Embedding(e.x * np.float32(factor), e.ids, e.obs, uri="a.h5"), np.arange(27), 3).tolist() == plain
            )


@pytest.mark.parametrize("device", ["cpu", "torch:cpu"])
@pytest.mark.parametrize("kind", ["normal", "far", "outlier", "copies"])
def test_the_nearest_centre_is_that_of_float64(kind: str, device: str) -> None:
    """Many rows lie nearly between two centres, where products in float32 may err."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 12)) + (100 if kind == "far" else 0)
    x[1000:] = (x[:1000] + x[1:1001]) / 2
    if kind == "outlier":
        x[3] *= 1e5
    if kind == "copies":
        x[4] = x[3]
    x = x.astype(np.float32)
    centres, wide = x[:30], x.astype(np.float64)
    gaps = np.square(wide[:, None] - wide[:30]).sum(2)
    two = partial(kmeans._two_nearest, x) if device == "cpu" else torch_tiles.two_nearest(x, 30, device)
    labels = kmeans._nearest_centre(x, centres, np.linalg.norm(wide, axis=1), two)
    places = np.arange(len(x))
    assert (gaps[places, labels] <= gaps.min(1) * (1 + 1e-12)).all()


def test_kmeans_of_one_centroid_is_the_mean() -> None:
    x = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    for device in ("cpu", "torch:cpu"):
        middle = centroids(x, 1, np.random.default_rng(0), device=device)
        np.testing.assert_allclose(middle, x.mean(0, keepdims=True), atol=1e-6)


def test_kmeans_lowers_its_error_to_a_fixed_point() -> None:
    x = np.random.default_rng(3).normal(size=(400, 5)).astype(np.float32)
    c = centroids(x, 9, np.random.default_rng(0))
    of = np.linalg.norm(x[:, None] - c, axis=2).argmin(1)
    means = np.stack([x[of == i].mean(0) for i in range(9)])
    assert np.abs(means - c).max() < 0.1, "each centre is all but the mean of its cluster"
    start = np.linalg.norm(x[:, None] - x[:9], axis=2).min(1)
    assert np.square(np.linalg.norm(x - c[of], axis=1)).sum() < np.square(start).sum()


@pytest.mark.skipif(not native.available(), reason="relrep was installed without a C compiler")
@pytest.mark.parametrize("c", [1, 2, 15, 16, 17, 64, 79, 300])
def test_the_compiled_steps_of_kmeans_give_the_bits_of_numpy(c: int) -> None:
    rng = np.random.default_rng(c)
    values, half = rng.normal(size=(200, c)).astype(np.float32), rng.normal(size=c).astype(np.float32)
    values[::2], half[::2] = np.round(values[::2]), 0  # where many are equally near
    results = []
    for two_largest, add_rows in ((native.two_largest, native.add_rows), (kmeans._two_largest, kmeans._add_rows)):
        labels, first, second = np.empty(200, np.int64), *np.empty((2, 200), np.float32)
        two_largest(values.copy(), half, labels, first, second)
        sums = np.zeros((c, 7))
        add_rows(np.random.default_rng(1).normal(size=(200, 7)).astype(np.float32), labels, sums)
        results.append([labels, first, second, sums])
    for compiled, plain in zip(*results, strict=True):
        assert np.array_equal(compiled, plain)
    closeness = values - half
    assert np.array_equal(results[0][0], closeness.argmax(1)), "the first of equal ones"
    assert np.array_equal(results[0][2], np.sort(closeness, 1)[:, -2] if c > 1 else np.full(200, -np.inf))


def test_medoids_are_different_even_where_centres_are_not() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    actual = medoids(x, np.repeat(x[:1], 40, 0))
    assert sorted(actual.tolist()) == list(range(40)) and actual[0] == 0
    gaps = np.linalg.norm(x - x[0], axis=1)
    assert (np.diff(gaps[actual]) >= 0).all(), "nearest first"


def test_frequent_takes_the_largest_counts_and_orders_equals_by_id() -> None:
    ids = text(["d", "c", "b", "a", "e"])
    e = Embedding(np.zeros((5, 2), np.float32), ids, {"count": np.array([3.0, 9, 3, np.nan, 3])}, uri="a.h5")
    assert ids[chosen("frequent", e, np.arange(5), 5)].tolist() == [b"c", b"b", b"d", b"e", b"a"]
    words = Embedding(e.x, ids, {"count": text("vwxyz")}, uri="a.h5")
    with pytest.raises(DataError, match=r"a\.h5: column count holds text"):
        chosen("frequent", words, np.arange(5), 2)


def test_a_list_is_taken_in_its_order_and_whole() -> None:
    e = embedding(["a"] * 6)
    c = Candidates((e,), (np.array([0, 1, 2, 4]),), listed=text(["4", "0", "2"]))
    assert c.rows[0][choose(c, "from-file", 3, np.random.default_rng(0), {})].tolist() == [4, 0, 2]
    assert c.rows[0][choose(c, "from-file", 2, np.random.default_rng(0), {})].tolist() == [4, 0]
    for listed, words in ((["4", "3"], "1 of the ids listed are not candidates: 3"), (["4"], "the list has only 1 ids")):
        with pytest.raises(DataError, match=words):
            choose(Candidates((e,), c.rows, listed=text(listed)), "from-file", 2, np.random.default_rng(0), {})


def test_jointly_seen_spaces_count_alike_whatever_their_units_and_dims() -> None:
    a, b = embedding(classes([80]), 1), embedding(classes([80]), 2)
    wide = Embedding(np.repeat(b.x, 5, 1) * 1000 + 7, b.ids, b.obs, uri="b.h5")
    rows = (np.arange(80), np.arange(80))
    for name in ("kmeans", "farthest", "herding"):
        actual = [
            choose(Candidates((a, other), rows), name, 9, np.random.default_rng(0), STRATEGIES[name].resolve({})).tolist()
            for other in (b, wide)
        ]
        assert actual[0] == actual[1], name
        alone = choose(Candidates((a,), rows[:1]), name, 9, np.random.default_rng(0), STRATEGIES[name].resolve({})).tolist()
        assert actual[0] != alone, "the second space counts"


# Mixtures


def test_mixtures_are_means_in_every_space() -> None:
    """They go through an affine map as items do."""
    e = embedding(["x"] * 6)
    turn = np.random.default_rng(1).normal(size=(4, 3))
    other = Embedding((e.x @ turn + 5).astype(np.float64), e.ids[::-1].copy(), uri="b.h5")
    other = Embedding(other.x[::-1].copy(), other.ids, uri="b.h5")
    m = mixed(e.ids, [np.array([0, 1, 2]), np.array([2, 5]), np.array([4])])
    ours, theirs = m.vectors(e, m.names), m.vectors(other, m.names)
    assert ours[0] == pytest.approx(e.x[:3].mean(0)) and ours[2] == pytest.approx(e.x[4])
    assert theirs == pytest.approx(ours @ turn + 5, abs=1e-5)
    assert np.array_equal(m.vectors(e, m.names[[2, 0]]), ours[[2, 0]]), "any of them, in any order"
    assert (ours.dtype, theirs.dtype) == (np.float32, np.float64)
    with pytest.raises(DataError, match="are not among"):
        m.vectors(Embedding(e.x[:3], e.ids[:3], uri="c.h5"), m.names)


@pytest.mark.parametrize(
    "spoil",
    [
        {"mixture-weights": np.array([0.5, 0.6, 1.0])},
        {"mixture-weights": np.array([1.5, -0.5, 1.0])},
        {"mixture-weights": np.array([np.nan, 0.5, 1.0])},
        {"mixture-starts": np.array([0.0, 3.0, 2.0])},
        {"mixture-starts": np.array([0.0, 2.0, 4.0])},
        {"mixture-starts": np.array([0.0, 2.0, np.inf])},
        {"mixture-starts": np.array([0.0, 3.0])},
        {"mixture-starts": np.array([0.0, 0.0, 1.0]), "mixture-items": text(["a"]), "mixture-weights": np.ones(1)},
        {"mixture-items": text(["a", "b"])},
        {"mixture-items": np.zeros(3)},
    ],
)
def test_damaged_mixtures_are_refused(spoil: dict[str, np.ndarray]) -> None:
    good = {
        "mixture-items": text(["a", "b", "c"]),
        "mixture-weights": np.array([0.5, 0.5, 1.0]),
        "mixture-starts": np.array([0.0, 2.0, 3.0]),
    }
    e = Embedding(np.zeros((2, 1), np.float32), text(["m", "n"]), uri="m.h5", uns=good)
    actual = mixtures_of(e)
    assert actual is not None and actual.ids(e, text(["n"])).tolist() == [b"c"]
    with pytest.raises(DataError, match=r"m\.h5: .*Make it again\."):
        mixtures_of(Embedding(e.x, e.ids, uri="m.h5", uns={**good, **spoil}))


# The command


def ids_of(path: Any) -> list[bytes]:
    from relrep_cli import store

    return store.read(str(path)).ids.tolist()


def test_anchors_of_several_files_are_training_items_of_all(work: Any) -> None:
    np.savez(work / "d.npz", x=np.eye(60), ids=[f"item-{i:03d}" for i in range(60)], split=["test"] * 20 + ["train"] * 40)
    work.here("relrep embed d.npz -o d.h5 -q")
    done = work.here("relrep anchor a.h5 d.h5 -n 27 --strategy first -o x.h5")
    assert "choosing from the 27 items that all of them share" in done.stderr
    actual = [int(i[5:]) for i in ids_of(work / "x.h5")]
    assert actual == [i for i in range(20, 60) if i % 3]
    assert "28 anchors requested, but only 27 candidate items" in work.here("relrep anchor a.h5 d.h5 -n 28 -o y.h5", 3).stderr
    np.savez(work / "e.npz", x=np.eye(3), ids=["p", "q", "r"])
    work.here("relrep embed e.npz -o e.h5 -q")
    done = work.here("relrep anchor a.h5 e.h5 -n 2 -o y.h5", 3)
    assert "share no ids among their training items" in done.stderr


@pytest.mark.slow
def test_mixtures_project_in_both_spaces_and_open_in_anndata(work: Any) -> None:
    import anndata

    from relrep_cli import store

    work.here("relrep anchor a.h5 b.h5 -n 12 --strategy mixture --joint -o m.h5")
    for name in "ab":
        work.here(f"relrep project {name}.h5 --anchors m.h5 --similarity inner -o {name}.m.h5")
    m, (a, b), (ra, rb) = (
        store.read(str(work / "m.h5")),
        *([store.read(str(work / f"{n}{e}.h5")) for n in "ab"] for e in ("", ".m")),
    )
    assert ra.space == rb.space and ra.d == 12
    actual = mixtures_of(m)
    assert actual is not None
    assert set(actual.items.tolist()) == set(a.ids[a.training_rows()].tolist()), "every training item is in one"
    for e, rel in ((a, ra), (b, rb)):
        assert rel.x == pytest.approx(e.x @ actual.vectors(e, actual.names).T, rel=1e-4, abs=1e-4)
    assert np.abs(rb.x - b.x @ np.asarray(m.x).T).max() > 1, "b fills the weights with its own rows"
    opened = anndata.read_h5ad(work / "m.h5")
    assert opened.uns["mixture-weights"].sum() == pytest.approx(12)
    for how in ("--audit -s cosine", "b.h5 --select -s cosine,l1"):
        work.here(f"relrep project a.h5 {how} --anchors m.h5")
    work.here("relrep anchor a.h5 -n 12 --strategy mixture --members 3 -o three.h5")
    assert len(store.read(str(work / "three.h5")).uns["mixture-items"]) == 36


def test_mixtures_are_not_taken_for_items_elsewhere(work: Any) -> None:
    """Another weighting of the same items is another relative space."""
    from relrep_cli import store

    spaces = set()
    for seed in range(2):
        work.here(f"relrep anchor a.h5 -n 5 --strategy mixture --seed {seed} -o m{seed}.h5 -q")
        work.here(f"relrep project a.h5 --anchors m{seed}.h5 -o r{seed}.h5 -q")
        spaces.add(store.read(str(work / f"r{seed}.h5")).space)
    assert len(spaces) == 2


@pytest.mark.slow
def test_out_of_domain_anchors_come_from_collections_of_the_same_spaces(work: Any) -> None:
    rng = np.random.default_rng(0)
    for name, d in (("a", 16), ("b", 16)):
        np.savez(work / f"{name}o.npz", x=rng.normal(size=(50, d)).astype(np.float32), ids=[f"other-{i}" for i in range(50)])
        work.here(f"relrep embed {name}o.npz --space {name} -o {name}o.h5 -q")
    done = work.here("relrep anchor a.h5 b.h5 -n 20 --strategy out-of-domain --source bo.h5 --source ao.h5 -o o.h5")
    assert "--anchor-vectors" in done.stderr
    assert all(i.startswith(b"other-") for i in ids_of(work / "o.h5"))
    work.here("relrep project a.h5 --anchors o.h5 -o ao.rel.h5")
    work.here("relrep project b.h5 --anchors o.h5 --anchor-vectors bo.h5 -o bo.rel.h5")
    work.here("relrep project b.h5 --anchors o.h5 -o no.h5", 3)
    done = work.here("relrep anchor a.h5 -n 20 --strategy out-of-domain --source bo.h5 -o p.h5", 3)
    assert "0 of the collections are of its space (a); given: bo.h5 (b)" in done.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("a.h5 --strategy from-file -o x.h5", "--source FILE is missing for from-file"),
        ("a.h5 --source t.txt -o x.h5", "It works with from-file, out-of-domain"),
        ("a.h5 --strategy mixture --ids-only", "gives mixtures. Write -o FILE"),
        ("a.h5 b.h5 --strategy bootstrap -o x.tsv", "--seeds FILE is missing for bootstrap"),
        ("a.h5 --seeds t.txt -o x.h5", "It works with bootstrap"),
        ("a.h5 --truth id -o x.h5", "--truth scores pairs"),
        ("a.h5 --json -o x.h5", "--format and --json print a table"),
        ("a.h5 --strategy unsupervised -o x.tsv", "between two files, and 1 are given"),
        ("a.h5 b.h5 --strategy unsupervised -o x.h5", "does not write .h5"),
        ("a.h5 b.h5 --strategy unsupervised --joint -o x.tsv", "finds pairs of different items"),
        ("a.h5 --kernel linear -o x.h5", "--kernel is not an option of strategy random"),
    ],
)
def test_options_that_do_not_go_together_are_refused(work: Any, command: str, words: str) -> None:
    (work / "t.txt").write_text("item-001\n")
    done = work.here(f"relrep anchor {command}", 2)
    assert words in done.stderr, done
    assert not list(work.path.glob("x.*"))


def test_a_list_as_anchors_keeps_its_order_and_never_takes_test_rows(work: Any) -> None:
    (work / "t.txt").write_text("item-010\nitem-001\n")
    work.here("relrep anchor a.h5 --strategy from-file --source t.txt -o x.h5")
    assert ids_of(work / "x.h5") == [b"item-010", b"item-001"]
    (work / "t.txt").write_text("item-010\nitem-000\n")
    done = work.here("relrep anchor a.h5 --strategy from-file --source t.txt -o y.h5", 3)
    assert "1 of the ids listed are not candidates: item-000" in done.stderr
    work.here("relrep anchor a.h5 --strategy from-file --source t.txt --split all -o y.h5")


@pytest.mark.slow
def test_equal_on_any_number_of_threads(work: Any) -> None:
    """All strategies in one process for each number of threads, which linear algebra takes when it starts."""
    command = "anchor a.h5 b.h5 --joint -n 25 -q --strategy"
    runs = f"for name in {MANY_THREADS}: assert not cli.run(f'{command} {{name}} -o {{name}}-{{sys.argv[1]}}.h5'.split())"
    program = f"import sys; from relrep_cli import cli; cli.limit_threads(['-@', sys.argv[1]])\n{runs}"
    for threads in ("1", "3"):
        work.run(f'python -c "{program}" {threads}', SOURCE_DATE_EPOCH="0", RELREP_THREADS=threads)
    for name in MANY_THREADS:
        assert (work / f"{name}-1.h5").read_bytes() == (work / f"{name}-3.h5").read_bytes(), name


@pytest.mark.parametrize("name", MANY_THREADS)
def test_up_to_date(work: Any, name: str) -> None:
    work.here(f"relrep anchor a.h5 -n 25 --strategy {name} -o x.h5")
    assert "x.h5: up to date." in work.here(f"relrep anchor a.h5 -n 25 --strategy {name} -o x.h5").stderr


@pytest.mark.slow
def test_a_whole_collection_is_no_anchor_file_unless_one_says_so(work: Any) -> None:
    n = id_lists.MANY + 1
    x = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    np.savez(work / "all.npz", x=x, ids=np.array([f"n{i}" for i in range(n)]))
    np.savez(work / "some.npz", x=x[1:], ids=np.array([f"n{i}" for i in range(1, n)]))
    np.savez(work / "few.npz", x=x[:9], ids=np.array([f"n{i}" for i in range(9)]))
    words = f"all.npz: holds {n} rows, which relrep anchor did not choose", "--all-as-anchors to use every row."
    work.error("relrep project few.npz -a all.npz -o x.h5", 3, *words)
    work.error("relrep project few.npz -a few.npz --anchor-vectors all.npz -a all.npz -o x.h5", 3, *words)
    work.here("relrep project all.npz -a some.npz -o x.h5 -q")
    work.here("relrep project all.npz -a all.npz --all-as-anchors --round 0.1 -o y.h5 -q")
    work.here(f"relrep anchor all.npz -n {n} -o chosen.h5 -q")
    work.here("relrep project all.npz -a chosen.h5 --round 0.1 -o z.h5 -q")

"""Anchors: every strategy draws distinct candidates by its seed, classes get equal shares, vectors stay in their space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relrep_cli.anchors import STRATEGIES, anchor_vectors, choose
from relrep_cli.embedding import Embedding, row_numbers, text
from relrep_cli.errors import DataError

every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def embedding(labels: list[str], seed: int = 0, **more: Any) -> Embedding:
    x = np.random.default_rng(seed).normal(size=(len(labels), 4)).astype(np.float32)
    return Embedding(x, row_numbers(len(labels)), {"label": text(labels)}, uri="a.h5", **more)


def classes(counts: list[int], seed: int = 0) -> list[str]:
    """Labels in mixed order, so many of each class."""
    labels = [f"c{number}" for number, count in enumerate(counts) for _ in range(count)]
    return [labels[i] for i in np.random.default_rng(seed).permutation(len(labels))]


def chosen(name: str, e: Embedding, rows: np.ndarray, m: int, seed: int = 0) -> np.ndarray:
    return choose(e, rows, name, m, np.random.default_rng(seed), STRATEGIES[name].resolve({}))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), counts=st.lists(st.integers(1, 30), min_size=1, max_size=6), share=st.floats(0, 1))
def test_every_strategy_gives_distinct_candidates_by_its_seed(seed: int, counts: list[int], share: float) -> None:
    e = embedding(classes(counts, seed))
    rows = np.sort(np.random.default_rng(seed).permutation(e.n)[: max(1, int(share * e.n))])
    m = 1 + seed % len(rows)
    for name in STRATEGIES:
        found = chosen(name, e, rows, m, seed)
        assert found.shape == (m,) and len(set(found.tolist())) == m
        assert np.isin(found, rows).all()
        assert np.array_equal(found, chosen(name, e, rows, m, seed))
        assert np.array_equal(np.sort(chosen(name, e, rows, len(rows), seed)), rows), "all candidates, when all are asked"


@pytest.mark.parametrize("name", ["random", "per-class"])
def test_another_seed_gives_others(name: str) -> None:
    e = embedding(classes([40, 40]))
    found = [set(chosen(name, e, np.arange(80), 20, seed).tolist()) for seed in range(5)]
    assert len({frozenset(f) for f in found}) == 5


def test_random_anchors_are_uniform() -> None:
    """Each of 20 items is drawn in a quarter of 4,000 draws: within 5 standard deviations."""
    e = embedding(["a"] * 20)
    counts = np.zeros(20)
    rng = np.random.default_rng(0)
    for _ in range(4000):
        counts[choose(e, np.arange(20), "random", 5, rng, {})] += 1
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
    found = e.obs["label"][chosen("per-class", e, np.arange(e.n), m)].tolist()
    assert [found.count(f"c{number}".encode()) for number in range(len(counts))] == quota
    assert found == sorted(found), "class by class"


def test_shares_count_candidates_only() -> None:
    e = embedding(classes([50, 50]))
    rows = np.flatnonzero((e.obs["label"] == b"c0") | (np.cumsum(e.obs["label"] == b"c1") <= 4))
    found = e.obs["label"][chosen("per-class", e, rows, 20)].tolist()
    assert (found.count(b"c0"), found.count(b"c1")) == (16, 4)


@every_strategy
def test_more_anchors_than_candidates_are_refused(name: str) -> None:
    e = embedding(["a"] * 9)
    with pytest.raises(DataError, match=r"a\.h5: 5 anchors asked of 4 candidate items; write -n 4 or less\."):
        chosen(name, e, np.arange(4), 5)


@every_strategy
def test_labels_are_asked_for_only_where_declared(name: str) -> None:
    e = Embedding(np.zeros((9, 2), np.float32), row_numbers(9), uri="a.h5")
    if STRATEGIES[name].needs_labels:
        with pytest.raises(DataError, match=r"a\.h5: no column 'label'; columns found: none"):
            chosen(name, e, np.arange(9), 3)
    else:
        assert len(chosen(name, e, np.arange(9), 3)) == 3


# Vectors of anchors


def space(name: str, ids: list[str], value: float, d: int = 3, dtype: Any = np.float32) -> Embedding:
    return Embedding(np.full((len(ids), d), value, dtype), text(ids), space=name, uri=f"{value:g}.h5")


def test_vectors_come_from_the_file_itself_then_from_spares_of_its_space() -> None:
    e = space("s", ["a", "b"], 1)
    spares = [space("other", ["c"], 2), space("s", ["b", "c"], 3), space("s", ["c", "d"], 4)]
    found = anchor_vectors(e, text(["d", "c", "b", "a"]), spares)
    assert found[:, 0].tolist() == [4, 3, 1, 1]
    assert found.shape == (4, 3)


@pytest.mark.parametrize(
    ("mine", "theirs"), [("s", "t"), ("", ""), ("s", ""), ("", "t")], ids=["other", "both unnamed", "theirs", "mine"]
)
def test_vectors_never_come_from_another_space(mine: str, theirs: str) -> None:
    with pytest.raises(DataError, match=r"1\.h5: 1 anchors are not among its 2 items: c\. .*--anchor-vectors FILE"):
        anchor_vectors(space(mine, ["a", "b"], 1), text(["a", "c"]), [space(theirs, ["a", "c"], 2)])


def test_the_space_that_would_not_do_is_named() -> None:
    with pytest.raises(DataError, match=r"2\.h5 has some in another space \(t, not s\)"):
        anchor_vectors(space("s", ["a"], 1), text(["a", "c"]), [space("t", ["c"], 2)])


def test_vectors_of_another_width_are_not_taken() -> None:
    with pytest.raises(DataError, match="are not among"):
        anchor_vectors(space("s", ["a"], 1), text(["c"]), [space("s", ["c"], 2, d=4)])


def test_missing_anchors_are_counted_and_a_few_named() -> None:
    with pytest.raises(DataError, match=r"5 anchors are not among its 1 items: b, c, d, …\."):
        anchor_vectors(space("s", ["a"], 1), text("abcdef"))


def test_precision_is_that_of_the_widest_source() -> None:
    e, spare = space("s", ["a"], 1, dtype=np.float16), space("s", ["b"], 1 / 3, dtype=np.float64)
    found = anchor_vectors(e, text(["a", "b"]), [spare])
    assert found.dtype == np.float64 and found[1, 0] == 1 / 3
    swapped = space("s", ["a"], 1, dtype=">f4")
    assert anchor_vectors(swapped, text(["a"])).dtype == np.float32
    assert anchor_vectors(swapped, text(["a"]))[0, 0] == 1

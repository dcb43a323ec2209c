"""What makes neighbourhood metrics cheaper on many rows: sampled rows, indexes with measured recall, shared searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli import neighbors
from relrep_cli.base.task_cache import Records
from relrep_cli.comparison import pairs_of_files as comparison
from relrep_cli.comparison.pairs_of_files import View, compare_pair, interval
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.sampling import PILOT, over_rows
from relrep_cli.neighbors import approximate, nearest, overlap, tiles
from relrep_cli.numerics import intervals as inference
from relrep_cli.numerics.workspace import UNSHARED, Workspace


def clusters(n: int, d: int = 16, seed: int = 0) -> np.ndarray:
    """Points in a few dimensions around some centres, as embeddings have them: an index finds their neighbours."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(30, 5))[rng.integers(30, size=n)] + rng.normal(size=(n, 5))
    return (z @ rng.normal(size=(5, d)) + 0.1 * rng.normal(size=(n, d))).astype(np.float32)


def noisy(x: np.ndarray, seed: int = 1) -> np.ndarray:
    return (x + 0.5 * np.random.default_rng(seed).normal(size=x.shape)).astype(np.float32)


def score(name: str, x: np.ndarray, y: np.ndarray, seed: int = 0, **params: Any) -> Any:
    return METRICS[name].function(x, y, **METRICS[name].resolve(params), seed=seed)


# --- sampled rows ---


@pytest.mark.parametrize(("kind", "n"), [("binomial", 20_000), ("two-valued", 6000), ("skewed", 6000)])
def test_intervals_cover_the_mean_of_all_rows(kind: str, n: int) -> None:
    """In 93 to 97 % of draws of a nominal 95 %, by 1000 draws, whose own error is 0.7 %; and no wider than asked."""
    rng = np.random.default_rng(0)
    every = {
        "binomial": lambda: rng.binomial(10, 0.3, n) / 10,
        "two-valued": lambda: rng.random(n) < 0.4,
        "skewed": lambda: 1 / rng.integers(1, 40, n),
    }[kind]().astype(float)
    covered, sizes, ci = 0, [], 0.02
    for seed in range(1000):
        actual = over_rows(lambda rows: every if rows is None else every[rows], n, ci, seed)
        if actual.sample is None:
            pytest.fail("all rows were taken")
        low, high = inference.sampled(actual.values, n)
        assert high - low <= 2 * ci + 1e-12
        covered += low <= every.mean() <= high
        sizes.append(len(actual.values))
    assert 925 <= covered <= 975
    ideal = n / (1 + n * ci**2 / (1.96**2 * every.var()))
    assert max(PILOT, 0.97 * ideal) <= np.mean(sizes) <= max(PILOT, 1.1 * ideal)


def test_a_sample_is_drawn_once_each_and_named() -> None:
    every = np.random.default_rng(0).random(20_000)
    actual = over_rows(lambda rows: every if rows is None else every[rows], 20_000, 0.02, 3)
    assert actual.sample is not None and (np.diff(actual.sample) > 0).all()
    assert np.array_equal(actual.values, every[actual.sample])
    again = over_rows(lambda rows: every if rows is None else every[rows], 20_000, 0.02, 3)
    assert np.array_equal(again.sample, actual.sample)
    other = over_rows(lambda rows: every if rows is None else every[rows], 20_000, 0.02, 4)
    assert not np.array_equal(other.sample, actual.sample)


@pytest.mark.parametrize(("n", "ci"), [(600, 0.01), (5000, 1e-4), (5000, 0.0)])
def test_all_rows_where_a_sample_would_not_be_cheaper(n: int, ci: float) -> None:
    every = np.random.default_rng(0).random(n)
    actual = over_rows(lambda rows: every if rows is None else every[rows], n, ci, 0)
    assert actual.sample is None and np.array_equal(actual.values, every)


def test_rows_all_alike_leave_room_for_others() -> None:
    low, high = inference.sampled(np.ones(500), 10**6)
    assert 0.9945 < low < 0.998 and high > 1


@pytest.mark.parametrize("name", [name for name, entry in METRICS.items() if "ci" in entry.keywords])
def test_sampled_metrics_have_the_values_of_their_rows(name: str) -> None:
    x = clusters(2500)
    y = noisy(x)
    ci = 0.2 if name == "ordered-knn:lcs" else 0.02  # lengths from 0 to k
    every, some = score(name, x, y), score(name, x, y, ci=ci)
    assert some.sample is not None and len(some.rows) == some.extra["sampled"] < 1000
    assert np.array_equal(some.rows, every.rows[some.sample])
    low, high = interval(name, some, 0)
    assert low is not None and high is not None and low - ci < every.value < high + ci
    assert high - low == pytest.approx(2 * ci, rel=0.1) or len(some.rows) == PILOT
    assert f"{len(some.rows)} rows sampled for +-{ci}" in some.convention
    assert some.chance == every.chance
    assert not np.array_equal(score(name, x, y, seed=1, ci=ci).sample, some.sample)


# --- indexes ---


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes for spaces as small as those of tests."""
    monkeypatch.setattr(approximate, "MIN_ROWS", 500)


@pytest.mark.parametrize("by", ["cosine", "euclidean"])
@pytest.mark.parametrize("index", ["ivf", "hnsw"])
def test_an_index_reports_its_recall(index: Any, by: Any, few_rows: None) -> None:
    x = clusters(2000)
    exact, near = (nearest(x, x, 10, by=by, exclude_self=True, index=i) for i in ("exact", index))
    assert (near.index, exact.index, exact.recall) == (index, "exact", 1.0)
    recall = overlap(exact.rows, near.rows).mean() / 10
    assert near.recall >= 0.99 and abs(near.recall - recall) < 0.012
    assert not (near.rows == np.arange(2000)[:, None]).any()
    alike = (exact.rows == near.rows).all(1)
    assert alike.mean() > 0.9  # the order is exact among what was found


def test_an_index_that_finds_too_little_gives_way(few_rows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    x = clusters(1500)
    monkeypatch.setattr(approximate, "_efforts", lambda index, depth: [1])
    near = nearest(x, x, 10, index="ivf")
    assert (near.index, near.recall) == ("exact", 1.0)
    assert np.array_equal(near.rows, nearest(x, x, 10).rows)
    exactly = score("knn-jaccard", x, noisy(x), index="ivf")
    assert exactly.convention.endswith("ivf index gave way to exact search")
    assert (exactly.extra["index"], exactly.extra["recall"]) == ("exact", 1.0)


def test_queries_that_an_index_finds_too_little_for_are_searched_exactly(
    few_rows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.concatenate([clusters(3000), clusters(6, seed=9) + 500])
    monkeypatch.setattr(approximate, "TARGET_RECALL", 0.5)
    monkeypatch.setattr(approximate, "_efforts", lambda index, depth: [1])
    near = nearest(x, x, 40, by="euclidean", index="ivf")
    assert near.index == "ivf" and near.recall < 1
    assert (near.rows >= 0).all()
    assert np.array_equal(near.rows[3000:], nearest(x[3000:], x, 40, by="euclidean").rows)


@pytest.mark.slow
def test_the_measured_recall_is_in_the_result(few_rows: None) -> None:
    x = clusters(3000)
    result = score("jaccard", x, noisy(x), index="ivf")
    assert result.extra["index"] == "ivf" and 0.99 <= result.extra["recall"] <= 1
    assert result.convention.endswith(f"ivf index with recall {result.extra['recall']:.4f}")
    assert result.value == pytest.approx(score("jaccard", x, noisy(x)).value, abs=0.01)
    assert "recall" not in score("jaccard", x, noisy(x)).extra


# --- one search for several metrics and k ---


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The depth of each search that is made, those for the width of intervals apart."""
    made: list[int] = []
    monkeypatch.setattr(comparison, "widening_factor", lambda some, rows, seed, order: 1.0)
    plainly = approximate.ordered

    def spy(frame: Any, queries: np.ndarray, base: np.ndarray, depth: int, **more: Any) -> Any:
        made.append(depth)
        return plainly(frame, queries, base, depth, **more)

    monkeypatch.setattr(approximate, "ordered", spy)
    return made


@pytest.mark.parametrize("kind", ["plain", "every row 4 times"])
@pytest.mark.parametrize("by", ["cosine", "euclidean"])
def test_shared_searches_are_those_made_apart(by: Any, kind: str, searches: list[int]) -> None:
    x = clusters(300) if kind == "plain" else np.repeat(clusters(75), 4, 0)
    y, some = noisy(x), np.array([3, 1, 250])
    calls: list[tuple] = [
        (q, b, k, own, rows)
        for q, b, own in ((x, x, True), (x, x, False), (x, y, False), (y, y, True))
        for k in (1, 5, 3, 12)
        for rows in (None, some)
    ]

    def search(workspace: Workspace) -> list:
        return [nearest(q, b, k, by=by, exclude_self=own, rows=rows, workspace=workspace) for q, b, k, own, rows in calls]

    apart = search(UNSHARED)
    searches.clear()
    together = search(Workspace(neighbours=12))
    assert searches == [13] * 6  # three pairs of spaces, for all rows and for some
    for one, other in zip(apart, together, strict=True):
        assert np.array_equal(one.rows, other.rows) and one.tied == other.tied


def test_a_shared_search_goes_deeper_when_it_must(searches: list[int]) -> None:
    x = clusters(20)
    workspace = Workspace(neighbours=3)
    assert nearest(x, x, 3, workspace=workspace).rows.shape == (20, 3)
    assert nearest(x, x, 19, exclude_self=True, workspace=workspace).rows.shape == (20, 19)
    assert nearest(x, x, 20, workspace=workspace).rows.shape == (20, 20)
    nearest(x, x, 3)
    assert searches == [4, 20, 3]


def test_rows_of_some_queries_are_those_of_all() -> None:
    x = clusters(200)
    rows = np.array([7, 3, 199])
    for own in (True, False):
        every, some = nearest(x, x, 9, exclude_self=own), nearest(x, x, 9, exclude_self=own, rows=rows)
        assert np.array_equal(some.rows, every.rows[rows])
    assert np.array_equal(neighbors.ranks(x, noisy(x), rows=rows), neighbors.ranks(x, noisy(x))[rows])


def test_several_k_and_metrics_take_one_search_of_each_space(searches: list[int]) -> None:
    x = clusters(100)
    a, b = (View("absolute", Embedding(side, row_numbers(100))) for side in (x, noisy(x)))
    chosen = METRICS.choose(["jaccard", "knn-jaccard"], {"k": "5,20,2,5,100"})
    rows = np.arange(100), np.arange(100)
    records, per_row = compare_pair([a], [b], rows, chosen, 0, Records(None), True, Workspace.of_run(Records(None)))
    assert searches == [21] * 3  # x in x, x in y, y in y
    assert [(r["metric"], r["k"]) for r in records] == [(m, k) for m in ("jaccard", "knn-jaccard") for k in (5, 20, 2, 100)]
    assert [r.record["k"] for r in per_row] == [5, 20, 2] * 2  # k = 100 leaves no room
    for r in records[:3] + records[4:7]:
        assert r["value"] == METRICS[r["metric"]].function(x, b.embedding.x, k=r["k"]).value


def test_all_metrics_of_neighbourhoods_take_one_search_of_each_space(searches: list[int]) -> None:
    """Of fewer items than cknna needs for an interval, whose halves are searched anew."""
    x = clusters(90)
    labels = {"label": np.arange(90) % 3}
    a, b = (View("absolute", Embedding(side, row_numbers(90), obs=labels)) for side in (x, noisy(x)))
    names = [name for name, entry in METRICS.items() if entry.family == "neighbourhoods"]
    rows = np.arange(90), np.arange(90)
    records, _ = compare_pair(
        [a], [b], rows, METRICS.choose(names, {"k": "5,20"}), 0, Records(None), True, Workspace.of_run(Records(None))
    )
    assert searches == [21] * 3  # x in x, x in y, y in y
    assert len(records) == 2 * len(names) - 1 and all(r["value"] is not None for r in records)


@pytest.mark.parametrize("name", [name for name, entry in METRICS.items() if "index" in entry.keywords])
def test_every_metric_of_neighbours_says_what_its_index_found(name: str, few_rows: None) -> None:
    x = clusters(1500)
    params = METRICS[name].resolve({"index": "ivf", **({"k": 20} if name == "cknna" else {})})
    more: dict[str, Any] = {"labels": np.arange(1500) % 3} if "labels" in METRICS[name].needs else {}
    result = METRICS[name].function(x, noisy(x), **params, **more)
    assert result.extra["index"] == "ivf" and f"ivf index with recall {result.extra['recall']:.4f}" in result.convention


@pytest.mark.slow
def test_several_k_on_the_command_line(work: Workdir) -> None:
    both = work.here("relrep compare a.h5 b.h5 -m knn-jaccard,cka --k 5,10 --per-row rows.tsv -q").rows
    assert [(r["metric"], r["k"]) for r in both] == [("knn-jaccard", "5"), ("knn-jaccard", "10"), ("cka", "n/a")]
    for r in both[:2]:
        assert work.here(f"relrep compare a.h5 b.h5 -m knn-jaccard --k {r['k']} -q").rows[0]["value"] == r["value"]
    assert (work / "rows.tsv").read_text().split("\t")[:6] == ["id", "label", "a", "b", "metric", "k"]


def test_tiles_by_numba_need_enough_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELREP_NATIVE", "0")
    assert not tiles.pay(np.empty((1000, 64)), np.empty((1000, 64)))

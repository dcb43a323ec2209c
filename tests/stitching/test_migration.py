"""The report of a migration: its verdict on prepared pairs, and values that are known."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from conftest import Workdir
from scipy.special import bdtr, ndtr

from relrep_cli.base.errors import DataError
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.relative.recipes import Recipe
from relrep_cli.stitching.bridge_verdicts import BRIDGE, MORE_ANCHORS, REEMBED, UNSURE, sentence_of, verdict_of
from relrep_cli.stitching.index_sizes import hits_in_subsets, recall_in_larger, recalls_by_size
from relrep_cli.stitching.learning_curve import Curve, Trial, by_anchors, curve
from relrep_cli.stitching.migration import AT_CEILING, Report, _merit, _variance_of_shared_rows, report
from relrep_cli.stitching.query_pairs import QueryPairs, _ratio, query_pairs
from relrep_cli.stitching.translation import Fitting
from relrep_cli.store.relevance_files import read_relevant

N = 160
METHODS = {"orthogonal": {"scaling": "whole"}, "ridge": {"scaling": "whole"}}


def spaces(noise: float, d: int = 8, seed: int = 0) -> tuple[Embedding, Embedding]:
    """A space, and it turned, with so much noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, d))
    y = x @ np.linalg.qr(rng.normal(size=(d, d)))[0] + noise * rng.normal(size=(N, d))
    return tuple(Embedding(v, row_numbers(N), space=name, uri=name) for v, name in ((x, "new"), (y, "old")))  # type: ignore[return-value]


def reported(noise: float, anchors: int, d: int = 8, seed: int = 0) -> Report:
    e, target = spaces(noise, d, seed)
    return report(e, target, METHODS, Fitting("orthogonal", METHODS["orthogonal"], Recipe(e.ids[:anchors])), 0.9)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("noise", "anchors", "d", "wanted"),
    [(0.0, 40, 8, BRIDGE), (0.3, 60, 8, BRIDGE), (0.5, 10, 40, MORE_ANCHORS), (1e3, 60, 8, REEMBED)],
)
def test_the_verdict_on_prepared_pairs(noise: float, anchors: int, d: int, wanted: str, seed: int) -> None:
    made = reported(noise, anchors, d, seed)
    assert made.verdict == wanted and made.sentence.startswith(wanted)
    last = made.records[-1]
    assert last["part"] == "verdict" and last["low"] <= last["value"] <= last["high"] and last["note"] == wanted


def test_every_part_is_there_and_recall_falls_with_the_index() -> None:
    made = reported(0.6, 60)
    parts = {part: [r for r in made.records if r["part"] == part] for part in ("method", "index", "anchors", "threshold")}
    assert (
        {r["method"] for r in parts["method"]} == set(METHODS) and len(parts["anchors"]) == 7 and len(parts["threshold"]) == 3
    )
    sizes, values = zip(*((r["at"], r["value"]) for r in parts["index"]), strict=True)
    assert list(sizes) == sorted(sizes) and list(values) == sorted(values, reverse=True) and N in sizes
    measured = next(r["value"] for r in parts["index"] if r["at"] == N)
    assert measured == next(r["value"] for r in parts["method"] if r["measure"] == "recall_10")
    assert all(r["low"] <= r["value"] <= r["high"] for r in made.records)


def test_old_thresholds_stay_where_old_vectors_are_queries() -> None:
    e, _ = spaces(0.0)
    how = Fitting("orthogonal", METHODS["orthogonal"], Recipe(e.ids[:60]))
    same = [r for r in report(e, e, METHODS, how, 0.9).records if r["part"] == "threshold"]
    assert all(r["value"] == pytest.approx(r["at"], abs=1e-6) for r in same)
    between = (same[0]["at"] + same[1]["at"]) / 2
    asked = [r for r in report(e, e, METHODS, how, 0.9, None, [between, 1.0, -1.0]).records if r["part"] == "threshold"]
    assert [r["at"] for r in asked] == sorted([between, 1.0, -1.0, *(r["at"] for r in same)])
    assert (asked[0]["value"], asked[0]["note"]) == (None, "every old result passes this")
    assert (asked[-1]["value"], asked[-1]["note"]) == (None, "no old result passes this")
    (own,) = [r for r in asked if r["at"] == between]
    assert own["low"] <= own["value"] <= own["high"] and own["value"] == pytest.approx(between, abs=0.01)


def test_rows_that_several_queries_find_add_to_the_variance() -> None:
    """Against the jackknife written out: the share without each row of the index, and the same for each query by itself."""
    near, lost = np.array([[0, 1], [0, 2], [3, 0]]), np.array([[True, False], [True, True], [False, True]])
    n, change = 10, np.zeros((3, 10))
    np.put_along_axis(change, near, lost.astype(float), 1)
    squares = np.square(change.sum(0) - change.sum(0).mean()).sum() - sum(np.square(c - c.mean()).sum() for c in change)
    assert _variance_of_shared_rows(near, lost, n) == pytest.approx(squares / near.size**2) and squares > 0
    apart = np.arange(6).reshape(3, 2)
    assert _variance_of_shared_rows(apart, np.ones((3, 2), bool), n) == 0


def test_the_recall_of_subsets_is_their_mean() -> None:
    places, n, size = np.array([1, 3, 11, 13]), 14, 11
    brute = []
    for place in places:
        ahead, others = set(range(place - 1)), range(n - 1)
        brute.append(np.mean([len(ahead & set(kept)) < 10 for kept in combinations(others, size - 1)]))
    actual = hits_in_subsets(places, n, size)
    assert actual == pytest.approx(brute) and 0 < actual[2] < 1
    assert hits_in_subsets(np.array([10, 11]), 20, 20).tolist() == [1, 0]


def test_the_recall_in_larger_indexes_is_found_from_ranks_in_a_small_one() -> None:
    """Similarities are normal, as the estimate from z-scores supposes; the true recall is an integral."""
    rng = np.random.default_rng(0)
    ahead = ndtr(rng.normal(-2.4, 0.8, 4000))
    places = 1 + rng.binomial(999, ahead)
    for times in (2, 4, 8, 16):
        true = bdtr(9, 1000 * times - 1, ahead).mean()
        assert recall_in_larger(places, 1000, times) == pytest.approx(true, abs=0.02)
    assert recall_in_larger(np.ones(200), 1000, 16) > 0.99 and recall_in_larger(np.full(200, 900), 1000, 2) < 0.01


@pytest.mark.slow
def test_a_line_of_logits_goes_on_as_it_is() -> None:
    """Shares of 1 / (1 + 4 / m) are a line of slope 1 in logits over log m."""
    rng = np.random.default_rng(0)
    hits = [rng.random(20000) < 1 / (1 + 4 / m) for m in (2, 4, 8)]
    actual = curve([2, 4, 8], hits, 0)
    value, low, high = actual.at(32)
    assert low < 1 / (1 + 4 / 32) < high and value == pytest.approx(1 / (1 + 4 / 32), abs=0.02)
    assert actual.at(3)[0] == pytest.approx(1 / (1 + 4 / 3), abs=0.02), "between two places"


def test_a_curve_goes_on_from_its_last_places() -> None:
    """A recall that has stopped to grow will not grow."""
    recalls = np.array([0.1, 0.5, 0.7, 0.7, 0.7])
    assert Curve([10, 20, 40, 80, 160], recalls, recalls[None], 1000).at(640)[0] == pytest.approx(0.7)
    assert Curve([10, 20, 40], recalls[2:], recalls[None, 2:], 1000).at(20)[0] == 0.7


def test_a_curve_never_falls_with_more_anchors() -> None:
    """Where every item was found, the recall with more anchors was 0.987 of 38 items before."""
    rng = np.random.default_rng(0)
    for items, share in ((38, 1.0), (200, 0.97), (20, 0.5)):
        hits = [np.arange(items) < np.round(share * one * items) for one in (0.6, 0.9, 1.0)]
        actual = curve([10, 20, 40], [np.asarray(rng.permuted(one), float) for one in hits], 0)
        values = [actual.at(place)[0] for place in (40, 80, 160, 320)]
        assert values == sorted(values) and values[0] == hits[-1].mean()
        assert all(low <= value <= high for value, low, high in map(actual.at, (80, 160, 320)))
        assert share < 1 or values[-1] == 1
    made = reported(0.0, 60)
    assert [r["note"] for r in made.records if r["part"] == "anchors"][-1] == AT_CEILING
    assert {r["value"] for r in made.records if r["part"] == "anchors"} == {1.0}


def test_the_recall_never_rises_with_the_index() -> None:
    """Ranks of 20 items among 1,000, of which an estimate for 2,000 lies above what was measured."""
    rng = np.random.default_rng(0)
    for center, spread in ((-1.81, 1.24), (-3.77, 1.12), (-0.7, 0.5)):
        for _ in range(3):
            ranks = 1 + rng.binomial(999, ndtr(rng.normal(center, spread, 20)))
            values = [value for _, (value, _, _), _ in recalls_by_size(ranks, 1000)]
            assert np.diff(values).max() < 1e-9


def test_of_equal_recalls_the_method_that_keeps_old_results_is_taken_and_then_the_first() -> None:
    one = {"recall_1": np.ones(4), "recall_10": np.ones(4), "cosine": np.full(4, 0.9), "retained": np.full(4, 0.6)}
    more = {**one, "cosine": np.full(4, 0.5), "retained": np.full(4, 0.7)}
    assert _merit(more) > _merit(one) and _merit({**one, "cosine": np.zeros(4)}) == _merit(one)
    assert _merit({name: one[name] for name in ("recall_1", "recall_10", "cosine")})[1] == 0, "an index of a few rows"


def test_without_a_miss_the_interval_of_a_curve_knows_that_some_may_come() -> None:
    actual = curve([10, 20], [np.ones(100), np.ones(100)], 0)
    assert actual.at(10)[0] == 1 and actual.at(10)[1] < 0.97 and actual.at(15)[1] < 0.985


def test_held_out_items_serve_as_more_anchors_but_not_for_themselves() -> None:
    """Each half is looked up by maps that saw the anchors and the other half."""
    n, fits = 100, []
    rows = np.arange(n, dtype=float)[:, None]

    def maps(x: np.ndarray, y: np.ndarray):  # type: ignore[no-untyped-def]
        assert (x == y).all()
        fits.append(set(x[:, 0].astype(int).tolist()))
        seen = fits[-1]

        def of_queries(z: np.ndarray) -> np.ndarray:
            assert not seen & set(z[:, 0].astype(int).tolist()), "no item is looked up by a map that saw it"
            return z

        return of_queries, lambda z: z

    trial = Trial(rows[90:], rows[90:], rows[:90], rows[:90], 1)
    actual, own = by_anchors(trial, maps, maps, 0)
    assert (actual.places, own) == ([2, 5, 10, 20, 40, 55], 3)
    assert [len(fit) for fit in fits] == [2, 5, 10, *[20] * 6, *[40] * 6, *[55] * 6]
    assert not any(fits[n] & fits[n + 1] - set(range(90, 100)) for n in range(3, 21, 2)), "the halves have no item in common"


def test_too_few_items_to_measure_on_are_an_error() -> None:
    with pytest.raises(DataError, match=r"share 155 items to fit on and 5 others; a report needs 8 of each"):
        reported(0.0, N - 5)


def test_few_items_cannot_tell_that_a_recall_is_high() -> None:
    made = reported(0.0, N - 10)
    assert made.verdict == UNSURE and "too few items to tell: recall@10 1.000 (0.722 to 1.000)" in made.sentence


def test_the_sentence_does_not_round_an_end_to_the_bar_that_it_misses() -> None:
    now = {"measure": "recall_10", "value": 0.926, "low": 0.8997, "high": 0.9458, "n": 500, "at": 1500}
    actual = sentence_of(UNSURE, Fitting("universe"), now, 300, 0, 0.9)
    assert "0.9260 (0.8997 to 0.9458) in an index of 1500" in actual
    chosen = sentence_of(BRIDGE, Fitting("ridge"), now, 300, 0, 0.8, None, " (chosen by items, not by queries)")
    assert chosen.startswith("bridge with ridge (chosen by items, not by queries): recall@10 0.926")
    made = reported(0.0, 60)
    assert made.sentence.endswith("; of ten old results 10.0 are retained.")


@pytest.mark.slow
def test_the_exit_code_tells_whether_a_bridge_will_do(empty: Workdir) -> None:
    for noise, name in ((0.0, "good"), (1e3, "bad")):
        e, target = spaces(noise)
        np.savez(empty / "new.npz", x=e.x, split=["train", "test"] * (N // 2))
        np.savez(empty / f"{name}.npz", x=target.x)
    done = empty.here("relrep translate new.npz --into good.npz --report -m orthogonal")
    assert done.rows[-1]["note"] == BRIDGE and "bridge with orthogonal: recall@10 1.000" in done.stderr
    assert empty.here("relrep translate new.npz --into bad.npz --report -m orthogonal", 1).rows[-1]["note"] == REEMBED
    empty.here("relrep translate new.npz --into bad.npz --report -m orthogonal --least-recall 0")
    empty.error("relrep translate new.npz --into good.npz --report -o x.h5", 2, "writes neither -o nor --save-map")
    empty.error("relrep translate new.npz --into good.npz --least-recall 0.5", 2, "does nothing without --report")


def asking(noise: float = 0.0) -> tuple[Embedding, Embedding, Embedding]:
    """New and old documents, and a query near each of the last 40."""
    e, target = spaces(noise)
    near = e.x[-40:] + 0.3 * np.random.default_rng(5).normal(size=(40, e.d))
    return e, target, Embedding(near, np.array([b"q%d" % n for n in range(40)]), space="new", uri="queries")


def test_one_query_decides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """39 of 40 queries ask for documents that maps are fitted on. The bridge loses nothing, of a single query."""
    e, target, queries = asking()
    relevant = queries.ids, np.concatenate([e.ids[:39], e.ids[-1:]])
    with caplog.at_level("INFO", logger="relrep"):
        pairs = query_pairs(queries, relevant, e, target, e.ids[:60], 0)
    assert "39 of 40 queries are left out: 39 because a map is fitted on these documents. Leave these" in caplog.text
    assert len(pairs.x) == 1
    low, high = _ratio(np.ones(1), np.ones(1), 0)[1:]
    assert low < 0.3 and high == 1
    now = {"measure": "of re-embedding", "method": "ridge", "value": 1.0, "low": low, "high": high, "n": 1, "at": 9}
    assert verdict_of(now, 0.9, False) == UNSURE
    low, high = _ratio(np.ones(300), np.ones(300), 0)[1:]
    assert 0.98 < low < 1 == high


def test_queries_that_nobody_answers_decide_nothing() -> None:
    """Nothing over something is small, not 0 for sure; nothing over nothing has no value, and re-embedding is no way out."""
    value, low, high = _ratio(np.zeros(20), np.ones(20), 0)
    assert (value, low) == (0, 0) and 0.1 < high < 0.3
    assert _ratio(np.zeros(20), np.zeros(20), 0) == (None, None, None)
    now = {"measure": "of re-embedding", "method": "ridge", "value": None, "low": None, "high": None, "n": 20, "at": 9}
    assert verdict_of(now, 0.9, False) == UNSURE
    best = Fitting("ridge", METHODS["ridge"], None)
    assert "the new model itself finds none of 20 queries' documents" in sentence_of(UNSURE, best, now, 30, 60, 0.9)


@pytest.mark.slow
def test_queries_find_through_a_bridge_what_re_embedding_finds() -> None:
    e, target, queries = asking()
    relevant = np.repeat(queries.ids, 2), np.concatenate([e.ids[-40:], e.ids[:40]]).reshape(2, 40).T.ravel()
    how = Fitting("orthogonal", METHODS["orthogonal"], Recipe(e.ids[:60]))
    made = report(e, target, METHODS, how, 0.9, (queries, relevant))
    parts = {(r["method"], r["measure"]): r for r in made.records if r["part"] == "queries"}
    assert parts["orthogonal", "recall_1"]["value"] == parts["re-embed", "recall_1"]["value"] > 0.7
    assert parts["orthogonal", "of re-embedding"]["value"] == 1 and made.verdict == BRIDGE
    assert parts["re-embed", "recall_10"]["value"] > 0.9, "documents that maps are fitted on are not looked for"
    assert "recall@10 1.000 (0.912 to 1.000) of that of re-embedding in an index of 160" in made.sentence
    e, target, queries = asking(noise=1e3)
    lost = report(e, target, METHODS, how, 0.9, (queries, (queries.ids, e.ids[-40:])))
    assert lost.verdict == REEMBED and lost.records[-1]["value"] < 0.3
    assert lost.sentence.endswith("0.9 is wanted; whether more anchors would help queries is not known.")
    now = {"measure": "of re-embedding", "value": 0.9, "low": 0.8, "high": 0.95}
    assert [verdict_of(now, wanted, True) for wanted in (0.75, 0.92, 0.97)] == [BRIDGE, UNSURE, REEMBED]


def test_recalls_of_queries_are_of_all_their_relevant_documents() -> None:
    pairs = QueryPairs(np.eye(2, 3), np.eye(3), np.eye(3), np.array([0, 0, 1]), np.array([0, 2, 2]))
    actual = pairs.recalls(pairs.x, pairs.new)
    assert actual["recall_1"].tolist() == [1, 0] and actual["recall_10"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("q1\td 1\nq2\td2\n", [("q1", "d 1"), ("q2", "d2")]),
        ("query,document\nq1,d1\n\nq1,d2\nq1,d1\n", [("q1", "d1"), ("q1", "d2")]),
        ("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n", [("q1", "d1")]),
        ("q1 0 d1 1\nq1 0  d2 0\nq2 0 d2 2\n", [("q1", "d1"), ("q2", "d2")]),
    ],
)
def test_relevant_documents_are_read_from_the_usual_files(tmp_path: Path, content: str, wanted: list[tuple[str, str]]) -> None:
    (tmp_path / "r.tsv").write_text(content)
    actual = read_relevant(str(tmp_path / "r.tsv"))
    assert [(q.decode(), d.decode()) for q, d in zip(*actual, strict=True)] == wanted


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("q1\n", "pair 1 has 1 columns"),
        ("q1\td1\tbad\n", "the grade of pair 1 is 'bad', no number"),
        ("q1\td1\t0\n", "no relevant"),
        ("", "no relevant"),
    ],
)
def test_what_says_no_relevance_is_an_error(tmp_path: Path, content: str, finding: str) -> None:
    (tmp_path / "r.tsv").write_text(content)
    with pytest.raises(DataError, match=finding):
        read_relevant(str(tmp_path / "r.tsv"))


def test_queries_that_cannot_be_used_are_an_error() -> None:
    e, target, queries = asking()
    fitted, none = e.ids[:60], np.zeros(0, "S1")
    with pytest.raises(DataError, match="Leave these documents out of the anchors"):
        query_pairs(queries, (queries.ids, e.ids[:40]), e, target, fitted, 0)
    with pytest.raises(DataError, match="Embed the queries with the new model"):
        query_pairs(target, (queries.ids, e.ids[:40]), e, target, none, 0)


def test_queries_left_out_are_counted_by_reason_and_the_remedy_works(empty: Workdir) -> None:
    """Ten of 40 documents are in both files; maps are fitted on six of these. The old index holds more than both files do."""
    e, target, queries = asking()
    every = slice(None)
    files = {"new": (e, slice(130)), "all-new": (e, every), "old": (target, every), "q": (queries, every)}
    for name, (one, rows) in files.items():
        np.savez(empty / f"{name}.npz", x=one.x[rows], ids=one.ids[rows].astype(str))
    (empty / "relevant.csv").write_text("".join(f"q{n},{i.decode()}\n" for n, i in enumerate(e.ids[-40:])))
    for name, rows in (("anchors", np.r_[0:60, 120:126]), ("others", np.r_[0:60])):
        (empty / f"{name}.txt").write_text("\n".join(e.ids[rows].astype(str)))
    run = "--into old.npz -m orthogonal --report --queries q.npz --relevant relevant.csv"
    done = empty.here(f"relrep translate new.npz -a anchors.txt {run}", (0, 1))
    assert "36 of 40 queries are left out: 30 because both files must hold a document that is relevant to them" in done.stderr
    assert "6 because a map is fitted on these documents. Embed the documents of the queries with the new model" in done.stderr
    assert "too, and leave them out of the anchors (--anchors)." in done.stderr
    assert "looked up among 130 documents that both files hold, and old.npz holds 160." in done.stderr
    assert "run relrep evaluate old.npz --task search" in done.stderr
    done = empty.here(f"relrep translate all-new.npz -a others.txt {run}", (0, 1))
    assert "left out" not in done.stderr and "looked up among" not in done.stderr and done.rows[-1]["n"] == "40"


def test_a_saved_map_is_checked_in_the_whole_index(empty: Workdir) -> None:
    """What the docs advise for a script: translate new queries, then search the index with the exit code as the answer."""
    e, target, queries = asking()
    for name, one in (("new", e), ("old", target), ("q", queries)):
        np.savez(empty / f"{name}.npz", x=one.x, ids=one.ids.astype(str))
    (empty / "relevant.csv").write_text("".join(f"q{n},{i.decode()}\n" for n, i in enumerate(e.ids[-40:])))
    empty.here("relrep translate new.npz --into old.npz --save-map map.h5 -q")
    empty.here("relrep translate q.npz --map map.h5 -o q.old.npz")
    run = "relrep evaluate old.npz --task search --relevant relevant.csv --least-recall 0.8"
    assert empty.here(f"{run} --queries q.old.npz").rows[1]["name"] == "recall@10"
    empty.here(f"{run} --queries q.npz", 1)  # not translated


def test_query_options_go_together(empty: Workdir) -> None:
    e, target, queries = asking()
    for name, one in (("new", e), ("old", target), ("queries", queries)):
        np.savez(empty / f"{name}.npz", x=one.x, ids=one.ids.astype(str))
    (empty / "anchors.txt").write_text("\n".join(e.ids[:60].astype(str)))
    (empty / "relevant.tsv").write_text("\n".join(f"q{n}\t{i.decode()}" for n, i in enumerate(e.ids[-40:])))
    run = "relrep translate new.npz --into old.npz -a anchors.txt -m orthogonal"
    done = empty.here(f"{run} --report --queries queries.npz --relevant relevant.tsv")
    assert done.rows[-1]["measure"] == "of re-embedding"
    empty.error(f"{run} --report --queries queries.npz", 2, "--queries needs --relevant")
    empty.error(f"{run} --queries queries.npz --relevant relevant.tsv -o x.h5", 2, "does nothing without --report")

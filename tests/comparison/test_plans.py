"""Plans of comparisons, made and run from values alone, as a program does that has no command line."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.task_cache import Records
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.comparison.plans import Outputs, Plan, make_plan
from relrep_cli.comparison.runs import Results, run
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.workspace import Workspace

FILES = [["a"], ["b"], ["c"]]


def chosen(*names: str) -> dict[str, dict]:
    return METRICS.choose(list(names), {})


def views(*uris: str) -> dict[str, list[View] | DataError]:
    rng = np.random.default_rng(0)
    return {uri: [View("absolute", Embedding(rng.normal(size=(40, 3)), row_numbers(40), uri=uri))] for uri in uris}


def results(plan: Plan, seen: dict[str, list[View] | DataError]) -> Results:
    return run(plan, seen, Records(None), Workspace.of_run(Records(None)))


def test_every_pair_gets_a_record_for_each_task() -> None:
    plan = make_plan(FILES, METRICS.choose(["cka", "knn-jaccard"], {"k": "3,5"}))
    actual = results(plan, views("a", "b", "c"))
    assert plan.pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [(r["a"], r["b"], r["metric"], r["k"]) for r in actual.records] == [
        (a, b, metric, k) for a, b in plan.pairs for metric, k in (("cka", None), ("knn-jaccard", 3), ("knn-jaccard", 5))
    ]
    assert len(actual.rows) == 6


def test_a_matrix_of_an_asymmetric_metric_takes_both_orders() -> None:
    assert len(make_plan(FILES, chosen("cka"), Outputs(matrix=True)).pairs) == 3
    assert len(make_plan(FILES, chosen("pwcca"), Outputs(matrix=True)).pairs) == 6
    assert len(make_plan(FILES, chosen("pwcca")).pairs) == 3
    assert len(make_plan(FILES, chosen("pwcca"), Outputs(heatmap=True)).pairs) == 6


def test_an_unusable_file_leaves_the_other_pairs() -> None:
    seen = views("a", "b") | {"c": DataError("is damaged", file="c")}
    picked = results(make_plan(FILES, chosen("cka")), seen)
    assert ["error" in r for r in picked.records] == [False, True, True]
    with pytest.raises(DataError, match="c: is damaged"):
        results(make_plan([["a"], ["c"]], chosen("cka")), seen)


@pytest.mark.parametrize(
    ("outputs", "metrics", "words"),
    [
        (Outputs(matrix=True, worst=3), ["mrr"], "--matrix and --worst"),
        (Outputs(worst=1, permutations=3), ["mrr"], "--worst shows no p-values"),
        (Outputs(matrix=True), ["cka", "cca"], "--matrix: a matrix shows one metric, not cka, cca"),
        (Outputs(heatmap=True), ["cka", "cca"], "--plot: a heatmap shows one metric, not cka, cca"),
    ],
)
def test_outputs_that_contradict_each_other(outputs: Outputs, metrics: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make_plan(FILES, chosen(*metrics), outputs)


def test_there_must_be_something_to_compare() -> None:
    with pytest.raises(UsageError, match="two or more files"):
        make_plan([["a"]], chosen("cka"))
    with pytest.raises(UsageError, match="--reference a: is the only file"):
        make_plan([["a"], ["a"]], chosen("cka"), reference="a")


def test_a_single_task_without_a_value_is_an_error() -> None:
    plan = make_plan([["a"], ["b"]], METRICS.choose(["knn-jaccard"], {"k": "40"}))
    with pytest.raises(UsageError, match="a and b: knn-jaccard is n/a: k = 40 needs more than 40 items"):
        results(plan, views("a", "b"))


def test_no_interval_leaves_the_intervals_out_and_nothing_else(work: Workdir) -> None:
    with_them, without = (
        work.here(f"relrep compare a.npz b.h5 -m cka,knn-jaccard {option}").rows for option in ("", "--no-interval")
    )
    assert all(row["low"] == "n/a" == row["high"] for row in without)
    assert [row | {"low": "n/a", "high": "n/a"} for row in with_them] == without

"""Which of several files is better for a task: differences on the items that all of them judge."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import Workdir
from scipy import stats

from relrep_cli.base.errors import NotApplicable
from relrep_cli.comparison.dependent_rows import factor_of
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.anomalies import _delong, _without, placed
from relrep_cli.evaluations.file_differences import Judged, difference_factor, estimates, judged
from relrep_cli.evaluations.finding_records import records
from relrep_cli.evaluations.findings import Finding, Space, evaluate, mean_of, mean_of_pairs, prepare
from relrep_cli.numerics.intervals import bootstrap, interval_of_pairs, jackknife
from relrep_cli.numerics.paired_differences import paired_difference

IDS = np.array([f"i{i}".encode() for i in range(80)])


def save(work: Workdir, name: str, noise: float, items: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 160)
    x = 2 * rng.normal(size=(3, 5))[labels] + noise * np.random.default_rng([2, *name.encode()]).normal(size=(160, 5))
    split, ids = np.where(np.arange(160) % 2, "test", "train"), np.array([f"i{i}" for i in range(160)])
    np.savez(work / f"{name}.npz", x=x[items], ids=ids[items], label=labels[items].astype(str), split=split[items])


def test_values_of_items_are_paired_by_id() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=80), rng.normal(size=80)
    order, some = rng.permutation(80), np.arange(5, 80)
    actual = estimates(
        {"a": mean_of("m", a[order], "", ids=IDS[order], chance=0.1), "b": mean_of("m", b[some], "", ids=IDS[some], chance=0.1)}
    )
    one, other = actual["a"].estimate, actual["b"].estimate
    assert (one.n, one.value, other.value) == (75, pytest.approx(a[some].mean()), pytest.approx(b[some].mean()))
    assert np.isnan(actual["a"].chance) and actual["b"].chance == 0.1  # the chance of other items is another one
    wanted = stats.ttest_rel(b[some], a[some])
    assert paired_difference(one, other).p == pytest.approx(wanted.pvalue, rel=0.3)


def test_values_of_all_items_are_paired_only_where_these_are_the_same() -> None:
    without = 0.5 + 0.01 * np.random.default_rng(0).normal(size=20)
    whole = Finding("f1", 0.5, 80, "", ids=IDS, without=without)
    fewer = Finding("f1", 0.6, 79, "", ids=IDS[1:], without=without + 0.1)
    alike, other = estimates({"a": whole, "b": whole}), estimates({"a": whole, "b": fewer})
    assert paired_difference(*(v.estimate for v in alike.values())).p == 1
    assert "different items" in paired_difference(*(v.estimate for v in other.values())).method
    unknown = estimates({"a": Finding("diameter", 1.0, 80, ""), "b": Finding("diameter", 1.1, 80, "")})
    assert "neither row values" in paired_difference(*(v.estimate for v in unknown.values())).method


def test_means_over_pairs_are_left_out_item_by_item() -> None:
    rng = np.random.default_rng(1)
    rows, pairs = rng.random(80), np.repeat([4, 9], 40)
    a = mean_of_pairs("alignment", rows, pairs, "", pairs, (0, 4), IDS)
    zero = mean_of_pairs("alignment", np.zeros(80), pairs, "", pairs, (0, 4), IDS)
    difference = paired_difference(*(v.estimate for v in estimates({"a": zero, "b": a}).values()))
    assert (difference.low, difference.high) == pytest.approx(interval_of_pairs(rows, pairs), rel=1e-9)


def test_the_jackknife_of_an_auc_is_delongs() -> None:
    rng = np.random.default_rng(2)
    strange, normal = rng.normal(1, 1, 150), rng.normal(0, 1, 200)
    placements, back = placed(strange, normal), 1 - placed(normal, strange)
    auc = float(placements.mean())
    low, high = jackknife(auc, np.concatenate([_without(back, auc), _without(placements, auc)]))
    assert (low, high) == pytest.approx(_delong(auc, placements, back), abs=2e-3)


def judged_space(n: int, seed: int = 0) -> Space:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    x = 1.5 * np.random.default_rng(9).normal(size=(4, 6))[labels] + rng.normal(size=(n, 6))
    return prepare(Embedding(x, row_numbers(n), {"label": labels.astype("S")}), "label", "", 0, 0)


def findings_of(task: str, space: Space) -> dict[str, Finding]:
    return {f.name: f for f in evaluate(space, task, EVALUATIONS[task].resolve({}), 0)}


DEPENDENT = {"retrieval": ["recall@1", "recall@10", "map"], "separation": ["margin"], "cluster": ["label silhouette"]}


@pytest.mark.parametrize("task", DEPENDENT)
def test_a_subset_of_all_items_has_their_row_values(task: str) -> None:
    space = judged_space(90)
    actual = findings_of(task, space)
    for name in DEPENDENT[task]:
        f = actual[name]
        assert f.subset is not None and f.rows is not None and f.ids is not None
        assert f.subset(np.arange(90)) == pytest.approx(f.rows, abs=1e-9)
        assert np.isfinite(f.subset(np.arange(0, 90, 2))).all() and len(f.ids) == 90
    assert all(f.subset is None for name, f in actual.items() if name in ("alignment", "uniformity", "nmi", "ari"))


def test_an_item_alone_in_its_class_has_no_value_beside_some_others() -> None:
    space = judged_space(60)
    codes = space.codes
    some = np.concatenate([np.flatnonzero(codes == 0)[:1], np.flatnonzero(codes > 0)])
    some.sort()
    for task in ("retrieval", "separation"):
        f = findings_of(task, space)[DEPENDENT[task][0]]
        places = np.flatnonzero(np.isin(f.ids, space.e.ids[some]))
        values = f.subset(places)
        assert np.isnan(values).sum() == 1 and np.isnan(values[f.codes[places] == 0]).all()
    with pytest.raises(NotApplicable):
        findings_of("retrieval", space)["recall@10"].subset(np.arange(8))


def test_intervals_of_items_that_depend_on_each_other_are_stretched() -> None:
    """Over 300 draws, the bootstrap of the mean average precision is 0.63 as wide as its spread: task_coverage.py."""
    ratios = []
    for seed in range(5):
        f = findings_of("retrieval", judged_space(60, seed))["map"]
        (record,) = records("f", "retrieval", [f], np.empty(0), 0, False)
        low, high = bootstrap(f.rows, np.random.default_rng(0))
        ratios.append((record["high"] - record["low"]) / (high - low))
    assert 1.3 < np.mean(ratios) < 2.3


def test_files_that_judge_other_items_take_the_larger_factor() -> None:
    a, b, c = (judged({}, name, findings_of("retrieval", judged_space(n, seed))["map"], 0) for name, n, seed in JUDGED)
    assert difference_factor(a, c) == max(factor_of(a.halves), factor_of(c.halves)) > 1
    assert difference_factor(a, b) == factor_of([(v[0] - u[0], v[1] - u[1]) for u, v in zip(a.halves, b.halves, strict=True)])
    assert a.finding.subset is None  # nothing keeps the vectors of a file
    plain = Judged({}, "d", mean_of("m", np.ones(5), ""))
    assert difference_factor(plain, plain) is None


JUDGED = (("a", 50, 0), ("b", 50, 1), ("c", 40, 2))


def test_files_are_compared_on_the_items_that_all_judge(empty: Workdir) -> None:
    save(empty, "a", 0.8, np.arange(160))
    save(empty, "b", 0.8, np.arange(150))
    save(empty, "c", 4.0, np.arange(160))
    done = empty.here("relrep evaluate a.npz b.npz c.npz --task knn,retrieval --against a.npz --json -q")
    cells = {(r["b"], r["name"]): r for r in json.loads(done.stdout)}
    near, far = cells["b.npz", "accuracy"], cells["c.npz", "accuracy"]
    assert near["n"] == far["n"] == 75 and near["a"] == "a.npz" and near["task"] == "knn"
    assert far["difference"] == pytest.approx(far["value_b"] - far["value_a"]) and far["high"] < 0 and far["q"] < 0.01
    assert near["q"] > 0.05 and near["groups"] == "A, A" and far["groups"] == "A, B"
    assert "paired proportions" in near["convention"] and "different items" in cells["b.npz", "f1"]["convention"]
    assert cells["c.npz", "map"]["p"] < 0.01 and cells["c.npz", "f1"]["p"] is not None


def test_a_file_that_cannot_be_used_leaves_the_others(empty: Workdir) -> None:
    for name in "ab":
        save(empty, name, 1.0, np.arange(160))
    cells = json.loads(empty.here("relrep evaluate a.npz no.npz b.npz --task knn --against all --json -q", 3).stdout)
    assert [r["b"] for r in cells] == ["b.npz", "b.npz", "no.npz"] and "no such file" in cells[2]["error"]
    empty.error("relrep evaluate a.npz no.npz --task knn --against a.npz -q", 3, "no.npz: no such file")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("a.npz --against a.npz", "two or more files"),
        ("a.npz b.npz --against c.npz", "is none of the files"),
        ("a.npz b.npz b.npz --against a.npz", "b.npz: is named twice"),
        ("a.npz b.npz --against a.npz --per-class", "--per-class does not go with --against"),
        ("a.npz b.npz --against a.npz --matrix", "--matrix does not go with --against"),
    ],
)
def test_what_does_not_go_with_against_is_refused(empty: Workdir, options: str, words: str) -> None:
    empty.error(f"relrep evaluate {options} --task knn", 2, words)

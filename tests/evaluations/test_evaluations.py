"""Evaluations of one space: golden values, properties where they hold and where they do not, and the command."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import Workdir, only_line
from scipy.spatial.distance import pdist
from sklearn import metrics as sk
from sklearn.neighbors import KNeighborsClassifier

from relrep_cli import store
from relrep_cli.base.errors import DataError, NotApplicable
from relrep_cli.embedding import Embedding, text
from relrep_cli.evaluations import EVALUATIONS, Finding, Space, anomalies, probes, retrieval, separation
from relrep_cli.evaluations.asked_queries import AskedQueries
from relrep_cli.evaluations.finding_records import records
from relrep_cli.evaluations.findings import distances, evaluate, prepare, some
from relrep_cli.metrics import METRICS
from relrep_cli.neighbors import torch_tiles
from relrep_cli.numerics.intervals import interval_of_pairs, jackknife


def clouds(n: int = 300, d: int = 5, classes: int = 3, apart: float = 6.0, seed: int = 0) -> Embedding:
    """Labelled clouds around random centres, two thirds of the rows to train on."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, classes, n)
    x = (apart * rng.normal(size=(classes, d))[of] + rng.normal(size=(n, d))).astype(np.float32)
    split = np.where(np.arange(n) % 3 == 0, b"test", b"train")
    obs = {"label": text(f"c{c}" for c in of), "split": split, "size": x[:, 0] + rng.normal(size=n)}
    return Embedding(x, text([f"i{i:04d}" for i in range(n)]), obs=obs, uri="a")


def shuffled(e: Embedding) -> Embedding:
    """The same with labels that have nothing to do with the vectors."""
    return replace(e, obs={**e.obs, "label": np.random.default_rng(1).permutation(e.obs["label"])})


def space(e: Embedding, **more: Any) -> Space:
    return prepare(e, "label", "", 0.0, 0, **more)


def judged(e: Embedding, name: str, odd: Embedding | None) -> Space:
    """All that any task needs: anomalies, a clean file of the same space, and queries with their answers."""
    clean = clouds(200, apart=1.0, seed=5)
    return replace(prepare(e, column(name), "", 0, 0, odd), reference=clean, queries=queries())


def queries() -> AskedQueries:
    """A query beside each item, which is its answer."""
    e = clouds(apart=1.0)
    near = e.x + 0.1 * np.random.default_rng(8).normal(size=e.x.shape)
    return AskedQueries(Embedding(near, e.ids, uri="queries"), (e.ids, e.ids), "answers")


def column(name: str) -> str:
    """The column that a task reads."""
    return "size" if "numbers" in EVALUATIONS[name].needs else "label"


def findings(s: Space, name: str, **params: Any) -> dict[str, Finding]:
    return {f.name: f for f in evaluate(s, name, params, 0)}


def interval(f: Finding) -> tuple[float, float]:
    record = next(iter(records("a", "t", [f], np.empty(0), 0, False)))
    return record["low"], record["high"]


@pytest.mark.slow  # imports torch
@pytest.mark.parametrize("name", ["knn", "regression", "retrieval", "anomaly", "foreign", "compression", "search"])
def test_a_device_finds_what_the_cpu_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    calls: list[str] = []
    real = torch_tiles.search
    monkeypatch.setattr(torch_tiles, "search", lambda *given: calls.append(given[-1]) or real(*given))
    e = clouds(apart=1.0)
    here = judged(e, name, odd_ones(e, 20, 3.0))
    wanted = [(f.name, f.value) for f in evaluate(here, name, {}, 0)]
    assert not calls
    assert [(f.name, f.value) for f in evaluate(replace(here, device="torch:cpu"), name, {}, 0)] == wanted
    assert set(calls) == {"torch:cpu"}


@pytest.mark.slow  # imports torch
@pytest.mark.parametrize("probe", ["logistic", "linear", "svm"])
def test_a_device_trains_the_same_probes(probe: str) -> None:
    pytest.importorskip("torch")
    here = judged(clouds(apart=1.0), "linear-probe", odd_ones(clouds(apart=1.0), 20, 3.0))
    for device in ("torch:cpu", "auto"):
        wanted, got = (evaluate(s, "linear-probe", {"probe": probe}, 0) for s in (here, replace(here, device=device)))
        assert [(f.name, f.value) for f in got] == [(f.name, f.value) for f in wanted]


# --- probes ---


@pytest.mark.parametrize("name", ["linear-probe", "knn"])
def test_classes_that_lie_apart_are_told_and_shuffled_labels_are_not(name: str) -> None:
    apart, shuffled_labels = findings(space(clouds()), name), findings(space(shuffled(clouds(900))), name)
    assert apart["accuracy"].value > 0.99 and apart["f1"].value > 0.99
    low, high = interval(shuffled_labels["accuracy"])
    assert low - 0.03 < shuffled_labels["accuracy"].chance < high + 0.03 and shuffled_labels["accuracy"].value < 0.45
    assert apart["accuracy"].n == 100 and apart["accuracy"].chance < 0.5


@pytest.mark.parametrize("probe", ["logistic", "linear", "svm"])
def test_each_probe_learns(probe: str) -> None:
    assert findings(space(clouds()), "linear-probe", probe=probe)["accuracy"].value > 0.98


@pytest.mark.parametrize("by", ["cosine", "euclidean"])
def test_votes_are_those_of_scikit_learn_where_no_vote_is_a_tie(by: str) -> None:
    s = space(clouds(apart=1.5, classes=2))
    model = KNeighborsClassifier(7, metric=by, algorithm="brute").fit(s.e.x[s.train], s.codes[s.train])
    wanted = model.score(s.e.x[s.test], s.codes[s.test])
    ours = findings(s, "knn", k=7, neighbors=by)
    assert ours["accuracy"].value == wanted and 0.6 < wanted < 1
    assert ours["f1"].value == pytest.approx(
        sk.f1_score(s.codes[s.test], model.predict(s.e.x[s.test]), average="weighted"), abs=1e-12
    )


def test_a_probe_sees_no_label_of_the_rows_it_is_judged_by() -> None:
    e = clouds()
    labels = e.obs["label"].copy()
    labels[e.obs["split"] == b"test"] = np.roll(labels[e.obs["split"] == b"test"], 1)
    s, moved = space(e), space(replace(e, obs={**e.obs, "label": labels}))
    models = [probes.train("logistic", t.e.x[t.train], t.codes[t.train], 3, {}, 0) for t in (s, moved)]
    assert np.array_equal(*[m(e.x) for m in models])


def numbered(e: Embedding, values: np.ndarray) -> Space:
    return prepare(replace(e, obs={**e.obs, "size": values}), "size", "", 0.0, 0)


def test_a_number_is_explained_as_far_as_the_space_holds_it() -> None:
    """All of a coordinate, about half of one under as much noise, nothing of noise alone; unknown numbers take no part."""
    e, rng = clouds(900), np.random.default_rng(5)
    first, noise = np.asarray(e.x[:, 0], np.float64), rng.normal(size=900)
    whole = findings(numbered(e, first), "regression")
    assert whole["r2"].value > 0.999 and whole["r2_knn"].value > 0.8
    assert 0.4 < findings(numbered(e, first / first.std() + noise), "regression")["r2"].value < 0.6
    none = findings(numbered(e, noise), "regression")
    assert abs(none["r2"].value) < 0.05 and none["r2"].chance == pytest.approx(0, abs=0.01)
    gaps = np.where(np.arange(900) % 6 == 0, np.nan, first)
    assert findings(numbered(e, gaps), "regression")["r2"].n == 150 < whole["r2"].n
    with pytest.raises(NotApplicable, match="holds numbers, not classes; --task regression"):
        evaluate(numbered(e, first), "knn", {}, 0)
    with pytest.raises(NotApplicable, match="the same number everywhere"):
        evaluate(numbered(e, np.ones(900)), "regression", {}, 0)


def test_rows_without_a_class_neither_teach_nor_judge() -> None:
    e = clouds()
    labels = e.obs["label"].copy()
    labels[::2] = b""
    s = space(replace(e, obs={**e.obs, "label": labels}))
    assert s.classes.tolist() == [b"c0", b"c1", b"c2"]
    assert findings(s, "knn")["accuracy"].n == 50
    assert "100 training rows" in findings(s, "linear-probe")["accuracy"].convention


# --- anomalies ---


def odd_ones(e: Embedding, n: int, shift: float) -> Embedding:
    rng = np.random.default_rng(5)
    near = e.x[np.flatnonzero(e.obs["split"] == b"train")][rng.integers(0, 200, n)]
    return Embedding((near + rng.normal(size=near.shape) + shift).astype(np.float32), text(map(str, range(n))), uri="odd")


def test_anomalies_are_told_and_items_of_the_same_kind_are_not() -> None:
    e = clouds(600, seed=3)
    far = findings(space(e, anomalies=odd_ones(e, 80, 30.0)), "anomaly")
    assert far["auc"].value == 1 and far["fpr95"].value == 0
    rng = np.random.default_rng(0)
    rows = rng.permutation(600)
    same = Embedding(e.x[rows[:200]], e.ids[rows[:200]], uri="same")
    rest = replace(e, x=e.x[rows[200:]], ids=e.ids[rows[200:]], obs={k: v[rows[200:]] for k, v in e.obs.items()})
    near = findings(space(rest, anomalies=same), "anomaly")["auc"]
    low, high = near.interval
    assert low < 0.5 < high and 0.4 < near.value < 0.6


def test_scores_are_mean_distances_to_the_nearest_training_rows() -> None:
    x = np.array([[0.0], [1.0], [3.0], [10.0], [2.0]])
    e = Embedding(x, text("abcde"), obs={"split": np.array([b"train"] * 3 + [b"test"] * 2)}, uri="a")
    s = prepare(e, "label", "", 0, 0, anomalies=Embedding(np.array([[4.0]]), text("z"), uri="z"))
    normal, strange = anomalies._by_distance(s, s.anomalies.x, 2, "euclidean")
    assert normal.tolist() == [8.0, 1.0]  # (7 + 9) / 2 and (1 + 1) / 2
    assert strange.tolist() == [2.0]  # (1 + 3) / 2
    assert findings(s, "anomaly")["auc"].value == 0.5


def test_auc_and_curve_are_those_of_scikit_learn_with_ties_too() -> None:
    rng = np.random.default_rng(0)
    normal, strange = rng.integers(0, 20, 150) / 1.0, rng.integers(5, 25, 60) / 1.0
    truth, scores = np.repeat([0, 1], [150, 60]), np.concatenate([normal, strange])
    assert anomalies.placed(strange, normal).mean() == pytest.approx(sk.roc_auc_score(truth, scores), abs=1e-12)
    wanted = np.stack(sk.roc_curve(truth, scores, drop_intermediate=False), 1)
    points = anomalies.roc(normal, strange)
    rows = np.searchsorted(-wanted[:, 2], -points[:, 2])
    assert np.allclose(points[1:], wanted[rows][1:]) and points[0].tolist() == [0, 0, np.inf]
    assert sk.auc(points[:, 0], points[:, 1]) == pytest.approx(sk.auc(wanted[:, 0], wanted[:, 1]), abs=1e-12)
    assert len(points) < len(wanted), "points on a line are left out"


def test_the_interval_of_an_auc_covers() -> None:
    """Normal scores one apart: AUC = Phi(1 / sqrt 2); 300 draws, 95 +- 3 * 1.3 %."""
    rng, truth, hits = np.random.default_rng(2), 0.5 * (1 + math.erf(0.5)), 0
    for _ in range(300):
        normal, strange = rng.normal(size=60), rng.normal(size=40) + 1
        up, down = anomalies.placed(strange, normal), 1 - anomalies.placed(normal, strange)
        low, high = anomalies._delong(float(up.mean()), up, down)
        hits += low <= truth <= high
    assert 0.91 <= hits / 300 <= 0.99


def test_a_column_can_say_how_odd_an_item_is() -> None:
    e = clouds()
    e = replace(e, obs={**e.obs, "error": np.arange(300.0)})
    odd = Embedding(np.zeros((2, 1)), text("xy"), obs={"error": np.array([1e6, -1.0])}, uri="odd")
    assert findings(space(e, anomalies=odd, score="error"), "anomaly")["auc"].value == 0.5
    with pytest.raises(DataError, match="a: column label: holds text; a score must be a number"):
        findings(space(e, anomalies=odd, score="label"), "anomaly")
    with pytest.raises(DataError, match="a: has 5 dims, its anomalies 1"):
        findings(space(e, anomalies=odd), "anomaly")


# --- clusters ---


def test_clusters_are_the_classes_where_they_lie_apart() -> None:
    s = space(clouds(apart=20))
    far = findings(s, "cluster")
    assert far["nmi"].value == pytest.approx(1) and far["ari"].value == pytest.approx(1)
    assert far["silhouette"].value == pytest.approx(sk.silhouette_score(s.e.x[s.test].astype(float), s.codes[s.test]), abs=1e-9)
    assert far["label silhouette"].value == pytest.approx(far["silhouette"].value, abs=1e-9)
    near = findings(space(shuffled(clouds(900, apart=20))), "cluster")
    assert abs(near["ari"].value) < 0.02 and near["nmi"].value < 0.05
    assert near["silhouette"].value > 0.5 > 0.1 > near["label silhouette"].value


def test_clusters_need_no_labels_but_a_number() -> None:
    e = clouds()
    bare = space(replace(e, obs={"split": e.obs["split"]}))
    assert list(findings(bare, "cluster", clusters=3)) == ["silhouette"]
    with pytest.raises(NotApplicable, match="write --clusters K"):
        findings(bare, "cluster")
    alike = space(replace(e, x=np.ones_like(e.x)))
    assert "silhouette" not in findings(alike, "cluster"), "one cluster has none"


# --- retrieval ---


def test_average_precision_by_hand() -> None:
    """From 0 the others lie at 1 (b), 2 (a), 3 (b), 4 (a): (1/2 + 2/4) / 2."""
    x = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    got = retrieval._average_precision(x, np.array([0, 1, 0, 1, 0]), np.array([0]), "euclidean")
    assert got.tolist() == [0.5]


def test_average_precision_is_that_of_scikit_learn() -> None:
    s = space(clouds(apart=1.0))
    x, codes = s.e.x[s.test].astype(np.float64), s.codes[s.test]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    others = [np.delete(np.arange(100), i) for i in range(100)]
    wanted = [sk.average_precision_score(codes[o] == codes[i], (unit @ unit[i])[o]) for i, o in enumerate(others)]
    ours = findings(s, "retrieval")["map"]
    assert np.allclose(ours.rows, wanted) and ours.value == pytest.approx(np.mean(wanted))


def test_copies_are_equally_near() -> None:
    """Seven points, each many times: ties go to the earlier row, whatever the last bit of a product."""
    rng = np.random.default_rng(3)
    of, points = rng.integers(0, 7, 200), rng.normal(size=(7, 33)).astype(np.float32)
    codes = rng.integers(0, 2, 200)
    got = retrieval._average_precision(points[of], codes, np.arange(200), "cosine")
    unit = points / np.linalg.norm(points.astype(np.float64), axis=1, keepdims=True)
    far = -(unit @ unit.T)[of][:, of]
    for query in range(200):
        order = np.argsort(far[query], kind="stable")
        right = codes[order[order != query]] == codes[query]
        ranks = np.flatnonzero(right) + 1
        assert got[query] == pytest.approx((np.arange(1, len(ranks) + 1) / ranks).mean(), abs=1e-12)


def test_recall_and_its_chance() -> None:
    apart, mixed = findings(space(clouds()), "retrieval"), findings(space(shuffled(clouds(900))), "retrieval")
    assert apart["recall@1"].value == 1 and apart["map"].value > 0.95
    for name in ("recall@1", "recall@10", "map"):
        f = mixed[name]
        assert f.value == pytest.approx(f.chance, abs=0.06), name
    assert retrieval._lucky(np.array([2]), 3, 1) == pytest.approx(0.5)


def test_chance_of_retrieval_by_hand() -> None:
    """Two of a class and one other: each of the two finds the other among two, at the first place or the second."""
    f = findings(
        space(Embedding(np.array([[1.0, 0], [1, 1], [0, 1]]), text("abc"), obs={"label": text("xxy")}, uri="e")), "retrieval"
    )
    assert f["recall@1"].chance == pytest.approx(1 / 2) and f["map"].chance == pytest.approx((1 + 1 / 2) / 2)


def test_an_item_alone_in_its_class_does_not_ask() -> None:
    e = clouds(30)
    labels = text([f"own{i}" if i else "c0" for i in range(30)])
    with pytest.raises(NotApplicable, match="alone in its class"):
        findings(space(replace(e, obs={**e.obs, "label": labels})), "retrieval")
    labels[[3, 6]] = b"pair"
    f = findings(space(replace(e, obs={**e.obs, "label": labels})), "retrieval")["recall@1"]
    assert f.n == 2 and "8 alone in their class are left out as queries" in f.convention


# --- separation ---


def square() -> Embedding:
    """Two classes of two: (0,0), (0,2) and (4,0), (4,2)."""
    x = np.array([[0.0, 0], [0, 2], [4, 0], [4, 2]])
    return Embedding(x, text("abcd"), obs={"label": text("xxyy")}, uri="square")


def test_diameter_and_margin_by_hand() -> None:
    f = findings(space(square()), "separation")
    unit = math.sqrt((4 + 4 + 16 + 16 + 20 + 20) / 6)
    assert f["diameter"].value == pytest.approx(2 / unit)
    assert f["margin"].value == pytest.approx((4 - 2) / 2 / unit)


def test_alignment_and_uniformity_by_hand() -> None:
    x = np.array([[1.0, 0], [0, 3], [-2, 0]])
    f = findings(space(Embedding(x, text("abc"), obs={"label": text("xxy")}, uri="e")), "separation")
    assert f["alignment"].value == pytest.approx(2)
    assert f["uniformity"].value == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))


@pytest.mark.parametrize("name", ["magnitude", "concentricity"])
def test_numbers_of_each_space_differ_by_what_compare_prints(name: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)) + 0.5, rng.normal(size=(60, 5)) + 0.2
    ids = text(map(str, range(60)))
    a, b = (findings(space(Embedding(side, ids, uri="e")), "separation")[name] for side in (x, y))
    assert abs(a.value - b.value) == pytest.approx(METRICS[f"{name}-difference"].compute(x, y).value)
    if name == "magnitude":
        low, high = jackknife(a.value, a.without)
        assert low < a.value < high < low + 4 * 2.09 / np.sqrt(60)  # twice the width of one column's mean


def uneven(rng: np.random.Generator) -> Embedding:
    """Three classes of 4, 30 and 60 items, the small one tight."""
    names = np.repeat([b"a", b"b", b"c"], [4, 30, 60])
    x = rng.normal(size=(94, 3)) * np.repeat([0.2, 1.0, 1.0], [4, 30, 60])[:, None] + np.repeat(np.eye(3), [4, 30, 60], axis=0)
    return Embedding(x, text(f"{i:02d}" for i in range(94)), obs={"label": names}, uri="uneven")


def pair_mean(e: Embedding, kept: np.ndarray | bool = True) -> float:
    unit = e.x / np.linalg.norm(e.x, axis=1, keepdims=True)
    of_classes = [pdist(unit[(e.obs["label"] == name) & kept], "sqeuclidean") for name in np.unique(e.obs["label"])]
    return float(np.concatenate(of_classes).mean())


def test_alignment_is_the_mean_over_pairs_whatever_the_sizes_of_classes() -> None:
    e = uneven(np.random.default_rng(0))
    f = findings(space(e), "separation")["alignment"]
    assert f.value == pytest.approx(pair_mean(e), rel=1e-12)
    assert abs(f.value - f.rows.mean()) > 0.01
    (whole, *classes) = records("e", "separation", [f], np.unique(e.obs["label"]), 0, True)
    for name, record in zip(np.unique(e.obs["label"]), classes, strict=True):
        own = e.obs["label"] == name
        assert record["value"] == pytest.approx(
            pair_mean(replace(e, x=e.x[own], ids=e.ids[own], obs={"label": e.obs["label"][own]}))
        )
        assert record["low"] < record["value"] < record["high"]
    assert whole["low"] < whole["value"] < whole["high"]


def test_the_interval_of_alignment_is_that_of_items_left_out_and_covers() -> None:
    e = uneven(np.random.default_rng(1))
    f = findings(space(e), "separation")["alignment"]
    without = np.array([pair_mean(e, np.arange(94) != i) for i in range(94)])
    assert interval_of_pairs(f.rows, f.pairs) == pytest.approx(jackknife(f.value, without), rel=1e-9)
    two = np.array([1.0, 1.0])
    assert interval_of_pairs(two, two) is None  # without either item there is no pair
    codes = np.repeat([0, 1, 2], [4, 30, 60])
    draws = [separation._alignment(uneven(np.random.default_rng(seed)).x, codes, "", codes) for seed in range(300)]
    truth = np.mean([d.value for d in draws])
    ends = np.array([interval_of_pairs(d.rows, d.pairs) for d in draws])
    assert 0.91 < ((ends[:, 0] < truth) & (truth < ends[:, 1])).mean() < 0.985


@pytest.mark.slow
def test_the_dimension_is_that_of_what_the_items_fill() -> None:
    rng = np.random.default_rng(0)
    flat = rng.uniform(size=(2000, 3)) @ rng.normal(size=(3, 20))
    f = findings(space(Embedding(flat, text(map(str, range(2000))), uri="flat")), "separation")
    assert list(f) == ["uniformity", "dimension", "magnitude", "concentricity"]
    low, high = f["dimension"].interval
    assert low < f["dimension"].value < high and 2.6 < f["dimension"].value < 3.3


@pytest.mark.slow
def test_separation_does_not_feel_scale_or_rotation_and_feels_labels() -> None:
    e = clouds()
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(5, 5)))[0]
    moved = replace(e, x=(e.x.astype(np.float64) @ turn) * 100)
    before, after, mixed = (findings(space(s), "separation") for s in (e, moved, shuffled(e)))
    assert after["magnitude"].value == pytest.approx(100 * before["magnitude"].value, rel=1e-5)
    for name in before.keys() - {"magnitude"}:
        assert after[name].value == pytest.approx(before[name].value, rel=1e-5), name
    assert before["margin"].value > 0 > mixed["margin"].value
    assert before["alignment"].value < mixed["alignment"].value
    assert before["uniformity"].value == mixed["uniformity"].value


def test_degenerate_spaces_have_no_separation() -> None:
    e = clouds()
    f = findings(space(replace(e, x=np.ones_like(e.x))), "separation")
    assert list(f) == ["uniformity", "magnitude", "concentricity"]
    assert f["magnitude"].value == pytest.approx(5**0.5) and f["concentricity"].value == pytest.approx(1)
    assert f["uniformity"].value == pytest.approx(0, abs=1e-9)
    assert separation._span(np.zeros((0, 3))) == 0


# --- what all share ---


@pytest.mark.parametrize("name", EVALUATIONS)
def test_it_says_what_it_lacks(name: str) -> None:
    e = clouds()
    for need, bare in {
        "labels": replace(e, obs={k: v for k, v in e.obs.items() if k != "label"}),
        "numbers": replace(e, obs={k: v for k, v in e.obs.items() if k != "size"}),
        "unseen": replace(e, obs={k: v for k, v in e.obs.items() if k != "split"}),
        "train": replace(e, obs={**e.obs, "split": np.where(e.obs["split"] == b"train", b"valid", b"test")}),
        "anomalies": e,
        "reference": e,
        "queries": e,
    }.items():
        s = judged(bare, name, None if need == "anomalies" else odd_ones(e, 5, 0))
        s = replace(s, **{need: None}) if need in ("reference", "queries") else s
        if need in EVALUATIONS[name].needs:
            with pytest.raises(NotApplicable):
                evaluate(s, name, {}, 0)
        else:
            assert not s.lacks(EVALUATIONS[name].needs), need


@pytest.mark.parametrize("name", EVALUATIONS)
def test_values_lie_within_their_intervals_and_bounds(name: str) -> None:
    e = clouds(apart=1.0)
    s = judged(e, name, odd_ones(e, 50, 1.0))
    for record in records("a", name, evaluate(s, name, {}, 0), s.classes, 0, True):
        assert math.isfinite(record["value"]) and record["convention"]
        if record["low"] is not None:
            assert record["low"] <= record["value"] + 1e-12 and record["value"] <= record["high"] + 1e-12, record


@pytest.mark.parametrize("name", EVALUATIONS)
def test_the_same_in_any_order_of_rows_and_again(name: str) -> None:
    e = clouds(apart=1.0)
    order = np.random.default_rng(4).permutation(300)
    turned = replace(e, x=e.x[order], ids=e.ids[order], obs={k: v[order] for k, v in e.obs.items()})
    odd = odd_ones(e, 50, 1.0)
    here, again, there = (findings(judged(s, name, odd), name) for s in (e, e, turned))
    for key, f in here.items():
        assert again[key].value == f.value
        if name != "cluster":  # k-means starts at random rows
            close = 0.03 if name == "compression" else 1e-6  # of equally near codes, the earlier row counts
            assert there[key].value == pytest.approx(f.value, rel=1e-4, abs=close), key


def test_distances_of_zero_rows_are_at_a_right_angle() -> None:
    got = distances(np.array([[0.0, 0.0], [1.0, 0.0]]), np.eye(2), np.array([[0, 1], [0, 1]]), "cosine")
    assert got.tolist() == [[1, 1], [0, 1]]


def test_held_out_items_are_the_same_in_files_of_the_same_items() -> None:
    e = clouds()
    bare = replace(e, obs={"label": e.obs["label"]})
    back = replace(bare, x=e.x[::-1], ids=e.ids[::-1], obs={"label": e.obs["label"][::-1]})
    a, b = (prepare(s, "label", "", 0.2, 7) for s in (bare, back))
    assert len(a.test) == 60 and len(a.train) == 240 and a.unseen
    assert set(a.e.ids[a.test].tolist()) == set(b.e.ids[b.test].tolist())
    with pytest.raises(DataError, match="has splits of its own"):
        prepare(e, "label", "", 0.2, 7)


def test_large_parts_are_sampled_and_said() -> None:
    rows, sample = some(np.arange(100), 10, 3)
    assert len(rows) == 10 and sample == "10 of 100" and (np.diff(rows) > 0).all()
    assert some(np.arange(10), 10, 3)[1] == "10"


# --- the command ---


def test_the_command_prints_flat_records(work: Workdir) -> None:
    done = work.here("relrep evaluate a.h5 b.h5 --task knn,retrieval --k 5")
    header = ["file", "task", "name", "value", "low", "high", "n", "convention", "chance"]
    assert done.stdout.splitlines()[0].split("\t") == header
    rows = done.rows
    assert [(r["file"], r["task"], r["name"]) for r in rows[:4]] == [
        ("a.h5", "knn", "accuracy"),
        ("b.h5", "knn", "accuracy"),
        ("a.h5", "knn", "f1"),
        ("b.h5", "knn", "f1"),
    ]
    assert float(rows[0]["value"]) > 0.9 and rows[0]["n"] == "80" and "5 nearest of 160" in rows[0]["convention"]


@pytest.mark.slow
def test_all_leaves_out_what_cannot_be_done_and_a_name_does_not(work: Workdir) -> None:
    done = work.run("relrep evaluate a.h5")
    alone = {"foreign", "compression", "search"}  # which run where their own options are given
    assert {r["task"] for r in done.rows} == set(EVALUATIONS) - {"anomaly", "regression", *alone}, "labels are classes"
    only_line(done, "anomaly is left out", "--anomalies")
    work.error("relrep evaluate a.h5 --task anomaly", 3, "a.h5: anomaly: no anomalies", "--anomalies")


def test_values_of_each_class_and_of_several_columns(work: Workdir) -> None:
    e = store.read(str(work / "a.h5"))
    obs = {**e.obs, "kind": text(str(i % 2) for i in range(e.n))}
    more: Any = {"shape": e.x.shape, "dtype": "float32", "ids": e.ids, "var": e.var, "kind": e.kind, "space": "a", "steps": []}
    store.write(str(work / "two.h5"), [e.x], obs=obs, **more)
    rows = work.here("relrep evaluate a.h5 --task linear-probe --per-class").rows
    assert [r["class"] for r in rows] == ["n/a", *(f"class {c}" for c in range(5)), "n/a"]
    assert sum(int(r["n"]) for r in rows[1:6]) == int(rows[0]["n"])
    rows = work.here("relrep evaluate two.h5 --task knn --target label,kind").rows
    assert [(r["target"], r["name"]) for r in rows] == [(t, n) for t in ("label", "kind") for n in ("accuracy", "f1")]
    assert float(rows[0]["value"]) > 0.9 and float(rows[2]["value"]) < 0.8


@pytest.mark.slow
def test_anomalies_of_a_file_with_their_curve(work: Workdir) -> None:
    np.savez(work / "odd.npz", x=np.load(work / "a.npz")["x"] + 20, ids=[f"odd{i}" for i in range(240)])
    command = "relrep evaluate a.h5 --task anomaly --anomalies odd.npz --plot roc.svg --curve roc.tsv"
    done = work.run(command)
    assert done.rows[0]["name"] == "auc" and float(done.rows[0]["value"]) == 1
    assert "(spaces a and an unnamed one): different spaces" in done.stderr
    points = (work / "roc.tsv").read_text().splitlines()
    assert points[0].split("\t") == ["file", "false_positive_rate", "true_positive_rate", "threshold"]
    assert points[1].split("\t")[1:] == ["0.0", "0.0", "n/a"] and points[-1].split("\t")[1:3] == ["1.0", "1.0"]
    assert "normal items and 240 anomalies" in (work / "roc.svg").read_text()
    again = work.run(command)
    assert again.stdout == done.stdout and again.stderr.count("up to date") == 2
    several = "relrep evaluate a.h5 --task anomaly --anomalies odd.npz --anomalies a.h5 --split test --plot both.svg"
    both = work.here(several).rows
    drawn = (work / "both.svg").read_text()
    assert "anomalies: ROC curve" in drawn and "normal items" not in drawn, "conventions that differ are in the table"
    assert [(r["name"], r["anomalies"], float(r["value"])) for r in both if r["name"] == "auc"] == [
        ("auc", "odd.npz", 1.0),
        ("auc", "a.h5", 0.5),
    ]
    work.error("relrep evaluate a.h5 --anomalies odd.npz --plot a.h5", 2, "must end in .png")
    work.error("relrep evaluate a.h5 --task knn --plot roc.png", 2, "--plot roc.png", "only tasks anomaly and compression")
    both = "relrep evaluate a.h5 --task anomaly,compression --anomalies odd.npz --plot roc.png"
    work.error(both, 2, "--plot draws one task. Run tasks anomaly and compression apart.")


def test_files_without_splits_hold_some_out(work: Workdir) -> None:
    x = np.load(work / "a.npz")
    np.savez(work / "bare.npz", **{k: x[k] for k in x.files if k != "split"})
    work.error("relrep evaluate bare.npz --task knn", 3, "bare.npz: knn: no split", "--holdout 0.2")
    rows = work.here("relrep evaluate bare.npz --task knn --holdout 0.25").rows
    assert rows[0]["n"] == "60" and float(rows[0]["value"]) > 0.9
    work.error("relrep evaluate a.h5 --holdout 0.2", 3, "has splits of its own")


@pytest.mark.slow
def test_a_matrix_has_a_column_for_each_file(work: Workdir) -> None:
    whole = work.here("relrep evaluate a.h5 b.h5 --task knn,separation").rows
    table = work.here("relrep evaluate a.h5 b.h5 gone.h5 --task knn,separation --matrix", 3)
    assert list(table.rows[0]) == ["task", "name", "a", "b", "gone"]
    assert [r["a"] for r in table.rows] == [r["value"] for r in whole if r["file"] == "a.h5"]
    assert [r["b"] for r in table.rows] == [r["value"] for r in whole if r["file"] == "b.h5"]
    assert {r["gone"] for r in table.rows} == {"n/a"} and "gone.h5" in table.stderr


def test_one_bad_file_of_several_gets_a_record(work: Workdir) -> None:
    done = work.run("relrep evaluate a.h5 gone.h5 --task knn --json | tee out.json", 3)
    assert '"error": "gone.h5' in done.stdout and done.stdout.count('"accuracy"') == 1
    only_line(done, "1 of 2 files could not be used")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("evaluate gone.h5", 3, ["gone.h5"]),
        ("evaluate a.h5 --task knnn", 2, ["unknown task 'knnn'", "Did you mean knn?"]),
        ("evaluate a.h5 --task knn --probe svm", 2, ["--probe is not an option of task knn. It belongs to linear-probe"]),
        ("evaluate a.h5 --task knn --target colour", 3, ["no column 'colour'; columns found: label, split"]),
        ("evaluate a.h5 --task knn --split valid", 3, ["no rows of split 'valid'; found: test, train"]),
        ("evaluate a.h5 --task knn --split all", 3, ["knn"]),
        ("evaluate a.h5 --task knn -k 999", 2, ["-k"]),
        ("evaluate a.h5 --task knn --k 999", 3, ["knn: --k 999 takes 999 items, there are 160"]),
        ("evaluate a.h5 b.h5 b.h5 --anomalies b.h5 --anomalies a.h5", 2, ["2 files for 3"]),
        ("evaluate a.h5 --score-column x", 2, ["--score-column needs --anomalies FILE."]),
        ("evaluate a.h5 --task cluster --clusters 999", 3, ["160 training rows are too few for 999 clusters"]),
    ],
)
def test_errors_are_one_line(work: Workdir, command: str, code: int, words: list[str]) -> None:
    only_line(work.here(f"relrep {command}", code), *words)


def test_a_column_of_a_table_with_numbers_can_be_predicted(empty: Workdir) -> None:
    """Labels of tables are texts; those that are numbers are numbers for a regression, and classes by default."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    rows = [f"i{i},{','.join(f'{v:.4f}' for v in row)},{row[0]:.3f}" for i, row in enumerate(x)]
    (empty / "a.csv").write_text("\n".join(["id,e0,e1,e2,score", *rows]))
    how = "--label-column score --vector-columns 'e*' --holdout 0.3 -q"
    done = empty.here(f"relrep evaluate a.csv --task regression {how}")
    assert done.rows[0]["task"] == "regression" and float(done.rows[0]["value"]) > 0.5
    assert {r["task"] for r in empty.here(f"relrep evaluate a.csv {how}").rows} >= {"linear-probe", "knn"}

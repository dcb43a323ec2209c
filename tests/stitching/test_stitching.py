"""Stitching works across rotations in relative coordinates and by translators, fails in absolute ones, and leaks nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import Workdir, columns, vectors

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.embedding import Embedding, find_ids, row_numbers, text
from relrep_cli.heads.heads import HEADS, train
from relrep_cli.numerics.intervals import bootstrap, bootstrap_of_few
from relrep_cli.relative.projection import Recipe, basis, relative
from relrep_cli.relative.recipes import Postprocessing
from relrep_cli.relative.shared_views import Views
from relrep_cli.splits import anchors_in_test_rows, assign_splits, drawn, refuse_leaks
from relrep_cli.stitching import methods
from relrep_cli.stitching import saved_heads as savedheads
from relrep_cli.stitching.grid import Job, Route, Task, check, grid, prepare, target_of
from relrep_cli.stitching.methods import Method, MethodChoice
from relrep_cli.stitching.predictions import score_predictions
from relrep_cli.stitching.saved_heads import SavedHead
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES
from relrep_cli.store import read

CLASSES, DIMS = 4, 12
PARAMS = {name: entry.resolve({}) for registry in (TRANSLATORS, UNIVERSES) for name, entry in registry.items()}
CLASSIFIERS = [name for name in HEADS if "classes" in HEADS[name].predicts]
FEW: dict[str, dict[str, int]] = {name: {"head_epochs": 5} if name == "mlp" else {} for name in HEADS}  # passes
every_head = pytest.mark.parametrize("name", CLASSIFIERS)
BOTH = {"cosine": {}, "euclidean": {}}


def clouds(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = rng.integers(0, CLASSES, n)
    return 2.0 * np.random.default_rng(0).normal(size=(CLASSES, DIMS))[target] + 0.7 * rng.normal(size=(n, DIMS)), target


def encoded(turn_seed: int | None, d: int = DIMS, n: int = 1500) -> Embedding:
    """One cloud of items as an encoder of that seed sees it: turned and scaled; None leaves it as it is."""
    x, target = clouds(n)
    if turn_seed is not None:
        rng = np.random.default_rng(turn_seed)
        x = 1.7 * x @ np.linalg.qr(rng.normal(size=(DIMS, DIMS)))[0][:, :d]
    split = np.where(np.arange(n) % 3 == 0, b"test", b"train")
    obs = {"label": text(f"class {t}" for t in target), "split": split, "first": clouds(n)[0][:, 0]}
    return Embedding(x, row_numbers(n), obs, uri=f"{turn_seed}.h5", space=str(turn_seed))


def stitched(
    spaces: list[Embedding], name: str, seeds: Sequence[int] = (0,), column: str = "label", routes: Sequence[Route] = ()
) -> list[dict[str, Any]]:
    target = target_of(spaces, column)
    tasks = [prepare(e, target) for e in spaces]
    return grid(tasks, target, routes or [Route("absolute")], Job(name, HEADS[name].resolve(FEW[name]), seeds))


def translated(spaces: Sequence[Embedding], anchors: np.ndarray, name: str) -> list[Route]:
    actual = [Method(name, None, name, TRANSLATORS[name].resolve({}))]
    return methods.routes(actual, partial(vectors_of, spaces, anchors))


def vectors_of(spaces: Sequence[Embedding], anchors: np.ndarray, place: int) -> np.ndarray:
    return spaces[place].x[find_ids(spaces[place].ids, anchors)]


# The grid


@pytest.mark.slow
def test_relative_heads_stitch_across_a_rotation_and_absolute_ones_do_not() -> None:
    spaces = [encoded(None), encoded(1)]
    anchors = spaces[0].ids[1:60:3]
    related = [relative(e, basis(e, Recipe(anchors))) for e in spaces]
    for name in CLASSIFIERS:
        for record in stitched(related, name):
            assert record["end_to_end"] > 0.95
            assert record["stitching_index"] == pytest.approx(1, abs=0.01)
        for record in stitched(spaces, name):
            assert record["end_to_end"] > 0.95
            if record["encoder"] == record["head"]:
                assert record["stitching_index"] == 1
            else:
                assert record["accuracy"] < 0.6


@pytest.mark.parametrize("name", TRANSLATORS)
def test_translators_stitch_across_a_rotation(name: str) -> None:
    """Each but low-rank, which has rank enough here, gives what the encoder's own head gives, to the last item."""
    spaces = [encoded(None), encoded(1)]
    for record in stitched(spaces, "linear", routes=translated(spaces, spaces[0].ids[1:120:3], name)):
        assert record["stitching_index"] == pytest.approx(1, abs=0.004 if name == "inverse" else 1e-9)


def test_translators_go_between_unequal_dims_and_absolute_vectors_do_not() -> None:
    spaces = [encoded(None), encoded(1, d=8)]
    records = stitched(spaces, "linear", routes=translated(spaces, spaces[0].ids[1:120:3], "ridge"))
    assert all(r["accuracy"] > 0.8 for r in records)
    for record in stitched(spaces, "linear"):
        names = ("accuracy", "f1", "stitching_index", "deviation", "low", "high")
        missing = [name for name in names if record[name] is None]
        assert missing == ([] if record["encoder"] == record["head"] else list(names))
        assert record["end_to_end"] is not None


def test_none_is_end_to_end_alone() -> None:
    records = stitched([encoded(None), encoded(1)], "linear", routes=[Route("none", own=True), Route("absolute")])
    assert [(r["encoder"], r["head"]) for r in records if r["method"] == "none"] == [("None.h5", "None.h5"), ("1.h5", "1.h5")]
    assert len(records) == 6


@every_head
def test_a_cell_says_all_that_it_should(name: str) -> None:
    spaces = [encoded(None), encoded(1)]
    records = stitched(spaces, name, range(5, 8))
    assert [(r["encoder"], r["head"]) for r in records] == [(a, b) for a in ("None.h5", "1.h5") for b in ("None.h5", "1.h5")]
    for record in records:
        assert record["n"] == 500
        assert 0 <= record["low"] <= record["accuracy"] <= record["high"] <= 1
        assert record["low"] < record["high"] or record["accuracy"] == 1
        assert 0 <= record["f1"] <= 1
        assert record["stitching_index"] == record["accuracy"] / record["end_to_end"]
    assert any(r["deviation"] > 0 for r in records) != HEADS[name].deterministic


def test_numbers_are_judged_by_r2_and_mse() -> None:
    spaces = [encoded(None), encoded(1)]
    records = stitched(spaces, "linear", column="first", routes=translated(spaces, spaces[0].ids[1:120:3], "orthogonal"))
    for record in records:
        assert record["accuracy"] is None and record["f1"] is None
        assert record["r2"] > 0.99 and record["mse"] < 0.05
        assert record["low"] < record["r2"] < record["high"] <= 1
        assert record["stitching_index"] == pytest.approx(1, abs=1e-3)
    wrong = next(r for r in stitched(spaces, "linear", column="first") if r["encoder"] != r["head"])
    assert wrong["r2"] < 0.5 and wrong["stitching_index"] == wrong["r2"] / wrong["end_to_end"]
    cell = score_predictions(np.array([0.0, 2.0]), [np.array([0.0, 1.0])], 0, 0)
    assert (cell["r2"], cell["mse"]) == (0.5, 0.5)


def test_a_class_absent_in_one_space_is_still_a_class() -> None:
    a, b = encoded(None), encoded(1)
    kept = b.obs["label"] != b"class 3"
    b = Embedding(b.x[kept], b.ids[kept], {k: v[kept] for k, v in b.obs.items()}, uri="b.h5")
    assert target_of([b, a], "label").classes.tolist() == [f"class {i}".encode() for i in range(4)]
    fewer = int((b.obs["split"] == b"test").sum())
    assert [r["n"] for r in stitched([a, b], "linear")] == [500, 500, fewer, fewer]


def test_rows_without_a_known_class_are_left_out() -> None:
    e = encoded(None)
    labels = e.obs["label"].copy()
    labels[:300] = b""
    e = Embedding(e.x, e.ids, {**e.obs, "label": labels}, uri="a.h5")
    target = target_of([e], "label")
    assert b"" not in target.classes
    task = prepare(e, target)
    assert (len(task.x_train), len(task.x_test), len(task.train_ids)) == (800, 400, 800)
    assert isinstance(task, Task) and set(task.y_train) == set(range(4))


def test_what_cannot_be_stitched_is_refused() -> None:
    e = encoded(None, n=90)

    def having(**obs: Any) -> Embedding:
        return Embedding(e.x, e.ids, {k: v for k, v in {**e.obs, **obs}.items() if v is not None}, uri="a.h5")

    with pytest.raises(DataError, match=r"a\.h5: no column 'lable'; columns found: first, label, split|label, split, first"):
        target_of([having()], "lable")
    with pytest.raises(DataError, match=r"column label: holds text, not numbers. Leave --numbers out"):
        target_of([having()], "label", numbers=True)
    with pytest.raises(DataError, match=r"column first: all training rows have the same number"):
        target_of([having(first=np.ones(90))], "first")
    with pytest.raises(DataError, match=r"column label: 1 class in the training rows; a head needs two"):
        target_of([having(label=text(["x"] * 90))], "label")
    for split, missing in ((None, "train"), (text(["train"] * 90), "test"), (text(["test"] * 90), "train")):
        with pytest.raises(DataError, match=rf"a\.h5: no rows of split '{missing}'"):
            check(having(split=split), target_of([having()], "label"))


def test_integers_are_classes_unless_numbers_are_asked_for() -> None:
    e = encoded(None, n=90)
    e = Embedding(e.x, e.ids, {**e.obs, "year": np.arange(90)}, uri="a.h5")
    assert len(target_of([e], "year").classes) == 60
    assert not len(target_of([e], "year", numbers=True).classes)


def test_the_interval_of_few_values_is_the_bootstrap() -> None:
    """Counts are drawn instead of rows: the same distribution, so the same interval but for chance."""
    hits = (np.random.default_rng(0).random(2000) < 0.8).astype(float)
    rng = np.random.default_rng(0)
    actual = np.mean([bootstrap_of_few(hits, rng) for _ in range(20)], 0)
    wanted = np.mean([bootstrap(hits, rng) for _ in range(20)], 0)
    assert actual == pytest.approx(wanted, abs=0.001)
    some = np.random.default_rng(0).random(200)
    assert bootstrap_of_few(some, np.random.default_rng(1)) == bootstrap(some, np.random.default_rng(1))


# Splits and leaks


def test_an_item_that_trains_here_and_tests_there_is_a_leak() -> None:
    a, b = encoded(None, n=90), encoded(1, n=90)
    refuse_leaks([a, b])
    moved = Embedding(b.x, b.ids, {**b.obs, "split": np.roll(b.obs["split"], 1)}, uri="b.h5")
    with pytest.raises(
        DataError, match=r"30 items are training rows of None\.h5 and test rows of b\.h5, such as 1\. Use one split for all"
    ):
        refuse_leaks([a, moved])


@pytest.mark.parametrize("first", [0, 1], ids=["the first file trains", "the first file tests"])
def test_a_leak_is_found_whichever_file_comes_first(first: int) -> None:
    """One item trains in one file and tests in the other; nothing leaks the other way."""
    splits = [["train", "train", "test", "test"], ["test", "train", "test", "test"]]
    spaces = [Embedding(np.eye(4), text("abcd"), {"split": text(split)}, uri=f"{i}.h5") for i, split in enumerate(splits)]
    with pytest.raises(DataError, match=r"1 items are training rows of 0\.h5 and test rows of 1\.h5, such as a"):
        refuse_leaks([spaces[first], spaces[1 - first]])
    refuse_leaks([spaces[1], spaces[1]])


def test_a_drawn_split_goes_by_id_alone() -> None:
    ids = row_numbers(20_000)
    test = drawn(ids, 0.2, 0)
    assert 0.19 < test.mean() < 0.21
    order = np.random.default_rng(0).permutation(len(ids))[:5000]
    assert np.array_equal(drawn(ids[order].astype("S30"), 0.2, 0), test[order]), "whatever else is there, and however wide"
    other = drawn(ids, 0.2, 1)
    assert 0.03 < (test & other).mean() < 0.05, "another seed is another draw"
    assert (drawn(ids, 0.5, 0) | ~test).all(), "a larger share holds the smaller one"
    assert drawn(ids, 1.0, 0).all() and not drawn(ids, 0.0, 0).any()


def test_files_without_a_split_follow_the_others_and_anchors_train() -> None:
    a, b = encoded(None, n=900), encoded(1, n=900)
    bare = [Embedding(e.x, e.ids, {"label": e.obs["label"]}, uri=e.uri) for e in (a, b)]
    anchors = a.ids[:50]
    first, second = assign_splits(bare, anchors, 0.3, 0)
    assert np.array_equal(first.obs["split"], second.obs["split"])
    assert (first.obs["split"][:50] == b"train").all() and not len(anchors_in_test_rows([first], anchors))
    assert 0.2 < (first.obs["split"] == b"test").mean() < 0.35
    kept, follower = assign_splits([a, bare[1]], anchors, 0.3, 0)
    assert kept is a and np.array_equal(follower.obs["split"], a.obs["split"])
    assert anchors_in_test_rows([a], anchors).tolist() == [i for i in anchors.tolist() if int(i) % 3 == 0]


def test_anchors_that_test_in_any_of_the_files_are_told() -> None:
    spaces = [
        Embedding(np.eye(3), text("abc"), {"split": text(split)})
        for split in (["test", "train", "train"], ["train", "test", "train"], ["train", "train", "train"])
    ]
    assert anchors_in_test_rows(spaces, text("cba")).tolist() == [b"b", b"a"]


def test_test_rows_bear_on_nothing_that_is_fitted() -> None:
    """Other vectors in the test rows of one space leave every prediction for the other as it was: heads, scalers, anchors."""
    a, b = encoded(None), encoded(1)
    anchors = a.ids[1:120:3]
    moved = b.x.copy()
    moved[b.rows_of_split("test")] += 100.0
    spoilt = Embedding(moved, b.ids, b.obs, uri=b.uri, space=b.space)
    wanted = MethodChoice(["all"], ["concat", "sum"], PARAMS)
    fitted = [
        m for m in methods.methods(wanted, Recipe(anchors, BOTH)) if not (m.universe or (m.recipe and m.recipe.transductive))
    ]
    for m in fitted:
        actual = []
        for spaces in ([a, b], [a, spoilt]):
            seen = spaces if m.recipe is None else [relative(e, basis(e, m.recipe)) for e in spaces]
            routes = methods.routes([m], partial(vectors_of, spaces, anchors))
            actual.append([r for r in stitched(seen, "linear", routes=routes) if r["encoder"] == "None.h5"])
        assert actual[0] == actual[1], m.label


# Methods


def labels(names: Sequence[str] = (), aggregates: Sequence[str] = ("sum",), **recipe: Any) -> list[str]:
    wanted = MethodChoice(names or ["all"], aggregates, PARAMS)
    return [m.label for m in methods.methods(wanted, Recipe(text(["a", "b"]), **{"similarities": BOTH, **recipe}))]


def test_all_shows_every_method_in_every_variant() -> None:
    actual = labels(["all"])
    plain = [label for label in actual if "transductive" not in label]
    assert plain[:5] == ["none", "absolute", "cosine", "cosine+center", "cosine+standardize"]
    assert "euclidean+standardize" in actual and "euclidean+center" not in actual, "it is invariant to translation"
    assert "cosine,euclidean/sum+center+standardize" in actual
    assert plain[-len(PARAMS) :] == [*TRANSLATORS, *UNIVERSES]
    assert {"cosine+center", "cosine+center+transductive"} <= set(actual)
    assert "cosine+transductive" not in actual, "nothing is fitted, so nothing differs"
    assert labels(["relative"], transductive=True) == ["cosine+transductive", "euclidean+transductive"]


def test_what_is_named_is_what_is_shown() -> None:
    assert labels(["ridge", "absolute"]) == ["absolute", "ridge"]
    assert labels(["relative"]) == ["cosine", "euclidean"]
    assert labels(["product"], ["concat", "mean"]) == ["cosine,euclidean/concat", "cosine,euclidean/mean"]
    with pytest.raises(UsageError, match=r"--method product needs two or more similarity functions"):
        labels(["product"], similarities={"cosine": {}})
    with pytest.raises(UsageError, match=r"unknown method 'orthogonl'\. Did you mean orthogonal\?"):
        labels(["orthogonl"])


def test_views_are_the_relative_representations() -> None:
    """Whatever is shared between recipes: as if each had been projected alone."""
    e = encoded(None)
    views = Views(e, 1 << 30)
    anchors = e.ids[1:120:3]
    wanted = MethodChoice(["all"], ["concat", "sum"], PARAMS)
    more = [Method("", Recipe(anchors, {"chebyshev": {}}, after=Postprocessing(negate=True, step=0.5)))]
    contents = set()
    for m in [*methods.methods(wanted, Recipe(anchors, BOTH)), *more]:
        if m.recipe is not None:
            alone, view = relative(e, basis(e, m.recipe)), views.of(m.recipe)
            assert np.allclose(view.e.x, alone.x, atol=1e-12), m.label
            assert (view.e.space, view.e.kind, view.e.var.keys()) == (alone.space, alone.kind, alone.var.keys())
            contents.add(view.content)
    assert len(contents) == len([m for m in methods.methods(wanted, Recipe(anchors, BOTH)) if m.recipe]) + 1
    assert set(Views(e, 0).of(Recipe(anchors, BOTH, aggregate="sum")).e.x.shape) == {1500, 40}, "without room, too"


# Saved heads


@pytest.mark.parametrize("classes", [CLASSES, 0])
@every_head
def test_a_saved_head_is_the_head(name: str, classes: int) -> None:
    if not classes and "numbers" not in HEADS[name].predicts:
        pytest.skip("predicts classes")
    x, target = clouds(400)
    trained = train(name, x, target if classes else x[:, 0], classes, HEADS[name].resolve(FEW[name]))
    saved = SavedHead(trained, [str(c) for c in range(classes)], "label", "absolute", None, "", {}, "", DIMS, "a.h5", "s", 0.5)
    content = saved.to_bytes()
    again = savedheads.load(content)
    assert again.to_bytes() == content
    assert np.array_equal(again.trained(x), trained(x))
    assert (again.classes, again.target, again.end_to_end) == ([str(c) for c in range(classes)], "label", 0.5)
    for damaged in (content[:-8], content[:100], content.replace(b"relrep-head", b"relrep-tail"), b""):
        with pytest.raises(DataError, match="Give a head that relrep stitch --save-head saved"):
            savedheads.load(damaged)


@pytest.mark.parametrize(
    "change",
    [{"dims": 13}, {"classes": ("a",)}, {"translator": "affin"}, {"translator": "affine"}, {"dims": 0}],
    ids=str,
)
def test_a_saved_head_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    x, target = clouds(400)
    trained = train("linear", x, target, CLASSES, HEADS["linear"].resolve({}))
    stated: dict[str, Any] = {"classes": ("a", "b", "c", "d"), "translator": "", "dims": DIMS, **change}
    rest = {"target": "label", "method": "m", "recipe": None, "translation": {}, "anchors": "", "trained_on": "", "space": ""}
    saved = SavedHead(trained, **stated, **rest, end_to_end=None)
    with pytest.raises(DataError):
        savedheads.load(saved.to_bytes())


# The command


def more(work: Workdir) -> None:
    """bare.npz without a split; year.h5 and year2.h5, the same reflected, with numbers to predict."""
    x, seen = vectors()
    columns_seen = columns(seen)
    np.savez(work / "bare.npz", x=x, ids=columns_seen["ids"], label=columns_seen["label"])
    for name, rows in (("year", x), ("year2", -x[:, ::-1])):
        obs = {"split": text(columns_seen["split"]), "score": x[:, 0].astype(np.float64)}
        var = {"id": row_numbers(rows.shape[1])}
        about: dict[str, Any] = {"shape": rows.shape, "dtype": "float32", "kind": "absolute", "space": name, "steps": []}
        store.write(str(work / f"{name}.h5"), [rows], ids=text(columns_seen["ids"]), obs=obs, var=var, **about)


@pytest.mark.slow
def test_the_table_holds_the_usual_methods_and_all_on_request(work: Workdir) -> None:
    usual = ["none", "absolute", "cosine+center", "orthogonal", "ridge", "universe"]
    rows = work.here("relrep stitch a.h5 b.h5 -a anchors.h5 --head linear,knn").rows
    assert list(dict.fromkeys(r["method"] for r in rows)) == usual
    assert len(rows) == 2 * (4 * len(usual) - 2)
    assert {r["anchors"] for r in rows if r["method"] in ("none", "absolute")} == {"n/a"}
    assert {r["n"] for r in rows} == {"80"}, "one split for all"
    shown = {r["method"] for r in work.here("relrep stitch a.h5 b.h5 -a anchors.h5 --method all").rows}
    assert {"cosine+center", "cosine+center+transductive", *PARAMS} <= shown
    assert {f"cosine,euclidean,l1,chebyshev/{name}" for name in ("concat", "sum", "mean")} <= shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "cold"),
    [
        ("--head linear -m relative,product,orthogonal -s cosine,l1", True),
        ("--head mlp,svm,knn -m ridge", False),
    ],
)
def test_the_same_table_again_and_on_other_threads(work: Workdir, how: str, cold: bool) -> None:
    """Linear algebra has its threads in a cold start alone; the tests of heads try them within one process."""
    command = f"relrep stitch a.h5 b.h5 -a anchors.h5 --seed 3 {how}"
    runs = work.cold if cold else work
    once = runs.run(f"{command} -@ 1", timeout=240)
    assert work.here(f"{command} -@ 1").out == once.out, "to the last digit"
    for one, two in zip(once.rows, runs.run(f"{command} -@ 2", timeout=240).rows, strict=True):
        assert one.keys() == two.keys()
        for key in one:
            if one[key] != two[key]:
                assert float(one[key]) == pytest.approx(float(two[key]), abs=1e-6), (one, two)


def test_a_split_is_drawn_where_there_is_none(work: Workdir) -> None:
    more(work)
    done = work.here("relrep stitch bare.npz bare.npz -a anchors.h5 -m relative,orthogonal --test-size 0.3 --json")
    assert "bare.npz: has no split; " in done.stderr and "are drawn by id as test rows (--test-size 0.3, seed 0)" in done.stderr
    assert done.stdout.count('"split": "drawn: 0.3 by seed 0"') == done.stdout.count('"encoder"')
    work.error("relrep stitch a.h5 b.h5 -a anchors.h5 --test-size 0.3", 2, "all files have one. Leave it out")


def test_anchors_that_judge_are_refused_or_flagged(work: Workdir) -> None:
    (work / "ids.txt").write_text("".join(f"item-{i:03d}\n" for i in range(30)))
    work.error(
        "relrep stitch a.h5 b.h5 -a ids.txt", 3, "10 of 30 anchors are test rows, such as item-000", "--allow-test-anchors"
    )
    done = work.here("relrep stitch a.h5 b.h5 -a ids.txt --allow-test-anchors -m relative,absolute")
    assert "results look better than they are" in done.stderr
    assert {r["test_anchors"] for r in done.rows} == {"10"}


def test_numbers_through_the_command(work: Workdir) -> None:
    more(work)
    done = work.here("relrep stitch year.h5 year2.h5 -a anchors.h5 -t score -m none,absolute,orthogonal --head linear,knn,svm")
    assert {"r2", "mse"} <= set(done.rows[0])
    by = {(r["method"], r["decoder"], r["encoder"] == r["head"]): float(r["r2"]) for r in done.rows}
    assert by["orthogonal", "linear", False] > 0.95 > by["absolute", "linear", False]
    work.error(
        "relrep stitch year.h5 year2.h5 -a anchors.h5 -t score --head logistic", 2, "logistic does not predict numbers (score)"
    )


@pytest.mark.slow
def test_written_vectors_are_those_of_the_target_space(work: Workdir) -> None:
    info = {}
    for method, options in (("ridge", ""), ("relative", "-s cosine --center"), ("product", "-s cosine,l1 --aggregate sum")):
        done = work.here(f"relrep stitch a.h5 b.h5 -a anchors.h5 -m {method} {options} -o {method}.h5")
        assert f"{method}.h5: 240 items of b.h5" in done.stderr
        info[method] = {r["name"]: r["value"] for r in work.here(f"relrep info {method}.h5 --verify").rows}
        assert "up to date" in work.here(f"relrep stitch a.h5 b.h5 -a anchors.h5 -m {method} {options} -o {method}.h5").stderr
    a = {r["name"]: r["value"] for r in work.here("relrep info a.h5").rows}
    assert info["ridge"]["space"] == a["space"] and info["ridge"]["kind"] == "absolute"
    work.here("relrep project b.h5 -a anchors.h5 -s cosine --center -o b.c.h5")
    same = work.here("relrep compare b.c.h5 relative.h5 -m mse").rows
    assert float(same[0]["value"]) == 0
    near, far = (float(work.here(f"relrep compare a.h5 {f} -m cosine").rows[0]["value"]) for f in ("ridge.h5", "b.h5"))
    assert near > 0.7 > far
    work.error("relrep stitch a.h5 b.h5 -a anchors.h5 -m ridge -o x.h5 --head linear,knn", 2, "one method and one head")
    work.error("relrep stitch a.h5 b.h5 -m absolute -o x.h5", 2, "nothing to write")
    work.error("relrep stitch a.h5 b.h5 c.h5 -a anchors.h5 -m ridge -o x.h5", 2, "the second of two files")


def test_vectors_are_written_without_anything_to_predict(work: Workdir) -> None:
    x, seen = vectors()
    for name, rows in (("u", x), ("v", -x)):
        np.savez(work / f"{name}.npz", x=rows, ids=columns(seen)["ids"])
    done = work.here("relrep stitch u.npz v.npz -a anchors.h5 -m orthogonal -o w.h5")
    assert "w.h5: 240 items of v.npz by orthogonal" in done.stderr and not done.rows
    assert float(work.here("relrep compare u.npz w.h5 -m cosine -q").rows[0]["value"]) > 0.999
    work.error("relrep stitch u.npz v.npz -a anchors.h5 -m orthogonal", 3, "no column 'label'")


SAVED = [
    ("relative", "-s cosine --center --standardize-columns", "linear"),
    ("product", "-s cosine,l1 --aggregate self-attention --head-epochs 5", "mlp"),
    ("product", "-s cosine,l1 --aggregate sum", "knn"),
    ("ridge", "", "svm"),
    ("inverse", "", "logistic"),
]


@pytest.mark.parametrize(("method", "options", "head"), SAVED)
def test_a_saved_head_runs_on_a_new_encoder_as_it_did(work: Workdir, method: str, options: str, head: str) -> None:
    train = f"relrep stitch a.h5 b.h5 -a anchors.h5 -m {method} {options} --head {head}"
    rows = work.here(f"{train} --save-head h.safetensors --predictions all.tsv").rows
    done = work.here("relrep stitch b.h5 --head h.safetensors -a anchors.h5 --predictions new.tsv")
    before = next(r for r in rows if (r["encoder"], r["head"]) == ("b.h5", "a.h5"))
    after = done.rows[0]
    assert (after["accuracy"], after["f1"], after["n"]) == (before["accuracy"], before["f1"], before["n"])
    assert (after["head"], after["method"], after["decoder"]) == ("a.h5", before["method"], head)
    own = next(r for r in rows if (r["encoder"], r["head"]) == ("a.h5", "a.h5"))
    assert after["end_to_end"] == own["accuracy"]
    known = [line.split("\t") for line in (work / "all.tsv").read_text().splitlines()]
    assert known[0][:5] == ["id", "prediction", "truth", "encoder", "head"] and len(known) == 4 * 80 + 1
    cells = [line.split("\t")[:3] for line in (work / "new.tsv").read_text().splitlines()[1:]]
    assert cells == [line[:3] for line in known if line[3:5] == ["b.h5", "a.h5"]]
    right = np.mean([line[1] == line[2] for line in cells])
    assert right == pytest.approx(float(after["accuracy"]))


def test_a_saved_head_refuses_other_anchors(work: Workdir) -> None:
    work.here("relrep stitch a.h5 b.h5 -a anchors.h5 -m ridge --save-head h.safetensors -q")
    work.here("relrep anchor a.h5 -n 30 --seed 9 -o other.h5")
    run = "relrep stitch b.h5 --head h.safetensors"
    work.error(f"{run} -a other.h5", 3, "h.safetensors: the head was trained with other anchors", "--anchors")
    work.error(run, 2, "--anchors FILE is missing")
    work.error(f"{run} -a anchors.h5 --center", 2, "--center does not go with a saved head")
    work.error(f"{run} -a anchors.h5 -m ridge", 2, "--method does not go with a saved head")
    work.error("relrep stitch b.h5 --head anchors.h5.safetensors", 3, "no such file")
    assert work.here(f"{run} -a anchors.h5").rows


def test_a_saved_head_runs_on_its_own_space_without_a_map(work: Workdir) -> None:
    """A translator that is not the identity between equal spaces is left out; vectors of another space are said to be so."""
    own = work.here("relrep stitch a.h5 b.h5 -a anchors.h5 -m low-rank --rank 1 --save-head h.safetensors").rows[0]
    done = work.here("relrep stitch a.h5 --head h.safetensors -a anchors.h5 --predictions p.tsv")
    assert done.rows[0]["accuracy"] == own["accuracy"] and float(done.rows[0]["stitching_index"]) == 1
    work.here("relrep stitch a.h5 b.h5 -m none --save-head n.safetensors")
    convention = "the head of a; none runs it on the vectors as they are"
    assert convention in work.here("relrep stitch b.h5 --head n.safetensors").stderr
    assert convention not in work.here("relrep stitch a.h5 --head n.safetensors").stderr


def test_a_saved_head_is_not_judged_by_what_it_was_trained_on(work: Workdir) -> None:
    """The split that stitch drew is drawn again; where that is not known, the head's own file is refused."""
    more(work)
    for method, anchors in (("ridge", "-a anchors.h5"), ("none", "")):
        train = f"relrep stitch bare.npz bare.npz {anchors} -m {method} --head knn --test-size 0.4 --seed 5"
        own = work.here(f"{train} --save-head h.safetensors --force").rows[0]
        done = work.here(f"relrep stitch bare.npz --head h.safetensors {anchors}")
        assert (done.rows[0]["n"], done.rows[0]["accuracy"]) == (own["n"], own["accuracy"])
        assert "are drawn as test rows, as in training (size 0.4, seed 5)" in done.stderr
    work.here("relrep stitch bare.npz b.h5 -a anchors.h5 -m ridge --save-head h.safetensors --force")
    work.error("relrep stitch bare.npz --head h.safetensors -a anchors.h5", 3, "trained on rows of it without recording which")
    saved = savedheads.load(str(work / "h.safetensors"))
    assert savedheads.load(saved.to_bytes().replace(b'"drawn"', b'"drown"')).drawn == {}, "older files do not tell"


def test_a_saved_head_predicts_where_nothing_is_known(work: Workdir) -> None:
    x, seen = vectors()
    np.savez(work / "u.npz", x=x, ids=columns(seen)["ids"])
    work.here("relrep stitch a.h5 b.h5 -a anchors.h5 -m orthogonal --save-head h.safetensors -q")
    done = work.here("relrep stitch u.npz --head h.safetensors -a anchors.h5 --predictions p.tsv")
    assert "u.npz: no row has a known label, so the head is not judged." in done.stderr
    lines = (work / "p.tsv").read_text().splitlines()
    assert len(lines) == 241 and lines[1].split("\t")[2] == "n/a"


def test_what_cannot_be_done_is_said_in_one_line(work: Workdir) -> None:
    (work / "bad.txt").write_text("nobody\n")
    stitch = "relrep stitch a.h5 b.h5 -a anchors.h5"
    for target in ("label", "retrieval"):
        work.error(f"relrep stitch a.h5 b.h5 c.h5 -a bad.txt -t {target}", 3, "a.h5: ", "nobody")
    for more_of, option in (("ridge --save-head h.safetensors", "--save-head"), ("ridge --predictions p.tsv", "--predictions")):
        work.error(f"{stitch} -t nothing -o x.h5 -m {more_of}", 3, f"column 'nothing', and {option} needs one")
    joined = "-m product -s cosine,l1 --aggregate self-attention"
    work.error(f"{stitch} -t nothing -o x.h5 {joined}", 3, "--aggregate self-attention needs one to learn")
    work.here(f"{stitch} {joined} --save-aggregator g.safetensors -q")
    work.error(f"{stitch} --aggregator g.safetensors -m relative", 2, "--aggregator works only with --method product")
    x, seen = vectors()
    np.savez(work / "numbers.npz", x=x, ids=columns(seen)["ids"], label=x[:, 0], split=columns(seen)["split"])
    work.here("relrep stitch numbers.npz numbers.npz -m none --save-head n.safetensors -q")
    work.error(
        "relrep stitch b.h5 --head n.safetensors -q", 3, "b.h5: column label: holds text, but a regression needs numbers"
    )
    pytest.importorskip("matplotlib")
    work.error(f"{stitch} -t nothing -o x.h5 -m ridge --plot x.png", 3, "--plot needs one to learn")
    work.error(f"{stitch} -m none --plot x.png", 2, "nothing to draw")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("-t retrieval -m ridge --numbers", "--numbers needs a column to learn"),
        ("-t retrieval -m ridge --seeds 1", "--seeds needs heads"),
        ("-t retrieval -m ridge --hidden 2", "--hidden does not go with --target retrieval"),
        ("-t retrieval -m ridge --adapt-fraction 0.05", "--adapt-fraction needs --adapt"),
        ("--adapt-fraction 0.1", "--adapt-fraction needs --adapt"),
        ("--sparse 100", "--sparse needs --target asif"),
        ("--power 8", "--power needs --target asif"),
        ("-m ridge --similarity lp", "--similarity needs --method relative or product"),
        ("-m relative --aggregate sum", "--aggregate needs --method product"),
        *(
            (f"--head h.safetensors {option} {value}", f"{option} does not go with a saved head")
            for option, value in (
                ("--target", "label"),
                ("--numbers", ""),
                ("--seeds", "1"),
                ("--cache", "kept"),
                ("--test-size", "0.2"),
                ("--adapt", "all"),
                ("--save-aggregator", "g.safetensors"),
                ("--source", "src"),
                ("--hidden", "3"),
            )
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(work: Workdir, options: str, message: str) -> None:
    done = work.here(f"relrep stitch a.h5 b.h5 -a anchors.h5 {options}", 2)
    assert message in done.stderr and done.stderr.count("\n") == 1


def test_items_of_a_class_that_nobody_learnt_are_counted(work: Workdir) -> None:
    x, seen = vectors()
    columns_seen = columns(seen)
    for name, split in (("seen", columns_seen["split"]), ("new", np.where(seen == 0, "test", columns_seen["split"]))):
        np.savez(work / f"{name}.npz", x=x, ids=columns_seen["ids"], label=columns_seen["label"], split=split)
    count, test = int((seen == 0).sum()), int(((seen == 0) | (columns_seen["split"] == "test")).sum())
    message = f"new.npz: {count} of {test} test items have a label that no training item has; they do not count."
    done = work.here("relrep stitch new.npz new.npz -m none --save-head h.safetensors")
    assert message in done.stderr and done.rows[0]["n"] == str(test - count)
    assert message in work.here("relrep stitch new.npz --head h.safetensors").stderr
    assert "do not count" not in work.here("relrep stitch seen.npz seen.npz -m none").stderr


def test_pairs_join_files_whose_ids_are_unrelated(work: Workdir) -> None:
    """b numbers its rows in another order: a number that trains in a and tests in b is no leak, a pair with a test row is."""
    x, seen = vectors()
    columns_seen, order = columns(seen), np.random.default_rng(0).permutation(len(x))
    for name, rows in (("pa", np.arange(len(x))), ("pb", order)):
        ids = np.arange(len(x)).astype(str)
        np.savez(work / f"{name}.npz", x=x[rows], ids=ids, label=columns_seen["label"][rows], split=columns_seen["split"][rows])
        work.here(f"relrep embed {name}.npz --space {name} -o {name}.h5 -q")
    place = np.argsort(order)
    train = np.flatnonzero(columns_seen["split"] == "train")[:40]
    lines = ["a\tb\tspace_a\tspace_b", *(f"{i}\t{place[i]}\tpa\tpb" for i in train)]
    (work / "pairs.tsv").write_text("\n".join(lines) + "\n")
    rows = work.here("relrep stitch pa.h5 pb.h5 -a pairs.tsv -m orthogonal").rows
    assert min(float(r["stitching_index"]) for r in rows) > 0.98 and "test_anchors" not in rows[0]
    (work / "pairs.tsv").write_text("\n".join([*lines, f"0\t{place[0]}\tpa\tpb"]) + "\n")
    work.error("relrep stitch pa.h5 pb.h5 -a pairs.tsv -m orthogonal", 3, "2 of 82 anchors are test rows, such as 0")


@pytest.mark.slow
def test_a_picture_of_the_grid(work: Workdir) -> None:
    pytest.importorskip("matplotlib")
    command = "relrep stitch a.h5 b.h5 -a anchors.h5 -m relative,ridge,absolute --plot grid.png -q"
    work.here(command)
    assert (work / "grid.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "up to date" in work.here(command.replace(" -q", "")).stderr
    work.error("relrep stitch a.h5 b.h5 -a anchors.h5 --plot grid.bmp", 2, "the name must end in .png")


def test_cells_are_kept_by_method(work: Workdir) -> None:
    """A second run takes every cell from the folder, also with other methods beside; other anchors are other cells."""
    run = "relrep stitch a.h5 b.h5 --cache kept -m ridge,relative,absolute -s cosine"
    first = work.here(f"{run} -a anchors.h5")
    count = len(list((work / "kept").iterdir()))
    assert count == 12 - 2  # end-to-end cells of ridge and absolute are the same
    assert work.here(f"{run} -a anchors.h5").rows == first.rows
    assert len(list((work / "kept").iterdir())) == count
    work.here("relrep anchor a.h5 -n 30 --seed 9 -o other.h5")
    work.here(f"{run} -a other.h5")
    assert len(list((work / "kept").iterdir())) == 2 * count


def test_vectors_without_labels_are_guarded_too(work: Workdir) -> None:
    """Anchors among the test rows, or rows paired by their number, are refused though nothing is predicted."""
    for name in "ab":
        e = read(str(work / f"{name}.h5"))
        np.savez(work / f"{name}n.npz", x=e.x, id=e.ids, split=e.obs["split"])
        work.here(f"relrep embed {name}n.npz --space {name} -o {name}n.h5 -q")
        np.save(work / f"{name}r.npy", e.x[: 200 if name == "a" else 180])
    test = e.ids[e.obs["split"] == b"test"]
    (work / "test.txt").write_bytes(b"\n".join(test[:20]) + b"\n")
    work.error("relrep stitch an.h5 bn.h5 -a test.txt -m ridge -o out.h5", 3, "anchors")
    (work / "rows.txt").write_text("".join(f"{i}\n" for i in range(30)))
    stderr = work.here("relrep stitch ar.npy br.npy -a rows.txt -m ridge -o out.h5", 3).stderr
    assert "neither has ids, and 200 rows cannot pair with 180" in stderr


def test_other_spare_vectors_are_another_output(work: Workdir) -> None:
    e = read(str(work / "a.h5"))
    other = np.array([b"spare-%02d" % i for i in range(20)])
    for seed in (1, 2):
        for name in "ab":
            x = np.random.default_rng(seed).normal(size=(20, e.d))
            np.savez(work / f"{name}v.npz", x=x, id=other)
            work.here(f"relrep embed {name}v.npz --space {name} -o {name}v.h5 -q --force")
        (work / "spare.txt").write_bytes(b"\n".join(other) + b"\n")
        command = "relrep stitch a.h5 b.h5 -a spare.txt --anchor-vectors av.h5 --anchor-vectors bv.h5 -m ridge -o out.h5 -q"
        work.here(command, 0 if seed == 1 else 2)

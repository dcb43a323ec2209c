"""The library: the numbers of the commands, for arrays, frames and files; scikit-learn's own checks; the page that shows it."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import CHECKOUT, Workdir
from sklearn.utils.estimator_checks import check_estimator

import relrep_cli as relrep

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6))
Y = X @ np.linalg.qr(RNG.normal(size=(6, 6)))[0] + 0.1 * RNG.normal(size=(60, 6))


@pytest.mark.parametrize(("page", "least"), [("docs/api.md", 25), ("docs/coming-from.md", 9), ("README.md", 3)])
def test_the_examples_of_a_page_are_true(page: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample_data").symlink_to(CHECKOUT / "sample_data")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(CHECKOUT / page), module_relative=False)
    assert tried >= least and not failed


def test_importing_is_quick_and_everything_is_there() -> None:
    program = "import sys, relrep_cli; print([m for m in ('numpy', 'torch', 'sklearn', 'typer') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert all(getattr(relrep, name) for name in relrep.__all__) and set(relrep.__all__) <= set(dir(relrep))
    with pytest.raises(AttributeError, match="no attribute 'compere'"):
        _ = relrep.compere


def test_compare_gives_what_the_command_gives(work: Workdir) -> None:
    rows = json.loads(work.here("relrep compare a.h5 b.h5 -m cka,knn-jaccard,cosine --k 5 -a anchors.h5 --json -q").stdout)
    results = relrep.compare(work / "a.h5", work / "b.h5", metric="cka,knn-jaccard,cosine", k=5, anchors=work / "anchors.h5")
    assert len(rows) == len(results) == 9
    for row, result in zip(rows, results, strict=True):
        for key in ("metric", "projection", "n", "value", "low", "high", "chance"):
            assert row[key] == (result[key] if isinstance(result[key], str | None) else pytest.approx(result[key])), key


def test_project_and_anchor_give_what_the_commands_give(work: Workdir) -> None:
    ids = work.here("relrep anchor a.h5 -n 30 --strategy per-class --ids-only -q").stdout.split()
    results = relrep.anchor(work / "a.h5", 30, strategy="per-class")
    assert [i.decode() for i in results.tolist()] == ids
    work.here("relrep project a.h5 -a anchors.h5 -s cosine,l1 --center -o new.h5 -q")
    wanted = relrep.read(work / "new.h5")
    made = relrep.project(work / "a.h5", work / "anchors.h5", similarity=["cosine", "l1"], center=True)
    assert np.array_equal(made.x, wanted.x) and np.array_equal(made.ids, wanted.ids)


def test_stitch_gives_what_the_command_gives(work: Workdir) -> None:
    how = "-m relative,ridge,absolute -s cosine --head linear --scaling axes"
    rows = work.here(f"relrep stitch a.h5 b.h5 -a anchors.h5 {how} --format tsv -q").rows
    results = relrep.stitch(
        work / "a.h5", work / "b.h5", anchors=work / "anchors.h5", method="relative,ridge,absolute", similarity="cosine",
        scaling="axes",
    )  # fmt: skip
    assert [(r["encoder"][-4:], r["method"]) for r in rows] == [(r.encoder[-4:], r.method) for r in results]
    for row, result in zip(rows, results, strict=True):
        assert float(row["accuracy"]) == pytest.approx(result.accuracy)


def test_write_and_read(tmp_path: Path) -> None:
    e = relrep.as_embedding(X, ids=range(60), labels=["a", "é"] * 30, space="s")
    relrep.write(e, tmp_path / "e.h5")
    read_back = relrep.read(tmp_path / "e.h5")
    assert np.array_equal(read_back.x, X) and read_back.ids.tolist() == e.ids.tolist() and read_back.space == "s"
    assert read_back.obs["label"].tolist() == e.obs["label"].tolist()
    with pytest.raises(relrep.RelrepError, match="exists"):
        relrep.write(e, tmp_path / "e.h5")
    relrep.write(X.astype(np.float32), tmp_path / "e.h5", overwrite=True)
    assert relrep.read(tmp_path / "e.h5").row_ids


@pytest.mark.parametrize("metric", ["cka", "knn-jaccard"])
def test_a_frame_joins_by_its_index(metric: str) -> None:
    pandas = pytest.importorskip("pandas")
    order = np.random.default_rng(1).permutation(60)
    names = [f"n{i}" for i in range(60)]
    frame, mixed = pandas.DataFrame(X, index=names), pandas.DataFrame(Y[order], index=[names[i] for i in order])
    plain = relrep.compare(X, Y, metric=metric)
    joined = relrep.compare(frame, mixed, metric=metric)
    assert joined.value == pytest.approx(plain.value, rel=1e-9) and (plain.joined, joined.joined) == ("position", "id")
    assert list(joined.to_pandas().columns) == list(joined.columns)


def test_tensors_and_lists() -> None:
    torch = pytest.importorskip("torch")
    plain = relrep.compare(X, Y).value
    assert relrep.compare(torch.tensor(X, requires_grad=True), Y.tolist()).value == pytest.approx(plain)
    assert relrep.as_embedding(X.astype(np.int32)).x.dtype == np.float64


@pytest.mark.parametrize(
    ("x", "how", "words"),
    [
        (X[0], {}, r"x has the shape \(6,\). Give a matrix"),
        (X.astype(str), {}, "x holds str"),
        (np.where(X > 2, np.nan, X), {}, "holds NaN or infinity"),
        (X, {"ids": [1] * 60}, "1 ids occur more than once: 1"),
        (X, {"labels": [1]}, r"label has the shape \(1,\), and there are 60 rows"),
    ],
)
def test_what_is_no_space_is_refused(x: Any, how: dict[str, Any], words: str) -> None:
    with pytest.raises(relrep.RelrepError, match=words):
        relrep.as_embedding(x, **how)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: relrep.compare(X, Y, metric="cca", k=3), "^k is not an option of metric cca"),
        (lambda: relrep.compare(X, Y, metric="cak"), "cka"),
        (lambda: relrep.compare(X, Y, recipe={"center": True}), "recipe says how to project on anchors"),
        (lambda: relrep.compare(X, Y[:9]), "neither has ids, and 60 rows cannot pair with 9"),
        (lambda: relrep.compare(X, Y, kernal="rbf"), "unknown option of a metric 'kernal'. Did you mean kernel?"),
        (lambda: relrep.project(X, range(5), simlarity="l1"), "unknown option of a similarity 'simlarity'"),
        (lambda: relrep.anchor(X, 5, blah=2), "unknown option of a strategy 'blah'"),
        (lambda: relrep.anchor(X, 61), "61 anchors requested, but only 60"),
        (lambda: relrep.compare({}, X), "x holds no spaces"),
        (lambda: relrep.compare(np.stack([X, Y]), X), r"x has the shape \(2, 60, 6\).*; list\(x\) stands for 2 of them"),
        (lambda: relrep.compare({"A": [X, Y]}, X), r"A has the shape \(2, 60, 6\)"),
        (lambda: relrep.project([X, Y[:, :3]], range(5)), "x is a list of parts of different shapes. Give one matrix."),
        (lambda: relrep.anchor(X, 5, strategy="bootstrap"), "Use the command `relrep anchor`"),
        (lambda: relrep.stitch(X, Y, method="absolute", heads=3), "unknown option of a head, translator or universe 'heads'"),
        (lambda: relrep.RelativeProjector(anchors=[60]).fit(X), "anchors are not all row numbers"),
        (lambda: relrep.RelativeProjector(strategy="per-class").fit(X), "needs more than vectors"),
    ],
    ids=range(16),
)  # fmt: skip
def test_mistakes_are_named(call: Any, words: str) -> None:
    with pytest.raises(relrep.RelrepError, match=words):
        call()


def test_results_are_records_and_tables() -> None:
    both = relrep.compare(X, Y, metric=["cka", "knn-jaccard"], k=3)
    assert both["cka"].value == both[0]["value"] and len(both[:1]) == 1 and "cka" in repr(both)
    with pytest.raises(AttributeError, match=r"there are 2 records; take one of them, such as results\[0\].value"):
        _ = both.value
    with pytest.raises(AttributeError):
        _ = both.nothing
    with pytest.raises(KeyError, match="0 records of 'rsa'"):
        _ = both["rsa"]
    views = relrep.compare(X, Y, metric="cka", anchors=np.arange(20))
    with pytest.raises(KeyError, match=r"3 records of 'cka', which differ in projection; take one by its place"):
        _ = views["cka"]
    marked = relrep.compare(relrep.as_embedding(X, name="<b>"), Y)
    assert "&lt;b&gt;" in marked._repr_html_() and "<b>" not in marked._repr_html_()


def test_notes_are_kept_and_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    ids = [str(i) for i in range(60)]
    results = relrep.compare(X, Y[:50], ids_x=ids, ids_y=ids[:50], metric="cosine")
    assert any("50 common ids; 10 and 0 rows left out" in note for note in results.notes)
    assert capfd.readouterr() == ("", "")


def test_lines_of_progress_are_not_kept(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("relrep_cli.base.progress_lines.FIRST", -1.0)
    results = relrep.compare(X, Y, X + Y, metric="cosine")
    assert any("a minute" in record.getMessage() for record in caplog.records)
    assert not any("a minute" in note for note in results.notes)


def test_patterns_stand_for_layers(tmp_path: Path) -> None:
    """A pattern alone compares its layers with each other; two patterns compare layers of one file with those of the other."""
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", l0=X, l1=Y, ids=[f"n{i}" for i in range(60)])
    a, b = (str(tmp_path / f"{name}.npz::l*") for name in "ab")
    assert len(relrep.compare(a)) == 1 and relrep.compare(a).value == pytest.approx(relrep.compare(X, Y).value)
    results = relrep.compare(a, b, permutations=9)
    assert [(r.a[-2:], r.b[-2:]) for r in results] == [("l0", "l0"), ("l0", "l1"), ("l1", "l0"), ("l1", "l1")]
    assert all(r.p_max >= r.p for r in results)
    assert [r.value for r in results][::3] == pytest.approx([1, 1])
    both = relrep.compare(a, Y, ids_y=[f"n{i}" for i in range(60)], labels=np.arange(60) % 2, metric="label-overlap")
    assert len(both) == 2 and all(r.value is not None for r in both)
    assert len({r.file for r in relrep.evaluate(a, labels=X[:, 0] > 0, task="knn", holdout=0.5)}) == 2
    assert len(relrep.plot(a).picture.clouds) == 2
    with pytest.raises(relrep.DataError, match="no embedding matches m"):
        relrep.compare(str(tmp_path / "a.npz::m*"))
    with pytest.raises(relrep.UsageError, match="y is missing, and x is one space"):
        relrep.compare(X)


def test_a_mapping_or_a_list_stands_for_several_spaces() -> None:
    """Its spaces are compared with those of the other arguments, as layers that a pattern matches are; keys name them."""
    a, b = {"A0": X, "A1": Y}, {"B0": X + Y, "B1": Y, "B2": -X}
    results = relrep.compare(a, b, permutations=19)
    assert [(r.a, r.b) for r in results] == [(one, other) for one in a for other in b]
    assert [r.value for r in results] == [relrep.compare(one, other).value for one in a.values() for other in b.values()]
    assert all(r.p_max >= r.p for r in results) and results[0].q is not None
    listed = relrep.compare(list(a.values()), tuple(b.values()), metric="cka", permutations=19)
    assert [r.p_max for r in listed] == [r.p_max for r in results] and (listed[0].a, listed[-1].b) == ("x[0]", "y[2]")
    alone = relrep.compare(b)
    assert [(r.a, r.b) for r in alone] == [("B0", "B1"), ("B0", "B2"), ("B1", "B2")]
    same = relrep.compare(a, {"A1": Y}, X)
    assert [(r.a, r.b) for r in same[:2]] == [("x::A0", "y::A1"), ("x::A1", "y::A1")]
    assert [(r.a, r.b) for r in same[2:]] == [("x::A0", "z1"), ("x::A1", "z1"), ("y::A1", "z1")]
    nested = [X.tolist(), [list(row) for row in Y]]
    assert [r.value for r in relrep.compare(nested, X)] == [r.value for r in relrep.compare([X, Y], X)]
    assert len(relrep.plot(b).picture.clouds) == 3
    assert relrep.evaluate(b, labels=X[:, 0] > 0, task="separation")[0].file == "B0"


def test_one_space_is_the_reference_of_all_others() -> None:
    b = {"B0": X + Y, "B1": Y, "B2": -X}
    for reference in ("B1", 1, -2):
        assert [(r.a, r.b) for r in relrep.compare(b, reference=reference)] == [("B1", "B0"), ("B1", "B2")]
    assert [(r.a, r.b) for r in relrep.compare(X, Y, X + Y, reference="first")] == [("x", "y"), ("x", "z1")]
    with pytest.raises(relrep.UsageError, match="reference: B9 is none of the files"):
        relrep.compare(b, reference="B9")
    difference = relrep.compare(b, reference="B1", against="B0")
    assert [(r.a, r.b, r.reference) for r in difference] == [("B0", "B2", "B1")]


def test_values_of_single_items_stand_at_their_ids() -> None:
    """One item is moved: it has the least value, in the order of the input or another, with its label."""
    moved = X.copy()
    moved[7] = -X[7]
    order = np.random.default_rng(0).permutation(60)
    names = np.array([f"n{i}" for i in range(60)])
    items = relrep.compare(
        X, moved[order], metric=["cosine", "cka"], ids_x=names, ids_y=names[order], labels=names, per_row=True
    )
    assert len(items) == 60 and min(items, key=lambda r: r.value).id == "n7" and all(r.label == r.id for r in items)
    mean = relrep.compare(X, moved[order], metric="cosine", ids_x=names, ids_y=names[order]).value
    assert np.mean([r.value for r in items]) == pytest.approx(mean)
    with pytest.raises(relrep.UsageError, match="none of the metrics has a value for each row"):
        relrep.compare(X, Y, per_row=True)


def test_two_encodings_of_one_file_are_named_by_their_place() -> None:
    x, y = (relrep.as_embedding(side, name="images.npz") for side in (X, Y))
    record = relrep.compare(x, y)[0]
    assert (record.a, record.b) == ("x", "y")
    other = relrep.compare(x, relrep.as_embedding(Y, name="other.npz"))[0]
    assert (other.a, other.b) == ("images.npz", "other.npz")


def test_keywords_have_the_names_of_the_options() -> None:
    near = relrep.compare(X, Y, metric="knn-jaccard", neighbors="euclidean", k=5)
    assert "euclidean" in near.convention
    with pytest.raises(relrep.UsageError, match="neighbors"):
        relrep.compare(X, Y, metric="knn-jaccard", neighbours="euclidean")
    scaled = relrep.compare(X, Y, anchors=np.arange(20), recipe={"standardize_columns": True})
    assert "standardize" in str([r.projection for r in scaled])


def test_a_pattern_names_groups_that_hold_x(tmp_path: Path) -> None:
    """`layer/[01]` finds layer/0/X as `layer/0` does; it finds no layer/2."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for layer in range(3):
            file[f"layer/{layer}/X"] = X + layer
            file[f"layer/{layer}/ids"] = [f"n{i}" for i in range(len(X))]
    named = {name for r in relrep.compare(f"{path}::layer/[01]") for name in (r.a[-9:], r.b[-9:])}
    assert named == {"layer/0/X", "layer/1/X"}
    with h5py.File(path, "a") as file:
        for layer in range(3):
            file.move(f"layer/{layer}/X", f"layer/{layer}/vectors")
        file["layer/2/more"] = X
    named = {name for r in relrep.compare(f"{path}::layer/?") for name in (r.a[-15:], r.b[-15:])}
    assert named == {"layer/0/vectors", "layer/1/vectors"}, "a group of two needs a name behind it"


def test_stitch_says_which_method_is_best() -> None:
    results = relrep.stitch(X, Y, labels=X[:, 0] > 0, anchors=np.arange(20), method=["absolute", "ridge"], test_size=0.5)
    assert any("the best of all methods" in note for note in results.notes), results.notes


def test_stitch_says_where_absolute_spaces_have_no_value() -> None:
    for other, warned in ((Y, False), (Y[:, :1], True)):
        how = {"labels": X[:, 0] > 0, "test_size": 0.5, "method": "absolute"}
        results = relrep.stitch(X, other, **how)
        assert any("unequal dims" in note for note in results.notes) == warned, results.notes


def test_anchors_of_an_array_are_rows_of_it() -> None:
    rows = relrep.anchor(X, 10)
    assert X[rows].shape == (10, X.shape[1])
    assert np.array_equal(relrep.project(X, rows).x, relrep.project(X, relrep.anchor(relrep.as_embedding(X), 10)).x)
    assert relrep.anchor(relrep.as_embedding(X, ids=[f"n{i}" for i in range(len(X))]), 10).dtype.kind == "S"


def test_nearest_items() -> None:
    near = relrep.nearest(X, 2, queries=[7], by="euclidean")
    named = relrep.as_embedding(X, ids=[f"n{i}" for i in range(60)])
    assert [r.id for r in relrep.nearest(named, 2, queries=[7], by="euclidean")] == [f"n{r.id}" for r in near]
    assert [r.id for r in relrep.nearest(named, 2, queries="n7", by="euclidean")] == [f"n{r.id}" for r in near]
    order = np.argsort(np.linalg.norm(X - X[7], axis=1))[1:3]
    assert [r.id for r in near] == [str(i) for i in order]


def test_nearest_items_of_other_vectors(tmp_path: Path) -> None:
    """A matrix, an Embedding and a file are vectors to look up; the row itself is nearby, because no item is left out."""
    named = relrep.as_embedding(X, ids=[f"n{i}" for i in range(60)])
    other = relrep.as_embedding(X[[7, 3]], ids=["p", "q"])
    relrep.write(other, tmp_path / "queries.h5")
    for queries in (X[[7, 3]], other, tmp_path / "queries.h5", str(tmp_path / "queries.h5")):
        nearby = relrep.nearest(named, 2, queries=queries)
        assert [r.id for r in nearby][::2] == ["n7", "n3"] and len(nearby) == 4
    assert [r.query for r in nearby] == ["p", "p", "q", "q"]
    with pytest.raises(relrep.UsageError, match="'n99' is neither an item of x nor a file"):
        relrep.nearest(named, queries="n99")
    with pytest.raises(relrep.DataError, match="has 3 dims, and x has 6"):
        relrep.nearest(X, queries=X[:, :3])


@pytest.mark.parametrize(
    "estimator",
    [relrep.RelativeProjector(n_anchors=5), relrep.Translator(), relrep.Translator("ridge")],
    ids=["projector", "orthogonal", "ridge"],
)
def test_scikit_learns_own_checks(estimator: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None)
    assert len(results) > 30 and not [r["check_name"] for r in results if r["status"] not in ("passed", "skipped")]


def test_projected_rows_keep_their_order() -> None:
    """Though rows are computed in the order of their ids."""
    ids = np.array([f"{i:02d}" for i in RNG.permutation(60)])
    e = relrep.as_embedding(X, ids=ids)
    projected = relrep.project(e, list(ids[:5]))
    assert projected.ids.tolist() == e.ids.tolist()
    assert np.allclose(projected.x, relrep.project(X, [0, 1, 2, 3, 4]).x, atol=1e-6)


def test_a_projector_maps_new_rows_as_the_command_does() -> None:
    how = {"similarity": "euclidean", "center": True, "standardize_columns": True}
    made = relrep.RelativeProjector(anchors=range(10), **how).fit(X)
    assert made.transform(X[40:]) == pytest.approx(relrep.project(X, range(10), **how).x[40:], rel=1e-12)
    assert made.get_feature_names_out()[3] == "euclidean:3"
    chosen = relrep.RelativeProjector(8, strategy="kmeans", options={"p": 3.0}, similarity="lp").fit(X)
    assert chosen.anchors_.shape == (8,) and chosen.basis_.recipe.similarities == {"lp": {"p": 3.0}}


def test_a_form_of_a_metric_and_an_old_name() -> None:
    angle = relrep.compare(X, Y, metric="procrustes", as_="angle")
    assert angle.metric == "procrustes:angle" and not angle.notes
    old = relrep.compare(X, Y, metric="bures,cka")
    assert old["bures"].metric == "procrustes:similarity" and np.cos(angle.value) == pytest.approx(old["bures"].value)
    assert old.notes[0].startswith("bures is now procrustes:similarity")


def test_translate_gives_what_the_command_gives(work: Workdir) -> None:
    words = "relrep translate a.h5 --into b.h5 -a anchors.h5 -m ridge --scaling axes -o moved.h5 --json -q"
    rows = json.loads(work.here(words).stdout)
    results = relrep.translate(work / "a.h5", work / "b.h5", work / "anchors.h5", "ridge", scaling="axes")
    assert [r["value"] for r in rows] == pytest.approx([r.value for r in results.quality])
    np.testing.assert_allclose(results.embedding.x, relrep.read(work / "moved.h5").x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(results(relrep.read(work / "a.h5").x), results.embedding.x, rtol=1e-5, atol=1e-6)
    with pytest.raises(relrep.UsageError, match="unknown translator"):
        relrep.translate(X, Y, method="orthogonl")


def test_differences_of_evaluate_are_those_of_the_command(work: Workdir) -> None:
    rows = json.loads(work.here("relrep evaluate a.h5 b.h5 --task knn,cluster --against a.h5 --json -q").stdout)
    differences = relrep.evaluate(work / "a.h5", work / "b.h5", task=["knn", "cluster"], against=0)
    assert differences.columns == tuple(rows[0]) or list(differences.columns) == list(rows[0])
    assert [r.difference for r in differences] == pytest.approx([r["difference"] for r in rows])
    for against, words in (("q", "is none of the files"), (7, "against: 7 is none")):
        with pytest.raises(relrep.UsageError, match=words):
            relrep.evaluate(X, Y, labels=X[:, 0] > 0, task="knn", holdout=0.5, against=against)
    with pytest.raises(relrep.UsageError, match="per_class does not go with against"):
        relrep.evaluate(X, Y, labels=X[:, 0] > 0, task="knn", holdout=0.5, against=0, per_class=True)


def test_differences_of_compare_are_those_of_the_command(work: Workdir) -> None:
    e = relrep.read(work / "a.h5")
    relrep.write(relrep.as_embedding(np.abs(e.x), ids=e.ids), work / "d.h5")
    rows = json.loads(work.here("relrep compare a.h5 b.h5 d.h5 -m cka,knn-jaccard --against all --json -q").stdout)
    files = [work / f"{name}.h5" for name in "abd"]
    differences = relrep.compare(*files, metric="cka,knn-jaccard", against="all")
    assert list(differences.columns) == list(rows[0])
    assert [(r.metric, r.difference, r.p) for r in differences] == [
        (r["metric"], pytest.approx(r["difference"]), pytest.approx(r["p"])) for r in rows
    ]
    first, last = (relrep.compare(*files, metric="cka", against=place)[0] for place in (1, -1))
    assert first.difference == -last.difference != 0
    for options, words in (({"against": 0}, "is a reference"), ({"against": 1, "permutations": 9}, "do not go with against")):
        with pytest.raises(relrep.UsageError, match=words):
            relrep.compare(*files, **options)  # type: ignore[arg-type]


def test_maps_are_the_files_of_the_command(work: Workdir) -> None:
    """The command reads what the library wrote, and the library what the command wrote."""
    names = str(work / "a.h5"), str(work / "b.h5"), str(work / "anchors.h5")
    relrep.translate(names[0], names[1], names[2]).save(work / "own.h5")
    work.here("relrep translate a.h5 --into b.h5 -a anchors.h5 --save-map map.h5 -o moved.h5 -q")
    work.here("relrep translate a.h5 --map own.h5 -o again.h5 -q")
    moved = relrep.read(work / "moved.h5").x
    assert np.array_equal(relrep.read(work / "again.h5").x, moved)
    kept = relrep.read_map(work / "map.h5")
    np.testing.assert_allclose(kept(names[0]), moved, rtol=1e-5, atol=1e-6)
    assert kept.spaces == (relrep.read(names[0]).space,) and kept.into == relrep.read(names[1]).space
    with pytest.raises(relrep.UsageError, match="no third space can join"):
        relrep.translate(X, into=kept)
    with pytest.raises(relrep.UsageError, match="holds no map"):
        relrep.read_map(names[0])


def test_a_space_joins_a_saved_universe(tmp_path: Path) -> None:
    common = relrep.universe(X, Y, anchors=range(20))
    common.save(tmp_path / "universe.h5")
    kept = relrep.read_map(tmp_path / "universe.h5")
    assert np.array_equal(kept(X, space="x"), common.maps[0](X)) and kept.spaces == ("x", "y")
    joined = relrep.translate(X[:, ::-1], into=kept)
    assert joined.quality["recall_1"].value > 0.8
    with pytest.raises(relrep.UsageError, match="overwrite=True"):
        common.save(tmp_path / "universe.h5")
    with pytest.raises(relrep.UsageError, match="the universe says how to join it"):
        relrep.translate(X, into=kept, scaling="axes")
    with pytest.raises(relrep.DataError, match=r"as_embedding\(x, space=...\) names the space"):
        kept(X)

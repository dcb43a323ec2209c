"""Projection: preparation and statistics, products and aggregates, what is kept in files and taken from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
import torch
from conftest import Workdir, only_line
from scipy.spatial.distance import cdist

from relrep_cli.base.errors import DataError
from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.numerics.whitening import moments, whitening
from relrep_cli.relative.aggregators import AGGREGATORS, layer_norm, load, of_module
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Postprocessing, Recipe, anchors_digest, with_trained_aggregator
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.store import read

SPLIT = np.where(np.arange(200) < 120, b"train", b"test")


def space(seed: int = 0, dtype: type = np.float64, **more: Any) -> Embedding:
    """200 items in 6 dims off centre, of unequal widths, 120 of them to train on."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 4
    return Embedding(x.astype(dtype), row_numbers(200), {"split": SPLIT}, uri="a.h5", space="test:a", **more)


def projected(e: Embedding, names: str = "cosine", m: int = 10, **given: Any) -> np.ndarray:
    chosen = {name: SIMILARITIES[name].resolve({}) for name in names.split(",")}
    return relative(e, basis(e, Recipe(e.ids[:m], chosen, **given))).x


def cosines(x: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    return 1 - cdist(x, anchors, "cosine")


# Before: statistics of the training rows


def prepared_by_hand(x: np.ndarray, fit: np.ndarray, how: str) -> np.ndarray:
    x = x - fit.mean(0)
    if how == "scale":
        return x / fit.std(0)
    if how == "whiten":
        values, vectors = np.linalg.eigh(np.cov(fit.T, bias=True))
        return x @ (vectors / np.sqrt(values)) @ vectors.T
    return x


@pytest.mark.parametrize("transductive", [False, True])
@pytest.mark.parametrize("how", ["center", "scale", "whiten"])
def test_preparation_is_fitted_on_training_rows(how: str, transductive: bool) -> None:
    e = space()
    x = prepared_by_hand(e.x, e.x if transductive else e.x[:120], how)
    actual = projected(e, before=Preprocessing(**{how: True}), transductive=transductive)
    assert actual == pytest.approx(cosines(x, x[:10]), abs=1e-9)
    other = projected(e, before=Preprocessing(**{how: True}), transductive=not transductive)
    assert np.abs(actual - other).max() > 1e-3


def test_normalize_comes_last() -> None:
    e = space()
    x = prepared_by_hand(e.x, e.x[:120], "center")
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert projected(e, "euclidean", before=Preprocessing(center=True, normalize=True)) == pytest.approx(
        cdist(x, x[:10]), abs=1e-9
    )


def test_whitening_makes_euclidean_mahalanobis() -> None:
    e = space()
    assert projected(e, "euclidean", before=Preprocessing(whiten=True)) == pytest.approx(projected(e, "mahalanobis"), rel=1e-9)


@pytest.mark.parametrize("full", [False, True])
def test_moments_in_blocks_far_from_the_origin(full: bool) -> None:
    x = np.random.default_rng(0).normal(size=(1000, 4)) + 1e6
    mean, spread, unit = moments(np.array_split(x, 7), full)
    assert unit == 1
    assert mean == pytest.approx(x.mean(0), rel=1e-12)
    assert spread == pytest.approx(np.cov(x.T, bias=True) if full else x.var(0), abs=1e-9)


def test_whitening_leaves_out_what_does_not_vary() -> None:
    matrix = whitening(np.diag([4.0, 1.0, 0.0]), 0.0, "--whiten")
    assert matrix == pytest.approx(np.diag([0.5, 1.0, 0.0]))
    with pytest.raises(DataError, match="--whiten: the training rows do not vary"):
        whitening(np.zeros((2, 2)), 0.0, "--whiten")


def test_shrinkage_mixes_in_the_mean_variance() -> None:
    """Of variances 4 and 1: 4 (1 - s) + 2.5 s and 1 - s + 2.5 s."""
    assert whitening(np.diag([4.0, 1.0]), 0.5, "") == pytest.approx(np.diag([3.25**-0.5, 1.75**-0.5]))
    assert whitening(np.diag([4.0, 1.0]), 1.0, "") == pytest.approx(np.diag([2.5**-0.5] * 2))


def test_a_constant_axis_is_scaled_to_nothing() -> None:
    e = space()
    e.x[:, 2] = 7
    assert np.isfinite(projected(e, before=Preprocessing(scale=True))).all()


# After


def test_standardize_columns_uses_training_rows() -> None:
    e = space()
    raw, actual = projected(e), projected(e, after=Postprocessing(standardize=True))
    assert actual == pytest.approx((raw - raw[:120].mean(0)) / raw[:120].std(0), abs=1e-9)
    assert np.abs(actual[120:].mean(0)).max() > 1e-3, "test rows have no say"


def test_rounding_comes_after_standardising() -> None:
    e = space()
    standard = projected(e, after=Postprocessing(standardize=True))
    assert projected(e, after=Postprocessing(standardize=True, step=0.5)) == pytest.approx(
        np.round(standard * 2) / 2, abs=1e-12
    )


def test_round_and_negate() -> None:
    e = space()
    raw = projected(e, "euclidean")
    assert projected(e, "euclidean", after=Postprocessing(step=0.25)) == pytest.approx(np.round(raw * 4) / 4, abs=1e-12)
    assert projected(e, "euclidean", after=Postprocessing(negate=True)) == pytest.approx(-raw)
    assert projected(e, after=Postprocessing(negate=True)) == pytest.approx(projected(e)), "what is a similarity already stays"


# Products


@pytest.mark.parametrize("name", ["concat", "sum", "mean"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products_without_parameters(name: str, dtype: type) -> None:
    """Each subspace is normalised row by row on its own, whatever its scale; torch agrees."""
    e = space(dtype=dtype)
    parts = [projected(e, one).astype(np.float64) for one in ("cosine", "l1", "chebyshev")]
    normal = [(p - p.mean(1, keepdims=True)) / p.std(1, keepdims=True) for p in parts]
    wanted = {"concat": np.concatenate(normal, 1), "sum": sum(normal), "mean": sum(normal) / 3}[name]
    tolerance = 1e-9 if dtype is np.float64 else 1e-4
    assert projected(e, "cosine,l1,chebyshev", aggregate=name) == pytest.approx(wanted, abs=tolerance)
    join = AGGREGATORS[name].function(3, 10)
    on_torch = join([layer_norm(torch.from_numpy(p)) for p in parts]).numpy()
    assert on_torch == pytest.approx(wanted, abs=tolerance)


def test_columns_of_a_product() -> None:
    e = space()
    recipe = Recipe(e.ids[:2], {"cosine": {}, "l1": {}}, aggregate="concat")
    assert recipe.width() == 4
    assert recipe.var()["id"].tolist() == [b"cosine:0", b"cosine:1", b"l1:0", b"l1:1"]
    assert recipe.var()["similarity"].tolist() == [b"cosine", b"cosine", b"l1", b"l1"]
    summed = Recipe(e.ids[:2], {"cosine": {}, "l1": {}}, aggregate="sum")
    assert summed.width() == 2 and summed.var()["id"].tolist() == [b"cosine+l1:0", b"cosine+l1:1"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layer_norm_of_a_row_that_varies_by_rounding_is_zero(dtype: Any) -> None:
    row = np.array([[0.3, np.nextafter(dtype(0.3), dtype(1)), 0.3]], dtype)
    assert layer_norm(row).tolist() == layer_norm(torch.from_numpy(row)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_layer_norm_at_any_scale(scale: float) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32) * np.float32(scale)
    actual = layer_norm(rows)
    assert actual.mean(1) == pytest.approx(0, abs=1e-5) and actual.std(1) == pytest.approx(1, abs=1e-5)
    assert (layer_norm(np.full((2, 7), 0.1, np.float32) * np.float32(scale)) == 0).all()


TRAINABLE = [name for name, entry in AGGREGATORS.items() if entry.trainable]


def trained(name: str, names: str = "cosine,l1", m: int = 10) -> Any:
    torch.manual_seed(0)
    chosen = {one: SIMILARITIES[one].resolve({}) for one in names.split(",")}
    recipe = Recipe(row_numbers(200)[:m], chosen, Preprocessing(center=True), name)
    module = AGGREGATORS[name].function(len(chosen), m)
    return of_module(name, len(chosen), m, module, recipe.to_json(), anchors_digest(recipe.anchor_ids)), module


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_trained_aggregator_survives_its_file(name: str) -> None:
    """The same bytes for the same module, and the projection of another file is what the module gives on its subspaces."""
    kept, module = trained(name, "l1,cosine")
    again = load(kept.to_bytes())
    assert again.to_bytes() == kept.to_bytes()
    e = space()
    recipe = with_trained_aggregator(Recipe(e.ids[:10]), again)
    assert list(recipe.similarities) == ["l1", "cosine"] and recipe.before == Preprocessing(center=True)
    parts = [projected(e, one, before=Preprocessing(center=True)) for one in recipe.similarities]
    with torch.inference_mode():
        wanted = module([torch.from_numpy(layer_norm(p)).float() for p in parts]).numpy()
    actual = relative(e, basis(e, recipe)).x
    assert actual == pytest.approx(wanted, abs=1e-5) and actual.shape == (200, 10)
    with pytest.raises(DataError, match="trained on other anchors"):
        basis(e, with_trained_aggregator(Recipe(e.ids[1:11]), again))


@pytest.mark.parametrize("name", TRAINABLE)
def test_what_trainable_aggregators_compute(name: str) -> None:
    """By hand, from the weights: maps and tanh, sum or attention."""
    kept, module = trained(name)
    parts = [np.random.default_rng(i).normal(size=(4, 10)).astype(np.float32) for i in range(2)]
    w = kept.weights
    tokens = [np.tanh(p @ w[f"maps.{i}.weight"].T + w[f"maps.{i}.bias"]) if "mlp" in name else p for i, p in enumerate(parts)]
    if not name.endswith("attention"):
        wanted = sum(tokens)
    else:
        t = np.stack(tokens, 1)
        q, k, v = (t @ w[f"qkv.{i}.weight"].T + w[f"qkv.{i}.bias"] for i in range(3))
        logits = q @ k.transpose(0, 2, 1) / np.sqrt(10)
        weights = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
        wanted = (weights @ v).mean(1)
    with torch.inference_mode():
        assert module([torch.from_numpy(p) for p in parts]).numpy() == pytest.approx(wanted, abs=1e-5)
        assert module(torch.from_numpy(np.concatenate(parts, 1))).numpy() == pytest.approx(wanted, abs=1e-5)
    if name.endswith("attention"):
        assert module.attention.numpy() == pytest.approx(weights.mean(1), abs=1e-6)


def test_damaged_aggregators_are_refused() -> None:
    kept, _ = trained("mlp-sum")
    for damaged in (b"", kept.to_bytes()[:-4], b"\0" * 64):
        with pytest.raises(DataError, match="Give an aggregator that relrep stitch --save-aggregator saved"):
            load(damaged)
    with pytest.raises(DataError, match="weights that do not fit aggregator self-attention"):
        load(replace(kept, name="self-attention").to_bytes())


# Statistics in files, through the command


def test_statistics_travel_to_other_files(work: Workdir) -> None:
    """A file of test rows alone is projected as it was within the whole; without the statistics it cannot be."""
    how = "--scale -s euclidean,rbf,mahalanobis --standardize-columns --anchors anchors.h5"
    work.here(f"relrep project a.h5 {how} -o whole.h5 -q")
    whole = read(str(work / "whole.h5"))
    assert set(whole.uns) == {"center", "scale", "rbf-width", "mahalanobis-root", "column-mean", "column-scale"}
    assert whole.source_space == read(str(work / "a.h5")).space
    a = read(str(work / "a.h5"))
    test = np.flatnonzero(a.obs["split"] == b"test")
    np.savez(work / "test.npz", x=a.x[test], id=a.ids[test], label=a.obs["label"][test], split=a.obs["split"][test])
    work.here(f"relrep embed test.npz --space {a.space} -o test.h5 -q")
    line = work.error(f"relrep project test.h5 {how} -o test.rel.h5", 3)
    assert "no row 'train'" in line and "--statistics FILE" in line
    work.here(f"relrep project test.h5 {how} --statistics whole.h5 -o test.rel.h5 -q")
    read_back = read(str(work / "test.rel.h5"))
    assert (
        read_back.space == whole.space and np.abs(read_back.x - whole.x[test]).max() <= 2e-6 * np.abs(whole.x).max()
    )  # other rows around them
    work.here(f"relrep project test.h5 {how} --transductive -o t.h5 -q")
    assert "transductive=True" in work.here("relrep info t.h5").stdout
    assert read(str(work / "t.h5")).space != whole.space
    anndata.read_h5ad(work / "whole.h5")


def test_statistics_too_large_for_the_format(work: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out and said, for a file that relrep cannot read again would be worse."""
    monkeypatch.setattr("relrep_cli.relative.projected_files.STATISTIC", 100)
    done = work.here("relrep project a.h5 -a anchors.h5 --whiten -o w.h5")
    assert "w.h5: whiten is too large to keep" in done.stderr
    assert set(read(str(work / "w.h5")).uns) == {"center"}
    work.error("relrep project a.h5 -a anchors.h5 --whiten --statistics w.h5 -o x.h5", 3, "w.h5: does not hold whiten")


def test_statistics_of_another_space_or_way(work: Workdir) -> None:
    work.here("relrep project b.h5 -a anchors.h5 --center -o b.c.h5 -q")
    work.error(
        "relrep project a.h5 -a anchors.h5 --center --statistics b.c.h5 -o x.h5", 3, "b.c.h5: holds statistics of another space"
    )
    work.here("relrep project a.h5 -a anchors.h5 --center -o a.c.h5 -q")
    work.error("relrep project a.h5 -a anchors.h5 --scale --statistics a.c.h5 -o x.h5", 3, "was projected in another way")
    work.error("relrep project a.h5 -a anchors.h5 --scale --whiten -o x.h5", 2, "--whiten and --scale")


@pytest.mark.parametrize("offset", [0.0, 10.0, 100.0])
def test_whitening_leaves_out_what_rounding_alone_makes(offset: float) -> None:
    """Three dims of variance in six, in float32 off the origin: the other three are rounding, and stay out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 6)) + offset
    blocks = {dtype: (lambda dtype=dtype: iter([x.astype(dtype)])) for dtype in (np.float32, np.float64)}
    roots = [Preprocessing(whiten=True).fit(make)["whiten"] for make in blocks.values()]
    assert all(np.linalg.matrix_rank(root, 1e-6) == 3 for root in roots)
    np.testing.assert_allclose(roots[0], roots[1], atol=2e-3 * np.abs(roots[1]).max())


def test_all_rows_are_taken_though_a_file_stores_the_mean_of_some(work: Workdir) -> None:
    """What a relative file stores of its training rows is not what --transductive asks for."""
    (work / "mean.h5").write_bytes((work / "a.h5").read_bytes())
    with h5py.File(work / "mean.h5", "r+") as file:
        e = read(str(work / "a.h5"))
        file["uns/center"] = np.asarray(e.x[e.training_rows()], np.float64).mean(0)
    for name in ("a", "mean"):
        work.here(f"relrep project {name}.h5 -a anchors.h5 --center --transductive -o {name}.t.h5 -q")
    work.here("relrep project mean.h5 -a anchors.h5 --center -o mean.c.h5 -q")
    x, y, z = (np.asarray(read(str(work / f"{name}.h5")).x) for name in ("a.t", "mean.t", "mean.c"))
    assert np.array_equal(x, y) and not np.allclose(y, z, atol=1e-4)


def test_a_graph_of_training_rows_is_no_statistic_to_hand_on(work: Workdir) -> None:
    how = "-a anchors.h5 -s geodesic"
    work.here(f"relrep project a.h5 {how} -o g.h5 -q")
    work.error(
        f"relrep project a.h5 {how} --statistics g.h5 -o x.h5",
        3,
        "g.h5: does not store the graph of training rows that geodesic needs",
    )


@pytest.mark.slow
def test_products_through_the_commands(work: Workdir) -> None:
    """One vocabulary for project, compare and stitch; a trained aggregator goes from one to the others."""
    product = "-a anchors.h5 -s cosine,l1 -s chebyshev --center"
    for name in "ab":
        work.here(f"relrep project {name}.h5 {product} --aggregate sum -o {name}.p.h5 -q")
    stored = work.here("relrep compare a.p.h5 b.p.h5 -m cosine,cka -q").rows
    direct = work.here(f"relrep compare a.h5 b.h5 {product} --aggregate sum -m cosine,cka -q").rows
    seen = [r for r in direct if r["projection"] == "cosine,l1,chebyshev/sum+center"]
    assert [float(r["value"]) for r in seen] == pytest.approx([float(r["value"]) for r in stored], abs=1e-6)
    train = f"relrep stitch a.h5 b.h5 {product} -m product --aggregate self-attention --save-aggregator t.safetensors -q"
    rows = work.run(train).rows
    assert {r["method"] for r in rows} == {"cosine,l1,chebyshev/self-attention+center"}
    done = work.here("relrep project a.h5 -a anchors.h5 --aggregator t.safetensors --weights w.tsv -o a.t.h5")
    assert "mean attention cosine 0." in done.stderr
    lines = (work / "w.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["id", "cosine", "l1", "chebyshev"] and len(lines) == 241
    assert sum(map(float, lines[1].split("\t")[1:])) == pytest.approx(1)
    work.error("relrep project a.h5 -a anchors.h5 --aggregator t.safetensors --center -o x.h5", 2, "--center does not go with")
    work.error("relrep project a.h5 -a anchors.h5 --weights w2.tsv -o x.h5", 2, "--weights needs --aggregator")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ("--aggregate self-attention -s cosine,l1", 2, "has to be trained first. Run relrep stitch --aggregate self-attention"),
        ("--aggregate summ -s cosine,l1", 2, "unknown aggregator 'summ'. Did you mean sum?"),
        ("-s cosine,cosin", 2, "unknown similarity 'cosin'. Did you mean cosine?"),
        ("-s lp --p 0.5", 2, "--p is 0.5. It must be at least 1"),
        ("-s lp --p nan", 2, "--p is nan. It must be at least 1"),
        ("--round inf", 2, "--round is inf"),
        ("--aggregator anchors.h5", 3, "anchors.h5: not a safetensors file. Give an aggregator"),
        ("--statistics b.h5 --center", 3, "b.h5: holds statistics of another space"),
        ("--statistics b.h5 --transductive", 2, "--statistics and --transductive both say where statistics come from"),
        ("--audit", 2, "--audit, -o do not go together. Choose one."),
    ],
)
def test_options_that_cannot_be(work: Workdir, options: str, code: int, message: str) -> None:
    line = only_line(work.here(f"relrep project a.h5 -a anchors.h5 {options} -o x.h5", code))
    assert message in line, line


def test_a_graph_in_parts_is_said(work: Workdir) -> None:
    done = work.here("relrep project a.h5 -a anchors.h5 -s geodesic --k 1 -o g.h5")
    assert "the neighbour graph of geodesic has" in done.stderr
    assert np.isfinite(read(str(work / "g.h5")).x).all()
    assert "the neighbour graph" not in work.here("relrep project a.h5 -a anchors.h5 -s geodesic --k 60 -o g2.h5").stderr


@pytest.mark.slow
def test_options_of_two_registries_keep_apart(work: Workdir) -> None:
    """--k is the metric's, --similarity-k the graph's, where a command has both."""
    rows = work.here("relrep compare a.h5 b.h5 -a anchors.h5 -s geodesic --similarity-k 40 --k 7 -m jaccard -q").rows
    assert {r["k"] for r in rows} == {"7"}
    work.error("relrep project a.h5 -a anchors.h5 --k 5 -o x.h5", 2, "--k is not an option of similarity cosine", "geodesic")


# What is printed about functions and files


@pytest.mark.slow
def test_list_and_audit(work: Workdir) -> None:
    table = {r["similarity"]: r for r in work.here("relrep project --list").rows}
    assert set(table) == {"absolute", *SIMILARITIES} and table["cosine"]["translation"] == "no"
    audit = {r["similarity"]: r for r in work.here("relrep project a.h5 --audit -q").rows}
    assert set(audit) == {"absolute", *SIMILARITIES, "product/concat"}
    for name in SIMILARITIES:
        for transformation in [t for t in table[name] if t not in ("similarity", "isometry")]:
            moved = float(audit[name][transformation])
            assert (moved == 0) == (table[name][transformation] == "yes"), (name, transformation, moved)
    centred = work.here("relrep project a.h5 --audit -s cosine --center -q").rows[1]
    assert centred["similarity"] == "cosine+center" and float(centred["translation"]) == 0


def test_select_finds_what_two_spaces_share(work: Workdir) -> None:
    """b is a turned in space, d is a with its axes rescaled: cosine carries over to b, Mahalanobis distances to d."""
    a = read(str(work / "a.h5"))
    factors = np.geomspace(0.02, 50, a.d)
    np.savez(work / "d.npz", x=a.x * factors, id=a.ids, label=a.obs["label"], split=a.obs["split"])
    rows = work.here("relrep project a.h5 d.npz -a anchors.h5 --select -q").rows
    assert [int(r["rank"]) for r in rows] == list(range(1, len(rows) + 1))
    alone = {r["similarities"]: float(r["agreement"]) for r in rows if r["similarities"] in SIMILARITIES}
    assert set(alone) == set(SIMILARITIES)
    steady = [alone[name] for name, entry in SIMILARITIES.items() if "axis-scale" in entry.invariant]
    assert min(steady) > 0.99 and max(value for value in alone.values() if value not in steady) < min(steady)
    assert max(alone[name] for name in ("cosine", "euclidean", "chebyshev")) < 0.9
    work.error("relrep project a.h5 -a anchors.h5 --select", 2, "two or more")

"""Translation: a turned space is undone exactly, and the quality is that of items which the map was not fitted on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.embedding import Embedding, make_step, row_numbers, text
from relrep_cli.stitching.space_maps import SpaceMaps, maps_in, read_maps, save_maps
from relrep_cli.stitching.translation import Fitting, fit_map
from relrep_cli.stitching.translators import Affine

N, D = 200, 6


def turned(noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A space, and it turned, scaled and shifted."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D))
    y = 3 * x @ np.linalg.qr(rng.normal(size=(D, D)))[0] + 1
    return x, y + noise * rng.normal(size=y.shape)


def embedding(x: np.ndarray, name: str, split: bool = True) -> Embedding:
    obs = {"split": text(["train", "train", "train", "test"] * (len(x) // 4))} if split else {}
    return Embedding(x, row_numbers(len(x)), obs, space=name, uri=name)


@pytest.fixture
def files(empty: Workdir) -> Workdir:
    """a.npz and b.npz, which is a turned; queries.npz, items of a's space that b lacks; ids.txt, 40 of the items."""
    x, y = turned()
    ids = [f"i{n}" for n in range(N)]
    np.savez(empty / "a.npz", x=x, ids=ids)
    np.savez(empty / "b.npz", x=y, ids=ids)
    np.savez(empty / "queries.npz", x=x[:20] + 1, ids=[f"q{n}" for n in range(20)])
    (empty / "ids.txt").write_text("\n".join(ids[:40]))
    return empty


def values(records: list[dict[str, object]]) -> dict[str, float]:
    return {str(r["measure"]): float(str(r["value"])) for r in records}


def test_a_turned_space_is_undone_and_queries_follow_by_the_saved_map(files: Workdir) -> None:
    actual = files.here("relrep translate a.npz --into b.npz -a ids.txt --save-map map.h5 -o a.in-b.h5 --json")
    records = json.loads(actual.stdout)
    assert values(records) == pytest.approx({"recall_1": 1, "recall_10": 1, "cosine": 1, "retained": 1})
    assert {(r["n"], r["fitted_on"], r["held_out"], r["index_size"]) for r in records} == {(160, 40, "items", 200)}
    moved, b = store.read(str(files / "a.in-b.h5")), store.digested(store.read(str(files / "b.npz")))
    np.testing.assert_allclose(moved.x, b.x, atol=1e-5)
    assert (moved.space, moved.kind, moved.ids.tolist()) == (b.space, b.kind, b.ids.tolist())
    assert [step["command"] for step in moved.steps] == ["translate"]
    files.here("relrep translate queries.npz --map map.h5 -o q.h5 -q")
    files.here("relrep translate queries.npz --map map.h5 -o q.parquet -q")
    wanted = Fitting("orthogonal", {"scaling": "whole"}).fit(turned()[0], turned()[1])(turned()[0][:20] + 1)
    for name in ("q.h5", "q.parquet"):
        np.testing.assert_allclose(store.read(str(files / name)).x, wanted, atol=1e-5)
    assert "up to date" in files.here("relrep translate queries.npz --map map.h5 -o q.h5").stderr


def test_a_hopeless_map_is_questioned_and_a_good_one_is_not(files: Workdir) -> None:
    other = np.random.default_rng(5).normal(size=(N, D))
    np.savez(files / "other.npz", x=other, ids=[f"i{n}" for n in range(N)])
    assert "of held-out items are among the ten nearest" in files.here("relrep translate other.npz --into b.npz -o o.h5").stderr
    assert "held-out" not in files.here("relrep translate a.npz --into b.npz -o a.in-b.h5").stderr


def test_the_index_is_searched_as_far_as_is_said(empty: Workdir) -> None:
    """By default in 20,000 rows; here of an index of 20,100 rows of which 60 were embedded anew."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_100, 2)).astype(np.float32)
    np.savez(empty / "old.npz", x=x, ids=np.arange(len(x)).astype(str))
    np.savez(empty / "new.npz", x=x[::335], ids=np.arange(0, len(x), 335).astype(str))
    (empty / "ids.txt").write_text("\n".join(str(335 * n) for n in range(20)))
    for words, wanted in (("", 20_000), ("--index-rows 30000", 20_100), ("--index-rows 100", 100), ("--index-rows 12", 40)):
        done = empty.here(f"relrep translate new.npz --into old.npz -a ids.txt {words} --json -q")
        assert {r["index_size"] for r in json.loads(done.stdout)} == {wanted}
    done = empty.here("relrep translate new.npz --into old.npz -a ids.txt -m orthogonal --index-rows 99 --report --json -q", 0)
    assert next(r["at"] for r in json.loads(done.stdout)) == 99


def test_a_map_is_no_embedding_and_the_other_way_round(files: Workdir) -> None:
    files.here("relrep translate a.npz --into b.npz --save-map map.h5 -q")
    files.error("relrep compare map.h5 a.npz", 3, "holds maps between spaces", "relrep translate with --map")
    files.error("relrep translate a.npz --map b.npz -o x.h5", 2, "holds no map", "--save-map")
    files.error("relrep translate a.npz --into map.h5", 2, "map between two spaces", "embedding file")


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        ("a.npz", "neither --into nor --map"),
        ("a.npz --into b.npz --map b.npz", "both name the target"),
        ("a.npz --map b.npz", "-o FILE is missing"),
        (
            "a.npz --map b.npz --report",
            "translate queries with -o QUERIES.npz, then run relrep evaluate INDEX",
        ),
        ("a.npz --map b.npz -o x.h5 --least-recall 0.8", "--least-recall measures maps that this run fits"),
        ("a.npz --into b.npz -o x.faiss", "does not write .faiss. Name a file that ends in .h5, .hdf5, .h5ad, .npy, .npz"),
        ("a.npz --map b.npz -o x.h5 -a ids.txt", "--anchors does not go with --map"),
        ("a.npz --map b.npz -o x.h5 --index-rows 50", "--index-rows does not go with --map"),
        ("a.npz b.npz --save-map x.h5 --index-rows 50", "--index-rows measures a map into one index"),
        ("a.npz --into b.npz --save-map x.h5 -o x.h5", "name the same file"),
        ("a.npz --into b.npz -o a.npz", "is also an input"),
        ("a.npz --into b.npz --save-map map.npz", "does not write .npz"),
        ("a.npz --into b.npz -m procrustes", "unknown method 'procrustes'"),
        ("a.npz --into b.npz -m univers", "Did you mean universe"),
        ("a.npz --into b.npz -m ridge,universe", "is a list. Name one method."),
        ("a.npz --into b.npz --report -m ridge,universe", "leave it out to try all"),
        ("a.npz --into b.npz --report -o c.h5", "Remove -o and --save-map."),
        ("a.npz --into b.npz --report --threshold 0.6,x", "--threshold x is not a cosine"),
        ("a.npz --into b.npz --threshold 0.6 -o c.h5", "does nothing without --report"),
    ],
)
def test_options_that_do_not_go_together_are_refused(files: Workdir, words: str, finding: str) -> None:
    files.error(f"relrep translate {words}", 2, finding)


def test_a_map_is_read_as_it_was_written(empty: Workdir) -> None:
    rng = np.random.default_rng(1)
    target = rng.normal(size=4)
    maps = {
        "first": Affine(rng.normal(size=3), rng.normal(size=(3, 4)), target),
        "sécond": Affine(rng.normal(size=5), rng.normal(size=(5, 4)), target, 0.5),
    }
    saved = SpaceMaps("there", "absolute", maps, "universe", rng.normal(size=(2, 4)), text(["p", "q"]))
    step = make_step("translate", {"method": "universe", "universe_penalty": 2.0}, None, [])
    save_maps(str(empty / "m.h5"), saved, [step], False)
    actual = read_maps(str(empty / "m.h5"))
    assert actual is not None and list(actual.maps) == list(maps) and actual.space == "there"
    for name, one in maps.items():
        assert all(
            np.array_equal(getattr(one, part), getattr(actual.maps[name], part)) for part in ("source", "matrix", "target")
        )
        assert actual.maps[name].along == one.along
    joined = actual.as_embedding()
    assert joined.ids.tolist() == [b"p", b"q"] and np.array_equal(joined.x, saved.anchors)
    assert actual.params["universe_penalty"] == 2.0


@pytest.mark.parametrize(
    "harm",
    [
        {"role": text(["axis"] * 3)},
        {"role": np.zeros(4)},
        {"role": None},
        {"space": np.zeros(4)},
        {"source": np.array([1.0, np.nan, 0.0, 0.0])},
        {"along": np.array([np.inf, 0.0, 0.0, 0.0])},
        {"unit": None},
        {"kind": None},
        {"x": np.array([[1.0, np.nan]] * 4)},
        {"steps": -1.0},
        {"steps": "many"},
    ],
    ids=str,
)
def test_a_damaged_map_is_refused_in_one_line(empty: Workdir, harm: dict[str, Any]) -> None:
    obs = {"role": text(["axis"] * 3 + ["target"]), "space": text(["a"] * 3 + [""]), "source": np.zeros(4)}
    obs |= {"along": np.full(4, np.nan), "unit": np.zeros(4, np.int8), "kind": text(["absolute"] * 4)}
    columns = {
        name: np.resize(values, 4) for name, values in (obs | harm).items() if isinstance(values, np.ndarray) and name in obs
    }
    step = make_step("translate", {"method": "universe", "universe_penalty": harm.get("steps", 0.0)}, None, [])
    x = harm.get("x", np.ones((4, 2)))
    actual = Embedding(x, row_numbers(4), columns, kind="map", space="b", steps=[step], uri="m.h5", digest="d")
    with pytest.raises(DataError, match=r"m\.h5: is a damaged map\. Save it again"):
        maps_in(actual)


def test_a_file_goes_to_stdout_without_the_table(files: Workdir) -> None:
    done = files.here("relrep translate a.npz --into b.npz -o - -a ids.txt")
    (files / "piped.h5").write_bytes(done.out)
    assert store.read(str(files / "piped.h5")).x.shape == (N, D) and "recall@1 is 1.000" in done.stderr


def test_the_map_of_a_space_is_found_by_name_or_by_dims(empty: Workdir) -> None:
    target = np.zeros(2)
    maps = SpaceMaps(
        "there", "absolute", {n: Affine(np.zeros(d), np.zeros((d, 2)), target) for n, d in (("a", 3), ("b", 4))}, ""
    )
    assert maps.of(embedding(np.zeros((4, 3)), "a")) is maps.maps["a"]
    assert maps.of(embedding(np.zeros((4, 4)), "")) is maps.maps["b"]
    with pytest.raises(DataError, match="of space c"):
        maps.of(embedding(np.zeros((4, 3)), "c"))
    with pytest.raises(DataError, match="5 dims and names no space"):
        maps.of(embedding(np.zeros((4, 5)), "unnamed:1"))
    with pytest.raises(DataError, match="the map takes 3"):
        maps.of(embedding(np.zeros((4, 4)), "a"))
    with pytest.raises(UsageError, match="and no third space can join it"):
        maps.as_embedding()


def test_nothing_is_measured_on_rows_of_the_fit() -> None:
    x, y = turned(noise=1.0)
    a, b = embedding(x, "a"), embedding(y, "b")
    poisoned = y.copy()
    poisoned[a.obs["split"] == b"test"] += 1e3
    how = Fitting("ridge", {"scaling": "whole"})
    carry, records = fit_map(a, b, how)
    again, _ = fit_map(a, embedding(poisoned, "b"), how)
    assert np.array_equal(carry.matrix, again.matrix)
    assert {(r["n"], r["fitted_on"]) for r in records} == {(N // 4, N * 3 // 4)}


def test_without_a_split_some_items_are_held_out_and_order_does_not_matter() -> None:
    x, y = turned(noise=1.0)
    order = np.random.default_rng(5).permutation(N)
    a, b = embedding(x, "a", split=False), embedding(y, "b", split=False)
    mixed = Embedding(y[order], b.ids[order], space="b", uri="b")
    carry, records = fit_map(a, b, Fitting("orthogonal", {"scaling": "whole"}))
    again, same = fit_map(a, mixed, Fitting("orthogonal", {"scaling": "whole"}))
    np.testing.assert_allclose(again.matrix, carry.matrix, atol=1e-12)
    assert values(same) == pytest.approx(values(records)) and 5 < records[0]["n"] < 40
    assert records[0]["n"] + records[0]["fitted_on"] == N


def test_where_every_item_is_an_anchor_the_quality_is_cross_validated() -> None:
    from relrep_cli.relative.recipes import Recipe

    x = np.random.default_rng(3).normal(size=(40, 30))
    unrelated = np.random.default_rng(4).normal(size=(40, 30))
    a, b = embedding(x, "a", split=False), embedding(unrelated, "b", split=False)
    _, records = fit_map(a, b, Fitting("affine", {"scaling": "whole"}, Recipe(a.ids)))
    assert {(r["n"], r["fitted_on"], r["held_out"]) for r in records} == {(40, 40, "cross-validation")}
    assert values(records)["recall_1"] < 0.2  # the fit itself finds all of them


def test_too_few_shared_items_are_an_error() -> None:
    a, b = embedding(turned()[0][:4], "a"), embedding(turned()[1][:4], "b")
    with pytest.raises(DataError, match="share 1 items to fit a map on"):
        fit_map(
            Embedding(a.x[:1], a.ids[:1], space="a", uri="a"),
            Embedding(b.x, b.ids, {"split": text(["train"] * 4)}, space="b", uri="b"),
            Fitting("orthogonal", {"scaling": "whole"}),
        )


@pytest.mark.slow
def test_a_universe_is_built_kept_and_joined_without_a_change(empty: Workdir) -> None:
    rng = np.random.default_rng(0)
    hidden, ids = rng.normal(size=(N, D)), np.array([f"i{n}" for n in range(N)])
    for name, d in (("a", 6), ("b", 8), ("c", 9), ("d", 7)):
        np.savez(empty / f"{name}.npz", x=hidden @ np.linalg.qr(rng.normal(size=(d, d)))[0][:D], ids=ids)
    (empty / "ids.txt").write_text("\n".join(ids[:60]))
    rows = json.loads(empty.here("relrep translate a.npz b.npz c.npz -a ids.txt --save-map u.h5 --json -q").stdout)
    assert len(rows) == 6 and min(r["value"] for r in rows) > 0.95
    before = (empty / "u.h5").read_bytes()
    joined = json.loads(empty.here("relrep translate d.npz --into u.h5 --save-map d.map.h5 -o d.u.h5 --json -q").stdout)
    assert values(joined)["recall_1"] > 0.95 and joined[0]["held_out"] == "cross-validation"
    assert (empty / "u.h5").read_bytes() == before
    for name in "abc":
        empty.here(f"relrep translate {name}.npz --map u.h5 -o {name}.u.h5 -q")
    read_back = [store.read(str(empty / f"{name}.u.h5")) for name in "abcd"]
    assert len({e.space for e in read_back}) == 1 and read_back[0].space.startswith("universe:")
    unit = [e.x / np.linalg.norm(e.x, axis=1, keepdims=True) for e in read_back]
    assert all(np.einsum("ij,ij->i", unit[0], other).mean() > 0.98 for other in unit[1:])
    for words in ("--map u.h5", "--into u.h5"):
        empty.error(f"relrep translate a.u.h5 {words} -o twice.h5", 3, "is in the space of u.h5 already", "Use it as it is.")
    empty.here("relrep translate d.npz --map d.map.h5 -o again.h5 -q")
    assert np.array_equal(store.read(str(empty / "again.h5")).x, read_back[3].x)


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        ("a.npz b.npz --into a.npz", "--into translates one file, and 2 are named"),
        ("a.npz b.npz -m ridge", "ridge maps one space into another"),
        ("a.npz b.npz -o x.h5", "Keep it with --save-map"),
        ("a.npz --into b.npz -m universe", "Build the space with relrep translate a.npz b.npz --save-map universe.h5"),
        ("a.npz --into b.npz -a ids.txt --fit-rows 9", "--fit-rows counts training rows"),
        ("a.npz --map m.h5 -o x.h5 -m ridge", "--method does not go with --map"),
    ],
)
def test_options_of_universes_that_do_not_go_together(files: Workdir, words: str, finding: str) -> None:
    files.error(f"relrep translate {words}", 2, finding)


def test_two_files_of_one_space_make_no_universe(files: Workdir) -> None:
    files.error("relrep translate a.npz b.npz a.npz", 3, "as another file is", "one file of each space")


def test_pairs_join_files_without_common_ids(empty: Workdir) -> None:
    x, y = turned()
    np.savez(empty / "a.npz", x=x, ids=[f"i{n}" for n in range(N)])
    np.savez(empty / "b.npz", x=y, ids=[f"j{n}" for n in range(N)])
    (empty / "pairs.tsv").write_text("a\tb\n" + "".join(f"i{n}\tj{n}\n" for n in range(50)))
    rows = json.loads(empty.here("relrep translate a.npz --into b.npz -a pairs.tsv -o moved.h5 --json -q").stdout)
    assert {(r["n"], r["held_out"]) for r in rows} == {(50, "cross-validation")}
    assert values(rows)["recall_1"] == 1
    np.testing.assert_allclose(store.read(str(empty / "moved.h5")).x, y, atol=1e-5)
    empty.error("relrep translate a.npz --into b.npz", 3, "no common ids")

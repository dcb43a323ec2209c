"""Retrieval across spaces: a turned space is searched as if re-embedded, an unrelated one by chance."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.embedding import Embedding, row_numbers
from relrep_cli.stitching.cross_retrieval import Sparse, index_of
from relrep_cli.stitching.cycles import cycle_losses
from relrep_cli.stitching.retrieval_summary import Summary


def spaces(n: int = 300, d: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """A space, and it turned."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    return x, x @ np.linalg.qr(rng.normal(size=(d, d)))[0]


def brute(queries: np.ndarray, own: np.ndarray, base: np.ndarray) -> tuple[float, float, float, float]:
    """recall at 1 and 10, mrr and what is retained, from all cosines."""
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (queries, base)]
    actual, wanted = unit[0] @ unit[1].T, unit[1][own] @ unit[1].T
    places = np.array([1 + (row > row[i]).sum() for row, i in zip(actual, own, strict=True)])
    actual[np.arange(len(own)), own] = wanted[np.arange(len(own)), own] = -2
    sets = [np.argsort(-side, axis=1)[:, :10] for side in (actual, wanted)]
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*sets, strict=True)])
    return float((places == 1).mean()), float((places <= 10).mean()), float((1 / places).mean()), float(kept)


def test_every_value_is_what_all_cosines_give() -> None:
    base, _ = spaces()
    own = np.random.default_rng(1).permutation(300)[:80]
    queries = base[own] + 0.6 * np.random.default_rng(2).normal(size=(80, 8))
    record = index_of(base, own).look_up(queries).record(0)
    wanted = brute(queries, own, base)
    assert [record[name] for name in ("recall_1", "recall_10", "mrr", "retained")] == pytest.approx(wanted, abs=1e-12)
    for name in ("recall_1", "recall_10", "retained"):
        assert 0 < record[f"{name}_low"] < record[name] < record[f"{name}_high"] < 1
    assert (record["n"], record["size"]) == (80, 300)


def test_own_vectors_find_all_and_a_turned_space_finds_it_by_chance() -> None:
    base, turned = spaces()
    own = np.arange(100)
    whole = index_of(base, own).look_up(base[own]).record(0)
    assert whole["recall_1"] == whole["mrr"] == whole["retained"] == 1.0
    lost = index_of(base, own).look_up(turned[own]).record(0)
    assert lost["recall_10"] < 0.2 and lost["retained"] < 0.2


def test_sparse_rows_keep_the_largest_at_length_one() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, size=(50, 20))
    actual = Sparse(5, 3.0).of(x)
    assert ((actual > 0).sum(1) == np.minimum(5, (x > 0).sum(1))).all()
    np.testing.assert_allclose(np.linalg.norm(actual, axis=1), 1, rtol=1e-6)
    top = np.sort(x.clip(0), axis=1)[:, ::-1][:, :5] ** 3
    np.testing.assert_allclose(
        np.sort(actual, axis=1)[:, ::-1][:, :5], top / np.linalg.norm(top, axis=1, keepdims=True), rtol=1e-6
    )
    assert (Sparse(99, 1.0).of(x) > 0).sum() == (x > 0).sum()


@pytest.fixture
def turned(empty: Workdir) -> Workdir:
    """a.npz and b.npz, which is a turned, and c.npz, whose items are unrelated; 60 anchors."""
    x, y = spaces()
    ids, split = [f"i{n}" for n in range(300)], ["train", "train", "test"] * 100
    for name, side in (("a", x), ("b", y), ("c", np.random.default_rng(5).normal(size=(300, 8)))):
        np.savez(empty / f"{name}.npz", x=side, ids=ids, split=split)
    empty.here("relrep anchor a.npz -n 60 -o anchors.h5 -q")
    return empty


def table(work: Workdir, words: str) -> dict[str, list[dict[str, float]]]:
    actual: dict[str, list[dict[str, float]]] = {}
    for record in json.loads(work.here(f"relrep stitch {words} -q --json").stdout):
        actual.setdefault(record["method"], []).append(record)
    return actual


def test_methods_that_stitch_also_retrieve(turned: Workdir) -> None:
    methods = "none,absolute,orthogonal,relative"
    rows = table(turned, f"a.npz b.npz --anchors anchors.h5 --target retrieval -m {methods} -s cosine,euclidean")
    for name in ("none", "orthogonal", "cosine", "euclidean"):
        assert [r["recall_1"] for r in rows[name]] == [1.0, 1.0], name
    assert [r["retained"] for r in rows["orthogonal"]] == [1.0, 1.0]
    assert max(r["recall_10"] for r in rows["absolute"]) < 0.2
    assert [(r["encoder"], r["index"]) for r in rows["orthogonal"]] == [("a.npz", "b.npz"), ("b.npz", "a.npz")]
    unrelated = table(turned, f"a.npz c.npz --anchors anchors.h5 --target retrieval -m {methods} -s cosine")
    assert max(r["recall_10"] for name in ("orthogonal", "cosine") for r in unrelated[name]) < 0.25


def test_sparse_relative_rows_match_items_without_training(turned: Workdir) -> None:
    rows = table(turned, "a.npz b.npz --anchors anchors.h5 --target asif --sparse 20 --power 2")
    assert [r["recall_1"] for r in rows["asif"]] == [1.0, 1.0] and list(rows) == ["asif"]
    few = table(turned, "a.npz b.npz --anchors anchors.h5 --target asif --sparse 1 --power 2")
    assert max(r["recall_1"] for r in few["asif"]) < 0.9  # one anchor says little of an item


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--anchors anchors.h5 --target retrieval --head mlp", "--head does not go with --target retrieval"),
        ("--anchors anchors.h5 --target retrieval -o x.h5 -m ridge", "-o does not go with --target retrieval"),
        ("--target asif -m absolute", "--target asif needs --anchors FILE"),
        (
            "--anchors anchors.h5 --target retrieval -m product -s cosine,l1 --aggregate self-attention",
            "retrieval trains no head",
        ),
    ],
)
def test_what_needs_a_head_is_refused(turned: Workdir, words: str, message: str) -> None:
    turned.error(f"relrep stitch a.npz b.npz {words}", 2, message)


def test_an_anchor_that_is_looked_up_is_refused(turned: Workdir) -> None:
    (turned / "leak.txt").write_text("i0\ni2\ni3\n")  # i2 is a test item
    turned.error("relrep stitch a.npz b.npz --anchors leak.txt --target retrieval", 3, "1 of 3 anchors are test rows")


def test_a_way_around_loses_what_its_steps_lose() -> None:
    x = np.random.default_rng(0).normal(size=(40, 4))
    same = cycle_losses(lambda a, b: lambda z: z, [x] * 3, 0)
    assert len(same) == 6 and all(one == [0.0] for one in same.values())
    flat = cycle_losses(lambda a, b: (lambda z: z * [1, 0, 0, 0]) if b == 2 else (lambda z: z), [x] * 4, 0)
    assert all((max(one) > 0.5) == (2 in pair or len(one) == 2) for pair, one in flat.items())
    assert flat[0, 1][1] == 0 or flat[0, 1][0] == 0, "the way that avoids space 2 loses nothing"
    two = cycle_losses(lambda a, b: lambda z: -z if a else z, [x, x], 0)
    assert two[0, 1][0] > 0.9, "straight back, and turned round"


def summary_of(hits: dict[str, np.ndarray]) -> list[str]:
    n = len(next(iter(hits.values())))
    es = [Embedding(np.zeros((n, 2)), row_numbers(n), obs={"split": np.full(n, b"test")}, uri=name) for name in "ab"]
    summary = Summary(es, 0)
    for name, out in hits.items():
        for a, b in ((0, 1), (1, 0)):
            summary.count(name, a, b, (es[0].ids, out))
    return list(summary.lines())


def test_the_summary_names_the_best_method_and_its_ties() -> None:
    rng = np.random.default_rng(0)
    good = rng.random(400) < 0.8
    equal, worse = rng.permutation(good), good & (rng.random(400) < 0.5)
    assert ", the best of all methods; worst 0." in summary_of({"good": good, "worse": worse})[0]
    line = summary_of({"good": good, "equal": equal, "worse": worse})[0]
    assert "over 2 pairs by good; equal ties with it; worst" in line and "of a in b." in line
    assert summary_of({"good": good})[0].count(";") == 1, "nothing to compare one method with"


def test_the_table_has_the_losses_of_ways_around(turned: Workdir) -> None:
    words = "a.npz b.npz c.npz --anchors anchors.h5 --target retrieval -m none,absolute,ridge,relative,universe -s cosine"
    rows = table(turned, words)
    assert {r["cycle_loss"] for name in ("cosine", "universe") for r in rows[name]} == {0.0}
    assert all("cycle_loss" not in r or r["cycle_loss"] is None for name in ("none", "absolute") for r in rows[name])
    lost = {(r["encoder"], r["index"]): (r["cycle_loss"], r["cycle_worst"]) for r in rows["ridge"]}
    assert len(lost) == 6 and all(mean <= worst for mean, worst in lost.values())
    assert lost["a.npz", "b.npz"][0] > 0.5, "the way leads over c, which has other items"

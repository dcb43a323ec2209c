"""Retrieval across spaces: a turned space is searched as if re-embedded, an unrelated one by chance."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.stitching.cross_retrieval import Sparse, retrieve


def spaces(n: int = 300, d: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """A space, and it turned."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    return x, x @ np.linalg.qr(rng.normal(size=(d, d)))[0]


def brute(queries: np.ndarray, own: np.ndarray, base: np.ndarray) -> tuple[float, float, float, float]:
    """recall at 1 and 10, mrr and what is retained, from all cosines."""
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (queries, base)]
    found, wanted = unit[0] @ unit[1].T, unit[1][own] @ unit[1].T
    places = np.array([1 + (row > row[i]).sum() for row, i in zip(found, own, strict=True)])
    found[np.arange(len(own)), own] = wanted[np.arange(len(own)), own] = -2
    sets = [np.argsort(-side, axis=1)[:, :10] for side in (found, wanted)]
    kept = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*sets, strict=True)])
    return float((places == 1).mean()), float((places <= 10).mean()), float((1 / places).mean()), float(kept)


def test_every_value_is_what_all_cosines_give() -> None:
    base, _ = spaces()
    own = np.random.default_rng(1).permutation(300)[:80]
    queries = base[own] + 0.6 * np.random.default_rng(2).normal(size=(80, 8))
    found = retrieve(queries, own, base, 0)
    wanted = brute(queries, own, base)
    assert [found[name] for name in ("recall_1", "recall_10", "mrr", "retained")] == pytest.approx(wanted, abs=1e-12)
    assert 0 < wanted[3] < 1 and found["low"] < found["retained"] < found["high"]
    assert (found["n"], found["size"]) == (80, 300)


def test_own_vectors_find_all_and_a_turned_space_finds_it_by_chance() -> None:
    base, turned = spaces()
    own = np.arange(100)
    whole = retrieve(base[own], own, base, 0)
    assert whole["recall_1"] == whole["mrr"] == whole["retained"] == 1.0
    lost = retrieve(turned[own], own, base, 0)
    assert lost["recall_10"] < 0.2 and lost["retained"] < 0.2


def test_sparse_rows_keep_the_largest_at_length_one() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, size=(50, 20))
    found = Sparse(5, 3.0).of(x)
    assert ((found > 0).sum(1) == np.minimum(5, (x > 0).sum(1))).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    top = np.sort(x.clip(0), axis=1)[:, ::-1][:, :5] ** 3
    np.testing.assert_allclose(
        np.sort(found, axis=1)[:, ::-1][:, :5], top / np.linalg.norm(top, axis=1, keepdims=True), rtol=1e-6
    )
    assert (Sparse(99, 1.0).of(x) > 0).sum() == (x > 0).sum()


@pytest.fixture
def turned(empty: Workdir) -> Workdir:
    """a.npz and b.npz, which is a turned, and c.npz, whose items are no kin of theirs; 60 anchors."""
    x, y = spaces()
    ids, split = [f"i{n}" for n in range(300)], ["train", "train", "test"] * 100
    for name, side in (("a", x), ("b", y), ("c", np.random.default_rng(5).normal(size=(300, 8)))):
        np.savez(empty / f"{name}.npz", x=side, ids=ids, split=split)
    empty.here("relrep anchor a.npz -n 60 -o anchors.h5 -q")
    return empty


def table(work: Workdir, words: str) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {}
    for record in json.loads(work.here(f"relrep stitch {words} -q --json").stdout):
        found.setdefault(record["method"], []).append(record)
    return found


def test_methods_that_stitch_also_retrieve(turned: Workdir) -> None:
    methods = "none,absolute,orthogonal,relative"
    found = table(turned, f"a.npz b.npz --anchors anchors.h5 --target retrieval -m {methods} -s cosine,euclidean")
    for name in ("none", "orthogonal", "cosine", "euclidean"):
        assert [r["recall_1"] for r in found[name]] == [1.0, 1.0], name
    assert [r["retained"] for r in found["orthogonal"]] == [1.0, 1.0]
    assert max(r["recall_10"] for r in found["absolute"]) < 0.2
    assert [(r["encoder"], r["index"]) for r in found["orthogonal"]] == [("a.npz", "b.npz"), ("b.npz", "a.npz")]
    unrelated = table(turned, f"a.npz c.npz --anchors anchors.h5 --target retrieval -m {methods} -s cosine")
    assert max(r["recall_10"] for name in ("orthogonal", "cosine") for r in unrelated[name]) < 0.25


def test_sparse_relative_rows_match_items_without_training(turned: Workdir) -> None:
    found = table(turned, "a.npz b.npz --anchors anchors.h5 --target asif --sparse 20 --power 2")
    assert [r["recall_1"] for r in found["asif"]] == [1.0, 1.0] and list(found) == ["asif"]
    few = table(turned, "a.npz b.npz --anchors anchors.h5 --target asif --sparse 1 --power 2")
    assert max(r["recall_1"] for r in few["asif"]) < 0.9  # one anchor says little of an item


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--anchors anchors.h5 --target retrieval --head mlp", "--head does not go with --target retrieval"),
        ("--anchors anchors.h5 --target retrieval -o x.h5 -m ridge", "-o does not go with --target retrieval"),
        ("--target asif -m absolute", "--target asif needs --anchors FILE"),
        ("--anchors anchors.h5 --target retrieval -m product -s cosine,l1 --aggregate self-attention", "retrieval trains none"),
    ],
)
def test_what_needs_a_head_is_refused(turned: Workdir, words: str, said: str) -> None:
    turned.error(f"relrep stitch a.npz b.npz {words}", 2, said)


def test_an_anchor_that_is_looked_up_is_refused(turned: Workdir) -> None:
    (turned / "leak.txt").write_text("i0\ni2\ni3\n")  # i2 is a test item
    turned.error("relrep stitch a.npz b.npz --anchors leak.txt --target retrieval", 3, "1 of 3 anchors are test rows")

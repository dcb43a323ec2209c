"""`relrep neighbors`: nearest and farthest items against brute force, as records and as pictures."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from conftest import Workdir, only_line
from PIL import Image
from scipy.spatial.distance import cdist

from relrep_cli.base.errors import UsageError
from relrep_cli.embedding import Embedding, text
from relrep_cli.evaluations.lookup import look_up, look_up_vectors
from relrep_cli.plots.strips import Strip, fitting, strips


def items(n: int = 60, d: int = 4) -> Embedding:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)) + 1
    x[7] = x[3]  # a copy
    return Embedding(x, text(f"i{i}" for i in range(n)), uri="a")


@pytest.mark.parametrize("by", ["cosine", "euclidean"])
@pytest.mark.parametrize("farthest", [False, True])
@pytest.mark.parametrize("part", ["all", "even"])
def test_it_finds_what_brute_force_finds(by: str, farthest: bool, part: str) -> None:
    e, queries = items(), np.array([3, 7, 20])
    among = np.arange(60) if part == "all" else np.arange(0, 60, 2)
    got = look_up(e, queries, among, 5, by, farthest)
    far = cdist(e.x[queries], e.x, by)
    for line, query in enumerate(queries):
        others = among[among != query]
        order = others[np.lexsort((others, np.round(-far[line, others] if farthest else far[line, others], 12)))][:5]
        assert got.rows[line].tolist() == order.tolist()
        assert got.distances[line] == pytest.approx(far[line, order], abs=1e-7)


@pytest.mark.parametrize("farthest", [False, True])
def test_an_item_is_never_its_own_neighbour_even_among_copies(farthest: bool) -> None:
    e = Embedding(np.ones((6, 2)), text("abcdef"), uri="a")
    got = look_up(e, np.arange(6), np.arange(6), 5, "euclidean", farthest)
    assert [sorted(row) for row in got.rows.tolist()] == [[j for j in range(6) if j != i] for i in range(6)]
    with pytest.raises(UsageError, match=r"-k is 6, but only 5 other items are searched\. Write -k 5 or less\."):
        look_up(e, np.arange(6), np.arange(6), 6, "euclidean", farthest)


@pytest.mark.parametrize("by", ["cosine", "euclidean"])
@pytest.mark.parametrize("farthest", [False, True])
def test_vectors_of_another_file_find_what_brute_force_finds(by: str, farthest: bool) -> None:
    """In the order of the queries, whatever their ids: a query with the id of an item finds that item, too."""
    e, among = items(), np.arange(0, 60, 3)
    rng = np.random.default_rng(1)
    asked = Embedding(np.concatenate([rng.normal(size=(9, 4)), e.x[6:7]]), e.ids[[9, 3, 5, 1, 0, 2, 4, 8, 7, 6]], uri="q")
    got = look_up_vectors(e, asked, among, 4, by, farthest)
    far = cdist(asked.x, e.x[among], by)
    for line in range(10):
        order = among[np.lexsort((among, np.round(-far[line] if farthest else far[line], 12)))][:4]
        assert got.rows[line].tolist() == order.tolist()
    if not farthest:
        assert got.rows[9, 0] == 6 and got.distances[9, 0] == 0


def test_an_item_alone_has_no_neighbours() -> None:
    e = items()
    with pytest.raises(UsageError, match="a: the only item that is searched is the query itself"):
        look_up(e, np.array([3]), np.array([3]), 1, "cosine", False)
    assert look_up(e, np.array([3]), np.array([4]), 1, "cosine", False).rows.tolist() == [[4]]


@pytest.mark.parametrize(("queries", "k"), [(1, 1), (2, 12), (2, 13), (1, 40)])
def test_a_strip_is_as_large_as_what_it_holds(queries: int, k: int) -> None:
    """At most twelve neighbours in a line, and little white at any edge."""
    black = np.zeros((8, 8), np.uint8)
    actual = [Strip([black] * (k + 1), ["name"] * (k + 1), [0.01234] * k)] * queries
    drawn = np.asarray(Image.open(io.BytesIO(strips(actual, "title", "a.png"))).convert("L"))
    inked = np.argwhere(drawn < 200)
    assert (inked.min(0) < 40).all() and (np.array(drawn.shape) - inked.max(0) < 50).all()
    assert drawn.shape[1] <= 13 * 180
    edges = np.diff((drawn == 0).mean(1) > 0.3).sum()  # the upper and the lower one of each line
    assert edges == 2 * queries * -(-k // 12)


def test_distances_in_a_strip_have_one_format() -> None:
    tiny = np.zeros((2, 2), np.uint8)
    drawn = strips([Strip([tiny] * 4, list("abcd"), [0.0, 0.01, 0.123456])], "", "a.svg").decode()
    assert re.findall(r"<!-- (\d\.\d+) -->", drawn) == ["0.0000", "0.0100", "0.1235"]
    assert fitting(100, 10) == (40, 10) and fitting(100, 40) == (10, 40) and fitting(3, 1000) == (1, 480)


def test_records_of_named_items(work: Workdir) -> None:
    done = work.run("relrep neighbors a.h5 --query item-003,item-010 --query item-001 -k 2")
    assert list(done.rows[0]) == ["query", "query_label", "rank", "id", "label", "distance"]
    assert [r["query"] for r in done.rows] == [f"item-{i}" for i in ("003", "003", "010", "010", "001", "001")]
    assert [r["rank"] for r in done.rows] == ["1", "2"] * 3
    assert all(r["label"] == r["query_label"] for r in done.rows), "the clouds lie apart"
    far = work.run("relrep neighbors a.h5 --query item-003 -k 2 --farthest").rows
    assert all(r["label"] != r["query_label"] for r in far)
    assert float(far[0]["distance"]) >= float(far[1]["distance"]) > float(done.rows[1]["distance"])


def test_a_sample_is_drawn_by_seed_and_split(work: Workdir) -> None:
    ran = [work.here(f"relrep neighbors a.h5 --sample 4 -k 1 --split test --seed {seed}").stdout for seed in (0, 0, 1)]
    assert ran[0] == ran[1] != ran[2]
    ids = {line.split("\t")[i] for line in ran[0].splitlines()[1:] for i in (0, 3)}
    assert all(int(i.removeprefix("item-")) % 3 == 0 for i in ids), "test rows are every third"
    only_line(work.here("relrep neighbors a.h5 --sample 300 -k 1"), "a.h5: all 240 items are taken", "--sample 300")
    assert not work.here("relrep neighbors a.h5 --sample 240 -k 1").stderr


def test_queries_of_another_file(work: Workdir) -> None:
    """The first neighbour of a copy is the original; the table goes where -o says, and a second run finds it up to date."""
    np.savez(work / "queries.npz", x=np.load(work / "a.npz")["x"][[5, 2]], ids=["second", "first"])
    command = "relrep neighbors a.h5 --queries queries.npz -k 3 -o hits.tsv"
    assert not work.here(command).stdout
    hits = [line.split("\t") for line in (work / "hits.tsv").read_text().splitlines()]
    assert hits[0] == ["query", "query_label", "rank", "id", "label", "distance"] and len(hits) == 7
    assert [(hit[0], hit[1], hit[3]) for hit in hits[1::3]] == [("second", "n/a", "item-005"), ("first", "n/a", "item-002")]
    assert all(float(hit[5]) < 1e-12 for hit in hits[1::3])
    assert "up to date" in work.here(command).stderr
    work.error("relrep neighbors a.h5 --queries queries.npz -k 2 -o hits.tsv", 2, "hits.tsv: exists")
    same = work.here("relrep neighbors a.h5 --queries a.h5 -k 1 --split test")
    assert len(same.rows) == 240 and all(row["query_label"] == row["label"] for row in same.rows)
    note = work.here("relrep neighbors a.h5 --queries b.h5 -k 1").stderr
    assert "b.h5 and a.h5 (spaces b and a): different spaces" in note and "relrep translate" in note
    assert not work.here("relrep translate b.h5 --into a.h5 -o b.in-a.h5 -q").stderr
    moved = work.here("relrep neighbors a.h5 --queries b.in-a.h5 -k 1")
    assert not moved.stderr and sum(row["query"] == row["id"] for row in moved.rows) > 230


@pytest.mark.slow
def test_a_strip_of_pictures_found_by_id(empty: Workdir) -> None:
    rng = np.random.default_rng(0)
    pictures, labels = rng.integers(0, 256, (30, 6, 6), np.uint8), rng.integers(0, 3, 30).astype(np.uint8)
    (empty / "images").mkdir()
    head = bytes([0, 0, 8, 3]) + b"".join(int(n).to_bytes(4, "big") for n in pictures.shape)
    (empty / "images/train-images-idx3-ubyte").write_bytes(head + pictures.tobytes())
    (empty / "images/train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 30]) + labels.tobytes())
    empty.here("relrep embed images --encoder pca --dim 4 -o p.h5 -q")
    command = "relrep neighbors p.h5 --sample 3 -k 2 --images images --plot strip.svg"
    done = empty.run(command)
    drawn = (empty / "strip.svg").read_text()
    assert drawn.count("<image ") == 9 and len(done.rows) == 6
    assert empty.run(command).stderr.count("up to date") == 1
    assert "strip.svg: exists" in empty.error(command + " --farthest", 2)
    np.savez(empty / "other.npz", x=rng.normal(size=(5, 3)), ids=[f"x{i}" for i in range(5)])
    words = "neighbors other.npz --query x0 -k 1 --images images --plot other.png"
    empty.error(f"relrep {words}", 3, "images: holds no item x0, which other.npz has")
    assert not empty.leftovers() and not (empty / "other.png").exists()


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("neighbors a.h5", 2, ["--query ID", "--sample N"]),
        ("neighbors a.h5 --sample 2 --query item-001", 2, ["--query and --sample exclude each other"]),
        ("neighbors a.h5 --sample 2 --queries b.h5", 2, ["--queries and --sample exclude each other"]),
        ("neighbors a.h5 --queries c.h5", 3, ["c.h5: has 12 dims, and a.h5 has 16", "relrep translate"]),
        ("neighbors a.h5 --queries b.h5 -k 241", 2, ["Write -k 240 or less"]),
        ("neighbors a.h5 --queries b.h5 --plot x.png --images x", 2, ["--plot draws items of FILE"]),
        ("neighbors a.h5 --queries b.h5 -o hits.png", 2, ["hits.png: the name must end in"]),
        ("neighbors a.h5 --queries b.h5 -o b.h5", 2, ["b.h5: is also an input"]),
        ("neighbors - --queries -", 2, ["cannot both be standard input"]),
        ("neighbors a.h5 --query ''", 2, ["--query '' names no item. Write --query ID."]),
        ("neighbors a.h5 --query item-001 --query ,", 2, ["--query ',' names no item"]),
        ("neighbors a.h5 --query item-001,gone", 3, ["a.h5: no item 'gone' (1 of 2)", "item-000"]),
        ("neighbors a.h5 --sample 2 --split valid", 3, ["no rows of split 'valid'; found: test, train"]),
        ("neighbors a.h5 --sample 2 -k 240", 2, ["Write -k 239 or less"]),
        ("neighbors a.h5 --sample 2 --images x", 2, ["--images does not work alone. Add --plot FILE"]),
        ("neighbors a.h5 --sample 2 --plot x.png", 2, ["--plot does not work alone. Add --images SOURCE"]),
        ("neighbors a.h5 --sample 2 --images x --plot x.gif", 2, ["must end in .png, .svg, .pdf"]),
        ("neighbors a.h5 --sample 2 --label colour", 3, ["no column 'colour'"]),
    ],
)
def test_errors_are_one_line(work: Workdir, command: str, code: int, words: list[str]) -> None:
    only_line(work.here(f"relrep {command}", code), *words)

"""Queries with known answers in an index: recalls, ranks, and the threshold above which a hit can be trusted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Workdir

import relrep_cli as relrep
from relrep_cli.evaluations.asked_queries import AskedQueries, pairs_in_index
from relrep_cli.evaluations.trusted_hits import fewest_queries, trusted_hits

N, Q, D = 300, 60, 8
RNG = np.random.default_rng(0)
INDEX = RNG.normal(size=(N, D)) + 1
ANSWERS = RNG.choice(N, Q, replace=False)
QUERIES = INDEX[ANSWERS] + RNG.uniform(0.1, 1.5, size=(Q, 1)) * RNG.normal(size=(Q, D))
TURN = np.linalg.qr(RNG.normal(size=(D, D)))[0]


def name(kind: str, place: int) -> str:
    return f"{kind}{place:03d}"


@pytest.fixture
def index(empty: Workdir) -> Workdir:
    """An index whose rows are not in the order of ids, queries of its model and others turned away, and the answers."""
    order, ids = np.random.default_rng(1).permutation(N), np.array([name("d", n) for n in range(N)])
    np.savez(empty / "index.npz", x=INDEX[order], id=ids[order], split=np.array(["train"] * N))
    for file, x in (("queries", QUERIES), ("turned", QUERIES @ TURN)):
        np.savez(empty / f"{file}.npz", x=x, id=np.array([name("q", n) for n in range(Q)]))
    write_answers(empty / "truth.csv", [(name("q", q), name("d", d)) for q, d in enumerate(ANSWERS)])
    return empty


def write_answers(path: Path, pairs: list[tuple[str, str]]) -> None:
    path.write_text("query,document\n" + "".join(f"{query},{document}\n" for query, document in pairs))


def distances(by: str) -> np.ndarray:
    """(Q, N) distances by the definition."""
    if by == "euclidean":
        return np.linalg.norm(QUERIES[:, None] - INDEX, axis=2)
    x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (QUERIES, INDEX))
    return 1 - x @ y.T


@pytest.mark.parametrize("by", ["cosine", "euclidean"])
@pytest.mark.parametrize("answers", [1, 3])
def test_values_are_those_of_the_definitions(index: Workdir, by: str, answers: int) -> None:
    relevant = [[d, *((d + 7 * np.arange(1, answers)) % N).tolist()] for d in ANSWERS.tolist()]
    write_answers(index / "truth.csv", [(name("q", q), name("d", d)) for q, own in enumerate(relevant) for d in own])
    run = "relrep evaluate index.npz --task search --queries queries.npz --relevant truth.csv"
    done = index.here(f"{run} --k 4 --neighbors {by} --rows r.tsv")
    order = np.argsort(distances(by), axis=1)
    ranks = [1 + min(np.flatnonzero(np.isin(order[q], own))) for q, own in enumerate(relevant)]
    shares = [len(set(order[q, :4]) & set(own)) / min(4, answers) for q, own in enumerate(relevant)]
    values = {row["name"]: float(row["value"]) for row in done.rows if row["name"] not in ("threshold", "coverage")}
    wanted = {"recall@1": np.mean(np.array(ranks) == 1), "recall@4": np.mean(shares), "mrr": np.mean(1 / np.array(ranks))}
    assert values == pytest.approx(wanted, abs=1e-12)
    header, *lines = (line.split("\t") for line in (index / "r.tsv").read_text().splitlines())
    assert header == ["file", "query", "rank", "hit", "cosine" if by == "cosine" else "distance", "right"]
    assert [int(line[2]) for line in lines] == ranks and [line[1] for line in lines] == [name("q", q) for q in range(Q)]
    assert [line[3] for line in lines] == [name("d", d) for d in order[:, 0]]
    nearest = distances(by).min(1)
    assert [float(line[4]) for line in lines] == pytest.approx(1 - nearest if by == "cosine" else nearest, abs=1e-9)
    assert [line[5] == "yes" for line in lines] == [rank == 1 for rank in ranks]


def test_random_rows_find_what_chance_says(empty: Workdir) -> None:
    """Over many queries that know nothing, the means are the chance levels."""
    rng = np.random.default_rng(4)
    x, queries = rng.normal(size=(40, 5)), rng.normal(size=(4000, 5))
    relevant = [(q, int(d)) for q in range(4000) for d in rng.choice(40, 1 + q % 3, replace=False)]
    records = relrep.evaluate(x, queries=queries, relevant=relevant, k=5)
    for r in records[:3]:
        assert r.low <= r.chance <= r.high, r.name


def test_a_bridge_is_measured_in_the_whole_index(index: Workdir) -> None:
    """What the old model's own queries find, a perfect bridge finds; turned queries find nothing."""
    run = "relrep evaluate index.npz --relevant truth.csv --queries queries.npz --queries turned.npz"
    rows = index.here(run).rows
    assert [row["queries"] for row in rows[::5]] == ["queries.npz", "turned.npz"]
    own, turned = (float(row["value"]) for row in rows if row["name"] == "recall@10")
    assert own > 0.7 > 0.2 > turned
    differences = index.here(f"{run} --against queries.npz").rows
    assert [(r["a"], r["b"], r["name"]) for r in differences][1] == ("queries.npz", "turned.npz", "recall@10")
    assert float(differences[1]["difference"]) == pytest.approx(turned - own) and float(differences[1]["high"]) < 0
    assert {r["name"] for r in differences} == {"recall@1", "recall@10", "mrr"}, "thresholds have no paired difference"


def test_each_index_has_queries_of_its_own(index: Workdir) -> None:
    np.savez(index / "other.npz", x=INDEX @ TURN, id=np.array([name("d", n) for n in range(N)]))
    run = "relrep evaluate index.npz other.npz --relevant truth.csv --queries queries.npz --queries turned.npz"
    values = [float(row["value"]) for row in index.here(run).rows if row["name"] == "mrr"]
    assert values[0] == pytest.approx(values[1])
    differences = index.here(f"{run} --against index.npz").rows
    assert all(abs(float(row["difference"])) < 1e-9 for row in differences)


def test_the_exit_code_says_whether_the_recall_is_reached(index: Workdir) -> None:
    run = "relrep evaluate index.npz --task search --queries queries.npz --relevant truth.csv"
    row = index.here(f"{run} --least-recall 0.5").rows[1]
    stderr = index.here(f"{run} --least-recall 0.99", 1).stderr
    assert f"index.npz: recall@10 is {float(row['value']):.3f} ({float(row['low']):.3f} to" in stderr
    assert "the lower end must reach 0.99" in stderr and "too few" not in stderr
    between = (float(row["value"]) + float(row["low"])) / 2
    assert "too few to tell: 60 queries" in index.here(f"{run} --least-recall {between}", 1).stderr
    index.here(f"{run} --least-recall {row['low']}")


def test_queries_without_an_answer_are_counted(index: Workdir) -> None:
    pairs = [(name("q", q), name("d", d) if q > 4 else f"lost-{q}") for q, d in enumerate(ANSWERS) if q < 50]
    write_answers(index / "truth.csv", pairs)
    done = index.here("relrep evaluate index.npz --queries queries.npz --relevant truth.csv")
    assert done.rows[0]["n"] == "45" and "45 queries among 300 items" in done.rows[0]["convention"]
    assert done.stderr.rstrip().endswith(
        "queries.npz: 15 of 60 queries are left out: 10 are not in truth.csv, 5 have no relevant item in index.npz "
        "(q000, q001, q002, …)."
    )
    write_answers(index / "truth.csv", [(name("q", q), f"{d}") for q in range(Q) for d in (name("d", ANSWERS[q]), "lost")])
    done = index.here("relrep evaluate index.npz --queries queries.npz --relevant truth.csv")
    assert done.rows[0]["n"] == "60" and "60 of 120 relevant items are not in the index" in done.stderr


def test_a_split_is_searched_where_it_is_named(index: Workdir) -> None:
    ids, odd = np.array([name("d", n) for n in range(N)]), np.arange(N) % 2 == 1
    np.savez(index / "halves.npz", x=INDEX, id=ids, split=np.where(odd, "train", "test"))
    np.savez(index / "half.npz", x=INDEX[odd], id=ids[odd])
    run = "--queries queries.npz --relevant truth.csv -q --json"
    whole, part, half = (
        index.here(f"relrep evaluate {words} {run}").stdout.replace("halves", "half")
        for words in ("halves.npz", "halves.npz --split train", "half.npz")
    )
    assert "among 300 items" in whole and part == half


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("--task search", 2, "--task search needs --queries FILE"),
        ("--queries queries.npz", 2, "--queries needs --relevant FILE"),
        ("--task search --relevant truth.csv", 2, "--relevant needs --queries FILE"),
        ("--task separation --queries queries.npz --relevant truth.csv", 2, "--queries works only with --task search"),
        ("--task separation --least-recall 0.9", 2, "--least-recall works only with --task search"),
        (
            "--queries queries.npz --queries turned.npz --relevant truth.csv --least-recall 0.9 --against all",
            2,
            "--least-recall does not go with",
        ),
        ("--queries narrow.npz --relevant truth.csv", 3, "narrow.npz: has 3 dims, and index.npz has 8"),
        ("--queries queries.npz --relevant wrong.csv", 3, "names no query: 'a' here, ids such as 'q000' in queries.npz"),
        (
            "--queries queries.npz --relevant odd.csv",
            3,
            "names no item of the index: 'b' here, ids such as 'd000' in index.npz",
        ),
        ("--queries queries.npz --relevant truth.csv --k 301", 3, "Write --k 300 or less"),
        ("--queries queries.npz --relevant truth.csv --rows truth.csv", 2, "truth.csv"),
        ("--task search,foreign --queries queries.npz --relevant truth.csv --rows r.tsv", 2, "Run search and foreign apart"),
    ],
)
def test_what_cannot_be_is_one_line(index: Workdir, words: str, code: int, says: str) -> None:
    np.savez(index / "narrow.npz", x=QUERIES[:, :3], id=np.array([name("q", n) for n in range(Q)]))
    write_answers(index / "wrong.csv", [("a", "d000")])
    write_answers(index / "odd.csv", [("q000", "b")])
    index.error(f"relrep evaluate index.npz {words}", code, says)


def test_the_library_finds_what_the_command_finds(index: Workdir) -> None:
    rows = index.here("relrep evaluate index.npz --queries queries.npz --relevant truth.csv -q").rows
    relevant = {name("q", q): name("d", d) for q, d in enumerate(ANSWERS)}
    e, queries = (relrep.read(str(index / f"{file}.npz")) for file in ("index", "queries"))
    for answers in (
        relevant,
        list(relevant.items()),
        {q: {d: 1, "d000 ": 0} for q, d in relevant.items()},
        index / "truth.csv",
    ):
        records = relrep.evaluate(e, queries=queries, relevant=answers)
        assert [(r.name, repr(r.value).replace("nan", "n/a")) for r in records] == [(r["name"], r["value"]) for r in rows]
    turned = relrep.as_embedding(QUERIES @ TURN, ids=list(relevant), name="turned")
    differences = relrep.evaluate(e, queries=[queries, turned], relevant=relevant, against=0)
    assert differences[1].name == "recall@10" and differences[1].high < 0
    with pytest.raises(relrep.UsageError, match="queries and relevant go together"):
        relrep.evaluate(e, queries=queries)
    with pytest.raises(relrep.UsageError, match="holds no pairs"):
        relrep.evaluate(e, queries=queries, relevant=["q000"])


def test_a_threshold_keeps_its_promise() -> None:
    """Above the threshold, hits are right as often as stated in 95 % of draws, even where every threshold is at the border."""
    rng = np.random.default_rng(0)
    thresholds = [trusted_hits(rng.random(150), rng.random(150) < 0.8999, 0.9) for _ in range(1000)]
    assert 0.02 < np.mean([one is not None for one in thresholds]) < 0.07


def test_a_threshold_is_found_where_there_is_one() -> None:
    rng = np.random.default_rng(1)
    thresholds = []
    for _ in range(100):
        closeness = rng.random(600)
        thresholds.append(trusted_hits(closeness, rng.random(600) < np.where(closeness > 0.4, 0.98, 0.5), 0.9))
    ends = [one.closeness for one in thresholds if one is not None]
    assert len(ends) > 95 and 0.28 < np.median(ends) < 0.4, "the share above 0.28 is 0.9"
    assert np.mean(np.array(ends) < 0.28) < 0.05


def test_thresholds_need_enough_hits() -> None:
    assert fewest_queries(0.9) == 29
    assert trusted_hits(np.arange(28.0), np.ones(28, bool), 0.9) is None
    trusted = trusted_hits(np.arange(29.0), np.ones(29, bool), 0.9)
    assert trusted is not None and (trusted.closeness, trusted.kept) == (-np.inf, 29)
    equal = trusted_hits(np.r_[np.zeros(100), np.ones(100)], np.r_[np.zeros(100, bool), np.ones(100, bool)], 0.9)
    assert equal is not None and (equal.closeness, equal.kept, equal.right) == (0, 100, 100)


def test_pairs_are_those_of_both_files() -> None:
    ids = np.array([b"a", b"b", b"c"])
    queries = relrep.as_embedding(np.eye(3), ids=["q2", "q1", "q3"])
    relevant = np.array([b"q1", b"q2", b"q1", b"q9", b"q3"]), np.array([b"c", b"b", b"a", b"a", b"z"])
    pairs = pairs_in_index(AskedQueries(queries, relevant, "truth"), ids, "index")
    assert (pairs.rows.tolist(), pairs.query.tolist(), pairs.item.tolist()) == ([0, 1], [0, 1, 1], [1, 0, 2])

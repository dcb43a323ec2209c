"""Pairs of items as anchors: reading and writing them, telling which side a file is on, and finding them from few or none."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli import store
from relrep_cli.anchors import alignments
from relrep_cli.anchors.correspondences import Pairs, looks_like_pairs, read_pairs
from relrep_cli.anchors.strategies import Candidates, bootstrap, unsupervised
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.embedding import Embedding, digested_space, row_numbers, text
from relrep_cli.numerics.distances import unit


def space(name: str, ids: list[str], seed: int = 0, d: int = 3) -> Embedding:
    x = np.random.default_rng(seed).normal(size=(len(ids), d)).astype(np.float32)
    return Embedding(x, text(ids), space=name, uri=f"{name or 'file'}.h5")


PAIRS = Pairs(text(["a1", "a2", "both"]), text(["b7", "b8", "both"]), np.array([0.5, 0.25, 1]), ("s", "t"), uri="p.tsv")


# Pairs files


def test_written_pairs_are_read_again() -> None:
    odd = Pairs(text(["tab\there", 'quote"s', "line\nfeed", "é"]), text("wxyz"), np.ones(4), ("s", "t"))
    for pairs in (PAIRS, odd):
        again = read_pairs("p.tsv", pairs.to_text().removesuffix("\n").split("\n"))
        assert again.a.tolist() == pairs.a.tolist() and again.b.tolist() == pairs.b.tolist()
        assert again.spaces == ("s", "t")
    assert PAIRS.to_text().splitlines()[:2] == ["a\tb\tscore\tspace_a\tspace_b", "a1\tb7\t0.500000\ts\tt"]


def test_names_are_the_items_own_where_both_have_one() -> None:
    assert PAIRS.names.tolist() == [b"a1=b7", b"a2=b8", b"both"]
    long = Pairs(text(["x" * 3000, "y" * 3000]), text(["z" * 3000, "y" * 3000]))
    assert [len(name) for name in long.names.tolist()] == [69, 3000]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["x\ty", "1\t2"], "first line must name the columns a and b"),
        (["b\ta", "1\t2"], "first line must name the columns a and b"),
        (["a\tb"], "holds no pairs"),
        (["a\tb", "1\t2", "3"], "line 3 does not hold 2 cells"),
        (["a\tb", "1\t"], "line 2 does not hold 2 cells with two ids"),
        (["a\tb", "1\t2", "1\t3"], "1 occurs more than once in column a"),
        (["a\tb", "1\t2", "3\t2"], "2 occurs more than once in column b"),
        (["a\tb", '"1\t2'], "cannot be read as pairs"),
    ],
)
def test_other_files_are_no_pairs(lines: list[str], words: str) -> None:
    with pytest.raises(DataError, match=rf"p\.tsv: .*{words}"):
        read_pairs("p.tsv", lines)


def test_sides_are_a_and_b_and_commas_serve_too() -> None:
    assert read_pairs("p.csv", ["a,b", "1,2"], "b").side == "b"
    assert looks_like_pairs("a,b\n") and looks_like_pairs("a\tb\tscore") and not looks_like_pairs("id\ta\tb")
    with pytest.raises(UsageError, match=r"p\.tsv::c: a pairs file has no such side"):
        read_pairs("p.tsv", ["a\tb", "1\t2"], "c")


# Which side a file is on


def test_a_file_is_on_the_side_of_its_space_else_of_its_ids() -> None:
    ours, theirs = ["a1", "a2", "both"], ["b7", "b8", "both"]
    assert PAIRS.side_of(space("s", ours + theirs)) == "a", "the space decides, though all ids are there"
    assert PAIRS.side_of(space("t", ours + theirs)) == "b"
    assert PAIRS.side_of(space("other", ours)) == "a"
    assert PAIRS.side_of(space("other", theirs)) == "b"
    assert Pairs(PAIRS.a, PAIRS.b, side="b").side_of(space("s", ours)) == "b", "the user decides"
    unnamed = space("", ours + theirs)
    assert Pairs(PAIRS.a, PAIRS.b, spaces=("s", digested_space(unnamed))).side_of(unnamed) == "b"
    assert Pairs(PAIRS.a, PAIRS.a).side_of(space("other", ours)) == "a", "both columns are one"
    spare = space("other", ["b8"], 1)
    assert PAIRS.side_of(space("other", ["b7", "both"]), [spare]) == "b", "with what another file of the space has"


def test_ambiguous_and_foreign_files_are_refused() -> None:
    with pytest.raises(DataError, match=r"other\.h5: has the ids of both columns of p\.tsv.* Write p\.tsv::a or p\.tsv::b"):
        PAIRS.side_of(space("other", ["a1", "a2", "both", "b7", "b8"]))
    with pytest.raises(
        DataError, match=r"other\.h5: 1 ids of column a of p\.tsv are not among its items, nor are 3 of column b"
    ):
        PAIRS.side_of(space("other", ["a1", "a2"]))


def test_vectors_are_those_of_the_own_side() -> None:
    a, b = space("s", ["a2", "a1", "both"], 1), space("t", ["both", "b7", "b8"], 2)
    names = PAIRS.names
    assert np.array_equal(PAIRS.vectors(a, names), a.x[[1, 0, 2]])
    assert np.array_equal(PAIRS.vectors(b, names[::-1]), b.x[[0, 2, 1]])
    assert PAIRS.ids(b, names[:1]).tolist() == [b"b7"]


# Finding them


def clouds(n: int, d: int, seed: int = 0) -> np.ndarray:
    """(n, d) rows in a few clouds of unlike size and width, which no rotation but the identity maps onto themselves."""
    rng = np.random.default_rng(seed)
    which = rng.choice(8, n, p=np.arange(1, 9) / 36)
    return (3 * rng.normal(size=(8, d))[which] + rng.exponential(size=(n, d)) * np.linspace(0.5, 2, d)).astype(np.float32)


def two(n: int = 700, d: int = 10, noise: float = 0.02) -> tuple[Candidates, Candidates, np.ndarray, np.ndarray]:
    """A space and a turned, moved, noisy copy of it whose rows are shuffled; the rotation, and where each row went."""
    rng = np.random.default_rng(5)
    x = clouds(n, d)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    order = rng.permutation(n)
    y = ((x @ rotation + noise * rng.normal(size=x.shape)) * 3 + 10)[order].astype(np.float32)
    sides = [Candidates((Embedding(z, row_numbers(n), uri=f"{name}.h5"),), (np.arange(n),)) for z, name in ((x, "a"), (y, "b"))]
    return sides[0], sides[1], rotation, np.argsort(order)


def silent(done: int, total: int, note: str) -> None:
    pass


def right(places: np.ndarray, went: np.ndarray) -> float:
    return float((went[places[:, 0]] == places[:, 1]).mean())


@pytest.mark.slow
def test_a_few_pairs_grow_into_many() -> None:
    a, b, _, went = two()
    rows = np.random.default_rng(1).permutation(700)[:8]
    seeds = np.stack([rows, went[rows]], 1)
    actual = bootstrap(a, b, 100, np.random.default_rng(0), seeds=seeds, advance=silent)
    assert np.array_equal(actual.places[:8], seeds), "the known ones come first"
    assert len(actual.places) == 100 and len(np.unique(actual.places[:, 0])) == len(np.unique(actual.places[:, 1])) == 100
    assert right(actual.places, went) > 0.98
    every = np.arange(700)
    assert actual.confidence > 0.9 and actual.hits(every, went).mean() > 0.95
    with pytest.raises(DataError, match="2 known pairs are too few"):
        bootstrap(a, b, 100, np.random.default_rng(0), seeds=seeds[:2], advance=silent)


@pytest.mark.parametrize("seed", range(2))
def test_no_pairs_are_needed_where_clouds_have_a_shape(seed: int) -> None:
    a, b, _, went = two()
    actual = unsupervised(a, b, 100, np.random.default_rng(seed), advance=silent)
    assert actual.confidence > 0.9 and right(actual.places, went) > 0.98


@pytest.mark.slow
def test_confidence_is_low_where_nothing_corresponds() -> None:
    """Also where there are so many dims that a rotation can follow whatever pairs it was given."""
    for n, d in ((300, 12), (200, 100)):
        x, y = np.random.default_rng(0).normal(size=(2, n, d)).astype(np.float32)
        sides = [Candidates((Embedding(z, row_numbers(n)),), (np.arange(n),)) for z in (x, y)]
        actual = unsupervised(sides[0], sides[1], 50, np.random.default_rng(0), advance=silent, restarts=1)
        assert actual.confidence < 0.2
        pairs = np.stack([np.arange(10), np.arange(10)], 1)
        assert bootstrap(*sides, 50, np.random.default_rng(0), seeds=pairs, advance=silent).confidence < 0.2


def test_confidence_is_the_share_that_has_a_counterpart() -> None:
    """With the true rotation, and of half of the rows the counterparts gone; never more, whatever the draw."""
    a, b, _, went = two(2000)
    u, v = (alignments.centred_unit_rows(c.spaces[0], c.rows[0]) for c in (a, b))
    rotation = alignments.procrustes(u, v[went])
    for share in (1.0, 0.5, 0.0):
        left = np.sort(went[: int(1000 * share)].tolist() + went[1000:].tolist())
        actual = [alignments.confidence(u[:1000], v[left], rotation, np.random.default_rng(s)) for s in range(5)]
        assert share - 0.15 < min(actual) <= max(actual) <= share


def test_the_rotation_of_procrustes_is_found_exactly() -> None:
    x = clouds(100, 6).astype(np.float64)
    for d in (6, 4):
        rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(6, d)))[0]
        if d == 6:
            assert alignments.procrustes(x, x @ rotation) == pytest.approx(rotation, abs=1e-9)
        actual = alignments.procrustes(x @ rotation, x)
        assert actual.shape == (d, 6) and actual @ actual.T == pytest.approx(np.eye(d), abs=1e-9)


def test_a_match_is_mutual_where_each_is_nearest_to_the_other() -> None:
    """Both rows of u fall nearest to the first of v, which is nearest to the first of u alone. The second of v is far."""
    angle = np.deg2rad([0.0, 20.0, 5.0, 180.0])
    u, v = np.split(np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32), 2)
    actual = alignments.match(u, v, np.eye(2), np.array([1, 0]))
    assert actual.b.tolist() == [0, 0] and actual.mutual.tolist() == [False, True]
    wanted = [np.sin(np.deg2rad(15 / 2)) / np.sin(np.deg2rad(160 / 2)), np.sin(np.deg2rad(5 / 2))]
    assert actual.ratio == pytest.approx(wanted, rel=1e-5)


def test_known_pairs_count_as_much_as_all_other_rows() -> None:
    """Rows that tell nothing follow any rotation; thirty known pairs lead it from the wrong one to their own."""
    rng = np.random.default_rng(0)
    u, v = (unit(side).astype(np.float32) for side in rng.normal(size=(2, 600, 5)))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    known = u[:30], (u[:30] @ rotation).astype(np.float32)
    actual = alignments.refine(u, v, np.eye(5), np.random.default_rng(1), 40, known)
    assert np.einsum("ij,ij->i", known[0] @ actual, known[1]).mean() > 0.9


def test_pairs_without_meaning_are_not_stable() -> None:
    """In so many dims that a rotation fits any few pairs it is shown."""
    u, v = (unit(side).astype(np.float32) for side in np.random.default_rng(0).normal(size=(2, 60, 64)))
    rows, every = np.arange(60), np.ones(60, bool)
    assert alignments.stable(u, v, alignments.Match(rows, rows, np.ones(60), every), np.random.default_rng(1)).mean() < 0.3
    assert alignments.stable(u, u, alignments.Match(rows, rows, np.ones(60), every), np.random.default_rng(1)).mean() > 0.7


def test_principal_axes_do_not_depend_on_the_frame() -> None:
    """The first start is right by itself where variances and skews tell axes apart."""
    x = unit(clouds(3000, 5).astype(np.float64))
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0]
    start = next(alignments.initial_rotations(x, x @ rotation, np.random.default_rng(0), 0))
    assert start == pytest.approx(rotation, abs=1e-6)


def test_transport_plans_carry_equal_masses() -> None:
    plan = alignments._plan(np.random.default_rng(0).random((30, 30)))
    assert plan.sum(1) == pytest.approx(np.ones(30)) and plan.sum(0) == pytest.approx(np.ones(30), abs=0.05)
    assert (plan >= 0).all()


# The command


@pytest.fixture
def pair(work: Workdir) -> Workdir:
    """x.h5 and y.h5: the same items under ids of their own, every fourth a test row; ids.tsv: who is who; known.tsv: ten."""
    a, b, _, went = two(800)
    for name, c, ids in (("x", a, [f"x{i:04d}" for i in range(800)]), ("y", b, [f"y{i:04d}" for i in np.argsort(went)])):
        split = ["test" if int(i[1:]) % 4 == 3 else "train" for i in ids]
        np.savez(work / f"{name}.npz", x=c.spaces[0].x, ids=ids, split=split)
        work.here(f"relrep embed {name}.npz -o {name}.h5 -q")
    lines = [f"x{i:04d}\ty{i:04d}\n" for i in range(800)]
    (work / "ids.tsv").write_text("a\tb\n" + "".join(lines))
    (work / "known.tsv").write_text("a\tb\n" + "".join(lines[0:40:4]))
    return work


def values(stdout: str) -> dict[str, str]:
    return {line.split("\t")[0]: line.split("\t")[1] for line in stdout.splitlines()[1:]}


@pytest.mark.slow
def test_pairs_of_files_without_common_ids_project_and_compare(pair: Workdir) -> None:
    command = "relrep anchor x.h5 y.h5 -n 60 --strategy bootstrap --seeds known.tsv --truth ids.tsv -o p.tsv"
    done = pair.here(command)
    row = values(done.stdout)
    assert float(row["confidence"]) > 0.9 and float(row["pairs right"]) > 0.98 and float(row["rows right at rank 1"]) > 0.95
    assert "p.tsv: 60 pairs of x.h5 and y.h5, confidence" in done.stderr
    a, b = (np.loadtxt(pair / "p.tsv", str, delimiter="\t", skiprows=1)[:, i] for i in (0, 1))
    assert a[:10].tolist() == [f"x{i:04d}" for i in range(0, 40, 4)]
    assert not any(int(i[1:]) % 4 == 3 for i in (*a, *b)), "training rows alone"
    assert "p.tsv: up to date." in pair.here(command).stderr
    for name in "xy":
        pair.here(f"relrep project {name}.h5 --anchors p.tsv --center -o {name}.rel.h5")
    x, y = (store.read(str(pair / f"{name}.rel.h5")) for name in "xy")
    assert x.space == y.space and x.var["anchor"][0] == b"x0000=y0000"
    which = np.argsort(np.argsort([i[1:] for i in y.ids.tolist()]))
    assert np.einsum("ij,ij->i", unit(x.x[which]), unit(np.asarray(y.x))).mean() > 0.98
    report = pair.here("relrep anchor --report p.tsv x.h5 --json").stdout
    assert '"rank"' in report
    assert "pairs right\t1.0" in pair.here("relrep anchor --report p.tsv x.h5 y.h5 --truth ids.tsv").stdout.replace(
        "0.98", "1.0"
    )


@pytest.mark.slow
def test_true_pairs_are_ordinary_anchors(work: Workdir) -> None:
    """Pairs of equal ids make the same relative space as a list of these ids, to the last bit."""
    ids = store.read(str(work / "anchors.h5")).ids.tolist()
    (work / "t.txt").write_bytes(b"".join(i + b"\n" for i in ids))
    (work / "t.tsv").write_bytes(b"a\tb\n" + b"".join(i + b"\t" + i + b"\n" for i in ids))
    for name in ("t.txt", "t.tsv", "t.tsv::b"):
        work.here(f"relrep project b.h5 --anchors {name} -o {name[:5]}{len(name)}.h5")
    read_back = [store.read(str(work / name)) for name in ("t.txt5.h5", "t.tsv5.h5", "t.tsv8.h5")]
    assert len({e.digest for e in read_back}) == len({e.space for e in read_back}) == 1
    one = work.here("relrep stitch a.h5 b.h5 --anchors t.tsv --head linear").stdout
    assert one == work.here("relrep stitch a.h5 b.h5 --anchors t.txt --head linear").stdout
    work.here("relrep compare a.h5 b.h5 --anchors t.tsv --metric jaccard -q")


def test_pairs_that_fit_no_file_or_both_sides_are_refused(work: Workdir) -> None:
    (work / "p.tsv").write_text("a\tb\nitem-001\titem-002\nitem-004\titem-005\n")
    assert "Write p.tsv::a or p.tsv::b" in work.here("relrep project a.h5 --anchors p.tsv -o x.h5", 3).stderr
    work.here("relrep project a.h5 --anchors p.tsv::a -o x.h5")
    work.here("relrep project b.h5 --anchors p.tsv::b -o y.h5")
    x, y = (store.read(str(work / f"{name}.h5")) for name in "xy")
    assert x.space == y.space
    assert "x.h5: exists" in work.here("relrep project a.h5 --anchors p.tsv::b -o x.h5", 2).stderr, "not up to date"
    (work / "q.tsv").write_text("a\tb\nnone\titem-002\nitem-004\tnone\n")
    assert (
        "1 ids of column a of q.tsv are not among its items"
        in work.here("relrep project a.h5 --anchors q.tsv -o z.h5", 3).stderr
    )


@pytest.mark.slow
def test_failure_is_said_and_nothing_written(work: Workdir) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 300, 20)).astype(np.float32)
    for name, z in (("x", x), ("y", y)):
        np.savez(work / f"{name}.npz", x=z, ids=[f"{name}{i}" for i in range(300)])
        work.here(f"relrep embed {name}.npz -o {name}.h5 -q")
    done = work.here("relrep anchor x.h5 y.h5 -n 20 --strategy unsupervised --restarts 2 -o p.tsv", 1)
    assert "failed: confidence 0." in done.stderr and float(values(done.stdout)["confidence"]) < 0.2
    assert not (work / "p.tsv").exists() and not work.leftovers()
    work.here("relrep anchor x.h5 y.h5 -n 20 --strategy unsupervised --restarts 2 --confidence 0 -o p.tsv")


@pytest.mark.slow
def test_known_pairs_must_be_training_rows(pair: Workdir) -> None:
    command = "relrep anchor x.h5 y.h5 -n 60 --strategy bootstrap --seeds bad.tsv -o p.tsv"
    (pair / "bad.tsv").write_text((pair / "known.tsv").read_text() + "x0003\ty0003\n")
    assert "1 of 11 pairs are not among the training items, such as x0003 of x.h5" in pair.here(command, 3).stderr
    pair.here(command + " --split all")


@pytest.mark.slow
def test_the_same_pairs_on_any_number_of_threads(work: Workdir) -> None:
    ids = store.read(str(work / "anchors.h5")).ids.tolist()
    (work / "known.tsv").write_bytes(b"a\tb\n" + b"".join(i + b"\t" + i + b"\n" for i in ids))
    command = "relrep anchor a.h5 b.h5 -n 30 --strategy bootstrap --seeds known.tsv --confidence 0 -o - -q"
    assert work.run(f"{command} -@ 1").out == work.run(f"{command} -@ 2").out


@pytest.mark.parametrize("n", [8, 20, 60])
def test_confidence_of_strangers_is_low_however_few_they_are(n: int) -> None:
    """Rows of two clouds with nothing in common: the bound is above a fifth by chance alone at most once in 20 times."""
    actual = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        actual.append(alignments.confidence(rng.normal(size=(n // 5, 5)), rng.normal(size=(n, 5)), np.eye(5), rng))
    assert np.mean(np.array(actual) > 0.2) <= 0.05

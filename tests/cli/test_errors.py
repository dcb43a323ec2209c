"""Error messages are interface: one line that says where, what, what was found and what to do, and the right exit code."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
import pytest
from conftest import ANCHORS, N, Workdir, columns, only_line, vectors

USAGE, DATA, WRITE = 2, 3, 74
Make = Callable[[Workdir], Any]


@dataclass(frozen=True)
class Case:
    """A command that must fail: with which code, saying what, after which preparation."""

    name: str
    command: str
    code: int
    says: str  # parts of the message, in their order, with … between
    make: Make = lambda work: None
    shell: bool = False


def cases(*actual: Case) -> Any:
    """One test for each; every tenth in a real shell, the others within this process, which says the same."""
    sampled = [replace(case, shell=number % 10 == 0) for number, case in enumerate(actual)]
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in sampled])


def check(work: Workdir, case: Case) -> None:
    """One line with every word; nothing written, nothing left behind."""
    case.make(work)
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in work.path.rglob("*")}
    runs = work.run if case.shell or set(case.command) & set("|<>") else work.here
    line = only_line(runs(f"relrep {case.command}", case.code))
    assert re.search(".*".join(map(re.escape, case.says.split(" … "))), line), line
    assert re.match(r"relrep( [a-z]+)?: \S.*\.$", line), line
    assert {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in work.path.rglob("*")} == before
    assert not work.leftovers()


def npz(name: str = "bad", **changes: Any) -> Make:
    """Write `<name>.npz`: the vectors of a with columns replaced, or left out where None."""

    def make(work: Workdir) -> None:
        x, clouds = vectors()
        arrays = {"x": x, **columns(clouds), **changes}
        np.savez(work / f"{name}.npz", **{k: v for k, v in arrays.items() if v is not None})

    return make


def changed(array: np.ndarray, row: int, value: Any) -> np.ndarray:
    copy = array.copy()
    copy[row] = value
    return copy


def npy(**arrays: np.ndarray) -> Make:
    def make(work: Workdir) -> None:
        for name, array in arrays.items():
            np.save(work / f"{name}.npy", array)

    return make


def file(name: str, content: bytes) -> Make:
    return lambda work: (work / name).write_bytes(content)


def cut(length: int) -> Make:
    """bad.h5: a.h5 without its end; a negative length counts from there."""
    return lambda work: (work / "bad.h5").write_bytes((work / "a.h5").read_bytes()[:length])


X, CLOUDS = vectors()
COLUMNS = columns(CLOUDS)
IDS, SPLIT = COLUMNS["ids"], COLUMNS["split"]
LEAK = np.where(SPLIT == "train", "test", "train")

# --- files: what they hold, and whether they are files at all ---

# fmt: off
BAD_FILES = cases(
    Case("missing", "info gone.h5", DATA, "gone.h5: no such file … Check the path"),
    Case("missing of two", "compare a.h5 gone.h5", DATA, "gone.h5: no such file … Check the path"),
    Case("directory", "compare a.h5 .", DATA, ".: this is a folder … Name a file"),
    Case("text as HDF5", "info bad.h5", DATA, "bad.h5: this is text, not HDF5 … right name", file("bad.h5", b"hello\nyou\n")),
    Case("empty", "info bad.h5", DATA, "bad.h5: this is an empty file", file("bad.h5", b"")),
    Case("npy as HDF5", "info bad.h5", DATA,
         "NumPy array (.npy), not HDF5 … Give it a name", file("bad.h5", b"\x93NUMPY" + bytes(99))),
    Case("cut to half", "compare bad.h5 b.h5", DATA, "bad.h5: truncated:  … bytes of … again", cut(12_000)),
    Case("one byte short", "compare bad.h5 b.h5", DATA, "bad.h5: truncated:  … bytes of … again", cut(-1)),
    Case("cut in the header", "compare bad.h5 b.h5", DATA, "bad.h5: ", cut(100)),
    Case("member", "info a.h5::/layer/3", DATA, "a.h5::/layer … found / … Write a.h5::/"),
    Case("which array", "compare bad.npz b.h5", DATA, "which array? … y (240, 16) … Write bad.npz::", npz(x=None, y=X, z=X)),
    Case("cell", "info bad.csv", DATA,
         "bad.csv: row 3, column u: 'abc' is not a number", file("bad.csv", b"id,u,v\na,1,2\nb,abc,3\n")),
    Case("duplicate ids", "compare bad.npz b.h5", DATA,
         "bad.npz: 1 ids occur more than once: item-003 … an id of its own", npz(ids=changed(IDS, 9, "item-003"))),
    Case("empty id", "compare bad.npz b.h5", DATA, "bad.npz: item 8 has an empty id", npz(ids=changed(IDS, 7, ""))),
    Case("NaN", "compare bad.npz b.h5", DATA, "bad.npz: row 7 (id item-007) … NaN … Remove", npz(x=changed(X, 7, np.nan))),
    Case("NaN without ids", "compare bad.npy b.h5", DATA, "bad.npy: row 7 (id 7) … NaN", npy(bad=changed(X, 7, np.nan))),
    Case("infinity", "project bad.npz -a anchors.h5 -o x.h5", DATA,
         "row 0 (id item-000) … infinity", npz(x=changed(X, 0, np.inf))),
    Case("one number", "info bad.npy", DATA, "bad.npy: shape (5,) … Reshape", npy(bad=np.zeros(5))),
    Case("no numbers", "info bad.npy", DATA, "bad.npy … shape (0, 3)", npy(bad=np.zeros((0, 3)))),
    Case("pickle", "info bad.npy", DATA,
         "bad.npy … object … never opened", lambda w: np.save(w / "bad.npy", np.array([[{}]]), allow_pickle=True)),
    Case("too large for float32", "embed bad.npy -o x.h5 -q", DATA,
         "row 1 … out of range for float32 … --dtype", npy(bad=np.array([[1.0], [1e300]]))),
)
# fmt: on


@BAD_FILES
def test_files(work: Workdir, case: Case) -> None:
    check(work, case)


# --- two files that do not go together ---

# fmt: off
PAIRS = cases(
    Case("no common ids", "compare a.h5 bad.npz", DATA,
         "a.h5 and bad.npz: no common ids … 'item-000' in a.h5 … 'x0' in bad.npz",
         npz(ids=np.array([f"x{i}" for i in range(N)]))),
    Case("unequal lengths", "compare u.npy v.npy -q", DATA,
         "neither has ids … 30 rows cannot pair with 20 … relrep embed", npy(u=np.eye(30), v=np.eye(20))),
    Case("loss", "compare a.h5 bad.npz --require-all", DATA,
         f"a.h5 and bad.npz … {N - 9} common ids of {N} and {N - 9} … --require-all",
         npz(x=X[9:], **{k: v[9:] for k, v in COLUMNS.items()})),
    Case("dims", "compare a.h5 c.h5 -m cosine", USAGE,
         "a.h5 and c.h5: cosine … dims differ (16 and 12) … project both … knn-jaccard"),
    Case("dims, -m jaccard", "compare a.h5 c.h5 -m jaccard", USAGE, "dims differ (16 and 12)"),
    Case("k of all", f"compare a.h5 b.h5 -m knn-jaccard --k {N} -q", USAGE,
         f"k = {N} needs more than {N} items … --k {N - 1} or less"),
    Case("no anchors there", "project bad.npz -a anchors.h5 -o x.h5", DATA,
         f"bad.npz: {ANCHORS} anchors … another space … --anchor-vectors FILE", npz(ids=np.array([f"x{i}" for i in range(N)]))),
    Case("some anchors missing", "project a.h5 -a ids.txt -o x.h5", DATA,
         "a.h5: 1 anchors are not among its 240 items: lost … --anchor-vectors FILE", file("ids.txt", b"item-003\nlost\n")),
    Case("anchors without ids", "project a.h5 -a u.npy -o x.h5 -q", DATA,
         "u.npy: has no ids … relrep anchor", npy(u=np.eye(16))),
    Case("relative again", "project a.rel.h5 -a anchors.h5 -o x.h5", DATA,
         "a.rel.h5: is a relative representation already … absolute file"),
    Case("leak", "stitch a.h5 bad.npz -a anchors.h5 --head linear", DATA,
         "items are training rows of a.h5 and test rows of bad.npz, such as item- … one split for all", npz(split=LEAK)),
    Case("no test rows", "stitch a.h5 bad.npz -a anchors.h5 --head linear", DATA,
         "bad.npz: no rows of split 'test'", npz(split=np.full(N, "train"))),
    Case("no train rows", "stitch bad.npz a.h5 -a anchors.h5 --head linear", DATA,
         "bad.npz … no row 'train' … training rows", npz(split=np.full(N, "test"))),
    Case("split to draw", "stitch a.h5 b.h5 -a anchors.h5 --test-size 0.2", USAGE,
         "--test-size draws a split for files without one, and all files have one … Leave it out"),
    Case("no column", "stitch a.h5 b.h5 -a anchors.h5 -t lable", DATA, "a.h5: no column 'lable' … columns found: label, split"),
    Case("one class", "stitch bad.npz bad.npz -a anchors.h5", DATA,
         "column label: 1 class … needs two", npz(label=np.full(N, "one"))),
)
# fmt: on


@PAIRS
def test_pairs(work: Workdir, case: Case) -> None:
    check(work, case)


# --- anchors, encoders and lists ---

# fmt: off
CHOICES = cases(
    Case("no training split", "anchor bad.npz -n 2 -o x.h5", DATA,
         "bad.npz: no items of split 'train' … found: test … --split", npz(split=np.full(N, "test"))),
    Case("unknown split", "anchor a.h5 -n 2 --split valid -o x.h5", DATA, "no items of split 'valid' … found: test, train"),
    Case("split of compare", "compare a.h5 b.h5 --split valid", DATA, "a.h5: no rows of split 'valid' … found: test, train"),
    Case("too many", "anchor a.h5 -n 200 -o x.h5", DATA, "200 anchors requested, but only 160 … -n 160 or less"),
    Case("per-class unlabelled", "anchor bad.npz -n 2 --strategy per-class -o x.h5", DATA,
         "bad.npz: no column 'label' … found: split", npz(label=None)),
    Case("both to stdout", "anchor a.h5 -n 2 --ids-only -o - | cat", USAGE, "--ids-only … -o - … Name a file"),
    Case("anchors missing", "project a.h5 -a gone.h5 -o x.h5", DATA, "gone.h5: no such file … Check the path"),
    Case("anchor list missing", "project a.h5 -a gone.txt -o x.h5", DATA, "gone.txt: no such file … Check the path"),
    Case("anchor list empty", "project a.h5 -a ids.txt -o x.h5", DATA,
         "ids.txt: holds no ids … one a line", file("ids.txt", b"\n\n")),
    Case("anchor list twice", "project a.h5 -a ids.txt -o x.h5", DATA,
         "ids.txt: 1 ids … more than once … item-003", file("ids.txt", b"item-003\nitem-003\n")),
    Case("anchor list in Latin-1", "project a.h5 -a ids.txt -o x.h5", DATA,
         "ids.txt: is not UTF-8 text", file("ids.txt", b"caf\xe9\n")),
    Case("ids: too few", "embed u.npy --ids ids.txt -o x.h5", DATA,
         "u.npy: 3 rows, but 2 lines of id … one a row", lambda w: (npy(u=np.eye(3))(w), file("ids.txt", b"a\nb\n")(w))),
    Case("ids: twice", "embed u.npy --ids ids.txt -o x.h5", DATA,
         "u.npy: 1 ids … more than once: a", lambda w: (npy(u=np.eye(3))(w), file("ids.txt", b"a\nb\na\n")(w))),
    Case("ids: missing", "embed a.npz --ids gone.txt -o x.h5", DATA, "gone.txt: no such file … Check the path"),
    Case("no images", "embed . -e pca -o x.h5", DATA, ".: no items in this folder … --source: cifar"),
    Case("encoder missing", "embed . -e gone.safetensors -o x.h5", DATA, "gone.safetensors: no such file … relrep embed"),
    Case("encoder damaged", "embed . -e bad.safetensors -o x.h5", DATA,
         "bad.safetensors: not a safetensors file", file("bad.safetensors", b"nonsense")),
)
# fmt: on


@CHOICES
def test_choices(work: Workdir, case: Case) -> None:
    check(work, case)


# --- the words of the command ---

# fmt: off
USES = cases(
    Case("option of another metric", "compare a.h5 b.h5 -m cosine --k 3", USAGE,
         "--k is not an option of metric cosine … jaccard, knn-jaccard"),
    Case("option of another head", "stitch a.h5 b.h5 -a anchors.h5 --head linear --hidden 3", USAGE,
         "--hidden is not an option of head linear … mlp"),
    Case("option of an encoder", "embed a.npz --dim 3 -o x.h5", USAGE, "--dim does not go with --encoder none"),
    Case("encoder not trained", "embed a.npz --save-encoder e.safetensors -o x.h5", USAGE,
         "--save-encoder needs an encoder … --encoder"),
    Case("space of an encoder", "embed . -e pca --space mine -o x.h5", USAGE, "--space is for imported vectors"),
    Case("fail under nan", "compare a.h5 b.h5 --fail-under nan", USAGE, "--fail-under is nan"),
    Case("one file alone", "compare a.h5 a.h5 --reference first", USAGE, "is the only file"),
    Case("k of 0", "compare a.h5 b.h5 -m jaccard --k 0", USAGE, "--k is 0 … at least 1"),
    Case("k of ten", "compare a.h5 b.h5 -m jaccard --k ten", USAGE, "--k is 'ten' … an integer, or several with commas"),
    Case("estimator", "compare a.h5 b.h5 -m cka --estimator fair", USAGE, "--estimator … 'fair' … unbiased, biased"),
    Case("seed", "compare a.h5 b.h5 --seed -1", USAGE, "--seed … 0 or more"),
    Case("no metric", "compare a.h5 b.h5 -m ,", USAGE, "no metric is named … cosine"),
    Case("no head", "stitch a.h5 b.h5 -a anchors.h5 --head ''", USAGE, "no head is named … linear"),
    Case("one file", "compare a.h5", USAGE, "two or more files"),
    Case("one file to stitch", "stitch a.h5 -a anchors.h5", USAGE, "two or more files"),
    Case("no file", "info", USAGE, "Missing argument 'FILE...' … relrep info --help"),
    Case("no anchors", "project a.h5 -o x.h5", USAGE, "--anchors FILE is missing … relrep anchor"),
    Case("no output", "project a.h5 -a anchors.h5", USAGE, "-o FILE is missing … -o -"),
    Case("similarity alone", "compare a.h5 b.h5 --center", USAGE, "--center … --anchors FILE … missing"),
    Case("no such device", "project a.h5 -a anchors.h5 --device abacus -o x.h5", USAGE, "--device abacus … auto, cpu"),
    Case("no cuda", "anchor a.h5 -n 3 --strategy kmeans --device cuda:99 -o x.h5", USAGE, "--device cuda:99 … auto, "),
    Case("stdin twice", "compare - - -m cosine < a.h5", USAGE, "-: standard input … once … Name a file"),
    Case("dtype", "project a.h5 -a anchors.h5 --dtype float8 -o x.h5", USAGE, "--dtype … float16, float32, float64"),
)
# fmt: on


@USES
def test_usage(work: Workdir, case: Case) -> None:
    check(work, case)


# --- outputs ---

PROJECT = "project a.h5 -a anchors.h5 -s euclidean"
# fmt: off
OUTPUTS = cases(
    Case("no folder", f"{PROJECT} -o no/x.h5", WRITE, "no/x.h5: there is no folder no … Make it first"),
    Case("exists", f"{PROJECT} -o b.rel.h5", USAGE, "b.rel.h5: exists … --force"),
    Case("folder", f"{PROJECT} -o sub --force", USAGE, "sub: is a folder … Name a file", lambda w: (w / "sub").mkdir()),
    Case("device", f"{PROJECT} -o /dev/full --force", USAGE, "/dev/full: exists and is not a regular file"),
    Case("input", f"{PROJECT} -o a.h5 --force", USAGE, "a.h5: is also an input … another name"),
    Case("input, spelled otherwise", f"{PROJECT} -o ../work/a.h5 --force", USAGE, "is also an input"),
    Case("input by a symbolic link", f"{PROJECT} -o link.h5 --force", USAGE,
         "link.h5: is also an input", lambda w: (w / "link.h5").symlink_to("a.h5")),
    Case("input by a hard link", f"{PROJECT} -o link.h5 --force", USAGE,
         "link.h5: is also an input", lambda w: os.link(w / "a.h5", w / "link.h5")),
    Case("its anchors", f"{PROJECT} -o anchors.h5 --force", USAGE, "anchors.h5: is also an input"),
    Case("compare's input", "compare a.h5 b.h5 -o b.h5 --force", USAGE, "b.h5: is also an input"),
    Case("compare's anchors", "compare a.h5 b.h5 -a anchors.h5 -o anchors.h5 --force", USAGE, "anchors.h5: is also an input"),
    Case("row values over an input", "compare a.h5 b.h5 --per-row a.h5 --force", USAGE, "a.h5: is also an input"),
    Case("two outputs in one", "compare a.h5 b.h5 --per-row x.tsv -o x.tsv", USAGE,
         "x.tsv: -o and --per-row name the same file"),
    Case("embed's input", "embed a.npz -o a.npz --force", USAGE, "a.npz: is also an input"),
    Case("a member of an input", f"{PROJECT.replace('a.h5', 'a.h5::/', 1)} -o a.h5 --force", USAGE, "a.h5: is also an input"),
)
# fmt: on


@OUTPUTS
def test_outputs(work: Workdir, case: Case) -> None:
    check(work, case)


# --- what is no error ---


def test_dims_in_a_table_of_several(work: Workdir) -> None:
    """Where other metrics have a value, the one without says why and the exit code is 0."""
    rows = {r["metric"]: r for r in work.here("relrep compare a.h5 c.h5 -m cosine,jaccard,cka,knn-jaccard -q").rows}
    assert {m for m, r in rows.items() if r["value"] == "n/a"} == {"cosine", "jaccard"}
    assert rows["cosine"]["convention"].startswith("n/a: dims differ (16 and 12)")
    assert 0 < float(rows["cka"]["value"]) < 1 and 0 < float(rows["knn-jaccard"]["value"]) < 1
    assert all(r["value"] != "n/a" for r in work.here("relrep compare a.h5 c.h5 -q").rows)  # of the default metrics
    reference = work.here("relrep compare a.h5 c.h5 -m cosine,jaccard -a anchors.h5 -q").rows
    assert [(r["projection"], r["value"] == "n/a") for r in reference] == [
        ("absolute", True), ("absolute", True), ("cosine", False), ("cosine", False), ("ratio", True), ("ratio", True)
    ]  # fmt: skip


def test_info_counts_what_others_refuse(work: Workdir) -> None:
    x = changed(changed(changed(X, 7, np.nan), 8, 0), 9, X[10])
    npz(x=x, ids=changed(IDS, 3, "item-004"))(work)
    facts = {r["name"]: r["value"] for r in work.here("relrep info bad.npz").rows}
    counted = ("rows not finite", "zero rows", "duplicate rows", "duplicate ids")
    assert [facts[name] for name in counted] == ["1", "1", "1", "1"]


def test_a_bad_file_in_a_batch(work: Workdir) -> None:
    """Its records say error, the rest go on, and the exit code tells."""
    npz(ids=changed(IDS, 9, "item-003"))(work)
    for command, good in (("compare a.h5 bad.npz b.h5 -m cka -q", "value"), ("info a.h5 bad.npz gone.h5 b.h5", "value")):
        done = work.here(f"relrep {command}", DATA)
        assert "bad.npz: 1 ids occur more than once" in done.stdout or "gone.h5: no such file" in done.stdout
        assert sum(r[good] != "n/a" for r in done.rows) >= 1


def test_verify_without_a_digest(work: Workdir) -> None:
    done = work.here("relrep info a.npz --verify", DATA)
    assert "a.npz: no digest is stored" in done.stderr and "relrep embed" in done.stderr


def test_debug_shows_where(work: Workdir) -> None:
    """--debug adds the traceback, which nothing else ever shows."""
    process = work.start("info gone.h5 --debug")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == DATA and b"Traceback" in stderr and b"gone.h5: no such file" in stderr


@pytest.mark.parametrize("name, value", [("format-version", 2), ("format-version", "1"), ("kind", "other")])
def test_attributes_of_another_time(work: Workdir, name: str, value: Any) -> None:
    """A file of a later format version is refused by its number; an attribute that makes no sense does not crash."""
    with h5py.File(work / "a.h5", "r+") as file:
        file.attrs[name] = value
    done = work.here("relrep info a.h5", (0, DATA))
    if value == 2:
        assert done.code == DATA and "newer relrep (format 2); this one reads 1. Update" in done.stderr, done

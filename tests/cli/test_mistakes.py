"""Likely mistakes: each is one line that names the remedy, and the remedy works when it is tried.

tests/library/test_calls.py has those that are made in Python.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import Workdir, _workdir

from relrep_cli.base.errors import DATA, USAGE

N, D = 60, 6


@dataclass(frozen=True)
class Mistake:
    """A command, the exit code, parts of the line in their order, and the command that the line leads to."""

    name: str
    wrong: str
    code: int
    says: str
    right: str
    more: bool = False  # whether notes may come before the line


MISTAKES = [
    # the command line
    Mistake("command misspelt", "compere a.h5 b.h5", USAGE, "Did you mean compare?", "compare a.h5 b.h5 -m cka"),
    Mistake(
        "file before command", "a.h5 compare b.h5", USAGE, "Write the command first: relrep compare", "compare a.h5 b.h5 -m cka"
    ),
    Mistake(
        "option misspelt",
        "compare a.h5 b.h5 --metrics cka",
        USAGE,
        "Possible options: … --metric",
        "compare a.h5 b.h5 --metric cka",
    ),
    Mistake(
        "option without its value",
        "compare --metric a.h5 b.h5",
        USAGE,
        "a.h5 is a file … Write the metric before it",
        "compare --metric cka a.h5 b.h5",
    ),
    Mistake(
        "option written as in Python", "compare a.h5 metric=cka", DATA, "Write --metric cka", "compare a.h5 b.h5 --metric cka"
    ),
    Mistake(
        "option of another metric",
        "compare a.h5 b.h5 -m cka --k 5",
        USAGE,
        "belongs to … knn-jaccard … or leave it out",
        "compare a.h5 b.h5 -m knn-jaccard --k 5",
    ),
    Mistake(
        "two formats",
        "compare a.h5 b.h5 --json --format tsv",
        USAGE,
        "contradict … Leave one out",
        "compare a.h5 b.h5 -m cka --json",
    ),
    Mistake("unknown format", "info a.h5 --format excel", USAGE, "none of table, tsv, csv", "info a.h5 --format csv"),
    Mistake("help of a word", "help procrusts", USAGE, "Did you mean procrustes?", "help procrustes"),
    # names
    Mistake("metric misspelt", "compare a.h5 b.h5 -m cak", USAGE, "Did you mean cka?", "compare a.h5 b.h5 -m cka"),
    Mistake("metric in capitals", "compare a.h5 b.h5 -m CKA", USAGE, "Did you mean cka?", "compare a.h5 b.h5 -m cka"),
    Mistake(
        "similarity abbreviated",
        "project a.h5 -a anchors.h5 -s cos -o x.h5",
        USAGE,
        "Did you mean cosine?",
        "project a.h5 -a anchors.h5 -s cosine -o x.h5",
    ),
    Mistake(
        "task by its field's name",
        "evaluate a.h5 --task classification",
        USAGE,
        "Known: linear-probe",
        "evaluate a.h5 --task knn",
    ),
    Mistake(
        "head misspelt",
        "stitch a.h5 b.h5 -a anchors.h5 --head knm",
        USAGE,
        "Did you mean knn?",
        "stitch a.h5 b.h5 -a anchors.h5 --head knn -m absolute",
    ),
    Mistake(
        "encoder of another library",
        "embed u.npy --encoder resnet -o x.h5",
        USAGE,
        "Known: … pca … timm:NAME",
        "embed u.npy --encoder pca --dim 2 -o x.h5",
    ),
    # files
    Mistake("missing file", "compare a.h5 B.h5", DATA, "no such file. Did you mean b.h5?", "compare a.h5 b.h5 -m cka"),
    Mistake("one file", "compare a.h5", USAGE, "Name another file", "compare a.h5 b.h5 -m cka"),
    Mistake(
        "commas between files", "compare a.h5,b.h5", USAGE, "Separate names of files with blanks", "compare a.h5 b.h5 -m cka"
    ),
    Mistake("an address", "info https://example.org/a.h5", DATA, "Download it first", "info a.h5"),
    Mistake("one colon", "info layers.h5:layer/0", DATA, "Write layers.h5::layer/0", "info layers.h5::layer/0"),
    Mistake(
        "file of many",
        "compare layers.h5 a.h5",
        DATA,
        "found /layer/0, /layer/1. Write layers.h5::/layer/0 … take all of them",
        "compare layers.h5::/layer/0 a.h5 -m cka",
    ),
    Mistake(
        "layer misspelt",
        "compare 'layers.h5::layr/*' a.h5",
        DATA,
        "found layer/0, layer/1. Name one of these",
        "compare 'layers.h5::layer/*' a.h5 -m cka",
    ),
    Mistake("several arrays", "compare two.npz a.h5", DATA, "which array? … Write two.npz::first", "info two.npz::first"),
    Mistake(
        "images without encoder",
        "embed pics -o x.h5",
        USAGE,
        "holds images … Name an --encoder",
        "embed pics -e pca --dim 2 -o x.h5",
    ),
    Mistake(
        "the other axis",
        "embed t.npy --ids ids.txt -o x.h5",
        DATA,
        "Write --transpose",
        "embed t.npy --transpose --ids ids.txt -o x.h5",
    ),
    Mistake("NaN", "compare nan.npy u.npy", DATA, "row 3 … Remove such rows; relrep info counts them", "info nan.npy"),
    Mistake(
        "merge without parts",
        "merge a.h5 -o x.h5",
        DATA,
        "written with --shard",
        "merge all.tsv.1-of-1.part",
    ),
    # outputs
    Mistake(
        "output forgotten", "project a.h5 -a anchors.h5", USAGE, "Name the output file", "project a.h5 -a anchors.h5 -o x.h5"
    ),
    Mistake(
        "output exists",
        "anchor a.h5 -n 5 -o anchors.h5",
        USAGE,
        "exists. Choose another name, or write --force",
        "anchor a.h5 -n 5 -o anchors.h5 --force",
    ),
    Mistake(
        "output is input",
        "project a.h5 -a anchors.h5 -o a.h5 --force",
        USAGE,
        "inputs are never written. Choose another name",
        "project a.h5 -a anchors.h5 -o x.h5",
    ),
    Mistake(
        "unknown ending",
        "compare a.h5 b.h5 -o t.xlsx",
        USAGE,
        "does not write .xlsx. Name a file that ends in .tsv, .csv",
        "compare a.h5 b.h5 -m cka -o t.csv",
    ),
    Mistake("picture without name", "plot a.h5", USAGE, "Name a .png, .svg, .pdf or .html", "plot a.h5 -o a.svg --dry-run"),
    Mistake("unknown picture", "plot a.h5 -o a.bmp", USAGE, "must end in .png, .svg", "plot a.h5 -o a.png --dry-run"),
    # ids, labels, splits, dims
    Mistake(
        "unequal lengths",
        "compare u.npy v.npy -q",
        DATA,
        "Give them ids with relrep embed --ids",
        "embed u.npy --ids ids.txt -o x.h5",
    ),
    Mistake("ids only in one", "compare a.h5 u.npy -q", DATA, "write --by-position", "compare a.h5 u.npy --by-position -m cka"),
    Mistake(
        "ids in other letters",
        "compare a.h5 lower.npz",
        DATA,
        "differ only by capital letters. Write --normalize-ids case",
        "compare a.h5 lower.npz --normalize-ids case -m cka",
    ),
    Mistake(
        "no labels",
        "evaluate u.npy --task knn --holdout 0.3 -q",
        DATA,
        "add labels with relrep embed --labels",
        "embed u.npy --labels labels.txt -o x.h5",
    ),
    Mistake(
        "another column",
        "evaluate a.h5 --task knn -t kind",
        DATA,
        "columns found: label, split. Name one of these",
        "evaluate a.h5 --task knn -t label",
    ),
    Mistake(
        "no such split",
        "compare a.h5 b.h5 --split val",
        DATA,
        "found: test, train. Choose one of these",
        "compare a.h5 b.h5 --split test -m cka",
    ),
    Mistake("no splits", "compare u.npy u2.npy --split test -q", DATA, "Leave --split out", "compare u.npy u2.npy -m cka"),
    Mistake(
        "too many labels",
        "embed v.npy --labels labels.txt -o x.h5",
        DATA,
        "50 rows, but 60 lines … one a row",
        "embed u.npy --labels labels.txt -o x.h5",
    ),
    Mistake(
        "a table of labels",
        "embed u.npy --labels table.csv -o x.h5",
        DATA,
        "its first line is 'id,label', and one value a line is needed",
        "embed u.npy --labels labels.txt -o x.h5",
    ),
    Mistake(
        "labels with a header",
        "embed u.npy --labels header.csv -o x.h5",
        DATA,
        "60 rows, but 61 lines of label. Remove the first line, 'label', if it is a header",
        "embed u.npy --labels labels.txt -o x.h5",
    ),
    Mistake(
        "other dims",
        "compare a.h5 c.h5 -m cosine",
        USAGE,
        "dims differ (6 and 4) … --metric knn-jaccard",
        "compare a.h5 c.h5 -m knn-jaccard",
    ),
    Mistake(
        "k of all rows",
        "compare a.h5 b.h5 -m knn-jaccard --k 60",
        USAGE,
        "write --k 59 or less",
        "compare a.h5 b.h5 -m knn-jaccard --k 59",
    ),
    # units and kinds of number
    Mistake(
        "percent as share",
        "evaluate a.h5 --holdout 20",
        USAGE,
        "--holdout … it must be … 0.9",
        "evaluate u.npy --holdout 0.2 --task separation",
    ),
    Mistake(
        "percent sign",
        "compare a.h5 b.h5 --fail-under 80%",
        USAGE,
        "it must be a number, such as 0.2",
        "compare a.h5 b.h5 -m cka --fail-under 0.8",
    ),
    Mistake(
        "a word for a number",
        "compare a.h5 b.h5 -m knn-jaccard --k ten",
        USAGE,
        "Give an integer",
        "compare a.h5 b.h5 -m knn-jaccard --k 10",
    ),
    Mistake(
        "integers to store",
        "embed u.npy --dtype int8 -o x.h5",
        USAGE,
        "none of float16, float32, float64",
        "embed u.npy --dtype float16 -o x.h5",
    ),
    Mistake(
        "no permutations",
        "compare a.h5 b.h5 --permutations 0",
        USAGE,
        "it must be 1 or more",
        "compare a.h5 b.h5 -m cka --permutations 9",
    ),
    # anchors and methods
    Mistake(
        "anchors forgotten",
        "stitch a.h5 b.h5",
        USAGE,
        "--anchors FILE is missing. Make one with relrep anchor",
        "anchor a.h5 -n 9 -o x.h5",
    ),
    Mistake(
        "projection without anchors",
        "compare a.h5 b.h5 --center",
        USAGE,
        "Add --anchors FILE, or remove --center",
        "compare a.h5 b.h5 -m cka --center -a anchors.h5",
    ),
    Mistake(
        "anchors of another space",
        "project c2.h5 -a anchors.h5 -o x.h5",
        DATA,
        "another space … --anchor-vectors FILE",
        "project c2.h5 -a anchors.h5 --anchor-vectors c.h5 -o x.h5",
    ),
    Mistake(
        "array as anchors",
        "project a.h5 -a u.npy -o x.h5 -q",
        DATA,
        "Make an anchor file with relrep anchor",
        "anchor a.h5 -n 9 -o x.h5",
    ),
    Mistake(
        "too many anchors",
        "anchor a.h5 -n 50 -o x.h5",
        DATA,
        "only 40 candidate items. Write -n 40 or less",
        "anchor a.h5 -n 40 -o x.h5",
    ),
    Mistake(
        "test rows as anchors",
        "stitch a.h5 b.h5 -a ids.txt -m ridge",
        DATA,
        "Choose anchors among training rows … or write --allow-test-anchors",
        "stitch a.h5 b.h5 -a ids.txt -m ridge --allow-test-anchors",
    ),
    Mistake(
        "relative twice",
        "project a.rel.h5 -a anchors.h5 -o x.h5",
        DATA,
        "Project the absolute file",
        "project a.h5 -a anchors.h5 -o x.h5",
    ),
    Mistake(
        "matrix of two metrics",
        "compare a.h5 b.h5 --matrix -m cka,rsa",
        USAGE,
        "one metric … Write --metric NAME",
        "compare a.h5 b.h5 --matrix -m cka",
    ),
    Mistake(
        "worst items of CKA",
        "compare a.h5 b.h5 --worst 5 -m cka",
        USAGE,
        "Add a metric such as cosine",
        "compare a.h5 b.h5 --worst 5 -m cosine",
    ),
    Mistake(
        "translation without target", "translate a.h5 -o x.h5", USAGE, "Give --into FILE", "translate a.h5 --into b.h5 -o x.h5"
    ),
    Mistake(
        "neighbours of nothing",
        "neighbors a.h5",
        USAGE,
        "--query ID or … --queries FILE … --sample N",
        "neighbors a.h5 --sample 2 -k 2",
    ),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]) -> Path:
    """A folder with the files of the mistakes."""
    work = _workdir(tmp_path_factory.mktemp("mistakes"), environment)
    rng = np.random.default_rng(0)
    clouds = rng.integers(0, 3, N)
    x = (2 * rng.normal(size=(3, D))[clouds] + rng.normal(size=(N, D))).astype(np.float32)
    ids, labels = np.array([f"Item{i}" for i in range(N)]), np.array([f"class {c}" for c in clouds])
    split = np.where(np.arange(N) % 3 == 0, "test", "train")
    for name, vectors in {"a": x, "b": x[:, ::-1], "c": x[:, :4]}.items():
        np.savez(work / f"{name}.npz", x=vectors, ids=ids, label=labels, split=split)
        work.here(f"relrep embed {name}.npz --space {name} -o {name}.h5 -q")
    np.savez(work / "c2.npz", x=x[:9, :4], ids=[f"new{i}" for i in range(9)])
    work.here("relrep embed c2.npz --space c -o c2.h5 -q")
    np.savez(work / "lower.npz", x=x, ids=np.char.lower(ids))
    np.savez(work / "two.npz", first=x, second=x)
    bad = x.copy()
    bad[3, 2] = np.nan
    for name, array in {"u": x, "u2": x[:, ::-1], "v": x[:50], "t": np.ascontiguousarray(x.T), "nan": bad}.items():
        np.save(work / f"{name}.npy", array)
    (work / "ids.txt").write_text("\n".join(ids))
    (work / "labels.txt").write_text("\n".join(labels))
    (work / "header.csv").write_text("\n".join(["label", *labels]))
    (work / "table.csv").write_text("\n".join(["id,label", *(f"{i},{name}" for i, name in zip(ids, labels, strict=True))]))
    with h5py.File(work / "layers.h5", "w") as file:
        file["ids"], file["layer/0"], file["layer/1"] = ids.astype("S"), x, x
    from PIL import Image

    (work / "pics").mkdir()
    for number in range(4):
        Image.fromarray((rng.random((8, 8)) * 255).astype(np.uint8)).save(work / "pics" / f"{number}.png")
    work.here("relrep anchor a.h5 -n 10 -o anchors.h5 -q")
    work.here("relrep project a.h5 -a anchors.h5 -o a.rel.h5 -q")
    work.here("relrep compare a.h5 b.h5 c.h5 -m cka --shard 1/1 -o all.tsv -q")
    return work.path


@pytest.fixture
def folder(prepared: Path, empty: Workdir) -> Workdir:
    shutil.copytree(prepared, empty.path, dirs_exist_ok=True)
    return empty


def test_the_list_is_long_enough() -> None:
    assert len(MISTAKES) >= 45 and len({m.wrong for m in MISTAKES}) == len(MISTAKES)


@pytest.mark.parametrize("mistake", [pytest.param(m, id=m.name) for m in MISTAKES])
def test_a_mistake_is_one_line_whose_remedy_works(folder: Workdir, mistake: Mistake) -> None:
    done = folder.here(f"relrep {mistake.wrong}", mistake.code)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done
    place = 0
    for part in mistake.says.split(" … "):
        assert part in lines[0][place:], (part, done)
        place = lines[0].index(part, place) + len(part)
    folder.here(f"relrep {mistake.right} -q")

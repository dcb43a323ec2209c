"""The calls of the library that draw, embed, evaluate and build universes, and its words: keywords, not options."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CHECKOUT, Workdir

import relrep_cli as relrep
from relrep_cli.library.wording import in_python

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)) + 3 * RNG.normal(size=(3, 6))[np.arange(60) % 3]
Y = X @ np.linalg.qr(RNG.normal(size=(6, 6)))[0]
LABELS = np.arange(60) % 3


def same_table(work: Workdir, command: str, results: relrep.Results) -> None:
    """The columns and values of a command's TSV; names of files are not compared."""
    rows = list(csv.DictReader(io.StringIO(work.here(f"relrep {command} --format tsv -q").stdout), delimiter="\t"))
    assert list(rows[0]) == list(results.columns)
    assert len(rows) == len(results)
    for row, result in zip(rows, results, strict=True):
        for name in results.columns:
            value = result.get(name)
            if isinstance(value, float):
                assert float(row[name]) == pytest.approx(value), name


@pytest.mark.slow
def test_tables_have_the_columns_of_the_commands(work: Workdir) -> None:
    a, b = work / "a.h5", work / "b.h5"
    how = {"metric": "cka", "anchors": work / "anchors.h5", "permutations": 9}
    same_table(work, "compare a.h5 b.h5 -m cka -a anchors.h5 --permutations 9", relrep.compare(a, b, **how))
    results = relrep.stitch(a, b, anchors=work / "anchors.h5", method="ridge")
    same_table(work, "stitch a.h5 b.h5 -a anchors.h5 -m ridge", results)
    same_table(work, "evaluate a.h5 b.h5 --task knn,separation --k 3", relrep.evaluate(a, b, task="knn,separation", k=3))
    same_table(work, "neighbors a.h5 --query item-003 -k 4", relrep.nearest(a, 4, queries="item-003"))


def test_a_universe_is_that_of_the_command(work: Workdir) -> None:
    results = relrep.universe(work / "a.h5", work / "b.h5", anchors=work / "anchors.h5")
    same_table(work, "translate a.h5 b.h5 -a anchors.h5", results.quality)
    first, second = (e.x for e in results.embeddings)
    assert first.shape == second.shape and np.abs(first - second).mean() < 0.2 * np.abs(first).mean()
    assert results.maps[0](relrep.read(work / "a.h5").x[:3]) == pytest.approx(first[:3], rel=1e-4, abs=1e-5)


def test_embed_gives_what_the_command_gives(work: Workdir) -> None:
    work.here("relrep embed a.h5 -e pca --dim 3 -o small.h5 -q")
    wanted, read_back = relrep.read(work / "small.h5"), relrep.embed(work / "a.h5", "pca", dim=3)
    assert np.array_equal(wanted.x, read_back.x) and wanted.space == read_back.space and set(wanted.obs) == set(read_back.obs)
    assert relrep.embed(X, "random-projection", labels=LABELS, dim=2).obs["label"].tolist() == LABELS.tolist()


def test_evaluate_takes_arrays() -> None:
    results = relrep.evaluate(X, Y, labels=LABELS, task=["knn", "linear-probe"], holdout=0.5)
    assert [r.file for r in results if r.name == "accuracy"] == ["x", "y", "x", "y"]
    assert all(r.value > 0.9 for r in results)
    odd = relrep.evaluate(X, task="anomaly", anomalies=X + 9, holdout=0.5)
    assert odd[0].value > 0.99


def test_a_drawing_has_a_panel_for_each_space_and_view(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drawn = relrep.plot(X, Y, labels=LABELS, anchors=range(8), sample=20)
    assert [[c.places.shape for c in line] for line in drawn.picture.lines] == [[(20, 2)] * 2] * 2
    assert "20 of 60 items are drawn (seed 0); sample draws more." in drawn.notes[0]
    drawn.save(tmp_path / "spaces.svg")
    assert (tmp_path / "spaces.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(relrep.UsageError, match=r"must end in .png, .svg, .pdf, .html"):
        drawn.save(tmp_path / "spaces.bmp")


def test_a_file_is_read_as_one_says(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,other,u,v\nb,x,1,2\na,y,3,4\n")
    e = relrep.read(tmp_path / "t.csv", id_column="name", label_column="other", vector_columns="u,v")
    assert e.ids.tolist() == [b"b", b"a"] and e.x.tolist() == [[1, 2], [3, 4]] and e.obs["label"].tolist() == [b"x", b"y"]
    assert repr(e).endswith("t.csv: 2 x 2 float64, absolute; ids b … a; columns label>")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: relrep.stitch(X, Y, labels=LABELS), r"^anchors are missing. Make some with relrep.anchor.$"),
        (lambda: relrep.stitch(X, Y, anchors=range(9)), r"no column 'label'.*add labels with relrep.as_embedding\(x, labels="),
        (lambda: relrep.compare(X, Y, metric="knn-jaccard", k=60), "write k=59 or less"),
        (lambda: relrep.compare(X, X[:, :3], metric="cosine"), 'use metric="knn-jaccard"'),
        (lambda: relrep.compare(X, Y, split="test"), r"Leave split out, or add splits with relrep.as_embedding\(x, split="),
        (lambda: relrep.compare(X, Y, seed=-1), "seed is below 0"),
        (lambda: relrep.anchor(X, 61), "Write n=60 or less"),
        (lambda: relrep.project(X, X[:9]), r"anchors are float64 of the shape \(9, 6\). Give ids or row numbers"),
        (lambda: relrep.project(X, LABELS == 0), r"anchors are a mask"),
        (lambda: relrep.project(X, 10), r"Choose that many with relrep.anchor\(x, 10\)"),
        (lambda: relrep.compare(X, Y, "cka"), 'Write metric="cka"'),
        (lambda: relrep.compare(X, None), "y is missing, and x is one space"),
        (lambda: relrep.project(X, [1, 1]), "anchors are named twice, such as 1"),
        (lambda: relrep.evaluate(X, labels=LABELS, task="knn", k=99, holdout=0.5), "Write k=30 or less"),
        (lambda: relrep.evaluate(X, task="knn", split="test"), "Leave split out, or write holdout=0.2"),
        (lambda: relrep.evaluate(X, task="anomaly", score_column="s"), "score_column needs anomalies"),
        (lambda: relrep.evaluate(X, task="knn", reference=Y), 'Write task="foreign"'),
        (lambda: relrep.plot(X, method="pcca"), "Did you mean pca"),
        (lambda: relrep.embed(X, "pca", dim=7), "Write dim=6 or less"),
        (lambda: relrep.embed(X, "pca", dimm=2), "Did you mean dim"),
        (lambda: relrep.nearest(X, 60), "Write k=59 or less"),
        (lambda: relrep.nearest(X, 3, queries=[60]), "Give whole numbers from 0 to 59"),
        (lambda: relrep.universe(X), "two spaces or more, and 1 is given"),
        (lambda: relrep.RelativeProjector(similarity="cos").fit(X), "Did you mean cosine"),
    ],
    ids=range(24),
)  # fmt: skip
def test_mistakes_are_named_by_their_keywords(call: Any, words: str) -> None:
    with pytest.raises(relrep.RelrepError, match=words) as caught:
        call()
    assert not re.search(r"(?<![\w-])--?[a-z]", str(caught.value))


def test_a_column_of_a_frame_may_hold_the_vectors() -> None:
    """As a list column of Parquet does, with what else the table has; cells of unequal length are none."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"doc_id": [f"n{i}" for i in range(60)], "emb": list(X), "title": "t", "price": 2.0})
    for given in (frame, frame.assign(emb=X.tolist()), frame.set_index("doc_id")):
        e = relrep.as_embedding(given)
        assert np.array_equal(e.x, X.astype(e.x.dtype)) and e.ids[1] == b"n1"
    with pytest.raises(relrep.UsageError, match="hold no numbers: doc_id, emb"):
        relrep.as_embedding(frame.assign(emb=[[1.0]] + [[1.0, 2.0]] * 59))


def test_columns_of_a_frame_are_what_they_say() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, :2], columns=["u", "v"]).assign(label=LABELS, id=[f"n{i}" for i in range(60)])
    e = relrep.as_embedding(frame)
    assert e.ids[3] == b"n3" and e.x.shape == (60, 2) and e.obs["label"].tolist() == LABELS.tolist()
    assert relrep.as_embedding(frame[["u", "v"]]).row_ids
    with pytest.raises(
        relrep.UsageError, match=r"hold no numbers: note. Leave them out, or make one the ids: x.set_index\('note'\)"
    ):
        relrep.as_embedding(frame.assign(note="a"))


def modules_loaded(work: Workdir, command: str) -> set[str]:
    lines = work.run(f"python -W error -X importtime {command}").stderr.splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}


@pytest.mark.slow
def test_a_call_loads_no_more_than_the_command(work: Workdir) -> None:
    """Nothing but the library itself, so it costs no more; benchmarks/startup.py measures both. Warnings are errors."""
    call = modules_loaded(work, """-c "import relrep_cli as r; r.compare('a.npz', 'b.npz')" """)
    more = call - modules_loaded(work, "-m relrep_cli compare a.npz b.npz")
    assert "relrep_cli.library.call_parts" in more and all(name.startswith("relrep_cli.library") for name in more), more


def test_no_message_of_the_core_keeps_an_option() -> None:
    """Whatever the core says of an option, the library says of a keyword; names of commands with their options stay."""
    rooms = ("anchors", "comparison", "relative", "stitching", "metrics", "neighbors", "evaluations", "heads", "store")
    lines = [line for room in rooms for path in (CHECKOUT / "relrep_cli" / room).glob("*.py") for line in path.open()]
    kept = [re.sub(r"relrep \w+(?: --?[a-z-]+)+", "", in_python(line)) for line in lines if re.search(r"[\" ]--[a-z]", line)]
    assert len(kept) > 100 and not [line for line in kept if re.search(r"(?<![\w`-])--[a-z]", line)]

"""Reports as bytes: what is in them, that foreign text stays text, and how large they get."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from conftest import Workdir, same_bytes

from relrep_cli.base.errors import DataError
from relrep_cli.comparison.pairs_of_files import Rows
from relrep_cli.comparison.row_summaries import Summaries, decoded, encoded, summaries_of, summary_of
from relrep_cli.embedding import Embedding
from relrep_cli.reports.clouds import spaces_of
from relrep_cli.reports.comparisons import Layout, comparison_grids
from relrep_cli.reports.file_facts import file_facts
from relrep_cli.reports.grids import Cell, Grid
from relrep_cli.reports.item_details import Details, Judgement, details_of
from relrep_cli.reports.page import Report, page
from relrep_cli.reports.record_grids import evaluation_grid, stitching_grids

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u2028\u202e\x00&amp;<!--"
MEGABYTE = 1_000_000


def record(a: str, b: str, metric: str = "cka", value: float | None = 0.5, **more: Any) -> dict[str, Any]:
    base = {"a": a, "b": b, "metric": metric, "value": value, "corrected": value, "low": 0.4, "high": 0.6, "chance": 0.0}
    return base | {"n": 240, "k": None, "convention": "linear kernel", "joined": "id"} | more


def space(uri: str, n: int = 60, d: int = 3, label: str = "class", prefix: str = "item") -> Embedding:
    rng = np.random.default_rng(len(uri))
    ids = np.array([f"{prefix}-{i}".encode() for i in range(n)])
    return Embedding(
        rng.normal(size=(n, d)), ids, {"label": np.array([f"{label} {i % 3}".encode() for i in range(n)])}, uri=uri
    )


def data_of(content: bytes) -> dict[str, Any]:
    """The JSON that the page holds."""
    actual = re.search(r'<script type="application/json" id="data">(.*?)</script>', content.decode(), re.S)
    assert actual
    known: dict[str, Any] = json.loads(actual[1])
    return known


def grid(cells: list[Cell], names: list[str], **more: Any) -> Grid:
    return Grid({"metric": "cka"}, names, names, ("spaces", "spaces"), (0, 1), "higher", "", cells, **more)


def test_compare_writes_a_page_with_what_it_found(work: Workdir) -> None:
    """Every value of the table is in the page, with its interval; a second run finds it up to date."""
    names = "a.h5 b.h5 -m cka,cosine --permutations 9"
    work.here(f"relrep compare {names} -o r.html")
    rows = work.here(f"relrep compare {names} --format jsonl -q").stdout.splitlines()
    data = data_of((work / "r.html").read_bytes())
    assert [g["choices"]["metric"] for g in data["grids"]] == ["cka", "cosine"]
    cells_shown = [(cell[2], cell[3][g["keys"].index("low")]) for g in data["grids"] for cell in g["cells"]]
    known = [(r["value"], r["low"]) for name in ("cka", "cosine") for r in map(json.loads, rows) if r["metric"] == name]
    assert cells_shown == [tuple(float(f"{v:.6g}") for v in pair) for pair in known]
    cosine = data["grids"][1]["cells"][0]
    assert sum(cosine[4][2:]) == 240 and len(cosine[5]) == 10 and "q" in data["grids"][1]["keys"]
    assert len(data["grids"][0]["cells"][0]) == 4, "cka has no row values"
    assert [len(s["points"]) for s in data["spaces"]] == [480] * 2 and len(data["lists"]) == 2
    assert "up to date" in work.here(f"relrep compare {names} -o r.html").stderr


def test_what_makes_no_report(work: Workdir) -> None:
    for options in ("--diagnose", "--against all", "--shard 1/2", "--format json"):
        work.error(f"relrep compare a.h5 b.h5 -o r.html {options}", 2, "makes no report", options.split()[0])
    work.error("relrep stitch a.h5 b.h5 -a anchors.h5 --shard 1/2 -o r.html", 2, "--shard makes no report")
    work.error("relrep merge x.part -o r.html", 2, "parts hold no row values")


def test_evaluate_and_stitch_write_pages(work: Workdir) -> None:
    work.here("relrep evaluate a.h5 b.h5 --task knn -o e.html -q")
    data = data_of((work / "e.html").read_bytes())
    assert data["grids"][0]["rows"] == ["knn, accuracy", "knn, f1"] and data["grids"][0]["columns"] == ["a", "b"]
    accuracy, f1 = data["grids"][0]["cells"][0], data["grids"][0]["cells"][2]
    assert sum(accuracy[4][2:]) == 80 and len(f1) == 4
    assert sum(n for _, _, n, *_ in accuracy[6]) == 80 and not accuracy[5], "all are right"
    printed = work.here("relrep stitch a.h5 b.h5 -a anchors.h5 -m relative -s cosine -o s.html -q").stdout
    assert printed == work.here("relrep stitch a.h5 b.h5 -a anchors.h5 -m relative -s cosine -q").stdout
    data = data_of((work / "s.html").read_bytes())
    assert data["grids"][0]["choices"]["shown"] == "stitching index" and len(data["grids"][0]["cells"]) == 4
    assert data["grids"][0]["titles"] == ["encoder", "head"] and "cells" not in data["grids"][1]
    assert sum(n for _, _, n, *_ in data["grids"][0]["cells"][1][6]) == 80
    work.here("relrep stitch a.h5 b.h5 -a anchors.h5 -m relative -s cosine --log log.jsonl -o t.html -q")
    assert same_bytes(work, "s.html", "t.html")


def test_other_outputs_are_written_beside_a_report(work: Workdir) -> None:
    work.here("relrep compare a.h5 b.h5 -m cosine -o r.html --plot p.svg --per-row rows.tsv -q")
    assert (work / "p.svg").exists() and len((work / "rows.tsv").read_text().splitlines()) == 241
    assert data_of((work / "r.html").read_bytes())["grids"][0]["cells"][0][4]


def test_files_that_cannot_be_used_are_named(work: Workdir) -> None:
    for command in ("evaluate a.h5 b.h5 gone.h5 --task knn", "stitch a.h5 b.h5 gone.h5 -m ridge -a anchors.h5"):
        work.here(f"relrep {command} -o {command[0]}.html -q", 3)
        assert "<p>gone.h5: no such file" in (work / f"{command[0]}.html").read_text()
    work.here("relrep compare a.h5 b.h5 gone.h5 -m cka -o c.html -q", 3)
    data = data_of((work / "c.html").read_bytes())
    assert any("no such file" in str(fact) for cell in data["grids"][0]["cells"] for fact in cell[3])
    assert "no such file" in data["files"][2]["error"] and "no such file" in data["spaces"][2]["note"]


def test_evaluate_writes_tables(work: Workdir) -> None:
    printed = work.here("relrep evaluate a.h5 b.h5 --task knn --format tsv").stdout
    work.here("relrep evaluate a.h5 b.h5 --task knn -o t.tsv")
    assert (work / "t.tsv").read_text() == printed
    work.error("relrep evaluate a.h5 -o a.h5", 2, "the name must end in")


@pytest.fixture(scope="module")
def hostile() -> bytes:
    names = [HOSTILE, "b"]
    cells = [Cell(0, 1, 0.5, {HOSTILE: HOSTILE, "q": 0.01}, Details([0, 1, 3, 4], [(HOSTILE, 0.1, HOSTILE)]))]
    spaces = spaces_of([(HOSTILE, space("a", label=HOSTILE, prefix=HOSTILE)), ("b", space("b"))], 0)
    files = [file_facts(HOSTILE, DataError(HOSTILE, file="x"))]
    report = Report(HOSTILE, HOSTILE, [grid(cells, names)], spaces, files, HOSTILE, [HOSTILE])
    return page(report)


def test_text_of_files_stays_text(hostile: bytes) -> None:
    text = hostile.decode()
    assert text.count("<script") == 2 and text.count("</script") == 2, "no text ends a block or starts one"
    assert "<img" not in text and "<!--" not in text.replace("<!doctype", "")
    assert not re.search("[\u2028\u202e\x00]", text)
    assert "alert(1)" in data_of(hostile)["items"][0]


def test_the_policy_allows_the_page_and_nothing_else(hostile: bytes) -> None:
    """The hashes are those of the two blocks; no address of another place is in the page."""
    text = hostile.decode()
    script = re.findall(r"<script>(.*?)</script>", text, re.S)
    style = re.findall(r"<style>(.*?)</style>", text, re.S)
    for kind, block in (("script-src", script[0]), ("style-src", style[0])):
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{kind} &#x27;sha256-{digest}&#x27;" in text
    assert "default-src &#x27;none&#x27;" in text
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in text and "eval(" not in text and "style=" not in text


def test_a_report_of_fifty_files_is_below_a_megabyte() -> None:
    """Two metrics, one of them with row values, permutations, and long ids."""
    uris = [f"checkpoints/model-{i:02d}.h5" for i in range(50)]
    pairs = [(a, b) for place, a in enumerate(uris) for b in uris[place + 1 :]]
    rng = np.random.default_rng(0)
    summaries: Summaries = {}
    records = []
    ids = np.array([f"documents/2024/page-{i:07d}".encode() for i in range(200)])
    for metric in ("cka", "knn-jaccard"):
        for a, b in pairs:
            values = rng.random(200)
            low, high, p, q, value = rng.random(5)
            records.append(record(a, b, metric, value, low=low, high=high, p=p, q=q))
            if metric == "knn-jaccard":
                summaries |= summaries_of([Rows(records[-1], ids, values)], 5)
    drawn = spaces_of([("model-00", space(uris[0], 2000, 2, prefix="documents/2024/page"))], 0)
    grids = comparison_grids(records, Layout(uris, uris, uris), summaries)
    one = page(Report("t", "c", grids, drawn, [file_facts(uri, space(uri)) for uri in uris]))
    points = len(json.dumps(data_of(one)["spaces"][0], separators=(",", ":"))) * 400 // 1000  # of 50 files, each has 400
    assert len(one) + 49 * points < MEGABYTE, len(one)


def test_grids_of_layers_and_asymmetric_metrics() -> None:
    left, top = ["a.h5::l/0", "a.h5::l/1"], ["b.h5::l/0"]
    actual = comparison_grids([record(a, top[0]) for a in left], Layout(left, top, [*left, *top]), {})[0]
    assert not actual.mirrored and [(c.row, c.column) for c in actual.cells] == [(0, 0), (1, 0)]
    assert actual.row_spaces == [0, 1] and actual.column_spaces == [2]
    abc = ["a", "b", "c"]
    both = comparison_grids([record("a", "b"), record("a", "c")], Layout(abc, abc, abc), {})[0]
    assert both.mirrored and both.span == (0, 1) and both.own == 1
    one = [record("a", "b", k=5), record("a", "b", k=10, convention="n/a: small", value=None)]
    assert len(comparison_grids(one, Layout(abc[:2], abc[:2], abc), {})) == 2


def test_a_report_goes_on_where_it_stopped(work: Workdir) -> None:
    """Summaries are kept with finished results, by content: copies of the files under other names find them."""
    work.here("relrep compare a.h5 b.h5 -m cosine,cka --cache kept -o x.html -q")
    for name in "ab":
        shutil.copy(work / f"{name}.h5", work / f"copy-{name}.h5")
    with mock.patch("relrep_cli.comparison.pairs_of_files.measure", side_effect=AssertionError("measured again")):
        work.here("relrep compare copy-a.h5 copy-b.h5 -m cosine,cka --cache kept -o y.html -q")
    grids = [data_of((work / f"{name}.html").read_bytes())["grids"] for name in "xy"]
    assert grids[0][0]["cells"] == grids[1][0]["cells"] and grids[0][0]["cells"][0][4]


def test_summaries_survive_the_cache() -> None:
    actual = summaries_of([Rows(record("a", "b", "cosine", k=5), np.array([b"x", b"y"]), np.array([0.25, 0.5]))], 1)
    known = decoded(json.loads(json.dumps(encoded(actual))), "a", "b")
    assert known == actual and next(iter(actual.values())).worst == [("x", 0.25)]
    assert decoded({}, "a", "b") is None and decoded({"summaries": [["k"]]}, "a", "b") is None


def test_every_grid_points_to_the_spaces_it_measured() -> None:
    """Also where the reference is not the first file, and for relative spaces, which follow the absolute ones."""
    layout = Layout(["b"], ["a", "c"], ["a", "b", "c"], ["absolute", "l1"])
    records = [record("b", other, projection=view) for other in "ac" for view in ("absolute", "l1", "ratio")]
    grids = {g.choices["spaces"]: g for g in comparison_grids(records, layout, {})}
    assert [(g.row_spaces, g.column_spaces) for g in grids.values()] == [([1], [0, 2]), ([4], [3, 5]), ([1], [0, 2])]
    assert grids["ratio"].own is None and grids["l1"].own == 1


def test_numbers_as_labels_are_shades() -> None:
    one = space("a")
    numbers = np.linspace(0, 1, one.n)
    numbers[3] = np.nan
    data = data_of(page(Report("t", "c", [], spaces_of([("a", replace(one, obs={"label": numbers}))], 0))))
    shades = data["lists"][data["spaces"][0]["colours"]]
    assert shades[0] == 0 and shades[-1] == 99 and shades[3] == -1 and not data["spaces"][0]["classes"]


def test_classes_beyond_the_palette_are_grey() -> None:
    one = space("a", 200)
    labels = np.array([f"{i % 40}".encode() for i in range(200)])
    drawn = spaces_of([("a", replace(one, obs={"label": labels}))], 0)[0]
    assert len(drawn.classes) == 30 and "others" not in drawn.classes


def test_equal_input_gives_equal_bytes_whatever_the_name_and_the_threads(work: Workdir) -> None:
    for name, more in (("x", "-@ 1"), ("y", "-@ 2 --force")):
        work.here(f"relrep compare a.h5 b.h5 -m cosine -a anchors.h5 -o {name}.html -q {more}")
    assert same_bytes(work, "x.html", "y.html")
    data = data_of((work / "x.html").read_bytes())
    assert [s["name"] for s in data["spaces"]] == ["a, absolute", "b, absolute", "a, cosine", "b, cosine"]


def test_stitching_grids_name_the_interval_of_the_score() -> None:
    base = {"method": "ridge", "accuracy": 0.5, "stitching_index": 0.6, "low": 0.4, "high": 0.6, "n": 9, "decoder": "linear"}
    records = [base | {"encoder": e, "head": h} for e in "ab" for h in "ab"]
    index, accuracy = stitching_grids(records, {"a": "a", "b": "b"})
    assert index.cells[1].facts["score_low"] == 0.4 and not index.ends and not index.derived
    assert accuracy.ends == ("score_low", "score_high") and accuracy.derived
    assert accuracy.choices == {"method": "ridge", "shown": "accuracy"}
    errors = [{"encoder": "a", "error": "gone"}]
    assert stitching_grids([*records, *errors], {"a": "a", "b": "b"})[0].rows == ["a", "b"]


def test_evaluation_grid_has_a_row_for_each_measure() -> None:
    records = [{"file": f, "task": "knn", "name": n, "value": 0.5, "low": None} for n in ("accuracy", "f1") for f in "ab"]
    actual = evaluation_grid(
        records, {"a": "a", "b": "b"}, ("task", "name"), lambda r: details_of(Judgement(np.array([0.0, 1.0])))
    )
    assert actual.rows == ["knn, accuracy", "knn, f1"] and actual.span is None and actual.cells[3].column == 1
    assert sum(actual.cells[0].details.bins[2:]) == 2


def test_equal_values_are_one_bar_and_bad_spaces_say_why() -> None:
    assert summary_of(np.ones(5)).counts[summary_of(np.ones(5)).counts.index(5)] == 5
    bad = spaces_of([("a", DataError("damaged", file="a")), ("b", space("b", n=3))], 0)
    assert "damaged" in bad[0].note and "too few" in bad[1].note
    data = data_of(page(Report("t", "c", [], bad)))
    assert [s["points"] for s in data["spaces"]] == [[], []]

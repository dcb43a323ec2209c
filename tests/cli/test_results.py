"""What compare gives beyond its table of scores: Parquet, matrices, pictures, the worst items, permutation tests, layers."""

from __future__ import annotations

import html
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import h5py
import numpy as np
import pyarrow.parquet
import pytest
from conftest import N, Workdir, only_line, vectors
from test_shell import on_terminal

from relrep_cli.comparison.matrix import Matrix, clustered
from relrep_cli.comparison.pairs_of_files import ratios
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.plots.looks import Look
from relrep_cli.plots.matrices import _range, heatmap, short

# --- Parquet ---


def test_parquet_holds_what_json_holds(work: Workdir) -> None:
    """Numbers in full precision, null for no value, text as text, also for keys that only some records have."""
    command = "relrep compare a.h5 b.h5 c.h5 -m cosine,knn-jaccard -q"
    wanted = json.loads(work.here(f"{command} --json").stdout)
    done = work.here(f"{command} -o out.parquet")
    table = pyarrow.parquet.read_table(work / "out.parquet")
    assert not done.stdout and table.to_pylist() == wanted
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert {types[c] for c in ("a", "metric", "convention")} == {"string"}
    assert (types["value"], types["n"], types["tied"]) == ("double", "int64", "int64")


def test_row_values_as_parquet(work: Workdir) -> None:
    work.here("relrep compare a.rel.h5 b.rel.h5 -m cosine --per-row rows.parquet -q")
    table = pyarrow.parquet.read_table(work / "rows.parquet")
    assert table.column_names == ["id", "label", "a", "b", "metric", "value"] and len(table) == N


def test_parquet_is_no_text(work: Workdir) -> None:
    line = only_line(work.here("relrep compare a.h5 b.h5 -m cka -o x.parquet --json", 2), "x.parquet", "--format json")
    assert line.endswith("Leave one out.") and not (work / "x.parquet").exists()


# --- matrices, references, layers ---


@pytest.fixture
def layers(work: Workdir) -> Workdir:
    """layers.h5 beside a.h5, b.h5 and c.h5, which it holds as layer/0, layer/2 and layer/10."""
    with h5py.File(work / "layers.h5", "w") as file:
        for name, number in zip("abc", (0, 2, 10), strict=True):
            with h5py.File(work / f"{name}.h5") as source:
                group = file.create_group(f"layer/{number}")
                for key in source:
                    source.copy(key, group)
                group.attrs.update(source.attrs)
    return work


def test_a_matrix_holds_the_scores(work: Workdir) -> None:
    scores = {(r["a"], r["b"]): r["value"] for r in work.here("relrep compare a.h5 b.h5 c.h5 -m cka -q").rows}
    rows = work.here("relrep compare a.h5 b.h5 c.h5 -m cka -q --matrix").rows
    assert [list(r) for r in rows] == [["cka", "a", "b", "c"]] * 3
    for i, row in zip("abc", rows, strict=True):
        for j in "abc":
            pair = tuple(sorted((f"{i}.h5", f"{j}.h5")))
            assert row["cka"] == i and row[j] == ("1.0" if i == j else scores[pair])


def test_a_matrix_of_an_asymmetric_metric_has_both_orders(work: Workdir) -> None:
    rows = work.here("relrep compare a.h5 b.h5 c.h5 -m pwcca -q --matrix").rows
    for first, second in (("a", "c"), ("c", "a")):
        alone = work.here(f"relrep compare {first}.h5 {second}.h5 -m pwcca -q").rows[0]["value"]
        assert float({r["pwcca"]: r for r in rows}[first][second]) == pytest.approx(float(alone), rel=1e-12)
    assert rows[0]["c"] != rows[2]["a"]


def test_a_matrix_says_its_convention_and_what_is_missing(work: Workdir) -> None:
    done = work.here("relrep compare a.h5 b.h5 gone.h5 -m cka --matrix", 3)
    assert [r["gone"] for r in done.rows] == ["n/a", "n/a", "n/a"]
    assert (
        "gone.h5: no such file" in done.stderr and "cka: linear kernel, unbiased HSIC, columns centred; n = 240" in done.stderr
    )
    table = work.here("relrep compare a.h5 b.h5 c.h5 -m cka --matrix --format table").stdout.splitlines()
    assert table[0].split() == ["cka", "a", "b", "c"] and table[-1].startswith("cka: linear kernel")
    work.here("relrep compare a.h5 b.h5 c.h5 -m cka --matrix -o m.parquet -q")
    assert pyarrow.parquet.read_table(work / "m.parquet").to_pylist()[0]["a"] == 1.0


def test_a_matrix_marks_small_q_for_eyes(work: Workdir) -> None:
    """In tables for eyes; numbers for machines stay numbers."""
    command = "relrep compare a.h5 b.h5 c.h5 -m cka -q --matrix --permutations 39"
    table = work.here(f"{command} --format table").stdout
    assert re.search(r"a +1\.0000 +0\.\d+\* +0\.\d+\*\n", table) and "* q < 0.05, ** q < 0.01" in table
    assert float(work.here(command).rows[0]["b"]) > 0.9
    work.here(f"{command} -o m.md")
    assert "\\* |" in (work / "m.md").read_text() and r"\* q < 0.05" in (work / "m.md").read_text()


def test_names_of_layers_leave_the_file_to_the_title(layers: Workdir) -> None:
    shutil.copy(layers / "layers.h5", layers / "others.h5")
    done = layers.here("relrep compare 'layers.h5::*' 'others.h5::*' -m cka -q --matrix --format table --plot x.svg")
    assert done.stdout.splitlines()[0].split() == ["cka", "layer/0", "layer/2", "layer/10"]
    assert "rows of layers.h5, columns of others.h5" in done.stdout
    drawn_texts = texts(layers / "x.svg")
    assert {"layer/10", "layers.h5", "others.h5"} <= set(drawn_texts) and not any("::" in t for t in drawn_texts)


def test_names_of_layers_leave_the_files_on_the_axes(layers: Workdir) -> None:
    shutil.copy(layers / "layers.h5", layers / "others.h5")
    named = "--names A0,A2,A10,B0,B2,B10"
    done = layers.here(f"relrep compare 'layers.h5::*' 'others.h5::*' -m cka -q --matrix --format table --plot x.svg {named}")
    assert done.stdout.splitlines()[0].split() == ["cka", "B0", "B2", "B10"]
    assert "rows of layers.h5, columns of others.h5" in done.stdout
    drawn_texts = texts(layers / "x.svg")
    assert {"A10", "B0", "layers.h5", "others.h5"} <= set(drawn_texts) and "first space" not in drawn_texts


def test_info_has_a_row_for_each_embedding_of_a_file_of_many(layers: Workdir) -> None:
    lines = layers.here("relrep info layers.h5 --format table").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:4]] == [
        [f"layer/{i}", "240", d] for i, d in ((0, "16"), (2, "16"), (10, "12"))
    ]
    assert "All are embeddings of layers.h5." in lines
    assert {r["name"] for r in layers.here("relrep info layers.h5").rows} > {"items", "digest"}


@pytest.mark.slow
def test_a_matrix_on_a_terminal(work: Workdir) -> None:
    command = "relrep compare a.h5 b.h5 c.h5 -m cka"
    assert on_terminal(work, command, "stdout", NO_COLOR="1").startswith("cka ")
    assert on_terminal(work, f"{command} --no-matrix", "stdout", NO_COLOR="1").startswith("a ")


def test_the_reference_is_the_first_or_one_by_name(work: Workdir) -> None:
    for reference, first, others in (("first", "a.h5", ["b.h5", "c.h5"]), ("c.h5", "c.h5", ["a.h5", "b.h5"])):
        rows = work.here(f"relrep compare a.h5 b.h5 c.h5 -m cka -q --reference {reference}").rows
        assert [(r["a"], r["b"]) for r in rows] == [(first, other) for other in others]
    only_line(work.here("relrep compare a.h5 b.h5 -m cka --reference x.h5", 2), "x.h5", "first, or one of them")


def test_a_pattern_names_the_layers_of_a_file(layers: Workdir) -> None:
    actual = [f"layers.h5::layer/{number}" for number in (0, 2, 10)]
    rows = layers.here("relrep compare 'layers.h5::layer/*' a.h5 -m cka -q").rows
    assert [(r["a"], r["b"]) for r in rows] == [(layer, "a.h5") for layer in actual]
    rows = layers.here("relrep compare 'layers.h5::/layer/?' -m cka -q").rows
    assert [(r["a"], r["b"]) for r in rows] == [tuple(actual[:2])]
    rows = layers.here("relrep compare 'layers.h5::*' 'layers.h5::*' -m cka -q --matrix").rows
    assert [r["cka"] for r in rows] == ["layer/0", "layer/2", "layer/10"]
    assert float(rows[1]["layer/2"]) == pytest.approx(1)  # two groups meet, so it was measured
    line = only_line(layers.here("relrep compare 'layers.h5::block/*' a.h5", 3), "layers.h5", "block/*")
    assert "found layer/0, layer/2, layer/10. " in line


def test_what_a_matrix_cannot_show(work: Workdir) -> None:
    only_line(work.here("relrep compare a.h5 b.h5 c.h5 --matrix -m cka,mse", 2), "one metric", "cka, mse")


@pytest.mark.parametrize(
    "uris, names",
    [
        (["a.h5", "b.npz"], ["a.h5", "b.npz"]),
        (["x/a.h5", "x/b.h5"], ["a", "b"]),
        (["a.h5::l/1", "b.h5::l/1"], ["a.h5::l/1", "b.h5::l/1"]),
        (["cka.h5", "b.h5"], ["cka.h5", "b.h5"]),
        (["a.h5", "a.h5"], ["a.h5"]),
        (["v1.2", "v1.3"], ["v1.2", "v1.3"]),
        (["a.h5::l/1/x", "b.h5::l/2/x", "c.h5"], ["a.h5::l/1", "b.h5::l/2", "c.h5"]),
        (["a.h5::l/1/x"], ["a.h5::l/1/x"]),
    ],
)
def test_names_in_a_matrix_are_short_and_unique(uris: list[str], names: list[str]) -> None:
    assert list(short_names(uris, "cka").values()) == names


# --- pictures ---

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("ending", MAGIC)
@pytest.mark.slow
def test_a_heatmap_is_the_same_bytes_every_time(work: Workdir, ending: str) -> None:
    runs = [work.here(f"relrep compare a.h5 b.h5 c.h5 -m cka --plot {name}.{ending} -q") for name in "xy"]
    first, second = ((work / f"{name}.{ending}").read_bytes() for name in "xy")
    assert first == second and first.startswith(MAGIC[ending])
    assert runs[0].out == runs[1].out == work.here("relrep compare a.h5 b.h5 c.h5 -m cka -q").out and not runs[0].stderr


def texts(path: Path) -> list[str]:
    """What is written in a picture: matplotlib leaves each text as a comment in its SVG."""
    return [html.unescape(t).strip() for t in re.findall("<!--(.*?)-->", path.read_text("utf-8"), re.DOTALL)]


@pytest.mark.slow
def test_a_heatmap_says_values_metric_and_convention(work: Workdir) -> None:
    rows = work.here("relrep compare a.h5 b.h5 c.h5 -m pwcca --matrix -q --plot x.svg").rows
    drawn_texts = texts(work / "x.svg")
    for row in rows:
        for name in "abc":
            assert short(float(row[name])) in drawn_texts, (name, drawn_texts)
    assert {"first space", "second space", "higher is closer"} <= set(drawn_texts)  # it is asymmetric
    assert any(t.startswith("pwcca") for t in drawn_texts) and any("weights from the first space" in t for t in drawn_texts)
    work.here("relrep compare a.h5 b.h5 c.h5 -m procrustes -q --plot y.svg")
    assert "lower is closer" in texts(work / "y.svg") and "first space" not in texts(work / "y.svg")


def test_the_colours_of_a_heatmap_are_the_bounds_of_the_metric(work: Workdir) -> None:
    """The diagonal has no colour; --vmin and --vmax change the ends, and names, title and size are the user's."""
    values = np.array([[1, 0.7, np.nan], [0.7, 1, 0.6], [np.nan, 0.6, 1]])
    levels = np.array([[np.nan, 0.01, np.nan], [0.01, np.nan, 0.5], [np.nan, 0.5, np.nan]])
    m = Matrix("cka", tuple("abc"), tuple("abc"), values, True, "", 9, levels=levels)
    assert _range(m, Look()) == (0, 1) and _range(m, Look(low=0.5)) == (0.5, 1)
    assert _range(replace(m, metric="mse", values=values * 4), Look()) == (0, 2.8)
    (work / "x.svg").write_bytes(heatmap(m, "x.svg"))
    drawn_texts = texts(work / "x.svg")
    assert drawn_texts.count(".700*") == 2 and drawn_texts.count(".600") == 2 and drawn_texts.count("1") == 3
    options = "--names A,B,C --plot-title mine --plot-size 4x3 --vmin 0.2 --vmax 0.9"
    work.here(f"relrep compare a.h5 b.h5 c.h5 -m cka --plot y.svg -q {options}")
    drawn_texts = texts(work / "y.svg")
    assert {"A", "B", "C", "mine"} <= set(drawn_texts) and not any("linear kernel" in t for t in drawn_texts)
    (work / "z.svg").write_bytes(heatmap(m, "z.svg", look=Look(title="mine")))
    assert {"mine", "*\u00a0q\u00a0<\u00a00.05"} <= set(texts(work / "z.svg")), "a title leaves the key to the stars"
    assert 'width="288pt" height="216pt"' in (work / "y.svg").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--vmin 0.2", ["--vmin", "--plot, which is missing"]),
        ("--plot x.png --vmin 2 --vmax 1", ["--vmin 2 is not below --vmax 1"]),
        ("--plot x.png --vmin 1", ["--vmin 1 leaves no range"]),
        ("--plot x.png --plot-size 4", ["--plot-size 4 is not a width and height"]),
        ("--plot x.png --plot-size 0.1x.", ["is not a width and height"]),
        ("--plot x.png --names a,b", ["names 2 files, and there are 3"]),
        ("-o r.html --names a,b,a", ["calls two files 'a'"]),
        ("--matrix --names a,b,cka", ["calls a file cka, and so the metric is called"]),
        ("--no-matrix --names a,b", ["names 2 files, and there are 3"]),
        ("--no-matrix --names a,b,c --shard 1/2 -o x.tsv", ["--names needs the whole"]),
    ],
)
def test_pictures_that_cannot_be(work: Workdir, options: str, words: list[str]) -> None:
    work.error(f"relrep compare a.h5 b.h5 c.h5 -m cka -q {options}", 2, *words)


def test_names_of_files_reach_everything_that_is_written(work: Workdir) -> None:
    files = "a.h5 b.h5 c.h5 --names A,B,C -q"
    for output in ("t.tex", "t.md", "t.tsv", "t.json"):
        work.here(f"relrep compare {files} -m knn-jaccard -o {output} --per-row rows.tsv --force")
        written = (work / output).read_text()
        assert ".h5" not in written and all(name in written for name in "ABC")
    assert {line.split("\t")[2] for line in (work / "rows.tsv").read_text().splitlines()[1:]} == {"A", "B"}
    assert {row["a"] for row in work.here(f"relrep compare {files} -m knn-jaccard --worst 2").rows} == {"A", "B"}
    differences = work.here(f"relrep compare {files} -m cka --against b.h5").rows
    assert [(r["a"], r["b"], r["reference"]) for r in differences] == [("B", "C", "A")]
    assert work.here("relrep compare a.h5 b.h5 --diagnose --names A,B -q").rows[0]["b"] == "B"
    grid = work.here("relrep stitch a.h5 b.h5 -a anchors.h5 -m ridge --names A,B -q").rows
    assert {(r["encoder"], r["head"]) for r in grid} == {(e, h) for e in "AB" for h in "AB"}
    assert "names 1 files" in work.error("relrep stitch a.h5 b.h5 -a anchors.h5 -m ridge --names A", 2)


def test_the_closest_layer_of_each_layer(empty: Workdir) -> None:
    """Layers of b are those of a in another order, with noise; a lower distance is closer, too."""
    rng = np.random.default_rng(0)
    layers = [rng.normal(size=(40, 5)) for _ in range(3)]
    np.savez(empty / "a.npz", l0=layers[0], l1=layers[1], l2=layers[2])
    np.savez(empty / "b.npz", **{f"l{i}": layers[j] + 0.1 * rng.normal(size=(40, 5)) for i, j in enumerate((2, 0, 1))})
    command = "relrep compare 'a.npz::l*' 'b.npz::l*' --by-position --matrix"
    for metric in ("cka", "procrustes"):
        done = empty.here(f"{command} -m {metric} --format md").stdout
        pairs = re.findall(r"(l\d) with (l\d) [\d.]+", done.split("closest column of each row: ")[1])
        assert pairs == [("l0", "l1"), ("l1", "l2"), ("l2", "l0")]
    assert "closest column of each row: l0 with l1" in empty.here(f"{command} -m cka -o m.tsv").stderr.replace("a.npz::", "")
    assert "closest column" not in empty.here("relrep compare 'a.npz::l*' -m cka --matrix --by-position --format md").stdout


def test_names_of_files_reach_the_matrix_and_the_report(work: Workdir) -> None:
    printed = work.here("relrep compare a.h5 b.h5 c.h5 -m cka --matrix --names A,B,C -q").stdout.splitlines()
    assert [line.split("\t")[0] for line in printed] == ["cka", "A", "B", "C"] and printed[0] == "cka\tA\tB\tC"
    work.here("relrep compare a.h5 b.h5 -m cka -o r.html --names A,B -q")
    assert '"rows":["A","B"]' in (work / "r.html").read_text() and "cka of A and B" in (work / "r.html").read_text()


def test_plots_of_spaces_have_the_same_options(work: Workdir) -> None:
    work.here("relrep plot a.h5 b.h5 -o x.svg --names A,B --plot-title mine --plot-size 6x3 -q")
    assert {"A, absolute", "B, absolute", "mine"} <= set(texts(work / "x.svg"))
    assert 'width="432pt" height="216pt"' in (work / "x.svg").read_text()
    work.error("relrep plot a.h5 b.h5 -o y.svg --names A", 2, "names 1 files, and there are 2")


def test_stitch_writes_its_table(work: Workdir) -> None:
    command = "relrep stitch a.h5 b.h5 -a anchors.h5 -m ridge"
    printed = work.here(f"{command} --format tsv -q").stdout
    assert not work.here(f"{command} -o t.tsv -q").stdout and (work / "t.tsv").read_text() == printed
    assert "up to date" in work.here(f"{command} -o t.tsv").stderr
    work.error(f"{command} -o t.npy", 2, "does not write .npy")


def test_maps_of_the_stitching_index_have_the_same_options(work: Workdir) -> None:
    command = "relrep stitch a.h5 b.h5 -a anchors.h5 -m ridge -q"
    work.here(f"{command} --plot x.svg --names A,B --plot-title mine --vmin 0.5 --plot-size 5x3")
    assert {"A", "B", "mine"} <= set(texts(work / "x.svg")) and 'width="360pt" height="216pt"' in (work / "x.svg").read_text()
    work.error(f"{command} --plot y.svg --names A", 2, "names 1 files, and there are 2")


def test_panels_say_which_spaces_they_show(work: Workdir) -> None:
    (work / "out").mkdir()
    for name in ("a.h5", "b.h5"):
        shutil.copy(work / name, work / "out" / name)
    work.here("relrep compare out/a.h5 out/b.h5 -m cosine -a anchors.h5 --plot x.svg -q")
    drawn_texts = texts(work / "x.svg")
    assert {"cosine, absolute", "cosine, relative (cosine)", "a  and  b"} <= set(drawn_texts)


def test_row_values_are_drawn_with_mean_interval_and_chance(work: Workdir) -> None:
    rows = work.here("relrep compare a.h5 b.h5 -m cosine,knn-jaccard,cka -q --plot x.svg").rows
    drawn_texts = texts(work / "x.svg")
    assert {"cosine", "knn-jaccard"} <= set(drawn_texts) and "cka" not in drawn_texts
    for r in rows[:2]:
        assert f"mean {float(r['value']):.4g}" in drawn_texts and f"chance {float(r['chance']):.4g}" in drawn_texts
    assert drawn_texts.count("95 % interval") == 2


def test_names_are_drawn_as_they_are(work: Workdir) -> None:
    """No mathematics, no warning about letters that the font lacks, no control characters."""
    for name in ("$x_1^2$", "日本", "a\x1b[31m"):
        (work / f"{name}.h5").write_bytes((work / "a.h5").read_bytes())
    done = work.here("relrep compare '$x_1^2$.h5' 日本.h5 'a\x1b[31m.h5' -m cka --plot x.svg -q")
    assert not done.stderr and {"$x_1^2$", "日本", r"a\x1b[31m"} <= set(texts(work / "x.svg"))


def test_files_that_are_alike_stand_together() -> None:
    names = ("a", "x", "b", "y")
    alike = np.array([[n in "ab" for n in names] for _ in names]) == np.array([[n in "ab"] for n in names])
    m = Matrix("cka", names, names, np.where(alike, 0.9, 0.1), True, "", 9)
    assert "".join(clustered(m).rows) in ("abxy", "abyx", "baxy", "bayx", "xyab", "xyba", "yxab", "yxba")
    lower = replace(m, metric="procrustes", values=np.where(alike, 0.1, 0.9))
    lower.values[0, 1] = lower.values[1, 0] = np.nan  # as far as the farthest
    assert "".join(sorted("".join(clustered(lower).rows)[:2])) in ("ab", "xy")


@pytest.mark.parametrize(
    "command, words",
    [
        ("a.h5 b.h5 -m cosine --plot x.jpg", ["--plot x.jpg", ".png, .svg, .pdf"]),
        ("a.h5 b.h5 -m cka --plot x.png", ["--plot x.png", "value for each row"]),
        ("a.h5 b.h5 c.h5 -m cka,mse --plot x.png", ["one metric", "cka, mse"]),
        ("a.h5 b.h5 -m cosine --plot x.png -o x.png", ["x.png", "same file"]),
    ],
)
def test_what_cannot_be_drawn(work: Workdir, command: str, words: list[str]) -> None:
    only_line(work.here(f"relrep compare {command}", 2, RELREP_QUIET="1"), *words)
    assert not (work / "x.png").exists()


def test_without_matplotlib(work: Workdir) -> None:
    with mock.patch.dict(sys.modules, {"matplotlib": None}):
        line = only_line(work.here("relrep compare a.h5 b.h5 -m cosine --plot x.png", 2), "matplotlib", "not installed")
    assert line.endswith("Run pip install matplotlib.")


# --- the worst items ---


def test_the_worst_items_come_first_with_their_labels(work: Workdir) -> None:
    work.here("relrep compare a.rel.h5 b.rel.h5 -m cosine,jaccard --per-row rows.tsv -q")
    lines = [line.split("\t") for line in (work / "rows.tsv").read_text().splitlines()[1:]]
    done = work.here("relrep compare a.rel.h5 b.rel.h5 -m cosine,jaccard --worst 3")
    assert list(done.rows[0]) == ["id", "label", "a", "b", "metric", "value"]
    for metric in ("cosine", "jaccard"):
        own = sorted((float(value), at, id) for at, (id, _, _, _, name, value) in enumerate(lines) if name == metric)
        actual = [(float(r["value"]), r["id"]) for r in done.rows if r["metric"] == metric]
        assert actual == [(value, id) for value, _, id in own[:3]]
    labels = {f"item-{i:03d}": f"class {c}" for i, c in enumerate(vectors()[1])}
    assert all(r["label"] == labels[r["id"]] for r in done.rows)


def test_the_worst_items_where_lower_is_closer(work: Workdir) -> None:
    np.savez(work / "x.npz", x=np.eye(4), ids=list("abcd"))
    np.savez(work / "y.npz", x=np.eye(4) + np.array([[0], [3], [0], [1]]), ids=list("abcd"))
    done = work.here("relrep compare x.npz y.npz -m mse --worst 3 --json")
    assert json.loads(done.stdout) == [
        {"id": id, "a": "x.npz", "b": "y.npz", "metric": "mse", "value": value} for id, value in (("b", 9), ("d", 1), ("a", 0))
    ]
    assert "1 more items are tied with the last one listed (mse 0)" in done.stderr


def test_the_worst_items_in_every_projection_and_in_a_file(work: Workdir) -> None:
    rows = work.here("relrep compare a.h5 b.h5 --anchors anchors.h5 -m cosine --worst 2 -q").rows
    assert [r["projection"] for r in rows] == ["absolute", "absolute", "cosine", "cosine"]
    work.here("relrep compare a.h5 b.h5 c.h5 -m knn-jaccard --worst 5 -q -o worst.parquet")
    assert len(pyarrow.parquet.read_table(work / "worst.parquet")) == 15
    only_line(work.here("relrep compare a.h5 b.h5 -m cka --worst 5", 2), "--worst", "value for each row")
    only_line(work.here("relrep compare a.h5 b.h5 -m mrr --worst 5 --matrix", 2), "--worst", "--matrix")
    work.here("relrep compare a.h5 b.h5 -m cosine --worst 1 --fail-under 0.5", 1)


# --- names of outputs, and reruns ---


def test_a_rerun_finds_its_result_up_to_date(work: Workdir) -> None:
    """Whatever else is there is kept, and said."""
    for output in ("r.tsv", "r.parquet"):
        command = f"relrep compare a.h5 b.h5 -m cka,cosine -o {output}"
        work.here(command + " -q")
        before = (work / output).read_bytes()
        assert f"{output}: up to date." in work.here(command).stderr
        assert (work / output).read_bytes() == before
        line = only_line(work.here(f"relrep compare a.h5 b.h5 -m cosine -q -o {output}", 2), f"{output}: exists", "--force")
        assert (work / output).read_bytes() == before, line


@pytest.mark.parametrize(
    ("command", "writes"),
    [
        ("project a.h5 -a anchors.h5 -o x.npy", ".h5"),
        ("embed a.npz -o x.xlsx", ".h5"),
        ("anchor a.h5 -n 5 -o x.txt", ".h5"),
        ("compare a.h5 b.h5 -m cka -o x.h5", ".tsv"),
        ("compare a.h5 b.h5 -m cka -o x.xlsx", ".tsv"),
    ],
)
def test_a_name_that_promises_another_format(work: Workdir, command: str, writes: str) -> None:
    only_line(work.here(f"relrep {command} -q", 2), "this command does not write .", writes)
    assert not list(work.path.glob("x.*"))


@pytest.mark.parametrize("absolute, ratio", [(0.25, 2.0), (0.0, None), (-0.25, None), (None, None)])
def test_a_ratio_needs_something_above_nothing(absolute: float | None, ratio: float | None) -> None:
    rest = {"a": "a", "b": "b", "metric": "cosine", "n": 9, "k": None, "joined": "id"}
    views = [{**rest, "value": absolute, "projection": "absolute"}, {**rest, "value": 0.5, "projection": "cosine"}]
    (actual,) = ratios(views, 2)
    assert actual["value"] == ratio and actual["convention"].startswith("n/a") == (ratio is None)


@pytest.mark.slow
def test_a_cache_tells_splits_and_labels_apart(empty: Workdir) -> None:
    """Splits of equally many rows, and new labels, are other results; so are their moments and neighbours."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 6))
    other = np.concatenate([x[:80] @ np.linalg.qr(rng.normal(size=(6, 6)))[0], rng.normal(size=(80, 6))])
    split = np.repeat(["train", "test"], 80)
    for name, rows in (("a.npz", x), ("b.npz", other)):
        np.savez(empty / name, x=rows, split=split, label=rng.permutation(np.repeat(["u", "v"], 80)))
    command = "relrep compare a.npz b.npz -m cka,cca,knn-jaccard,procrustes -q"
    for rows in ("", "--split train", "--split test", ""):
        assert empty.here(f"{command} {rows} --cache kept").stdout == empty.here(f"{command} {rows}").stdout
    labels = [np.repeat(["u", "v"], 80), rng.permutation(np.repeat(["u", "v"], 80))]
    for label in labels:
        for name, rows in (("a.npz", x), ("b.npz", other)):
            np.savez(empty / name, x=rows, split=split, label=label)
        command = "relrep compare a.npz b.npz -m label-overlap -q"
        assert empty.here(f"{command} --cache kept").stdout == empty.here(command).stdout
    for record in (empty / "kept").rglob("*.json"):
        record.write_text("{}")
    assert empty.here(f"{command} --cache kept").stdout == empty.here(command).stdout, "a record without its keys is none"


def test_labels_that_differ_have_no_overlap_in_common(empty: Workdir) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.npz", "b.npz"):
        np.savez(empty / name, x=rng.normal(size=(60, 6)), label=rng.integers(0, 3, 60))
    assert (
        "common items different labels; make them agree" in empty.here("relrep compare a.npz b.npz -m label-overlap", 2).stderr
    )


@pytest.mark.parametrize(
    "command", ["compare a.h5 b.h5 -o x.docx", "compare a.h5 b.h5 -m cosine --per-row x.pkl", "compare a.h5 b.h5 -o results"]
)
def test_an_ending_that_says_no_format_is_refused(work: Workdir, command: str) -> None:
    work.error(f"relrep {command}", 2, f"{command.split()[-1]}: the name must end in one of .tsv, .csv, ")
    assert not (work / command.split()[-1]).exists()


def test_what_is_said_of_many_files_is_counted(empty: Workdir) -> None:
    for name in range(5):
        np.save(empty / f"{name}.npy", np.random.default_rng(name).normal(size=(20, 3)))
    command = "relrep compare 0.npy 1.npy 2.npy 3.npy 4.npy -m cka"
    lines = empty.here(command).stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["0.npy", "1.npy", "the same for 3 more"]
    assert len([line for line in empty.here(f"{command} -v").stderr.splitlines() if "has no ids" in line]) == 5
    notes = empty.here(command.replace("cka", "cosine")).stderr.splitlines()
    of_pairs = [line for line in notes if "their spaces may differ" in line]
    assert len(of_pairs) == 3 and "the same for 8 more: their spaces may differ" in of_pairs[-1]


@pytest.mark.slow
def test_a_table_for_a_paper(work: Workdir) -> None:
    (work / "a_b.h5").write_bytes((work / "a.h5").read_bytes())
    work.here("relrep compare a_b.h5 b.h5 -m cka,rsa --permutations 200 -o t.tex -q")
    lines = (work / "t.tex").read_text().splitlines()
    assert lines[:2] == [r"\begin{tabular}{lll" + "r" * (len(lines[2].split("&")) - 3) + "}", r"\toprule"]
    assert r"a\_b.h5 & b.h5 & cka & 0." in lines[4] and "$^{**}$" in lines[4] and " [0." in lines[4]
    assert len({line.count("&") for line in lines if line.endswith(r"\\")}) == 1
    assert lines[-4].startswith("% * q < 0.05") and lines[-2].startswith("% cka: linear kernel")

"""`relrep plot`: reductions against theory, pictures by what is in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from conftest import Workdir, only_line

import relrep_cli as relrep
from relrep_cli.base.errors import DataError
from relrep_cli.plots import scatters
from relrep_cli.plots.drawing import drawing
from relrep_cli.plots.reductions import METHODS, reduce
from relrep_cli.plots.scatters import MOST, REST, Cloud, Picture

QUICK: dict[str, dict[str, Any]] = {"tsne": {"perplexity": 5.0}}
FAST = [name for name in METHODS if name not in ("umap", "none")]  # umap compiles for 10 s; none takes two dims


def clouds(n: int = 60, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    of = np.arange(n) % 3
    return 12 * np.eye(d)[of] + rng.normal(size=(n, d)), of


def kept(places: np.ndarray, of: np.ndarray) -> float:
    """The share of items whose nearest in the picture is of their own cloud."""
    far = ((places[:, None] - places) ** 2).sum(2)
    np.fill_diagonal(far, np.inf)
    return float((of[far.argmin(1)] == of).mean())


@pytest.mark.parametrize("name", FAST)
def test_clouds_stay_clouds_and_a_mixture_a_mixture(name: str) -> None:
    x, of = clouds()
    made = reduce(name, x, x, QUICK.get(name, {}), 0)
    places = made.places
    assert places.shape == (60, 2) and made.convention and np.isfinite(places).all()
    assert kept(places, of) > 0.9
    assert kept(places, np.random.default_rng(2).permutation(of)) < 0.6


@pytest.mark.parametrize("name", FAST)
def test_equal_seeds_give_equal_places(name: str) -> None:
    x, _ = clouds()
    a, b = (reduce(name, x, x, QUICK.get(name, {}), 3).places for _ in range(2))
    assert np.array_equal(a, b)


@pytest.mark.slow
def test_two_dims_are_drawn_as_they_are(empty: Workdir) -> None:
    """By itself, in one unit, without a fit; --method none refuses other dims, and another method still draws two."""
    x = np.random.default_rng(0).normal(size=(20, 2))
    made = reduce("none", x[:5], x, {}, 0)
    assert np.allclose(made.places * np.abs(x).max(), x) and made.convention == "as they are"
    with pytest.raises(DataError, match=r"has 3 dims.*such as pca"):
        reduce("none", np.eye(3), np.vstack([np.eye(3)] * 2), {}, 0)
    np.save(empty / "umap.npy", x)
    assert "one panel of the two dims, " in empty.here("relrep plot umap.npy -o a.svg").stderr
    assert "by pca, " in empty.here("relrep plot umap.npy --method pca -o b.svg").stderr
    assert "umap.npy, absolute" in (empty / "a.svg").read_text()


@pytest.mark.slow
def test_umap(work: Workdir) -> None:
    """Interpreted, since its compilation takes longer than 20 items."""
    pytest.importorskip("umap")
    work.cold.run("relrep plot a.h5 --method umap --neighbors 4 --sample 20 -o out.svg", NUMBA_DISABLE_JIT="1")
    drawn = (work / "out.svg").read_text()
    assert "4 neighbours" in drawn
    assert drawn.count("<use ") >= 20


def test_pca_is_the_projection_with_most_variance_of_the_training_rows() -> None:
    rng = np.random.default_rng(0)
    train, x = rng.normal(size=(200, 4)) * [5, 1, 3, 0.1] + 7, rng.normal(size=(50, 4))
    made = reduce("pca", train, x, {}, 0)
    _, values, axes = np.linalg.svd(train - train.mean(0), full_matrices=False)
    wanted = (x - train.mean(0)) @ axes[:2].T
    peak = np.abs(train).max()
    assert np.allclose(np.abs(made.places) * peak, np.abs(wanted), atol=1e-9)
    assert made.convention == "fitted on 200 training rows"
    shares = 100 * values**2 / (values**2).sum()
    assert made.axes == (f"PC 1 ({shares[0]:.1f} %)", f"PC 2 ({shares[1]:.1f} %)")
    assert np.allclose(reduce("pca", train * 1e160, x * 1e160, {}, 0).places, made.places), "no square overflows"


def test_one_dim_and_too_few_items() -> None:
    made = reduce("pca", np.arange(9.0)[:, None], np.arange(9.0)[:, None], {}, 0)
    places = made.places
    assert made.axes == ("PC 1 (100.0 %)", "")
    assert reduce("pca", np.ones((9, 2)), np.eye(9, 2), {}, 0).convention == "fitted on 9 items shown", "a point has no axes"
    assert not places[:, 1].any() and len(np.unique(places[:, 0])) == 9
    with pytest.raises(DataError, match="4 items are too few to draw"):
        reduce("pca", np.eye(4), np.eye(4), {}, 0)
    with pytest.raises(DataError, match="all items are the same"):
        reduce("pca", np.ones((9, 2)), np.ones((9, 2)), {}, 0)


def test_classes_have_colours_while_there_are_enough() -> None:
    def picture(values: np.ndarray) -> Picture:
        n = len(values)
        return Picture([[Cloud("t", "", np.zeros((n, 2)), np.arange(n).astype("S"), values)]], "", "label")

    assert picture(np.array(["10", "9", "b"])).classes() == ["9", "10", "b"]
    many = picture(np.array([str(i) for i in range(MOST + 5) for _ in range(MOST + 6 - i)]))
    assert many.classes() == [*map(str, range(MOST)), REST]
    alike = picture(np.array([str(i) for i in range(MOST + 5) for _ in range(2)]))
    assert alike.classes() == many.classes(), "of equally frequent classes the first in natural order"
    low, high = picture(np.r_[np.linspace(0, 1, 199), 1e6]).span()
    assert 0 < low < 0.02 and 0.98 < high < 1, "an outlier does not take all colours"


def extent(axes: Any) -> np.ndarray:
    """Inches for a step of one along each axis."""
    box = axes.get_window_extent()
    return np.array([box.width / np.ptp(axes.get_xlim()), box.height / np.ptp(axes.get_ylim())])


def laid_out(picture: Picture) -> Any:
    with drawing():
        figure = scatters.figure_of(picture)
        figure.draw_without_rendering()
        return figure


@pytest.mark.parametrize("count", [3, 28, 29, 45])
@pytest.mark.parametrize("name", ["", "a rather long name of a class "])
def test_the_legend_stays_within_the_picture(count: int, name: str) -> None:
    x, values = clouds(n=200)[0][:, :2], np.array([f"{name}{i % count}" for i in range(200)])
    figure = laid_out(Picture([[Cloud("t", "", x, np.arange(200).astype("S"), values)]], "", "label"))
    legend, whole = figure.legends[0].get_window_extent(), figure.bbox
    assert whole.y0 <= legend.y0 and legend.y1 <= whole.y1 and whole.x0 <= legend.x0 and legend.x1 <= whole.x1
    panel = figure.axes[0].get_window_extent()
    assert panel.x1 < legend.x0 and panel.width / figure.dpi > 3, "it leaves the panel its room"


@pytest.mark.parametrize("scaled", [True, False])
def test_distances_are_seen_as_they_are_where_axes_have_one_unit(scaled: bool) -> None:
    places = np.random.default_rng(0).normal(size=(50, 2)) * [30, 1]
    picture = Picture([[Cloud("t", "", places, np.arange(50).astype("S"), None, scaled=scaled)]], "", "label")
    across, up = extent(laid_out(picture).axes[0])
    assert np.isclose(across, up) == scaled
    page = scatters.scatter(picture, "a.html").decode()
    assert ('"scaleanchor":"x"' in page) == scaled


@pytest.mark.slow
def test_libraries_that_a_method_loads_run_on_one_thread_too() -> None:
    """In a process of its own, where none of them is loaded yet."""
    script = (
        "from threadpoolctl import threadpool_info\nfrom relrep_cli.plots.reductions import _single\n"
        "with _single():\n"
        "    from sklearn.manifold import TSNE\n"
        "    print(*(pool['num_threads'] for pool in threadpool_info()))"
    )
    many = {**os.environ, "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", script], env=many, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"1"}


# --- the command ---


@pytest.mark.slow
def test_spaces_beside_each_other_and_absolute_above_relative(work: Workdir) -> None:
    command = "relrep plot a.h5 b.h5 --anchors anchors.h5 --split test -o out.svg"
    only_line(work.run(command), "out.svg: 4 panels by pca")
    drawn = (work / "out.svg").read_text()
    assert len(re.findall(r'id="axes_\d+"', drawn)) == 4
    for words in (
        "PCA of test items: absolute above relative",
        "a, relative: cosine",
        "b, absolute",
        "PC 2 (",
        "training rows",
    ):
        assert words in drawn, words
    first = (work / "out.svg").read_bytes()
    only_line(work.here(command), "up to date")
    (work / "out.svg").unlink()
    work.here(command)
    assert (work / "out.svg").read_bytes() == first, "equal bytes for equal input"
    only_line(work.here(command + " --method laplacian", 2), "out.svg: exists", "--force")


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("html", b"<!doctype html>")])
def test_formats(work: Workdir, ending: str, start: bytes) -> None:
    only_line(work.here(f"relrep plot a.h5 -o out.{ending}"), f"out.{ending}: one panel")
    assert (work / f"out.{ending}").read_bytes().startswith(start)


def test_a_page_holds_all_it_needs(work: Workdir) -> None:
    """No address is loaded, ids are there, foreign text is no mark-up; two runs write the same."""
    x = np.load(work / "a.npz")
    ids = np.array(["<script>alert(1)</script>", *x["ids"][1:]])
    np.savez(work / "bad.npz", x=x["x"], ids=ids, label=x["label"])
    pages = []
    for name in ("one.html", "two.html"):
        work.here(f"relrep plot bad.npz b.h5 -o {name}")
        pages.append((work / name).read_text())
    page = pages[0]
    assert pages[0] == pages[1]
    assert not re.search(r'<(script|link)[^>]*(src|href)="?http', page)
    assert "item-007" in page and "alert(1)</script>" not in page and "lt;script" in page
    assert 3e6 < len(page) < 8e6


def test_colours_by_other_columns_and_samples_are_said(work: Workdir) -> None:
    done = work.here("relrep plot a.h5 --color split --sample 50 -o out.svg")
    assert "a.h5: 50 of 240 items are drawn (seed 0)" in done.stderr
    assert "test" in (work / "out.svg").read_text()
    np.savez(work / "bare.npz", x=np.load(work / "a.npz")["x"])
    assert "no column 'label' to colour points by" in work.here("relrep plot bare.npz -o bare.svg").stderr
    assert "fitted on 240 items" in (work / "bare.svg").read_text(), "without splits there are no training rows"


def test_relative_spaces_share_the_axes_of_the_first() -> None:
    """A rotation shows in absolute panels and vanishes in relative ones, which place equal coordinates alike."""
    x, _ = clouds()
    turned = x @ np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    drawn = relrep.plot(x, turned, anchors=np.arange(0, 60, 4)).picture
    one, other = (cloud.places for cloud in drawn.lines[1])
    assert np.allclose(one, other, atol=1e-6)
    assert "fitted on 60 items of x" in drawn.lines[1][1].note and "of x" not in drawn.lines[0][1].note
    noisy = relrep.plot(x, turned[::-1], anchors=np.arange(0, 60, 4)).picture.lines[1]
    assert not np.allclose(noisy[0].places, noisy[1].places, atol=0.1), "other items at the same ids are elsewhere"


def test_items_without_a_number_are_grey_and_counted(empty: Workdir) -> None:
    """They are drawn, below the others, on a page as in a picture; the span of the colours leaves them out."""
    x, _ = clouds()
    values = np.where(np.arange(60) < 7, np.nan, np.linspace(0, 1, 60))
    picture = Picture([[Cloud("a", "", x[:, :2], np.arange(60).astype("S"), values)]], "", "v")
    with drawing():
        axes = scatters.figure_of(picture).axes[0]
    shaded, grey = axes.collections
    assert (len(shaded.get_offsets()), len(grey.get_offsets())) == (53, 7) and picture.span()[0] > 0.1
    assert picture.beyond() == "both"
    ends = Picture([[Cloud("a", "", x[:, :2], np.arange(60).astype("S"), np.arange(60) % 2 * 1.0)]], "", "v")
    assert ends.beyond() == "neither", "arrows stand only where numbers are cut off"
    assert scatters.scatter(picture, "a.html").count(scatters.REST_COLOUR.encode()) == 1
    np.savez(empty / "a.npz", x=x, label=values)
    assert "a.npz, absolute: 7 of 60 items have no label, and are grey" in empty.here("relrep plot a.npz -o a.svg").stderr
    np.savez(empty / "b.npz", x=x, label=np.linspace(0, 1, 60))
    assert "grey" not in empty.here("relrep plot b.npz -o b.svg").stderr


@pytest.mark.slow
def test_results_of_compare_are_dots(work: Workdir) -> None:
    """A dot for each value but ratios, whatever kind of file holds them."""
    views = "-a anchors.h5 -s cosine,l1 -m pearson,jaccard"
    for kind in ("tsv", "csv", "jsonl"):
        work.here(f"relrep compare a.h5 b.h5 {views} -o first.{kind} -q")
        only_line(work.here(f"relrep plot first.{kind} -o {kind}.svg"), f"{kind}.svg: 2 panels of 1 results")
    drawn = [(work / f"{kind}.svg").read_text() for kind in ("tsv", "csv", "jsonl")]
    assert drawn[0] == drawn[1] == drawn[2] and "first, one pair" in drawn[0] and "ratio" not in drawn[0]
    circles = re.findall(r'<use xlink:href="#m\w+" x="[\d.]+" y="[\d.]+" style="fill: #3f90da; fill-opacity', drawn[0])
    assert len(circles) == 8, "absolute, cosine, l1 and their product, by two metrics"
    work.here("relrep compare a.h5 b.h5 -m jaccard --k 5,10 -o ks.jsonl -q")
    only_line(work.here("relrep plot ks.jsonl -o ks.svg"), "ks.svg: 2 panels")  # one for each k
    work.here("relrep plot first.tsv first.csv -o two.svg -q")
    assert "first.tsv, one pair" in (work / "two.svg").read_text(), "files of one name are told apart"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("plot r.tsv a.h5 -o x.png", 2, ["a.h5 holds no results of compare, and r.tsv does. Draw them apart."]),
        ("plot r.tsv -o x.png --center", 2, ["--center does not go with results of compare"]),
        ("plot r.tsv -o x.html", 2, ["-o x.html: the name must end in .png, .svg, .pdf."]),
        ("plot none.tsv -o x.png", 3, ["none.tsv: no values in it"]),
        ("plot bad.tsv -o x.png", 3, ["bad.tsv: no values in it"]),
        ("plot bad.jsonl -o x.png", 3, ["bad.jsonl: cannot be read as a table"]),
        ("plot r.tsv -o r.tsv", 2, ["the name must end in"]),
    ],
)
def test_results_that_cannot_be_drawn(empty: Workdir, command: str, code: int, words: list[str]) -> None:
    (empty / "r.tsv").write_text("a\tb\tmetric\tvalue\nx\ty\tcka\t0.5\n")
    (empty / "none.tsv").write_text("a\tb\tmetric\tvalue\nx\ty\tcka\tn/a\n")
    (empty / "bad.tsv").write_text("a\tb\tmetric\tvalue\nx\n")
    (empty / "bad.jsonl").write_text('{"a": 1, "b": 2, "metric": 3, "value": 4}\n{\n')
    (empty / "a.h5").write_bytes(b"")
    only_line(empty.here(f"relrep {command}", code), *words)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("plot a.h5", 2, ["-o FILE is missing"]),
        ("plot a.h5 -o a.gif", 2, ["-o a.gif: the name must end in .png, .svg, .pdf, .html."]),
        ("plot a.h5 -o -", 2, ["-o -: a picture is written to a file. Name one that ends in .png, .svg, .pdf, .html."]),
        ("plot a.h5 -o x.png --method tnse", 2, ["unknown method 'tnse'. Did you mean tsne?"]),
        ("plot a.h5 -o x.png --perplexity 5", 2, ["--perplexity is not an option of method pca"]),
        ("plot a.h5 -o x.png --color colour", 3, ["no column 'colour'; columns found: label, split"]),
        (
            "plot a.h5 -o x.png --center",
            2,
            ["--center says how to project, and --anchors FILE is missing. Name an anchor file"],
        ),
        ("plot a.rel.h5 -o x.png -a anchors.h5", 3, ["a.rel.h5: is a relative representation already"]),
        ("plot gone.h5 -o x.png", 3, ["gone.h5"]),
    ],
)
def test_errors_are_one_line(work: Workdir, command: str, code: int, words: list[str]) -> None:
    only_line(work.here(f"relrep {command}", code), *words)


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [("-o x.html", "plotly", "plotly"), ("-o x.png", "matplotlib", "matplotlib"), ("-o x.png -m umap", "umap", "umap-learn")],
)
def test_what_is_not_installed_is_named(work: Workdir, command: str, package: str, extra: str) -> None:
    """A finder that knows no such package stands in for an environment without it."""
    hide = (
        f"import sys, importlib.util as u; f = u.find_spec; u.find_spec = lambda n, *a: None if n == '{package}' else f(n, *a)"
    )
    run = f"{hide}; sys.argv = 'relrep plot a.h5 {command}'.split(); from relrep_cli.cli import main; main()"
    done = work.run(f'"{sys.executable}" -c "{run}"', 2)
    only_line(done, "which is not installed", f"Run pip install {extra}.")

"""Tables for eyes: names, stars, intervals, and what a narrow terminal shows."""

from __future__ import annotations

import io
import os
from typing import Any
from unittest import mock

import pytest

from relrep_cli.base.output import render
from relrep_cli.base.text_tables import below, line_of_room


def record(a: str, b: str, value: float = 0.5, **more: Any) -> dict[str, Any]:
    known = {"a": a, "b": b, "metric": "cka", "value": value, "corrected": value, "low": 0.4, "high": 0.6, "chance": 0.0}
    return known | {"n": 240, "k": None, "convention": "linear kernel", "joined": "id"} | more


def shown(width: int, records: list[dict[str, Any]], **options: Any) -> list[str]:
    """The lines on a terminal of a width, in one of which no word is cut."""
    out = io.StringIO()
    with (
        mock.patch("sys.stdout", out),
        mock.patch.object(out, "isatty", lambda: True),
        mock.patch.dict(os.environ, {"COLUMNS": str(width), "NO_COLOR": "1", "TERM": "xterm"}),
    ):
        return render(records, list(records[0]), "table", **options).splitlines()


NAMES = [f"out/model-{i}.h5" for i in "abc"]
TESTED = [record(NAMES[0], name, p=0.02, q=0.03) for name in NAMES[1:]]


def test_a_narrow_terminal_leaves_columns_out_and_says_which() -> None:
    wide, narrow = shown(120, TESTED), shown(60, TESTED)
    assert wide[0].split() == ["a", "b", "metric", "value", "corrected", "low", "high", "chance", "n", "p", "q"]
    assert narrow[0].split() == ["a", "b", "metric", "value", "low", "high"], "an interval stays or goes as a whole"
    assert shown(50, TESTED)[0].split() == ["a", "b", "metric", "value"]
    assert all(len(line) <= 60 for line in narrow)
    note = " ".join(narrow)
    assert "No room for: corrected, chance, n, p, q. A wider terminal or --format tsv shows all columns." in note
    assert narrow[1].split()[:4] == ["model-a.h5", "model-b.h5", "cka", "0.5000"]
    assert not any("No room" in line for line in wide)


def test_a_narrow_matrix_leaves_the_last_columns_out() -> None:
    names = [f"model-{i:02d}" for i in range(12)]
    rows = [{"cka": name, **dict.fromkeys(names, f"{0.5:.4f}")} for name in names]
    lines = shown(60, rows, verbatim=True)
    assert lines[0].split() == ["cka", *names[:5]] and len(lines[1].split()) == 6
    assert "No room for: model-05, model-06," in lines[13] and "model-11" in " ".join(lines[13:])
    assert all(len(line) <= 60 for line in lines)


def test_names_that_are_too_long_are_shown_all_the_same() -> None:
    long = "a-" + "very-" * 20 + "long-name.h5"
    assert long in shown(60, [record(long, "b.h5")])[1]


def test_sentences_break_between_words() -> None:
    words = ["row", "numbers", "stand", "in", "for", "ids", "because", "this", "file", "has", "none", "of", "its", "own"]
    lines = shown(40, [{"file": "a.h5", "name": "note", "value": " ".join(words)}])
    assert {word for line in lines[1:] for word in line.split()} == {"a.h5", "note", *words}


def test_a_word_stays_whole_beside_a_sentence() -> None:
    """The names of relations are columns that may be folded, but not within a word."""
    words = ["the", "usual", "error", "is", "0.17", "of", "a", "row's", "length"]
    lines = shown(
        60, [{"a": "a1.h5", "b": "b1.h5", "relation": "truncated-unit-length", "holds": "no", "evidence": " ".join(words)}]
    )
    assert "truncated-unit-length" in lines[1] and all(len(line.rstrip()) <= 60 for line in lines)
    assert {word for line in lines[1:] for word in line.split()} == {"a1.h5", "b1.h5", "truncated-unit-length", "no", *words}


def test_a_narrow_table_of_differences_keeps_their_intervals() -> None:
    base = {"a": "a1.h5", "b": "b1.h5", "task": "knn", "name": "accuracy", "value_a": 0.68, "value_b": 0.67}
    base |= {"difference": -0.0013, "low": -0.0193, "high": 0.0167, "p": 0.9, "q": 0.9, "groups": "A, A", "n": 769}
    lines = shown(60, [base])
    assert lines[0].split() == ["a", "b", "task", "name", "difference", "low", "high"] and max(map(len, lines)) <= 60


def test_members_of_one_file_lose_its_name() -> None:
    """What a column's members share is said once, below the table."""
    layers = [f"x/r.h5::model/block/{i}" for i in (1, 2)]
    both = render([record(*layers)], ["a", "b", "value"], "table").splitlines()
    assert both[1].startswith("block/1  block/2 ") and "All are embeddings of r.h5::model." in both
    apart = render([record(layer, f"v.h5::{i}") for i, layer in enumerate(layers)], ["a", "b", "value"], "table").splitlines()
    assert apart[1].startswith("block/1  0 ") and "a: embeddings of r.h5::model, b: embeddings of v.h5." in apart
    mixed = render([record(layers[0], "v.h5"), record("v.h5", layers[1])], ["a", "b", "value"], "table").splitlines()
    assert mixed[1].startswith("r.h5::model/block/1  v.h5")


def test_equal_names_mean_the_same_space() -> None:
    """Layers of two files, each in a column of its own: a name that both have goes with its file."""
    layers = ["x/r.h5::model/1", "x/v.h5::model/1", "x/v.h5::model/2"]
    rows = [{"a": layers[1], "b": layers[2], "reference": layers[0], "value": 0.5}]
    lines = render(rows, ["a", "b", "reference", "value"], "table").splitlines()
    assert lines[1].split()[:3] == ["v.h5::model/1", "v.h5::model/2", "r.h5::model/1"] and len(lines) == 2
    other = [rows[0] | {"reference": "x/r.h5::model/0"}]
    lines = render(other, ["a", "b", "reference", "value"], "table").splitlines()
    assert lines[1].split()[:3] == ["model/1", "model/2", "model/0"]
    assert lines[2] == "a: embeddings of v.h5, b: embeddings of v.h5, reference: embeddings of r.h5."


def test_an_ending_that_all_members_share_is_said_once() -> None:
    layers = [f"r.h5::layer_{i}/vectors" for i in (1, 2)]
    both = render([record(*layers)], ["a", "b", "value"], "table").splitlines()
    assert both[1].split()[:2] == ["layer_1", "layer_2"] and "All are embeddings of r.h5::*/vectors." in both
    apart = render([record(layer, layer.replace("r.", "v.")) for layer in layers], ["a", "b", "value"], "table").splitlines()
    assert apart[1].split()[:2] == ["r.h5::layer_1", "v.h5::layer_1"]
    assert "Names of embeddings are shown without their ending /vectors." in apart
    nested = render([record("r.h5::m/b/1/x", "r.h5::m/b/2/x")], ["a", "b", "value"], "table").splitlines()
    assert nested[1].split()[:2] == ["b/1", "b/2"] and "All are embeddings of r.h5::m/*/x." in nested
    cells = render([record("r.h5::obsm/X_pca", "v.h5::obsm/X_pca")], ["a", "b", "value"], "table").splitlines()
    assert cells[1].split()[:2] == ["r.h5::obsm/X_pca", "v.h5::obsm/X_pca"], "of one member, this is the name"


def test_markdown_has_intervals_and_stars() -> None:
    lines = render([record("x/a.h5", "x/b.h5", q=0.004)], ["a", "b", "metric", "value"], "markdown").splitlines()
    assert lines[0] == "| a | b | metric | value | corrected | chance | n |"
    assert lines[2] == r"| a.h5 | b.h5 | cka | 0.5000 [0.4000, 0.6000]\*\* | 0.5000 | 0.0000 | 240 |"
    assert lines[4] == r"\* q < 0.05, \*\* q < 0.01, \*\*\* q < 0.001" and lines[-1] == "cka: linear kernel"


def test_stars_of_a_matrix_stand_behind_the_digits() -> None:
    rows = [{"cka": "a", "a": "1.0000", "b": "0.9714**"}, {"cka": "b", "a": "0.9714*", "b": "1.0000"}]
    latex = render(rows, ["cka", "a", "b"], "latex", verbatim=True).splitlines()
    assert latex[0] == r"\begin{tabular}{lrr}" and latex[4] == r"a & 1.0000 & 0.9714$^{**}$ \\"
    named = render([{"cka": "x_y", "x_y": "1"}], ["cka", "x_y"], "latex", verbatim=True)
    assert named.count(r"x\_y") == 2, "an underscore of a name stays in headings, too"
    table = render(rows, ["cka", "a", "b"], "table", verbatim=True).splitlines()
    assert [line.index(".") for line in table[1:]] == [table[1].index(".")] * 2
    assert below("* q < 0.05", "markdown") == "\n\\* q < 0.05\n" and below("x", "latex") == "% x\n"


@pytest.mark.parametrize("text", ["", "one"])
def test_a_line_elsewhere_stays_one(text: str) -> None:
    assert line_of_room(text) == text

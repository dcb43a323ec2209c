"""Text from files reaches neither a terminal nor a spreadsheet as something to obey."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from conftest import Workdir

from relrep_cli.base.output import FORMATS, render

UNSAFE = ["\x1b[31m", "\x7f", "\x9b31m", "\u202e", "\u2066", "\u2028", "\u2029", "\ufeff", "\x85", "\x00"]
FORMULAS = ["=1+1", "+1", "-x", "@SUM(A1)", "＝1"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("verbatim", [False, True])
def test_no_format_lets_a_control_character_through(format: str, verbatim: bool) -> None:
    """In cells, headings, and the lines below a table; JSON still says the text letter by letter."""
    records = [{"id": text, f"column {text}": text, "metric": text, "convention": text, "n": 1} for text in UNSAFE]
    shown = render(records, ["id", "metric"], format, verbatim=verbatim)
    assert all(c.isprintable() or c == "\n" or (c == "\t" and format == "tsv") for c in shown), shown
    if format in ("json", "jsonl"):
        assert shown.isascii()
        read = json.loads(shown) if format == "json" else [json.loads(line) for line in shown.splitlines()]
        assert [record["id"] for record in read] == UNSAFE


@pytest.mark.parametrize("format, delimiter", [("csv", ","), ("tsv", "\t")])
def test_formulas_are_quoted_on_demand(format: str, delimiter: str) -> None:
    records = [{"id": text, "value": -0.5, "n": -3} for text in [*FORMULAS, "plain"]]
    for wanted in (False, True):
        shown = render(records, ["id", "=head"], format, quote_formulas=wanted)
        rows = list(csv.reader(io.StringIO(shown), delimiter=delimiter))
        mark = "'" if wanted else ""
        assert rows[0] == ["id", f"{mark}=head", "value", "n"]
        assert [row[0] for row in rows[1:]] == [*(mark + text for text in FORMULAS), "plain"]
        assert {(row[2], row[3]) for row in rows[1:]} == {("-0.5", "-3")}


def test_safe_csv_of_a_command(empty: Workdir) -> None:
    """On stdout and in the files of -o; the next command starts without it."""
    ids = [*FORMULAS, *(f"i{n}" for n in range(20))]
    np.savez(empty / "a.npz", x=np.random.default_rng(0).standard_normal((len(ids), 4)), ids=ids)
    command = "relrep neighbors a.npz --query '@SUM(A1)' --k 3 --format csv"
    assert "'@SUM(A1)" in empty.here(f"{command} --safe-csv").stdout
    assert "'@SUM(A1)" not in empty.here(command).stdout
    empty.here("relrep compare a.npz a.npz -m cosine --per-row rows.csv --safe-csv -q")
    assert "'@SUM(A1)" in (empty / "rows.csv").read_text()

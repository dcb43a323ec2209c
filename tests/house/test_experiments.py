"""The experiment pages say what was measured, and when: their tables come from the JSON that the scripts wrote."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT, Workdir

SCRIPTS = CHECKOUT / "benchmarks" / "experiments"
PAGES = sorted(path for path in (CHECKOUT / "docs" / "experiments").glob("*.md") if path.name != "README.md")
NAMES = [page.stem.replace("-", "_") for page in PAGES]
TABLE = re.compile(r"(?:^\|.*\n)+(.*\n.*)", re.MULTILINE)


@pytest.fixture(scope="module")
def lab() -> Iterator[Any]:
    sys.path.insert(0, str(SCRIPTS))
    yield import_module("lab")
    sys.path.remove(str(SCRIPTS))


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_those_of_the_cells(name: str, lab: Any) -> None:
    """A figure that was edited by hand, or a cell that was measured without renewing the page, is found here."""
    script = import_module(name)
    measured = lab.Lab(name, cells=lab.saved(name))
    assert lab.page(measured, script.TABLES) == lab.page_of(name).read_text("utf-8"), f"python {name}.py --page renews it"
    markers = {actual[1] for actual in lab.MARKED.findall(lab.page_of(name).read_text("utf-8"))}
    assert markers == set(script.TABLES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_table_names_its_commit(page: Path) -> None:
    text = page.read_text("utf-8")
    below = [actual[1] for actual in TABLE.finditer(text)]
    assert below or "Not measured yet." in text
    assert all(re.search(r"^Measured at commit `[0-9a-f]{7}", after, re.MULTILINE) for after in below)


def test_cells_come_from_commits_and_the_index_lists_every_page() -> None:
    for path in (SCRIPTS / "results").glob("*.json"):
        cells = json.loads(path.read_text("utf-8"))
        assert path.stem in NAMES
        assert all(re.fullmatch("[0-9a-f]{7}", cell["commit"]) and cell["rows"] for cell in cells.values())
    index = (CHECKOUT / "docs" / "experiments" / "README.md").read_text("utf-8")
    assert all(f"({page.name})" in index for page in PAGES)


def test_a_run_that_was_killed_goes_on_with_what_is_missing(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "RESULTS", tmp_path)
    ran: list[str] = []

    def run(self: Any, command: str) -> str:
        ran.append(command.partition(" -o ")[0].partition(" --format")[0])
        if " -o " in command:
            (tmp_path / "a.h5").write_bytes(b"")
        if "knn" in command and ran.count("compare a.h5 -m knn") == 1:
            raise KeyboardInterrupt
        return '[{"metric": "cka", "value": 0.1234567, "n": 9}]'

    monkeypatch.setattr(lab.Lab, "_run", run)

    def measure(seed: int) -> list[dict[str, Any]]:
        one = lab.Lab("x", work=tmp_path, measuring=True, cells=lab.saved("x"))
        one.file("a.h5", f"embed DATA --seed {seed}")
        return [*one.cell("compare a.h5 -m cka", ("metric", "value")), *one.cell("compare a.h5 -m knn", ("value", "p"))]

    with pytest.raises(KeyboardInterrupt):
        measure(0)
    assert measure(0) == measure(0) == [{"metric": "cka", "value": 0.12346}, {"value": 0.12346, "p": None}]
    assert ran == ["embed DATA --seed 0", "compare a.h5 -m cka", "compare a.h5 -m knn", "compare a.h5 -m knn"]
    measure(1)
    assert ran[4:] == ["embed DATA --seed 1", "compare a.h5 -m cka", "compare a.h5 -m knn"], "another file, other cells"
    with pytest.raises(lab.MissingCell):
        lab.Lab("x", cells=lab.saved("x")).cell("compare a.h5 -m cka", ("metric",))


def test_intervals_over_encoders(lab: Any) -> None:
    """Pairs that are sums of an effect of each encoder: the jackknife is that of the mean effect, doubled."""
    over_encoders = import_module("spread").over_encoders
    effects = {"a": 0.1, "b": 0.4, "c": 0.2, "d": 0.5}
    value, margin = over_encoders({(i, j): x + y for i, x in effects.items() for j, y in effects.items() if i != j})
    error = (sum((x - 0.3) ** 2 for x in effects.values()) / 3 / 4) ** 0.5
    assert (value, margin) == (pytest.approx(0.6), pytest.approx(2 * 3.182 * error))


def test_every_figure_of_the_coverage_table_stands_on_its_page() -> None:
    """So a figure that is measured again cannot stay behind in the index."""
    folder = CHECKOUT / "docs" / "experiments"
    rows = re.findall(
        r"^\| [^|]+ \| \[[^\]]+\]\(([a-z-]+\.md)\) \|[^|]*\|([^|]*)\|", (folder / "README.md").read_text("utf-8"), re.M
    )
    assert len(rows) > 20
    for page, ours in rows:
        text = (folder / page).read_text("utf-8")
        assert not [number for number in re.findall(r"\d+\.\d+", ours) if number not in text], (page, ours)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_scripts_run_on_tiny_data(name: str, lab: Any, empty: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within this process, which spares some hundred starts of Python."""
    if name == "loaders":
        pytest.importorskip("transformers"), pytest.importorskip("timm")

    def run(self: Any, command: str) -> str:
        return empty.here(f"relrep {command.replace('DATA/', f'{self.data}/')} -q").stdout

    monkeypatch.setattr(lab.Lab, "_run", run)
    actual = lab.quick(name, import_module(name).TABLES, empty.path)
    assert all("Measured at commit" in table for table in actual.values())

"""The recipes of docs/recipes.md, and two sections of docs/differences.md, run and print what the page shows.

`RELREP_README=write` renews them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from console import ROOT, assert_same, renewed, scratch

PAGE = ROOT / "docs" / "recipes.md"
FILE = re.compile(r"```python file=(\S+)\n(.*?)```", re.DOTALL)


def sections(page: Path) -> list[str]:
    """The sections of a page, the text before the first left out."""
    return re.split(r"(?=^## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


def recipes() -> list[str]:
    return sections(PAGE)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(recipes())))
def test_a_recipe_prints_what_it_shows(tmp_path: Path, environment: Mapping[str, str], number: int) -> None:
    pytest.importorskip("anndata")
    shell = scratch(tmp_path, environment)
    prints_what_it_shows(PAGE, recipes()[number], tmp_path, shell)


@pytest.mark.slow
def test_layers_and_seeds_are_judged_as_the_page_shows(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Its second section takes the files of the first."""
    page, shell = PAGE.with_name("differences.md"), scratch(tmp_path, environment)
    for title in ("Which one is closest?", "Seeds of a network"):
        (text,) = (part for part in sections(page) if part.startswith(f"## {title}\n"))
        prints_what_it_shows(page, text, tmp_path, shell)


def prints_what_it_shows(page: Path, text: str, folder: Path, shell: dict[str, str]) -> None:
    """Run the commands of a section in a folder, with the files that it shows."""
    for name, content in FILE.findall(text):
        (folder / name).write_text(content, encoding="utf-8")
    now = renewed(text, shell)
    if os.environ.get("RELREP_README") == "write":
        page.write_text(page.read_text(encoding="utf-8").replace(text, now), encoding="utf-8")
        text = now
    assert_same(text, now)


def test_there_is_a_recipe_for_each_job() -> None:
    for text in recipes():
        assert text.count("\n$ relrep ") >= 2 and "Further: [" in text
    assert len(recipes()) == 5

"""The recipes of docs/recipes.md run, one after the other, and print what the page shows. `RELREP_README=write` renews it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from console import ROOT, assert_same, renewed, scratch

PAGE = ROOT / "docs" / "recipes.md"
FILE = re.compile(r"```python file=(\S+)\n(.*?)```", re.DOTALL)


def recipes() -> list[str]:
    """The sections of the page, the text before the first left out."""
    return re.split(r"(?=^## )", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(recipes())))
def test_a_recipe_prints_what_it_shows(tmp_path: Path, environment: Mapping[str, str], number: int) -> None:
    pytest.importorskip("anndata")
    text = recipes()[number]
    shell = scratch(tmp_path, environment)
    for name, content in FILE.findall(text):
        (tmp_path / name).write_text(content, encoding="utf-8")
    now = renewed(text, shell)
    if os.environ.get("RELREP_README") == "write":
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(page.replace(text, now), encoding="utf-8")
        text = now
    assert_same(text, now)


def test_there_is_a_recipe_for_each_job() -> None:
    for text in recipes():
        assert text.count("\n$ relrep ") >= 2 and "Further: [" in text
    assert len(recipes()) == 5

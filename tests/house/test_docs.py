"""The pages: their links lead somewhere, the index lists them all, and the architecture names every room."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", ROOT / "sample_data" / "README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


@cache
def prose(page: Path) -> str:
    """The page without its code blocks, in which `#` and brackets mean other things."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


@cache
def slugs(page: Path) -> frozenset[str]:
    """The headings as GitHub names them in addresses."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def links(page: Path) -> list[tuple[Path, str]]:
    """The files and headings that the page points to, within this project."""
    actual = [link for link in LINK.findall(prose(page)) if not re.match(r"[a-z]+:", link)]
    parts = [link.partition("#") for link in actual]
    return [((page.parent / path).resolve() if path else page, heading) for path, _, heading in parts]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    actual = links(page)
    assert not [path for path, _ in actual if not path.exists()]
    assert not [(path.name, heading) for path, heading in actual if heading and heading not in slugs(path)]


def test_the_index_lists_every_page() -> None:
    listed = {path for path, _ in links(DOCS / "README.md")}
    assert set(DOCS.glob("*.md")) - {DOCS / "README.md"} <= listed
    assert DOCS / "README.md" in {path for path, _ in links(ROOT / "README.md")}


def test_the_architecture_names_every_room() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "relrep_cli"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")} | {path.stem for path in package.glob("*.py")}
    assert not [room for room in rooms - {"__init__"} if not re.search(rf"^\| \d+ \| `{room}` \|", text, re.MULTILINE)]


def test_the_architecture_names_files_and_functions_that_exist() -> None:
    text = prose(DOCS / "architecture.md")
    package = ROOT / "relrep_cli"
    files = re.findall(r"`([a-z_]+/[a-z_0-9]+\.py|[a-z_]+\.py)`", text)
    known = {path.relative_to(package).as_posix() for path in package.rglob("*.py")} | {"text.py", "parquet.py"}
    assert files and not set(files) - known - {"tests/house/test_startup.py"}
    source = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    walks = text[text.index("## A walk of compare") : text.index("## Add a metric")]
    functions = set(re.findall(r"`(_?[a-z]+_[a-z_]+)`", text)) | {"basis", "relative", "join", "measure", "interval", "grid"}
    assert not [name for name in functions if not re.search(rf"^\s*def {name}\b", source, re.MULTILINE)]
    assert "make_plan" in walks


def test_the_tutorial_shows_what_the_readme_shows() -> None:
    """The README's outputs are made by a test; the tutorial repeats them command by command."""
    shown = "".join(re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL))
    repeated = re.findall(r"```console\n(.*?)```", (DOCS / "tutorial.md").read_text(encoding="utf-8"), re.DOTALL)
    assert repeated and all(block in shown for block in repeated)


def test_tests_that_a_page_names_exist() -> None:
    """Who reads what is promised can run the test that proves it."""
    text = (ROOT / "SECURITY.md").read_text() + (DOCS / "reliability.md").read_text()
    named = set(re.findall(r"\b(?:tests/)?(\w+/test_\w+\.py)", text))
    assert len(named) > 20 and not [name for name in named if not (ROOT / "tests" / name).is_file()]
    for pages, word in re.findall(r"pytest (tests/\S+\.py(?: tests/\S+\.py)*) -k (\w+)", text):
        assert any(re.search(rf"def test_\w*{word}", (ROOT / page).read_text()) for page in pages.split()), (pages, word)

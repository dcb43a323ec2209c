"""Names that say nothing of what they hold stay out of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from conftest import CHECKOUT

EMPTY_NAMES = {"told", "heard", "said", "kin", "felt", "found"}
WORDS = "|".join(sorted(EMPTY_NAMES))
BOUND = re.compile(
    rf"(?m)(?:^ *|def |for |as |[(,.] ?|nonlocal |lambda )_*(?:{WORDS})\b(?:$|[(:,)=]| [:+|]?=| in )"
)  # in code or in prose


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each variable, argument, field and function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name


def test_names_say_what_they_hold() -> None:
    files = [path for folder in ("relrep_cli", "tests", "benchmarks") for path in sorted((CHECKOUT / folder).rglob("*.py"))]
    sources = ((path, path.read_text("utf-8")) for path in files)
    trees = ((path, ast.parse(text)) for path, text in sources if BOUND.search(text))
    empty = [
        f"{path.relative_to(CHECKOUT)}:{line}: {name}"
        for path, tree in trees
        for line, name in names(tree)
        if name.strip("_") in EMPTY_NAMES
    ]
    assert not empty, "name these after what they hold:\n" + "\n".join(empty)

"""The list of mutants keeps up with the code: each still applies, compiles, and names tests that exist."""

from __future__ import annotations

import ast
import shlex

import pytest
from mutants import CHECKOUT, PACKAGE, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda m: m.name)
def test_every_mutant_applies_once_and_compiles(mutant: Mutant) -> None:
    ast.parse(mutant.changed((CHECKOUT / PACKAGE / mutant.file).read_text()))
    assert mutant.before.split() != mutant.after.split(), "a change of layout alone"
    for argument in shlex.split(mutant.tests):
        path, _, function = argument.partition("::")
        if path.endswith(".py"):
            text = (CHECKOUT / path).read_text()
            assert not function or f"def {function.partition('[')[0]}(" in text, argument


def test_a_mutant_that_does_not_apply_is_told() -> None:
    mutant = Mutant("m", "splits.py", "b", "c", "", "")
    assert mutant.changed("abd") == "acd"
    for source in ("add", "abba"):
        with pytest.raises(ValueError, match=r"relrep_cli/splits\.py: the text to change is there [02] times"):
            mutant.changed(source)

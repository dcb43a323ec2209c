"""The README's commands run, on a terminal, and print what it shows. `RELREP_README=write` renews what it shows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from console import ROOT, assert_same, renewed, scratch

from relrep_cli.anchors.strategies import STRATEGIES
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.catalogue import families
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES

README = ROOT / "README.md"


@pytest.fixture
def shell(tmp_path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    return scratch(tmp_path, environment)


@pytest.mark.slow
def test_the_readme_shows_what_its_commands_print(shell: dict[str, str]) -> None:
    text = README.read_text()
    now = renewed(text, shell)
    if os.environ.get("RELREP_README") == "write":
        text = now
        README.write_text(text)
    assert_same(text, now)


def test_the_readme_lists_every_command() -> None:
    from relrep_cli.cli import COMMANDS

    assert re.findall(r"^\| `relrep (\w+)`", README.read_text(), re.MULTILINE) == list(COMMANDS)


WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen")


def test_the_readme_counts_what_is_registered() -> None:
    counts = {
        r"by (\w+) strategies": len(STRATEGIES),
        r"to the anchors: (\w+) functions": len(SIMILARITIES),
        r"by (\w+) metrics in": sum(entry.shown for entry in METRICS.values()),
        r"metrics in (\w+) families": len(families()),
        r"products, (\w+) translators": len(TRANSLATORS),
        r"translators, (\w+) universes": len(UNIVERSES),
    }
    for pattern, count in counts.items():
        shown = re.findall(pattern, README.read_text("utf-8"))
        assert shown, f"README.md no longer says {pattern!r}; change the pattern"
        assert all(word in (str(count), WORDS[count] if count < len(WORDS) else "") for word in shown), (
            f"README.md: {pattern!r} must say {count}, not {shown}"
        )

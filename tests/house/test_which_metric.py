"""docs/which-metric.md: every command runs, and every metric that a list shows is somewhere on the page or in the reference."""

from __future__ import annotations

import re

import pytest
from conftest import CHECKOUT, Workdir

from relrep_cli.metrics import METRICS

PAGE = (CHECKOUT / "docs" / "which-metric.md").read_text("utf-8")
COMMANDS = re.findall(r"^```sh\n(relrep .*)\n```$", PAGE, re.MULTILINE)


def test_each_question_has_one_command() -> None:
    assert len(COMMANDS) == PAGE.count("```sh") == len(re.findall(r"^\*\*[^*]+\*\*", PAGE, re.MULTILINE)) >= 15


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(work: Workdir, command: str) -> None:
    assert work.here(f"{command} -q").out


def test_the_metrics_of_the_page_exist() -> None:
    named = {name for names in re.findall(r"--metric ([a-z,-]+)", PAGE) for name in names.split(",")}
    assert len(named) >= 10 and all(METRICS[name].shown for name in named)

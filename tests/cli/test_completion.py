"""The words that completion reads from a file are those of the commands."""

from __future__ import annotations

import json

import pytest

from relrep_cli.cli import COMMANDS, completion_words, load


@pytest.mark.parametrize("name", ["anchor", "merge"])
def test_the_words_are_those_of_the_command(name: str) -> None:
    """Of two commands; `make lint` compares all."""
    kept = json.loads(completion_words.WORDS.read_text("utf-8"))
    assert list(kept) == list(COMMANDS) and kept[name] == completion_words.words_of(load(name))
    assert completion_words.words_of(completion_words.command(name)) == kept[name]


def test_plugins_complete_by_the_commands_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_words, "plugins_declared", lambda: True)
    assert completion_words.command("anchor") is None

"""Every file of the corpus through a command that reads: an answer or one line, and nothing else.

RELREP_EVERY=1 takes every file through each of the commands; else they share the files, which the tests of the store all read.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus import ACCEPT, REFUSE, Case

from relrep_cli.base import errors
from relrep_cli.base.output import Voice
from relrep_cli.cli import run

LISTED = {"two-matrices"}  # `info` describes every embedding of a file, where the others ask which is meant
COMMANDS = ("info", "compare", "project")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_file_gets_an_answer_or_one_line(
    command: str,
    hostile_corpus: list[Case],
    made: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Voice, "name", f"relrep {command}")
    wrong = []
    turn = slice(None) if os.environ.get("RELREP_EVERY") == "1" else slice(COMMANDS.index(command), None, len(COMMANDS))
    for case in hostile_corpus[turn]:
        uri = str(case.path) if case.member is None else f"{case.path}::{case.member}"
        words = {
            "info": [uri],
            "compare": [uri, str(made / "a.h5"), "--metric", "cosine"],
            "project": [uri, "--anchors", str(made / "anchors.h5"), "-o", str(tmp_path / "out.h5")],
        }[command]
        code = run([command, *words])
        said = capfd.readouterr().err
        if not acceptable(command, case, code, said):
            wrong.append(f"{case.name} ({case.expect}): exit {code}: {said}")
    assert not wrong, "\n".join(wrong)


def acceptable(command: str, case: Case, code: int, said: str) -> bool:
    """Exit 0, or 3 (2 where a metric does not apply) with a last line that names the file."""
    if "Traceback" in said or code not in (errors.DONE, errors.DATA, errors.USAGE):
        return False
    if code == errors.DONE:
        return case.expect == ACCEPT or (command == "info" and (case.expect != REFUSE or case.name in LISTED))
    lines = said.splitlines()
    return bool(lines) and lines[-1].startswith("relrep") and not any(ord(c) < 32 for line in lines for c in line)

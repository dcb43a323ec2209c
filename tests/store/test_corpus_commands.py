"""Every file of the corpus through a command that reads: an answer or one line, and nothing else.

RELREP_EVERY=1 takes every file through each of the commands; else they share the files, which the tests of the store all read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from corpus import ACCEPT, REFUSE, Case

from relrep_cli.base import errors

LISTED = {"two-matrices"}  # `info` describes every embedding of a file, where the others ask which is meant
COMMANDS = ("info", "compare", "project")


PROGRAM = """
import json, os, sys, tempfile
from relrep_cli.cli import run
from relrep_cli.store import guards, survey  # or every fork would import h5py
with tempfile.TemporaryFile() as said, open(sys.argv[1], "w") as answers:
    os.dup2(said.fileno(), 2)  # C code speaks there, too
    for line in sys.stdin:
        said.seek(0)
        said.truncate()
        code = run(json.loads(line))
        said.seek(0)
        print(json.dumps([code, said.read().decode(errors="backslashreplace")]), file=answers)
"""


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_file_gets_an_answer_or_one_line(
    command: str, hostile_corpus: list[Case], made: Path, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """In one process that has imported little, because it forks for every file."""
    turn = slice(None) if os.environ.get("RELREP_EVERY") == "1" else slice(COMMANDS.index(command), None, len(COMMANDS))
    lines, cases = [], hostile_corpus[turn]
    for case in cases:
        uri = str(case.path) if case.member is None else f"{case.path}::{case.member}"
        words = {
            "info": [uri],
            "compare": [uri, str(made / "a.h5"), "--metric", "cosine"],
            "project": [uri, "--anchors", str(made / "anchors.h5"), "-o", str(tmp_path / "out.h5")],
        }[command]
        lines.append(json.dumps([command, *words]) + "\n")
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "answers")]
    subprocess.run(program, input="".join(lines).encode(), env=environment, stdout=subprocess.DEVNULL, timeout=300, check=True)
    answers = [json.loads(line) for line in (tmp_path / "answers").read_text().splitlines()]
    wrong = [
        f"{case.name} ({case.expect}): exit {code}: {stderr}"
        for case, (code, stderr) in zip(cases, answers, strict=True)
        if not acceptable(command, case, code, stderr)
    ]
    assert not wrong, "\n".join(wrong)


def acceptable(command: str, case: Case, code: int, stderr: str) -> bool:
    """Exit 0, or 3 (2 where a metric does not apply) with a last line that names the file."""
    if "Traceback" in stderr or code not in (errors.DONE, errors.DATA, errors.USAGE):
        return False
    if code == errors.DONE:
        return case.expect == ACCEPT or (command == "info" and (case.expect != REFUSE or case.name in LISTED))
    lines = stderr.splitlines()
    return bool(lines) and lines[-1].startswith("relrep") and not any(ord(c) < 32 for line in lines for c in line)

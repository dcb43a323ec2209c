"""Pages with commands and what they print: run them in a terminal, and compare. For the README and the recipes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
DIGEST = re.compile(r"\b[0-9a-f]{64}|\b[0-9a-f]{16}")  # of weights: another machine trains other last digits
PROGRESS = re.compile(r"^relrep \w+: .* a minute, .* left\.\n", re.MULTILINE)  # where the machine is slow
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def scratch(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a scratch folder with sample_data/ in it and relrep on the PATH."""
    (folder / "sample_data").symlink_to(ROOT / "sample_data")
    # A dumb terminal shows neither bars nor colours
    settings = {"COLUMNS": "120", "TERM": "dumb", "RELREP_THREADS": "1"}
    return {**environment, **settings, "HOME": str(folder), "PWD": str(folder)}


def on_terminal(command: str, environment: dict[str, str]) -> str:
    """What a terminal shows of a command, stdout and stderr together. Fails unless it succeeds."""
    screen, end = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", command], stdin=end, stdout=end, stderr=end, env=environment, cwd=environment["PWD"]
    )
    os.close(end)
    shown = b""
    while True:
        try:
            part = os.read(screen, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(screen)
    text = PROGRESS.sub("", shown.decode().replace("\r\n", "\n"))
    assert process.wait() == 0, text
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def run_block(block: str, environment: dict[str, str]) -> str:
    """The block again, with what its commands print now."""
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"$ {command}\n{on_terminal(command, environment)}" for command in commands)


def renewed(text: str, environment: dict[str, str]) -> str:
    """A page with what its commands print now."""
    return BLOCK.sub(lambda match: f"```console\n{run_block(match[1], environment)}```", text)


def assert_same(shown: str, now: str) -> None:
    """The same words and, within a tolerance, the same numbers: another machine's products round otherwise."""
    timeless = [DIGEST.sub("DIGEST", re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", page)) for page in (shown, now)]
    shapes = [NUMBER.sub("#", page).split() for page in timeless]
    assert shapes[0] == shapes[1]
    for before, after in zip(*(map(float, NUMBER.findall(page)) for page in timeless), strict=True):
        assert after == pytest.approx(before, rel=0.02, abs=3e-3)

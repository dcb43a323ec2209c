"""The README's commands run, on a terminal, and print what it shows. `RELREP_README=write` renews what it shows."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from relrep_cli.anchors import STRATEGIES
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.catalogue import families
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
DIGEST = re.compile(r"\b[0-9a-f]{64}|\b[0-9a-f]{16}")  # of weights: another machine trains other last digits
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


@pytest.fixture
def shell(tmp_path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """A scratch folder with sample_data/ in it and relrep on the PATH."""
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    # A dumb terminal shows neither bars nor colours
    settings = {"COLUMNS": "120", "TERM": "dumb", "RELREP_THREADS": "1"}
    return {**environment, **settings, "HOME": str(tmp_path), "PWD": str(tmp_path)}


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
    text = shown.decode().replace("\r\n", "\n")
    assert process.wait() == 0, text
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def run_block(block: str, environment: dict[str, str]) -> str:
    """The block again, with what its commands print now."""
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"$ {command}\n{on_terminal(command, environment)}" for command in commands)


@pytest.mark.slow
def test_the_readme_shows_what_its_commands_print(shell: dict[str, str]) -> None:
    text = README.read_text()
    renewed = BLOCK.sub(lambda match: f"```console\n{run_block(match[1], shell)}```", text)
    if os.environ.get("RELREP_README") == "write":
        text = renewed
        README.write_text(text)
    timeless = [DIGEST.sub("DIGEST", re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", page)) for page in (text, renewed)]
    shapes = [NUMBER.sub("#", page).split() for page in timeless]
    assert shapes[0] == shapes[1]
    for before, now in zip(*(map(float, NUMBER.findall(page)) for page in timeless), strict=True):
        assert now == pytest.approx(before, rel=0.02, abs=3e-3)  # another machine's products round otherwise


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
        said = re.findall(pattern, README.read_text("utf-8"))
        assert said, f"README.md no longer says {pattern!r}; change the pattern"
        assert all(word in (str(count), WORDS[count] if count < len(WORDS) else "") for word in said), (pattern, said, count)

"""The examples of CONTRIBUTING.md, each as the plugin of a package: relrep offers it, it works, and mypy accepts it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from mypy import api

from relrep_cli import store
from relrep_cli.store.foreign import READERS, reader
from relrep_cli.store.npy import read_npy

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
EXAMPLES = dict(re.findall(r"```python file=(\w+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A folder like those that pip fills, with every example as a module, and two files of vectors."""
    for name, text in EXAMPLES.items():
        (tmp_path / f"example_{name}.py").write_text(text)
    metadata = tmp_path / "relrep_examples-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: relrep-examples\nVersion: 1.0\n")
    points = "".join(f"{name} = example_{name}\n" for name in EXAMPLES)
    (metadata / "entry_points.txt").write_text(f"[relrep.plugins]\n{points}")
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.save(tmp_path / "a.npy", x)
    np.save(tmp_path / "b.npy", x + np.array([3.0, 4.0, 0.0]))
    (tmp_path / "a.jsonvec").write_text(json.dumps(x.tolist()))
    return tmp_path


def relrep(folder: Path, environment: Mapping[str, str], command: str) -> str:
    """What a command prints. Fails unless it succeeds."""
    env = {**environment, "PYTHONPATH": f"{folder}:{environment['PYTHONPATH']}", "COLUMNS": "200"}
    words = [sys.executable, "-m", "relrep_cli", *command.split()]
    ran = subprocess.run(words, env=env, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran
    return ran.stdout


def test_examples_are_short_and_the_commands_of_the_page_are_those_that_are_tested() -> None:
    assert list(EXAMPLES) == ["metric", "similarity", "strategy", "encoder", "reader"]
    assert all(len(text.splitlines()) <= 40 for text in EXAMPLES.values())


@pytest.mark.slow
def test_each_example_is_offered_and_works(plugins: Path, environment: Mapping[str, str]) -> None:
    for command, offered in (
        ("compare --help", ["canberra"]),
        ("project --help", ["nearness"]),
        ("anchor --help", ["spaced"]),
        ("embed --help", ["min-max"]),
    ):
        shown = relrep(plugins, environment, command)
        assert all(word in shown for word in offered), (command, shown)
    actual = relrep(plugins, environment, "compare a.npy b.npy --metric canberra --format tsv")
    record = dict(zip(*(line.split("\t") for line in actual.splitlines()), strict=True))
    a, b = (np.load(plugins / f"{name}.npy") for name in "ab")
    assert float(record["value"]) == pytest.approx((np.abs(a - b) / (np.abs(a) + np.abs(b))).sum(1).mean())
    relrep(plugins, environment, "anchor a.npy -n 10 --strategy spaced -o anchors.h5")
    relrep(plugins, environment, "project a.npy -a anchors.h5 --similarity nearness -o relative.h5")
    relrep(plugins, environment, "embed a.npy --encoder min-max -o scaled.h5")
    relrep(plugins, environment, "project a.jsonvec -a anchors.h5 --similarity cosine --normalize -o read.h5")
    x = np.load(plugins / "a.npy")
    anchors = x[np.linspace(0, 39, 10).round().astype(int)]
    wanted = 1 / (1 + np.linalg.norm(x[:, None] - anchors, axis=2))
    assert np.allclose(store.read(str(plugins / "relative.h5")).x, wanted, atol=1e-5)
    assert np.allclose(store.read(str(plugins / "scaled.h5")).x, (x - x.min(0)) / np.ptp(x, axis=0), atol=1e-5)


@pytest.mark.parametrize(("ending", "message"), [(".npy", "registered twice"), ("rows", "a dot"), (".Rows", "lower-case")])
def test_an_ending_is_registered_once_and_as_relrep_compares_it(ending: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        reader(ending)(read_npy)
    assert READERS[".npy"] is not read_npy and "rows" not in READERS


@pytest.mark.slow
def test_mypy_accepts_the_examples(plugins: Path) -> None:
    with chdir(ROOT):
        out, errors, _ = api.run([str(plugins / f"example_{name}.py") for name in EXAMPLES])
    assert "example_" not in out and not errors, out + errors

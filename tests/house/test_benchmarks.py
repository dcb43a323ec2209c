"""Every benchmark still runs: on tiny data, with what is installed of its peers, in one process so that all share imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import CHECKOUT

pytestmark = pytest.mark.slow
FOLDER = CHECKOUT / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("common", "__main__"))
RUN_ALL = """
import contextlib, io, json, runpy, sys, traceback
_, folder, *names = sys.argv
sys.path.insert(0, folder)
sys.argv[:] = ["all", "--smoke"]
import common  # which takes --smoke out
found = {}
for name in names:
    said, failed = io.StringIO(), ""
    sys.argv[:] = [name]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(f"{folder}/{name}.py", run_name="__main__")
        except BaseException:
            failed = traceback.format_exc()
    found[name] = said.getvalue(), failed
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """What each benchmark printed, and the traceback of one that failed."""
    env = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("benchmarks"))}
    command = [sys.executable, "-c", RUN_ALL, str(FOLDER), *NAMES]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert not done.returncode, done.stderr
    records: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    left = [path.name for path in Path(env["TMPDIR"]).iterdir() if not path.name.startswith("torchinductor")]
    assert not left, "a benchmark left files behind"
    return records


@pytest.mark.parametrize("name", NAMES)
def test_benchmark_runs(name: str, ran: dict[str, tuple[str, str]]) -> None:
    printed, failed = ran[name]
    assert not failed, f"{printed}\n{failed}"
    assert printed.strip()


def test_the_table_is_made(tmp_path: Path) -> None:
    """One command, and one operation, once on tiny data."""
    for row in ("layers", "L1"):
        command = [sys.executable, "-m", "benchmarks", "--quick", "--heavy", "--only", row, "-o", str(tmp_path / "found.json")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)
        assert not done.returncode, done.stderr
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [row["shapes"] for row in rows] == ["1,000 x 128", "100k x 768 on 300"]


def test_the_page_is_made_from_what_is_stored(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    subprocess.run([sys.executable, "-m", "benchmarks", "--page", str(page)], check=True, cwd=CHECKOUT)
    assert page.read_text("utf-8") == (CHECKOUT / "docs" / "performance.md").read_text("utf-8")


def test_every_benchmark_is_known() -> None:
    assert {
        "anchor",
        "compare",
        "diagnosis",
        "interval_coverage",
        "neighbors",
        "project",
        "simulation",
        "startup",
        "stitch",
        "task_coverage",
    } <= set(NAMES)
    for name in NAMES:
        source = (FOLDER / f"{name}.py").read_text("utf-8")
        assert f"python benchmarks/{name}.py" in source and "--smoke" in source.partition('"""\n')[0]

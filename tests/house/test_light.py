"""Without torch, pyarrow and numba: what needs them says so in one line. `make test-light` tries a real install."""

from __future__ import annotations

import os

import pytest
from conftest import Workdir, only_line

BLOCK = """
import sys
class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "pyarrow", "numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


@pytest.fixture
def light(work: Workdir) -> Workdir:
    (work / "sitecustomize.py").write_text(BLOCK)
    path = os.pathsep.join([str(work.path), work.env["PYTHONPATH"]])
    return Workdir(work.path, work.tmp, {**work.env, "PYTHONPATH": path}).cold


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "library"),
    [("stitch a.h5 b.h5 -a anchors.h5 --head mlp", "torch"), ("embed a.h5 -o a.parquet", "pyarrow"), ("info a.csv", "pyarrow")],
)
def test_what_is_missing_is_named(light: Workdir, command: str, library: str) -> None:
    (light / "a.csv").write_text("id,x,y\na,1,2\nb,3,4\n")
    done = light.run(f"relrep {command} -q", 2)
    assert only_line(done).endswith(f"this needs {library}, which is not installed. Run pip install {library}.")

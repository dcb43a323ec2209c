"""The notebook of docs/ runs and shows what it says. `RELREP_NOTEBOOK=write` renews its outputs.

The cells are run as Python, without a kernel: the last expression of a cell is what a notebook would show.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import re
from collections.abc import Mapping
from contextlib import chdir
from typing import Any

import pytest
from conftest import CHECKOUT

NOTEBOOK = CHECKOUT / "docs" / "notebook.ipynb"
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def content() -> dict[str, Any]:
    records: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return records


def code_cells(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """The value of the last expression of a cell; None where it ends with another statement."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)  # noqa: S307


def shown(value: Any) -> dict[str, Any]:
    """What a notebook keeps of a value, by kind."""
    actual: dict[str, Any] = {"text/plain": re.sub(r" at 0x[0-9a-f]+", "", repr(value)).splitlines(True)}
    if hasattr(value, "_repr_html_"):
        actual["text/html"] = value._repr_html_().splitlines(True)
    if hasattr(value, "_repr_png_"):
        actual["image/png"] = base64.b64encode(value._repr_png_()).decode()
    return actual


def test_the_notebook_is_one_that_programs_open() -> None:
    """The parts that nbformat 4.5 requires."""
    actual = content()
    assert (actual["nbformat"], actual["nbformat_minor"]) == (4, 5) and actual["metadata"]["kernelspec"]["name"] == "python3"
    assert len({cell["id"] for cell in actual["cells"]}) == len(actual["cells"])
    for cell in code_cells(actual):
        assert cell["outputs"] and all(out["output_type"] == "execute_result" for out in cell["outputs"])
    assert NOTEBOOK.stat().st_size < 300_000


@pytest.mark.slow
def test_the_notebook_shows_what_its_cells_give() -> None:
    pytest.importorskip("pandas")
    notebook, names = content(), {"__name__": "notebook"}
    write = os.environ.get("RELREP_NOTEBOOK") == "write"
    with chdir(NOTEBOOK.parent):
        for number, cell in enumerate(code_cells(notebook), 1):
            now = shown(run_cell("".join(cell["source"]), names))
            if write:
                out = {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": now}
                cell |= {"execution_count": number, "outputs": [out]}
            printed = "".join(cell["outputs"][0]["data"]["text/plain"])
            text = "".join(now["text/plain"])
            assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", text).split()
            numbers = [[float(actual) for actual in NUMBER.findall(one)] for one in (printed, text)]
            assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=3e-3)  # another machine's products round otherwise
    if write:
        NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def test_the_cells_name_what_exists() -> None:
    import relrep_cli

    text = "".join("".join(cell["source"]) for cell in code_cells(content()))
    assert set(re.findall(r"relrep\.([a-z_]+)\(", text)) <= set(relrep_cli.__all__)

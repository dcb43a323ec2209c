"""The page: one HTML file, equal bytes for equal data."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from html import escape
from importlib.resources import files
from typing import Any

from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.reports.clouds import Space
from relrep_cli.reports.clouds import to_json as space_to_json
from relrep_cli.reports.grids import Grid, shown
from relrep_cli.reports.grids import to_json as grid_to_json

SCRIPTS = ("elements.js", "heatmap.js", "details.js", "scatter.js", "tables.js", "start.js")


@dataclass(frozen=True, eq=False)
class Report:
    """What a page shows.

    title: its heading. command: the command line that makes it again. grids: the heat maps, the first one is shown first.
    spaces: the clouds of points. files: facts of each input. versions: of relrep and its libraries. notes: sentences below the
    heading.
    """

    title: str
    command: str
    grids: Sequence[Grid]
    spaces: Sequence[Space] = ()
    files: Sequence[Mapping[str, Any]] = ()
    versions: str = ""
    notes: Sequence[str] = field(default_factory=list)


def page(report: Report) -> bytes:
    """The page as bytes.

    The data are JSON in a block that no browser runs, without the signs that could end the block. A policy in the page allows
    its own script and style by their hashes, and nothing else: no other script runs, and nothing is fetched.
    """
    items: dict[str, int] = {}
    grids = [grid_to_json(grid, items) for grid in report.grids]
    lists: dict[tuple[int, ...], int] = {}
    spaces = [space_to_json(space, items, lists) for space in report.spaces]
    data = {
        "grids": grids,
        "spaces": spaces,
        "lists": list(lists),
        "items": list(items),
        "files": [{shown(key): shown(value) for key, value in facts.items()} for facts in report.files],
    }
    style, script = _asset("page.css"), "\n".join(map(_asset, SCRIPTS))
    parts = {
        "POLICY": escape(_policy(style, script)),
        "TITLE": escape(printable(report.title, 300)),
        "COMMAND": escape(printable(report.command, 4000)),
        "NOTES": "".join(f"<p>{escape(printable(note, 600))}</p>" for note in report.notes),
        "VERSIONS": escape(printable(report.versions, 1000)),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": _as_script(data),
    }
    pieces = _asset("page.html").split("@@")  # text, name, text, name, ..., text: what is put in is not read again
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces)).encode()


def _asset(name: str) -> str:
    return files("relrep_cli.reports").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    allowed = f"script-src {_hash(script)}; style-src {_hash(style)}"
    return f"default-src 'none'; {allowed}; img-src data:; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _as_script(data: Any) -> str:
    """JSON in ASCII without <, > and &, so that no text in it can end the block, or be taken for mark-up."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

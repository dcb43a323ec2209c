"""`relrep anchor --report`: how good anchors are for files."""

from __future__ import annotations

from relrep_cli import store
from relrep_cli.cli.anchoring import read_anchors
from relrep_cli.errors import DONE, UsageError


def judge(report: str, files: list[str], truth: str, split: str | None, seed: int, kind: str | None, writes: bool) -> int:
    return DONE

"""Which outputs are reports."""

from __future__ import annotations

from pathlib import Path

ENDINGS = (".html",)


def is_report(target: str) -> bool:
    """Whether the name of an output asks for a report."""
    return Path(target).suffix.lower() in ENDINGS

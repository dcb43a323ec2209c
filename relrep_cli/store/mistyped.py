"""What a user may have meant by the name of a file that does not exist."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from relrep_cli.base.errors import printable

MOST = 2000  # names of a folder that are looked at
OPTION = re.compile(r"([a-z][a-z_-]*)=(.*)", re.DOTALL)


def remedy(path: Path) -> str:
    """What to write instead, in a sentence."""
    name = str(path)
    if re.match(r"[a-z0-9]+:/", name):
        return "Download it first; relrep reads files."
    if match := OPTION.fullmatch(name):
        return f"Write --{match[1].replace('_', '-')} {printable(match[2])} if this is an option."
    if "," in name and any(map(os.path.exists, name.split(","))):
        return "Separate names of files with blanks."
    file, colon, member = name.rpartition(":")
    if colon and os.path.isfile(file):
        return f"Write {printable(file)}::{printable(member)}."
    return f"Did you mean {printable(near)}?" if (near := _nearest(path)) else "Check the path."


def _nearest(path: Path) -> str:
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for _, entry in zip(range(MOST), entries, strict=False)]
    except OSError:
        return ""
    lower = {name.lower(): name for name in names if not name.startswith(".")}
    stem = path.name.lower()
    alike = difflib.get_close_matches(stem, lower, 1, 0.8) or [one for one in lower if one.partition(".")[0] == stem]
    return str(path.parent / lower[alike[0]]) if alike else ""

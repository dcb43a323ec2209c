"""What lies in a folder of finished results, whether it is sound, and what to remove from it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.base.task_cache import read_record, version_of

KINDS = {".json": "results", ".null": "permutations", ".paired": "differences", ".space": "arrays", ".safetensors": "trainings"}
RECORD = re.compile(r"[0-9a-f]{16,32}(\.json|\.null|\.paired|\.space|\.safetensors)")
TEMPORARY = re.compile(r"\..*\.\d+\.[0-9a-f]{8}")
ABANDONED = 86_400  # seconds after which nobody writes a temporary any more
LARGEST = 1 << 31  # bytes of any record


@dataclass(frozen=True)
class Entry:
    """A file of the folder. kind: one of KINDS, "unfinished" for what a killed run left, "foreign" for any other file.

    made: seconds since 1970. version: of the relrep that wrote it. fault: what is wrong with it, "" for nothing or unknown.
    """

    path: Path
    kind: str
    size: int
    made: float
    version: str = ""
    fault: str = ""


def entries(folder: str, verify: bool) -> list[Entry]:
    """Every file of the folder, oldest first. verify: read each record. Raises UsageError when it is no folder.

    Links are not followed, and what vanishes meanwhile is left out.
    """
    if not os.path.isdir(folder):
        raise UsageError("is not a folder", "Name the folder of --cache.", file=folder)
    return sorted(_entries(folder, verify), key=lambda e: (e.made, e.path))


def _entries(folder: str, verify: bool) -> Iterator[Entry]:
    with os.scandir(folder) as listing:
        for item in listing:
            check()
            try:
                status = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            path, plain = Path(item.path), item.is_file(follow_symlinks=False)
            record = RECORD.fullmatch(item.name) if plain else None
            if record is None:
                kind = "unfinished" if plain and TEMPORARY.fullmatch(item.name) else "foreign"
                yield Entry(path, kind, status.st_size, status.st_mtime)
                continue
            version = version_of(path)
            kind = KINDS[record[1]] if version else "foreign"  # the name alone proves nothing
            fault = _fault(path) if verify and version else ""
            yield Entry(path, kind, status.st_size, status.st_mtime, version, fault)


def _fault(path: Path) -> str:
    try:
        read_record(path, LARGEST)
    except (OSError, ValueError) as error:
        return str(error.strerror if isinstance(error, OSError) else error)
    return ""


def to_remove(entries: Sequence[Entry], older: float | None, most: float | None) -> list[Entry]:
    """The entries to prune: damaged records, what killed runs left, records older than `older` seconds, and then the oldest
    until the rest have at most `most` bytes. Foreign files stay."""
    now = time.time()
    gone = [
        e
        for e in entries
        if e.fault
        or (e.kind == "unfinished" and now - e.made > ABANDONED)
        or (e.version and older is not None and now - e.made > older)
    ]
    kept = [e for e in entries if e.version and e not in gone]
    total = sum(e.size for e in kept)
    for e in kept:
        if most is None or total <= most:
            break
        gone.append(e)
        total -= e.size
    return gone

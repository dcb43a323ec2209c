"""The user's own cache folder: one that no other user can write, so that what relrep finds there is what relrep wrote."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def private_folder(named: str = "") -> Path | None:
    """The folder `named`, else `relrep` in XDG_CACHE_HOME or ~/.cache, created if necessary.

    None when there is none that only this user can write. It is never in a shared place such as /tmp.
    """
    home, caches = os.environ.get("HOME", ""), os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # the XDG specification says to ignore relative paths
        caches = os.path.join(home, ".cache") if os.path.isabs(home) else ""
    if not named and not caches:
        return None
    path = Path(named) if named else Path(caches, "relrep")
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        path = path.resolve(strict=True)
        return path if _private(path) and os.access(path, os.W_OK | os.X_OK) else None
    except (OSError, RuntimeError, ValueError):  # it cannot be created, links form a loop, or the name holds a NUL
        return None


def _private(path: Path) -> bool:
    """Whether only this user and root can write the folder or replace it."""
    if os.stat(path).st_uid != os.geteuid():
        return False
    for place in (path, *path.parents):
        status = os.stat(place)
        shared = status.st_mode & stat.S_ISVTX and place != path  # sticky bit: others cannot rename files of this user
        group = 0 if status.st_gid == status.st_uid else stat.S_IWGRP  # a private group has the same number as its user
        if status.st_uid not in (0, os.geteuid()) or (not shared and status.st_mode & (stat.S_IWOTH | group)):
            return False
    return True

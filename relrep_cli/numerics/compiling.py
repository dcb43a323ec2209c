"""Compile functions with numba, and cache the machine code in a private folder.

By default, numba caches machine code beside the source, which may be read-only, and loads it with pickle, which can run any
code. So the cache is a folder that only this user can write. Without such a folder, each process compiles again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any

_one_at_a_time = RLock()


def compiled(function: Callable[..., Any], signature: Any, **options: Any) -> Callable[..., Any]:
    """Compile `function` for a numba signature, or load it from the cache folder."""
    from numba import njit

    with _one_at_a_time, _cache() as keep:
        if keep:
            try:
                return njit(signature, cache=True, **options)(function)
            except Exception:  # such as a full disk or a damaged cache file: compile without the cache instead
                pass
        return njit(signature, **options)(function)


def when_called(function: Callable[..., Any], signature: Any, **options: Any) -> Callable[..., Any]:
    """Compile `function` at its first call; other threads that call it meanwhile wait."""
    made: list[Callable[..., Any]] = []

    @wraps(function)
    def called(*arguments: Any) -> Any:
        if not made:
            with _one_at_a_time:
                if not made:
                    made.append(compiled(function, signature, **options))
        return made[0](*arguments)

    return called


@contextmanager
def _cache() -> Iterator[bool]:
    """Within this context, numba caches in our folder; yields whether there is one. A NUMBA_CACHE_DIR of the user stays."""
    from numba.core import config

    place = str(config.CACHE_DIR)  # type: ignore[attr-defined]
    if place:
        yield True
        return
    place = str(folder() or "")
    config.CACHE_DIR = place  # type: ignore[attr-defined]  # not an environment variable, which child processes would inherit
    try:
        yield bool(place)
    finally:
        config.CACHE_DIR = ""  # type: ignore[attr-defined]


def folder() -> Path | None:
    """Return the cache folder, created if necessary; None when there is none that only this user can write.

    It is RELREP_KERNEL_CACHE if set, else `relrep` in XDG_CACHE_HOME or ~/.cache. It is never in a shared place such as /tmp,
    because its files are executed.
    """
    named, home = os.environ.get("RELREP_KERNEL_CACHE"), os.environ.get("HOME", "")
    caches = os.environ.get("XDG_CACHE_HOME", "")
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
        found = os.stat(place)
        shared = found.st_mode & stat.S_ISVTX and place != path  # sticky bit: others cannot rename files of this user
        group = 0 if found.st_gid == found.st_uid else stat.S_IWGRP  # a private group has the same number as its user
        if found.st_uid not in (0, os.geteuid()) or (not shared and found.st_mode & (stat.S_IWOTH | group)):
            return False
    return True

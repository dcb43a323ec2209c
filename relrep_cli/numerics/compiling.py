"""Compiling by numba, and the folder that keeps what was compiled for the next process.

numba keeps machine code beside the source, which other users and read-only installations cannot write, and loads it by
pickle, which runs whatever a file says. So the folder is the user's own, or there is none and each process compiles anew.
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
    """`function` compiled for the types of a numba signature, taken from the cache folder where it is there already."""
    from numba import njit

    with _one_at_a_time, _cache() as keep:
        if keep:
            try:
                return njit(signature, cache=True, **options)(function)
            except Exception:  # a full disk, a damaged file: many kinds, and none is a reason not to compute
                pass
        return njit(signature, **options)(function)


def when_called(function: Callable[..., Any], signature: Any, **options: Any) -> Callable[..., Any]:
    """The same, but compiled by the first call, which threads that call it meanwhile wait for."""
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
    """Within, numba keeps machine code in our folder; whether it may. A NUMBA_CACHE_DIR of the user's own stays."""
    from numba.core import config

    place = str(config.CACHE_DIR)  # type: ignore[attr-defined]
    if place:
        yield True
        return
    place = str(folder() or "")
    config.CACHE_DIR = place  # type: ignore[attr-defined]  # no variable of the environment, which children would inherit
    try:
        yield bool(place)
    finally:
        config.CACHE_DIR = ""  # type: ignore[attr-defined]


def folder() -> Path | None:
    """The cache folder, made where it is missing; None where there is none that only this user can write.

    RELREP_KERNEL_CACHE if set, else `relrep` in XDG_CACHE_HOME or ~/.cache. Never a shared place such as /tmp: what lies in the
    folder is run.
    """
    named, home = os.environ.get("RELREP_KERNEL_CACHE"), os.environ.get("HOME", "")
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(caches):  # as its specification says
        caches = os.path.join(home, ".cache") if os.path.isabs(home) else ""
    if not named and not caches:
        return None
    path = Path(named) if named else Path(caches, "relrep")
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        path = path.resolve(strict=True)
        return path if _private(path) and os.access(path, os.W_OK | os.X_OK) else None
    except (OSError, RuntimeError, ValueError):  # not to be made, a circle of links, a NUL in the name
        return None


def _private(path: Path) -> bool:
    """Whether nobody but this user and root can write the folder, or put another one in its place."""
    if os.stat(path).st_uid != os.geteuid():
        return False
    for place in (path, *path.parents):
        found = os.stat(place)
        shared = found.st_mode & stat.S_ISVTX and place != path  # sticky: others cannot rename what is not theirs
        group = 0 if found.st_gid == found.st_uid else stat.S_IWGRP  # a user's group of one has the user's number
        if found.st_uid not in (0, os.geteuid()) or (not shared and found.st_mode & (stat.S_IWOTH | group)):
            return False
    return True

"""Compile functions with numba, and cache the machine code in a private folder.

By default, numba caches machine code beside the source, which may be read-only, and loads it with pickle, which can run any
code. So the cache is a folder that only this user can write. Without such a folder, each process compiles again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from threading import RLock
from typing import Any

from relrep_cli.base.private_folder import private_folder

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
    return private_folder(os.environ.get("RELREP_KERNEL_CACHE", ""))

"""Input files mapped into memory, and what to say when somebody shortens one in the meantime.

Reading a map beyond the end of its file is no exception but SIGBUS, which kills the process without a word. A handler of
Python's cannot help: it waits for the instruction that failed, which fails again for ever. A handler in C can call Python.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from relrep_cli.base import signals
from relrep_cli.base.errors import DATA
from relrep_cli.base.output import complain
from relrep_cli.store.files import bad, size_of

SHORTER, QUIET = "became shorter while it was read", "Try again when nothing writes to it."
_sizes: dict[Path, int] = {}  # of the files that are mapped


def mapped(
    path: Path, file: FileIO, dtype: Any, offset: int, shape: Sequence[int], order: Literal["C", "F"] = "C"
) -> np.ndarray:
    """A read-only memory map of a part of `path`, open as `file`. Raises DataError when it is no longer all there."""
    _guard()
    _sizes[path] = size_of(file)
    try:
        return np.memmap(file, dtype, "r", offset, tuple(shape), order)
    except ValueError:
        raise bad(path, SHORTER, QUIET) from None


@cache
def _guard() -> Any:
    """Let SIGBUS call `_lost`; the answer has to be kept for as long."""
    import ctypes

    kind = ctypes.CFUNCTYPE(None, ctypes.c_int)
    handler, libc = kind(_lost), ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, kind), ctypes.c_void_p
    libc.signal(signal.SIGBUS, handler)
    return handler


def _lost(number: int) -> None:
    """Called in the middle of an instruction, which can never be finished: say which file it was, and leave."""
    try:
        for path, size in _sizes.items():
            with suppress(OSError):
                if os.stat(path).st_size < size:
                    return complain(str(bad(path, SHORTER, QUIET)))
        complain("a file that was being read is gone from its disk. Check the disk, and try again.")
    finally:
        signals.leave(DATA)

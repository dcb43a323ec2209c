"""Standard input, output and error as a program may find them at its start."""

from __future__ import annotations

import io
import os
import sys


def stand_in() -> None:
    """Replace standard streams that were closed at the start (`>&-`), so that no file of ours takes their numbers.

    Reading then finds the end, writing results fails as on a bad descriptor, and notes go nowhere.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, flags)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text in this locale

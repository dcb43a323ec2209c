"""Lists in text files, one value a line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from relrep_cli.base.errors import NO_DESCRIPTORS, DataError, printable
from relrep_cli.base.uris import is_stdin
from relrep_cli.store.files import refuse_pipe

SIGNATURE = b"\x89HDF\r\n\x1a\n"

TEXT_LIMIT = 64 << 20  # bytes of a list


def read_lines(uri: str) -> list[str]:
    """The lines of a text file. Spaces are kept, and only LF or CRLF ends a line, because ids may hold other separators.

    Raises DataError for a file that is missing, too long or not UTF-8.
    """
    try:
        if is_stdin(uri):
            if sys.stdin.closed:
                raise DataError("standard input can be read once", "Name a file in its other place.", file=uri)
            content = sys.stdin.buffer.read(TEXT_LIMIT + 1)
            sys.stdin.close()
        else:
            refuse_pipe(uri)
            with open(uri, "rb") as file:
                content = file.read(TEXT_LIMIT + 1)
        if len(content) > TEXT_LIMIT:
            finding = f"is longer than {TEXT_LIMIT} bytes, the limit for a list"
            raise DataError(finding, "Give the vectors as an anchor file.", file=uri)
        return content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise DataError("is not UTF-8 text with one value a line", "Save it as UTF-8 text.", file=uri) from None
    except OSError as error:
        if getattr(error, "errno", None) in NO_DESCRIPTORS:
            raise
        raise DataError(str(error.strerror).lower(), "Check the path.", file=uri) from None


def header_or(remedy: str, values: Sequence[bytes] | np.ndarray, count: int) -> str:
    """The remedy for so many values for `count` rows: where there is one too many, the first may be a header."""
    return f"Remove the first line, {printable(values[0], 60)!r}, if it is a header." if len(values) == count + 1 else remedy


def stdin_is_hdf5() -> bool:
    """Whether standard input begins as HDF5 does, or cannot be looked at: the reader of HDF5 then says why."""
    if sys.stdin.closed or sys.stdin.isatty():
        return True
    start: bytes = sys.stdin.buffer.peek(len(SIGNATURE))[: len(SIGNATURE)]  # type: ignore[union-attr]
    return start == SIGNATURE

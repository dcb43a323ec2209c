"""How the name of an input is read: `FILE`, `FILE::MEMBER`, or standard input."""

from __future__ import annotations

import os

STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def is_stdin(uri: str) -> bool:
    """Whether the name stands for standard input.

    >>> is_stdin("-"), is_stdin("/dev/stdin"), is_stdin("a.h5")
    (True, True, False)
    """
    return uri in STDIN


def split_uri(uri: str) -> tuple[str, str, str]:
    """The file, the mark `::` and the member that a URI names, as `str.partition` gives them; the file is `-` for stdin.

    A file whose name holds `::` is found when it exists. Of several files that fit, the longest name wins.

    >>> split_uri("a.h5::layer/1"), split_uri("a.h5"), split_uri("/dev/stdin::x")
    (('a.h5', '::', 'layer/1'), ('a.h5', '', ''), ('-', '::', 'x'))
    """
    parts = uri.split("::")
    for count in range(len(parts), 1, -1):
        path = "::".join(parts[:count])
        if os.path.lexists(path):
            return "-" if is_stdin(path) else path, "::" if count < len(parts) else "", "::".join(parts[count:])
    path, mark, member = uri.partition("::")
    return "-" if is_stdin(path) else path, mark, member

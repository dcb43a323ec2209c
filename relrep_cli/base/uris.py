"""How the name of an input is read: `FILE`, `FILE::MEMBER`, `FILE::MEMBER?KEY=VALUE&…`, or standard input."""

from __future__ import annotations

import os
import re

QUERY = re.compile(r"\?[a-z-]+(=[^?&]*)?(&[a-z-]+(=[^?&]*)?)*", re.DOTALL)  # at the end of a name
FLAGS = ("by-position", "packed-bits", "transpose", "trust-digest")  # keys that need no value
STDIN = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")


def is_stdin(uri: str) -> bool:
    """Whether the name stands for standard input.

    >>> is_stdin("-"), is_stdin("/dev/stdin"), is_stdin("a.h5")
    (True, True, False)
    """
    return uri in STDIN


def split_uri(uri: str) -> tuple[str, str, str]:
    """The file, the mark `::` and the member that a URI names, as `str.partition` gives them; the file is `-` for stdin.

    A file whose name holds `::` is found when it exists. Of several files that fit, the longest name wins. A query belongs to
    neither part; see `query_of`.

    >>> split_uri("a.h5::layer/1"), split_uri("a.h5"), split_uri("/dev/stdin::x")
    (('a.h5', '::', 'layer/1'), ('a.h5', '', ''), ('-', '::', 'x'))
    """
    parts = _divided(uri)[0].split("::")
    for count in range(len(parts), 1, -1):
        path = "::".join(parts[:count])
        if os.path.lexists(path):
            return "-" if is_stdin(path) else path, "::" if count < len(parts) else "", "::".join(parts[count:])
    path, mark, member = _divided(uri)[0].partition("::")
    return "-" if is_stdin(path) else path, mark, member


def query_of(uri: str) -> dict[str, str]:
    """What follows `?` in a URI, by key; {} where no query follows, or a file of the whole name exists. %XX stands for a byte.

    >>> query_of("a.parquet::emb?id=doc_id&by-position"), query_of("layer?"), query_of("a.npz?id=a%26b")
    ({'id': 'doc_id', 'by-position': ''}, {}, {'id': 'a&b'})
    """
    pairs = [part.partition("=") for part in _divided(uri)[1].split("&") if part]
    return {key: _unquoted(value) for key, _, value in pairs}


def raw_query(uri: str) -> str:
    """The query as it stands in the URI, with its mark; "" for none.

    >>> raw_query("a.h5::layer/*?id=doc_id"), raw_query("a.h5::layer?")
    ('?id=doc_id', '')
    """
    query = _divided(uri)[1]
    return f"?{query}" if query else ""


def _unquoted(value: str) -> str:
    """The text with each %XX replaced by its byte.

    >>> _unquoted("a%26b%20%C3%A9")
    'a&b é'
    """
    encoded = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), os.fsencode(value))
    return os.fsdecode(encoded)


def _divided(uri: str) -> tuple[str, str]:
    """The URI before its query, and the query."""
    place = uri.rfind("?")
    query = uri[place:] if place >= 0 and QUERY.fullmatch(uri[place:]) else ""
    if (
        not query
        or not ("=" in query or query[1:] in FLAGS)
        or os.path.lexists(uri.partition("::")[0] if "::" in query else uri)  # such a file has a question mark in its name
    ):
        return uri, ""
    return uri[:place], query[1:]


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key for natural order: numbers within names are compared as numbers."""
    parts = [part.lstrip("0") if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    return [(len(part) if number % 2 else 0, part) for number, part in enumerate(parts)]


def without_shared_folders(members: list[str]) -> list[str]:
    """Remove the folders that all members share, but the last one, which may say what the numbers behind it count.

    >>> without_shared_folders(["model/block/1", "model/block/12"]), without_shared_folders(["a/1", "b/1"])
    (['block/1', 'block/12'], ['a/1', 'b/1'])
    """
    parts = [member.strip("/").split("/") for member in members]
    shared = 0
    while all(len(p) > shared + 2 for p in parts) and len({p[shared] for p in parts}) == 1 == len(
        {p[shared + 1] for p in parts}
    ):
        shared += 1
    return ["/".join(p[shared:]) or member for p, member in zip(parts, members, strict=True)]


def without_shared_ending(members: list[str]) -> list[str]:
    """Remove the last parts that all members share, such as the name of the array in each layer. The first part stays.

    Members that are all the same stay as they are: their last part is their name, not an ending.

    >>> without_shared_ending(["layer_0/vectors", "layer_1/vectors"]), without_shared_ending(["obsm/X_pca", "obsm/X_pca"])
    (['layer_0', 'layer_1'], ['obsm/X_pca', 'obsm/X_pca'])
    """
    parts = [member.strip("/").split("/") for member in members]
    shared = 0
    while len({*members}) > 1 and all(len(p) > shared + 1 for p in parts) and len({p[-1 - shared] for p in parts}) == 1:
        shared += 1
    return ["/".join(p[: len(p) - shared]) for p in parts] if shared else members

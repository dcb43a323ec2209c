"""Ids made comparable: the differences that tools and systems bring into ids of the same items, and how to undo them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.embedding import text

NUMBER = re.compile(r"0*(\d+)(\.0+)?")
BARCODE = re.compile(r"(.*(?<![A-Za-z])[ACGTN]{8,})(?:[-_]\d+)+")  # a cell's, with the lanes and batches that tools append


def _basename(name: str) -> str:
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1]


def _stem(name: str) -> str:
    base = _basename(name)
    return base.rpartition(".")[0] or base


def _number(name: str) -> str:
    match = NUMBER.fullmatch(name)
    return match[1] if match else name


def _barcode(name: str) -> str:
    match = BARCODE.fullmatch(name)
    return match[1] if match else name


CHANGES: dict[str, tuple[str, Callable[[str], str]]] = {
    "nfc": ("Unicode normalisation", lambda name: unicodedata.normalize("NFC", name)),
    "strip": ("blanks around them", str.strip),
    "case": ("capital letters", str.casefold),
    "number": ("leading zeros or .0", _number),
    "barcode": ("-1, -1-0 or _1 behind a cell's barcode", _barcode),
    "basename": ("folders", _basename),
    "stem": ("folders and extensions", _stem),
}
SOME = 2000  # ids whose partners are looked for
MOST = 200_000  # ids among which


def changes(names: str) -> list[str]:
    """The names in `nfc+strip`. Raises UsageError for an unknown one."""
    asked = [name.strip() for name in re.split(r"[+,]", names) if name.strip()]
    for name in asked:
        if name not in CHANGES:
            raise UsageError(f"{name!r} is not a way to change ids", f"Known: {', '.join(CHANGES)}.", place="--normalize-ids")
    return asked


def normalized(ids: np.ndarray, names: str) -> np.ndarray:
    """Ids (n,) after the changes `names`, one after the other. Raises UsageError for an unknown one."""
    wanted = [CHANGES[name][1] for name in changes(names)]
    if not wanted:
        return ids
    return text(_changed(item.decode(errors="surrogateescape"), wanted) for item in ids.tolist())


def _changed(name: str, wanted: list[Callable[[str], str]]) -> bytes:
    for change in wanted:
        name = change(name)
    return name.encode(errors="surrogateescape")


def difference(a: np.ndarray, b: np.ndarray) -> tuple[str, str, int] | None:
    """(name, what it undoes, how many of the first ids it joins): the least change that gives ids of `a` a partner in `b`.

    a, b: ids (n,), (m,) that have no partner. None where no single change helps.
    """
    some, most = a[:SOME], b[:MOST]
    for name, (what, _) in CHANGES.items():
        joined = len(np.intersect1d(normalized(some, name), normalized(most, name)))
        if joined:
            return name, what, joined
    return None

"""What `embed` reads: raw items of every kind. Register a source in the file of its family; importing this costs no Pillow.

Sources are foreign files: what a header declares is checked against the size of the file before anything is allocated.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relrep_cli.embedding import duplicates
from relrep_cli.errors import DataError, printable
from relrep_cli.sources import cifar, graphs, idx, images, tables, vectors  # noqa: F401  (each registers; first fit wins)
from relrep_cli.sources.base import SOURCES, Items, source
from relrep_cli.sources.text import Texts
from relrep_cli.store.hdf5 import SIGNATURE

__all__ = ["SOURCES", "Items", "Texts", "chosen", "read", "source"]


def chosen(uri: str, name: str = "", given: Sequence[str] = ()) -> str:
    """The name of the source that `uri` is: `name` if that is told, else the only one that has all the options `given`,
    else the first that fits; idx, whose errors say what a folder of images holds, if none does.
    """
    if name:
        return SOURCES[name].name
    takers = [entry.name for entry in SOURCES.values() if given and all(option in entry.keywords for option in given)]
    if uri == "-":
        start: bytes = sys.stdin.buffer.peek(8)[:8]  # type: ignore[union-attr]
        return "vectors" if start == SIGNATURE else (takers or ["lines"])[0]
    if len(takers) == 1:
        return takers[0]
    try:
        return next((entry.name for entry in SOURCES.values() if entry.fits(Path(uri))), "idx")
    except (OSError, ValueError):  # ValueError: a path with a null character
        return "idx"


def read(uri: str, name: str, params: Mapping[str, Any]) -> Items:
    """The items of `uri`, read as the source `name` with its parameters. Raises DataError: where, what, what to do."""
    try:
        items: Items = SOURCES[name].function(Path(uri), **params)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or printable(str(error))
        raise DataError(f"{printable(uri)}: cannot be read ({why}). Check the path.") from None
    if twice := duplicates(items.ids):
        raise DataError(f"{printable(uri)}: {len(twice)} ids stand more than once, such as {printable(twice[0])}.")
    return items

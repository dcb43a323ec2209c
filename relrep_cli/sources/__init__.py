"""What `embed` reads: raw items of every kind. Register a source in the file of its family; importing this costs no Pillow.

Sources are foreign files: what a header declares is checked against the size of the file before anything is allocated.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from relrep_cli.base.errors import NO_DESCRIPTORS, DataError, UsageError, printable
from relrep_cli.base.uris import is_stdin
from relrep_cli.embedding import duplicates
from relrep_cli.sources import cifar, citations, idx, images, tables, vector_files  # noqa: F401  (each registers; first fit wins)
from relrep_cli.sources.items import SOURCES, Items, source
from relrep_cli.sources.text_lines import Texts
from relrep_cli.store.hdf5 import SIGNATURE
from relrep_cli.store.reading import PLAIN, Reading

__all__ = ["SOURCES", "Items", "Texts", "chosen", "fitting", "read", "source"]


def chosen(uri: str, name: str = "", given: Sequence[str] = (), takes: Collection[str] = ()) -> str:
    """The name of the source that `uri` is: `name` if that is told, else the only one that has all the options `given`,
    else the first that fits and gives what is wanted, else the first that fits; idx for a file, if none does.

    takes: the kinds of items that are wanted. Raises DataError for a folder that nothing fits.
    """
    if name:
        return SOURCES[name].name
    takers = [entry.name for entry in SOURCES.values() if given and all(option in entry.keywords for option in given)]
    if is_stdin(uri):
        start: bytes = sys.stdin.buffer.peek(8)[:8]  # type: ignore[union-attr]
        return "vectors" if start == SIGNATURE else (takers or ["lines"])[0]
    if len(takers) == 1:
        return takers[0]
    names = fitting(uri)
    if not names and os.path.isdir(uri):
        raise DataError(
            "no items in this folder", f"Name the kind of source with --source: {', '.join(SOURCES)}.", file=printable(uri)
        )
    return next((name for name in names if SOURCES[name].kind in takes), (names or ["idx"])[0])


def fitting(uri: str) -> list[str]:
    """The names of the sources that a file or folder looks like."""
    try:
        return [entry.name for entry in SOURCES.values() if entry.fits(Path(uri))]
    except (OSError, ValueError):  # ValueError: a path with a null character
        return []


def read(uri: str, name: str, params: Mapping[str, Any], reading: Reading = PLAIN) -> Items:
    """The items of `uri`, read as the source `name` with its parameters.

    reading: what the user says of its columns. Raises DataError: where, what, what to do; UsageError where the source has no
    columns and `reading` names one.
    """
    entry = SOURCES[name]
    if not entry.has_columns and reading.given:
        raise UsageError(f"{reading.given} does not go with --source {name}", "Leave it out.", file=printable(uri))
    try:
        columns = {"reading": reading} if entry.has_columns else {}
        items: Items = entry.function(Path("-" if is_stdin(uri) else uri), **params, **columns)
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) in NO_DESCRIPTORS:
            raise
        why = getattr(error, "strerror", None) or printable(str(error))
        raise DataError(f"cannot be read ({why})", "Check the path.", file=printable(uri)) from None
    if twice := duplicates(items.ids):
        raise DataError(
            f"{len(twice)} ids occur more than once, such as {printable(twice[0])}",
            "Give each item an id of its own.",
            file=printable(uri),
        )
    return items

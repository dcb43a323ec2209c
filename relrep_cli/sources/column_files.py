"""Ids, labels and splits from text files beside a source, one value a line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.embedding import duplicates, text
from relrep_cli.sources.items import Items, part_of
from relrep_cli.store.lines import header_or, read_lines

TABLES = {".csv": (",", "-d, "), ".tsv": ("\t", "")}  # the mark between columns, and how `cut` is given it


def columns_of(files: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Read the columns of text files, by name: (n,) UTF-8 text. In "split", val and dev become valid, and the like.

    Raises DataError for a file that cannot be read, or that is a table of several columns.
    """
    columns = {}
    for name, path in files.items():
        lines = read_lines(path)
        _refuse_table(path, lines[0])
        if name == "split":
            known = {word: (word.isalpha() and part_of(word)) or word for word in set(lines)}
            lines = [known[word] for word in lines]
        columns[name] = text(lines)
    return columns


def _refuse_table(path: str, first: str) -> None:
    """Raise DataError for a .csv or .tsv of several columns: each of its lines would become one value."""
    mark, option = TABLES.get(os.path.splitext(path)[1].lower(), ("", ""))
    if not mark or mark not in first:
        return
    finding = f"its first line is {printable(first, 60)!r}, and one value a line is needed"
    remedy = f"Write one of its columns to a file, without the header: cut {option}-f2 {path} | tail -n +2 > column.txt"
    raise DataError(finding, remedy, file=path)


def with_columns(items: Items, files: Mapping[str, str], source: str) -> Items:
    """The items with the ids, labels and splits of text files instead of their own.

    files: path by column: "ids", "label" or "split". source: the URI of the items, for messages. Raises DataError where a
    file has another number of lines than there are items, or an id twice.
    """
    columns = columns_of(files)
    for name, values in columns.items():
        if len(values) != len(items.x):
            finding = f"{len(values)} lines for the {len(items.x)} items of {source}"
            raise DataError(finding, header_or("Give one for each item.", values, len(items.x)), file=files[name])
    ids = columns.pop("ids", items.ids)
    if twice := duplicates(ids):
        finding = f"{len(twice)} ids occur more than once, such as {printable(twice[0])}"
        raise DataError(finding, "Give each item an id of its own.", file=files.get("ids", source))
    return replace(items, ids=ids, obs={**items.obs, **columns})

"""The reading rule, part one: what the name of a column says. docs/reading.md states the rule for users."""

from __future__ import annotations

import re

STRONG = {"id", "ids"}  # such a column is the ids even where values repeat, which is then an error
ID_NAMES = STRONG | {
    "uid", "uids", "uuid", "uuids", "guid", "key", "keys", "name", "names", "word", "words", "token", "tokens", "item", "items",
    "file", "files", "filename", "filenames", "file_name", "file_names", "path", "paths", "image_path", "image_paths",
    "accession", "accessions", "barcode", "barcodes",
}  # fmt: skip
UNNAMED = {"", "index", "_index", "unnamed: 0"}  # how tables name an index that has no name of its own
PANDAS_LEVEL = re.compile(r"__index_level_\d+__")
ROW_NUMBERS = {"row_id", "rowid", "row", "row_number"}  # as some programs name the counter of rows
SUFFIXED = re.compile(r".*[_.\- ]ids?", re.IGNORECASE | re.DOTALL)
CAMEL = re.compile(r".*[a-z0-9](Id|ID)s?", re.DOTALL)
ROLES = {"id": "id", "ids": "id", "label": "label", "labels": "label", "split": "split"}


def role(name: str) -> str | None:
    """The role of a column by its name, in any case, singular or plural: "id", "label" or "split"; None for others."""
    return ROLES.get(name.strip().lower())


def is_id_name(name: str) -> bool:
    """Whether a column of this name may hold ids.

    >>> [is_id_name(name) for name in ("ID", "doc_id", "imageId", "void", "Word", "title")]
    [True, True, True, False, True, False]
    """
    plain = name.strip().lower()
    return plain in ID_NAMES or is_unnamed(name) or bool(SUFFIXED.fullmatch(name.strip()) or CAMEL.fullmatch(name.strip()))


def may_count_rows(name: str) -> bool:
    """Whether a column of this name may be a counter of rows, which nobody chose as ids."""
    return is_unnamed(name) or name.strip().lower() in ROW_NUMBERS


def is_unnamed(name: str) -> bool:
    """Whether the name is what tables write for an index without one."""
    return name.strip().lower() in UNNAMED or bool(PANDAS_LEVEL.fullmatch(name))

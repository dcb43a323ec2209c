"""The reading rule, part three: which of the columns that a file holds are its ids, labels and splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.store.column_names import STRONG, is_id_name, is_unnamed, may_count_rows, role
from relrep_cli.store.columns import ColumnDigest, blocks, check_ids, column, named_split
from relrep_cli.store.files import bad
from relrep_cli.store.found import Found
from relrep_cli.store.normalizing import normalized
from relrep_cli.store.reading import Reading
from relrep_cli.store.table_columns import listed

QUOTES = "''"  # a name without letters, as a shell takes it
FIRST = 1 << 13  # rows of an unread column that are looked at


def assign(path: Path, content: Found, reading: Reading) -> Found:
    """`content` with ids and obs chosen from its columns; `unread` are then the columns that could be ids and are not.

    Raises DataError when two columns could be the ids, when a named one is missing, and for text that is not UTF-8.
    """
    obs = dict(content.obs)
    pool = {**content.obs, **content.columns}
    for part in ("label", "split"):
        if name := reading.named.get(part) or _first(content.columns, part):
            obs[part] = column(path, part, _named(path, pool, name, part))
    if "split" in obs:
        obs["split"] = named_split(obs["split"])
    name = None if reading.by_position else _id_name(path, content, pool, reading)
    if name is None:
        unread = () if reading.by_position else tuple(dict.fromkeys([*content.unread, *_loose(content.columns)]))
        attrs = content.attrs if content.index is None else {**content.attrs, "digest": ""}  # the digest covers the ids
        return replace(content, obs=obs, columns={}, unread=unread, attrs=attrs)
    ids = column(path, "id", _named(path, pool, name, "id"))
    if reading.normalize_ids:
        ids = normalized(ids, reading.normalize_ids)
    check_ids(path, ids)
    places = {**content.places, "ids": content.places.get("ids", "") if name == content.index else ""}
    own = name == content.index and not reading.normalize_ids
    attrs = content.attrs if own else {**content.attrs, "digest": "", "row-ids": 0}
    others = _others(content, name, ids) if reading.id_column is None else {}
    content = replace(content, unread=tuple(others), digests=others)
    return replace(content, ids=ids, obs=obs, columns={}, places=places, attrs=attrs)


def _others(content: Found, name: str, ids: np.ndarray) -> dict[str, str]:
    """Columns that could be the ids instead of `name`, an index that only numbers the rows, and their digests where known."""
    if not may_count_rows(name) or content.attrs.get("format") or not counts_rows(ids):
        return {}
    columns = {n: values for n, values in {**content.obs, **content.columns}.items() if n != name}
    digests = {n: content.digests.get(n, "") for n in content.unread if n != name}
    return digests | {n: _digest(columns[n]) for n in _loose(columns)}


def _digest(values: np.ndarray) -> str:
    digest = ColumnDigest()
    for rows in blocks(len(values), values.dtype.itemsize):
        digest.update(column(Path(), "text", values[rows]).tolist())
    return digest.name()


def _first(columns: Mapping[str, np.ndarray], part: str) -> str | None:
    return next((name for name in columns if role(name) == part), None)


def _named(path: Path, pool: Mapping[str, np.ndarray], name: str, part: str) -> np.ndarray:
    if name not in pool:
        known = listed(list(pool)) if pool else "none"
        raise bad(path, f"no column {printable(name)!r}; found {known}", f"Name one with --{part}-column.")
    return pool[name]


def _id_name(path: Path, content: Found, pool: Mapping[str, np.ndarray], reading: Reading) -> str | None:
    """The column of the ids; None when none is named like ids."""
    if reading.id_column is not None:
        return reading.id_column
    if content.index is not None:
        return content.index
    taken = {reading.label_column, reading.split_column}
    named = {n: v for n, v in content.columns.items() if is_id_name(n) and n not in taken}
    if len(named) == 1 and next(iter(named)).strip().lower() in STRONG:
        return next(iter(named))
    unique = [n for n, values in named.items() if _may_be_ids(values)]
    if len(unique) > 1:
        unique = [
            n for n in unique if not (is_unnamed(n) and _holds_whole_numbers(named[n])) and not counts_rows(named[n])
        ] or unique
    if len(unique) > 1 and any(not np.array_equal(named[unique[0]], named[n]) for n in unique[1:]):
        choices = " or ".join(f"--id-column {printable(n) or QUOTES}" for n in unique[:2])
        raise bad(path, f"{listed(unique)} could each be the ids: all of their values are different", f"Write {choices}.")
    strong = [n for n in named if n.strip().lower() in STRONG]
    return next(iter(unique or strong), None)


def _loose(columns: Mapping[str, np.ndarray]) -> list[str]:
    """Columns read in full that tell all rows apart and were not taken as ids."""
    return [n for n, values in columns.items() if role(n) is None and tells_rows_apart(values)]


def tells_rows_apart(values: np.ndarray) -> bool:
    """Whether values (n,), all or the first of a column, could be ids: all different, and not just the rows' numbers."""
    return _may_be_ids(values) and not counts_rows(values)


def _may_be_ids(values: np.ndarray) -> bool:
    """Whether values (n,) are text or whole numbers that are all different, none of them empty."""
    kind = values.dtype.kind
    if kind not in "iufSU" or not len(values) or (kind == "f" and not (np.isfinite(values) & (values % 1 == 0)).all()):
        return False
    ordered = np.sort(values)
    return not bool((ordered[1:] == ordered[:-1]).any()) and (kind in "iuf" or bool(len(ordered[0])))


def _holds_whole_numbers(values: np.ndarray) -> bool:
    digits = {"S": np.strings.isdigit, "U": np.strings.isdecimal}.get(values.dtype.kind)
    return values.dtype.kind in "iu" or (digits is not None and bool(digits(values).all()))


def counts_rows(values: np.ndarray) -> bool:
    """Whether values (n,), numbers or their text, are 0, 1, 2, … or 1, 2, 3, …: the row's place, which tells nothing more.

    >>> counts_rows(np.array([b"0", b"1"])), counts_rows(np.array([1, 2, 3])), counts_rows(np.array([3, 4]))
    (True, True, False)
    """
    if not len(values) or not _holds_whole_numbers(values[:1]):
        return False
    start = int(values[0])
    counted = np.arange(start, start + len(values))
    if start not in (0, 1) or not _holds_whole_numbers(values):
        return False
    return bool(np.array_equal(values, counted if values.dtype.kind in "iu" else counted.astype(values.dtype)))

"""The reading rule, part two: which columns of a table are the vectors, and which may be ids, labels and splits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.store.column_names import is_id_name, role
from relrep_cli.store.files import bad
from relrep_cli.store.reading import Reading
from relrep_cli.store.scaling import is_scaling

Kind = Literal["vector", "real", "whole", "text", "other"]  # what a column holds
NUMBERED = re.compile(r"(.*?)\d+(\D*)", re.DOTALL)
PREFERRED = {"x", "embedding", "embeddings", "features", "vectors", "arr_0"}
FEW = 4  # names that a message lists


@dataclass(frozen=True)
class Chosen:
    """The columns of a table that are read.

    vectors: the coordinates, or one column of vectors. named: columns that assign may use. others: columns that may hold ids
    though no name says so; the first rows tell.
    """

    vectors: list[str]
    named: list[str]
    others: list[str]


def choose_columns(
    path: Path, kinds: Mapping[str, Kind], reading: Reading, member: str | None, index: Sequence[str] = ()
) -> Chosen:
    """Divide the columns of a table. kinds: of each column. member: the column that `::` names. index: columns that the file
    declares to be its index.

    Raises DataError when no column, or more than one choice of columns, can be the vectors.
    """
    _check_named(path, kinds, reading)
    taken = set(reading.named.values())
    named = [n for n, kind in kinds.items() if n in taken or (kind != "vector" and (n in index or role(n) or is_id_name(n)))]
    free = {n: kind for n, kind in kinds.items() if n not in named}
    if member is not None:
        vectors = [_member(path, kinds, member)]
    elif reading.vector_columns is not None:
        vectors = _matching(path, kinds, reading.vector_columns)
    elif kinds and not free:
        remedy = "Store the vectors beside them. A list of ids alone is a .txt file, one id a line."
        raise bad(path, "its columns are ids, labels and splits, and none holds vectors", remedy)
    else:
        vectors = _vectors(path, free)
    named = [n for n in named if n not in vectors and (kinds[n] in ("text", "whole") or n in taken or role(n))]
    if [kinds[n] for n in vectors] == ["vector"]:  # of columns of coordinates, one named scale may be another coordinate
        named += [n for n, kind in free.items() if kind in ("real", "whole") and is_scaling(n)]
    others = [n for n, kind in free.items() if kind in ("text", "whole") and n not in vectors and n not in named]
    return Chosen(vectors, named, others)


def choose_metadata(path: Path, kinds: Mapping[str, Kind], reading: Reading, index: Sequence[str] = ()) -> Chosen:
    """Divide the columns of a table without vectors, which describes the rows of an array in another file."""
    _check_named(path, kinds, reading)
    plain = [n for n, kind in kinds.items() if kind in ("text", "whole") or n in reading.named.values() or role(n)]
    named = [n for n in plain if n in reading.named.values() or n in index or role(n) or is_id_name(n)]
    return Chosen([], named, [n for n in plain if n not in named])


def _check_named(path: Path, kinds: Mapping[str, Kind], reading: Reading) -> None:
    for part, name in reading.named.items():
        if name not in kinds:
            raise bad(path, f"no column {printable(name)!r}; found {listed(list(kinds))}", f"Name one with --{part}-column.")
        if kinds[name] == "vector":
            raise bad(path, f"column {printable(name)!r} holds vectors", f"Name another one with --{part}-column.")


def _member(path: Path, kinds: Mapping[str, Kind], member: str) -> str:
    if member not in kinds:
        numbers = [n for n, kind in kinds.items() if kind in ("vector", "real", "whole")]
        vectors = [n for n in numbers if kinds[n] == "vector"]
        remedy = (
            f"Write {printable(str(path), 1000)}::{printable((vectors or numbers)[0])}." if numbers else "Name another file."
        )
        raise bad(path, f"no column of this name. Found {_with_kinds(kinds)}", remedy, member)
    return member


def _matching(path: Path, kinds: Mapping[str, Kind], patterns: str) -> list[str]:
    """The columns of numbers whose names match one of the patterns, in the order of the file."""
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        if not any(name == pattern or fnmatchcase(name, pattern) for name in kinds):
            raise bad(
                path, f"no column matches {printable(pattern)!r}; found {listed(list(kinds))}", "Correct --vector-columns."
            )
    chosen = [n for n in kinds if n in wanted or any(fnmatchcase(n, pattern) for pattern in wanted)]
    numbers = [n for n in chosen if kinds[n] in ("vector", "real", "whole")]
    missed = [n for n in chosen if n not in numbers and n in wanted]
    if missed or not numbers:
        raise bad(path, f"column {printable((missed or chosen)[0])!r} holds no numbers", "Correct --vector-columns.")
    if len(numbers) > 1 and any(kinds[n] == "vector" for n in numbers):
        raise bad(path, f"{listed(numbers)} cannot be used together", "Name one column of vectors, or columns of numbers.")
    return numbers


def _vectors(path: Path, kinds: Mapping[str, Kind]) -> list[str]:
    lists = [name for name, kind in kinds.items() if kind == "vector"]
    usual = [name for name in lists if name.lower() in PREFERRED]
    if len(lists) > 1 and len(usual) != 1:
        raise bad(
            path,
            f"which column of vectors? Found {listed(lists)}",
            f"Write {printable(str(path), 1000)}::{printable(lists[0])}.",
        )
    if lists:
        return lists if len(lists) == 1 else usual
    return _coordinates(path, kinds)


def _coordinates(path: Path, kinds: Mapping[str, Kind]) -> list[str]:
    """The columns of numbers, which must be named alike but for a number: emb_0, emb_1, …"""
    numbers = [name for name, kind in kinds.items() if kind in ("real", "whole")]
    groups: dict[tuple[str, str], list[str]] = {}
    alone: list[str] = []
    for name in numbers:
        if family := _family(name):
            groups.setdefault(family, []).append(name)
        else:
            alone.append(name)
    families = [members for members in groups.values() if len(members) > 1]
    alone += [members[0] for members in groups.values() if len(members) == 1]
    if not families and len({kinds[name] for name in alone}) != 1:
        finding = "no column of vectors and no columns of real numbers"
        remedy = (
            "Name the columns with --vector-columns."
            if alone
            else "Store the vectors as one column of lists, in CSV as [0.1, 0.2]."
        )
        raise bad(path, f"{finding}. Found {_with_kinds(kinds)}", remedy)
    if not families:
        return _without_texts(path, kinds, [name for name in numbers if name in alone])
    if len(families) > 1 or alone:
        largest = max(families, key=len)
        rest = [name for name in numbers if name not in largest]
        raise bad(
            path,
            f"{listed(rest)} holds numbers, but is not named like the others ({listed(largest, 2)})",
            f"Write --vector-columns {pattern_of(largest)!r} to leave it out, or --vector-columns '*' to take all.",
        )
    return _without_texts(path, kinds, families[0])


def _without_texts(path: Path, kinds: Mapping[str, Kind], chosen: list[str]) -> list[str]:
    """The coordinates. Raises DataError where a column that is named like them, but for its number, holds text."""
    patterns = {_family(name) for name in chosen} - {None}
    texts = [name for name, kind in kinds.items() if kind in ("text", "other") and _family(name) in patterns]
    if texts:
        finding = f"{listed(texts)} is named like the coordinates ({listed(chosen, 2)}), and holds text"
        raise bad(path, finding, "Correct its cells, or name the coordinates with --vector-columns.")
    return chosen


def _family(name: str) -> tuple[str, str] | None:
    """The text before and behind the last number of a name; None for a name without number."""
    match = NUMBERED.fullmatch(name.strip())
    return (match[1], match[2]) if match else None


def whole_first(path: Path, example: str) -> DataError:
    """The error for a first column without a name that alone holds whole numbers, all different."""
    return bad(
        path,
        f"its first column holds whole numbers, such as {printable(example, 20)}: ids or a coordinate?",
        "Write --id-column 1 for ids, or --vector-columns '*' for a coordinate.",
    )


def pattern_of(names: Sequence[str]) -> str:
    """A pattern that these numbered names match.

    >>> pattern_of(["emb_0", "emb_12"])
    'emb_*'
    """
    match = NUMBERED.fullmatch(names[0].strip())
    return f"{match[1]}*{match[2]}" if match else names[0]


def _with_kinds(kinds: Mapping[str, Kind]) -> str:
    words = {"vector": "vectors", "real": "numbers", "whole": "whole numbers", "text": "text", "other": "of another type"}
    some = [f"{printable(name, 40)} ({words[kind]})" for name, kind in list(kinds.items())[:FEW]]
    return ", ".join(some) + (f", … ({len(kinds)} in all)" if len(kinds) > FEW else "") or "nothing"


def listed(names: Sequence[str], most: int = FEW) -> str:
    some = [printable(name, 40) or "''" for name in names[:most]]
    return ", ".join(some) + (f", … ({len(names)} in all)" if len(names) > most else "") or "nothing"

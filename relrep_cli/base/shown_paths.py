"""Names of files and of embeddings in them, as tables for eyes show them: short, and each for one space only."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from relrep_cli.base.errors import printable
from relrep_cli.base.uris import split_uri, without_shared_ending, without_shared_folders

Record = dict[str, Any]


def short_paths(records: Sequence[Record], columns: Sequence[str]) -> tuple[list[Record], list[str]]:
    """Files by their last path part, where that tells them apart; embeddings without the ending that all share.

    columns: those that hold paths. Where all of a column are embeddings of one file, their names leave the file out, unless two
    spaces would then have one name. Notes say what the names leave out.
    """
    known = {c: list(dict.fromkeys(r[c] for r in records if isinstance(r.get(c), str))) for c in columns}
    known = {c: paths for c, paths in known.items() if paths}
    every = list(dict.fromkeys(path for paths in known.values() for path in paths))
    stems, ending = _stems(every)
    names = {path: _last_part(path, stems) for path in every}
    if len(set(names.values())) < len(every):
        return list(records), []
    shown, places = _without_files(known, stems, ending) if len(every) > 1 else ({}, {})
    names_of_paths = {(shown.get(c, names)[path], path) for c, paths in known.items() for path in paths}
    if len({name for name, _ in names_of_paths}) < len(names_of_paths):  # a name would stand for two spaces
        shown, places = {}, {}
    left_out = ending and any(stems[path] for c in known if c not in shown for path in known[c])
    ends = [f"Names of embeddings are shown without their ending {printable(ending)}."] if left_out else []
    shortened = [
        {c: shown.get(c, names).get(v, v) if c in known and isinstance(v, str) else v for c, v in r.items()} for r in records
    ]
    if not places:
        return shortened, ends
    if len(places) == len(known) and len({*places.values()}) == 1:
        return shortened, [f"All are embeddings of {next(iter(places.values()))}."]
    return shortened, [f"{', '.join(f'{c}: embeddings of {place}' for c, place in places.items())}.", *ends]


def _stems(paths: Sequence[str]) -> tuple[dict[str, str], str]:
    """The member that each path names, "" for none, without the ending that all share; and that ending, "" for none."""
    members = {path: split_uri(path)[2] for path in paths}
    different = list(dict.fromkeys(filter(None, members.values())))
    short = dict(zip(different, without_shared_ending(different), strict=True))
    ending = different[0].strip("/").removeprefix(short[different[0]]) if short and short[different[0]] != different[0] else ""
    return {path: short.get(member, member) for path, member in members.items()}, ending


def _without_files(
    known: Mapping[str, Sequence[str]], stems: Mapping[str, str], ending: str
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """For each column that holds embeddings of one file only: their names without it, and what the names leave out."""
    sources = {c: {split_uri(path)[0] for path in paths} for c, paths in known.items()}
    of_one = {c: files.copy().pop() for c, files in sources.items() if len(files) == 1 and all(stems[p] for p in known[c])}
    shown: dict[str, dict[str, str]] = {}
    places: dict[str, str] = {}
    for file in dict.fromkeys(of_one.values()):
        mine = [c for c, own in of_one.items() if own == file]
        paths = list(dict.fromkeys(path for c in mine for path in known[c]))
        short = dict(zip(paths, without_shared_folders([stems[path] for path in paths]), strict=True))
        above = _last_part(paths[0], stems).removesuffix(short[paths[0]]).rstrip("/:")
        inside = ("/*" if "::" in above else "::*") + ending if ending else ""
        shown |= dict.fromkeys(mine, short)
        places |= dict.fromkeys(mine, printable(above + inside))
    return {c: shown[c] for c in of_one}, {c: places[c] for c in of_one}


def _last_part(path: str, stems: Mapping[str, str]) -> str:
    file, mark, _ = split_uri(path)
    return os.path.basename(file) + mark + stems[path]

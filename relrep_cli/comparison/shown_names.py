"""Names of files for eyes: short, unique, and without what all of them share."""

from __future__ import annotations

import os
from collections.abc import Sequence

from relrep_cli.base.uris import split_uri, without_shared_ending, without_shared_folders
from relrep_cli.embedding import bare_name


def short_names(uris: Sequence[str], taken: str = "") -> dict[str, str]:
    """Give each URI a short, unique name: the last path part, without the folders, suffixes, files and endings of members that
    all URIs share.

    taken: a name that no URI may get.

    >>> short_names(["out/a.rel.h5", "out/b.rel.h5"])
    {'out/a.rel.h5': 'a', 'out/b.rel.h5': 'b'}
    >>> list(short_names(["x/a.h5", "y/a.h5"]).values()), list(short_names(["a.h5::layer/1", "a.h5::layer/12"]).values())
    (['x/a', 'y/a'], ['layer/1', 'layer/12'])
    >>> list(short_names(["a.h5::layer_1/vectors", "a.h5::layer_12/vectors"]).values())
    ['layer_1', 'layer_12']
    """
    unique = list(dict.fromkeys(uris))
    if len(unique) < 2:
        return {uri: bare_name(uri) or uri for uri in unique}
    for shorten in (_base_without_suffix, _base, _without_suffix):
        names = shorten(unique)
        if len(set(names)) == len(unique) and all(names) and taken not in names:
            return dict(zip(unique, names, strict=True))
    return {uri: uri for uri in unique}


def _base(uris: list[str]) -> list[str]:
    """Remove the folders. When all URIs are layers of one file, remove the file too."""
    parts = [split_uri(uri) for uri in uris]
    known = list(dict.fromkeys(member for _, _, member in parts if member))
    stems = {"": ""} | dict(zip(known, without_shared_ending(known), strict=True))
    if len({path for path, _, _ in parts}) == 1:
        return without_shared_folders([stems[member] for _, _, member in parts])
    return [os.path.basename(path) + mark + stems[member] for path, mark, member in parts]


def _base_without_suffix(uris: list[str]) -> list[str]:
    return _without_suffix(_base(uris))


def _without_suffix(names: list[str]) -> list[str]:
    """Remove the file suffixes that all names share, such as `.rel.h5`."""
    while True:
        suffixes = {os.path.splitext(name)[1] for name in names}
        if len(suffixes) > 1 or not (suffix := suffixes.pop()) or any("::" in name for name in names):
            return names
        names = [name.removesuffix(suffix) for name in names]


def names_by_side(left: Sequence[str], top: Sequence[str], taken: str = "") -> tuple[list[str], list[str], tuple[str, str]]:
    """Names of the rows and the columns of a matrix, and the file of each side, "" where it is in the names.

    Where the sides are different files with several members each, names need not hold the file.

    >>> names_by_side(["x/a.h5::l/1", "x/a.h5::l/2"], ["b.h5::l/1", "b.h5::l/2"])
    (['l/1', 'l/2'], ['l/1', 'l/2'], ('a.h5', 'b.h5'))
    """
    both = short_names([*left, *top], taken)
    shown: list[list[str]] = []
    files: list[str] = []
    for side, file in zip((left, top), files_of_sides(left, top), strict=True):
        apart = bool(file) and len(side) > 1 and any("::" in both[uri] for uri in side)
        names = short_names(side, taken) if apart else both
        shown.append([names[uri] for uri in side])
        files.append(file if apart else "")
    return shown[0], shown[1], (files[0], files[1])


def files_of_sides(left: Sequence[str], top: Sequence[str]) -> tuple[str, str]:
    """The file that all rows of a matrix, or all its columns, are of; "" where there are several, or the sides are the same.

    >>> files_of_sides(["x/a.h5::l/1", "x/a.h5::l/2"], ["b.h5", "c.h5"])
    ('a.h5', '')
    """
    files = [{split_uri(uri)[0] for uri in side} for side in (left, top)]
    of_one = [list(left) != list(top) and len(paths) == 1 for paths in files]
    first, second = (os.path.basename(paths.pop()) if one else "" for paths, one in zip(files, of_one, strict=True))
    return first, second

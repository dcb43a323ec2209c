"""Which files are compared with which. A pattern names many embeddings of one file; pairs run between the arguments."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.uris import natural, raw_query, split_uri

FIRST = "first"
Pairs = list[tuple[str, str]]
Groups = list[list[str]]


def expand(arguments: Sequence[str]) -> Groups:
    """Return the URIs that each argument names: itself, or all embeddings that match `FILE::PATTERN`.

    Embeddings of one file are in natural order: layer/2 before layer/10. Raises DataError when a pattern matches none.
    """
    return [_matching(uri) if set(split_uri(uri)[2]) & set("*?[") else [uri] for uri in arguments]


def _matching(uri: str) -> list[str]:
    path, _, pattern = split_uri(uri)
    names = [name.strip("/") for name in store.members(path)]
    if pattern.strip("/") in names:  # a name may hold a bracket
        return [uri]
    held = Counter(map(_group, names))
    matching = sorted((n for n in names if n and _matches(n, pattern.strip("/"), held[_group(n)] == 1)), key=natural)
    if not matching:
        existing = ", ".join(printable(n or "/", 60) for n in sorted(names, key=natural)[:20]) or "none"
        raise DataError(
            f"no embedding matches {printable(pattern)}; found {existing}",
            "Name one of these, or change the pattern.",
            file=path,
        )
    return [f"{path}::{name}{raw_query(uri)}" for name in matching]


def _group(name: str) -> str:
    return name.rpartition("/")[0]


def _matches(name: str, pattern: str, alone: bool) -> bool:
    """Whether the pattern names this embedding, or its group, which holds it alone or as X."""
    return fnmatchcase(name, pattern) or ((alone or name.endswith("/X")) and fnmatchcase(_group(name), pattern))


def reference_group(groups: Groups, reference: str) -> list[str]:
    """Return the URIs that all others are compared with: those of the first argument, or one file by name.

    reference: `first`, or one of the URIs. Raises UsageError for another one.
    """
    if reference == FIRST:
        return groups[0]
    if not any(reference in group for group in groups):
        raise UsageError(f"{printable(reference)} is none of the files", "Write first, or one of them.", place="--reference")
    return [reference]


def pairs_of(groups: Groups, reference: str | None, both: bool = False) -> Pairs:
    """List the pairs to compare: the reference with every other file, or else every argument with every later one.

    The layers of one argument are compared with each other only when it is the only argument. both: each pair in both orders.
    """
    if reference:
        group = reference_group(groups, reference)
        return [(a, b) for a in group for b in itertools.chain(*groups) if b not in group]
    if len(groups) == 1:
        groups = [[uri] for uri in groups[0]]
    pairs: Pairs = []
    for g, h in itertools.combinations(groups, 2):
        pairs += itertools.product(g, h)
    return [pair for a, b in pairs for pair in ((a, b), (b, a))] if both else pairs


def sides(groups: Groups, reference: str | None) -> tuple[list[str], list[str]]:
    """Return the rows and the columns of a matrix of the pairs: all files on both sides, unless two groups are compared."""
    everything = list(dict.fromkeys(itertools.chain(*groups)))
    if reference:
        group = reference_group(groups, reference)
        return group, [uri for uri in everything if uri not in group]
    if len(groups) == 2 and max(map(len, groups)) > 1:
        return groups[0], groups[1]
    return everything, everything


def family(groups: Groups, a: str, b: str) -> tuple[int, int] | None:
    """Return the places of the two arguments that a pair comes from; None unless one of them names several layers."""
    places = [next(place for place, group in enumerate(groups) if uri in group) for uri in (a, b)]
    if places[0] == places[1] or max(len(groups[place]) for place in places) < 2:
        return None
    return places[0], places[1]

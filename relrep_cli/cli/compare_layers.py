"""Which files are compared with which: a pattern names many embeddings of one file, and pairs run between the arguments."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fnmatch import fnmatchcase

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.embedding import natural

FIRST = "first"
Pairs = list[tuple[str, str]]


def expand(arguments: Sequence[str]) -> list[list[str]]:
    """For each argument what it names: itself, or all embeddings that match `FILE::PATTERN`, layer/2 before layer/10."""
    return [_matching(uri) if set(uri.partition("::")[2]) & set("*?[") else [uri] for uri in arguments]


def _matching(uri: str) -> list[str]:
    path, _, pattern = uri.partition("::")
    names = [name.strip("/") for name in store.members(path)]
    if pattern.strip("/") in names:  # a name may hold a bracket
        return [uri]
    found = sorted((n for n in names if n and fnmatchcase(n, pattern.strip("/"))), key=natural)
    if not found:
        there = ", ".join(printable(n or "/", 60) for n in sorted(names, key=natural)[:20]) or "none"
        raise DataError(f"{path}: no embedding matches {printable(pattern)}; found {there}.")
    return [f"{path}::{name}" for name in found]


def reference_group(groups: list[list[str]], reference: str) -> list[str]:
    """What all else is compared with: all that the first argument names, or one file by name."""
    if reference == FIRST:
        return groups[0]
    if not any(reference in group for group in groups):
        raise UsageError(f"--reference {printable(reference)} is none of the files; write first, or one of them.")
    return [reference]


def pairs_of(groups: list[list[str]], reference: str | None, both: bool = False) -> Pairs:
    """The pairs to compare: those of the reference with every other file; else of every argument with every later one.

    The layers of one argument are compared with each other only when it is the only one. both: each pair in both orders.
    """
    if reference:
        group = reference_group(groups, reference)
        return [(a, b) for a in group for b in itertools.chain(*groups) if b not in group]
    if len(groups) == 1:
        groups = [[uri] for uri in groups[0]]
    found: Pairs = []
    for g, h in itertools.combinations(groups, 2):
        found += itertools.product(g, h)
    return [pair for a, b in found for pair in ((a, b), (b, a))] if both else found


def sides(groups: list[list[str]], reference: str | None) -> tuple[list[str], list[str]]:
    """What stands on the left and on top of a matrix of the pairs: all files on both, but where two groups meet."""
    everything = list(dict.fromkeys(itertools.chain(*groups)))
    if reference:
        group = reference_group(groups, reference)
        return group, [uri for uri in everything if uri not in group]
    if len(groups) == 2 and max(map(len, groups)) > 1:
        return groups[0], groups[1]
    return everything, everything


def family(groups: list[list[str]], a: str, b: str) -> tuple[int, int] | None:
    """The arguments that a pair comes from, where one of them names several layers; None for a pair on its own."""
    places = [next(place for place, group in enumerate(groups) if uri in group) for uri in (a, b)]
    if places[0] == places[1] or max(len(groups[place]) for place in places) < 2:
        return None
    return places[0], places[1]

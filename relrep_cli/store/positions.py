"""Pairing rows by their place: allowed only where no file has ids, or anything that could be ids."""

from __future__ import annotations

from collections.abc import Sequence

from relrep_cli.base.errors import DataError, printable
from relrep_cli.embedding import Embedding


def _agree(spaces: Sequence[Embedding]) -> bool:
    """Whether a column that could be the ids is the same in all spaces, so that their counters pair the same items."""
    first = spaces[0].candidate_digests
    return any(digest and all(e.candidate_digests.get(name) == digest for e in spaces) for name, digest in first.items())


def check_positions(spaces: Sequence[Embedding]) -> bool:
    """Whether the rows of the spaces are paired by position, since none has ids.

    Raises DataError where position may be wrong: some files have ids, some may have them, or lengths differ.
    """
    bare = [e for e in spaces if e.row_ids]
    counted = [e for e in spaces if e.id_candidates and not e.row_ids]
    if len(spaces) > 1 and counted and len(bare) + len(counted) == len(spaces) and not _agree(spaces):
        names = ", ".join(printable(name, 40) for name in counted[0].id_candidates[:4])
        raise DataError(
            f"its index only numbers the rows, but these columns also identify them: {names}",
            f"Write --id-column {printable(counted[0].id_candidates[0], 40)} to join by it, or --by-position.",
            file=counted[0].uri,
        )
    if not bare:
        return False
    if (candidate := next((e for e in bare if e.id_candidates), None)) and len(spaces) > 1:
        names = ", ".join(printable(name, 40) or "''" for name in candidate.id_candidates[:4])
        name = printable(candidate.id_candidates[0], 40) or "''"
        raise DataError(
            f"has no column with the name of an id column, but these identify its rows: {names}",
            f"Write --id-column {name} to join by it, or --by-position to pair rows by position.",
            file=candidate.uri,
        )
    if len(bare) < len(spaces):
        other = next(e for e in spaces if not e.row_ids)
        raise DataError(
            f"has no ids, and {other.uri} has",
            "Name its column with --id-column, give it ids with relrep embed --ids, or write --by-position to pair in order.",
            file=bare[0].uri,
        )
    if longer := next((e for e in bare if e.n != bare[0].n), None):
        raise DataError(
            f"neither has ids, and {bare[0].n} rows cannot pair with {longer.n}",
            "Give them ids with relrep embed --ids.",
            file=f"{bare[0].uri} and {longer.uri}",
        )
    return len(spaces) > 1

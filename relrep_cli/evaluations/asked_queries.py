"""Queries with the items of an index that are relevant to them."""

from __future__ import annotations

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say
from relrep_cli.embedding import Embedding, find_ids

NAMED = 3  # queries that a note names


@dataclass(frozen=True, eq=False)
class AskedQueries:
    """e: the vectors of queries. relevant: (p,) ids of queries, and (p,) ids of items that are relevant to them. source: the
    file of these pairs, for messages."""

    e: Embedding
    relevant: tuple[np.ndarray, np.ndarray]
    source: str


@dataclass(frozen=True, eq=False)
class Pairs:
    """rows: (q,) the numbers of the queries that have a relevant item in the index. query, item: (p,) places among these rows,
    ascending, and rows of the index that are relevant to them."""

    rows: np.ndarray
    query: np.ndarray
    item: np.ndarray


def refuse_other_dims(queries: Embedding, e: Embedding) -> None:
    """Raise DataError for queries of other dims than the index."""
    if queries.d != e.d:
        finding = f"has {queries.d} dims, and {e.uri} has {e.d}"
        remedy = "Embed the queries with the model of the index, or move them into its space with relrep translate."
        raise DataError(finding, remedy, file=queries.uri)


def note_other_space(queries: Embedding, e: Embedding) -> None:
    """Say so where the spaces of queries and of the index have different names."""
    named = [one.space for one in (queries, e) if one.space and not one.space.startswith("unnamed:")]
    if len(set(named)) == 2:
        spaces = " and ".join(printable(space) for space in named)
        say(
            f"{queries.uri} and {e.uri} (spaces {spaces}): different spaces, whose distances mean nothing unless one model "
            "made both; relrep translate moves vectors from one into the other."
        )


def pairs_in_index(asked: AskedQueries, ids: np.ndarray, index: str) -> Pairs:
    """The queries and their relevant items among the ids (n,) of an index. A note counts queries that have none.

    index: the name of the index, for messages. Raises DataError where no query has a relevant item.
    """
    of_query, of_item = find_ids(asked.e.ids, asked.relevant[0]), find_ids(ids, asked.relevant[1])
    known = of_query >= 0
    usable = known & (of_item >= 0)
    if not usable.any():
        raise _nothing_in_common(asked, ids, index, bool(known.any()))
    order = np.lexsort((of_item[usable], of_query[usable]))
    query, item = of_query[usable][order], of_item[usable][order]
    rows, places = np.unique(query, return_inverse=True)
    asking = np.unique(of_query[known])
    _say_left_out(asked, index, asked.e.n - len(asking), np.setdiff1d(asking, rows), int((known & ~usable).sum()))
    return Pairs(rows, places, item)


def _nothing_in_common(asked: AskedQueries, ids: np.ndarray, index: str, known: bool) -> DataError:
    """The error for pairs of which no query, or no item, is there. known: whether a query is."""
    named, there, file = (asked.relevant[1][0], ids[0], index) if known else (asked.relevant[0][0], asked.e.ids[0], asked.e.uri)
    what = "item of the index" if known else "query"
    finding = f"names no {what}: {printable(bytes(named))!r} here, ids such as {printable(bytes(there))!r} in {file}"
    return DataError(finding, "Write the ids of both files; relrep info shows them.", file=asked.source)


def _say_left_out(asked: AskedQueries, index: str, unnamed: int, lost: np.ndarray, absent: int) -> None:
    """Say how many queries take no part, and why. lost: rows of queries without a relevant item in the index. absent: the
    number of pairs whose item is not in the index."""
    reasons = [f"{unnamed} are not in {asked.source}"] if unnamed else []
    if len(lost):
        some = ", ".join(printable(bytes(one), 40) for one in asked.e.ids[lost[:NAMED]]) + (", …" if len(lost) > NAMED else "")
        reasons.append(f"{len(lost)} have no relevant item in {index} ({some})")
    if reasons:
        say(f"{asked.e.uri}: {unnamed + len(lost)} of {asked.e.n} queries are left out: {', '.join(reasons)}.")
    elif absent:
        say(f"{index}: {absent} of {len(asked.relevant[0])} relevant items are not in the index, and are not looked for.")

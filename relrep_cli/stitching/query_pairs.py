"""Queries with documents that are relevant to them: what a bridge finds for queries of the new model in the old index."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.output import Record, say
from relrep_cli.embedding import Embedding, find_ids, match_ids, text
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import pick
from relrep_cli.numerics.intervals import of_mean, within
from relrep_cli.stitching.translation_quality import INDEX, QUERIES, K
from relrep_cli.store.lines import read_lines

REEMBEDDED = "re-embed"  # the method of the records that say what an index of the new model would find
KEPT = "of re-embedding"  # the measure: the recall of a bridge over that of re-embedding
RESAMPLES = 1000
QRELS, TRIPLES = 4, 3  # columns of a file of TREC (query, 0, document, grade) and of BEIR (query, document, grade)


@dataclass(frozen=True, eq=False)
class QueryPairs:
    """x: (q, d) queries of the new model. new, old: (n, d) the documents of both models, row j the same document.

    query, document: (p,) rows of queries and of documents that are relevant to them.
    """

    x: np.ndarray
    new: np.ndarray
    old: np.ndarray
    query: np.ndarray
    document: np.ndarray

    def recalls(self, queries: np.ndarray, index: np.ndarray) -> dict[str, np.ndarray]:
        """(q,) whether the nearest document is relevant; and the share of the relevant ones, ten at most, among the ten
        nearest."""
        near = nearest(queries, index, min(K, len(index))).rows
        hits = (near[self.query] == self.document[:, None]).astype(np.float64)
        relevant = np.bincount(self.query, minlength=len(queries))
        first, hits_of_query = (np.bincount(self.query, part, len(queries)) for part in (hits[:, 0], hits.sum(1)))
        return {"recall_1": first, "recall_10": hits_of_query / np.minimum(relevant, K)}


def read_relevant(file: str) -> tuple[np.ndarray, np.ndarray]:
    """The ids of queries (p,), and of the documents that are relevant to them.

    Lines hold a query and a document, with a tab or a comma between them; a third column is a grade. Files of TREC have four
    columns. Pairs of grade 0 are left out, and so is a header, whose grade is no number, or whose first column is `query` or
    `query-id`. Raises DataError.
    """
    lines = [line for line in read_lines(file) if line.strip()]
    tab = "\t" if lines and "\t" in lines[0] else "," if lines and "," in lines[0] else " "
    try:
        rows = list(csv.reader(lines, delimiter=tab, skipinitialspace=True))
    except csv.Error as error:
        raise DataError(
            f"cannot be read as pairs ({printable(str(error))})", "Write a query and a document a line.", file=file
        ) from None
    rows = [[cell for cell in row if cell] if tab == " " else row for row in rows]
    if rows and rows[0][0].lower() in ("query", "query-id", "query_id", "qid"):
        rows = rows[1:]
    pairs = []
    for place, row in enumerate(rows, 1):
        if len(row) not in (2, TRIPLES, QRELS) or not all(row):
            raise DataError(
                f"pair {place} has {len(row)} columns",
                "Write a query and a document a line, with a tab between them.",
                file=file,
            )
        document, grade = (row[2], row[3]) if len(row) == QRELS else (row[1], row[2] if len(row) == TRIPLES else "1")
        if _grade(grade, place, file) > 0:
            pairs.append((row[0], document))
    if not pairs:
        raise DataError("holds no relevant document", "Write a query and a document a line.", file=file)
    queries, documents = zip(*dict.fromkeys(pairs), strict=True)
    return text(queries), text(documents)


def _grade(cell: str, place: int, file: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(
            f"the grade of pair {place} is {printable(cell)!r}, no number", "Write a number, or leave grades out.", file=file
        ) from None


def query_pairs(
    queries: Embedding,
    relevant: tuple[np.ndarray, np.ndarray],
    e: Embedding,
    target: Embedding,
    fitted: np.ndarray,
    seed: int,
    most: int = INDEX,
) -> QueryPairs:
    """The queries and the documents that both models embedded: the relevant ones first, others after them.

    relevant: (p,) ids of queries, and (p,) ids of documents. fitted: (m,) ids of items that maps are fitted on; as documents,
    they count as not relevant. At most QUERIES queries are drawn, and at most so many documents.

    Raises DataError where no query is left, or the queries are of another space.
    """
    if queries.d != e.d or (queries.space and e.space and queries.space != e.space):
        raise DataError(
            f"has {queries.d} dims of space {printable(queries.space)}, and {e.uri} {e.d} of {printable(e.space)}",
            "Embed the queries with the new model, too.",
            file=queries.uri,
        )
    in_new, in_old = match_ids(e.ids, target.ids)
    shared = e.ids[in_new]
    rows, documents = find_ids(queries.ids, relevant[0]), find_ids(shared, relevant[1])
    usable = (rows >= 0) & (documents >= 0)
    usable[usable] = find_ids(fitted, relevant[1][usable]) < 0
    asked = len(np.unique(rows[rows >= 0]))
    rows, documents = rows[usable], documents[usable]
    if dropped := asked - len(np.unique(rows)):
        say(
            f"{dropped} of {asked} queries are left out: both models must have embedded a document that is relevant to them,"
            " and no map may be fitted on it. With fewer anchors, more documents remain."
        )
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(np.unique(rows))[:QUERIES])
    if not len(chosen):
        raise DataError(
            f"names no query of {queries.uri} whose relevant document both models embedded and no map was fitted on",
            "Give such documents, or name other anchors.",
            file="--relevant",
        )
    kept = np.isin(rows, chosen)
    rows, documents = rows[kept], documents[kept]
    first = np.unique(documents)
    others = np.setdiff1d(np.arange(len(shared)), first)
    others = np.sort(rng.permutation(others)[: max(most - len(first), 0)])
    index = np.concatenate([first, others])
    return QueryPairs(
        pick(queries.x, chosen),
        pick(e.x, in_new[index]),
        pick(target.x, in_old[index]),
        np.searchsorted(chosen, rows),
        np.searchsorted(first, documents),
    )


def query_records(pairs: QueryPairs, moved: dict[str, tuple[np.ndarray, np.ndarray]], seed: int) -> Iterator[Record]:
    """What each method finds, and what re-embedding would, with 95 % intervals over queries; then the first over the second.

    moved: by method, the queries and the index in one space.
    """
    best = pairs.recalls(pairs.x, pairs.new)
    for method, (queries, index) in (moved | {REEMBEDDED: (pairs.x, pairs.new)}).items():
        recalls = pairs.recalls(queries, index)
        flags: Record = {"part": "queries", "method": method, "at": len(pairs.old)}
        for measure, values in recalls.items():
            low, high = within(of_mean(values, np.random.default_rng(seed)), (0, 1))
            yield {
                **flags, "measure": measure, "value": float(values.mean()), "low": low, "high": high, "n": len(values),
                "note": "measured",
            }  # fmt: skip
        if method != REEMBEDDED:
            kept = dict(zip(("value", "low", "high"), _ratio(recalls["recall_10"], best["recall_10"], seed), strict=True))
            yield {**flags, "measure": KEPT, **kept, "n": len(pairs.x), "note": "recall_10"}


def _ratio(a: np.ndarray, b: np.ndarray, seed: int) -> tuple[float | None, float | None, float | None]:
    """The sum of a over that of b, with its interval from resampled queries; None where b finds nothing."""
    rng, n = np.random.default_rng(seed), len(a)
    if not b.any():
        return None, None, None
    rows = (rng.integers(0, n, n) for _ in range(RESAMPLES))
    drawn = [a[row].sum() / total for row in rows if (total := b[row].sum())]
    low, high = (float(end) for end in np.quantile(drawn, [0.025, 0.975]))
    if np.array_equal(a, b):  # resampling cannot know of losses that these queries do not show
        low = of_mean(np.ones(n), rng)[0]
    if not a.any():  # nor of finds
        high = min(1.0, of_mean(np.zeros(n), rng)[1] / float(b.mean()))
    return float(a.sum() / b.sum()), low, high

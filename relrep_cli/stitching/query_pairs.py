"""Queries with documents that are relevant to them: what a bridge finds for queries of the new model in the old index."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, say
from relrep_cli.embedding import Embedding, find_ids, match_ids
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import pick
from relrep_cli.numerics.intervals import of_mean, within
from relrep_cli.stitching.translation_quality import INDEX, QUERIES, K

REEMBEDDED = "re-embed"  # the method of the records that say what an index of the new model would find
KEPT = "of re-embedding"  # the measure: the recall of a bridge over that of re-embedding
RESAMPLES = 1000


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
    shared_pairs = (rows >= 0) & (documents >= 0)
    usable = shared_pairs & (find_ids(fitted, relevant[1]) < 0)
    asked, in_both = (len(np.unique(rows[kept])) for kept in (rows >= 0, shared_pairs))
    rows, documents = rows[usable], documents[usable]
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(np.unique(rows))[:QUERIES])
    remedy = _say_left_out(asked, in_both, len(np.unique(rows)))
    if not len(chosen):
        raise DataError(
            f"names no query of {queries.uri} whose relevant document both models embedded and no map was fitted on",
            remedy,
            file="--relevant",
        )
    kept = np.isin(rows, chosen)
    rows, documents = rows[kept], documents[kept]
    first = np.unique(documents)
    others = np.setdiff1d(np.arange(len(shared)), first)
    others = np.sort(rng.permutation(others)[: max(most - len(first), 0)])
    index = np.concatenate([first, others])
    if len(index) < target.n:
        say(
            f"queries are looked up among {len(index)} documents that both files hold, and {target.uri} holds {target.n}. To "
            f"search all of them, translate the queries and run relrep evaluate {target.uri} --task search."
        )
    return QueryPairs(
        pick(queries.x, chosen),
        pick(e.x, in_new[index]),
        pick(target.x, in_old[index]),
        np.searchsorted(chosen, rows),
        np.searchsorted(first, documents),
    )


def _say_left_out(asked: int, in_both: int, usable: int) -> str:
    """Say how many queries take no part, and why, and return what to do about it.

    asked: queries that have a relevant document. in_both: those of which both models embedded one. usable: those with such a
    document that no map is fitted on.
    """
    reasons, remedies = [], []
    if in_both < asked:
        reasons.append(f"{asked - in_both} because both files must hold a document that is relevant to them")
        remedies.append("embed the documents of the queries with the new model, too")
    if usable < in_both:
        reasons.append(f"{in_both - usable} because a map is fitted on these documents")
        remedies.append(f"leave {'them' if remedies else 'these documents'} out of the anchors (--anchors)")
    remedy = ", and ".join(remedies).capitalize() + "."
    if reasons and usable:
        say(f"{asked - usable} of {asked} queries are left out: {', '.join(reasons)}. {remedy}")
    return remedy if reasons else "Write the ids as both files hold them."


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

"""Whether queries find the items of an index that are relevant to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np

from relrep_cli.base.registry import Param
from relrep_cli.evaluations.asked_queries import Pairs, note_other_space, pairs_in_index, refuse_other_dims
from relrep_cli.evaluations.findings import By, Finding, K, Record, Space, distances, evaluation, mean_of
from relrep_cli.evaluations.trusted_hits import RISK, fewest_queries, trusted_hits
from relrep_cli.neighbors import nearest, nearest_targets, ranks
from relrep_cli.numerics.blocks import pick

Share = Annotated[float, Param("Share of top hits above the threshold that must be right.", minimum=0.01, maximum=0.999)]


@evaluation(
    needs={"queries"}, labels=False, source="Manning et al. 2008, ch. 8; Angelopoulos et al. 2021, fixed-sequence testing"
)
def search(s: Space, *, k: K = 10, neighbors: By = "cosine", least_precision: Share = 0.9, seed: int = 0) -> Iterator[Finding]:
    """Recall and reciprocal rank of queries whose relevant items are known, among all items of an index.

    recall@1: whether the nearest item is relevant. recall@k: share of the relevant items, k at most, among the k nearest. mrr:
    mean of 1 / rank of the nearest relevant item. threshold: the similarity above which the nearest item can be trusted, and
    coverage the share of queries above it. All items are searched, whatever their split, unless --split names one.
    """
    assert s.queries is not None
    queries = s.queries.e
    refuse_other_dims(queries, s.e)
    note_other_space(queries, s.e)
    index, ids = s.vectors(s.test), s.e.ids[s.test]
    pairs = pairs_in_index(s.queries, ids, s.e.uri)
    x, asking = pick(queries.x, pairs.rows), queries.ids[pairs.rows]
    near = nearest(x, index, k, by=neighbors, workspace=s.searching).rows
    hits, relevant = _hits(near, pairs), np.bincount(pairs.query)
    what, luck = f"{len(x)} queries among {len(index)} items, {neighbors}", relevant / len(index)
    first = mean_of("recall@1", hits[:, 0].astype(np.float64), what, None, (0, 1), float(luck.mean()), asking)
    ranked, far = _ranks(x, index, near, hits, pairs, neighbors), distances(x, index, near[:, :1], neighbors)[:, 0]
    far = far if neighbors == "cosine" else far * s.unit
    yield replace(first, items=_items(asking, ranked, ids[near[:, 0]], hits[:, 0], far, neighbors))
    if k > 1:
        shares, wanted = hits.sum(1) / np.minimum(relevant, k), np.minimum(relevant, k)
        several = f"; share of the relevant items, {k} at most" if (relevant > 1).any() else ""
        yield mean_of(f"recall@{k}", shares, what + several, None, (0, 1), float((k * luck / wanted).mean()), asking)
    chance = float(_lucky_reciprocal_rank(relevant, len(index)).mean())
    yield mean_of("mrr", 1 / ranked, f"mean of 1 / rank of the nearest relevant item; {what}", None, (0, 1), chance, asking)
    yield from _trust(far, hits[:, 0], neighbors, least_precision)


def _hits(near: np.ndarray, pairs: Pairs) -> np.ndarray:
    """(q, k) whether each of the nearest rows (q, k) is relevant to its query."""
    hits = np.zeros(near.shape, bool)
    place, column = np.nonzero(near[pairs.query] == pairs.item[:, None])
    hits[pairs.query[place], column] = True
    return hits


def _ranks(x: np.ndarray, index: np.ndarray, near: np.ndarray, hits: np.ndarray, pairs: Pairs, by: By) -> np.ndarray:
    """(q,) the rank, from 1, of the relevant row nearest to each query. Only those that are not among the nearest rows (q, k)
    take another pass over the index."""
    out, missing = hits.argmax(1) + 1, np.flatnonzero(~hits.any(1))
    if len(missing):
        kept = np.isin(pairs.query, missing)
        own, place = pick(x, missing), np.searchsorted(missing, pairs.query[kept])
        out[missing] = ranks(own, index, by=by, targets=nearest_targets(own, index, place, pairs.item[kept], by=by))
    return out


def _lucky_reciprocal_rank(relevant: np.ndarray, n: int) -> np.ndarray:
    """(q,) the mean of 1 / rank of the first of so many relevant items among n in random order.

    >>> _lucky_reciprocal_rank(np.array([1, 2]), 3).round(4).tolist()  # (1 + 1/2 + 1/3) / 3, and 2/3 + 1/3 * 1/2
    [0.6111, 0.8333]
    """
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))])
    return np.asarray(relevant / (n - relevant + 1) * (harmonic[n] - harmonic[relevant - 1]))


def _items(ids: np.ndarray, ranked: np.ndarray, hits: np.ndarray, right: np.ndarray, far: np.ndarray, by: By) -> list[Record]:
    """A record for each query: the rank of its nearest relevant item, its nearest item, how near that is and if it is right."""
    name, values = ("cosine", 1 - far) if by == "cosine" else ("distance", far)
    lines = zip(ids.tolist(), ranked.tolist(), hits.tolist(), values.tolist(), right.tolist(), strict=True)
    return [
        {"query": _shown(query), "rank": rank, "hit": _shown(hit), name: value, "right": "yes" if is_right else "no"}
        for query, rank, hit, value, is_right in lines
    ]


def _shown(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _trust(far: np.ndarray, right: np.ndarray, by: By, share: float) -> Iterator[Finding]:
    """The threshold, and the share of queries whose nearest item is nearer. far: (q,) distances of the nearest items."""
    n, closeness = len(far), 1 - far if by == "cosine" else -far
    side, sure = "above this cosine" if by == "cosine" else "below this distance", f"with probability {1 - RISK:g}"
    trusted = trusted_hits(closeness, right, share)
    if trusted is None:
        least = fewest_queries(share)
        note = (
            f"none {side[:5]} which at least {share:g} of top hits are right, {sure}; to show one takes {least} queries or more"
        )
        yield Finding("threshold", np.nan, n, note)
        yield Finding("coverage", 0.0, n, "no threshold")
        return
    every = trusted.kept == n
    value = trusted.closeness if by == "cosine" else -trusted.closeness
    hits = "all top hits" if every else f"top hits {side}"
    note = f"at least {share:g} of {hits} are right, {sure}; {trusted.right} of {trusted.kept} were"
    yield Finding("threshold", -1.0 if every and by == "cosine" else value, n, note)
    yield Finding("coverage", trusted.kept / n, n, f"share of queries whose top hit is {side}")


def recalls_below(wanted: float, records: Sequence[Record], k: int) -> list[str]:
    """A sentence for each recall@k of task search whose interval does not lie at or above the wanted value."""
    name, out = f"recall@{k}", []
    for r in (r for r in records if (r.get("task"), r.get("name")) == ("search", name)):
        low = r["value"] if r["low"] is None else r["low"]
        if r["low"] is not None and low >= wanted:
            continue
        by = f" by {r['queries']}" if r.get("queries") else ""
        digits = 4 if round(low, 3) == wanted else 3  # an end of 0.8997 must not read as the 0.9 that it misses
        ends = "" if r["low"] is None else f" ({low:.{digits}f} to {r['high']:.{digits}f})"
        few = f", too few to tell: {r['n']} queries" if r["value"] >= wanted else ""
        out.append(f"{r['file']}{by}: {name} is {r['value']:.3f}{ends}{few}; the lower end must reach {wanted:g}.")
    return out

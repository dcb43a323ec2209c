"""Whether items fall into clusters, and whether these are the classes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.base.registry import Param
from relrep_cli.evaluations.findings import Finding, Space, evaluation, grouped, mean_of, some
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.threads import single_threaded

Clusters = Annotated[int, Param("How many clusters; 0 takes as many as there are classes.", minimum=0)]
FITTED = 20_000  # rows that k-means learns from
SHADED = 5_000  # rows whose silhouettes are measured, each against all others
STARTS = 10


@evaluation(
    needs={"train"}, labels=True, source="k-means (Lloyd 1982); Rousseeuw 1987; Strehl and Ghosh 2002; Hubert and Arabie 1985"
)
def cluster(s: Space, *, clusters: Clusters = 0, seed: int = 0) -> Iterator[Finding]:
    """Clusters by k-means: their silhouette, that of the classes, and how much they agree (NMI, ARI).

    k-means is fitted on training rows, at most 20,000; judged rows go to the nearest centre. Silhouettes are Euclidean, of at
    most 5,000 judged rows.
    """
    count = clusters or len(s.classes)
    if count < 2:
        raise NotApplicable("no classes, so nothing sets the number of clusters; write --clusters K")
    convention, assigned = _assigned(s, count, seed)
    kept, of = some(np.arange(len(s.test)), SHADED, seed)
    x = np.asarray(s.vectors(s.test[kept]), np.float64)
    ids = s.e.ids[s.test]
    yield from _silhouette("silhouette", x, assigned[kept], f"{convention}; Euclidean, {of} items", ids[kept])
    if s.codes is None:
        return
    codes = s.codes[s.test]
    shown = codes[kept] >= 0
    of_classes = f"of classes, Euclidean, {of} items"
    yield from _silhouette("label silhouette", x[shown], codes[kept][shown], of_classes, ids[kept][shown])
    yield from _agreement(assigned[codes >= 0], codes[codes >= 0], convention, ids[codes >= 0])


def _assigned(s: Space, count: int, seed: int) -> tuple[str, np.ndarray]:
    """The convention of the clusters, and the cluster (q,) of each judged row."""
    from sklearn.cluster import KMeans

    rows, of = some(s.train, FITTED, seed)
    if len(rows) < count:
        raise NotApplicable(f"{len(rows)} training rows are too few for {count} clusters")
    out = np.empty(len(s.test), np.int64)
    with single_threaded(), warnings.catch_warnings():  # sums in one order on all machines
        warnings.simplefilter("ignore")  # it says when rows are too alike for so many clusters
        model = KMeans(count, n_init=STARTS, random_state=seed).fit(np.asarray(s.vectors(rows), np.float64))
        for block in row_blocks(len(out), s.e.d):
            out[block] = model.predict(np.asarray(pick(s.e.x, s.test[block]), np.float64))
    clusters = len(np.unique(model.labels_))
    few = f"{count} clusters" if clusters == count else f"{count} clusters, of which {clusters} hold rows that differ"
    return f"k-means, {few}, best of {STARTS} starts on {of} training rows", out


def _silhouette(name: str, x: np.ndarray, groups: np.ndarray, convention: str, ids: np.ndarray) -> Iterator[Finding]:
    """The mean silhouette of some rows, if they are of two groups or more and not each a group of its own."""
    known = np.unique(groups, return_inverse=True)[1]
    if 2 <= known.max(initial=0) + 1 < len(x):
        codes = groups if name.startswith("label") else None
        rows = _silhouettes(x, known, np.arange(len(x)))
        yield replace(mean_of(name, rows, convention, codes, (-1, 1), ids=ids), subset=partial(_silhouettes, x, known))


def _silhouettes(x: np.ndarray, groups: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(q,) the silhouettes of the rows at some places of x among each other. Raises NotApplicable for too few."""
    from sklearn import config_context
    from sklearn.metrics import silhouette_samples

    codes = np.unique(groups[places], return_inverse=True)[1]
    if not 2 <= codes.max(initial=0) + 1 < len(places):
        raise NotApplicable(f"{len(places)} items are too few")
    with config_context(working_memory=64):  # MB
        return np.nan_to_num(silhouette_samples(x[places], codes))  # 0 / 0 where rows of two groups are all the same


def _agreement(assigned: np.ndarray, codes: np.ndarray, clustering: str, ids: np.ndarray) -> Iterator[Finding]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    if not len(codes) or len(np.unique(codes)) < 2:
        return
    scores = {
        "nmi": (normalized_mutual_info_score, "mutual information over the mean of both entropies", None),
        "ari": (adjusted_rand_score, "pairs, adjusted for chance", 0.0),
    }
    for name, (score, what, chance) in scores.items():
        value, without = grouped(lambda kept, score=score: float(score(codes[kept], assigned[kept])), len(codes))  # type: ignore[misc]
        convention = f"{clustering}; {what}"
        yield Finding(name, value, len(codes), convention, bounds=(None, 1), chance=chance, ids=ids, without=without)

"""How well items that do not belong can be told from those that do."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np

from relrep_cli.base.errors import DataError, NotApplicable, printable
from relrep_cli.embedding import Embedding, bare_name
from relrep_cli.evaluations.findings import By, Finding, K, Space, distances, evaluation
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.intervals import LEVEL

CAUGHT = 0.95  # of the anomalies, at the price of how many false alarms


@evaluation(
    needs={"anomalies"}, labels=False, source="Ramaswamy et al. 2000, distance to nearest neighbours; DeLong et al. 1988"
)
def anomaly(s: Space, *, k: K = 2, neighbors: By = "euclidean", seed: int = 0) -> Iterator[Finding]:
    """AUC of telling anomalies by their mean distance to the nearest training rows, or by a column.

    fpr95 is the share of normal items that raise a false alarm when 95 % of the anomalies do. The interval of the AUC is
    DeLong's.
    """
    assert s.anomalies is not None
    odd = s.anomalies if "split" not in s.anomalies.obs else _test_rows(s.anomalies)
    if s.score:
        if "split" in s.e.obs and (lacking := s.lacks({"unseen"})):  # a model errs less on what it was trained on
            raise NotApplicable(lacking)
        normal, strange, what = _column(s.e, s.score)[s.test], _column(odd, s.score), f"by column {printable(s.score)}"
        what += "" if "split" in s.e.obs else "; no split says whether its model saw them"
    else:
        normal, strange = _by_distance(s, odd.x, k, neighbors)
        what = f"by mean distance to the {k} nearest of {len(s.train)} training rows, {neighbors}"
        what += "" if s.e.space == s.anomalies.space else "; of different spaces, so it means little"
    whose = f"anomalies of {printable(bare_name(s.anomalies.uri), 60)}"
    n, convention = len(normal) + len(strange), f"{len(normal)} normal items and {len(strange)} {whose} {what}"
    placements, back = placed(strange, normal), 1 - placed(normal, strange)
    auc, curve = float(placements.mean()), roc(normal, strange)
    yield Finding(
        "auc",
        auc,
        n,
        convention,
        interval=_delong(auc, placements, back),
        bounds=(0, 1),
        chance=0.5,
        ids=_joined_ids(s.e.ids[s.test], odd.ids),
        without=np.concatenate([_without(back, auc), _without(placements, auc)]),
        curve=curve,
        item_values=np.concatenate([back, placements]),  # the share of the other kind that lies on the right side of each
    )
    threshold = np.sort(strange)[::-1][ceil(CAUGHT * len(strange)) - 1]
    alarms = float((normal >= threshold).mean())
    yield Finding("fpr95", alarms, n, f"{convention}; false positive rate where 95 % are found", chance=CAUGHT)


def _without(rows: np.ndarray, mean: float) -> np.ndarray:
    """The mean (m,) without each row; the mean itself where there is one row only."""
    return mean + (mean - rows) / max(len(rows) - 1, 1)


def _joined_ids(normal: np.ndarray, strange: np.ndarray) -> np.ndarray:
    """The ids of normal items, then those of anomalies, which may have the same ids."""
    return np.concatenate([np.char.add(b"normal ", normal), np.char.add(b"anomaly ", strange)])


def _by_distance(s: Space, strange: np.ndarray, k: int, by: By) -> tuple[np.ndarray, np.ndarray]:
    """Mean distances of the judged rows, and of the anomalies, to their nearest training rows."""
    for need in ("train", "unseen"):
        if lacking := s.lacks({need}):
            raise NotApplicable(lacking)
    if strange.shape[1] != s.e.d:
        raise DataError(f"has {s.e.d} dims, its anomalies {strange.shape[1]}", "Embed both with one encoder.", file=s.e.uri)
    base = s.vectors(s.train)
    means = []
    for queries in (s.vectors(s.test), strange):
        near = nearest(queries, base, k, by=by, workspace=s.searching)
        means.append(distances(queries, base, near.rows, by).mean(1))
    return means[0], means[1]


def _test_rows(e: Embedding) -> Embedding:
    from relrep_cli.embedding import of_split

    return of_split(e, "test")


def _column(e: Embedding, name: str) -> np.ndarray:
    values, place = e.column(name), f"column {printable(name)}"
    if values.dtype.kind not in "fiu":
        raise DataError("holds text; a score must be a number", "Name a column of numbers.", file=e.uri, place=place)
    if not np.isfinite(values).all():
        raise DataError("holds NaN or infinity", "Remove such rows.", file=e.uri, place=place)
    return np.asarray(values, np.float64)


def placed(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(m,) the share of `others` that each score exceeds, equal ones counting half; their mean is the AUC.

    >>> placed(np.array([1.0, 2.0]), np.array([0.0, 1.0])).tolist()
    [0.75, 1.0]
    """
    ordered = np.sort(others)
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / (2 * len(others))


def roc(normal: np.ndarray, strange: np.ndarray) -> np.ndarray:
    """(points, 3) false positive rate, true positive rate and threshold (a score as high raises alarm), corners only.

    >>> roc(np.array([0.0, 1.0]), np.array([1.0, 2.0])).tolist()
    [[0.0, 0.0, inf], [0.0, 0.5, 2.0], [0.5, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    thresholds = np.unique(np.concatenate([normal, strange]))[::-1]
    counts = [np.r_[0, len(part) - np.searchsorted(np.sort(part), thresholds, "left")] for part in (normal, strange)]
    steps = np.diff(np.stack(counts, 1), axis=0)
    turns = steps[:-1, 0] * steps[1:, 1] != steps[:-1, 1] * steps[1:, 0]  # points between others on a line say nothing
    points = np.stack([counts[0] / len(normal), counts[1] / len(strange), np.r_[np.inf, thresholds]], 1)
    return points[np.r_[True, turns, True]]


def _delong(auc: float, placements: np.ndarray, back: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of an AUC from both sides' placements; none for a single item on a side."""
    if min(len(placements), len(back)) < 2:
        return None
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * sqrt(sum(float(v.var(ddof=1)) / len(v) for v in (placements, back)))
    return auc - reach, auc + reach

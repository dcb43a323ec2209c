"""What is behind a value of a report: the values of its items, those of its classes, the worst items, a ROC curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.row_summaries import summary_of
from relrep_cli.comparison.row_values import plain_text
from relrep_cli.comparison.worst_items import worst_rows

WORST, CLASSES, POINTS = 10, 30, 80  # items named, classes named, and points of a curve
MANY, FEWER_WORST, FEWER_CLASSES = 200, 5, 10  # values above which less is shown of each
TOO_MANY = 2_000  # values above which nothing is shown


@dataclass(frozen=True)
class Details:
    """bins: the values of items as a histogram: the lowest value, the highest, then the count of each bin. worst: the worst
    items: id, value, and what else is known of them. classes: name, mean value, number of items, and the class that most of
    its wrong items are taken for, "" where none is. others: how many further classes, with higher values, are not listed.
    curve: points of a ROC curve: false and true positive rate."""

    bins: Sequence[float] = ()
    worst: Sequence[tuple[str, float, str]] = ()
    classes: Sequence[tuple[str, float, int, str]] = ()
    others: int = 0
    curve: Sequence[tuple[float, float]] = ()


NOTHING = Details()


@dataclass(frozen=True, eq=False)
class Judgement:
    """The values of judged items.

    values: (m,), whose mean is the value. ids: (m,) of the items. codes, predicted: (m,) the class number of each, and the one
    that it was taken for; None where there are no classes, or nothing was predicted. names: of the classes. higher_is_better:
    which values are good ones. counts: (m,) the number of items behind each value where values are of classes, not of items.
    """

    values: np.ndarray
    ids: np.ndarray | None = None
    codes: np.ndarray | None = None
    predicted: np.ndarray | None = None
    names: Sequence[str] = ()
    higher_is_better: bool = True
    counts: np.ndarray | None = None


def details_of(judged: Judgement) -> Details:
    """The details of the values of items, those of classes included. Nothing where a value is not finite."""
    values = np.asarray(judged.values, np.float64)
    if not len(values) or not np.isfinite(values).all():
        return NOTHING
    summary = summary_of(values)
    listed, others = _classes(judged, values)
    bins = [summary.low, summary.high, *summary.counts]
    return Details(bins, _worst(judged, values), listed, others)


def _worst(judged: Judgement, values: np.ndarray) -> list[tuple[str, float, str]]:
    """The worst items, worst first; none whose prediction is right."""
    if judged.ids is None or judged.counts is not None:
        return []
    picked = worst_rows(values, judged.higher_is_better, WORST)[0]
    if judged.predicted is not None and judged.codes is not None:
        picked = picked[judged.predicted[picked] != judged.codes[picked]]
    return [(plain_text(judged.ids[row]), float(values[row]), _of_item(judged, row)) for row in picked.tolist()]


def _of_item(judged: Judgement, row: int) -> str:
    if judged.codes is None or judged.codes[row] < 0:
        return ""
    true = judged.names[judged.codes[row]]
    return true if judged.predicted is None else f"{true}, taken for {judged.names[judged.predicted[row]]}"


def _classes(judged: Judgement, values: np.ndarray) -> tuple[list[tuple[str, float, int, str]], int]:
    """The classes, worst first, and how many are left out."""
    codes = judged.codes
    if codes is None:
        return [], 0
    classes = []
    for code in np.unique(codes[codes >= 0]).tolist():
        own = codes == code
        count = int(own.sum() if judged.counts is None else judged.counts[own].sum())
        classes.append((judged.names[code], float(values[own].mean()), count, _taken_for(judged, own, code)))
    classes.sort(key=lambda one: one[1] if judged.higher_is_better else -one[1])
    return classes[:CLASSES], max(0, len(classes) - CLASSES)


def _taken_for(judged: Judgement, own: np.ndarray, code: int) -> str:
    """The most frequent wrong class of the items of a class, with their number."""
    if judged.predicted is None:
        return ""
    counts = np.bincount(judged.predicted[own], minlength=len(judged.names))
    counts[code] = 0
    return f"{judged.names[int(counts.argmax())]} ({int(counts.max())})" if counts.any() else ""


def limited(details: Details, count: int) -> Details:
    """As much of the details as a page of `count` values has room for."""
    if count > TOO_MANY:
        return NOTHING
    left_out = max(0, len(details.classes) - FEWER_CLASSES)
    if count <= MANY:
        return details
    return replace(
        details,
        worst=details.worst[:FEWER_WORST],
        classes=details.classes[:FEWER_CLASSES],
        others=details.others + left_out,
    )


def thinned(curve: np.ndarray) -> list[tuple[float, float]]:
    """A ROC curve (points, 2 or more) by at most 80 points at equal steps along it; a curve of fewer points as it is.

    >>> thinned(np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    """
    if len(curve) > POINTS:
        along = curve[:, 0] + curve[:, 1]  # both rates only rise
        steps = np.linspace(0, 2, POINTS)
        curve = np.stack([np.interp(steps, along, curve[:, side]) for side in (0, 1)], 1)
    return [(round(float(x), 4), round(float(y), 4)) for x, y in curve[:, :2]]


def to_cache(details: Details) -> dict[str, Any]:
    """The details as JSON values."""
    return asdict(details)


def from_cache(record: Mapping[str, Any] | None) -> Details:
    """The details that `to_cache` made; none for other values."""
    try:
        return Details(**(record or {}))
    except TypeError:
        return NOTHING

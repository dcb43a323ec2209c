"""Arrange the values of one metric over many files as a matrix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.base.uris import split_uri
from relrep_cli.comparison.corrected_values import NOTE, high_by_chance
from relrep_cli.comparison.pairs_of_files import counts_for_gate
from relrep_cli.metrics import METRICS

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Matrix:
    """The values of one metric on pairs of files.

    values: (r, c) float array; values[i, j] compares rows[i] (first space) with columns[j] (second space); NaN when unknown.
    rows, columns: short, unique names. same: whether rows and columns are the same files. convention: that of all values.
    n: the number of items of each pair, None when it differs between pairs. note: what to know of all values, else empty.
    """

    metric: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    same: bool
    convention: str
    n: int | None
    note: str = ""

    @property
    def symmetric(self) -> bool:
        return self.same and bool(METRICS[self.metric].symmetric)

    def records(self) -> list[Record]:
        """Return one record per row. The column of row names is titled with the metric."""
        cells = [[None if np.isnan(v) else v for v in row] for row in self.values.tolist()]
        return [
            {self.metric: name, **dict(zip(self.columns, row, strict=True))} for name, row in zip(self.rows, cells, strict=True)
        ]

    def convention_line(self) -> str:
        """Return the metric, its convention, n and the note as one line of text."""
        return (
            f"{self.metric}: {self.convention}"
            + (f"; n = {self.n}" if self.n else "")
            + (f"; {self.note}" if self.note else "")
        )


def matrix(records: Sequence[Record], left: Sequence[str], top: Sequence[str]) -> Matrix:
    """Build the matrix of one metric from records (a, b, metric, value, …).

    left, top: URIs of the rows and of the columns. When there are absolute and relative values, the matrix holds the
    relative ones. For a symmetric metric, each value fills both cells of its pair. A space compared with itself gets the
    value that the metric declares for identical spaces.

    Raises UsageError when the records hold several metrics, or several values of one pair.
    """
    usable = {r[side] for r in records if "error" not in r for side in ("a", "b")}
    records = [r for r in records if counts_for_gate(r) and "error" not in r]
    metrics = list(dict.fromkeys(r["metric"] for r in records))
    if len(metrics) != 1:
        raise UsageError(f"a matrix shows one metric; there are {', '.join(metrics) or 'none'}", "Write --metric NAME.")
    entry = METRICS[metrics[0]]
    known: dict[tuple[str, str], float] = {}
    for r in records:
        if (r["a"], r["b"]) in known:
            several = f"a matrix shows one value for each pair; {r['a']} and {r['b']} have several"
            raise UsageError(several, "Give each option one value, such as --k 10.")
        known[r["a"], r["b"]] = np.nan if r["value"] is None else r["value"]
    if entry.symmetric:
        known = {(b, a): v for (a, b), v in known.items()} | known
    identity = identity_value(records[0])
    own = np.nan if identity is None else identity
    values = np.array([[known.get((a, b), own if a == b and a in usable else np.nan) for b in top] for a in left], np.float64)
    names = short_names([*left, *top], metrics[0])
    conventions, sizes = ({r[key] for r in records if r["value"] is not None} for key in ("convention", "n"))
    return Matrix(
        metrics[0],
        tuple(names[a] for a in left),
        tuple(names[b] for b in top),
        values,
        list(left) == list(top),
        conventions.pop() if len(conventions) == 1 else "conventions differ by pair" if conventions else "no values",
        sizes.pop() if len(sizes) == 1 else None,
        NOTE if any(map(high_by_chance, records)) else "",
    )


def colour_range(metric: str, values: Sequence[float]) -> tuple[float, float]:
    """The values at both ends of the colours: the bounds of the metric, so that pictures of one metric share their colours.

    A bound below 0 counts as 0 while no value is negative. Where there is no bound, the outermost value takes its place.

    >>> colour_range("cka", [0.5, 0.7]), colour_range("cosine", [-0.1, 0.7]), colour_range("mse", [2.0, 4.0])
    ((0.0, 1.0), (-1.0, 1.0), (0.0, 4.0))
    """
    low, high = METRICS[metric].bounds
    known = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
    if min(known) >= 0 and (low is None or low < 0):
        low = 0.0
    ends = (min(known) if low is None else float(low), max(known) if high is None else float(high))
    return ends if ends[1] > ends[0] else (ends[0] - 0.5, ends[0] + 0.5)


def identity_value(record: Record) -> float | None:
    """The value of a space compared with itself: declared by the metric, equal to one of its options, or None."""
    identity = METRICS[record["metric"]].identity
    value = record.get(identity) if isinstance(identity, str) else identity
    return None if value is None else float(value)


def clustered(m: Matrix) -> Matrix:
    """Reorder a square matrix so that similar files are adjacent (average linkage, optimal leaf order).

    Other matrices, and those of fewer than three files, are returned unchanged.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if not m.same or len(m.rows) < 3:
        return m
    order = leaves_list(linkage(squareform(distances(m), checks=False), "average", optimal_ordering=True))
    names = tuple(m.rows[i] for i in order)
    return replace(m, rows=names, columns=names, values=m.values[np.ix_(order, order)])


def distances(m: Matrix) -> np.ndarray:
    """Turn the values of a square matrix into distances between files.

    Returns (f, f) floats, 0 for the closest pair. The two orders of a pair are averaged. An unknown pair gets the largest
    distance.
    """
    both = np.stack([m.values, m.values.T])
    known = np.isfinite(both)
    mean = np.where(known, both, 0).sum(0) / np.maximum(known.sum(0), 1)
    distance = -mean if METRICS[m.metric].higher_is_closer else mean
    pairs = known.any(0) & ~np.eye(len(distance), dtype=bool)
    if not pairs.any():
        return np.zeros_like(distance)
    distance = np.where(pairs, distance - distance[pairs].min(), distance[pairs].max() - distance[pairs].min())
    np.fill_diagonal(distance, 0)
    return distance


def short_names(uris: Sequence[str], taken: str = "") -> dict[str, str]:
    """Give each URI a short, unique name: the last path part, without the folders, suffixes and files that all URIs share.

    taken: a name that no URI may get.

    >>> short_names(["out/a.rel.h5", "out/b.rel.h5"])
    {'out/a.rel.h5': 'a', 'out/b.rel.h5': 'b'}
    >>> list(short_names(["x/a.h5", "y/a.h5"]).values()), list(short_names(["a.h5::layer/1", "a.h5::layer/12"]).values())
    (['x/a', 'y/a'], ['layer/1', 'layer/12'])
    """
    unique = list(dict.fromkeys(uris))
    if len(unique) < 2:
        return {uri: os.path.basename(uri) or uri for uri in unique}
    for shorten in (_base_without_suffix, _base, _without_suffix):
        names = shorten(unique)
        if len(set(names)) == len(unique) and all(names) and taken not in names:
            return dict(zip(unique, names, strict=True))
    return {uri: uri for uri in unique}


def _base(uris: list[str]) -> list[str]:
    """Remove the folders. When all URIs are layers of one file, remove the file too."""
    parts = [split_uri(uri) for uri in uris]
    if len({path for path, _, _ in parts}) == 1:
        return [member for _, _, member in parts]
    return [os.path.basename(path) + mark + member for path, mark, member in parts]


def _base_without_suffix(uris: list[str]) -> list[str]:
    return _without_suffix(_base(uris))


def _without_suffix(names: list[str]) -> list[str]:
    """Remove the file suffixes that all names share, such as `.rel.h5`."""
    while True:
        suffixes = {os.path.splitext(name)[1] for name in names}
        if len(suffixes) > 1 or not (suffix := suffixes.pop()) or any("::" in name for name in names):
            return names
        names = [name.removesuffix(suffix) for name in names]

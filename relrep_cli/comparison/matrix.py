"""Arrange the values of one metric over many files as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.base.cells import STARS, short, stars
from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.corrected_values import NOTE, high_by_chance
from relrep_cli.comparison.pairs_of_files import counts_for_gate
from relrep_cli.comparison.permutations import OVER_LAYERS
from relrep_cli.comparison.shown_names import names_by_side, short_names
from relrep_cli.metrics import METRICS

Record = dict[str, Any]
NAMED = 24  # rows whose closest column is named


@dataclass(frozen=True, eq=False)
class Matrix:
    """The values of one metric on pairs of files.

    values: (r, c) float array; values[i, j] compares rows[i] (first space) with columns[j] (second space); NaN when unknown.
    rows, columns: short, unique names. same: whether rows and columns are the same files. convention: that of all values.
    n: the number of items of each pair, None when it differs between pairs. note: what to know of all values, else empty.
    levels: (r, c) float array of q-values, NaN when unknown; None without tests. view: how the spaces are described, such as
    `absolute`. labels: names for eyes of the rows and of the columns. sides: the file that each side is of, where labels leave
    it out.
    """

    metric: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    same: bool
    convention: str
    n: int | None
    note: str = ""
    levels: np.ndarray | None = None
    view: str = ""
    labels: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    sides: tuple[str, str] = ("", "")

    @property
    def symmetric(self) -> bool:
        return self.same and bool(METRICS[self.metric].symmetric)

    def records(self) -> list[Record]:
        """Return one record per row. The column of row names is titled with the metric."""
        cells = [[None if np.isnan(v) else v for v in row] for row in self.values.tolist()]
        return [
            {self.metric: name, **dict(zip(self.columns, row, strict=True))} for name, row in zip(self.rows, cells, strict=True)
        ]

    def marked_records(self) -> list[Record]:
        """The same for eyes: labels, and short values with stars for small q-values."""
        rows, columns = self.shown_labels
        records = []
        for i, name in enumerate(rows):
            levels = [None] * len(columns) if self.levels is None else self.levels[i].tolist()
            cells = [short(v) + stars(level) for v, level in zip(self.values[i].tolist(), levels, strict=True)]
            records.append({self.metric: name, **dict(zip(columns, cells, strict=True))})
        return records

    @property
    def shown_labels(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names of rows and columns for eyes."""
        return self.labels[0] or self.rows, self.labels[1] or self.columns

    @property
    def sides_line(self) -> str:
        """What labels leave out, in words."""
        sides = zip(("rows", "columns"), self.sides, strict=True)
        return ", ".join(f"{which} of {printable(file)}" for which, file in sides if file)

    def convention_line(self) -> str:
        """Return the metric, its convention, n and the note as one line of text."""
        tested = STARS.format("q") if self.levels is not None else ""
        size, view = f"n = {self.n}" if self.n else "", f"{self.view} spaces" if self.view else ""
        parts = (f"{self.metric}: {self.convention}", view, self.sides_line, size, self.note, tested)
        return "; ".join(filter(None, parts))

    def closest_line(self) -> str:
        """The closest column of each row, such as the layer of one network that is most like each layer of another; "" where
        rows and columns are the same files, or there is one column."""
        if self.same or len(self.columns) < 2:
            return ""
        values = self.values if METRICS[self.metric].higher_is_closer else -self.values
        rows, columns = self.shown_labels
        best = [
            f"{printable(rows[i])} with {printable(columns[j])} {short(self.values[i, j])}"
            for i, j in enumerate(np.where(np.isnan(values), -np.inf, values).argmax(1).tolist())
            if not np.isnan(values[i]).all()
        ]
        more = [f"{len(best) - NAMED} more"] if len(best) > NAMED else []
        return f"closest column of each row: {', '.join([*best[:NAMED], *more])}" if best else ""


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
    levels: dict[tuple[str, str], float] = {}
    for r in records:
        if (r["a"], r["b"]) in known:
            several = f"a matrix shows one value for each pair; {r['a']} and {r['b']} have several"
            raise UsageError(several, "Give each option one value, such as --k 10.")
        known[r["a"], r["b"]] = np.nan if r["value"] is None else r["value"]
        levels[r["a"], r["b"]] = np.nan if r.get("q") is None else r["q"]
    if entry.symmetric:
        known, levels = ({(b, a): v for (a, b), v in one.items()} | one for one in (known, levels))
    identity = identity_value(records[0])
    own = np.nan if identity is None else identity
    values = np.array([[known.get((a, b), own if a == b and a in usable else np.nan) for b in top] for a in left], np.float64)
    names = short_names([*left, *top], metrics[0])
    *labels, sides = names_by_side(left, top, metrics[0])
    views = {r["projection"] for r in records if r.get("projection")}
    valued = [r for r in records if r["value"] is not None]
    conventions, sizes = {r["convention"].removesuffix(OVER_LAYERS) for r in valued}, {r["n"] for r in valued}
    return Matrix(
        metrics[0],
        tuple(names[a] for a in left),
        tuple(names[b] for b in top),
        values,
        list(left) == list(top),
        conventions.pop() if len(conventions) == 1 else "conventions differ by pair" if conventions else "no values",
        sizes.pop() if len(sizes) == 1 else None,
        NOTE if any(map(high_by_chance, records)) else "",
        np.array([[levels.get((a, b), np.nan) for b in top] for a in left]) if any("q" in r for r in records) else None,
        f"relative ({views.pop()})" if len(views) == 1 else "",
        (tuple(labels[0]), tuple(labels[1])),
        sides,
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
    names, labels = (tuple(one[i] for i in order) for one in (m.rows, m.shown_labels[0]))
    levels = None if m.levels is None else m.levels[np.ix_(order, order)]
    values = m.values[np.ix_(order, order)]
    return replace(m, rows=names, columns=names, values=values, levels=levels, labels=(labels, labels))


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

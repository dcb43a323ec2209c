"""One metric over many files as a matrix."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.comparison.pairs_of_files import judged
from relrep_cli.metrics import METRICS

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Matrix:
    """Values of one metric: `values[i, j]` is that of rows[i] as first and columns[j] as second space, NaN for none.

    rows, columns: names, short and unique. same: whether both are the same files. convention, n: what the values follow,
    and how many items they are of, where that is the same for all.
    """

    metric: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    same: bool
    convention: str
    n: int | None

    @property
    def symmetric(self) -> bool:
        return self.same and bool(METRICS[self.metric].symmetric)

    def records(self) -> list[Record]:
        """One record for each row; the metric's name heads the column of names."""
        cells = [[None if np.isnan(v) else v for v in row] for row in self.values.tolist()]
        return [
            {self.metric: name, **dict(zip(self.columns, row, strict=True))} for name, row in zip(self.rows, cells, strict=True)
        ]

    def says(self) -> str:
        """The convention in one line."""
        return f"{self.metric}: {self.convention}" + (f"; n = {self.n}" if self.n else "")


def matrix(records: Sequence[Record], left: Sequence[str], top: Sequence[str]) -> Matrix:
    """The matrix of records (a, b, metric, value, …) of one metric; with absolute and relative ones, of the relative.

    What a symmetric metric, and a space against itself, are known to give is filled in. Raises UsageError for several
    metrics, or several values of one pair.
    """
    found = {r[side] for r in records if "error" not in r for side in ("a", "b")}
    records = [r for r in records if judged(r) and "error" not in r]
    metrics = list(dict.fromkeys(r["metric"] for r in records))
    if len(metrics) != 1:
        raise UsageError(f"a matrix shows one metric; there are {', '.join(metrics) or 'none'}. Write --metric NAME.")
    entry = METRICS[metrics[0]]
    known: dict[tuple[str, str], float] = {}
    for r in records:
        if (r["a"], r["b"]) in known:
            raise UsageError(f"a matrix shows one value for each pair; {r['a']} and {r['b']} have several.")
        known[r["a"], r["b"]] = np.nan if r["value"] is None else r["value"]
    if entry.symmetric:
        known = {(b, a): v for (a, b), v in known.items()} | known
    itself = _identity(entry, records[0])
    values = np.array([[known.get((a, b), itself if a == b and a in found else np.nan) for b in top] for a in left], np.float64)
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
    )


def _identity(entry: Any, record: Record) -> float:
    """The value of a space against itself: declared, that of an option, or unknown."""
    found = record.get(entry.identity) if isinstance(entry.identity, str) else entry.identity
    return np.nan if found is None else float(found)


def clustered(m: Matrix) -> Matrix:
    """The same with files that are alike next to each other: average linkage, leaves in optimal order."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    if not m.same or len(m.rows) < 3:
        return m
    apart = distances(m)
    order = leaves_list(linkage(squareform(apart, checks=False), "average", optimal_ordering=True))
    names = tuple(m.rows[i] for i in order)
    return replace(m, rows=names, columns=names, values=m.values[np.ix_(order, order)])


def distances(m: Matrix) -> np.ndarray:
    """(f, f) how far files are apart, from 0 on: both orders of a pair averaged; what is unknown is as far as the farthest."""
    both = np.stack([m.values, m.values.T])
    there = np.isfinite(both)
    mean = np.where(there, both, 0).sum(0) / np.maximum(there.sum(0), 1)
    apart = -mean if METRICS[m.metric].higher_is_closer else mean
    off = there.any(0) & ~np.eye(len(apart), dtype=bool)
    if not off.any():
        return np.zeros_like(apart)
    apart = np.where(off, apart - apart[off].min(), apart[off].max() - apart[off].min())
    np.fill_diagonal(apart, 0)
    return apart


def short_names(uris: Sequence[str], taken: str = "") -> dict[str, str]:
    """A short name for each, unique: the last path part, without folders, endings and files that all share.

    taken: a name that none may have.

    >>> short_names(["out/a.rel.h5", "out/b.rel.h5"])
    {'out/a.rel.h5': 'a', 'out/b.rel.h5': 'b'}
    >>> list(short_names(["x/a.h5", "y/a.h5"]).values()), list(short_names(["a.h5::layer/1", "a.h5::layer/12"]).values())
    (['x/a', 'y/a'], ['layer/1', 'layer/12'])
    """
    every = list(dict.fromkeys(uris))
    if len(every) < 2:
        return {uri: os.path.basename(uri) or uri for uri in every}
    for shorten in (_base_without_ending, _base, _without_ending):
        names = shorten(every)
        if len(set(names)) == len(every) and all(names) and taken not in names:
            return dict(zip(every, names, strict=True))
    return {uri: uri for uri in every}


def _base(uris: list[str]) -> list[str]:
    """Without folders; layers of one file without that file."""
    parts = [uri.partition("::") for uri in uris]
    if len({path for path, _, _ in parts}) == 1:
        return [member for _, _, member in parts]
    return [os.path.basename(path) + mark + member for path, mark, member in parts]


def _base_without_ending(uris: list[str]) -> list[str]:
    return _without_ending(_base(uris))


def _without_ending(names: list[str]) -> list[str]:
    """Without the last dots and what follows them, as far as all names share it."""
    while True:
        ends = {os.path.splitext(name)[1] for name in names}
        if len(ends) > 1 or not (end := ends.pop()) or any("::" in name for name in names):
            return names
        names = [name.removesuffix(end) for name in names]

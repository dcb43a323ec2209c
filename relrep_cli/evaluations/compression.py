"""What truncation and quantisation cost: how many of the nearest rows shorter vectors still find, and how small they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

import numpy as np

from relrep_cli.base.errors import UsageError
from relrep_cli.base.registry import Param
from relrep_cli.evaluations.findings import By, Finding, K, Space, evaluation, mean_of
from relrep_cli.neighbors import nearest, overlap, unit_rows
from relrep_cli.numerics.blocks import pick, row_blocks, slices
from relrep_cli.numerics.intervals import bootstrap
from relrep_cli.numerics.spool import spool

BITS = {"float64": 64, "float32": 32, "float16": 16, "int8": 8, "bits": 1}  # of one number
TRIED = ("float32", "float16", "int8", "bits")
QUERIES, LEAST, WORK = 2000, 300, 5e10  # rows searched for: fewer in large files, so that one search takes seconds
Dims = Annotated[int, Param("First columns to keep, such as 64,128,256; 0 keeps all.", minimum=0, several=True)]
Kept = Annotated[
    str,
    Param("Kinds of number to try, such as float16,int8,bits.", choices=TRIED, several=True),
]
Share = Annotated[float, Param("Recall that the smallest form must keep.", minimum=0, maximum=1)]


@evaluation(needs=frozenset(), labels=False, source="Kusupati et al. 2022; Shakir et al. 2024")
def compression(
    s: Space,
    *,
    dims: Dims = 0,
    dtype: Kept = "float32",
    k: K = 10,
    neighbors: By = "cosine",
    keep: Share = 0.95,
    seed: int = 0,
) -> Iterator[Finding]:
    """Share of the nearest rows of full vectors that truncated and quantised ones find, with their size.

    Every number of columns is tried with every kind of number. Rows are searched for among all rows of the file, in the same
    form. int8: columns scaled by their largest number, after unit length for cosines. bits: signs, by Hamming distance.
    """
    if s.e.n < k + 2:
        raise UsageError(f"--k {k} needs {k + 2} rows or more; there are {s.e.n}", f"Write --k {max(1, s.e.n - 2)} or less.")
    asked = asked_rows(s.e.n, s.e.d, seed)
    true = nearest(s.e.x, s.e.x, k, by=neighbors, exclude_self=True, rows=asked, workspace=s.searching).rows
    whole = s.e.d * s.e.x.dtype.itemsize
    small: list[tuple[int, str, float]] = []
    for columns, kind in forms(s.e.d, s.e.x.dtype.name, dims, dtype):
        size = -(-columns * BITS[kind] // 8)
        what = f"{size / whole:.1%} of {whole} bytes; {len(asked)} of {s.e.n} rows searched for, {neighbors}"
        finding = mean_of(
            f"recall@{k} {columns} {kind}",
            _recall(s, columns, kind, asked, true, neighbors),
            what,
            bounds=(0, 1),
            chance=k / (s.e.n - 1),
            ids=s.e.ids[asked],
        )
        assert finding.rows is not None
        low, high = bootstrap(finding.rows, np.random.default_rng(seed))
        if low >= keep:
            small.append((size, finding.name, finding.value))
        yield replace(finding, interval=(low, high), extra={"dims": columns, "dtype": kind, "bytes": size})
    if small:
        size, name, value = min(small)
        convention = f"bytes a row of the smallest form whose interval lies above {keep:g}: {name}, which is {value:.4f}"
        yield Finding("smallest", float(size), len(asked), convention, extra={"bytes": size})
    else:
        convention = f"bytes a row; no smaller form has an interval above {keep:g}, so the full vectors"
        yield Finding("smallest", float(whole), len(asked), convention, extra={"bytes": whole})


def forms(d: int, stored: str, dims: int | tuple[int, ...], dtype: str | tuple[str, ...]) -> list[tuple[int, str]]:
    """Every number of columns with every kind of number that is smaller than the stored vectors, largest first.

    All columns, and the stored kind, are always among them. Without a wish, a half, a quarter and an eighth of the columns are
    tried, and all kinds.

    >>> forms(8, "float16", 4, "int8")
    [(8, 'int8'), (4, 'float16'), (4, 'int8')]
    """
    columns = dims if isinstance(dims, tuple) else (dims,)
    kinds = dtype if isinstance(dtype, tuple) else (dtype,)
    if too_many := [wanted for wanted in columns if wanted > d]:
        raise UsageError(f"--dims {too_many[0]} is more than the {d} columns there are", f"Write {d} or less.")
    if columns == (0,) and kinds == ("float32",):
        columns, kinds = (d // 2, d // 4, d // 8), TRIED
    wide = sorted({*columns, d} - {0}, reverse=True)
    narrow = sorted({*kinds, stored}, key=lambda kind: -BITS[kind])
    return [(w, kind) for w in wide for kind in narrow if BITS[kind] <= BITS[stored] and (w, kind) != (d, stored)]


def asked_rows(n: int, d: int, seed: int) -> np.ndarray:
    """The numbers of the rows that are searched for."""
    count = min(n, int(np.clip(WORK / (n * d), LEAST, QUERIES)))
    return np.sort(np.random.default_rng(seed).permutation(n)[:count])


def _recall(s: Space, columns: int, kind: str, asked: np.ndarray, true: np.ndarray, by: By) -> np.ndarray:
    """(q,) share of the true rows (q, k) among the k nearest to each asked row, all rows in one short form."""
    x = s.e.x
    short = spool((len(x), columns), np.float32)
    most = _largest(x, columns, by) if kind == "int8" else np.ones(columns)
    for block in row_blocks(len(x), x.shape[1], x, short):
        short[block] = shortened(_cut(x[block], columns, by), kind, most)
    if kind == "bits":
        return recall_of_signs(short, asked, true)
    k = true.shape[1]
    return overlap(true, nearest(short, short, k, by=by, exclude_self=True, rows=asked, workspace=s.searching).rows) / k


def _cut(rows: np.ndarray, columns: int, by: By) -> np.ndarray:
    """The first columns in float64, at unit length where neighbours go by cosines."""
    head = np.asarray(rows[:, :columns], np.float64)
    return unit_rows(head) if by == "cosine" else head


def _largest(x: np.ndarray, columns: int, by: By) -> np.ndarray:
    """(columns,) the largest absolute number of each column; 1 for a column of zeros."""
    most = np.zeros(columns)
    for block in row_blocks(*x.shape, x):
        most = np.maximum(most, np.abs(_cut(x[block], columns, by)).max(0))
    return np.where(most > 0, most, 1)


def shortened(rows: np.ndarray, kind: str, most: np.ndarray) -> np.ndarray:
    """Rows (r, c) as what is left of them in a short kind of number. most: (c,) what the code 127 stands for.

    >>> shortened(np.array([[0.5, -1.0]]), "int8", np.array([1.0, 1.0])).round(4).tolist()
    [[0.5039, -1.0]]
    """
    if kind == "int8":
        return np.asarray(np.rint(rows / most * 127) * (most / 127))
    if kind == "bits":
        return np.where(rows > 0, 1.0, -1.0)
    return np.asarray(rows.astype(kind), np.float64)


def recall_of_signs(signs: np.ndarray, asked: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(q,) share of the true rows (q, k) among the k rows with the fewest different signs (n, c), the asked row left out.

    Signs leave many rows equally near. Those at the last places count by the share of them that has room, so that the order
    of rows does not matter.
    """
    n, k = len(signs), true.shape[1]
    out = np.empty(len(asked))
    queries = pick(signs, asked)
    for part in slices(len(asked), max(1, (4 << 20) // n)):
        alike = np.empty((part.stop - part.start, n), np.float32)
        for block in row_blocks(*signs.shape, signs):  # sums of signs are whole numbers, so they are exact
            alike[:, block] = queries[part] @ signs[block].T
        alike[np.arange(len(alike)), asked[part]] = -np.inf
        last = -np.partition(-alike, k - 1, axis=1)[:, k - 1 : k]
        nearer, level = (alike > last).sum(1), (alike == last).sum(1)
        held = np.take_along_axis(alike, true[part], 1)
        out[part] = ((held > last).sum(1) + (held == last).sum(1) * (k - nearer) / level) / k
    return out

"""Two spaces of the same items, row by row, with a sample of their rows and how exactly their numbers are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.blocks import pick, row_blocks, widen

SAMPLE = 4000  # rows to fit on; three times the dims where that is more
Map = Callable[[np.ndarray], np.ndarray]  # (r, d) rows of the one space -> (r, e) what the other should hold
STEPS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # relative rounding error of short kinds of numbers


@dataclass(frozen=True, eq=False)
class FilePair:
    """Rows x (n, d) and y (n, e) of the same items.

    rows: (m,) the numbers of the sampled rows, ascending. xs, ys: (m, d) and (m, e) float64, these rows. centre: (e,) and
    scale: the middle of y and the usual distance of its rows from there, by medians, so that some odd rows do not change
    them. floor: the relative error that the storage of either file explains.
    turned: whether x is the second file. kept: what two relations compute alike.
    """

    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    xs: np.ndarray
    ys: np.ndarray
    centre: np.ndarray
    scale: float
    floor: float
    turned: bool = False
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.x)

    @property
    def d(self) -> int:
        return int(self.x.shape[1])

    @property
    def e(self) -> int:
        return int(self.y.shape[1])

    @property
    def names(self) -> tuple[str, str]:
        """What to call x and y."""
        return ("b", "a") if self.turned else ("a", "b")

    def lengths(self, y: np.ndarray) -> np.ndarray:
        """(r,) the distances of rows of y from its centre, at least its scale: what a row's error is measured by."""
        return np.maximum(np.linalg.norm(y - self.centre, axis=1), self.scale)

    def residuals(self, apply: Map) -> np.ndarray:
        """(n,) the error of each row of y, relative to its length, where `apply` predicts it from x. In blocks of rows."""
        out = np.empty(self.n)
        for block in row_blocks(self.n, max(self.d, self.e), self.x, self.y):
            y = np.asarray(self.y[block], np.float64)
            out[block] = np.linalg.norm(apply(np.asarray(self.x[block], np.float64)) - y, axis=1) / self.lengths(y)
        return out

    def sample_residuals(self, apply: Map) -> np.ndarray:
        """(m,) the same of the sampled rows."""
        return np.linalg.norm(apply(self.xs) - self.ys, axis=1) / self.lengths(self.ys)


def file_pair(x: np.ndarray, y: np.ndarray, seed: int = 0) -> FilePair:
    """Sample the rows of two spaces of the same items. x: (n, d), y: (n, e), finite."""
    n, most = len(x), max(SAMPLE, 3 * max(x.shape[1], y.shape[1]))
    rows = np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    xs, ys = (np.asarray(pick(side, rows), np.float64) for side in (x, y))
    floor = max(storage_error(np.asarray(pick(side, rows[:1000]))) for side in (x, y))
    return FilePair(x, y, rows, xs, ys, *_middle(ys), floor)


def swapped(pair: FilePair) -> FilePair:
    """The same pair with x and y exchanged."""
    centre, scale = _middle(pair.xs)
    return replace(
        pair, x=pair.y, y=pair.x, xs=pair.ys, ys=pair.xs, centre=centre, scale=scale, turned=not pair.turned, kept={}
    )


def _middle(rows: np.ndarray) -> tuple[np.ndarray, float]:
    centre = np.median(rows, 0)
    return centre, float(np.median(np.linalg.norm(rows - centre, axis=1)))


def storage_error(x: np.ndarray) -> float:
    """The relative error of a row that the precision of its numbers explains.

    >>> storage_error(np.array([[0.1]], np.float16)), storage_error(np.array([[0.1]], np.float32)) < 1e-6
    (0.00048828125, True)
    """
    for kind, step in STEPS.items():
        if np.array_equal(rounded(x, kind), x):
            return step
    return 4e-7


def rounded(x: np.ndarray, kind: str) -> np.ndarray:
    """x rounded to float32, float16 or bfloat16, as float64."""
    with np.errstate(over="ignore"):
        if kind in ("float16", "float32"):
            return np.asarray(np.asarray(x, kind), np.float64)
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        bits = bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)
        return np.asarray((bits & np.uint32(0xFFFF0000)).view(np.float32), np.float64)


def spacing(x: np.ndarray, kind: str) -> np.ndarray:
    """The distance of |x| from the next larger number of a kind.

    >>> spacing(np.array([1.0]), "bfloat16").tolist(), spacing(np.array([1.0]), "float16").tolist()
    ([0.0078125], [0.0009765625])
    """
    if kind in ("float16", "float32"):
        return np.asarray(np.spacing(np.abs(x).astype(kind)), np.float64)
    return np.asarray(2.0 ** (np.frexp(np.maximum(np.abs(np.asarray(x, np.float64)), 2.0**-126))[1] - 8))


def blocks_of_both(pair: FilePair) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of x and y, block by block, in the kind of number in which they are kept (float32 at least)."""
    for block in row_blocks(pair.n, max(pair.d, pair.e), pair.x, pair.y):
        yield widen(pair.x[block]), widen(pair.y[block])

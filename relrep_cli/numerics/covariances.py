"""Covariances within and between two spaces, and their principal axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.moments import Moments, grouped_moments, total
from relrep_cli.numerics.workspace import UNSHARED, Workspace

T = TypeVar("T")
RANK = 1e-13  # share of the largest eigenvalue below which an axis is rounding error: moments keep half the digits of an SVD
CONSTANT = 1e-28  # share of a column's raw sum of squares below which its variance is rounding error
SMALL = 1024


@dataclass(frozen=True)
class Covariances:
    """Sums of products over n rows: xx (dx, dx), yy (dy, dy), xy (dx, dy); of centred columns or of raw ones."""

    n: int
    xx: np.ndarray
    yy: np.ndarray
    xy: np.ndarray

    @property
    def spreads(self) -> tuple[float, float]:
        """The total sum of squares of each space."""
        return float(np.trace(self.xx)), float(np.trace(self.yy))

    def within(self, bx: np.ndarray, by: np.ndarray) -> Covariances:
        """Project onto the columns of bx (dx, rx) and by (dy, ry)."""
        return Covariances(self.n, bx.T @ self.xx @ bx, by.T @ self.yy @ by, bx.T @ self.xy @ by)


def centred(m: Moments) -> Covariances:
    """Covariances of centred columns."""
    products = m.products - np.outer(m.sums, m.sums / m.n)
    return _split(m, products)


def raw(m: Moments) -> Covariances:
    """Covariances of the columns without centring."""
    cross = np.outer(m.sums, m.shift)
    return _split(m, m.products + cross + cross.T + m.n * np.outer(m.shift, m.shift))


def _split(m: Moments, products: np.ndarray) -> Covariances:
    x, y = slice(0, m.dx), slice(m.dx, None)
    return Covariances(m.n, products[x, x], products[y, y], products[x, y])


@dataclass(frozen=True)
class Parts:
    """Covariances of all rows, with the moments of all rows and of each part for a jackknife.

    rows: the matrices (n, dx) and (n, dy). intervals: whether a jackknife and a chance level are wanted. once: computes what
    depends on one side alone, and keeps it where the workspace keeps results; see `of_side`.
    """

    whole: Covariances
    moments: Moments
    parts: list[Moments]
    kind: Callable[[Moments], Covariances]
    rows: tuple[np.ndarray, np.ndarray]
    workspace: Workspace = UNSHARED

    @property
    def n(self) -> int:
        return self.whole.n

    @property
    def intervals(self) -> bool:
        return self.workspace.intervals

    def of_side(self, what: str, side: int, compute: Callable[[], T], *options: Any) -> T:
        """Return what `compute` makes of one side alone. It is computed once for all permutations of the rows.

        what: the name of the result. side: 0 for x and 1 for y. options: what else the result depends on.
        """
        space = self.workspace.origin(self.rows[side])[0]
        return self.workspace.once(what, (space, self.kind.__name__, *options), compute)

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean rows (dx,) and (dy,)."""
        mean = self.moments.shift + self.moments.sums / self.n
        return mean[: self.moments.dx], mean[self.moments.dx :]

    def cross(self, order: np.ndarray) -> np.ndarray:
        """Return xy (dx, dy) of centred columns with the rows of y in another order (n,)."""
        return _cross(*self.rows, *self.means(), order)

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lengths (dx,) and (dy,) of the centred columns; infinity for a column that is constant up to rounding.

        The tolerance is relative to each column, because columns may have different units.
        """
        m, spreads = self.moments, np.concatenate([np.diag(self.whole.xx), np.diag(self.whole.yy)])
        squares = m.n * np.square(m.shift + m.sums / m.n)
        found = np.sqrt(np.where(spreads > CONSTANT * squares, spreads, np.inf))
        return found[: m.dx], found[m.dx :]

    def jackknife(self, value: Callable[[Covariances], float]) -> np.ndarray | None:
        """Return the values (g,) without each part; None when not wanted, with too few parts, or with an undefined value."""
        if len(self.parts) < 5 or not self.intervals:
            return None
        try:
            with one_thread(sum(self.whole.xy.shape)):
                return np.array([value(self.kind(self.moments - part)) for part in self.parts])
        except (NotApplicable, np.linalg.LinAlgError):
            return None


def covariances(
    x: np.ndarray, y: np.ndarray, kind: Callable[[Moments], Covariances] = centred, *, workspace: Workspace = UNSHARED
) -> Parts:
    """Compute covariances of (n, dx) x and (n, dy) y. Raises NotApplicable for fewer than 3 rows or a constant space."""
    if len(x) < 3:
        raise NotApplicable(f"{len(x)} items are too few")
    parts = grouped_moments(x, y, workspace=workspace)
    m = total(parts)
    whole = kind(m)
    sizes = np.trace(m.products[: m.dx, : m.dx]), np.trace(m.products[m.dx :, m.dx :])
    for name, spread, size in zip(("first", "second"), whole.spreads, sizes, strict=True):
        if not np.isfinite(spread):
            raise NotApplicable(f"the squares of the {name} space pass what float64 holds")
        if not spread > 1e-12 * size:
            raise NotApplicable(f"the {name} space is {'zero' if kind is raw else 'constant'}")
    return Parts(whole, m, parts, kind, (x, y), workspace)


def _cross(x: np.ndarray, y: np.ndarray, mx: np.ndarray, my: np.ndarray, order: np.ndarray) -> np.ndarray:
    """(x - mx)'(y[order] - my) in blocks of rows."""
    out = np.zeros((x.shape[1], y.shape[1]))
    for block in row_blocks(len(x), sum(out.shape), x):
        out += (x[block] - mx).T @ (pick(y, order[block]) - my)
    return out


def axes(products: np.ndarray, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Compute principal axes (d, r) and their sums of squares (r,), descending, from a (d, d) sum of products.

    Axes below the rounding error are dropped. Of the rest, the first ones that explain `share` of the squares are kept.
    """
    values, vectors = np.linalg.eigh(products)
    values, vectors = values[::-1], vectors[:, ::-1]
    held = np.cumsum(values.clip(0))
    rank = np.count_nonzero(values > len(values) * RANK * values[0])
    kept = rank if share >= 1 else min(rank, int(np.searchsorted(held, share * held[-1] * (1 - 1e-12))) + 1)
    return vectors[:, :kept], values[:kept]


@dataclass(frozen=True)
class Basis:
    """The axes of a space that are kept.

    to: (d, r) from columns to axes. back: (d, r) from axes to columns, transposed. sizes: (r,) sums of squares along the axes.
    """

    to: np.ndarray
    back: np.ndarray
    sizes: np.ndarray

    @property
    def cut(self) -> int:
        """The number of dims without an axis of their own."""
        return len(self.to) - len(self.sizes)


def scaled_axes(products: np.ndarray, lengths: np.ndarray) -> Basis:
    """Find the axes of a space whose columns are first scaled to length 1, so that its rank does not depend on their units.

    products: (d, d). lengths: (d,) of the columns, infinity for columns to leave out; see Parts.lengths.
    """
    units = 1 / lengths
    vectors, sizes = axes(products * np.outer(units, units))
    return Basis(units[:, None] * vectors, np.where(np.isfinite(lengths), lengths, 0)[:, None] * vectors, sizes)


def all_axes(products: np.ndarray) -> Basis:
    """Find all principal axes, for a metric whose penalty outweighs the rounding error of small ones. products: (d, d)."""
    sizes, vectors = np.linalg.eigh(products)
    return Basis(vectors, vectors, sizes.clip(0))


def cut_note(*bases: Basis) -> str:
    """A note for the convention on how many axes of each space were cut; empty when none was.

    >>> cut_note(Basis(np.eye(3)[:, :2], np.eye(3)[:, :2], np.ones(2)), Basis(np.eye(2), np.eye(2), np.ones(2)))
    ', 1 of 3 axes of the first space cut'
    """
    names = ("first", "second")
    notes = [f"{b.cut} of {len(b.to)} axes of the {name} space" for name, b in zip(names, bases, strict=True) if b.cut]
    return f", {' and '.join(notes)} cut" if notes else ""


@contextmanager
def one_thread(dims: int) -> Iterator[None]:
    """Run BLAS on one thread when there are at most SMALL dims. On a small decomposition, threads wait for each other more than
    they work; on a busy machine a hundred times longer."""
    if dims > SMALL:
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield

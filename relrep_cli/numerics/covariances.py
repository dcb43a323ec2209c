"""Covariances within and between two spaces, and their principal axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.moments import Moments, grouped_moments, moments, total
from relrep_cli.numerics.narrowing import CONSTANT, EQUAL, Narrow, common_powers, exponent, in_range, narrow
from relrep_cli.numerics.threads import single_threaded
from relrep_cli.numerics.workspace import UNSHARED, Workspace

T = TypeVar("T")
RANK = 1e-13  # share of the largest eigenvalue below which an axis is rounding error: moments keep half the digits of an SVD


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


Kind = Callable[[Moments], Covariances]


@dataclass(frozen=True)
class Parts:
    """Covariances of all rows, with the moments of all rows and of each part for a jackknife.

    rows: the matrices (n, dx) and (n, dy) that were summed: in range, and rotated where they have more dims than rows. narrows:
    how each side was rotated, or None. spaces: the matrices that were given. powers: of two, by which each side was divided.
    """

    whole: Covariances
    moments: Moments
    parts: list[Moments]
    kind: Kind
    rows: tuple[np.ndarray, np.ndarray]
    narrows: tuple[Narrow | None, Narrow | None]
    spaces: tuple[np.ndarray, np.ndarray]
    powers: tuple[int, int]
    workspace: Workspace

    @property
    def n(self) -> int:
        """The number of rows."""
        return self.whole.n

    def of_side(self, what: str, side: int, compute: Callable[[], T], *options: Any) -> T:
        """Return what `compute` makes of one side alone. It is computed once for all permutations of the rows.

        what: the name of the result. side: 0 for x and 1 for y. options: what else the result depends on.
        """
        space = self.workspace.origin(self.spaces[side])[0]
        narrow = self.narrows[side]
        units = narrow is not None and narrow.lengths is not None
        return self.workspace.once(what, (space, self.kind.__name__, units, self.powers[side], *options), compute)

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean rows (dx,) and (dy,)."""
        mean = self.moments.shift + self.moments.sums / self.n
        return mean[: self.moments.dx], mean[self.moments.dx :]

    def axes(self, side: int, share: float = 1.0) -> Basis:
        """Return the principal axes of one side; see `axes`."""
        return self.of_side("axes", side, lambda: Basis.of(*axes(self._own(side), share)), share)

    def all_axes(self, side: int) -> Basis:
        """Return all axes of one side, for a metric whose penalty outweighs the rounding error of small ones."""
        return self.of_side("all axes", side, lambda: all_axes(self._own(side)))

    def scaled_axes(self, side: int) -> Basis:
        """Return the axes of one side whose columns are first scaled to length 1: their units do not decide on its rank."""
        narrow = self.narrows[side]

        def compute() -> Basis:
            lengths = self.lengths()[side] if narrow is None or narrow.lengths is None else np.ones(len(self._own(side)))
            axes = _scaled_axes(self._own(side), lengths)
            return axes if narrow is None else axes.before(narrow)

        return self.of_side("scaled axes", side, compute)

    def _own(self, side: int) -> np.ndarray:
        return self.whole.yy if side else self.whole.xx

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lengths (dx,) and (dy,) of the centred columns; infinity for a column that is constant up to rounding.

        The tolerance is relative to each column, because columns may have different units.
        """
        m, spreads = self.moments, np.concatenate([np.diag(self.whole.xx), np.diag(self.whole.yy)])
        squares = m.n * np.square(m.shift + m.sums / m.n)
        roots = np.sqrt(np.where(spreads > CONSTANT * squares, spreads, np.inf))
        return roots[: m.dx], roots[m.dx :]

    def jackknife(self, value: Callable[[Covariances], float]) -> np.ndarray | None:
        """Return the values (g,) without each part; None when not wanted, with too few parts, or with an undefined value."""
        if len(self.parts) < 5 or not self.workspace.intervals:
            return None
        try:
            with one_thread(sum(self.whole.xy.shape)):
                return np.array([value(self.kind(self.moments - part)) for part in self.parts])
        except (NotApplicable, np.linalg.LinAlgError):
            return None


def covariances(
    x: np.ndarray,
    y: np.ndarray,
    kind: Kind = centred,
    *,
    rotate: bool = True,
    units: tuple[bool, bool] = (False, False),
    alike: bool = False,
    workspace: Workspace = UNSHARED,
) -> Parts:
    """Compute covariances of (n, dx) x and (n, dy) y.

    rotate: whether a space with more dims than rows may be rotated into as many dims as it has rows. units: for each side,
    whether a rotated space has its columns scaled to length 1 first. alike: whether both spaces are brought into range by one
    factor. In a workspace without intervals there are no parts, and
    permuted rows cost one product.

    Raises NotApplicable for fewer than 3 rows or a constant space.
    """
    if len(x) < 3:
        raise NotApplicable(f"{len(x)} items are too few")
    if workspace.permutation is not None and workspace.outer is not None and not workspace.intervals:
        return _permuted(x, y, kind, rotate, units, alike, workspace)
    powers = common_powers(x, y, workspace) if alike else (exponent(x, workspace), exponent(y, workspace))
    rows, narrows = [], []
    for side, power, scaled in zip((x, y), powers, units, strict=True):
        ranged = in_range(side, power, workspace)
        narrowed = narrow(ranged, kind is centred, scaled, workspace) if rotate else None
        rows.append(ranged if narrowed is None else narrowed.rows)
        narrows.append(narrowed)
    left, right = rows
    parts = grouped_moments(left, right, workspace=workspace) if workspace.intervals else _whole(left, right, workspace)
    m = total(parts)
    whole = kind(m)
    sizes = np.trace(m.products[: m.dx, : m.dx]), np.trace(m.products[m.dx :, m.dx :])
    for name, spread, size in zip(("first", "second"), whole.spreads, sizes, strict=True):
        if not spread > EQUAL * size:
            raise NotApplicable(f"the {name} space is {'zero' if kind is raw else 'constant'}")
    return Parts(whole, m, parts, kind, (left, right), (narrows[0], narrows[1]), (x, y), powers, workspace)


def _whole(x: np.ndarray, y: np.ndarray, workspace: Workspace) -> list[Moments]:
    return workspace.once("moments", (x, y), lambda: moments(x, y, workspace=workspace))


def _permuted(
    x: np.ndarray, y: np.ndarray, kind: Kind, rotate: bool, units: tuple[bool, bool], alike: bool, workspace: Workspace
) -> Parts:
    """The covariances of permuted rows: those of the rows as they were, with other cross products."""
    (first, ox), (second, oy) = workspace.origin(x), workspace.origin(y)
    outer = workspace.outer or UNSHARED

    how: dict[str, Any] = {"rotate": rotate, "units": units, "alike": alike, "workspace": outer}
    key = (first, second, kind.__name__, rotate, units, alike)
    known = outer.once("covariances", key, lambda: covariances(first, second, kind, **how))
    rows = tuple(side if order is None else pick(side, order) for side, order in zip(known.rows, (ox, oy), strict=True))
    means = known.means() if kind is centred else (0.0, 0.0)
    xy = workspace.product(*known.rows, *means) if ox is None else None
    whole = replace(known.whole, xy=cross(*rows, *means) if xy is None else xy)
    return replace(known, whole=whole, rows=(rows[0], rows[1]), spaces=(x, y), workspace=workspace)


def cross(
    x: np.ndarray,
    y: np.ndarray,
    mx: np.ndarray | float = 0.0,
    my: np.ndarray | float = 0.0,
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Sum the products (x - mx)'(y[order] - my) (dx, dy) in blocks of rows."""
    out = np.zeros((x.shape[1], y.shape[1]))
    for block in row_blocks(len(x), sum(out.shape), x):
        other = y[block] if order is None else pick(y, order[block])
        out += (np.asarray(x[block], np.float64) - mx).T @ (np.asarray(other, np.float64) - my)
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
    dims: of the space.
    """

    to: np.ndarray
    back: np.ndarray
    sizes: np.ndarray
    dims: int

    @staticmethod
    def of(axes: np.ndarray, sizes: np.ndarray) -> Basis:
        """Orthonormal axes (d, r)."""
        return Basis(axes, axes, sizes, len(axes))

    def before(self, narrow: Narrow) -> Basis:
        """Say where these axes of a rotated space lie among its columns. The way to the axes begins at the rotated rows."""
        lengths = 1.0 if narrow.lengths is None else np.where(np.isfinite(narrow.lengths), narrow.lengths, 0)[:, None]
        return replace(self, back=lengths * (narrow.turn @ self.back), dims=len(narrow.turn))

    @property
    def cut(self) -> int:
        """The number of dims without an axis of their own."""
        return self.dims - len(self.sizes)


def _scaled_axes(products: np.ndarray, lengths: np.ndarray) -> Basis:
    """Find the axes of a space whose columns are first scaled to length 1, so that its rank does not depend on their units.

    products: (d, d). lengths: (d,) of the columns, infinity for columns to leave out; see Parts.lengths.
    """
    units = 1 / lengths
    vectors, sizes = axes(products * np.outer(units, units))
    back = np.where(np.isfinite(lengths), lengths, 0)[:, None] * vectors
    return Basis(units[:, None] * vectors, back, sizes, len(lengths))


def all_axes(products: np.ndarray) -> Basis:
    """Find all principal axes of (d, d) products; see Parts.all_axes."""
    sizes, vectors = np.linalg.eigh(products)
    return Basis.of(vectors, sizes.clip(0))


def cut_note(*bases: Basis) -> str:
    """A note for the convention on how many axes of each space were cut; empty when none was.

    >>> cut_note(Basis.of(np.eye(3)[:, :2], np.ones(2)), Basis.of(np.eye(2), np.ones(2)))
    ', 1 of 3 axes of the first space cut'
    """
    names = ("first", "second")
    notes = [f"{b.cut} of {b.dims} axes of the {name} space" for name, b in zip(names, bases, strict=True) if b.cut]
    return f", {' and '.join(notes)} cut" if notes else ""


@contextmanager
def one_thread(dims: int) -> Iterator[None]:
    """Run BLAS on one thread when there are at most 1024 dims. On a small decomposition, threads wait for each other more than
    they work; on a busy machine a hundred times longer."""
    if dims > 1024:
        yield
        return

    with single_threaded("blas"):
        yield

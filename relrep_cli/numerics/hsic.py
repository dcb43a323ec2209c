"""HSIC with linear kernels, computed from d x d moments: for all rows, and exactly with any one row left out.

For centred columns, the Gram matrices K = u u' and L = v v' have tr(K L) = |u'v|^2. Without row i, u'v changes by
-c u_i v_i' with c = n / (n - 1). So the leave-one-out values follow from u_i' (u'v) v_i, |u_i|^2 and |v_i|^2.
"""

from __future__ import annotations

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.moments import Moments, moments
from relrep_cli.numerics.workspace import UNSHARED, Workspace

ROWS = 512  # rows left out one by one, at most: enough to know the standard error to about 4 %
PAIRS = ((0, 0), (1, 1), (0, 1))  # sides: x with itself, y with itself, both


def centred_moments(x: np.ndarray, y: np.ndarray, *, workspace: Workspace = UNSHARED) -> tuple[Moments, np.ndarray]:
    """Moments of (n, dx) x and (n, dy) y about their means, and (2,) the sums of squares before the means were subtracted."""

    def compute() -> tuple[Moments, np.ndarray]:
        raw = moments(x, y, workspace=workspace)[0]
        return raw.centred(), raw.norms

    return workspace.once("centred moments", (x, y), compute)


@dataclass(frozen=True)
class Terms:
    """The sums from which HSIC of two centred spaces u, v is computed: scalars for all n rows, (m,) for m left-out rows.

    cross: |u'v|^2. norms: sums of |u|^2 and of |v|^2. products: sum of |u|^2 |v|^2.
    """

    n: int
    cross: np.ndarray
    norms: tuple[np.ndarray, np.ndarray]
    products: np.ndarray

    def biased(self) -> np.ndarray:
        """tr(K L)."""
        return self.cross

    def unbiased(self) -> np.ndarray:
        """The U-statistic of Song et al. 2012, simplified for centred columns."""
        n = self.n
        ones = self.norms[0] * self.norms[1] / ((n - 1) * (n - 2))
        return (self.cross + ones - self.products * n / (n - 2)) / (n * (n - 3))


def terms(m: Moments, a: int, b: int) -> Terms:
    """The terms of all rows. a, b: the sides, 0 for x and 1 for y."""
    cross = m.products[m.part(a), m.part(b)]
    return Terms(m.n, np.einsum("ij,ij->", cross, cross), (m.norms[a], m.norms[b]), m.norm_products[a, b])


def squared_lengths(m: Moments, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) of the centred rows of either space; m: their moments."""
    sides = [np.asarray(s, np.float64) - m.shift[m.part(a)] for a, s in enumerate((x, y))]
    return np.einsum("ij,ij->i", sides[0], sides[0]), np.einsum("ij,ij->i", sides[1], sides[1])


def terms_of_permuted(m: Moments, lengths: tuple[np.ndarray, np.ndarray], order: np.ndarray, cross: np.ndarray) -> Terms:
    """The terms of both spaces when the rows of y are permuted. lengths: squared, of the rows. cross: u'v of permuted rows."""
    products = np.asarray(lengths[0] @ lengths[1][order])
    return Terms(m.n, np.einsum("ij,ij->", cross, cross), (m.norms[0], m.norms[1]), products)


def terms_of_rows(m: Moments, x: np.ndarray, y: np.ndarray) -> Terms:
    """The terms of both spaces whose rows are in other orders than when their moments m were taken."""
    mean, cross, products = m.shift, np.zeros((m.dx, len(m.shift) - m.dx)), np.zeros(())
    for block in row_blocks(len(x), len(mean), x, y):
        u, v = x[block] - mean[: m.dx], y[block] - mean[m.dx :]
        cross += u.T @ v
        products = np.asarray(products + np.einsum("ij,ij->i", u, u) @ np.einsum("ij,ij->i", v, v))
    return Terms(m.n, np.einsum("ij,ij->", cross, cross), (m.norms[0], m.norms[1]), products)


@dataclass(frozen=True)
class Rows:
    """m centred rows of one space (m, d), their squared lengths (m,), and the root mean square length of all rows."""

    rows: np.ndarray
    norms: np.ndarray
    scale: float


def some_rows(m: Moments, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> list[Rows]:
    """Centre the given rows (m,) of x (n, dx) and of y (n, dy)."""
    sides = [np.asarray(pick(s, rows), np.float64) - m.shift[m.part(a)] for a, s in enumerate((x, y))]
    return [Rows(s, np.einsum("ij,ij->i", s, s), float(np.sqrt(m.norms[a] / m.n))) for a, s in enumerate(sides)]


def terms_without(m: Moments, rows: list[Rows], a: int, b: int) -> Terms:
    """The terms without each of the given rows in turn. a, b: the sides, 0 for x and 1 for y."""
    whole, along, (u, v), n = terms(m, a, b), _along(m, rows, a, b), (rows[a], rows[b]), m.n
    c, h, p, q, both = n / (n - 1), 1 / (n - 1), u.norms, v.norms, u.norms * v.norms
    weighted = v.rows @ m.weighted[m.part(b), a] + u.rows @ m.weighted[m.part(a), b]
    products = (  # leaving out a row moves the mean, and so shifts all other rows by h times that row
        (whole.products - both)
        + 2 * h * (weighted - 2 * both)
        + h**2 * ((m.norms[a] - p) * q + (m.norms[b] - q) * p + 4 * (along - both))
        - 3 * h**3 * both
    )
    cross = whole.cross - 2 * c * along + c**2 * both
    return Terms(n - 1, cross, (m.norms[a] - c * p, m.norms[b] - c * q), products)


def own_terms_without(m: Moments, rows: list[Rows], side: int, x: np.ndarray, workspace: Workspace) -> Terms:
    """The terms of one space without each of the given rows, computed once for all pairs of x, the space of this side."""
    shape = (3, len(rows[side].rows))
    known = workspace.space_array(x, ("own terms without rows", m.n), shape, np.float64)
    if known is None:
        without = terms_without(m, rows, side, side)
        known = np.stack([without.cross, without.norms[0], without.products])
        workspace.put_space_array(x, ("own terms without rows", m.n), known)
    return Terms(m.n - 1, known[0], (known[1], known[1]), known[2])


def _along(m: Moments, rows: list[Rows], a: int, b: int) -> np.ndarray:
    """(m,) u_i' (u'v) v_i, computed on scaled rows to avoid overflow and underflow."""
    u, v = (rows[s].rows / rows[s].scale for s in (a, b))
    size = rows[a].scale * rows[b].scale
    middle = m.products[m.part(a), m.part(b)] / (m.n * size)
    return np.einsum("ij,ij->i", u @ middle, v) * m.n * size**2

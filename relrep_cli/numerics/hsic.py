"""HSIC of linear kernels from moments, d x d: of all rows, and exactly without any one of them.

With columns centred, Gram matrices K = u u', L = v v' have tr(K L) = |u'v|^2; without row i, u'v loses c u_i v_i', where
c = n / (n - 1). So all that one row takes away follows from u_i' (u'v) v_i, |u_i|^2 and |v_i|^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from relrep_cli.numerics.blocks import Moments, moments, pick
from relrep_cli.numerics.memo import shared

ROWS = 512  # left out one by one, at most: as many say how widely they spread to about 4 %, and an interval follows
PAIRS = ((0, 0), (1, 1), (0, 1))  # sides: x with itself, y with itself, both


@shared
def centred_moments(x: np.ndarray, y: np.ndarray) -> tuple[Moments, np.ndarray]:
    """Moments of (n, dx) x and (n, dy) y about their means, and the (2,) squares that they were taken from by subtraction."""
    found = moments(x, y)[0]
    return found.centred(), found.norms


@dataclass(frozen=True)
class Terms:
    """What HSIC needs of two centred spaces u, v of n rows: of all rows (scalars) or without each of m rows (m,).

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
        """The U-statistic of Song et al. 2012, which for centred columns needs no more than this."""
        n = self.n
        ones = self.norms[0] * self.norms[1] / ((n - 1) * (n - 2))
        return (self.cross + ones - self.products * n / (n - 2)) / (n * (n - 3))


def terms(m: Moments, a: int, b: int) -> Terms:
    """Of all rows, for sides a and b."""
    cross = m.products[m.part(a), m.part(b)]
    return Terms(m.n, np.einsum("ij,ij->", cross, cross), (m.norms[a], m.norms[b]), m.norm_products[a, b])


@dataclass(frozen=True)
class Rows:
    """Some centred rows of one space (m, d), their squared lengths (m,), and the root mean square length of all rows."""

    rows: np.ndarray
    norms: np.ndarray
    scale: float


def some_rows(m: Moments, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> list[Rows]:
    """These rows (m,) of x (n, dx) and of y (n, dy)."""
    sides = [np.asarray(pick(s, rows), np.float64) - m.shift[m.part(a)] for a, s in enumerate((x, y))]
    return [Rows(s, np.einsum("ij,ij->i", s, s), float(np.sqrt(m.norms[a] / m.n))) for a, s in enumerate(sides)]


def terms_without(m: Moments, rows: list[Rows], a: int, b: int) -> Terms:
    """Without each of the rows in turn, for sides a and b."""
    whole, along, (u, v), n = terms(m, a, b), _along(m, rows, a, b), (rows[a], rows[b]), m.n
    c, h, p, q, both = n / (n - 1), 1 / (n - 1), u.norms, v.norms, u.norms * v.norms
    weighted = v.rows @ m.weighted[m.part(b), a] + u.rows @ m.weighted[m.part(a), b]
    products = (  # all other rows move by h times the one left out, since their mean does
        (whole.products - both)
        + 2 * h * (weighted - 2 * both)
        + h**2 * ((m.norms[a] - p) * q + (m.norms[b] - q) * p + 4 * (along - both))
        - 3 * h**3 * both
    )
    cross = whole.cross - 2 * c * along + c**2 * both
    return Terms(n - 1, cross, (m.norms[a] - c * p, m.norms[b] - c * q), products)


def _along(m: Moments, rows: list[Rows], a: int, b: int) -> np.ndarray:
    """(m,) u_i' (u'v) v_i, at a scale where nothing over- or underflows."""
    u, v = (rows[s].rows / rows[s].scale for s in (a, b))
    size = rows[a].scale * rows[b].scale
    middle = m.products[m.part(a), m.part(b)] / (m.n * size)
    return np.einsum("ij,ij->i", u @ middle, v) * m.n * size**2

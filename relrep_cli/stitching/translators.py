"""Translators: maps from one space into another, fitted on parallel anchors alone.

A registered function takes the anchors in both spaces, x (m, dx) and y (m, dy) with row i the same item, and gives an Affine
that carries any rows (n, dx) to (n, dy). Anchors are centred and scaled before the fit, which the map undoes. Dims may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from functools import cached_property
from typing import Annotated, Any, Concatenate, Literal, TypeVar

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.numerics.distances import unit
from relrep_cli.numerics.halves import halved, widened
from relrep_cli.numerics.recent_results import recent
from relrep_cli.numerics.singular_values import thin_svd
from relrep_cli.numerics.spool import spool
from relrep_cli.numerics.whitening import LEAST as LEAST_NUMBER
from relrep_cli.numerics.whitening import deviations, unit_of

PAPER = "Maiorca et al. 2023, Latent space translation via semantic alignment"
TURNS = frozenset({"scale", "orthogonal", "permutation", "signed-permutation"})
SIMILAR, LINEAR = TURNS | {"translation"}, TURNS | {"axis-scale", "linear"}
AFFINE = SIMILAR | LINEAR | {"affine"}
LEAST = 1e-8  # of the largest singular value: a direction below it was not seen, and is not turned into another
LEAST_SQUARE = 1e-12  # the same of products of two spaces, and of covariances; below it float64 adds up to nothing but rounding

Scaling = Annotated[
    Literal["whole", "axes"],
    Param("How anchors are scaled: the space as a whole, or each axis to deviation 1 as published.", choices=("whole", "axes")),
]
Rank = Annotated[int, Param("Rank of the low-rank translator.", minimum=1)]
Mixed = Annotated[float, Param("Share of the mean variance mixed into the covariances of cca.", minimum=0, maximum=1)]
Least = Annotated[
    float, Param("Leave out directions of the anchors that are weaker than this share of the strongest.", minimum=0, maximum=1)
]


@dataclass(frozen=True, eq=False)
class Affine:
    """x -> (x - source) @ matrix + target, where source is (dx,), matrix (dx, dy) and target (dy,), all float64.

    along: before the product each row is brought to length 1 and after it given back its length times this number; None
    leaves rows as they are. unit_rows: each row of x is brought to length 1 before anything else.
    """

    source: np.ndarray
    matrix: np.ndarray
    target: np.ndarray
    along: float | None = None
    unit_rows: bool = False

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(n, dy) float64 of (n, dx), block by block."""
        out = np.empty((len(x), self.matrix.shape[1]))
        for block in row_blocks(len(x), max(self.matrix.shape), x):
            out[block] = self.rows(x[block])
        return out

    def narrow(self, x: np.ndarray) -> np.ndarray:
        """(n, dy) float32 of (n, dx), on disk when large."""
        out = spool((len(x), self.matrix.shape[1]), np.float32)
        for block in row_blocks(len(x), max(self.matrix.shape), x, out):
            out[block] = self.rows(x[block])
        return out

    def rows(self, x: np.ndarray) -> np.ndarray:
        """The same of one block."""
        z = np.asarray(x, np.float64)
        z = (unit(z) if self.unit_rows else z) - self.source
        if self.along is None:
            return z @ self.matrix + self.target
        u = unit_of([z])
        part = z / u
        length = np.sqrt(np.einsum("ij,ij->i", part, part))[:, None] * (u * self.along)
        return unit(z) @ self.matrix * length + self.target

    def stored_rows(self, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """The rows of one block that are to be stored as `dtype`.

        Rows of float16 that stay so are multiplied in float32, whose rounding is a thousandth of theirs.
        """
        if self.along is not None or x.dtype != np.float16 or dtype != np.float16 or not self._in_float32:
            return self.rows(x)
        source, matrix, target = self._in_float32
        if not self.unit_rows:
            return halved(widened(x, source) @ matrix, target)
        z = widened(x, np.zeros_like(source))
        length = np.sqrt(np.einsum("ij,ij->i", z, z))[:, None]
        z /= np.where(length == 0, 1, length)
        z -= source
        return halved(z @ matrix, target)

    @cached_property
    def _in_float32(self) -> tuple[np.ndarray, ...]:
        """The parts in float32; none where a number is too large for sums there, or all of the matrix is tiny."""
        parts = self.source, self.matrix, self.target
        largest = max(float(np.abs(part).max(initial=0)) for part in parts)
        if not 1e-15 < float(np.abs(self.matrix).max(initial=0)) <= largest < 1e15:
            return ()
        return tuple(part.astype(np.float32) for part in parts)


Fitting = Callable[Concatenate[np.ndarray, np.ndarray, ...], Affine]  # anchors (m, dx), (m, dy), keywords -> map
AnyFitting = TypeVar("AnyFitting", bound=Fitting)


@dataclass(frozen=True, kw_only=True, eq=False)
class Translator(Entry[Fitting]):
    """A translator with its traits.

    recovers: transformations between two spaces that it finds exactly, given more anchors than dims.
    """

    recovers: Set[str]
    source: str

    def __call__(self, function: AnyFitting) -> AnyFitting:
        """Register the function."""
        TRANSLATORS.add(self.of(function))
        return function


TRANSLATORS = Registry("translator", Translator)
translator = Translator


@translator(recovers=SIMILAR, source=PAPER + ", sec. 3.2: ortho; Schönemann 1966")
def orthogonal(x: np.ndarray, y: np.ndarray, *, scaling: Scaling = "whole") -> Affine:
    """The rotation or reflection that brings the anchors nearest to each other (Procrustes).

    x: (m, dx) and y: (m, dy) anchors.

    R = U V' of the singular value decomposition U S V' = X'Y. Directions without variance in either space are left out instead
    of being rotated arbitrarily; with fewer anchors than dims, most directions are of this kind.
    """
    a, b = scaled(x, scaling), scaled(y, scaling)
    return between(a, b, nearest_rotation(a.z.T @ b.z))


@translator(recovers=LINEAR, source=PAPER + ", sec. 3.2: linear")
def linear(x: np.ndarray, y: np.ndarray) -> Affine:
    """Least squares without a shift: the origin of one space is that of the other.

    x: (m, dx) and y: (m, dy) anchors.

    M = X^+ Y, the least of the matrices that minimise |X M - Y|.
    """
    a, b = (_Scaled(wide, np.zeros(wide.shape[1]), np.full(wide.shape[1], u)) for wide, u in map(_in_units, (x, y)))
    return between(a, b, np.linalg.lstsq(a.z, b.z, rcond=LEAST)[0])


@translator(recovers=AFFINE, source=PAPER + ", sec. 3.2: affine, here in closed form")
def affine(x: np.ndarray, y: np.ndarray, *, scaling: Scaling = "whole") -> Affine:
    """Least squares with a shift.

    x: (m, dx) and y: (m, dy) anchors.

    M = X^+ Y of the centred anchors. With fewer anchors than dims it fits them exactly, noise and all: see ridge.
    """
    a, b = scaled(x, scaling), scaled(y, scaling)
    return between(a, b, np.linalg.lstsq(a.z, b.z, rcond=LEAST)[0])


@translator(recovers=AFFINE, source="Hoerl and Kennard 1970; leave-one-out by Allen 1974")
def ridge(x: np.ndarray, y: np.ndarray, *, scaling: Scaling = "whole") -> Affine:
    """Least squares with a shift and a penalty, which leaving out one anchor at a time chooses.

    x: (m, dx) and y: (m, dy) anchors.

    M = (X'X + p I)^-1 X'Y. Of 25 penalties p, from 1e-10 to 100 times the mean squared singular value of X, the one with the
    smallest leave-one-out error over the anchors is taken, in closed form.
    """
    a, b = scaled(x, scaling), scaled(y, scaling)
    return between(a, b, penalised(a.z, b.z))


@translator(recovers=frozenset(), source="reduced-rank regression: Izenman 1975; Mukherjee and Zhu 2011 with a penalty")
def low_rank(x: np.ndarray, y: np.ndarray, *, scaling: Scaling = "whole", rank: Rank = 32) -> Affine:
    """The ridge map through few directions.

    x: (m, dx) and y: (m, dy) anchors.

    M V V' for the ridge map M and the leading right singular vectors V of X M: of all maps of that rank the one that stays
    nearest to its predictions. Recovers what is of no higher rank.
    """
    a, b = scaled(x, scaling), scaled(y, scaling)
    full = penalised(a.z, b.z)
    leading = thin_svd(a.z @ full)[2][:rank]
    return between(a, b, full @ leading.T @ leading)


@translator(recovers=SIMILAR, source="Hotelling 1936; shrunk as by Vinod 1976")
def cca(x: np.ndarray, y: np.ndarray, *, scaling: Scaling = "whole", mixed: Mixed = 0.2) -> Affine:
    """Through canonical variates: whiten, rotate, and colour again.

    x: (m, dx) and y: (m, dy) anchors.

    M = Sx^-1/2 U V' Sy^1/2 with U S V' = Sx^-1/2 Sxy Sy^-1/2: each canonical variate of x is taken for that of y, at full
    strength. Sx and Sy are mixed with their mean variance; unmixed, every affine map is recovered.
    """
    a, b = scaled(x, scaling), scaled(y, scaling)
    (down_x, _), (down_y, up_y) = (recent(_roots, v.z, mixed) for v in (a, b))
    return between(a, b, down_x @ nearest_rotation(down_x.T @ (a.z.T @ b.z) @ down_y) @ up_y.T)


@translator(recovers=SIMILAR, source="Maiorca et al. 2024, Latent space translation via inverse relative projection")
def inverse(x: np.ndarray, y: np.ndarray, *, least: Least = 0.1) -> Affine:
    """To cosines with the anchors of x, and back from them with the pseudo-inverse of the anchors of y.

    x: (m, dx) and y: (m, dy) anchors.

    X_u' (Y_u')^+ for anchors of length 1 about their mean. Cosines know no length: each row keeps its own, in units of the
    anchors' median. Weak directions of the anchors are left out of the pseudo-inverse, else noise in the cosines is
    magnified; the paper prunes anchors and averages subsets to the same end.
    """
    (a, unit_a), (b, unit_b) = map(_in_units, (x, y))
    source, target = a.mean(0), b.mean(0)
    a, b = a - source, b - target
    long = [np.linalg.norm(v, axis=1) for v in (a, b)]
    seen = (long[0] > 0) & (long[1] > 0)
    along = float(np.median(long[1][seen] / long[0][seen])) if seen.any() else 0.0
    turn = unit(a).T @ recent(np.linalg.pinv, unit(b).T, max(least, LEAST))
    return Affine(source * unit_a, turn, target * unit_b, along * (unit_b / unit_a))


@dataclass(frozen=True, eq=False)
class _Scaled:
    """Anchors z (m, d), centred and scaled: z * scale + mean gives them back."""

    z: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


def _in_units(x: np.ndarray) -> tuple[np.ndarray, float]:
    """Anchors over their unit, and this; zeros where all are so small that their inverse overflows."""
    unit = unit_of([x])
    wide = np.asarray(x, np.float64) / unit
    return (np.zeros_like(wide) if np.abs(wide).max(initial=0) < LEAST_NUMBER else wide), unit


def scaled(x: np.ndarray, scaling: str) -> _Scaled:
    wide, u = _in_units(x)
    mean, spread = wide.mean(0), deviations(wide.var(0))
    if scaling == "whole":
        spread = np.full_like(spread, np.sqrt(wide.var(0).sum()) or 1.0)
    return _Scaled((wide - mean) / spread, mean * u, spread * u)


def between(a: _Scaled, b: _Scaled, matrix: np.ndarray) -> Affine:
    """The map of scaled anchors, as one of the spaces themselves."""
    return Affine(a.mean, matrix / a.scale[:, None] * b.scale, b.mean)


def nearest_rotation(products: np.ndarray) -> np.ndarray:
    """The nearest orthogonal matrix, in the directions that `products` (dx, dy) holds."""
    u, s, v = thin_svd(products)
    seen = s > LEAST_SQUARE * s.max(initial=0)
    return u[:, seen] @ v[seen]


def penalised(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(dx, dy) ridge regression of centred y (m, dy) on centred x (m, dx), its penalty by leave-one-out."""
    u, s, v = recent(thin_svd, x)
    seen = s > LEAST * s.max(initial=0)
    u, s, v = u[:, seen], s[seen], v[seen]
    along = u.T @ y
    penalties = np.geomspace(1e-10, 1e2, 25) * (float((s**2).mean()) if len(s) else 1.0)
    kept = [s**2 / (s**2 + p) for p in penalties]
    errors = [_left_out(u, y, along, keep) for keep in kept]
    best = kept[int(np.argmin(errors))]
    return v.T @ ((best / s)[:, None] * along)


def _left_out(u: np.ndarray, y: np.ndarray, along: np.ndarray, keep: np.ndarray) -> float:
    """Mean squared error of each row by the fit of all others: residuals over one minus leverage, the mean's own included."""
    leverage = np.square(u) @ keep + 1 / len(u)
    left = (y - u @ (keep[:, None] * along)) / np.maximum(1 - leverage, 1e-12)[:, None]
    return float(np.square(left).mean())


def _roots(z: np.ndarray, mixed: float) -> tuple[np.ndarray, np.ndarray]:
    """(d, r) inverse root and root of the covariance of z, in the directions that have variance."""
    spread = z.T @ z / len(z)
    spread = (1 - mixed) * spread + mixed * np.trace(spread) / len(spread) * np.eye(len(spread))
    values, vectors = np.linalg.eigh(spread)
    seen = values > LEAST_SQUARE * max(values[-1], 0)
    root, vectors = np.sqrt(values[seen]), vectors[:, seen]
    return vectors / root, vectors * root


def fit(name: str, x: np.ndarray, y: np.ndarray, params: dict[str, Any]) -> Affine:
    """The named translator from anchors x (m, dx) to the same anchors y (m, dy)."""
    return TRANSLATORS[name].function(x, y, **params)

"""Canonical correlation analysis and its variants, computed from d x d moments."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated

import numpy as np

from relrep_cli.base.registry import Param
from relrep_cli.metrics.families import canonical_metric
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.numerics.chance_levels import UNKNOWN, Level, drawn
from relrep_cli.numerics.covariances import Basis, Covariances, covariances, cut_note
from relrep_cli.numerics.singular_values import thin_svd
from relrep_cli.numerics.workspace import UNSHARED, Workspace

Variance = Annotated[float, Param("Share of the variance that the kept principal axes hold together.", minimum=0.01, maximum=1)]
DRAWS = 64  # at least


@canonical_metric(
    invariant={"axis-scale", "linear", "orthogonal", "permutation", "scale", "translation"},
    source="Hotelling 1936; Raghu et al. 2017",
)
def cca(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Mean canonical correlation.

    x: (n, dx) and y: (n, dy) floats. There are as many correlations as the narrower space has dimensions. Both spaces are
    reduced to their rank, so zero or repeated columns add nothing.

    Raises NotApplicable when there are too few items for the dims, or when a space is constant.

    >>> round(cca(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [1.0]])).value, 6)  # sqrt(3 / 4)
    0.866025
    """
    return _score(x, y, None, _mean, "mean canonical correlation", seed, workspace)


@canonical_metric(source="Raghu et al. 2017")
def svcca(x: np.ndarray, y: np.ndarray, *, variance: Variance = 0.99, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Mean canonical correlation of the leading principal axes.

    x: (n, dx) and y: (n, dy) floats. Each space keeps the fewest axes whose cumulative share of variance reaches `variance`.

    Raises NotApplicable when there are too few items for the axes, or when a space is constant.
    """
    convention = f"mean canonical correlation of principal axes with cumulative share of variance >= {variance}"
    return _score(x, y, variance, _mean, convention, seed, workspace)


@canonical_metric(
    symmetric=False,
    invariant={"permutation", "scale", "signed-permutation", "translation"},
    source="Morcos et al. 2018, eq. 3",
)
def pwcca(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Canonical correlations weighted by how much of the first space their variates account for.

    x: (n, dx) and y: (n, dy) floats. The weights are a_i = sum_j |<h_i, x_j>|, with the centred columns x_j and the
    orthonormal variates h_i of x.

    Raises NotApplicable when there are too few items for the dims, or when a space is constant.
    """

    def value(correlations: np.ndarray, variates: np.ndarray, axes_x: np.ndarray) -> float:
        weights = np.abs(variates @ axes_x.T).sum(1)
        return min(1.0, float(weights @ correlations / weights.sum()))  # rounding may bring it above 1

    return _score(x, y, None, value, "weights from the first space (asymmetric)", seed, workspace)


Value = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def _mean(correlations: np.ndarray, variates: np.ndarray, axes_x: np.ndarray) -> float:
    return float(correlations.mean())


def _score(
    x: np.ndarray, y: np.ndarray, share: float | None, value: Value, convention: str, seed: int, workspace: Workspace
) -> Score:
    """share: keep principal axes that hold this share of the variance; None keeps the rank, whatever the units of columns."""
    own_units = share is None
    parts = covariances(x, y, units=(own_units, own_units), workspace=workspace)
    sides = [parts.scaled_axes(side) if share is None else parts.axes(side, share) for side in (0, 1)]
    if own_units:
        convention += f", columns scaled to length 1, ranks cut by eigenvalues{cut_note(*sides)}"
    bx, by = (side.to for side in sides)
    for name, basis in (("first", bx), ("second", by)):
        if basis.shape[1] >= len(x) - 1:
            raise NotApplicable(
                f"{len(x)} items are not more than the {basis.shape[1]} dims of the {name} space need: any two such spaces "
                "correlate fully; take more items, or svcca with a smaller --variance"
            )

    def of(c: Covariances) -> float:
        return value(*canonical(c.within(bx, by)), sides[0].back)

    whole = value(*_canonical_of_axes(parts.whole.xy, sides[0], sides[1], value is not _mean), sides[0].back)
    level = chance_level(len(x), bx.shape[1], by.shape[1], seed) if workspace.intervals else UNKNOWN
    jackknife = parts.jackknife(of)
    return Score(whole, level.mean, convention, jackknife=jackknife, draws=level.draws, chance_error=level.error)


def _canonical_of_axes(xy: np.ndarray, a: Basis, b: Basis, variates: bool) -> tuple[np.ndarray, np.ndarray]:
    """As `canonical`, of xy (dx, dy) on axes that do not correlate within a space. variates: whether these are wanted."""
    roots = np.sqrt(a.sizes)
    middle = (a.to / roots).T @ xy @ (b.to / np.sqrt(b.sizes))
    if not variates:
        return np.linalg.svd(middle, compute_uv=False).clip(0, 1), np.empty(0)
    u, s, _ = thin_svd(middle)
    return s.clip(0, 1), u.T * roots


def canonical(c: Covariances) -> tuple[np.ndarray, np.ndarray]:
    """Compute the canonical correlations (r,), and the products (r, rx) of their variates in x with the axes of x.

    c: covariances of full rank.
    """
    from scipy.linalg import solve_triangular

    lx, ly = np.linalg.cholesky(c.xx), np.linalg.cholesky(c.yy)
    cross = solve_triangular(ly, solve_triangular(lx, c.xy, lower=True).T, lower=True).T
    u, s, _ = thin_svd(cross)
    return s.clip(0, 1), u.T @ lx.T


@cache
def chance_level(n: int, p: int, q: int, seed: int = 0) -> Level:
    """The expected mean canonical correlation of p and q dimensions when n centred rows are rotated at random.

    Squared correlations follow a Jacobi ensemble. It is drawn in its bidiagonal form (Edelman and Sutton 2008), so the cost
    does not depend on n.
    """
    from scipy.linalg import eigh_tridiagonal

    p, q, rows = min(p, q), max(p, q), n - 1
    forced = max(0, p + q - rows)  # this many correlations are 1
    p, q = (rows - q, rows - p) if forced else (p, q)
    if p == 0:
        return Level(1.0, 0, 0.0)
    k, a, b = np.arange(p, 0, -1), q - p, rows - p - q

    def draw(rng: np.random.Generator) -> float:
        c = rng.beta((a + k) / 2, (b + k) / 2)
        other = rng.beta(k[1:] / 2, (a + b + 1 + k[1:]) / 2)
        diagonal = np.sqrt(c * np.append(1, 1 - other))
        above = np.sqrt((1 - c[:-1]) * other)
        squares = diagonal**2 + np.append(above**2, 0)
        values = eigh_tridiagonal(squares, above * diagonal[1:], eigvals_only=True)
        return (float(np.sqrt(values.clip(0, 1)).sum()) + forced) / (p + forced)

    return drawn(draw, 1.0, seed, DRAWS)

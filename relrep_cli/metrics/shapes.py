"""Metrics of shapes: how well a rotation brings one space onto the other. The narrower space is padded with zeros."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from relrep_cli.metrics.families import shape_metric
from relrep_cli.metrics.forms import AS
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.neighbors import unit_rows
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.chance_levels import UNKNOWN, Level, chance, drawn
from relrep_cli.numerics.covariances import Covariances, Parts, covariances, cross, cut_note, raw
from relrep_cli.numerics.singular_values import thin_svd
from relrep_cli.numerics.workspace import UNSHARED, Workspace

NEAR = 1e-5  # squared distances below this share are summed row by row, because a difference of large sums is inexact
FAR = 2e10  # squared mean over variance above which axes of raw moments are lost in rounding
WORK = 4e9  # multiply-adds of the least random pairings together


def nuclear(c: Covariances) -> float:
    """The nuclear norm of xy: the largest sum of products of paired rows after a rotation."""
    return float(np.linalg.svd(c.xy, compute_uv=False).sum())


def _nuclear_of(parts: Parts) -> float:
    """The nuclear norm of all rows. The metrics of one run share it; each permutation of the rows has its own."""
    (x, ox), (y, oy) = (parts.workspace.origin(side) for side in parts.spaces)
    key = (x, y, ox, oy, parts.powers)
    return parts.workspace.once("nuclear norm", key, lambda: nuclear(parts.whole))


def _similarity(c: Covariances, norm: float | None = None) -> float:
    """norm: the nuclear norm, where it is known."""
    sx, sy = c.spreads
    return float(min(1.0, (nuclear(c) if norm is None else norm) / (np.sqrt(sx) * np.sqrt(sy))))


def _distance(c: Covariances, norm: float | None = None) -> float:
    return float(np.sqrt(2 - 2 * _similarity(c, norm)))


def _angle(c: Covariances) -> float:
    return float(2 * np.arcsin(min(1.0, _distance(c) / 2)))


def _size(c: Covariances, norm: float | None = None) -> float:
    sx, sy = c.spreads
    return float(np.sqrt(max(0.0, sx + sy - 2 * (nuclear(c) if norm is None else norm))))


@shape_metric(
    form=AS("distance"), bounds=(0, 2**0.5), identity=0, higher_is_closer=False, source="Ding et al. 2021; Williams et al. 2021"
)
def procrustes(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Distance of the best rotation, of centred spaces of norm 1.

    x: (n, dx) and y: (n, dy) floats. sqrt(2 - 2 |x'y|_*), between 0 and sqrt(2), where |.|_* is the nuclear norm.

    Raises NotApplicable for fewer than 3 items or a constant space.

    >>> line = np.array([[0.0], [1.0], [2.0]])
    >>> round(procrustes(line, np.array([[0.0], [1.0], [1.0]])).value, 6)  # correlation sqrt(3 / 4)
    0.517638
    """
    parts = covariances(x, y, workspace=workspace)
    sx, sy = parts.whole.spreads
    value = _distance(parts.whole, _nuclear_of(parts))
    if value**2 < NEAR:
        value = _by_rows(parts, 1 / np.sqrt(sx), 1 / np.sqrt(sy))
    level = chance(parts, _distance, 0.0, seed=seed)
    return _score(value, level, "columns centred, Frobenius norms 1", parts.jackknife(_distance))


@shape_metric(
    form=AS("size"),
    bounds=(0, None),
    identity=0,
    higher_is_closer=False,
    invariant={"orthogonal", "permutation", "translation"},
    source="Williams et al. 2021, size-and-shape distance",
)
def procrustes_size(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Distance of the best rotation of centred spaces, size kept.

    x: (n, dx) and y: (n, dy) floats. sqrt(|x|^2 + |y|^2 - 2 |x'y|_*). The value grows with sqrt(n).
    """
    parts = covariances(x, y, alike=True, workspace=workspace)
    value = _size(parts.whole, _nuclear_of(parts))
    if value**2 < NEAR * sum(parts.whole.spreads):
        value = _by_rows(parts, 1.0, 1.0)
    jackknife = parts.jackknife(lambda c: _size(c) * np.sqrt(len(x) / c.n))
    level = chance(parts, _size, 0.0, seed=seed)
    score = _score(value, level, "columns centred, not normalised, summed over items", jackknife)
    return score.times(parts.powers[0])


@shape_metric(
    form=AS("angle"),
    bounds=(0, np.pi / 2),
    identity=0,
    higher_is_closer=False,
    source="Williams et al. 2021, angular shape distance",
)
def angular_procrustes(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Angle between the spaces after the best rotation, in radians.

    x: (n, dx) and y: (n, dy) floats. arccos |x'y|_* of centred spaces of norm 1, computed from the arcsine of half the
    distance, which is precise for small angles.
    """
    cosine = procrustes(x, y, seed=seed, workspace=workspace)
    jackknife = None if cosine.jackknife is None else 2 * np.arcsin(np.minimum(1, cosine.jackknife / 2))
    level = chance(covariances(x, y, workspace=workspace), _angle, 0.0, seed=seed)
    value = float(2 * np.arcsin(min(1.0, cosine.value / 2)))
    return _score(value, level, "radians; columns centred, Frobenius norms 1", jackknife)


@shape_metric(form=AS("similarity"), source="Tang et al. 2020, normalised Bures similarity")
def bures(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Normalised Bures similarity of the linear kernels.

    x: (n, dx) and y: (n, dy) floats. |x'y|_* / (|x| |y|) of centred columns: the cosine of the angular Procrustes distance.
    """
    parts = covariances(x, y, workspace=workspace)
    level, value = chance(parts, _similarity, 1.0, seed=seed), _similarity(parts.whole, _nuclear_of(parts))
    return replace(_score(value, level, "linear kernel, columns centred", parts.jackknife(_similarity)), scale="from one")


def _score(value: float, level: Level, convention: str, jackknife: np.ndarray | None) -> Score:
    return Score(value, level.mean, convention, jackknife=jackknife, draws=level.draws, chance_error=level.error)


def _by_rows(parts: Parts, fx: float, fy: float) -> float:
    """The norm of fx x Q - fy y R for centred rows, with the best rotations Q, R. Precise for nearly equal spaces."""
    (x, y), (mx, my) = parts.rows, parts.means()
    u, _, vt = np.linalg.svd(parts.whole.xy)
    width = max(len(u), len(vt))
    total = 0.0
    for block in row_blocks(len(x), width, x, y):
        left = np.zeros((block.stop - block.start, width))
        left[:, : len(u)] = fx * ((x[block] - mx) @ u)
        left[:, : len(vt)] -= fy * ((y[block] - my) @ vt.T)
        total += float(np.einsum("ij,ij->", left, left))
    return float(np.sqrt(total))


@shape_metric(
    bounds=(-1, 1),
    invariant={"orthogonal", "permutation", "scale"},
    source="Hamilton et al. 2016; Klabunde et al. 2023, aligned cosine similarity",
)
def aligned_cosine(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Mean cosine of paired rows after the rotation that suits all rows best.

    x: (n, dx) and y: (n, dy) floats, not centred. A zero row has cosine 0 with everything.
    """
    parts = covariances(x, y, raw, workspace=workspace)
    x, y = parts.rows
    rows = _aligned(x, y, parts.whole.xy)
    level = UNKNOWN
    if workspace.intervals:

        def draw(rng: np.random.Generator) -> float:
            order = rng.permutation(len(x))
            return float(_aligned(x, y, cross(x, y, order=order), order).mean())

        level = drawn(draw, 1.0, seed, int(np.clip(WORK // (4 * x.size * y.shape[1]), 2, 10)))
    convention = "rows not centred, best rotation"
    return Score(float(rows.mean()), level.mean, convention, rows, draws=level.draws, chance_error=level.error)


def _aligned(x: np.ndarray, y: np.ndarray, xy: np.ndarray, order: np.ndarray | None = None) -> np.ndarray:
    """(n,) cosines of the rows of x and y under the rotation that maximises the trace of x'y."""
    u, _, vt = thin_svd(xy)
    out = np.empty(len(x))
    for block in row_blocks(len(x), x.shape[1] + y.shape[1], x, *([y] if order is None else [])):
        a, b = x[block], y[block] if order is None else pick(y, order[block])
        a, b = (unit_rows(np.asarray(side, np.float64)) for side in (a, b))
        out[block] = np.einsum("ij,ij->i", a @ u, b @ vt.T).clip(-1, 1)
    return out


@shape_metric(
    needs={"n > d"}, invariant={"axis-scale", "linear", "orthogonal", "permutation", "scale"}, source="May et al. 2019"
)
def eigenspace_overlap(x: np.ndarray, y: np.ndarray, *, workspace: Workspace = UNSHARED) -> Score:
    """Overlap of the subspaces of n dimensions that the columns span.

    x: (n, dx) and y: (n, dy) floats, not centred. |U'V|^2 / max(rank), with orthonormal bases U and V of the columns.

    Raises NotApplicable when there are no more items than dims, or when a space lies too far from the origin.
    """
    parts = covariances(x, y, raw, rotate=False, workspace=workspace)
    _refuse_far(parts)
    a, b = parts.scaled_axes(0), parts.scaled_axes(1)
    ranks = len(a.sizes), len(b.sizes)
    if max(ranks) >= len(x):
        raise NotApplicable(f"{len(x)} items are not more than {max(ranks)} dims: the columns span everything")

    def value(c: Covariances) -> float:
        inner = c.within(a.to, b.to)
        shared = np.linalg.solve(inner.xx, inner.xy) @ np.linalg.solve(inner.yy, inner.xy.T)
        return float(np.clip(np.trace(shared) / max(ranks), 0, 1))

    sums = parts.moments.sums + parts.moments.n * parts.moments.shift
    ones = [
        float(np.square(sums[parts.moments.part(i)] @ side.to / np.sqrt(side.sizes)).sum()) for i, side in enumerate((a, b))
    ]
    convention = f"columns not centred, scaled to length 1, ranks cut by eigenvalues{cut_note(a, b)}"
    expected = _expected_overlap(len(x), *ranks, *ones) / max(ranks)
    return Score(value(parts.whole), expected, convention, jackknife=parts.jackknife(value))


def _refuse_far(parts: Parts) -> None:
    m = parts.moments
    means, spreads = m.n * np.square(m.shift + m.sums / m.n), np.diag(m.products) - np.square(m.sums) / m.n
    for side, name in enumerate(("first", "second")):
        if means[m.part(side)].sum() > FAR * spreads[m.part(side)].sum() > 0:
            raise NotApplicable(f"the {name} space lies so far from the origin that its raw squares lose its axes; center it")


def _expected_overlap(n: int, p: int, q: int, ones_p: float, ones_q: float) -> float:
    """The mean of tr(K L) over all orders of the rows of L. K, L: projections of ranks p, q with sums ones_p, ones_q."""
    return p * q / n + (ones_p - p) * (ones_q - q) / (n * (n - 1))

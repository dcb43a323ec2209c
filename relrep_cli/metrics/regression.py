"""Metrics of shapes that predict one space from the other by a linear map."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Param
from relrep_cli.metrics.families import shape_metric
from relrep_cli.metrics.forms import FIT
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.numerics.covariances import Basis, Covariances, Parts, all_axes, covariances, cut_note
from relrep_cli.numerics.workspace import UNSHARED, Workspace

Penalty = Annotated[float, Param("Ridge penalty, as a share of the space's total variance.", minimum=1e-9)]
REFIT = 4e9  # multiply-adds up to which regressions are fitted anew without each part of the rows
ALONE = 1e-9  # 1 - leverage below which a single row determines an axis


@shape_metric(
    form=FIT("least-squares"),
    bounds=(None, 1),
    symmetric=False,
    needs={"n > d"},
    source="Kornblith et al. 2019, sec. 4, held out: Allen 1974 (PRESS)",
)
def linear_regression(x: np.ndarray, y: np.ndarray, *, workspace: Workspace = UNSHARED) -> Score:
    """Held-out R2 of y predicted from x by least squares.

    x: (n, dx) and y: (n, dy) floats. Each item is predicted by a map fitted on all other items, in closed form. R2 is over all
    columns together. The record's `reverse` is R2 of x predicted from y.

    Raises NotApplicable when there are no more items than dims, or when a single row determines an axis.
    """
    return _both(x, y, 0.0, "least squares, each item held out, y from x; reverse: x from y", workspace)


@shape_metric(
    form=FIT("ridge"),
    bounds=(None, 1),
    identity=None,
    symmetric=False,
    source="Hoerl and Kennard 1970; held out: Allen 1974 (PRESS)",
)
def ridge(x: np.ndarray, y: np.ndarray, *, penalty: Penalty = 0.001, workspace: Workspace = UNSHARED) -> Score:
    """Held-out R2 of y predicted from x by ridge regression.

    x: (n, dx) and y: (n, dy) floats. Like linear-regression, with a penalty, so that there may be more dims than items.
    """
    return _both(
        x, y, penalty, f"ridge penalty {penalty} of the variance, each item held out, y from x; reverse: x from y", workspace
    )


def _both(x: np.ndarray, y: np.ndarray, penalty: float, convention: str, workspace: Workspace) -> Score:
    """Without a penalty, rounding decides which axes have variance, so columns are first scaled to length 1."""
    units = (not penalty, False)
    parts, reverse = (covariances(a, b, units=units, workspace=workspace) for a, b in ((x, y), (y, x)))
    sides = [f.all_axes(0) if penalty else f.scaled_axes(0) for f in (parts, reverse)]
    there, back = (_held_out(f, side, penalty) for f, side in zip((parts, reverse), sides, strict=True))
    convention += "" if penalty else cut_note(*sides)
    return Score(
        there.value, there.chance, convention, jackknife=there.jackknife, extra={"reverse": back.value}, scale="from one"
    )


def _held_out(parts: Parts, side: Basis, penalty: float) -> Score:
    n = parts.n
    if not penalty and len(side.sizes) >= n - 1:
        raise NotApplicable(f"{n} items are not more than {len(side.sizes)} dims need: nothing is left to hold out; use ridge")
    errors, spreads, wobble = _errors(parts.whole, parts.rows, parts.means(), side.to, side.sizes, penalty)
    value = 1 - errors.sum() / spreads.sum()
    jackknife = None
    if parts.workspace.intervals:
        jackknife = _refitted(parts, side, penalty)
        if jackknife is None:
            jackknife = 1 - (errors.sum() - errors) / (spreads.sum() - spreads)
    return Score(float(value), 1 - wobble * (n - 1) / n**2, "", jackknife=jackknife)


def _errors(
    c: Covariances,
    rows: tuple[np.ndarray, np.ndarray],
    means: tuple[np.ndarray, np.ndarray],
    basis: np.ndarray,
    sizes: np.ndarray,
    penalty: float,
) -> tuple[np.ndarray, np.ndarray, float]:
    """The squared errors (n,) of items that are held out, their squared distances (n,) from the mean of the others, and the sum
    from which the chance level follows. basis: (dx, r) axes of the first space, with sums of squares `sizes` (r,)."""
    n, (x, y), (mx, my) = c.n, rows, means
    shrink = 1 / (sizes + penalty * c.spreads[0])
    slopes = shrink[:, None] * (basis.T @ c.xy)
    errors, spreads, wobble = np.empty(n), np.empty(n), 0.0
    for block in row_blocks(n, x.shape[1] + y.shape[1], x, y):
        z, target = (x[block] - mx) @ basis, y[block] - my
        leverage = 1 / n + np.square(z) @ shrink
        if (1 - leverage).min() < ALONE:
            raise NotApplicable(f"row {block.start + int(leverage.argmax())} alone determines an axis; use ridge")
        errors[block] = np.square(target - z @ slopes).sum(1) / (1 - leverage) ** 2
        spreads[block] = np.square(target).sum(1) * (n / (n - 1)) ** 2
        own = 1 - 2 * leverage + 1 / n + np.square(z) @ (shrink**2 * sizes)
        wobble += float((own / (1 - leverage) ** 2).sum())
    return errors, spreads, wobble


def _refitted(split: Parts, side: Basis, penalty: float) -> np.ndarray | None:
    """The values (g,) without each part, fitted anew; None when that is too much work, or undefined.

    Without it, the values leave out each row's own errors alone: an outlying row also moves the fit for all others.
    """
    x, y = split.rows
    parts, groups = split.parts, len(split.parts)
    if groups < 5 or groups * x.size * (side.to.shape[1] + y.shape[1]) > REFIT or split.n < 2 * groups:
        return None
    out = []
    for g, part in enumerate(parts):
        kept, m = np.arange(split.n) % groups != g, split.moments - part
        c, mean = split.kind(m), m.shift + m.sums / m.n
        sizes, turn = np.linalg.eigh(side.to.T @ c.xx @ side.to)
        if not penalty and not sizes[0] > 0:
            return None
        try:
            basis = side.to @ turn
            errors, spreads, _ = _errors(c, (x[kept], y[kept]), (mean[: m.dx], mean[m.dx :]), basis, sizes.clip(0), penalty)
        except NotApplicable:
            return None
        out.append(1 - errors.sum() / spreads.sum())
    return np.array(out)


@shape_metric(bounds=(0, None), identity=0, higher_is_closer=False, source="Boix-Adsera et al. 2022")
def gulp(x: np.ndarray, y: np.ndarray, *, penalty: Penalty = 0.001, workspace: Workspace = UNSHARED) -> Score:
    """Squared GULP distance: how differently ridge regressions on the two spaces predict, over all tasks.

    x: (n, dx) and y: (n, dy) floats. Both are centred and scaled to a mean squared length of 1.
    """
    parts = covariances(x, y, workspace=workspace)

    def value(c: Covariances, a: _Smoother, b: _Smoother) -> float:
        sx, sy = c.spreads
        cross = a.axes.T @ (c.xy / (np.sqrt(sx) * np.sqrt(sy))) @ b.axes
        met = float(np.einsum("i,ij,j->", a.shrink, np.square(cross), b.shrink))
        return max(0.0, float(np.square(a.shares * a.shrink).sum() + np.square(b.shares * b.shrink).sum() - 2 * met))

    def anew(c: Covariances) -> float:
        return value(c, *(_smoother(all_axes(products), penalty) for products in (c.xx, c.yy)))

    sides = [_smoother(parts.all_axes(side), penalty) for side in (0, 1)]
    traces = [float((s.shares * s.shrink).sum()) for s in sides]
    level = sum(float(np.square(s.shares * s.shrink).sum()) for s in sides) - 2 * traces[0] * traces[1] / (len(x) - 1)
    convention = f"squared distance, ridge penalty {penalty} of the variance, columns centred"
    return Score(value(parts.whole, *sides), level, convention, jackknife=parts.jackknife(anew))


@dataclass(frozen=True)
class _Smoother:
    """axes: (d, r) principal axes of a space. shares: (r,) shares of its variance. shrink: 1 / (share + penalty)."""

    axes: np.ndarray
    shares: np.ndarray
    shrink: np.ndarray


def _smoother(side: Basis, penalty: float) -> _Smoother:
    shares = side.sizes / side.sizes.sum()
    return _Smoother(side.to, shares, 1 / (shares + penalty))

"""Metrics of shapes that match single columns. A rotation of the space changes them."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from relrep_cli.base.registry import Param
from relrep_cli.metrics.families import shape_metric
from relrep_cli.metrics.forms import MATCHING
from relrep_cli.metrics.score import Score
from relrep_cli.numerics.chance_levels import chance
from relrep_cli.numerics.covariances import Covariances, Parts, covariances
from relrep_cli.numerics.optimal_plans import best_plan
from relrep_cli.numerics.workspace import UNSHARED, Workspace

Share = Annotated[float, Param("Share of the columns, by mass, that partial matching matches.", minimum=0.01, maximum=1)]


@shape_metric(
    form=MATCHING("hard"),
    bounds=(-1, 1),
    invariant={"axis-scale", "permutation", "scale", "translation"},
    source="Li et al. 2015, one-to-one matching",
)
def hard_match(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Mean correlation of columns under the best one-to-one matching.

    x: (n, dx) and y: (n, dy) floats. Every column of the narrower space gets its own partner (Hungarian method). Constant
    columns are left out. The jackknife keeps the matching fixed.

    Raises NotApplicable for fewer than 3 items or a constant space.

    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0], [3.0, 1.0]])
    >>> round(hard_match(x, x[:, ::-1]).value, 6)
    1.0
    """
    parts = covariances(x, y, rotate=False, workspace=workspace)
    kept, units, note = _varying_columns(parts)

    def best(c: Covariances) -> tuple[np.ndarray, np.ndarray]:
        from scipy.optimize import linear_sum_assignment

        return linear_sum_assignment(_correlations(c, kept), maximize=True)

    pairs = best(parts.whole)
    level = chance(parts, lambda c: _mean(c, kept, best(c)), 1.0, seed=seed, units=units)
    value, jackknife = _mean(parts.whole, kept, pairs), parts.jackknife(lambda c: _mean(c, kept, pairs))
    convention = f"correlation of columns, one-to-one{note}"
    return Score(value, level.mean, convention, jackknife=jackknife, draws=level.draws, chance_error=level.error)


@shape_metric(
    form=MATCHING("semi"),
    bounds=(-1, 1),
    invariant={"axis-scale", "permutation", "scale", "translation"},
    source="Li et al. 2015, bipartite semi-matching, mean of both directions",
)
def semi_match(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Mean over both directions of each column's best correlation.

    x: (n, dx) and y: (n, dy) floats. Several columns may have the same partner. Constant columns are left out. The jackknife
    keeps the partners fixed.

    Raises NotApplicable for fewer than 3 items or a constant space.
    """
    parts = covariances(x, y, rotate=False, workspace=workspace)
    kept, units, note = _varying_columns(parts)

    def value(c: Covariances) -> float:
        table = _correlations(c, kept)
        return float((table.max(1).mean() + table.max(0).mean()) / 2)

    table = _correlations(parts.whole, kept)
    there, back = (np.arange(len(table)), table.argmax(1)), (table.argmax(0), np.arange(table.shape[1]))
    jackknife = parts.jackknife(lambda c: (_mean(c, kept, there) + _mean(c, kept, back)) / 2)
    level = chance(parts, value, 1.0, seed=seed, units=units)
    convention = f"best correlation of each column{note}"
    return Score(value(parts.whole), level.mean, convention, jackknife=jackknife, draws=level.draws, chance_error=level.error)


@shape_metric(
    form=MATCHING("soft"),
    bounds=(-1, 1),
    invariant={"axis-scale", "permutation", "scale", "translation"},
    source="Khosla and Williams 2024, soft matching, as a correlation",
)
def soft_match(x: np.ndarray, y: np.ndarray, *, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Mean correlation of columns under the best soft permutation.

    x: (n, dx) and y: (n, dy) floats. Each of p columns of x has the mass 1 / p, each of q columns of y 1 / q; the plan that
    transports one to the other with the largest mean correlation s. The distance of the authors, of columns of length 1, is
    sqrt(2 - 2 s). For spaces of equal width it is the one-to-one matching. Constant columns are left out. The jackknife keeps
    the plan fixed.

    Raises NotApplicable for fewer than 3 items or a constant space.
    """
    return _transported(x, y, 1.0, "correlation of columns, optimal transport of equal masses", seed, workspace)


@shape_metric(
    form=MATCHING("partial"),
    bounds=(-1, 1),
    invariant={"axis-scale", "permutation", "scale", "translation"},
    source="Kapoor et al. 2026, partial soft matching (arXiv 2602.19331), as a mean correlation",
)
def partial_match(x: np.ndarray, y: np.ndarray, *, share: Share = 0.8, seed: int = 0, workspace: Workspace = UNSHARED) -> Score:
    """Mean correlation of the columns that match best, under the best soft permutation of a share of them.

    x: (n, dx) and y: (n, dy) floats. As soft matching, but only `share` of the mass is transported; columns without a
    counterpart are left alone. The value is the mean over the mass that is transported.

    Raises NotApplicable for fewer than 3 items or a constant space.
    """
    convention = f"correlation of columns, optimal transport of {share:g} of equal masses"
    return _transported(x, y, share, convention, seed, workspace)


def _transported(x: np.ndarray, y: np.ndarray, share: float, convention: str, seed: int, workspace: Workspace) -> Score:
    parts = covariances(x, y, rotate=False, workspace=workspace)
    kept, units, note = _varying_columns(parts)

    def value(c: Covariances, plan: np.ndarray | None = None) -> float:
        table = _correlations(c, kept)
        plan = best_plan(table, share) if plan is None else plan
        return float(np.clip((plan * table).sum() / plan.sum(), -1, 1))

    best = best_plan(_correlations(parts.whole, kept), share)
    level = chance(parts, value, 1.0, seed=seed, units=units)
    jackknife = parts.jackknife(lambda c: value(c, best))
    return Score(
        value(parts.whole, best),
        level.mean,
        convention + note,
        jackknife=jackknife,
        draws=level.draws,
        chance_error=level.error,
    )


def _varying_columns(parts: Parts) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray], str]:
    """The numbers of the columns that vary, the factors that make columns of length 1, and a note on constant columns."""
    lengths = parts.lengths()
    kx, ky = (np.flatnonzero(np.isfinite(s)) for s in lengths)
    out = sum(map(len, lengths)) - len(kx) - len(ky)
    units = (1 / lengths[0], 1 / lengths[1])
    return (kx, ky), units, f", {out} constant columns left out" if out else ""


def _correlations(c: Covariances, kept: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    rows, columns = kept
    sizes = np.sqrt(np.diag(c.xx)[rows].clip(0))[:, None] * np.sqrt(np.diag(c.yy)[columns].clip(0))
    return (c.xy[np.ix_(rows, columns)] / np.where(sizes > 0, sizes, np.inf)).clip(-1, 1)


def _mean(c: Covariances, kept: tuple[np.ndarray, np.ndarray], pairs: tuple[np.ndarray, np.ndarray]) -> float:
    return float(_correlations(c, kept)[pairs].mean())

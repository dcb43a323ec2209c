"""Metrics of kernels (Gram matrices), computed from moments in feature space: nothing is n x n."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from relrep_cli.blocks import Moments, grouped_moments, total
from relrep_cli.metrics.score import NotApplicable, Score, metric
from relrep_cli.registry import Param

ESTIMATORS = ("biased", "unbiased")
Estimator = Annotated[
    Literal["biased", "unbiased"], Param("Estimator of HSIC: biased, or unbiased by Song et al.", choices=ESTIMATORS)
]


@metric(
    family="kernels",
    bounds=(None, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs=set(),
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "scale", "translation"},
    source="Kornblith et al. 2019, sec. 3; unbiased: Song et al. 2012",
)
def cka(x: np.ndarray, y: np.ndarray, *, estimator: Estimator = "biased") -> Score:
    """Centred kernel alignment with the linear kernel.

    x: (n, dx), y: (n, dy). biased: |y'x|^2 / (|x'x| |y'y|) of centred columns, in [0, 1]. unbiased: Song's U-statistic,
    which may be negative.
    """
    n = len(x)
    if n < (4 if estimator == "unbiased" else 2):
        raise NotApplicable(f"{n} items are too few")
    parts = grouped_moments(x, y)
    whole = total(parts)
    value, chance = _cka(whole, estimator), _chance(whole) if estimator == "biased" else 0.0
    jackknife = None
    if len(parts) > 1 and n - max(p.n for p in parts) >= 4:
        jackknife = np.array([_cka(whole - part, estimator) for part in parts])
    return Score(value, chance, f"linear kernel, {estimator} HSIC, columns centred", jackknife=jackknife)


def _cka(m: Moments, estimator: str) -> float:
    hsic = _hsic_unbiased if estimator == "unbiased" else _hsic_biased
    xx, yy, xy = hsic(m, 0, 0), hsic(m, 1, 1), hsic(m, 0, 1)
    for side, (name, own) in enumerate((("first", xx), ("second", yy))):
        if not own > _rounding(m, side, estimator):
            reason = "is constant" if _spread(m, side) <= 1e-12 else "has a self term that is not positive"
            raise NotApplicable(f"the {name} space {reason}")
    return min(1.0, float(xy / (np.sqrt(xx) * np.sqrt(yy))))


def _rounding(m: Moments, side: int, estimator: str) -> float:
    """What rounding may leave of a self term that is zero: relative to the space's own size, whatever its unit."""
    part = _part(m, side)
    size = float(np.trace(m.products[part, part]))
    return (1e-12 * size) ** 2 if estimator == "biased" else 1e-13 * (size / m.n) ** 2


def _spread(m: Moments, side: int) -> float:
    part = _part(m, side)
    total = float(np.trace(m.products[part, part]))
    return (total - float(m.sums[part] @ m.sums[part]) / m.n) / max(total, 1e-300)


def _part(m: Moments, side: int) -> slice:
    return slice(m.dx, None) if side else slice(0, m.dx)


def _hsic_biased(m: Moments, u: int, v: int) -> float:
    """|u'v|^2 of centred columns."""
    a, b = _part(m, u), _part(m, v)
    cross = m.products[a, b] - np.outer(m.sums[a], m.sums[b]) / m.n
    return float(np.einsum("ij,ij->", cross, cross))


def _hsic_unbiased(m: Moments, u: int, v: int) -> float:
    """The U-statistic of Song et al. 2012, with the Gram matrices' sums written in moments.

    K~ is the Gram matrix without its diagonal: tr(K~L~) = |u'v|^2 - sum |u|^2|v|^2, 1'K~1 = |sum u|^2 - sum |u|^2, and
    1'K~L~1 = sum_i (u_i.su - |u_i|^2)(v_i.sv - |v_i|^2).
    """
    a, b, n = _part(m, u), _part(m, v), m.n
    cross, su, sv = m.products[a, b], m.sums[a], m.sums[b]
    trace = np.einsum("ij,ij->", cross, cross) - m.norm_products[u, v]
    ones = (su @ su - m.norms[u]) * (sv @ sv - m.norms[v])
    mixed = su @ cross @ sv - su @ m.weighted[a, v] - sv @ m.weighted[b, u] + m.norm_products[u, v]
    return float((trace + ones / ((n - 1) * (n - 2)) - 2 * mixed / (n - 2)) / (n * (n - 3)))


def _chance(m: Moments) -> float:
    """Expected biased CKA under random pairing: tr(K) tr(L) / ((n - 1) |K| |L|) for centred Gram matrices K, L."""
    traces = [float(np.trace(m.products[p, p])) - float(m.sums[p] @ m.sums[p]) / m.n for p in (_part(m, 0), _part(m, 1))]
    return float(traces[0] * traces[1] / ((m.n - 1) * np.sqrt(_hsic_biased(m, 0, 0) * _hsic_biased(m, 1, 1))))

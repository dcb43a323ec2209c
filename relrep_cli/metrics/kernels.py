"""Metrics of kernels (Gram matrices), in feature space or tile by tile: nothing is n x n."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from relrep_cli import pairs
from relrep_cli.blocks import Moments, grouped_moments, total
from relrep_cli.inference import wanted
from relrep_cli.metrics.score import NotApplicable, Score, metric
from relrep_cli.registry import Param

KERNELS = ("linear", "rbf")
Kernel = Annotated[
    Literal["linear", "rbf"], Param("Kernel: linear, or Gaussian as wide as the median distance.", choices=KERNELS)
]
ESTIMATORS = ("biased", "unbiased", "minibatch")
Estimator = Annotated[
    Literal["biased", "unbiased", "minibatch"],
    Param("Estimator of HSIC: biased, unbiased by Song et al., or unbiased in batches.", choices=ESTIMATORS),
]
Batch = Annotated[int, Param("Items in a batch of the minibatch estimator.", minimum=4)]


@metric(
    family="kernels",
    bounds=(None, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs=set(),
    reads_coordinates=False,
    invariant={"orthogonal", "permutation", "scale", "translation"},
    source="Kornblith et al. 2019, sec. 3; unbiased: Song et al. 2012; minibatch: Nguyen et al. 2021",
)
def cka(
    x: np.ndarray, y: np.ndarray, *, kernel: Kernel = "linear", estimator: Estimator = "biased", batch: Batch = 256
) -> Score:
    """Centred kernel alignment.

    x: (n, dx), y: (n, dy). biased: |y'x|^2 / (|x'x| |y'y|) of centred columns, in [0, 1]. unbiased: Song's U-statistic,
    which may be negative. minibatch: its means over batches of interleaved rows.

    >>> round(cka(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [1.0]])).value, 6)  # squared correlation
    0.75
    """
    if len(x) < (2 if estimator == "biased" else 4):
        raise NotApplicable(f"{len(x)} items are too few")
    if estimator == "minibatch":
        return _minibatch(x, y, kernel, batch)
    return _gaussian(x, y, estimator) if kernel == "rbf" else _linear(x, y, estimator)


def _linear(x: np.ndarray, y: np.ndarray, estimator: str) -> Score:
    parts = grouped_moments(x, y)
    whole, n = total(parts), len(x)
    value, chance = _cka(whole, estimator), _chance(whole) if estimator == "biased" else 0.0
    jackknife = None
    if len(parts) > 1 and n - max(p.n for p in parts) >= 4 and wanted():
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
    size = float(np.trace(m.products[part, part]))
    return (size - float(m.sums[part] @ m.sums[part]) / m.n) / max(size, 1e-300)


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


def _gaussian(x: np.ndarray, y: np.ndarray, estimator: str) -> Score:
    x, y, said = pairs.sample(x, y)
    (first, wx), (second, wy) = pairs.gaussian(x), pairs.gaussian(y)
    sums = pairs.pair_sums(len(x), first, second)
    unbiased = estimator == "unbiased"

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        return _alignment(*_hsic_of_pairs(n, totals, rows, 1.0, unbiased))

    n, totals, rows = sums.whole()
    level = 0.0 if unbiased else expected_alignment(n, totals, rows, 1.0)
    convention = f"RBF kernel exp(-d^2 / 2w^2), w = median distance ({wx:.6g}, {wy:.6g}), {estimator} HSIC{said}"
    return Score(value(n, totals, rows), level, convention, jackknife=sums.jackknife(value))


def _alignment(xx: float, yy: float, xy: float) -> float:
    for name, own in (("first", xx), ("second", yy)):
        if not own > 1e-14:
            raise NotApplicable(f"the self term of the {name} space is not positive")
    return min(1.0, float(xy / np.sqrt(xx * yy)))


def _hsic_of_pairs(n: int, totals: np.ndarray, rows: np.ndarray, diagonal: float, unbiased: bool) -> tuple[float, float, float]:
    """HSIC of x with itself, of y with itself and of both, from sums over pairs; see PairSums. diagonal: k(x, x)."""
    out = []
    for u, v, products in ((0, 0, 2), (1, 1, 3), (0, 1, 4)):
        if unbiased:
            mixed = float(rows[u] @ rows[v])
            ones = totals[u] * totals[v] / ((n - 1) * (n - 2))
            out.append((totals[products] + ones - 2 * mixed / (n - 2)) / (n * (n - 3)))
        else:
            mixed = float((rows[u] + diagonal) @ (rows[v] + diagonal))
            ones = (totals[u] + n * diagonal) * (totals[v] + n * diagonal)
            out.append((totals[products] + n * diagonal**2 - 2 * mixed / n + ones / n**2) / n**2)
    return float(out[0]), float(out[1]), float(out[2])


def expected_alignment(n: int, totals: np.ndarray, rows: np.ndarray, diagonal: float) -> float:
    """Expected biased alignment under random pairing, of centred n x n matrices with these sums."""
    xx, yy, _ = _hsic_of_pairs(n, totals, rows, diagonal, False)
    traces = [n * diagonal - (totals[side] + n * diagonal) / n for side in (0, 1)]
    return float(traces[0] * traces[1] / ((n - 1) * n**2 * np.sqrt(xx * yy)))


def _minibatch(x: np.ndarray, y: np.ndarray, kernel: str, batch: int) -> Score:
    """Means of unbiased HSIC over batches; rows i, i + m, … form one of the m batches, the same rows in both spaces."""
    n = len(x)
    count = min(-(-n // batch), n // 4)
    grams = [_linear_gram(x), _linear_gram(y)]
    said = "linear kernel"
    if kernel == "rbf":
        (first, wx), (second, wy) = pairs.gaussian(x), pairs.gaussian(y)
        grams, said = [first, second], f"RBF kernel exp(-d^2 / 2w^2), w = median distance ({wx:.6g}, {wy:.6g})"
    found = np.array([_batch(np.arange(g, n, count), grams[0], grams[1]) for g in range(count)])
    value = _alignment_of_means(found.mean(0))
    jackknife = np.array([_alignment_of_means(m) for m in (found.sum(0) - found) / (count - 1)]) if count >= 10 else None
    if jackknife is None and wanted():  # too few batches to leave one out: the spread of the estimate from all rows
        close = cka(x, y, kernel=kernel, estimator="unbiased")
        jackknife = None if close.jackknife is None else close.jackknife - close.value + value
    return Score(
        value, 0.0, f"{said}, mean unbiased HSIC of {count} batches of {n // count} or more items", jackknife=jackknife
    )


def _linear_gram(x: np.ndarray) -> pairs.Measure:
    def gram(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        rows = np.asarray(x[i], np.float64)
        rows = rows - rows.mean(0)  # which the unbiased estimator does not feel, and large offsets would drown it
        return rows @ rows.T

    return gram


def _batch(rows: np.ndarray, first: pairs.Measure, second: pairs.Measure) -> tuple[float, float, float]:
    a, b = first(rows, rows), second(rows, rows)
    np.fill_diagonal(a, 0)
    np.fill_diagonal(b, 0)
    totals = np.array([a.sum(), b.sum(), np.vdot(a, a), np.vdot(b, b), np.vdot(a, b)])
    return _hsic_of_pairs(len(rows), totals, np.stack([a.sum(1), b.sum(1)]), 0.0, True)


def _alignment_of_means(hsic: np.ndarray) -> float:
    xx, yy, xy = hsic.tolist()
    for name, own in (("first", xx), ("second", yy)):
        if not own > 0:
            raise NotApplicable(f"the self term of the {name} space is not positive")
    return min(1.0, xy / (np.sqrt(xx) * np.sqrt(yy)))

"""Metrics of kernels (Gram matrices), from moments or tile by tile; permutations of at most 2,048 rows have an n x n array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np

from relrep_cli.base.registry import Param
from relrep_cli.metrics.families import kernel_metric
from relrep_cli.metrics.score import NotApplicable, Score
from relrep_cli.numerics import hsic, permuted_grams
from relrep_cli.numerics import row_pairs as pairs
from relrep_cli.numerics.blocks import pick
from relrep_cli.numerics.intervals import spread_of_all
from relrep_cli.numerics.moments import Moments
from relrep_cli.numerics.narrowing import narrow, scalable
from relrep_cli.numerics.workspace import UNSHARED, Workspace

LEAST_TERM = 1e-14  # of the RBF kernel with itself, beyond its rounding error
KERNELS = ("linear", "rbf")
Kernel = Annotated[
    Literal["linear", "rbf"], Param("Kernel: linear, or Gaussian as wide as the median distance.", choices=KERNELS)
]
ESTIMATORS = ("unbiased", "biased", "minibatch")
Estimator = Annotated[
    Literal["unbiased", "biased", "minibatch"],
    Param(
        "Estimator of HSIC: unbiased by Song et al., biased, unbiased in batches; row-column: unbiased also for few columns.",
        choices=ESTIMATORS,
    ),
]
Batch = Annotated[int, Param("Items in a batch of the minibatch estimator.", minimum=4, maximum=4096)]


@kernel_metric(
    bounds=(None, 1), source="Kornblith et al. 2019, sec. 3; unbiased: Song et al. 2012; minibatch: Nguyen et al. 2021"
)
def cka(
    x: np.ndarray,
    y: np.ndarray,
    *,
    kernel: Kernel = "linear",
    estimator: Estimator = "unbiased",
    batch: Batch = 256,
    workspace: Workspace = UNSHARED,
) -> Score:
    """Centred kernel alignment.

    x: (n, dx) and y: (n, dy) floats. unbiased: the ratio of Song's U-statistics, which can be negative and is 0 on average for
    unrelated spaces. biased: |y'x|^2 / (|x'x| |y'y|) of centred columns, in [0, 1], which comes near 1 for any two spaces with
    more dims than rows. minibatch: the ratio of the mean U-statistics of batches of rows.

    Raises NotApplicable when there are too few items, or when a space is constant.

    >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [1.0]])
    >>> round(cka(x, y, estimator="biased").value, 6)  # squared correlation
    0.75
    """
    if len(x) < (2 if estimator == "biased" else 4):
        raise NotApplicable(f"{len(x)} items are too few")
    if estimator == "minibatch":
        return _minibatch(x, y, kernel, batch, workspace)
    return _gaussian(x, y, estimator, workspace) if kernel == "rbf" else _linear(x, y, estimator, workspace)


def _linear(x: np.ndarray, y: np.ndarray, estimator: str, workspace: Workspace) -> Score:
    m, sizes, terms = _terms(x, y, workspace)
    xx, yy, xy = (float(_estimate(t, estimator)) for t in terms)
    for side, (name, own) in enumerate((("first", xx), ("second", yy))):
        if not own > _rounding(float(sizes[side]), m.n, estimator):
            reason = "is constant" if m.norms[side] <= 1e-12 * sizes[side] else "has a self term that is not positive"
            raise NotApplicable(f"the {name} space {reason}")
    value = min(1.0, float(xy / (np.sqrt(xx) * np.sqrt(yy))))
    # The mean of biased CKA over random pairings is tr(K) tr(L) / ((n - 1) |K| |L|).
    chance = float(m.norms[0] * m.norms[1] / ((m.n - 1) * np.sqrt(xx) * np.sqrt(yy))) if estimator == "biased" else 0.0
    jackknife = None
    if m.n >= 5 and workspace.intervals:
        jackknife = _leave_one_out(m, _ready(x, workspace), _ready(y, workspace), estimator, workspace)
    return Score(value, chance, f"linear kernel, {estimator} HSIC, columns centred", jackknife=jackknife, scale="from one")


def _terms(x: np.ndarray, y: np.ndarray, workspace: Workspace) -> tuple[Moments, np.ndarray, list[hsic.Terms]]:
    """The moments, the sums of squares before centring, and the terms of x with x, y with y and both.

    The order of the rows changes the last ones alone, so that a permutation takes the others from the rows as they were.
    """
    (first, ox), (second, oy) = workspace.origin(x), workspace.origin(y)
    permuted = workspace.outer is not None and not workspace.intervals and (ox is not None or oy is not None)
    known = workspace.outer if permuted and workspace.outer is not None else workspace
    u, v = _ready(first, known), _ready(second, known)
    m, sizes = hsic.centred_moments(u, v, workspace=known)
    if not permuted:
        return m, sizes, [hsic.terms(m, a, b) for a, b in hsic.PAIRS]
    own = known.once("own terms", (u, v), lambda: [hsic.terms(m, a, a) for a in (0, 1)])
    cross = workspace.product(u, v, m.shift[: m.dx], m.shift[m.dx :]) if ox is None else None
    if cross is not None and oy is not None:
        norms = known.once("squared lengths", (u, v), lambda: hsic.squared_lengths(m, u, v))
        return m, sizes, [*own, hsic.terms_of_permuted(m, norms, oy, cross)]
    return m, sizes, [*own, hsic.terms_of_rows(m, _ready(x, workspace), _ready(y, workspace))]


def permutes_by_grams(params: Mapping[str, Any], x: np.ndarray, y: np.ndarray) -> bool:
    """Whether `cka_of_permutations` serves cka with these options: where Gram matrices are quicker than moments."""
    if params["estimator"] == "minibatch" or len(x) < 4:
        return False
    if params["kernel"] == "rbf":
        return permuted_grams.serves_kernels(len(x))
    return permuted_grams.serves(len(x), x.shape[1], y.shape[1])


def gram_of(params: Mapping[str, Any], workspace: Workspace) -> Callable[[np.ndarray], np.ndarray]:
    """The function that makes a centred Gram matrix (n, n) of a space (n, d), for cka with these options."""
    if params["kernel"] == "linear":
        return lambda x: permuted_grams.gram(scalable(x, workspace))
    return lambda x: _centred_gaussian(x, params["estimator"] == "unbiased", workspace.device)


def _centred_gaussian(x: np.ndarray, unbiased: bool, device: str) -> np.ndarray:
    """The RBF kernel (n, n) of a space, centred; for the unbiased estimator, U-centred (Szekely and Rizzo 2014)."""
    n, (measure, _) = len(x), pairs.gaussian(x, device)
    out = np.empty((n, n))
    for tile in pairs.tiles(n):
        values = measure(tile.i, tile.j)
        out[np.ix_(tile.i, tile.j)] = values
        out[np.ix_(tile.j, tile.i)] = values.T
    np.fill_diagonal(out, 0 if unbiased else 1)
    sums = out.sum(1)
    total = sums.sum()
    out -= (sums / (n - 2 * unbiased))[:, None]
    out -= sums / (n - 2 * unbiased)
    out += total / ((n - 1) * (n - 2) if unbiased else n**2)
    if unbiased:
        np.fill_diagonal(out, 0)
    return out


def cka_of_permutations(
    x: np.ndarray, y: np.ndarray, sums: np.ndarray, params: Mapping[str, Any], workspace: Workspace
) -> np.ndarray:
    """CKA of x with permuted rows of y, NaN where it is undefined. sums: (2, m), see permuted_grams.sums_of_grams."""
    estimator = params["estimator"]
    if params["kernel"] == "rbf":
        return _gaussians_of_permutations(x, y, sums, estimator, workspace)
    m, _ = hsic.centred_moments(_ready(x, workspace), _ready(y, workspace), workspace=workspace)
    below, equal = sums
    xx, yy = (_estimate(hsic.terms(m, a, a), estimator) for a in (0, 1))
    xy = _estimate(hsic.Terms(m.n, 2 * below + equal, (m.norms[0], m.norms[1]), equal), estimator)
    with np.errstate(all="ignore"):
        values: np.ndarray = np.minimum(1.0, xy / (np.sqrt(xx) * np.sqrt(yy)))
    return np.where(np.isfinite(values), values, np.nan)


def _gaussians_of_permutations(
    x: np.ndarray, y: np.ndarray, sums: np.ndarray, estimator: str, workspace: Workspace
) -> np.ndarray:
    """CKA by the RBF kernel; see cka_of_permutations."""

    def own() -> tuple[float, float]:
        """HSIC of either space with itself, which no permutation changes."""
        whole = _sums_of_gaussians(x, y, workspace)[0].whole()
        return _hsic_of_pairs(*whole, 1.0, estimator == "unbiased")[:2]

    xx, yy = workspace.once(f"own terms of the RBF kernel, {estimator}", (x, y), own)
    if not min(xx, yy) > LEAST_TERM:
        return np.full(sums.shape[1], np.nan)
    n = len(x)
    hsic_of_pairs = (2 * sums[0] + sums[1]) / (n * (n - 3) if estimator == "unbiased" else n**2)
    values: np.ndarray = np.minimum(1.0, hsic_of_pairs / np.sqrt(xx * yy))
    return values


def _ready(x: np.ndarray, workspace: Workspace) -> np.ndarray:
    """The space in range, and rotated into as many dims as it has rows where it has more."""
    x = scalable(x, workspace)
    narrowed = narrow(x, centred=True, units=False, workspace=workspace)
    return x if narrowed is None else narrowed.rows


def _estimate(terms: hsic.Terms, estimator: str) -> np.ndarray:
    return terms.unbiased() if estimator == "unbiased" else terms.biased()


def _leave_one_out(m: Moments, x: np.ndarray, y: np.ndarray, estimator: str, workspace: Workspace) -> np.ndarray | None:
    """(g,) CKA without each of up to 512 rows; None when it is undefined without one of them."""
    chosen = np.arange(m.n) if m.n <= hsic.ROWS else np.sort(np.random.default_rng(0).choice(m.n, hsic.ROWS, replace=False))
    rows = hsic.some_rows(m, x, y, chosen)
    own = [hsic.own_terms_without(m, rows, side, space, workspace) for side, space in enumerate((x, y))]
    xx, yy, xy = (_estimate(terms, estimator) for terms in (*own, hsic.terms_without(m, rows, 0, 1)))
    if not (np.minimum(xx, yy) > 0).all():
        return None
    return spread_of_all(xy / (np.sqrt(xx) * np.sqrt(yy)), m.n)


def _rounding(size: float, n: int, estimator: str) -> float:
    """The largest self term that may be rounding error of zero; relative to the size of the space."""
    return (1e-12 * size) ** 2 if estimator == "biased" else 1e-13 * (size / n) ** 2


def _gaussian(x: np.ndarray, y: np.ndarray, estimator: str, workspace: Workspace) -> Score:
    x, y, sample_note = pairs.sample(x, y)
    sums, (wx, wy) = _sums_of_gaussians(x, y, workspace)
    unbiased = estimator == "unbiased"

    def value(n: int, totals: np.ndarray, rows: np.ndarray) -> float:
        return _alignment(*_hsic_of_pairs(n, totals, rows, 1.0, unbiased))

    n, totals, rows = sums.whole()
    level = 0.0 if unbiased else expected_alignment(n, totals, rows, 1.0)
    convention = f"{_gaussian_note(wx, wy)}, {estimator} HSIC{sample_note}"
    jackknife = sums.jackknife(value) if workspace.intervals else None
    return Score(value(n, totals, rows), level, convention, jackknife=jackknife, scale="from one")


def _sums_of_gaussians(x: np.ndarray, y: np.ndarray, workspace: Workspace) -> tuple[pairs.PairSums, tuple[float, float]]:
    """The sums of both kernels over all pairs of rows, and the widths of the kernels."""
    (first, wx), (second, wy) = (pairs.gaussian(side, workspace.device) for side in (x, y))
    return pairs.pair_sums(len(x), first, second), (wx, wy)


def _gaussian_note(wx: float, wy: float) -> str:
    return f"RBF kernel exp(-d^2 / 2w^2), w = median distance of different rows ({wx:.6g}, {wy:.6g})"


def _alignment(xx: float, yy: float, xy: float) -> float:
    for name, own in (("first", xx), ("second", yy)):
        if not own > LEAST_TERM:
            raise NotApplicable(f"the self term of the {name} space is not positive")
    return min(1.0, float(xy / np.sqrt(xx * yy)))


def _hsic_of_pairs(n: int, totals: np.ndarray, rows: np.ndarray, diagonal: float, unbiased: bool) -> tuple[float, float, float]:
    """HSIC of x with x, y with y, and x with y, from the sums of PairSums. diagonal: the kernel of a row with itself."""
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
    """The expected biased alignment under random pairing, from the sums of PairSums. diagonal: k(x, x)."""
    xx, yy, _ = _hsic_of_pairs(n, totals, rows, diagonal, False)
    traces = [n * diagonal - (totals[side] + n * diagonal) / n for side in (0, 1)]
    return float(traces[0] * traces[1] / ((n - 1) * n**2 * np.sqrt(xx * yy)))


def _minibatch(x: np.ndarray, y: np.ndarray, kernel: Kernel, batch: int, workspace: Workspace) -> Score:
    """Minibatch CKA. Rows i, i + m, i + 2 m, … of both spaces form one of the m batches."""
    n = len(x)
    count = min(-(-n // batch), n // 4)
    grams = [_linear_gram(scalable(x, workspace)), _linear_gram(scalable(y, workspace))]
    kernel_note = "linear kernel"
    if kernel == "rbf":
        (first, wx), (second, wy) = (pairs.gaussian(side, workspace.device) for side in (x, y))
        grams, kernel_note = [first, second], _gaussian_note(wx, wy)
    batches = np.array([_batch(np.arange(g, n, count), grams[0], grams[1]) for g in range(count)])
    value = _alignment_of_means(batches.mean(0))
    jackknife = np.array([_alignment_of_means(m) for m in (batches.sum(0) - batches) / (count - 1)]) if count >= 10 else None
    if (
        jackknife is None and workspace.intervals
    ):  # too few batches to leave one out: take the spread of unbiased CKA of all rows
        close = cka(x, y, kernel=kernel, estimator="unbiased", workspace=workspace)
        jackknife = None if close.jackknife is None else close.jackknife - close.value + value
    return Score(
        value, 0.0, f"{kernel_note}, mean unbiased HSIC of {count} batches of {n // count} or more items", jackknife=jackknife
    )


def _linear_gram(x: np.ndarray) -> pairs.Measure:
    def gram(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        rows = np.asarray(pick(x, i), np.float64)
        rows = rows - rows.mean(0)  # the unbiased estimator is invariant to this; large offsets would cost precision
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

"""Whether the vectors of one file stand in the other at other rows, as they are or rotated."""

from __future__ import annotations

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.file_pairs import FilePair, Map
from relrep_cli.comparison.isometries import Turned, agreeing, procrustes, products
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import pick, row_blocks, widen
from relrep_cli.numerics.singular_values import thin_svd
from relrep_cli.numerics.whitening import moments

LOOKED_UP = 500  # rows that are looked up
FEATURES = 32  # numbers of a row by which it is looked up: mixtures of its columns, or its places on the main axes
CLOSE = 0.25  # error up to which a row found is the row looked for
SPACED = 0.25  # of the usual distance to another row: how near a row must be found
SHARE = 0.5  # of the rows looked up that must be found
GAP = 1e-4  # relative distance of two deviations whose axes can be told apart
FLAT = 0.1  # of the usual third moment: the least that gives an axis a direction


@dataclass(frozen=True)
class Moved:
    """Rows of y that are vectors of other rows of x. asked: (q,) rows of y looked up. rows: (q,) rows of x, -1 for none. how:
    what else was done to x, in words. turned: whether x is the second file."""

    asked: np.ndarray
    rows: np.ndarray
    how: str = ""
    turned: bool = False

    @property
    def share(self) -> float:
        return float((self.rows >= 0).mean())

    def evidence(self) -> str:
        held = "all" if (self.rows >= 0).all() else f"{int((self.rows >= 0).sum())}"
        return "; ".join(filter(None, [f"{held} of {len(self.asked)} rows looked up are vectors of other rows", self.how]))


def look_up(pair: FilePair, apply: Map, odd: np.ndarray) -> Moved:
    """Look for the rows `odd` of y among all rows of x, through `apply`."""
    asked = some_of(odd)
    mix = np.random.default_rng(1).normal(size=(pair.e, min(FEATURES, pair.e))) if pair.e > FEATURES else np.eye(pair.e)
    base = np.empty((pair.n, mix.shape[1]), np.float32)
    for block in row_blocks(pair.n, max(pair.d, pair.e), pair.x):
        base[block] = apply(np.asarray(pair.x[block], np.float64)) @ mix
    y = np.asarray(pick(pair.y, asked), np.float64)
    rows, near = _nearest((y @ mix).astype(np.float32), base)
    error = np.linalg.norm(apply(np.asarray(pick(pair.x, rows), np.float64)) - y, axis=1) / pair.lengths(y)
    return Moved(asked, np.where(near & (error <= CLOSE) & (rows != asked), rows, -1))


def look_up_turned(pair: FilePair, fit: Turned, odd: np.ndarray) -> Moved:
    """Look for the rows `odd` of y among the rows of x by their products with the rows that agree: for few rows, of which all
    are sampled and no rotation is fitted."""
    assert fit.base is not None and fit.rows is not None
    gx, gy = products(fit.base(pair.xs), fit.rows), products(pair.ys, fit.rows)
    asked = some_of(odd)
    rows, near = _nearest(np.asarray(gy[asked], np.float32), np.asarray(gx, np.float32))
    error = np.linalg.norm(gy[asked] - gx[rows], axis=1) / np.maximum(np.linalg.norm(gy[asked], axis=1), 1e-300)
    return Moved(asked, np.where(near & (error <= CLOSE) & (rows != asked), rows, -1))


def some_of(rows: np.ndarray) -> np.ndarray:
    if len(rows) <= LOOKED_UP:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, LOOKED_UP, replace=False))


def _nearest(queries: np.ndarray, base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest row (q,) of base (n, f) to each query, and whether it is much nearer than two rows usually are."""
    rows = nearest(queries, base, 1, by="euclidean").rows[:, 0]
    distance = np.linalg.norm(queries - base[rows], axis=1)
    some = np.random.default_rng(0).permutation(len(base))[:200]
    around = nearest(np.ascontiguousarray(base[some]), base, min(4, len(base)), by="euclidean").rows
    gaps = np.linalg.norm(base[some][:, None] - base[around], axis=2)
    apart = gaps[gaps > 1e-6 * max(float(gaps.max()), 1e-30)]
    usual = float(np.median(apart)) if len(apart) else 0.0
    return rows, distance <= SPACED * usual


def standardised(pair: FilePair, base: Map) -> Map:
    """`base`, then a factor and a shift that give all rows of x the mean and the size of all rows of y: rows in another order
    have the same ones."""
    mx, sx = _mean_and_size(pair.x, base)
    my, sy = _mean_and_size(pair.y, lambda y: y)
    c = sy / sx if sx > 0 else 1.0
    return lambda x: c * (base(x) - mx) + my


def _mean_and_size(x: np.ndarray, base: Map) -> tuple[np.ndarray, float]:
    shift = base(np.asarray(x[:1], np.float64))[0]
    total, squares = np.zeros_like(shift), 0.0
    for block in row_blocks(*x.shape, x):
        rows = base(np.asarray(x[block], np.float64))
        total, squares = total + (rows - shift).sum(0), squares + float(np.square(rows - shift).sum())
    mean = total / len(x)
    return shift + mean, float(np.sqrt(max(squares / len(x) - float(np.square(mean).sum()), 0)))


def turned_and_moved(pair: FilePair) -> Moved | None:
    """Rows of y that are rows of x in another order, all moved by one rotation, perhaps scaled and shifted.

    Such files have the same variances along their main axes. A row's places on these axes tell which row it was, once each
    axis points the same way: that in which its third moment is positive.
    """
    lengths = [_spread_of_lengths(side) for side in (pair.x, pair.y)]
    if np.abs(lengths[0] - lengths[1]).max() > 0.05:
        return None
    axes = [_axes(side) for side in (pair.x, pair.y)]
    if any(one is None for one in axes):
        return None
    (mx, vx, sx), (my, vy, sy) = axes  # type: ignore[misc]
    k = min(len(sx), len(sy))
    main = max(4, k // 4)  # the smaller ones may hold more noise than anything else
    usual = float(np.median(sy[:main][:k] / sx[:main][:k]))
    if k < 2 or float(np.median(np.abs(sx[:main][:k] * usual / sy[:main][:k] - 1))) > 0.02:
        return None
    fx, tx = _places(pair.x, mx, vx[:, :k], sx[:k])
    fy, ty = _places(pair.y, my, vy[:, :k], sy[:k])
    gaps = np.minimum(_gaps(sx)[:k], _gaps(sy)[:k])
    apart = gaps > GAP
    agree = np.abs(np.abs(tx) - np.abs(ty)) < 0.2 * np.maximum(np.abs(tx), np.abs(ty))
    good = np.flatnonzero(apart & agree & (np.abs(tx) > FLAT * np.median(np.abs(tx))))
    good = good[np.argsort(-(gaps * sx[:k])[good], kind="stable")][:FEATURES]
    if len(good) < min(4, k):
        return None
    fx, fy = (f[:, good] * (np.sign(t[good]) / s[good]).astype(np.float32) for f, t, s in ((fx, tx, sx), (fy, ty, sy)))
    asked = some_of(np.arange(pair.n))
    rows, near = _nearest(np.ascontiguousarray(fy[asked]), np.ascontiguousarray(fx))
    return _verified(pair, asked[near], rows[near], asked)


def _spread_of_lengths(x: np.ndarray) -> np.ndarray:
    """Quantiles of the distances of rows from their mean, in units of their root mean square: order and rotation do not
    matter.
    """
    mean, size = _mean_and_size(x, lambda x: x)
    lengths = np.empty(len(x))
    for block in row_blocks(*x.shape, x):
        lengths[block] = np.linalg.norm(x[block] - mean, axis=1)
    return np.asarray(np.quantile(lengths / max(size, 1e-300), np.linspace(0.02, 0.98, 25)))


def _axes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Mean, main axes (d, k) and deviations along them (k,), largest first; at most 200."""
    if len(x) < 2 * x.shape[1] and len(x) <= 4096:
        mean = np.asarray(x, np.float64).mean(0)
        _, s, vt = thin_svd(np.asarray(x, np.float64) - mean)
        values, vectors = np.square(s) / len(x), vt.T
    else:
        mean, spread, unit = moments((widen(x[block]) for block in row_blocks(*x.shape, x)), full=True)
        values, vectors = np.linalg.eigh(spread)
        values, vectors = values[::-1] * unit**2, vectors[:, ::-1]
    kept = np.flatnonzero(values > 1e-5 * values[0])[:200] if values[0] > 0 else np.empty(0, np.int64)
    return (mean, vectors[:, kept], np.sqrt(values[kept])) if len(kept) else None


def _gaps(s: np.ndarray) -> np.ndarray:
    """(k,) relative distance of each deviation from its nearest neighbour."""
    steps = -np.diff(np.log(s))
    return np.minimum(np.r_[np.inf, steps], np.r_[steps, np.inf])


def _places(x: np.ndarray, mean: np.ndarray, axes: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, k) float32 places of all rows on the axes, and the third moment (k,) of each."""
    out, third = np.empty((len(x), len(s)), np.float32), np.zeros(len(s))
    for block in row_blocks(*x.shape, x):
        z = (np.asarray(x[block], np.float64) - mean) @ axes
        out[block] = z
        third += ((z / s) ** 3).sum(0)
    return out, third / len(x)


def _verified(pair: FilePair, own: np.ndarray, rows: np.ndarray, asked: np.ndarray) -> Moved | None:
    """Whether the rows found agree with those looked up in all dims: half of them must obey the rotation of the other half."""
    if len(own) < 5:
        return None
    x, y = np.asarray(pick(pair.x, rows), np.float64), np.asarray(pick(pair.y, own), np.float64)
    agreeing_rows = agreeing(x, y)
    if agreeing_rows is None:
        return None
    good = agreeing_rows[0]
    if len(good) > 3 * max(pair.d, pair.e):
        turn, c, b = procrustes(x[good[::2]], y[good[::2]])
        error = np.linalg.norm(c * (x @ turn) + b - y, axis=1) / pair.lengths(y)
        good = np.flatnonzero(error <= CLOSE)
    held = np.full(len(asked), -1)
    held[np.searchsorted(asked, own[good])] = rows[good]
    return Moved(asked, np.where(held == asked, -1, held))

"""Whether y is a linear map of x, or x whitened, judged by rows that the map was not fitted on."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np

from relrep_cli.comparison.file_pairs import FilePair
from relrep_cli.comparison.isometries import Turned
from relrep_cli.numerics.blocks import row_blocks, widen
from relrep_cli.numerics.singular_values import thin_svd
from relrep_cli.numerics.whitening import moments

RIDGES = (1e-13, 1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2)  # of the mean eigenvalue
LOOKS = 64  # mixtures of the columns of y by which the ridge is chosen
FLAT = 0.05  # relative deviation of the eigenvalues of a white space
CHANCE = 0.2  # of the deviation that a sample of a white distribution has: whitened rows have less
TRIMS = 4  # rounds in which rows that do not follow are left out of the fit
MATCHED = 0.98  # correlation of a column of y with an axis of x
HOPELESS = 0.6  # share of the length of rows that is left, above which nothing more is computed
FREE, FREE_SHARE = 4, 0.05  # rows, and share of the rows, that a fit must leave undetermined to be judged by them
TOLD = 1e-5  # freedom of a row from the fit below which its error says nothing
KEPT = 0.12  # residual of a row that follows


def linear_map(pair: FilePair) -> Iterator[Turned]:
    """y is an affine map of x: each row is predicted by a map that the other rows give."""
    if "linear" not in pair.kept:
        pair.kept["linear"] = list(_affine(pair))
    yield from pair.kept["linear"]


def _affine(pair: FilePair) -> Iterator[Turned]:
    kept = np.arange(len(pair.xs))
    for _ in range(TRIMS):
        matrix, b, residuals = _left_out(pair, kept)
        yield Turned(lambda x, m=matrix, b=b: x @ m + b, f"{pair.d} columns to {pair.e}", residuals, True)  # type: ignore[misc]
        odd = residuals > max(3 * float(np.quantile(residuals, 0.25)), 1e-6)
        if np.quantile(residuals, 0.25) > HOPELESS or not odd.any() or odd.mean() > 0.6:
            return
        kept = np.flatnonzero(~odd)
        if len(kept) <= pair.d + 2:
            return


def _left_out(pair: FilePair, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The map (d, e) and shift (e,) by ridge regression on the kept rows, and the error (m,) of each row without itself."""
    x, y = pair.xs[kept], pair.ys[kept]
    mx, my = x.mean(0), y.mean(0)
    zx, zy = x - mx, y - my
    u, s, vt = _thin_svd(zx)
    power = s * s
    along = u.T @ zy
    looks = np.random.default_rng(0).normal(size=(pair.e, min(LOOKS, pair.e))) if pair.e > LOOKS else np.eye(pair.e)
    best, ridge = np.inf, RIDGES[0]
    for tried in RIDGES:
        share = power / (power + tried * power.sum() / len(power))
        if len(x) - 1 - share.sum() < max(FREE, FREE_SHARE * len(x)):
            continue
        error = _errors(zy @ looks, u, share, along @ looks)
        if (size := float(np.median(np.linalg.norm(error, axis=1)))) < 0.98 * best:
            best, ridge = size, tried
    if best > HOPELESS * float(np.median(np.linalg.norm(zy @ looks, axis=1))):
        return np.zeros((pair.d, pair.e)), my, np.linalg.norm(my - pair.ys, axis=1) / pair.lengths(pair.ys)
    share = power / (power + ridge * power.sum() / len(power))
    matrix = (vt.T * (share / np.where(s > 0, s, 1))) @ along
    b = my - mx @ matrix
    residuals = np.linalg.norm(pair.xs @ matrix + b - pair.ys, axis=1) / pair.lengths(pair.ys)
    residuals[kept] = np.linalg.norm(_errors(zy, u, share, along), axis=1) / pair.lengths(y)
    return matrix, b, residuals


def _thin_svd(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """u (n, r), s (r,), vt (r, d) without directions that only rounding fills."""
    if len(x) > 2 * x.shape[1]:  # cheaper by the eigenvectors, refined by one more multiplication
        values, v = np.linalg.eigh(x.T @ x)
        kept = values > 1e-14 * values[-1] * len(v)
        z = x @ v[:, kept]
        s = np.linalg.norm(z, axis=0)
        return z / s, s, v[:, kept].T
    u, s, vt = thin_svd(x)
    kept = s > 1e-10 * s.max(initial=0)
    return u[:, kept], s[kept], vt[kept]


def _errors(y: np.ndarray, u: np.ndarray, share: np.ndarray, along: np.ndarray) -> np.ndarray:
    """(m, e) error of each row where a ridge regression on the other rows predicts it, in closed form (PRESS)."""
    free = 1 - np.square(u) @ share - 1 / len(u)
    error = y - (u * share) @ along
    return np.where(free[:, None] > TOLD, error / np.maximum(free, TOLD)[:, None], y)  # a fit that takes any y says nothing


def is_white(x: np.ndarray) -> float:
    """The relative deviation of the eigenvalues of the covariance of all rows, without those that are nothing."""
    _, spread, _ = moments((widen(x[block]) for block in row_blocks(*x.shape, x)), full=True)
    values = np.linalg.eigvalsh(spread)
    values = values[values > 1e-6 * values[-1]] if values[-1] > 0 else values
    return float(values.std() / max(values.mean(), 1e-300))


def whitened(pair: FilePair) -> Iterator[Turned]:
    """One is a linear map of the other, and the covariance of one is a multiple of the identity."""
    yield from _axes(pair)
    if pair.n <= pair.d + 2:
        return
    for fit in linear_map(pair):
        if float(np.median(fit.residuals)) >= KEPT:  # type: ignore[arg-type]
            continue
        flat = is_white(pair.x), is_white(pair.y)
        if min(flat) <= min(FLAT, max(flat) / 3, CHANCE * sqrt(min(pair.d, pair.e) / pair.n)):
            what = f"variances of {pair.names[flat[1] < flat[0]]} equal in all directions within {min(flat):.2g}"
            yield Turned(fit.apply, what, fit.residuals)
        return


def _axes(pair: FilePair) -> Iterator[Turned]:
    """Whitening along the axes of x (PCA) or rotated back (ZCA), which can be recognised from few rows, too."""
    if pair.n > len(pair.xs) or pair.n < 5:
        return
    mean = pair.xs.mean(0)
    u, s, vt = _thin_svd(pair.xs - mean)
    z = pair.ys - pair.ys.mean(0)
    if len(u.T) > 1 and s[0] < 1.2 * s[-1]:
        return  # x is white itself
    r = len(s)
    if pair.e == pair.d:
        back = u @ vt
        c = float((z * back).sum() / max(float(np.square(back).sum()), 1e-300))
        matrix = c * (vt.T / s) @ vt
        b = pair.ys.mean(0) - mean @ matrix
        residuals = pair.sample_residuals(lambda x: x @ matrix + b)
        yield Turned(lambda x: x @ matrix + b, "whitened, axes rotated back (ZCA)", residuals)
    length = np.linalg.norm(z, axis=0)
    alike = (u.T @ z) / np.where(length > 0, length, 1)
    best = np.abs(alike).argmax(0)
    good = np.abs(alike[best, np.arange(pair.e)]) > MATCHED
    if good.mean() < 0.7 * min(1, r / pair.e) or good.sum() < 2 or length[good].std() > FLAT * length[good].mean():
        return
    signs = np.sign(alike[best, np.arange(pair.e)])[good]
    c = float(length[good].mean())
    residuals = np.linalg.norm(c * u[:, best[good]] * signs - z[:, good], axis=1)
    residuals /= np.maximum(np.linalg.norm(z[:, good], axis=1), 1e-300)
    what = f"{int(good.sum())} of {pair.e} columns are axes of {pair.names[0]} at variance 1 (PCA)"
    yield Turned(lambda x: x, what, residuals, False)

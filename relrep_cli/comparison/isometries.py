"""Whether y is a rotation of x: all distances are the same up to one factor, for all rows or for a part of them.

Distances need no fit, so this also decides for fewer rows than dims, where a rotation could be fitted to much else.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.file_pairs import FilePair, Map
from relrep_cli.comparison.row_maps import Fit, one_length, unit
from relrep_cli.numerics.singular_values import thin_svd

FEW = 600  # rows between which all distances are compared
NEAR = 0.3  # of the deviation of distances: how far two may differ to count as equal
WINDOW = 0.08  # share of the pairs whose ratio of distances is nearly one number
PART = 0.75  # of the usual number of equal distances that a row must have to count among those that agree
ROUNDS = 3  # in which the rows that agree are sifted
THIRD, ALIKE = 0.3, 4.0  # see _close
TRIAL = 1e-3  # noise, relative to the length of rows, that is added to see what it does to products
HOPELESS = 0.5  # error of held-out rows above which nothing more is computed
LEAST = 8  # rows that agree
WIDE = 3000  # dims above which no rotation is fitted


@dataclass(frozen=True, eq=False)
class Turned(Fit):
    """A rotation. residuals: (m,) errors of the sampled rows where each is predicted from others; see FilePair.residuals.

    fitted: whether `apply` holds for other rows than the sampled ones; there must be many more rows than dims. base: what each
    row of x became before the rotation. rows: (r,) sampled rows that agree with each other.
    """

    residuals: np.ndarray | None = None
    fitted: bool = True
    base: Map | None = None
    rows: np.ndarray | None = None


def rotated(pair: FilePair) -> Iterator[Turned]:
    """y is x rotated or mirrored, perhaps scaled, shifted or at unit length; dims may be fewer or more."""
    mean = pair.xs.mean(0)
    bases: list[tuple[str, Map]] = [] if pair.turned else [("", lambda x: x)]  # distances are the same both ways
    if not one_length(pair.xs) and one_length(pair.ys):
        bases = [(", at unit length", unit), (", less its mean, at unit length", lambda x: unit(x - mean)), *bases]
    for name, base in bases:
        rows = agreeing(base(pair.xs), pair.ys)
        if rows is not None:
            yield _turned(pair, base, name, *rows)


def agreeing(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The rows (r,) whose distances from each other are the same in x (m, d) and y (m, e) up to a factor, and the factor.

    None when fewer than 8 rows, or than a tenth, agree with each other.
    """
    some = np.sort(np.random.default_rng(0).permutation(len(x))[:FEW])
    dx, dy = (_distances(side[some], side[some]) for side in (x, y))
    upper = np.triu_indices(len(some), 1)
    ax, ay = dx[upper], dy[upper]
    known = (ax > 1e-9 * ax.max(initial=0)) & (ay > 1e-9 * ay.max(initial=0))
    if known.sum() < LEAST:
        return None
    c = _usual_ratio(np.log(ay[known] / ax[known]))
    near = NEAR * min(float(np.diff(np.percentile(one, [16, 84]))[0]) / 2 for one in (c * ax, ay))  # odd rows may lie far off
    degree = (np.abs(dy - c * dx) <= near).mean(1)
    core = some[degree >= PART * np.quantile(degree, 0.95)]
    if len(core) < max(LEAST, len(some) / 10):
        return None
    for _ in range(ROUNDS):
        core = core[_close(x[core], y[core], x[core], y[core], c)]
    rows = np.flatnonzero(_close(x, y, x[core], y[core], c))
    return (rows, c) if len(rows) >= max(LEAST, len(x) / 10) else None


def _close(x: np.ndarray, y: np.ndarray, x_core: np.ndarray, y_core: np.ndarray, c: float) -> np.ndarray:
    """(m,) whether the distances of a row from those of the core differ little more than those of the best rows do.

    A third of the core is enough, so that a core in which most rows do not belong still finds those that do.
    """
    differ = np.abs(_distances(y, y_core) - c * _distances(x, x_core))
    own = np.quantile(differ, THIRD, axis=1)
    return np.asarray(own <= np.maximum(ALIKE * np.quantile(own, THIRD / 2), 1e-7 * np.median(_distances(y_core, y_core))))


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", y, y)[None, :] - 2 * x @ y.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _usual_ratio(logs: np.ndarray) -> float:
    """The middle of the narrowest window that holds a share of the log ratios, as a ratio."""
    logs = np.sort(logs)
    held = max(2, int(WINDOW * len(logs)))
    start = int(np.argmin(logs[held - 1 :] - logs[: len(logs) - held + 1]))
    return float(np.exp(np.median(logs[start : start + held])))


def _turned(pair: FilePair, base: Map, name: str, rows: np.ndarray, c: float) -> Turned:
    u, y = base(pair.xs), pair.ys
    few = len(rows) < 3 * max(pair.d, pair.e) or max(pair.d, pair.e) > WIDE
    if few:
        residuals = gram_residuals(u, y, rows) * _noise_per_product(y, rows)
        c = _scale(u[rows], y[rows])
        what = f"distances times {c:.6g}" if abs(c - 1) > 1e-3 else "the same distances"
        return Turned(lambda x: x, f"{what}{name}", residuals, False, base, rows)
    halves = rows[::2], rows[1::2]
    residuals = _residuals(pair, u, procrustes(u[halves[0]], y[halves[0]]))
    if np.median(residuals[halves[1]]) > HOPELESS:
        return Turned(lambda x: x, f"turned{name}", residuals, False)
    residuals[halves[0]] = _residuals(pair, u, procrustes(u[halves[1]], y[halves[1]]))[halves[0]]
    turn, c, b = procrustes(u[rows], y[rows])
    times = f" times {c:.6g}" if abs(c - 1) > 1e-3 else ""
    shift = np.linalg.norm(b)
    moved = f", shifted by a vector of length {shift:.4g}" if shift > 0.01 * pair.scale else ""
    return Turned(lambda x: c * (base(x) @ turn) + b, f"turned{times}{moved}{name}", residuals, True, base, rows)


def _residuals(pair: FilePair, u: np.ndarray, fitted: tuple[np.ndarray, float, np.ndarray]) -> np.ndarray:
    turn, c, b = fitted
    return np.asarray(np.linalg.norm(c * (u @ turn) + b - pair.ys, axis=1) / pair.lengths(pair.ys))


def procrustes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The rotation R (d, e), factor c and shift b (e,) for which c x R + b is nearest to y in squares (Schönemann 1966)."""
    mx, my = x.mean(0), y.mean(0)
    u, s, vt = thin_svd((x - mx).T @ (y - my))
    turn = u @ vt
    c = float(s.sum() / max(float(np.square((x - mx) @ turn).sum()), 1e-300))
    return turn, c, my - c * (mx @ turn)


def _scale(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.linalg.norm(y - y.mean(0)) / max(float(np.linalg.norm(x - x.mean(0))), 1e-300))


def gram_residuals(x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(m,) how far each row's products with the given rows differ between x and y, relative to their usual length.

    A row's product with itself does not count.
    """
    gx, gy = products(x, rows), products(y, rows)
    for g in (gx, gy):
        g[rows, np.arange(len(rows))] = 0
    lengths = np.linalg.norm(gy, axis=1)
    usual = float(np.median(lengths[rows]))
    return np.asarray(np.linalg.norm(gx - gy, axis=1) / np.maximum(lengths, max(usual, 1e-300)))


def _noise_per_product(y: np.ndarray, rows: np.ndarray) -> float:
    """The error of rows that goes with an error of 1 in their products, estimated by adding noise to the rows of y."""
    z = y[rows] - y[rows].mean(0)
    noise = np.random.default_rng(0).normal(size=z.shape)
    noise *= TRIAL * float(np.median(np.linalg.norm(z, axis=1))) / np.linalg.norm(noise, axis=1, keepdims=True)
    error = float(np.median(gram_residuals(z + noise, z, np.arange(len(z)))))
    return TRIAL / max(error, 1e-300)


def products(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(m, r) inner products of all rows with the given ones, centred on these, in units of their mean square."""
    z = x - x[rows].mean(0)
    return np.asarray(z @ z[rows].T / max(float(np.square(z[rows]).sum()), 1e-300) * len(rows))

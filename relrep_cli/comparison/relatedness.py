"""Whether the geometry of two spaces agrees more than under random pairings of their rows."""

from __future__ import annotations

import numpy as np

from relrep_cli.comparison.file_pairs import FilePair
from relrep_cli.comparison.row_maps import unit

ROWS = 600  # whose products with each other are compared
PAIRINGS = 200  # random ones
CERTAIN, POSSIBLE = 6.0, 5.0  # deviations of random pairings above which spaces are related, below which unrelated


def relatedness(pair: FilePair) -> tuple[float, float]:
    """The largest number of deviations by which the paired rows agree more than random pairings, and the unbiased CKA.

    Looks at inner products and at cosines of centred rows, and at which rows are near each other.
    """
    some = np.sort(np.random.default_rng(0).permutation(len(pair.xs))[:ROWS])
    x, y = (side[some] - side[some].mean(0) for side in (pair.xs, pair.ys))
    grams = [(x @ x.T, y @ y.T), (unit(x) @ unit(x).T, unit(y) @ unit(y).T)]
    grams.append((_near(grams[1][0]), _near(grams[1][1])))
    best, cka = 0.0, 0.0
    for number, (gx, gy) in enumerate(grams):
        gx, gy = _unbiased(gx), _unbiased(gy)
        size = np.linalg.norm(gx) * np.linalg.norm(gy)
        if not size > 0:
            continue
        value = float((gx * gy).sum() / size)
        cka = value if number == 0 else cka
        null = [float((gx * gy[np.ix_(p, p)]).sum() / size) for p in _pairings(len(some))]
        best = max(best, (value - float(np.mean(null))) / max(float(np.std(null)), 1e-12))
    return best, cka


def _pairings(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.permutation(n) for _ in range(PAIRINGS if n <= 300 else 60)]


def _near(g: np.ndarray) -> np.ndarray:
    """1 where a row is among the nearest tenth, at most 20, of another, or the other way round."""
    g = g.copy()
    np.fill_diagonal(g, -np.inf)
    k = int(np.clip(len(g) // 10, 1, 20))
    out = np.zeros_like(g)
    np.put_along_axis(out, np.argpartition(-g, k - 1, axis=1)[:, :k], 1, 1)
    return out + out.T


def _unbiased(g: np.ndarray) -> np.ndarray:
    """The products of rows with the diagonal left out and rows and columns centred without it (Székely and Rizzo 2014)."""
    n = len(g)
    g = g.copy()
    np.fill_diagonal(g, 0)
    sums = g.sum(1)
    g = g - sums[:, None] / (n - 2) - sums[None, :] / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(g, 0)
    return g

"""Chance levels: the mean value of a metric when the rows of one space are paired with those of the other at random."""

from __future__ import annotations

from collections.abc import Callable
from math import nan, sqrt

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.covariances import Covariances, Parts, axes, cross, one_thread

REACH = 0.008  # standard error of a drawn level, as a share of the distance from chance to the best value
NEAR = 0.2  # a distance from chance to the best value below which it is not followed further
MOST = 2000  # draws, at most
LEAST = 32  # draws, at least, unless they cost more than WORK
WORK = 1 << 21  # numbers in all random cross products of the least draws
PAIRED = 1e9  # multiply-adds of one cross product up to which rows are paired at random; above, the rows are rotated


@dataclass(frozen=True)
class Level:
    """A drawn chance level: its mean, the number of draws, and the standard error of the mean."""

    mean: float
    draws: int
    error: float


UNKNOWN = Level(nan, 0, 0.0)


def drawn(draw: Callable[[np.random.Generator], float], best: float, seed: int, least: int = 10) -> Level:
    """Draw random values until the standard error of their mean is small against the distance from the mean to `best`.

    draw: function of a random generator, which returns the value of one random pairing. best: the value of full agreement.
    """
    rng, values = np.random.default_rng(seed), np.empty(0)
    while True:
        more = max(least - len(values), len(values) // 4, 1)
        values = np.append(values, [draw(rng) for _ in range(min(more, MOST - len(values)))])
        mean, error = float(values.mean()), float(values.std(ddof=1)) / sqrt(len(values))
        if not error > REACH * max(abs(best - mean), NEAR) or len(values) >= MOST:
            return Level(mean, len(values), error)


def chance(
    parts: Parts,
    value: Callable[[Covariances], float],
    best: float,
    *,
    seed: int,
    units: tuple[np.ndarray, np.ndarray] | None = None,
) -> Level:
    """Draw the chance level of a value that is a function of covariances; UNKNOWN when no intervals are wanted.

    Rows are paired at random. Where a cross product of many rows would cost too much, the rows of one space are rotated at
    random instead: sums over so many rows are nearly normal. units: (dx,) and (dy,) by which columns are multiplied.
    """
    if not parts.workspace.intervals:
        return UNKNOWN
    c = parts.whole if units is None else parts.whole.within(*map(np.diag, units))
    dims = c.xy.shape
    with one_thread(sum(dims)):
        draw = _pairing(parts, units) if parts.n * dims[0] * dims[1] <= PAIRED else _rotation(c)
        least = int(np.clip(WORK // (dims[0] * dims[1]), 4, LEAST))
        return drawn(lambda rng: value(Covariances(c.n, c.xx, c.yy, draw(rng))), best, seed, least)


Draw = Callable[[np.random.Generator], np.ndarray]


def _pairing(parts: Parts, units: tuple[np.ndarray, np.ndarray] | None) -> Draw:
    """A function that returns xy (dx, dy) with the rows of y in random order."""

    x, y = parts.rows
    means = parts.means()

    def draw(rng: np.random.Generator) -> np.ndarray:
        xy = cross(x, y, *means, rng.permutation(parts.n))
        return xy if units is None else units[0][:, None] * xy * units[1]

    return draw


def _rotation(c: Covariances) -> Draw:
    """A function that returns xy (dx, dy) with the rows of y rotated at random. Centred rows lie in n - 1 dimensions."""
    (bx, sx), (by, sy) = axes(c.xx), axes(c.yy)
    rows = max(c.n - 1, len(sx), len(sy))
    left, right = bx * np.sqrt(sx), by * np.sqrt(sy)
    return lambda rng: np.asarray(left @ random_block(rng, rows, len(sx), len(sy)) @ right.T)


def random_block(rng: np.random.Generator, n: int, p: int, q: int) -> np.ndarray:
    """Draw the (p, q) corner of a random rotation in n dimensions: the inner products of two random orthonormal bases.

    No array of size n is needed: the first q rows of an orthonormal (n, p) matrix are G R^-1, where G is Gaussian and R'R is
    G'G plus a Wishart matrix of the n - q other rows.
    """
    g = rng.normal(size=(q, p))
    rest = n - q
    if rest < p:
        w = rng.normal(size=(rest, p))
    else:  # Bartlett's decomposition
        w = np.triu(rng.normal(size=(p, p)), 1)
        np.fill_diagonal(w, np.sqrt(rng.chisquare(rest - np.arange(p))))
    r = np.asarray(np.linalg.qr(np.concatenate([g, w]), mode="r"))
    return np.linalg.solve(r.T, g.T)

"""Turns of one space into another, found from a few pairs of rows or from none.

Spaces are u (n, d) and v (n', d') with rows centred and of length 1, so that nearest means of largest cosine; their rows need
not be the same items. A turn is (d, d') with orthonormal rows or columns: u @ turn lies in the space of v.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.embedding import Embedding
from relrep_cli.neighbors import nearest
from relrep_cli.neighbors.kmeans import centroids
from relrep_cli.numerics.blocks import column_mean, pick, row_blocks
from relrep_cli.numerics.distances import unit

BATCH, BASE = 2000, 20_000  # rows that are matched at a time, and rows among which
AROUND = 20  # nearest rows whose mean a row is drawn to
STEADY = 0.5  # how much of the last turn stays in the next
CLUSTERS = (10, 15, 20)
GUESSES = 50  # of the assignment of clusters, the best of which counts
FOLDS = 5
ASKED = 2000  # rows that say how good a turn is
LEVELS = (0.1, 0.3, 0.5)  # quantiles of distances between strangers
SINKHORN = 1000  # rows on either side of a transport plan
BLUR = 0.02  # of a plan, in median costs


def ready(e: Embedding, rows: np.ndarray) -> np.ndarray:
    """(n, d) float32 rows of e about their mean and of length 1; in a temporary file when large."""
    from relrep_cli.numerics.spool import spool

    mean, out = column_mean(e.x, rows), spool((len(rows), e.d), np.float32)
    for b in row_blocks(*out.shape, out):
        out[b] = unit(np.asarray(pick(e.x, rows[b]), np.float64) - mean)
    return out


def procrustes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(d, d') the turn with the least sum of squares of u @ turn - v, parallel rows (Schönemann 1966)."""
    left, _, right = np.linalg.svd(np.asarray(u, np.float64).T @ np.asarray(v, np.float64), full_matrices=False)
    return left @ right


def turned(u: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(n, d') float32 u @ turn at length 1, in blocks; in a temporary file when large."""
    from relrep_cli.numerics.spool import spool

    out = spool((len(u), turn.shape[1]), np.float32)
    for b in row_blocks(len(u), max(turn.shape), u, out):
        out[b] = unit(u[b] @ turn)
    return out


def some(x: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many random row numbers of x."""
    return rng.permutation(len(x))[:most]


def refine(
    u: np.ndarray,
    v: np.ndarray,
    turn: np.ndarray,
    rng: np.random.Generator,
    steps: int,
    known: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """A better turn: random rows of u are drawn to the mean of the rows of v that they fall next to, again and again.

    After the refinement of mini-vec2vec. known: parallel rows that always count as much as all others.
    """
    for _ in range(steps):
        check()
        x, base = pick(u, some(u, BATCH, rng)), pick(v, some(v, BASE, rng))
        k = max(1, min(AROUND, len(base) // 50))
        goal = unit(base[nearest(turned(x, turn), base, k).rows].mean(1))
        if known is not None:
            weight = np.float32(np.sqrt(len(x) / len(known[0])))
            x, goal = np.concatenate([x, weight * known[0]]), np.concatenate([goal, weight * known[1]])
        turn = STEADY * turn + (1 - STEADY) * procrustes(x, goal)
        turn = _orthonormal(turn)
    return turn


def _orthonormal(turn: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(turn, full_matrices=False)
    return left @ right


@dataclass(frozen=True, eq=False)
class Match:
    """Rows `a` of u with the row `b` of v that each falls nearest to. ratio: of that distance to the distance to the second
    nearest. mutual: whether a is in turn the row of u nearest to b. All are (q,)."""

    a: np.ndarray
    b: np.ndarray
    ratio: np.ndarray
    mutual: np.ndarray


def match(u: np.ndarray, v: np.ndarray, turn: np.ndarray, rows: np.ndarray) -> Match:
    """The rows of u of these numbers, matched among all rows of v."""
    moved = turned(u, turn)
    near = nearest(pick(moved, rows), v, min(2, len(v))).rows
    b = near[:, 0]
    back = nearest(pick(v, b), moved, 1).rows[:, 0]
    return Match(rows, b, _ratio(pick(moved, rows), v, near), back == rows)


def _ratio(x: np.ndarray, base: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(q,) distance to the first over distance to the last of some rows near (q, k); 1 where there is none."""
    gaps = [np.linalg.norm(np.asarray(x, np.float64) - pick(base, near[:, place]), axis=1) for place in (0, -1)]
    return np.divide(gaps[0], gaps[1], out=np.ones(len(x)), where=gaps[1] > 0)


def steady(u: np.ndarray, v: np.ndarray, found: Match, rng: np.random.Generator) -> np.ndarray:
    """(q,) which of the rows that find each other still do by a turn that they had no part in: fitted to four fifths of all
    such pairs, judged on the last, five times."""
    mutual, good = np.flatnonzero(found.mutual), np.zeros(len(found.a), bool)
    for fold in np.array_split(rng.permutation(mutual), FOLDS):
        rest = np.setdiff1d(mutual, fold)
        if len(fold) and len(rest):
            turn = procrustes(pick(u, found.a[rest]), pick(v, found.b[rest]))
            good[fold] = nearest(turned(pick(u, found.a[fold]), turn), v, 1).rows[:, 0] == found.b[fold]
    return good


def polish(u: np.ndarray, v: np.ndarray, turn: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The turn that random rows give which find each other, among all rows."""
    for _ in range(2):
        found = match(u, v, turn, some(u, ASKED, rng))
        if found.mutual.sum() < min(turn.shape):
            return turn
        turn = procrustes(pick(u, found.a[found.mutual]), pick(v, found.b[found.mutual]))
    return turn


def meeting(u: np.ndarray, v: np.ndarray, turn: np.ndarray, rng: np.random.Generator) -> float:
    """The share of (at most 2,000 random) rows of u that find a row of v which finds them: what tells one turn from another."""
    return float(match(u, v, turn, some(u, ASKED, rng)).mutual.mean())


def confidence(apart: np.ndarray, v: np.ndarray, turn: np.ndarray, rng: np.random.Generator) -> float:
    """The share of rows that have found their counterpart, at least, judged on rows `apart` (q, d) of u that no fit has seen.

    Strangers from the same cloud fall among the rows of v as these do among each other, so their nearest is as much nearer
    than their second nearest. Counterparts are nearer than that. The surplus of near ones is a lower bound (as that of Storey
    2002): counterparts as far off as neighbours are not told from them. Of the near ones their exact 95 % bound counts
    (Clopper and Pearson 1934), so that few rows prove little; of strangers their share and 1.64 standard errors.
    """
    from scipy.special import betaincinv

    ours = _ratio(moved := turned(apart, turn), v, nearest(moved, v, 2).rows)
    rows = np.sort(some(v, ASKED, rng))
    theirs = _ratio(pick(v, rows), v, nearest(v, v, 2, exclude_self=True, rows=rows).rows)
    bounds = [0.0]
    for level in LEVELS:
        near = int((ours <= np.quantile(theirs, level)).sum())
        least = betaincinv(near, len(ours) - near + 1, 0.05) if near else 0.0
        bounds.append((least - level - 1.64 * np.sqrt(level * (1 - level) / len(theirs))) / (1 - level))
    return float(max(bounds))


def starts(u: np.ndarray, v: np.ndarray, rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """Turns to begin with, from no pairs: one by principal axes, then `count` by matching the centroids of k-means.

    Principal axes pair by their variance, their signs by the skewness along them. Centroids pair by quadratic assignment: so
    that their cosines within one space are those within the other (mini-vec2vec, 2025), from random guesses.
    """
    yield _axes(u) @ _axes(v).T if u.shape[1] == v.shape[1] else _narrowed(_axes(u), _axes(v))
    for place in range(count):
        check()
        c = min(CLUSTERS[place % len(CLUSTERS)], len(u) // 2, len(v) // 2)
        left, right = (unit(np.asarray(centroids(pick(x, some(x, BASE, rng)), c, rng), np.float64)) for x in (u, v))
        yield procrustes(left, right[_assigned(left @ left.T, right @ right.T, rng)])


def _axes(x: np.ndarray) -> np.ndarray:
    """(d, d) principal axes in columns, of falling variance, along each of which the rows are skewed to the positive side."""
    products, cubes = np.zeros((x.shape[1], x.shape[1])), np.zeros(x.shape[1])
    for b in row_blocks(*x.shape, x):
        rows = np.asarray(x[b], np.float64)
        products += rows.T @ rows
    axes = np.linalg.eigh(products)[1][:, ::-1]
    for b in row_blocks(*x.shape, x):
        cubes += ((x[b] @ axes) ** 3).sum(0)
    return axes * np.where(cubes < 0, -1, 1)


def _narrowed(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    width = min(len(left), len(right))
    return left[:, :width] @ right[:, :width].T


def _assigned(s: np.ndarray, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(c,) the order of t's rows and columns that makes it most like s, both (c, c): the best of several guesses (FAQ)."""
    from scipy.optimize import quadratic_assignment

    guesses = ["barycenter", *["randomized"] * (GUESSES - 1)]
    ways = [quadratic_assignment(s, t, options={"maximize": True, "P0": guess, "rng": rng}) for guess in guesses]
    return max(ways, key=lambda way: way.fun).col_ind


def transported(
    u: np.ndarray, v: np.ndarray, known: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, rounds: int
) -> np.ndarray:
    """A turn from a few known pairs of rows, (s, d) and (s, d'), after Cannistraci et al. 2023.

    Rows are described by their cosines to anchors, first the known pairs alone. A Sinkhorn plan between random rows of the
    two spaces says which belong together; the turn that fits it moves 300 random rows of u to where they lie in v, and these
    are the anchors of the next round. (The paper moves the anchors by gradient steps; here the best ones are in closed form.)
    """
    anchors, extra = known, np.asarray(pick(u, some(u, 300, rng)), np.float64)
    turn = procrustes(*known)
    for _ in range(rounds):
        check()
        x, y = (np.asarray(pick(z, some(z, SINKHORN, rng)), np.float64) for z in (u, v))
        plan = _plan(1 - unit(x @ anchors[0].T) @ unit(y @ anchors[1].T).T)
        weight = np.sqrt(len(x) / len(known[0]))
        turn = procrustes(np.concatenate([x, weight * known[0]]), np.concatenate([plan @ y, weight * known[1]]))
        anchors = np.concatenate([known[0], extra]), np.concatenate([known[1], unit(extra @ turn)])
    return turn


def _plan(costs: np.ndarray) -> np.ndarray:
    """(q, r) rows of weights, of sum 1, that carry equal masses at least cost, blurred a little (Cuturi 2013)."""
    masses = (np.full(size, 1 / size) for size in costs.shape)
    plan = _sinkhorn()(*masses, costs, BLUR * float(np.median(costs)), numItermax=200, stopThr=1e-6, warn=False)
    return np.asarray(plan / np.maximum(plan.sum(1, keepdims=True), 1e-300))


def _sinkhorn() -> Any:
    """POT's, imported without the tensor libraries that it would load for inputs of theirs."""
    variables = {f"POT_BACKEND_DISABLE_{name}": "1" for name in ("PYTORCH", "JAX", "TENSORFLOW", "CUPY")}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        return import_module("ot").sinkhorn
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})

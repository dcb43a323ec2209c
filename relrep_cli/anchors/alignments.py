"""Find the rotation between two spaces, from a few known pairs of rows or from none.

The spaces are u (n, d) and v (n', d'). Their rows are centred and have length 1, so the nearest row is the one with the
largest cosine. The rows of u and v need not be the same items. A rotation is (d, d') with orthonormal rows or columns, and may
include a reflection: u @ rotation lies in the space of v.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.embedding import Embedding
from relrep_cli.neighbors import nearest
from relrep_cli.neighbors.kmeans import centroids
from relrep_cli.numerics.blocks import column_mean, pick, row_blocks
from relrep_cli.numerics.distances import unit
from relrep_cli.numerics.singular_values import thin_svd
from relrep_cli.numerics.transport import sinkhorn

BATCH, BASE = 2000, 20_000  # rows of u matched in one step, and rows of v among which they are matched
TARGET_NEIGHBOURS = 20  # a row's target is the mean of this many nearest rows
MOMENTUM = 0.5  # weight of the previous rotation
CLUSTERS = (10, 15, 20)
GUESSES = 50  # random starts of the assignment of clusters; the best result is kept
FOLDS = 5
VALIDATION_ROWS = 2000  # rows used to assess a rotation
LEVELS = (0.1, 0.3, 0.5)  # quantiles of the distance ratios between unrelated rows
SINKHORN = 1000  # rows on either side of a transport plan
BLUR = 0.02  # entropic regularisation of a plan, as a multiple of the median cost


def centred_unit_rows(embedding: Embedding, rows: np.ndarray) -> np.ndarray:
    """Centre the chosen rows and scale them to length 1.

    Returns (n, d) float32; in a temporary file when large.
    """
    from relrep_cli.numerics.spool import spool

    mean, out = column_mean(embedding.x, rows), spool((len(rows), embedding.d), np.float32)
    for b in row_blocks(*out.shape, out):
        out[b] = unit(np.asarray(pick(embedding.x, rows[b]), np.float64) - mean)
    return out


def procrustes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Find the rotation (d, d') that minimises the sum of squares of u @ rotation - v, for parallel rows.

    u: (n, d) and v: (n, d').

    Source: Schönemann 1966.
    """
    left, _, right = thin_svd(np.asarray(u, np.float64).T @ np.asarray(v, np.float64))
    return left @ right


def rotated(u: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Rotate the rows of u and scale them to length 1.

    u: (n, d). rotation: (d, d').

    Returns (n, d') float32; in a temporary file when large.
    """
    from relrep_cli.numerics.spool import spool

    out = spool((len(u), rotation.shape[1]), np.float32)
    for b in row_blocks(len(u), max(rotation.shape), u, out):
        out[b] = unit(u[b] @ rotation)
    return out


def sample_rows(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return at most `count` random row numbers of x, without repeats.

    x: (n, d). Returns (k,) row numbers.
    """
    return rng.permutation(len(x))[:count]


def refine(
    u: np.ndarray,
    v: np.ndarray,
    rotation: np.ndarray,
    rng: np.random.Generator,
    steps: int,
    known: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Refine a rotation by repeated matching.

    u: (n, d) and v: (p, d') rows of length 1. rotation: (d, d').

    Each step matches random rows of u with the mean of their nearest rows of v, fits a rotation to these pairs, and averages
    it with the previous rotation.

    known: parallel rows of u and v. Together they weigh as much as all other rows of a step.

    Source: the refinement of mini-vec2vec (Dar 2025).
    """
    for _ in range(steps):
        check()
        x, base = pick(u, sample_rows(u, BATCH, rng)), pick(v, sample_rows(v, BASE, rng))
        k = max(1, min(TARGET_NEIGHBOURS, len(base) // 50))
        target = unit(base[nearest(rotated(x, rotation), base, k).rows].mean(1))
        if known is not None:
            weight = np.float32(np.sqrt(len(x) / len(known[0])))
            x, target = np.concatenate([x, weight * known[0]]), np.concatenate([target, weight * known[1]])
        rotation = MOMENTUM * rotation + (1 - MOMENTUM) * procrustes(x, target)
        rotation = _orthonormal(rotation)
    return rotation


def _orthonormal(rotation: np.ndarray) -> np.ndarray:
    left, _, right = thin_svd(rotation)
    return left @ right


@dataclass(frozen=True, eq=False)
class Match:
    """Rows of u and the nearest row of v of each, after rotation. All arrays are (q,).

    a: row numbers in u. b: row numbers in v. ratio: distance to b divided by the distance to the second nearest row. mutual:
    whether a is also the nearest row of u to b.
    """

    a: np.ndarray
    b: np.ndarray
    ratio: np.ndarray
    mutual: np.ndarray


def match(u: np.ndarray, v: np.ndarray, rotation: np.ndarray, rows: np.ndarray) -> Match:
    """Match the given rows of u (by number) with all rows of v.

    u: (n, d) and v: (p, d') rows of length 1. rotation: (d, d'). rows: (q,).
    """
    moved = rotated(u, rotation)
    near = nearest(pick(moved, rows), v, min(2, len(v))).rows
    b = near[:, 0]
    back = nearest(pick(v, b), moved, 1).rows[:, 0]
    return Match(rows, b, _ratio(pick(moved, rows), v, near), back == rows)


def _ratio(x: np.ndarray, base: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(q,) distance to the first of the rows `near` (q, k), divided by the distance to the last; 1 when the latter is 0."""
    first, last = (np.linalg.norm(np.asarray(x, np.float64) - pick(base, near[:, at]), axis=1) for at in (0, -1))
    return np.divide(first, last, out=np.ones(len(x)), where=last > 0)


def stable(u: np.ndarray, v: np.ndarray, pairs: Match, rng: np.random.Generator) -> np.ndarray:
    """Test the mutual pairs by cross-validation.

    A rotation is fitted to four fifths of the mutual pairs. A pair of the last fifth is stable when its row of u still falls
    nearest to its row of v.

    Returns a boolean mask (q,).
    """
    mutual, good = np.flatnonzero(pairs.mutual), np.zeros(len(pairs.a), bool)
    for fold in np.array_split(rng.permutation(mutual), FOLDS):
        rest = np.setdiff1d(mutual, fold)
        if len(fold) and len(rest):
            rotation = procrustes(pick(u, pairs.a[rest]), pick(v, pairs.b[rest]))
            good[fold] = nearest(rotated(pick(u, pairs.a[fold]), rotation), v, 1).rows[:, 0] == pairs.b[fold]
    return good


def polish(u: np.ndarray, v: np.ndarray, rotation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fit the rotation again to mutual pairs of random rows, matched among all rows. Two rounds.

    u: (n, d) and v: (p, d') rows of length 1. rotation: (d, d').

    A round with too few mutual pairs leaves the rotation unchanged.
    """
    for _ in range(2):
        pairs = match(u, v, rotation, sample_rows(u, VALIDATION_ROWS, rng))
        if pairs.mutual.sum() < min(rotation.shape):
            return rotation
        rotation = procrustes(pick(u, pairs.a[pairs.mutual]), pick(v, pairs.b[pairs.mutual]))
    return rotation


def mutual_share(u: np.ndarray, v: np.ndarray, rotation: np.ndarray, rng: np.random.Generator) -> float:
    """The share of rows of u (at most 2,000 random ones) that form a mutual pair; it ranks rotations."""
    return float(match(u, v, rotation, sample_rows(u, VALIDATION_ROWS, rng)).mutual.mean())


def confidence(held_out: np.ndarray, v: np.ndarray, rotation: np.ndarray, rng: np.random.Generator) -> float:
    """Estimate a lower bound on the share of rows whose nearest row of v is their true counterpart.

    held_out: (q, d) rows of u that no fit has used.

    The test statistic is the distance to the nearest row of v, divided by the distance to the second nearest. For unrelated
    rows of the same distribution, this ratio is distributed as it is among the rows of v themselves. True counterparts have
    smaller ratios. The excess of small ratios is a lower bound on the share of counterparts (as in Storey 2002), because a
    counterpart that is no nearer than a neighbour is not counted.

    The share of small ratios enters with its exact 95 % lower bound (Clopper and Pearson 1934), so that few rows prove little.
    The share among unrelated rows is increased by 1.64 standard errors.
    """
    from scipy.special import betaincinv

    ratios = _ratio(moved := rotated(held_out, rotation), v, nearest(moved, v, 2).rows)
    rows = np.sort(sample_rows(v, VALIDATION_ROWS, rng))
    unrelated = _ratio(pick(v, rows), v, nearest(v, v, 2, exclude_self=True, rows=rows).rows)
    bounds = [0.0]
    for level in LEVELS:
        near = int((ratios <= np.quantile(unrelated, level)).sum())
        lower = betaincinv(near, len(ratios) - near + 1, 0.05) if near else 0.0
        bounds.append((lower - level - 1.64 * np.sqrt(level * (1 - level) / len(unrelated))) / (1 - level))
    return float(max(bounds))


def initial_rotations(u: np.ndarray, v: np.ndarray, rng: np.random.Generator, count: int) -> Iterator[np.ndarray]:
    """Yield rotations to start from, without known pairs: one from principal axes, then `count` from k-means centroids.

    u: (n, d) and v: (p, d') rows of length 1. Each rotation: (d, d').

    Principal axes are paired by their variance, and their signs by the skewness along them. Centroids are paired by quadratic
    assignment, so that the cosines between centroids in one space match those in the other (mini-vec2vec, Dar 2025). The
    assignment starts from random guesses.
    """
    yield _axes(u) @ _axes(v).T if u.shape[1] == v.shape[1] else _narrowed(_axes(u), _axes(v))
    for place in range(count):
        check()
        c = min(CLUSTERS[place % len(CLUSTERS)], len(u) // 2, len(v) // 2)
        left, right = (unit(np.asarray(centroids(pick(x, sample_rows(x, BASE, rng)), c, rng), np.float64)) for x in (u, v))
        yield procrustes(left, right[_assigned(left @ left.T, right @ right.T, rng)])


def _axes(x: np.ndarray) -> np.ndarray:
    """(d, d) principal axes in columns, by decreasing variance; the sign makes the skewness along each axis positive."""
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
    """(c,) the order of the rows and columns of t (c, c) that best matches s (c, c): FAQ algorithm, best of several runs."""
    from scipy.optimize import quadratic_assignment

    guesses = ["barycenter", *["randomized"] * (GUESSES - 1)]
    runs = [quadratic_assignment(s, t, options={"maximize": True, "P0": guess, "rng": rng}) for guess in guesses]
    return max(runs, key=lambda run: run.fun).col_ind


def rotation_by_transport(
    u: np.ndarray, v: np.ndarray, known: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, rounds: int
) -> np.ndarray:
    """Find a rotation from a few known pairs of rows by optimal transport.

    known: (s, d) and (s, d') parallel rows. rounds: how often to repeat.

    Each round describes rows by their cosines to anchors; the first anchors are the known pairs. A Sinkhorn plan matches random
    rows of the two spaces. A rotation is fitted to the plan. It maps 300 random rows of u into v, and these are the additional
    anchors of the next round.

    Source: Cannistraci et al. 2023. The paper optimises the anchors by gradient descent; here they have a closed form.
    """
    anchors, extra = known, np.asarray(pick(u, sample_rows(u, 300, rng)), np.float64)
    rotation = procrustes(*known)
    for _ in range(rounds):
        check()
        x, y = (np.asarray(pick(z, sample_rows(z, SINKHORN, rng)), np.float64) for z in (u, v))
        plan = _plan(1 - unit(x @ anchors[0].T) @ unit(y @ anchors[1].T).T)
        weight = np.sqrt(len(x) / len(known[0]))
        rotation = procrustes(np.concatenate([x, weight * known[0]]), np.concatenate([plan @ y, weight * known[1]]))
        anchors = np.concatenate([known[0], extra]), np.concatenate([known[1], unit(extra @ rotation)])
    return rotation


def _plan(costs: np.ndarray) -> np.ndarray:
    """(q, r) entropic optimal transport plan between uniform masses, each row scaled to sum 1 (Cuturi 2013)."""
    plan = sinkhorn(costs, BLUR * float(np.median(costs)))
    return np.asarray(plan / np.maximum(plan.sum(1, keepdims=True), 1e-300))

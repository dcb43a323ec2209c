"""Strategies that find pairs of corresponding rows in two spaces, without common ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np

from relrep_cli.anchors import alignments
from relrep_cli.anchors.candidates import Candidates, strategy
from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Param
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import pick, take
from relrep_cli.numerics.threads import single_threaded

Restarts = Annotated[int, Param("Starts to try, by matching clusters, until one is trusted.", minimum=0)]
Rounds = Annotated[int, Param("Rounds of optimal transport; each starts from the anchors of the last.", minimum=1)]
STEPS, MAX_REPEATS = 10, 4  # refinement steps at a time, and how often they are repeated while they help
PROMISING = 0.8  # a start is pursued only if its mutual share reaches this fraction of the best one so far
TRUSTED = 0.5  # confidence at which no further start is tried
HOLD_OUT = 5  # one in so many rows is kept out of every fit and used to assess it
POOL = 4  # candidate pairs for each pair wanted
Advance = Callable[[int, int, str], None]
Known = tuple[np.ndarray, np.ndarray]  # parallel rows, (s, d) and (s, d')
Assess = Callable[[np.ndarray], float]  # from a rotation to the confidence in it
Fit = Callable[[np.ndarray, np.ndarray, Known, Assess], np.ndarray]


@dataclass(frozen=True, eq=False)
class Matching:
    """The pairs that a strategy found.

    places: (p, 2) places among the candidates of the two files. score: (p,) cosines of the pairs after rotation. confidence:
    see `alignments.confidence`. rotation, u, v: the rotation and the centred unit rows of both spaces, as in `alignments`.
    """

    places: np.ndarray
    score: np.ndarray
    confidence: float
    rotation: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def hits(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Boolean mask (q,): whether row b[i] is the nearest of all rows of v to row a[i] of u."""
        return alignments.match(self.u, self.v, self.rotation, a).b == b


@strategy(gives="pairs", reads="seeds", source="Cannistraci et al. 2023, least squares in closed form")
def bootstrap(
    a: Candidates,
    b: Candidates,
    m: int,
    rng: np.random.Generator,
    *,
    seeds: np.ndarray,
    advance: Advance,
    rounds: Rounds = 6,
) -> Matching:
    """Pairs between two files grown from a few known ones (--seeds), which come first.

    seeds: (s, 2) places among the candidates of the two files.

    Raises DataError when there are fewer than three seeds.
    """
    if len(seeds) < 3:
        raise DataError(f"{len(seeds)} known pairs are too few to start from", "Give three or more, 20 to be safe.")

    def fit(u: np.ndarray, v: np.ndarray, known: Known, assess: Assess) -> np.ndarray:
        advance(0, 3, "transport")
        rotation = alignments.rotation_by_transport(u, v, known, rng, rounds)
        advance(1, 3, "refinement")
        return alignments.refine(u, v, rotation, rng, 2 * STEPS, known)

    return _matched(a, b, m, rng, seeds, fit)


@strategy(gives="pairs", reads="", source="mini-vec2vec (Dar 2025); one start by principal axes is ours")
def unsupervised(
    a: Candidates, b: Candidates, m: int, rng: np.random.Generator, *, advance: Advance, restarts: Restarts = 30
) -> Matching:
    """Pairs between two files from the shape of their clouds alone, with no known pair.

    k-means centroids are matched by quadratic assignment; a rotation is fitted to them (Procrustes) and refined. Of several
    starts, the one with the highest confidence wins, then the one with the largest share of mutual pairs.
    """

    def fit(u: np.ndarray, v: np.ndarray, known: Known, assess: Assess) -> np.ndarray:
        left, right = (pick(x, np.sort(alignments.sample_rows(x, alignments.BASE, rng))) for x in (u, v))
        best, largest_share, best_rotation = (-1.0, -1.0), 0.0, np.empty(0)
        for done, start in enumerate(alignments.initial_rotations(u, v, rng, restarts)):
            advance(done, restarts + 1, f"start {done}, confidence {max(best[0], 0):.2f}")
            rotation = alignments.refine(left, right, start, rng, STEPS)
            rotation, share = _refined(left, right, rotation, rng, PROMISING * largest_share)
            largest_share = max(largest_share, share)
            if share < PROMISING * largest_share:
                continue
            rotation = alignments.polish(u, v, rotation, rng)
            quality = assess(rotation), share
            if quality > best:
                best, best_rotation = quality, rotation
            if best[0] > TRUSTED:
                break
        return best_rotation

    return _matched(a, b, m, rng, np.empty((0, 2), np.int64), fit)


def _refined(
    u: np.ndarray, v: np.ndarray, rotation: np.ndarray, rng: np.random.Generator, least: float
) -> tuple[np.ndarray, float]:
    """Refine a rotation while its mutual share grows; return both. A share below `least` is not worth refining."""
    share = alignments.mutual_share(u, v, rotation, rng)
    for _ in range(MAX_REPEATS if share >= least else 0):
        previous, rotation = share, alignments.refine(u, v, rotation, rng, STEPS)
        share = alignments.mutual_share(u, v, rotation, rng)
        if share < 1.05 * previous:
            break
    return rotation, share


def _matched(a: Candidates, b: Candidates, m: int, rng: np.random.Generator, seeds: np.ndarray, fit: Fit) -> Matching:
    """Find the rotation with `fit`, its confidence on held-out rows, and the pairs that it gives.

    BLAS runs on one thread, which is faster for small matrices and gives the same result on any machine.
    """

    with single_threaded("blas"):
        u, v = (alignments.centred_unit_rows(c.spaces[0], c.rows[0]) for c in (a, b))
        known: Known = np.asarray(pick(u, seeds[:, 0]), np.float64), np.asarray(pick(v, seeds[:, 1]), np.float64)
        free = np.setdiff1d(np.arange(len(u)), seeds[:, 0])
        held_out = rng.permutation(free)[: min(alignments.VALIDATION_ROWS, len(free) // HOLD_OUT)]
        if not len(held_out):
            raise DataError(
                f"{len(u)} items are too few to find pairs and to test them",
                "Give files with more items.",
                file=a.spaces[0].uri,
            )
        fitted_rows = take(u, np.setdiff1d(np.arange(len(u)), held_out))
        test_rows = pick(u, held_out)

        def assess(rotation: np.ndarray) -> float:
            return alignments.confidence(test_rows, v, rotation, np.random.default_rng(0))

        rotation = alignments.polish(fitted_rows, v, fit(fitted_rows, v, known, assess), rng)
        confidence = assess(rotation)
        if len(seeds) and confidence < TRUSTED:
            refit = lambda pairs: fit(fitted_rows, v, pairs, assess)  # noqa: E731
            confidence = max(confidence, _recovered_share(v, known, seeds[:, 1], refit, rng))
        return _chosen(u, v, rotation, m, rng, seeds, confidence)


def _recovered_share(
    v: np.ndarray, known: Known, b: np.ndarray, fit: Callable[[Known], np.ndarray], rng: np.random.Generator
) -> float:
    """The share of known pairs that a fit to the other known pairs recovers (5-fold). b: their row numbers in v."""
    hits = 0
    for fold in np.array_split(rng.permutation(len(b)), min(alignments.FOLDS, len(b))):
        rotation = fit((np.delete(known[0], fold, 0), np.delete(known[1], fold, 0)))
        moved = alignments.rotated(known[0][fold].astype(np.float32), rotation)
        hits += int((nearest(moved, v, 1).rows[:, 0] == b[fold]).sum())
    return hits / len(b)


def _chosen(
    u: np.ndarray, v: np.ndarray, rotation: np.ndarray, m: int, rng: np.random.Generator, seeds: np.ndarray, confidence: float
) -> Matching:
    """The seeds, then random mutual pairs of the better half: stable pairs first, then those with the smallest ratio."""
    wanted = max(0, m - len(seeds))
    rows = np.setdiff1d(alignments.sample_rows(u, max(alignments.VALIDATION_ROWS, POOL * wanted), rng), seeds[:, 0])
    pairs = alignments.match(u, v, rotation, rows)
    good = np.flatnonzero(pairs.mutual & ~np.isin(pairs.b, seeds[:, 1]))
    good = good[np.lexsort((pairs.ratio[good], ~alignments.stable(u, v, pairs, rng)[good]))]
    kept = rng.permutation(good[: max(wanted, len(good) // 2)])[:wanted]
    places = np.concatenate([seeds[:m], np.stack([pairs.a[kept], pairs.b[kept]], 1)])
    moved = alignments.rotated(pick(u, places[:, 0]), rotation)
    cosine = np.einsum("pd,pd->p", moved, np.asarray(pick(v, places[:, 1]), np.float64))
    return Matching(places, cosine, confidence, rotation, u, v)

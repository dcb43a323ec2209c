"""Strategies that find pairs: rows of two spaces that stand for each other, though no ids say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from relrep_cli.anchors import alignments
from relrep_cli.anchors.candidates import Candidates, strategy
from relrep_cli.base.errors import DataError
from relrep_cli.base.registry import Param
from relrep_cli.neighbors import nearest
from relrep_cli.numerics.blocks import pick, take

Restarts = Annotated[int, Param("Starts to try, by matching clusters, until one is trusted.", minimum=0)]
Rounds = Annotated[int, Param("Transport plans, each with the anchors of the last.", minimum=1)]
STEPS, MORE = 10, 4  # of refinement at a time, and how often as long as it helps
FAIR = 0.8  # of the best start is what another must reach to be looked at closely
SURE = 0.5  # confidence in a turn that needs no other start
APART = 5  # one in so many rows is kept out of every fit, to judge it
POOL = 4  # candidates for each pair wanted
Advance = Callable[[int, int, str], None]
Known = tuple[np.ndarray, np.ndarray]  # parallel rows, (s, d) and (s, d')
Judge = Callable[[np.ndarray], float]  # the confidence in a turn
Fit = Callable[[np.ndarray, np.ndarray, Known, Judge], np.ndarray]


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs as found: places (p, 2) among the candidates of either side, their cosines score (p,), and how far to trust them.

    confidence: see alignments, as are turn, u and v.
    """

    places: np.ndarray
    score: np.ndarray
    confidence: float
    turn: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def hits(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(q,) whether the row of v nearest to row a[i] of u, among all, is b[i]."""
        return alignments.match(self.u, self.v, self.turn, a).b == b


@strategy(gives="pairs", reads="seeds", source="Cannistraci et al. 2023, Sinkhorn by POT, least squares in closed form")
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

    seeds: (s, 2) places among the candidates. Raises DataError with fewer than three.
    """
    if len(seeds) < 3:
        raise DataError(f"{len(seeds)} known pairs are too few to grow from; give three or more, 20 to be safe.")

    def turn(u: np.ndarray, v: np.ndarray, known: Known, judge: Judge) -> np.ndarray:
        advance(0, 3, "transport")
        found = alignments.transported(u, v, known, rng, rounds)
        advance(1, 3, "refinement")
        return alignments.refine(u, v, found, rng, 2 * STEPS, known)

    return _matched(a, b, m, rng, seeds, turn)


@strategy(gives="pairs", reads="", source="mini-vec2vec (Dar 2025); one start by principal axes is ours")
def unsupervised(
    a: Candidates, b: Candidates, m: int, rng: np.random.Generator, *, advance: Advance, restarts: Restarts = 30
) -> Matching:
    """Pairs between two files from the shape of their clouds alone, with no known pair.

    k-means centroids are matched by quadratic assignment, a turn is fitted (Procrustes) and refined; the start whose rows
    find each other most often wins.
    """

    def turn(u: np.ndarray, v: np.ndarray, known: Known, judge: Judge) -> np.ndarray:
        left, right = (pick(x, np.sort(alignments.some(x, alignments.BASE, rng))) for x in (u, v))
        best, met, kept = (-1.0, -1.0), 0.0, np.empty(0)
        for done, start in enumerate(alignments.starts(u, v, rng, restarts)):
            advance(done, restarts + 1, f"start {done}, confidence {max(best[0], 0):.2f}")
            found, value = _refined(left, right, alignments.refine(left, right, start, rng, STEPS), rng, FAIR * met)
            met = max(met, value)
            if value < FAIR * met:
                continue
            found = alignments.polish(u, v, found, rng)
            worth = judge(found), value
            if worth > best:
                best, kept = worth, found
            if best[0] > SURE:
                break
        return kept

    return _matched(a, b, m, rng, np.empty((0, 2), np.int64), turn)


def _refined(
    u: np.ndarray, v: np.ndarray, turn: np.ndarray, rng: np.random.Generator, least: float
) -> tuple[np.ndarray, float]:
    """A turn refined as long as more rows find each other, and the share that do; left as it is where that is below `least`."""
    value = alignments.meeting(u, v, turn, rng)
    for _ in range(MORE if value >= least else 0):
        before, turn = value, alignments.refine(u, v, turn, rng, STEPS)
        value = alignments.meeting(u, v, turn, rng)
        if value < 1.05 * before:
            break
    return turn, value


def _matched(a: Candidates, b: Candidates, m: int, rng: np.random.Generator, seeds: np.ndarray, fit: Fit) -> Matching:
    """The pairs that the turn gives which `fit` finds, and the confidence in it on rows that it was not shown.

    Algebra is done on one thread, which is faster for small matrices, and the same on any machine.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        u, v = (alignments.ready(c.spaces[0], c.rows[0]) for c in (a, b))
        known: Known = np.asarray(pick(u, seeds[:, 0]), np.float64), np.asarray(pick(v, seeds[:, 1]), np.float64)
        free = np.setdiff1d(np.arange(len(u)), seeds[:, 0])
        apart = rng.permutation(free)[: min(alignments.ASKED, len(free) // APART)]
        if not len(apart):
            raise DataError(f"{a.spaces[0].uri}: {len(u)} items are too few to find pairs and judge them.")
        seen = take(u, np.setdiff1d(np.arange(len(u)), apart))
        unseen = pick(u, apart)

        def judge(turn: np.ndarray) -> float:
            return alignments.confidence(unseen, v, turn, np.random.default_rng(0))

        turn = alignments.polish(seen, v, fit(seen, v, known, judge), rng)
        sure = judge(turn)
        if len(seeds) and sure < SURE:
            again = lambda told: fit(seen, v, told, judge)  # noqa: E731
            sure = max(sure, _found_again(v, known, seeds[:, 1], again, rng))
        return _chosen(u, v, turn, m, rng, seeds, sure)


def _found_again(
    v: np.ndarray, known: Known, b: np.ndarray, fit: Callable[[Known], np.ndarray], rng: np.random.Generator
) -> float:
    """The share of known pairs that are found when they are not told, a fifth at a time. b: their rows of v."""
    hits = 0
    for fold in np.array_split(rng.permutation(len(b)), min(alignments.FOLDS, len(b))):
        turn = fit((np.delete(known[0], fold, 0), np.delete(known[1], fold, 0)))
        moved = alignments.turned(known[0][fold].astype(np.float32), turn)
        hits += int((nearest(moved, v, 1).rows[:, 0] == b[fold]).sum())
    return hits / len(b)


def _chosen(
    u: np.ndarray, v: np.ndarray, turn: np.ndarray, m: int, rng: np.random.Generator, seeds: np.ndarray, sure: float
) -> Matching:
    """The seeds, then random rows that find each other, of the better half: steady, and far from the second nearest."""
    wanted = max(0, m - len(seeds))
    asked = np.setdiff1d(alignments.some(u, max(alignments.ASKED, POOL * wanted), rng), seeds[:, 0])
    found = alignments.match(u, v, turn, asked)
    good = np.flatnonzero(found.mutual & ~np.isin(found.b, seeds[:, 1]))
    good = good[np.lexsort((found.ratio[good], ~alignments.steady(u, v, found, rng)[good]))]
    kept = rng.permutation(good[: max(wanted, len(good) // 2)])[:wanted]
    places = np.concatenate([seeds[:m], np.stack([found.a[kept], found.b[kept]], 1)])
    cosine = np.einsum(
        "pd,pd->p", alignments.turned(pick(u, places[:, 0]), turn), np.asarray(pick(v, places[:, 1]), np.float64)
    )
    return Matching(places, cosine, sure, turn, u, v)

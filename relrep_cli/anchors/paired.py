"""Strategies that find pairs: rows of two spaces that stand for each other, though no ids say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from relrep_cli import alignments
from relrep_cli.anchors.candidates import STRATEGIES as strategy
from relrep_cli.anchors.candidates import Candidates
from relrep_cli.errors import DataError
from relrep_cli.registry import Param

Restarts = Annotated[int, Param("Starts to try, by matching clusters, until one is trusted.", minimum=0)]
Rounds = Annotated[int, Param("Transport plans, each with the anchors of the last.", minimum=1)]
SHORT, LONG = 10, 40  # steps of refinement: to judge a start, and to end with
HOPEFUL, SURE = 0.12, 0.8  # trust in a start that is worth refining, and in a turn that is worth no other start
POOL = 4  # candidates for each pair wanted
Advance = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs as found: places (p, 2) among the candidates of either side, their cosines score (p,), and how far to trust them.

    confidence: the share of random rows that find each other, also by a turn fitted without them. turn, u, v: see alignments.
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
    with _one_thread():
        return _grown(_ready(a), _ready(b), m, rng, seeds, advance, rounds)


def _grown(
    u: np.ndarray, v: np.ndarray, m: int, rng: np.random.Generator, seeds: np.ndarray, advance: Advance, rounds: int
) -> Matching:
    known = np.asarray(u[seeds[:, 0]], np.float64), np.asarray(v[seeds[:, 1]], np.float64)
    advance(0, 3, "transport")
    turn = alignments.transported(u, v, known, rng, rounds)
    advance(1, 3, "refinement")
    turn = alignments.refine(u, v, turn, rng, LONG // 2, known)
    turn = alignments.polish(u, v, turn, rng)
    advance(2, 3, "pairs")
    return _chosen(u, v, turn, m, rng, seeds)


@strategy(gives="pairs", reads="", source="mini-vec2vec (Dar 2025); one start by principal axes is ours")
def unsupervised(
    a: Candidates, b: Candidates, m: int, rng: np.random.Generator, *, advance: Advance, restarts: Restarts = 30
) -> Matching:
    """Pairs between two files from the shape of their clouds alone, with no known pair.

    k-means centroids are matched by quadratic assignment, a turn is fitted (Procrustes) and refined; the start whose rows
    find each other most often wins.
    """
    with _one_thread():
        return _guessed(_ready(a), _ready(b), m, rng, advance, restarts)


def _guessed(u: np.ndarray, v: np.ndarray, m: int, rng: np.random.Generator, advance: Advance, restarts: int) -> Matching:
    left, right = (x[np.sort(alignments.some(x, alignments.BASE, rng))] for x in (u, v))
    best, turn = -1.0, np.empty(0)
    for done, start in enumerate(alignments.starts(u, v, rng, restarts)):
        advance(done, restarts + 1, f"start {done}, best {max(best, 0):.2f}")
        found = alignments.refine(left, right, start, rng, SHORT)
        value = alignments.trust(left, right, found, rng)
        if value <= best:
            continue
        best, turn = value, found
        if value > HOPEFUL:
            turn = alignments.polish(u, v, alignments.refine(left, right, found, rng, LONG), rng)
            best = max(best, alignments.trust(left, right, turn, rng))
            if alignments.trust(u, v, turn, rng) > SURE:
                break
    return _chosen(u, v, turn, m, rng, np.empty((0, 2), np.int64))


def _one_thread() -> Any:
    """For the algebra of small matrices, which is faster so, and the same on any machine's number of threads."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")


def _ready(c: Candidates) -> np.ndarray:
    return alignments.ready(c.spaces[0], c.rows[0])


def _chosen(u: np.ndarray, v: np.ndarray, turn: np.ndarray, m: int, rng: np.random.Generator, seeds: np.ndarray) -> Matching:
    """The seeds, then random rows that find each other, of those whose margin to the next is at least the median."""
    wanted = max(0, m - len(seeds))
    asked = np.setdiff1d(alignments.some(u, max(alignments.ASKED, POOL * wanted), rng), seeds[:, 0])
    found = alignments.match(u, v, turn, asked)
    sure = alignments.confirmed(u, v, found, rng)
    confidence = float(sure.mean()) if len(asked) else 0.0
    good = np.flatnonzero(sure & ~np.isin(found.b, seeds[:, 1]))
    clear = good[found.margin[good] >= np.median(found.margin[good])] if len(good) else good
    kept = clear if len(clear) >= wanted else good[np.argsort(-found.margin[good], kind="stable")]
    kept = rng.permutation(kept[: max(wanted, len(clear))])[:wanted]
    places = np.concatenate([seeds[:m], np.stack([found.a[kept], found.b[kept]], 1)])
    cosine = np.einsum("pd,pd->p", alignments.turned(u[places[:, 0]], turn), np.asarray(v[places[:, 1]], np.float64))
    return Matching(places, cosine, confidence, turn, u, v)

"""Universes: one common space for many, with one map from each, fitted on parallel anchors alone.

A registered function takes the anchors of M spaces, (m, d_i) each with row j the same item in all, and gives a Universe. All
spaces meet in the common space, so going through a third space changes nothing: the maps compose exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Annotated, Any, Concatenate, TypeVar

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.numerics.distances import unit
from relrep_cli.numerics.singular_values import thin_svd
from relrep_cli.stitching.translators import LEAST, Affine, nearest_rotation, penalised

FOLDS, CHOOSERS = 5, 1000  # parts of the anchors, and the most anchors, that choose a penalty
PENALTIES = tuple(float(p) for p in np.geomspace(0.1, 10, 9))  # for spaces whose rows have a mean squared length of 1
USUAL = 1.0  # the penalty where the anchors are too few to choose one
PENALTY = "universe_penalty"  # the parameter of that name, and its key in files
WEIGHT = "universe_weight"
BALANCED, FOR_HEADS = 0.75, 6.0  # weights that find most items, and that carry heads best
WIDEST = 1024  # dims of a common space
ROUNDS, SETTLED = 100, 1e-10  # of the spatial median
APART = 1e-6  # change of the mean squared distance at which the generalised Procrustes analysis has settled

Factor = tuple[np.ndarray, np.ndarray, np.ndarray]  # u (m, r), s (r,), v (r, d)
Penalty = Annotated[
    float,
    Param("Ridge penalty of the universe, for rows of mean squared length 1; 0 lets the anchors choose it.", minimum=0),
]
Weight = Annotated[
    float,
    Param(
        f"Power of the spaces' agreement by which the universe weights a coordinate; 0 takes {BALANCED:g}, and {FOR_HEADS:g} "
        "for heads.",
        minimum=0,
    ),
]


@dataclass(frozen=True, eq=False)
class Universe:
    """One map from each space into the common one, and the anchors (m, k) there.

    penalty: of the ridge regressions; 0 where each map chose its own.
    """

    maps: Sequence[Affine]
    anchors: np.ndarray
    penalty: float = 0.0

    @property
    def space(self) -> str:
        """A name of the common space, from its content."""
        return f"universe:{hashlib.sha256(np.ascontiguousarray(self.anchors).tobytes()).hexdigest()[:16]}"


Building = Callable[Concatenate[Sequence[np.ndarray], ...], Universe]
AnyBuilding = TypeVar("AnyBuilding", bound=Building)


@dataclass(frozen=True, kw_only=True, eq=False)
class UniverseEntry(Entry[Building]):
    """A way to build a universe, with its source."""

    source: str

    def __call__(self, function: AnyBuilding) -> AnyBuilding:
        """Register the function."""
        UNIVERSES.add(self.of(function))
        return function


UNIVERSES = Registry("universe", UniverseEntry)
universe_method = UniverseEntry


@universe_method(source="Carroll 1968; regularised as by Takane, Hwang and Abdi 2008; arXiv 2602.06205")
def universe(spaces: Sequence[np.ndarray], *, universe_penalty: Penalty = 0.0, universe_weight: Weight = 0.0) -> Universe:
    """Regularised generalised canonical correlation: the common space that all spaces predict best.

    spaces: (m, d_i) anchors of each space, where row j is the same item.

    The common coordinates G are the leading eigenvectors of the mean of the ridge smoothers H_i = X_i (X_i'X_i + p I)^-1 X_i',
    and W_i = (X_i'X_i + p I)^-1 X_i'G. X_i are directions: rows of length 1, seen from their spatial median. A direction that
    one space carries alone has an eigenvalue of at most 1/M; each coordinate is weighted by a power of what it has above that.
    The penalty with the best mean reciprocal rank of left-out anchors over all pairs is taken.
    """
    chosen = universe_penalty or _chosen_penalty(spaces)
    parts = [_normalised(x) for x in spaces]
    return _correlated(parts, [_factor(part.z) for part in parts], chosen, universe_weight or BALANCED)


@universe_method(source="Gower 1975, Generalized Procrustes analysis; ridge as in the translator")
def consensus(spaces: Sequence[np.ndarray]) -> Universe:
    """Generalised Procrustes: rotate all spaces onto their mean, then map each to it by ridge regression.

    spaces: (m, d_i) anchors of each space, where row j is the same item.

    Spaces of fewer dims are padded with zeros. Each map chooses its own penalty by leaving out one anchor at a time.
    """
    parts = [_normalised(x) for x in spaces]
    mean = _consensus([part.z for part in parts])
    return Universe([part.map(penalised(part.z, mean)) for part in parts], mean)


@dataclass(frozen=True, eq=False)
class _Normalised:
    """Anchors z (m, d) of one space: the directions, of length 1, in which rows of length 1 lie from their spatial median."""

    z: np.ndarray
    median: np.ndarray
    scale: float

    def map(self, matrix: np.ndarray) -> Affine:
        """The map of normalised rows, as one of the space itself."""
        return Affine(self.median, matrix / self.scale, np.zeros(matrix.shape[1]), unit_rows=True)


def _normalised(x: np.ndarray) -> _Normalised:
    rows = unit(np.asarray(x, np.float64))
    median = _spatial_median(rows)
    around = rows - median
    return _Normalised(unit(around), median, float(np.sqrt(np.square(around).sum(1).mean())) or 1.0)


def _spatial_median(rows: np.ndarray) -> np.ndarray:
    """(d,) the point from which the unit vectors to all rows (m, d) sum to zero, by Weiszfeld's iteration.

    Directions are centred then, as rows are about their mean, and an unusual row weighs no more than others.
    """
    median = rows.mean(0)
    for _ in range(ROUNDS):
        away = np.linalg.norm(rows - median, axis=1)
        near = 1 / np.maximum(away, LEAST)
        before, median = median, near @ rows / near.sum()
        if np.linalg.norm(median - before) < SETTLED:
            break
    return median


def _correlated(parts: Sequence[_Normalised], factors: Sequence[Factor], penalty: float, weight: float) -> Universe:
    """The universe of regularised generalised canonical correlation for one penalty. factors: those of each part."""
    kept = [s / np.sqrt(s**2 + penalty) for _, s, _ in factors]
    smoothers = np.concatenate([u * keep for (u, _, _), keep in zip(factors, kept, strict=True)], 1)
    values, common = _leading(smoothers / np.sqrt(len(parts)))
    agreed = values > 1 / len(parts) + LEAST
    if not agreed.any():
        agreed[:1] = True  # unrelated spaces, which still get a map
    weights = np.maximum(values[agreed] - 1 / len(parts), LEAST) ** weight
    common = _spread(common[:, agreed] * weights) * np.sqrt(len(common))  # whatever their number, anchors are as long
    maps = [part.map(_ridge(factor, common, penalty)) for part, factor in zip(parts, factors, strict=True)]
    return Universe(maps, common, penalty)


def _spread(common: np.ndarray) -> np.ndarray:
    """The coordinates (m, k) rotated so that every axis has its share of all of them: by the cosine transform.

    Lengths and angles stay. Heads that standardise axes would otherwise make the weakest coordinate as strong as the first.
    """
    k = common.shape[1]
    turn = np.cos(np.pi / k * (np.arange(k)[:, None] + 0.5) * np.arange(k)) * np.sqrt(2 / k)
    turn[:, 0] = 1 / np.sqrt(k)
    return common @ turn


def _ridge(factor: Factor, common: np.ndarray, penalty: float) -> np.ndarray:
    """(d, k) ridge regression of the common coordinates (m, k) on anchors u s v."""
    u, s, v = factor
    return v.T @ ((s / (s**2 + penalty))[:, None] * (u.T @ common))


def _factor(z: np.ndarray) -> Factor:
    """The singular value decomposition of the anchors, without directions that they do not span."""
    u, s, v = thin_svd(z)
    seen = s > LEAST * s.max(initial=0)
    return u[:, seen], s[seen], v[seen]


def _leading(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eigenvalues and eigenvectors (m, k) of xx', the largest first, by the smaller of xx' and x'x.

    The largest entry of each vector is positive.
    """
    if not x.shape[1]:  # anchors that all are one point
        return np.zeros(1), np.zeros((len(x), 1))
    wide = x.shape[0] <= x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    values, vectors = values[::-1][:WIDEST].clip(0), vectors[:, ::-1][:, :WIDEST]
    if not wide:
        vectors = x @ vectors / np.sqrt(np.maximum(values, LEAST))
    signs = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])])
    return values, vectors * np.where(signs == 0, 1, signs)


def _chosen_penalty(spaces: Sequence[np.ndarray]) -> float:
    """The penalty whose universes, each without a part of the anchors, join the left-out anchors best."""
    m = len(spaces[0])
    if m < 4 * FOLDS:
        return USUAL
    order = np.random.default_rng(0).permutation(m)[:CHOOSERS]
    agreements = [_agreements(spaces, np.setdiff1d(order, part), part) for part in np.array_split(order, FOLDS)]
    return PENALTIES[int(np.argmax(np.mean(agreements, 0)))]


def _agreements(spaces: Sequence[np.ndarray], fitted: np.ndarray, left: np.ndarray) -> list[float]:
    """For each penalty, the mean reciprocal rank of left-out anchors over all ordered pairs of spaces."""
    parts = [_normalised(x[fitted]) for x in spaces]
    factors, ranks = [_factor(part.z) for part in parts], []
    for penalty in PENALTIES:
        built = _correlated(parts, factors, penalty * (1 - 1 / FOLDS), BALANCED)  # it weighs as much against fewer anchors
        moved = [unit(carry(x[left])) for carry, x in zip(built.maps, spaces, strict=True)]
        ranks.append(float(np.mean([_reciprocal_ranks(moved[a], moved[b]) for a, b in permutations(range(len(moved)), 2)])))
    return ranks


def _reciprocal_ranks(queries: np.ndarray, index: np.ndarray) -> np.ndarray:
    """(n,) one over the rank of row i of the index for query i, both of length 1; a tie counts against it."""
    close = queries @ index.T
    return 1 / (close >= np.diag(close)[:, None]).sum(1)


def _consensus(spaces: Sequence[np.ndarray]) -> np.ndarray:
    """(m, k) the mean of the spaces, each rotated onto it, at mean squared length 1; k is the largest rank of them."""
    spaces = [_in_own_axes(z) for z in spaces]
    wide = max(1, *(z.shape[1] for z in spaces))
    padded = [np.pad(z, ((0, 0), (0, wide - z.shape[1]))) for z in spaces]
    mean, before = padded[int(np.argmax([z.shape[1] for z in spaces]))], np.inf
    for _ in range(ROUNDS):
        turned = [z @ nearest_rotation(z.T @ mean) for z in padded]
        mean = np.mean(turned, 0)
        mean /= np.sqrt(np.square(mean).sum(1).mean()) or 1.0
        apart = float(np.mean([np.square(z - mean).sum(1).mean() for z in turned]))
        if before - apart < APART:
            break
        before = apart
    return _spread(mean)


def _in_own_axes(z: np.ndarray) -> np.ndarray:
    """Anchors (m, d) rotated into the fewest axes, at most m: rotations between spaces are found there at less cost."""
    u, s, _ = _factor(z)
    return u * s


def join(x: np.ndarray, common: np.ndarray, penalty: float) -> Affine:
    """The map of another space with anchors x (m, d) into a universe where they are `common` (m, k).

    It is what the universe would have given this space, with the common coordinates as they are: the penalty is that of the
    universe, or where that is 0, chosen by leaving out one anchor at a time. So no other map changes.
    """
    part = _normalised(x)
    if not penalty:
        return part.map(penalised(part.z, common))
    return part.map(_ridge(_factor(part.z), common, penalty))


def build(name: str, spaces: Sequence[np.ndarray], params: dict[str, Any]) -> Universe:
    """The named universe of anchors (m, d_i) of each space."""
    return UNIVERSES[name].function(spaces, **params)


def for_heads(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same params, with the weight that carries heads best where none is named."""
    settled = dict(params)
    if settled.get(WEIGHT) == 0:
        settled[WEIGHT] = FOR_HEADS
    return settled

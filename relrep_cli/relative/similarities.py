"""Similarity functions between items and anchors.

A registered function takes a block of items (n, d) and the anchors (m, d), and returns (n, m). It uses operations that NumPy
arrays and torch tensors share, so the same code runs on every device. A function that needs to know the whole space, such as
its covariance, has a `fit`, which runs on the training rows. Its result is passed to the function as `fitted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from math import inf, sqrt
from typing import Annotated, Any, Concatenate, Protocol, TypeVar

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.numerics import distances as kernels
from relrep_cli.relative.array_libraries import is_plain, library_of, minkowski, room_for, times, unit_length, where

Fitted = Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """The n training rows of a space. blocks: returns a new iterator over blocks (b, d) at each call."""

    blocks: Callable[[], Iterable[np.ndarray]]
    n: int


class Shaped(Protocol):
    """What NumPy arrays and torch tensors have in common, as far as the registry of similarities is concerned."""

    @property
    def shape(self) -> Any: ...


Likeness = Callable[Concatenate[np.ndarray, np.ndarray, ...], Shaped]  # a block (b, d), anchors (m, d), keywords -> (b, m)
Fit = Callable[Concatenate[Training, np.ndarray, ...], Fitted]  # training rows, anchors, keywords -> arrays by name
AnyLikeness = TypeVar("AnyLikeness", bound=Likeness)


@dataclass(frozen=True, kw_only=True, eq=False)
class Similarity(Entry[Likeness]):
    """A similarity function with its traits.

    distance: whether it grows with distance; else with likeness. invariant: transformations of the whole space, anchors
    included, that leave its values as they are. fit: finds what it must know of the space; None where it needs to know nothing.
    portable: whether what was fitted can be kept in a file and serve for other files of the space.
    """

    distance: bool
    invariant: Set[str]
    fit: Fit | None
    portable: bool
    source: str

    def __call__(self, function: AnyLikeness) -> AnyLikeness:
        """Register the function."""
        SIMILARITIES.add(self.of(function))
        return function


SIMILARITIES = Registry("similarity", Similarity)
similarity = Similarity

P = Annotated[float, Param("Order of the norm of lp, and of chebyshev's smooth approximation (inf is exact).", minimum=1)]
GraphK = Annotated[int, Param("Neighbours of a node in the graph of geodesic.", minimum=1)]
Shrinkage = Annotated[float, Param("Share of the mean variance mixed into mahalanobis' covariance.", minimum=0, maximum=1)]
Width = Annotated[
    float, Param("Width of rbf; 0 takes the median distance of training rows to anchors.", minimum=0, maximum=1e300)
]

TRANSLATED = frozenset({"permutation", "signed-permutation", "translation", "zero-axes"})
TURNED = frozenset({"orthogonal", "permutation", "signed-permutation", "zero-axes"})


@similarity(distance=False, invariant=TURNED | {"scale"}, fit=None, portable=True, source="Moschella et al. 2022, sec. 3")
def cosine(x: Any, anchors: Any) -> Any:
    """Cosine of the angle between item and anchor; 0 where either is the zero vector.

    >>> cosine(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.0]]
    """
    if is_plain(x, anchors):
        return kernels.cosine(x, kernels.unit(anchors), room_for(x, anchors))
    return unit_length(x) @ unit_length(anchors).T


@similarity(
    distance=True, invariant=TURNED | {"translation"}, fit=None, portable=True, source="Cannistraci et al. 2024, sec. 3"
)
def euclidean(x: Any, anchors: Any) -> Any:
    """Euclidean distance of item and anchor.

    >>> euclidean(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 4.0]])).tolist()
    [[5.0, 0.0]]
    """
    if is_plain(x, anchors):
        return kernels.euclidean(x, anchors, room_for(x, anchors))
    unit = kernels.unit_of_measure(x, anchors)
    x, anchors = x * unit, anchors * unit
    middle = anchors.mean(0)
    u, v = x - middle, anchors - middle
    size = (u * u).sum(1)[:, None] + (v * v).sum(1)[None, :]
    squared = size - 2 * (u @ v.T)
    rows, columns = where(squared < kernels.REPAIR * size)  # near pairs suffer from cancellation: use their differences
    for start in range(0, len(rows), 65536):
        r, c = rows[start : start + 65536], columns[start : start + 65536]
        difference = x[r] - anchors[c]
        squared[r, c] = (difference * difference).sum(1)
    return squared.clip(0) ** 0.5 / unit


@similarity(distance=True, invariant=TRANSLATED, fit=None, portable=True, source="Cannistraci et al. 2024, sec. 3")
def l1(x: Any, anchors: Any) -> Any:
    """Manhattan distance: the sum of absolute differences.

    >>> l1(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 5.0]])).tolist()
    [[7.0, 1.0]]
    """
    return minkowski(x, anchors, 1)


@similarity(
    distance=True, invariant=TRANSLATED, fit=None, portable=True, source="Cannistraci et al. 2024, sec. 3 and its smooth form"
)
def chebyshev(x: Any, anchors: Any, *, p: P = inf) -> Any:
    """Largest absolute difference on any axis; with a finite p its smooth approximation, the Lp norm.

    >>> chebyshev(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 5.0]])).tolist()
    [[4.0, 1.0]]
    """
    return minkowski(x, anchors, p)


@similarity(distance=True, invariant=TRANSLATED, fit=None, portable=True, source="Minkowski 1896")
def lp(x: Any, anchors: Any, *, p: P = 3.0) -> Any:
    """Minkowski distance of order p.

    >>> lp(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]]), p=2).tolist()
    [[5.0]]
    """
    return minkowski(x, anchors, p)


@similarity(distance=True, invariant=TURNED | {"scale"}, fit=None, portable=True, source="arc length on the unit sphere")
def angular(x: Any, anchors: Any) -> Any:
    """Angle between item and anchor in radians, 0 to pi; pi / 2 where either is the zero vector.

    Computed as 2 atan2(|u - v|, |u + v|) of unit vectors: the arccos of a cosine errs by 7e-4 near 0, and is NaN above 1.

    >>> angular(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0], [3.0, 0.0]])).round(6).tolist()
    [[1.570796, 0.0]]
    """
    u, v = unit_length(x), unit_length(anchors)
    return 2 * library_of(x).arctan2(euclidean(u, v), euclidean(u, -v))


@similarity(distance=False, invariant=TURNED, fit=None, portable=True, source="the plain product of coordinates")
def inner(x: Any, anchors: Any) -> Any:
    """Inner product of item and anchor.

    >>> inner(np.array([[3.0, 4.0]]), np.array([[1.0, 2.0]])).tolist()
    [[11.0]]
    """
    return x @ anchors.T


def _median_width(train: Training, anchors: np.ndarray, *, width: float) -> dict[str, np.ndarray]:
    """The given width, else the median Euclidean distance between anchors and at most 2048 evenly spaced training rows."""
    if width:
        return {"width": np.array([width])}
    step, sample, start = max(1, -(-train.n // 2048)), [], 0
    for block in train.blocks():
        sample.append(block[(-start) % step :: step])
        start += len(block)
    median = float(np.median(euclidean(np.concatenate(sample), anchors)))
    if not median:
        raise DataError(
            "half of the distances between training rows and anchors are 0", "Set the width with --width.", place="rbf"
        )
    return {"width": np.array([median])}


@similarity(
    distance=False,
    invariant=TURNED | {"translation", "scale"},
    fit=_median_width,
    portable=True,
    source="Gaussian kernel; median heuristic of Garreau et al. 2017",
)
def rbf(x: Any, anchors: Any, *, width: Width = 0.0, fitted: Fitted) -> Any:
    """Gaussian kernel of the Euclidean distance, exp(-distance^2 / (2 width^2)).

    >>> rbf(np.array([[3.0, 4.0]]), np.array([[3.0, 4.0], [0.0, 0.0]]), fitted={"width": np.array([5.0])}).round(6).tolist()
    [[1.0, 0.606531]]
    """
    return library_of(x).exp(-((euclidean(x, anchors) / (sqrt(2) * float(fitted["width"][0]))) ** 2))


def _inverse_root(train: Training, anchors: np.ndarray, *, shrinkage: float) -> dict[str, np.ndarray]:
    """The whitening matrix of the training rows; see `numerics.whitening`."""
    from relrep_cli.numerics.whitening import moments, rounding, whitening

    mean, spread, unit = moments(train.blocks(), full=True)
    floor = rounding(train.blocks(), mean, spread, unit)
    return {"root": whitening(spread, shrinkage, "mahalanobis", floor, unit)}


@similarity(
    distance=True,
    invariant={"scale", "axis-scale", "linear", "affine", "translation", *TURNED},
    fit=_inverse_root,
    portable=True,
    source="Mahalanobis 1936, covariance of the training rows",
)
def mahalanobis(x: Any, anchors: Any, *, shrinkage: Shrinkage = 0.0, fitted: Fitted) -> Any:
    """Euclidean distance after whitening by the training rows' covariance.

    With shrinkage s, the covariance C becomes (1 - s) C + s mean(variances) I. Directions without variance are ignored.

    >>> mahalanobis(np.array([[2.0, 0.0]]), np.zeros((1, 2)), fitted={"root": np.diag([0.5, 1.0])}).tolist()
    [[1.0]]
    """
    return euclidean(*(times(side, fitted["root"]) for side in (x, anchors)))


def _paths(train: Training, anchors: np.ndarray, *, k: int) -> dict[str, np.ndarray]:
    from relrep_cli.neighbors.knn_graphs import anchor_paths

    return anchor_paths(train.blocks(), train.n, anchors, k)


@similarity(
    distance=True,
    invariant=TURNED | {"translation", "isometry"},
    fit=_paths,
    portable=False,
    source="Tenenbaum et al. 2000; Cannistraci et al. 2024, sec. 3",
)
def geodesic(x: Any, anchors: Any, *, k: GraphK = 10, fitted: Fitted) -> Any:
    """Shortest path through the k-nearest-neighbour graph of training rows and anchors (Euclidean lengths).

    An item is connected to its k nearest nodes. Components of the graph are joined by the shortest edges between them.

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> fitted = _paths(Training(lambda: [square], 4), square[:1], k=2)
    >>> geodesic(square, square[:1], k=2, fitted=fitted).tolist()
    [[0.0], [1.0], [2.0], [1.0]]
    """
    from relrep_cli.neighbors.knn_graphs import hang

    if isinstance(x, np.ndarray):
        return hang(x, fitted["nodes"], fitted["paths"], k)
    return library_of(x).from_numpy(hang(x.cpu().numpy(), fitted["nodes"], fitted["paths"], k)).to(x.device)

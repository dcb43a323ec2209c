"""Similarity functions of items and anchors.

A registered function takes one block (n, d) and the anchors (m, d) and gives (n, m). It is written in operations that
NumPy arrays and torch tensors share, so the same lines run on every device. What a function must know of the space as a
whole, such as a covariance, its `fit` finds in the training rows; it comes back as the keyword `fitted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from math import inf, sqrt
from typing import Annotated, Any, Concatenate, Protocol, TypeVar

import numpy as np

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.numerics import distances as kernels

Fitted = Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """The training rows of a space as a function sees them: blocks (b, d) that may be asked for again, n rows in all."""

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
    included, that it does not feel. fit: finds what it must know of the space; None where it needs to know nothing.
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
    if _plain(x, anchors):
        return kernels.cosine(x, kernels.unit(anchors), _room(x, anchors))
    return _unit(x) @ _unit(anchors).T


@similarity(
    distance=True, invariant=TURNED | {"translation"}, fit=None, portable=True, source="Cannistraci et al. 2024, sec. 3"
)
def euclidean(x: Any, anchors: Any) -> Any:
    """Euclidean distance of item and anchor.

    >>> euclidean(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 4.0]])).tolist()
    [[5.0, 0.0]]
    """
    if _plain(x, anchors):
        return kernels.euclidean(x, anchors, _room(x, anchors))
    unit = kernels.unit_of_measure(x, anchors)
    x, anchors = x * unit, anchors * unit
    middle = anchors.mean(0)
    u, v = x - middle, anchors - middle
    size = (u * u).sum(1)[:, None] + (v * v).sum(1)[None, :]
    squared = size - 2 * (u @ v.T)
    rows, columns = _where(squared < kernels.REPAIR * size)  # near pairs cancel; compute those by their difference
    for start in range(0, len(rows), 65536):
        r, c = rows[start : start + 65536], columns[start : start + 65536]
        apart = x[r] - anchors[c]
        squared[r, c] = (apart * apart).sum(1)
    return squared.clip(0) ** 0.5 / unit


@similarity(distance=True, invariant=TRANSLATED, fit=None, portable=True, source="Cannistraci et al. 2024, sec. 3")
def l1(x: Any, anchors: Any) -> Any:
    """Manhattan distance: the sum of absolute differences.

    >>> l1(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 5.0]])).tolist()
    [[7.0, 1.0]]
    """
    return _minkowski(x, anchors, 1)


@similarity(
    distance=True, invariant=TRANSLATED, fit=None, portable=True, source="Cannistraci et al. 2024, sec. 3 and its smooth form"
)
def chebyshev(x: Any, anchors: Any, *, p: P = inf) -> Any:
    """Largest absolute difference on any axis; with a finite p its smooth approximation, the Lp norm.

    >>> chebyshev(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0], [3.0, 5.0]])).tolist()
    [[4.0, 1.0]]
    """
    return _minkowski(x, anchors, p)


@similarity(distance=True, invariant=TRANSLATED, fit=None, portable=True, source="Minkowski 1896")
def lp(x: Any, anchors: Any, *, p: P = 3.0) -> Any:
    """Minkowski distance of order p.

    >>> lp(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]]), p=2).tolist()
    [[5.0]]
    """
    return _minkowski(x, anchors, p)


@similarity(distance=True, invariant=TURNED | {"scale"}, fit=None, portable=True, source="arc length on the unit sphere")
def angular(x: Any, anchors: Any) -> Any:
    """Angle between item and anchor in radians, 0 to pi; pi / 2 where either is the zero vector.

    By 2 atan2(|u - v|, |u + v|) of unit vectors: the arccos of a cosine errs by 7e-4 near 0 and is NaN beyond 1.

    >>> angular(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0], [3.0, 0.0]])).round(6).tolist()
    [[1.570796, 0.0]]
    """
    u, v = _unit(x), _unit(anchors)
    return 2 * _library(x).arctan2(euclidean(u, v), euclidean(u, -v))


@similarity(distance=False, invariant=TURNED, fit=None, portable=True, source="the plain product of coordinates")
def inner(x: Any, anchors: Any) -> Any:
    """Inner product of item and anchor.

    >>> inner(np.array([[3.0, 4.0]]), np.array([[1.0, 2.0]])).tolist()
    [[11.0]]
    """
    return x @ anchors.T


def _median_width(train: Training, anchors: np.ndarray, *, width: float) -> dict[str, np.ndarray]:
    """The width given, else the median Euclidean distance of at most 2048 training rows, at even steps, to the anchors."""
    if width:
        return {"width": np.array([width])}
    step, some, start = max(1, -(-train.n // 2048)), [], 0
    for block in train.blocks():
        some.append(block[(-start) % step :: step])
        start += len(block)
    found = float(np.median(euclidean(np.concatenate(some), anchors)))
    if not found:
        raise DataError("rbf: half of all distances of training rows to anchors are 0; give its width with --width.")
    return {"width": np.array([found])}


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
    return _library(x).exp(-((euclidean(x, anchors) / (sqrt(2) * float(fitted["width"][0]))) ** 2))


def _inverse_root(train: Training, anchors: np.ndarray, *, shrinkage: float) -> dict[str, np.ndarray]:
    """The matrix that makes the covariance of the training rows the identity; see preparation.whitening."""
    from relrep_cli.numerics.whitening import moments, rounding, whitening

    mean, spread = moments(train.blocks(), full=True)
    return {"root": whitening(spread, shrinkage, "mahalanobis", rounding(train.blocks(), mean, spread))}


@similarity(
    distance=True,
    invariant={"scale", "axis-scale", "linear", "affine", "translation", *TURNED},
    fit=_inverse_root,
    portable=True,
    source="Mahalanobis 1936, covariance of the training rows",
)
def mahalanobis(x: Any, anchors: Any, *, shrinkage: Shrinkage = 0.0, fitted: Fitted) -> Any:
    """Euclidean distance after whitening by the training rows' covariance.

    shrinkage s takes (1 - s) C + s mean(variances) I for C. Directions in which training rows do not vary are left out.

    >>> mahalanobis(np.array([[2.0, 0.0]]), np.zeros((1, 2)), fitted={"root": np.diag([0.5, 1.0])}).tolist()
    [[1.0]]
    """
    return euclidean(*(_times(side, fitted["root"]) for side in (x, anchors)))


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

    An item hangs on the graph by its own k nearest nodes. Parts that no step joins are joined by their shortest lines.

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> fitted = _paths(Training(lambda: [square], 4), square[:1], k=2)
    >>> geodesic(square, square[:1], k=2, fitted=fitted).tolist()
    [[0.0], [1.0], [2.0], [1.0]]
    """
    from relrep_cli.neighbors.knn_graphs import hang

    if isinstance(x, np.ndarray):
        return hang(x, fitted["nodes"], fitted["paths"], k)
    return _library(x).from_numpy(hang(x.cpu().numpy(), fitted["nodes"], fitted["paths"], k)).to(x.device)


def _library(x: Any) -> Any:
    """The module whose functions take `x`: numpy or torch."""
    if isinstance(x, np.ndarray):
        return np
    import torch

    return torch


def _times(x: Any, matrix: np.ndarray) -> Any:
    """x @ matrix in float64, where a whitening matrix of large condition loses nothing that matters, as x's own type."""
    if isinstance(x, np.ndarray):
        return (x.astype(np.float64) @ matrix).astype(x.dtype)
    torch = _library(x)
    return (x.double() @ torch.from_numpy(matrix).to(x.device)).to(x.dtype)


def _minkowski(x: Any, anchors: Any, p: float) -> Any:
    """(n, m) Lp distances; powers are taken of shares of the largest difference, so that none over- or underflows."""
    if _plain(x, anchors):
        return kernels.lp(x, anchors, p, _room(x, anchors))
    torch = _library(x)
    if p in (1, inf):
        return torch.cdist(x, anchors, p=p)
    step = max(1, (1 << 20) // (anchors.shape[0] * anchors.shape[1]))
    parts = []
    for some in x.split(step):
        apart = abs(some[:, None, :] - anchors[None, :, :])
        peak = apart.amax(2)
        parts.append(((apart / (peak + (peak == 0))[:, :, None]) ** p).sum(2) ** (1 / p) * peak)
    return torch.cat(parts)


def _plain(x: Any, anchors: Any) -> bool:
    """Whether these are arrays that kernels take."""
    return all(isinstance(a, np.ndarray) and a.dtype in (np.float32, np.float64) and a.dtype == x.dtype for a in (x, anchors))


def _room(x: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    return np.empty((len(x), len(anchors)), x.dtype)


def _unit(x: Any) -> Any:
    """Rows at length 1, zero rows kept; scaled by the largest entry first, so that no square over- or underflows."""
    peak = abs(x).max(1)
    peak = (peak if isinstance(x, np.ndarray) else peak.values)[:, None]
    scaled = x / (peak + (peak == 0))
    norm = (scaled * scaled).sum(1)[:, None] ** 0.5
    return scaled / (norm + (norm == 0))


def _where(mask: Any) -> Any:
    return np.nonzero(mask) if isinstance(mask, np.ndarray) else mask.nonzero(as_tuple=True)


def torch_device(device: str) -> Any:
    """The torch module, after making sure that it knows the device; None for `auto` where there is only the CPU.

    Raises UsageError when the device is not there.
    """
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch if present["cuda"] else None
    if not present.get(device.partition(":")[0], False):
        found = ", ".join(["cpu", *(name for name, there in present.items() if there)])
        raise UsageError(f"--device {device}: torch finds no such device here; found: {found}.")
    return torch

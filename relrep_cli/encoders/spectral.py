"""Encoders found by linear algebra: no training loop, no torch."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.registry import Param
from relrep_cli.encoders.affinities import affinities, affinity_graph, slowest_modes, with_fixed_signs
from relrep_cli.encoders.base import (
    FLAT,
    FORGETFUL,
    Checkpoint,
    Dim,
    Progress,
    Trained,
    Vectors,
    check_kind,
    encoder,
    training_rows,
)
from relrep_cli.numerics.blocks import pick
from relrep_cli.numerics.singular_values import thin_svd
from relrep_cli.sources.items import Items

LARGEST = 8192  # numbers of an item: their covariance takes half a gigabyte then
BLOCK = 1024  # rows
GRID = 2**20  # components are multiples of 1 / GRID: sums of them over whole pixels are exact, so threads cannot matter
LEAST = 1e-3  # eigenvalue of the walk: placing a new item divides by it
Landmarks = Annotated[
    int, Param("Training rows that make the graph, drawn by --seed; others are placed among them.", minimum=3)
]
Around = Annotated[int, Param("Nearest rows to which each row is joined in the graph.", minimum=1)]


def pca_shapes(shape: tuple[int, ...], params: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The weights of `pca`, by name."""
    size = int(np.prod(shape))
    return {"mean": (size,), "components": (params["dim"], size)}


def pca_apply(trained: Trained, device: str) -> Vectors:
    """A function from items (b, …) to vectors (b, dim), pixels in 0..1; always numpy, whatever the device."""
    mean, components = trained.weights["mean"], trained.weights["components"]
    centre, unit = (components * mean).sum(1), _unit(trained.shape)
    return lambda block: ((_flat(block) @ components.T - centre) / unit).astype(np.float32)


def pca_errors(trained: Trained, device: str) -> Vectors:
    """A function from items to the mean squared error of what their components say of them, (b,)."""
    mean, components, unit = trained.weights["mean"], trained.weights["components"], _unit(trained.shape)

    def errors(block: NDArray[Any]) -> NDArray[np.float32]:
        x = (_flat(block) - mean) / unit
        return np.square(x - (x @ components.T) @ components).mean(1).astype(np.float32)

    return errors


def pca_decode(trained: Trained, device: str) -> Vectors:
    """A function from vectors (b, dim) to the items nearest to their mean that have them, pixels in 0..1."""
    mean, components = trained.weights["mean"] / _unit(trained.shape), trained.weights["components"]
    return lambda block: (block @ components + mean).reshape(-1, *trained.shape).astype(np.float32)


@encoder(
    takes=FLAT,
    learns=True,
    apply=pca_apply,
    errors=pca_errors,
    decode=pca_decode,
    shapes=pca_shapes,
    source="Pearson 1901; Jolliffe 2002, section 3",
)
def pca(
    items: Items,
    train: NDArray[Any],
    *,
    dim: Dim = 48,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = lambda done, total, message: None,
    checkpoint: Checkpoint = FORGETFUL,
) -> Trained:
    """Principal components of pixels or vectors, of greatest variance first.

    `train`: the rows to fit on (mask or indices); pixels in 0..1, less their mean over those rows. A component's sign is
    free: each is turned so that its entry of largest size is positive. `seed`, `device` and `checkpoint` change nothing.
    Raises UsageError when `dim` exceeds the numbers of an item or the training rows, DataError for items over 8192 numbers.
    """
    check_kind("pca", FLAT, items.kind)
    rows, noun = training_rows(items.x, train, at_least=2), _noun(items)
    size = int(np.prod(items.x.shape[1:]))
    if size > LARGEST:
        raise DataError(f"the items have {size} {noun}; pca takes at most {LARGEST}", "Shrink them or use another encoder.")
    if dim > (most := min(size, len(rows))):
        raise UsageError(
            f"--dim is {dim}, but pca of {len(rows)} training rows of {size} {noun} has at most {most} dims",
            f"Write --dim {most} or less.",
        )
    mean, variances, vectors = (_of_few if len(rows) < size else _of_many)(items.x, rows, progress)
    components = np.round(with_fixed_signs(vectors[:dim]) * GRID) / GRID
    log = [{"explained_variance": float(variances[:dim].sum() / variances.sum())}]
    checkpoint.tell(log[0])
    weights = {"mean": mean, "components": components}
    return Trained("pca", {"dim": dim, "seed": seed}, tuple(items.x.shape[1:]), weights, log)


def projection_shapes(shape: tuple[int, ...], params: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The weights of `random_projection`, by name."""
    return {"directions": (params["dim"], int(np.prod(shape)))}


def projection_apply(trained: Trained, device: str) -> Vectors:
    """A function from items (b, …) to vectors (b, dim)."""
    directions, unit = trained.weights["directions"].astype(np.float64), _unit(trained.shape)
    return lambda block: (_flat(block) @ directions.T / unit).astype(np.float32)


@encoder(
    takes=FLAT,
    learns=False,
    apply=projection_apply,
    errors=None,
    decode=None,
    shapes=projection_shapes,
    source="Johnson and Lindenstrauss 1984",
)
def random_projection(
    items: Items,
    train: NDArray[Any],
    *,
    dim: Dim = 48,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = lambda done, total, message: None,
    checkpoint: Checkpoint = FORGETFUL,
) -> Trained:
    """Products with random normal directions, which keep distances on average; nothing is learnt.

    Directions have variance 1 / dim. `train` changes nothing.
    """
    check_kind("random-projection", FLAT, items.kind)
    shape = tuple(items.x.shape[1:])
    directions = np.random.default_rng(seed).normal(size=(dim, int(np.prod(shape)))) / dim**0.5
    progress(1, 1, "directions")
    weights = {"directions": directions.astype(np.float32)}
    return Trained("random-projection", {"dim": dim, "seed": seed}, shape, weights, [{"directions": float(dim)}])


def eigenmaps_shapes(shape: tuple[int, ...], params: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The weights of `laplacian_eigenmaps`, by name."""
    m = params["landmarks"]
    return {"landmarks": (m, int(np.prod(shape))), "values": (params["dim"],), "vectors": (m, params["dim"]), "width": (1,)}


def eigenmaps_apply(trained: Trained, device: str) -> Vectors:
    """A function from items (b, …) to vectors (b, dim): the mean of the nearest landmarks' over the eigenvalue (Nyström)."""
    landmarks, vectors = trained.weights["landmarks"].astype(np.float64), trained.weights["vectors"].astype(np.float64)
    values, width, unit = trained.weights["values"].astype(np.float64), float(trained.weights["width"][0]), _unit(trained.shape)

    def apply(block: NDArray[Any]) -> NDArray[np.float32]:
        rows, affinity = affinities(_flat(block) / unit, landmarks, trained.params["around"] + 1, width)
        weights = affinity / affinity.sum(1, keepdims=True)
        return (np.einsum("bk,bkd->bd", weights, vectors[rows]) / values).astype(np.float32)

    return apply


@encoder(
    takes=FLAT,
    learns=True,
    apply=eigenmaps_apply,
    errors=None,
    decode=None,
    shapes=eigenmaps_shapes,
    source="Belkin and Niyogi 2003; out of sample: Bengio et al. 2004",
)
def laplacian_eigenmaps(
    items: Items,
    train: NDArray[Any],
    *,
    dim: Dim = 48,
    landmarks: Landmarks = 5000,
    around: Around = 10,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = lambda done, total, message: None,
    checkpoint: Checkpoint = FORGETFUL,
) -> Trained:
    """Slowest directions of a walk on the graph of nearest training rows.

    Landmarks are joined to their `around` nearest by Euclidean distance, both ways, with weights of a Gaussian as wide as
    the median distance to the last of them. Parts of the graph that nothing joins get the shortest lines between them, as
    heavy as a line of that distance. Vectors solve L v = a D v for the smallest a but 0. All items, landmarks too, are then
    placed by their nearest landmarks. Raises UsageError when there are fewer training rows, or fewer such vectors, than it
    takes.
    """
    check_kind("laplacian-eigenmaps", FLAT, items.kind)
    rows = training_rows(items.x, train, at_least=3)
    rng = np.random.default_rng(seed)
    m = min(landmarks, len(rows))
    if max(dim + 2, around + 1) > m:
        raise UsageError(f"--dim {dim} and --around {around} need more than {m} training rows", "Give smaller ones.")
    shape, unit = tuple(items.x.shape[1:]), _unit(items.x.shape[1:])
    x = (_flat(pick(items.x, np.sort(rng.choice(rows, m, replace=False)))) / unit).astype(np.float32).astype(np.float64)
    affinity, width = affinity_graph(x, around)
    progress(1, 2, "graph of nearest rows")
    values, vectors = slowest_modes(affinity, dim, rng)
    usable = int((values >= LEAST).sum())
    if usable < dim:
        raise UsageError(
            f"--dim is {dim}; the graph of nearest rows has {usable} directions that place new items", "Give less."
        )
    progress(2, 2, "eigenvectors")
    weights = {"landmarks": x, "values": values, "vectors": vectors * m**0.5, "width": np.array([width])}
    log = [{"smallest_eigenvalue": float(1 - values[0]), "largest_eigenvalue": float(1 - values[-1])}]
    checkpoint.tell(log[0])
    params = {"dim": dim, "landmarks": m, "around": around, "seed": seed}
    return Trained("laplacian-eigenmaps", params, shape, {n: w.astype(np.float32) for n, w in weights.items()}, log)


def _unit(shape: tuple[int, ...]) -> float:
    """What the numbers of an item are divided by: pixels are bytes and become 0..1, vectors stay."""
    return 1.0 if len(shape) == 1 else 255.0


def _noun(items: Items) -> str:
    return "pixels" if items.kind == "images" else "dimensions"


def _flat(block: NDArray[Any]) -> NDArray[np.float64]:
    """Items as rows of numbers; those of images are whole, 0 to 255."""
    return block.reshape(len(block), -1).astype(np.float64)


def _of_few(x: NDArray[Any], rows: NDArray[np.intp], progress: Progress) -> tuple[NDArray[np.float64], ...]:
    """Mean (d,), variances (n,) and axes (n, d) of n rows, greatest variance first, without their covariance (d, d)."""
    centred = _flat(pick(x, rows))
    mean = centred.mean(0)
    _, values, axes = thin_svd(centred - mean)
    progress(1, 1, "decomposition")
    return mean, np.maximum(values**2 / len(rows), np.finfo(float).tiny), axes


def _of_many(x: NDArray[Any], rows: NDArray[np.intp], progress: Progress) -> tuple[NDArray[np.float64], ...]:
    """Mean (d,), variances (d,) and axes (d, d) of some rows in one pass: sums of pixels are exact in float64 to 10^11 rows."""
    size = int(np.prod(x.shape[1:]))
    total, products = np.zeros(size), np.zeros((size, size))
    for start in range(0, len(rows), BLOCK):
        block = _flat(pick(x, rows[start : start + BLOCK]))
        total += block.sum(0)
        products += block.T @ block
        progress(min(start + BLOCK, len(rows)), len(rows), "covariance")
    mean = total / len(rows)
    variances, vectors = np.linalg.eigh(products / len(rows) - np.outer(mean, mean))
    variances = np.maximum(variances[::-1], np.finfo(float).tiny)  # rounding takes those of a constant pixel below zero
    return mean, variances, vectors[:, ::-1].T

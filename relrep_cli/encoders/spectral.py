"""Encoders found by an eigendecomposition: no training loop, no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.encoders.base import FORGETFUL, Checkpoint, Dim, Progress, Trained, Vectors, encoder, training_rows
from relrep_cli.errors import DataError, UsageError

LARGEST = 8192  # pixels: their covariance takes half a gigabyte then
BLOCK = 1024  # rows
GRID = 2**20  # components are multiples of 1 / GRID: sums of them over whole pixels are exact, so threads cannot matter


def pca_shapes(shape: tuple[int, ...], params: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The weights of `pca`, by name."""
    size = int(np.prod(shape))
    return {"mean": (size,), "components": (params["dim"], size)}


def pca_apply(trained: Trained, device: str) -> Vectors:
    """A function from images (b, h, w) to vectors (b, dim), pixels in 0..1; always numpy, whatever the device."""
    mean, components = trained.weights["mean"], trained.weights["components"]
    centre = (components * mean).sum(1)
    return lambda block: ((_pixels(block) @ components.T - centre) / 255).astype(np.float32)


@encoder(trainable=True, apply=pca_apply, shapes=pca_shapes, source="Pearson 1901; Jolliffe 2002, section 3")
def pca(
    items: NDArray[np.uint8],
    train: NDArray[Any],
    *,
    dim: Dim = 48,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = lambda done, total, message: None,
    checkpoint: Checkpoint = FORGETFUL,
) -> Trained:
    """Principal components of the pixels, of greatest variance first.

    `items` (n, h, w) uint8, `train` the rows to fit on (mask or indices); pixels in 0..1 less their mean over those rows.
    A component's sign is free: each is turned so that its entry of largest size is positive. `seed`, `device` and
    `checkpoint` change nothing. Raises UsageError when `dim` exceeds the pixels or the training rows, DataError for images
    over 8192 pixels.
    """
    rows = training_rows(items, train, at_least=2)
    size = int(np.prod(items.shape[1:]))
    if size > LARGEST:
        raise DataError(f"the images have {size} pixels; pca takes at most {LARGEST}. Shrink them or use --encoder conv-ae.")
    if dim > (most := min(size, len(rows))):
        raise UsageError(f"--dim is {dim}; pca of {len(rows)} training rows of {size} pixels has at most {most}.")
    mean, covariance = _moments(items, rows, progress)
    variances, vectors = np.linalg.eigh(covariance)
    components = vectors[:, ::-1][:, :dim].T
    largest = components[np.arange(dim), np.abs(components).argmax(1)]
    components = np.round(components * np.sign(largest)[:, None] * GRID) / GRID
    variances = np.maximum(variances[::-1], np.finfo(float).tiny)  # rounding takes those of a constant pixel below zero
    log = [{"explained_variance": float(variances[:dim].sum() / variances.sum())}]
    weights = {"mean": mean, "components": components}
    return Trained("pca", {"dim": dim, "seed": seed}, tuple(items.shape[1:]), weights, log)


def _pixels(block: NDArray[Any]) -> NDArray[np.float64]:
    """Images as rows of whole numbers 0 to 255."""
    return block.reshape(len(block), -1).astype(np.float64)


def _moments(
    items: NDArray[np.uint8], rows: NDArray[np.intp], progress: Progress
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (d,) and covariance (d, d) of some rows in one pass: sums of whole numbers, exact in float64 to 10^11 rows."""
    size = int(np.prod(items.shape[1:]))
    total, products = np.zeros(size), np.zeros((size, size))
    for start in range(0, len(rows), BLOCK):
        x = _pixels(items[rows[start : start + BLOCK]])
        total += x.sum(0)
        products += x.T @ x
        progress(min(start + BLOCK, len(rows)), len(rows), "covariance")
    mean = total / len(rows)
    return mean, products / len(rows) - np.outer(mean, mean)

"""Encoders: what turns items into vectors. Register one in the file of its family; importing this costs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.encoders import autoencoders, spectral  # noqa: F401  (each registers its encoders)
from relrep_cli.encoders.base import ENCODERS, Checkpoint, Trained, Vectors, encoder, space
from relrep_cli.encoders.weights import load, to_bytes
from relrep_cli.errors import DataError

__all__ = ["ENCODERS", "Checkpoint", "Trained", "encode", "encoder", "load", "space", "to_bytes"]

BLOCK = 1024  # rows; a power of two


def encode(trained: Trained, items: NDArray[Any], *, device: str = "cpu", batch: int = BLOCK) -> Iterator[NDArray[np.float32]]:
    """The vectors of `items` (n, h, w), block by block: float32 (b, dim), b = `batch` but in the last block.

    Memory does not grow with n. Every block is computed at the same size, the last one padded, because a matrix product
    of another shape rounds differently: an item's vector must not depend on how many others there are.
    Raises DataError when the items have another shape than those the encoder was trained on.
    """
    if items.shape[1:] != trained.shape:
        found, wanted = (" x ".join(map(str, shape)) for shape in (items.shape[1:], trained.shape))
        raise DataError(f"the items are {found}, encoder {trained.name} takes {wanted}. Give items of that size.")
    return _blocks(ENCODERS[trained.name].apply(trained, device), items, batch)


def _blocks(vectors: Vectors, items: NDArray[Any], batch: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(items), batch):
        block = items[start : start + batch]
        padding = [(0, batch - len(block))] + [(0, 0)] * (items.ndim - 1)
        yield vectors(np.pad(block, padding))[: len(block)]

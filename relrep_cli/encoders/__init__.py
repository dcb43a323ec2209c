"""Encoders: what turns items into vectors. Register one in the file of its family; importing this costs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.encoders import autoencoders, contrastive, spectral, supervised  # noqa: F401  (each registers its encoders)
from relrep_cli.encoders.base import ENCODERS, Checkpoint, Trained, Vectors, check_kind, encoder, space
from relrep_cli.encoders.weights import load, to_bytes
from relrep_cli.errors import DataError
from relrep_cli.sources.base import Items

__all__ = ["ENCODERS", "Checkpoint", "Trained", "encode", "encoder", "errors", "load", "space", "to_bytes"]

BLOCK = 1024  # rows; a power of two


def encode(trained: Trained, items: Items, *, device: str = "cpu", batch: int = BLOCK) -> Iterator[NDArray[np.float32]]:
    """The vectors of the items, block by block: float32 (b, dim), b = `batch` but in the last block.

    Memory does not grow with n, but for the nodes of a graph, which are encoded at once. Every block is computed at the same
    size, the last one padded, because a matrix product of another shape rounds differently: an item's vector must not depend
    on how many others there are. Raises DataError when the items have another shape than the encoder was trained on.
    """
    _check(trained, items)
    entry = ENCODERS[trained.name]
    if items.kind == "graph":
        whole = entry.apply(trained, device)(items)
        return (whole[at : at + batch] for at in range(0, len(whole), batch))
    return _blocks(entry.apply(trained, device), items.x, batch)


def errors(trained: Trained, items: Items, *, device: str = "cpu", batch: int = BLOCK) -> Iterator[NDArray[np.float32]] | None:
    """The mean squared error of each item's reconstruction, block by block; None when the encoder reconstructs nothing."""
    _check(trained, items)
    known = ENCODERS[trained.name].errors
    return None if known is None else _blocks(known(trained, device), items.x, batch)


def _check(trained: Trained, items: Items) -> None:
    check_kind(trained.name, ENCODERS[trained.name].takes, items.kind)
    if tuple(items.x.shape[1:]) != tuple(trained.shape):
        found, wanted = (" x ".join(map(str, shape)) for shape in (items.x.shape[1:], trained.shape))
        fit = "; --size and --source-channels bring images to it" if items.kind == "images" else ""
        raise DataError(f"the items are {found}, encoder {trained.name} takes {wanted}. Give items of that size{fit}.")


def _blocks(vectors: Vectors, x: NDArray[Any], batch: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(x), batch):
        block = x[start : start + batch]
        padding = [(0, batch - len(block))] + [(0, 0)] * (x.ndim - 1)
        yield vectors(np.pad(block, padding))[: len(block)]

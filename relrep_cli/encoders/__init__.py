"""Encoders: what turns items into vectors. Register one in the file of its family; importing this costs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import DataError
from relrep_cli.encoders import autoencoders, contrastive, predictive, spectral, supervised  # noqa: F401  (each registers its encoders)
from relrep_cli.encoders.base import ENCODERS, Checkpoint, Trained, Vectors, check_kind, encoder, space
from relrep_cli.encoders.saved import load, to_bytes
from relrep_cli.numerics.blocks import release
from relrep_cli.sources.items import Items

__all__ = [
    "ENCODERS",
    "Checkpoint",
    "Trained",
    "decode",
    "encode",
    "encoder",
    "errors",
    "load",
    "rows_at_once",
    "space",
    "to_bytes",
]

BLOCK = 1024  # rows at once at most; a power of two
AT_ONCE = 1 << 22  # numbers of items at once at most, but for one row: convolutions make many times as many of them


def encode(trained: Trained, items: Items, *, device: str = "cpu", batch: int | None = None) -> Iterator[NDArray[np.float32]]:
    """The vectors of the items, block by block: float32 (b, dim), b = `batch` but in the last block.

    Memory does not grow with n, but for the nodes of a graph, which are encoded at once. Every block is computed at the same
    size, the last one padded, because a matrix product of another shape rounds differently: an item's vector must not depend
    on how many others there are. `batch` is `rows_at_once` unless given. Raises DataError when the items have another shape
    than the encoder was trained on.
    """
    _check(trained, items)
    entry, batch = ENCODERS[trained.name], batch or rows_at_once(trained.shape)
    if items.kind == "graph":
        whole = entry.apply(trained, device)(items)
        return (whole[at : at + batch] for at in range(0, len(whole), batch))
    return _blocks(entry.apply(trained, device), items.x, batch)


def rows_at_once(shape: tuple[int, ...]) -> int:
    """How many items of that shape a block holds, a power of two; of 32 x 32 colour images 1024."""
    most = max(1, AT_ONCE // max(1, math.prod(shape)))
    return min(BLOCK, 1 << (most.bit_length() - 1))


def errors(trained: Trained, items: Items, *, device: str = "cpu") -> Iterator[NDArray[np.float32]] | None:
    """The mean squared error of each item's reconstruction, block by block; None when the encoder reconstructs nothing."""
    _check(trained, items)
    known = ENCODERS[trained.name].errors
    return None if known is None else _blocks(known(trained, device), items.x, rows_at_once(trained.shape))


def decode(trained: Trained, vectors: NDArray[Any], *, device: str = "cpu") -> Iterator[NDArray[np.float32]]:
    """The items that vectors (n, dim) stand for, block by block: images (b, h, w[, c]) in 0..1, or vectors.

    Raises DataError where the encoder has no way back, or its vectors have another width.
    """
    back = ENCODERS[trained.name].decode
    if back is None:
        known = ", ".join(name for name, entry in ENCODERS.items() if entry.decode is not None)
        raise DataError(f"encoder {trained.name} has no way back to items", f"These encoders have one: {known}.")
    if vectors.shape[1] != trained.params["dim"]:
        dims = f"the vectors have {vectors.shape[1]} dims, those of the encoder {trained.params['dim']}"
        raise DataError(dims, "Give vectors of the encoder's own space.")
    return _blocks(back(trained, device), vectors, rows_at_once(trained.shape))


def _check(trained: Trained, items: Items) -> None:
    check_kind(trained.name, ENCODERS[trained.name].takes, items.kind)
    if tuple(items.x.shape[1:]) != tuple(trained.shape):
        given, wanted = (" x ".join(map(str, shape)) for shape in (items.x.shape[1:], trained.shape))
        fit = "; --size and --source-channels bring images to it" if items.kind == "images" else ""
        raise DataError(f"the items are {given}, encoder {trained.name} takes {wanted}", f"Give items of that size{fit}.")


def _blocks(vectors: Vectors, x: NDArray[Any], batch: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(x), batch):
        block = x[start : start + batch]
        padding = [(0, batch - len(block))] + [(0, 0)] * (x.ndim - 1)
        yield vectors(np.pad(block, padding))[: len(block)]
        release(x, slice(start, start + batch))

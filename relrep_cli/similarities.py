"""Similarity functions of items and anchors.

A registered function takes one block (n, d) and the anchors (m, d) and gives (n, m). It is written in operations that
NumPy arrays and torch tensors share, so the same lines run on every device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from relrep_cli import kernels
from relrep_cli.errors import UsageError
from relrep_cli.registry import Registry

SIMILARITIES: Registry = Registry("similarity", ("distance", "invariant", "source"))
similarity = SIMILARITIES


@similarity(distance=False, invariant={"orthogonal", "permutation", "scale"}, source="Moschella et al. 2022, sec. 3")
def cosine(x: Any, anchors: Any) -> Any:
    """Cosine of the angle between item and anchor; 0 where either is the zero vector.

    >>> cosine(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.0]]
    """
    if _plain(x, anchors):
        return kernels.cosine(x, kernels.unit(anchors), _room(x, anchors))
    return _unit(x) @ _unit(anchors).T


@similarity(distance=True, invariant={"orthogonal", "permutation", "translation"}, source="Cannistraci et al. 2024, sec. 3")
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
    """The torch module, after making sure that it knows the device. Raises UsageError when it does not."""
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(device.partition(":")[0], False):
        found = ", ".join(["cpu", *(name for name, there in present.items() if there)])
        raise UsageError(f"--device {device}: torch finds no such device here; found: {found}.")
    return torch

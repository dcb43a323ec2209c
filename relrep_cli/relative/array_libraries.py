"""Operations that NumPy arrays and torch tensors do not spell alike, so that a similarity function runs on either."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from relrep_cli.numerics import distances as kernels


def library_of(x: Any) -> Any:
    """The library of `x`: numpy or torch."""
    if isinstance(x, np.ndarray):
        return np
    import torch

    return torch


def times(x: Any, matrix: np.ndarray) -> Any:
    """x @ matrix in float64, since a whitening matrix can be ill-conditioned, then converted to the dtype of x.

    x: (n, d). matrix: (d, d).
    """
    if isinstance(x, np.ndarray):
        return (x.astype(np.float64) @ matrix).astype(x.dtype)
    torch = library_of(x)
    place = "cpu" if x.device.type == "mps" else x.device  # mps has no float64
    return (x.to(place).double() @ torch.from_numpy(matrix).to(place)).to(x.dtype).to(x.device)


def minkowski(x: Any, anchors: Any, p: float) -> Any:
    """(n, m) Lp distances. Differences are divided by the largest one, so that no power over- or underflows."""
    if is_plain(x, anchors):
        return kernels.lp(x, anchors, p, room_for(x, anchors))
    torch = library_of(x)
    if p in (1, inf):
        return torch.cdist(x, anchors, p=p)
    step = max(1, (1 << 20) // (anchors.shape[0] * anchors.shape[1]))
    parts = []
    for rows in x.split(step):
        difference = abs(rows[:, None, :] - anchors[None, :, :])
        peak = difference.amax(2)
        parts.append(((difference / (peak + (peak == 0))[:, :, None]) ** p).sum(2) ** (1 / p) * peak)
    return torch.cat(parts)


def is_plain(x: Any, anchors: Any) -> bool:
    """Whether both are NumPy arrays that the compiled kernels accept."""
    return all(isinstance(a, np.ndarray) and a.dtype in (np.float32, np.float64) and a.dtype == x.dtype for a in (x, anchors))


def room_for(x: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    return np.empty((len(x), len(anchors)), x.dtype)


def unit_length(x: Any) -> Any:
    """Scale rows to length 1; zero rows stay. Dividing by the largest entry first avoids overflow and underflow of squares."""
    peak = abs(x).max(1)
    peak = (peak if isinstance(x, np.ndarray) else peak.values)[:, None]
    scaled = x / (peak + (peak == 0))
    norm = (scaled * scaled).sum(1)[:, None] ** 0.5
    return scaled / (norm + (norm == 0))


def where(mask: Any) -> Any:
    return np.nonzero(mask) if isinstance(mask, np.ndarray) else mask.nonzero(as_tuple=True)

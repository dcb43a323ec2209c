"""Float32 candidates by torch, for `--device`: products in large tiles, of which each query keeps its nearest rows.

As with the other ways to find candidates, float64 on the CPU decides what float32 cannot, so the results are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.neighbors.frames import Frame
from relrep_cli.numerics.blocks import slices
from relrep_cli.numerics.devices import torch_device

QUERIES = 8192  # in one tile
ROWS = {"cuda": 65_536, "mps": 32_768, "cpu": 4096}  # of the base in one tile; a product takes at most 2 GiB


def search(frame: Frame, queries: np.ndarray, base: np.ndarray, c: int, device: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Find the c nearest rows of each query, nearest first, with the closeness of the frame.

    Returns near (q, c) float32, rows (q, c), and the largest |b|^2. Raises DataError when the device lacks the memory.
    """
    import torch

    on = torch_device(device)
    try:
        with torch.inference_mode():
            return _search(torch, frame, queries, base, c, on)
    except torch.cuda.OutOfMemoryError:
        needs = 4 * QUERIES * ROWS[on.type] / 2**30
        raise DataError(f"{device} has too little memory free: a tile takes {needs:.1f} GiB", "Use --device cpu.") from None


def _search(
    torch: Any, frame: Frame, queries: np.ndarray, base: np.ndarray, c: int, on: Any
) -> tuple[np.ndarray, np.ndarray, float]:
    near, rows = np.empty((len(queries), c), np.float32), np.empty((len(queries), c), np.int64)
    reach = 0.0
    for part in slices(len(queries), QUERIES, queries):
        q, half = _sent(torch, frame, queries[part], on)
        best = torch.empty((q.shape[0], 0), device=on), torch.empty((q.shape[0], 0), dtype=torch.int64, device=on)
        for block in slices(len(base), ROWS[on.type], base):
            b, sizes = _sent(torch, frame, base[block], on)
            reach = max(reach, 2 * float(sizes.max()))
            tile = q @ b.T
            if frame.center is not None:
                tile -= half[:, None]
                tile -= sizes
                tile *= 2
            best = _merged(torch, best, tile, block.start, c)
        near[part], rows[part] = best[0].cpu().numpy(), best[1].cpu().numpy()
    return near, rows, reach


def _sent(torch: Any, frame: Frame, block: np.ndarray, on: Any) -> tuple[Any, Any]:
    """Float32 rows on the device, and half their squared lengths, summed in float64 on the CPU."""
    rows = frame.single(frame.double(block))
    half = (np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / 2).astype(np.float32)
    return torch.from_numpy(rows).to(on), torch.from_numpy(half).to(on)


def _merged(torch: Any, best: tuple[Any, Any], tile: Any, start: int, c: int) -> tuple[Any, Any]:
    """The c nearest of those found before and of a tile (q, b), whose columns are base rows from `start` on."""
    close, at = tile.topk(min(c, tile.shape[1]), 1)
    near, rows = torch.cat([best[0], close], 1), torch.cat([best[1], at + start], 1)
    near, order = near.topk(min(c, near.shape[1]), 1)
    return near, rows.gather(1, order)

"""Float32 candidates by torch, for `--device`: products in large tiles, of which each query keeps its nearest rows.

As with the other ways to find candidates, float64 on the CPU decides what float32 cannot, so the results are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from relrep_cli.neighbors.frames import Frame
from relrep_cli.numerics.blocks import slices
from relrep_cli.numerics.devices import KeptBlocks, free_memory, memory_of, sent, torch_device

QUERIES = 8192  # in one tile, at most
ROWS = {"cuda": 65_536, "mps": 32_768, "cpu": 4096}  # of the base in one tile; a product takes at most 2 GiB
TILES = 8  # one part in so many of the free memory is for a tile


def search(frame: Frame, queries: np.ndarray, base: np.ndarray, c: int, device: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Find the c nearest rows of each query, nearest first, with the closeness of the frame.

    Returns near (q, c) float32, rows (q, c), and the largest |b|^2. Raises DataError when the device lacks the memory.
    """
    import torch

    on = torch_device(device)
    free = free_memory(on)
    at_once = _tile_rows(ROWS[on.type], free)
    with torch.inference_mode(), memory_of(device, f"a tile takes {4 * at_once * ROWS[on.type] >> 20} MiB"):
        return _search(torch, frame, queries, base, c, on, at_once)


def _tile_rows(columns: int, free: int) -> int:
    """The rows of a tile of products with so many columns."""
    return int(np.clip(free // TILES // (4 * columns), 64, QUERIES))


def _search(
    torch: Any, frame: Frame, queries: np.ndarray, base: np.ndarray, c: int, on: Any, at_once: int
) -> tuple[np.ndarray, np.ndarray, float]:
    near, rows = np.empty((len(queries), c), np.float32), np.empty((len(queries), c), np.int64)
    reach = 0.0

    def prepare(block: np.ndarray) -> list[np.ndarray]:
        nonlocal reach
        part, half = _prepared(frame, block)
        reach = max(reach, 2 * float(half.max()))
        return [part, half]

    blocks = KeptBlocks(base, ROWS[on.type], on, prepare)
    for part in slices(len(queries), at_once, queries):
        ((q, half),) = sent([_prepared(frame, queries[part])], on)
        best = torch.empty((q.shape[0], 0), device=on), torch.empty((q.shape[0], 0), dtype=torch.int64, device=on)
        for start, (b, sizes) in blocks:
            tile = q @ b.T if frame.center is None else sizes.addmm(q, b.T, beta=-1)
            best = _merged(torch, best, tile, start, c)
        close = best[0] if frame.center is None else 2 * (best[0] - half[:, None])
        near[part], rows[part] = close.cpu().numpy(), best[1].cpu().numpy()
    return near, rows, reach


def _prepared(frame: Frame, block: np.ndarray) -> list[np.ndarray]:
    """Float32 rows, and half their squared lengths, summed in float64."""
    rows = frame.single(frame.double(block))
    return [rows, (np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / 2).astype(np.float32)]


def _merged(torch: Any, best: tuple[Any, Any], tile: Any, start: int, c: int) -> tuple[Any, Any]:
    """The c nearest of those found before and of a tile (q, b), whose columns are base rows from `start` on."""
    close, at = tile.topk(min(c, tile.shape[1]), 1)
    near, rows = torch.cat([best[0], close], 1), torch.cat([best[1], at + start], 1)
    near, order = near.topk(min(c, near.shape[1]), 1)
    return near, rows.gather(1, order)


def two_nearest(
    x: np.ndarray, c: int, device: str
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A function that finds the nearest of c centres for each row of float32 x (n, d), which stays on the device; see
    kmeans.TwoNearest."""
    import torch

    on = torch_device(device)
    rows = _tile_rows(c, free_memory(on))
    lack = f"the rows and a tile take {x.nbytes + 4 * rows * c >> 20} MiB"
    with memory_of(device, lack):
        kept = [block for (block,) in sent(([x[part]] for part in slices(len(x), rows)), on)]

    def two(centres: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        with torch.inference_mode(), memory_of(device, lack):
            ((there, sizes),) = sent([[centres, half]], on)
            pairs = [_first_two(sizes.addmm(block, there.T, beta=-1)) for block in kept]
            labels, first, second = (torch.cat(parts).cpu().numpy() for parts in zip(*pairs, strict=True))
        return labels, first.astype(np.float64), second.astype(np.float64)

    return two


def _first_two(products: Any) -> tuple[Any, Any, Any]:
    """The place of the largest product of each row, this product, and the next one; minus infinity where there is none."""
    first, labels = products.max(1)
    products.scatter_(1, labels[:, None], -np.inf)
    return labels, first, products.amax(1)

"""Products of the rows of a space with each other, by NumPy or on a device where the rows stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relrep_cli.base.output import say
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.numerics.devices import NUMPY, free_memory, in_float64, memory_of, sent, torch_device

LIGHT = 1e8  # multiply-adds of all pairs that NumPy does sooner than torch loads

RowsOf = Callable[[np.ndarray], np.ndarray]  # row numbers (p,) -> these rows (p, d), float64
Products = Callable[[np.ndarray, np.ndarray], np.ndarray]  # row numbers (p,) and (q,) -> products (p, q) of these rows


def products_of(rows_of: RowsOf, shape: tuple[int, ...], device: str = NUMPY) -> Products:
    """A function that multiplies rows of a space of a shape (n, d), in float64.

    device: where it computes; see devices.chosen. NumPy does little work, and rows that half of the free memory does not hold,
    which a note says.
    """
    n, d = shape
    if device != NUMPY and n * float(n) * d >= LIGHT:
        name = in_float64(device)
        if name != NUMPY:
            if 8 * n * d <= free_memory(torch_device(name)) // 2:
                return _on_device(rows_of, n, d, name)
            say(f"--device {name}: half of its free memory does not hold {n} rows of {d} numbers, so the CPU multiplies them.")

    def products(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        a = rows_of(i)
        return a @ (a if j is i else rows_of(j)).T

    return products


def _on_device(rows_of: RowsOf, n: int, d: int, device: str) -> Products:
    import torch

    on = torch_device(device)
    blocks = ([rows_of(np.arange(block.start, block.stop))] for block in row_blocks(n, d))
    with memory_of(device, f"{n} rows of {d} numbers stay there"):
        kept = torch.cat([there for (there,) in sent(blocks, on)])

    def products(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), memory_of(device, f"{len(i)} x {len(j)} products"):
            a = kept[torch.from_numpy(i).to(on)]
            b = a if j is i else kept[torch.from_numpy(j).to(on)]
            product: np.ndarray = (a @ b.T).cpu().numpy()
            return product

    return products

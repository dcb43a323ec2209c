"""Packed bits become dimensions; if a file might hold packed bits, a note asks the user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from relrep_cli.numerics.spool import spool
from relrep_cli.store.columns import blocks
from relrep_cli.store.files import bad
from relrep_cli.store.found import Found
from relrep_cli.store.reading import Reading

WIDEST = 512  # bytes; vectors of bytes below it, a power of two, may be packed bits


def _bytes_of(x: np.ndarray) -> str:
    """The byte type that holds these numbers of a text: "uint8", or "int8" if some are negative; "" if neither does."""
    low, high = np.inf, -np.inf
    for rows in blocks(len(x), 8 * x.shape[1], x):
        if (x[rows] % 1 != 0).any():
            return ""
        low, high = min(low, float(x[rows].min())), max(high, float(x[rows].max()))
    return "uint8" if low >= 0 and high <= 255 else "int8" if low >= -128 and high <= 127 else ""


def unpacked(path: Path, content: Found, reading: Reading) -> Found:
    """`content` with a column for each bit where --packed-bits says that its bytes hold eight dimensions each, else itself.

    Bits are in the order of numpy.packbits, the highest first. int8 stands for uint8 less 128, as sentence-transformers
    writes `binary`. Raises DataError for numbers that are not bytes.
    """
    d = content.x.shape[1]
    if not reading.packed_bits:
        if content.stored in ("uint8", "int8") and d < WIDEST and d & (d - 1) == 0 and d > 1:
            ask = f"holds {d} bytes an item, read as numbers. If they are {8 * d} packed bits, write --packed-bits."
            return replace(content, notes=(*content.notes, ask))
        return content
    kind = content.stored or _bytes_of(content.x)
    if kind not in ("uint8", "int8"):
        raise bad(path, f"--packed-bits unpacks bytes, and it holds {kind or 'other numbers'}", "Leave it out.")
    shift = 128 if kind == "int8" else 0
    x = spool((len(content.x), 8 * d), np.dtype(np.float16))
    for rows in blocks(len(x), 16 * d, content.x, x):
        x[rows] = np.unpackbits((content.x[rows] + shift).astype(np.uint8), axis=1)
    return replace(content, x=x, attrs={**content.attrs, "digest": ""})

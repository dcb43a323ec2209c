"""Limits for untrusted files, in one place; every honest file keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

TEXT_WIDTH = 4 << 10  # bytes of one string
ATTRIBUTE = 64 << 10  # bytes of one attribute
MEMBERS = 1000  # names looked at in one group, and objects in one file
DEPTH = 8  # groups within groups
CHUNK = 128 << 20  # bytes of one chunk
MANY_CHUNKS = 16 << 10  # chunks of any size, read in a second; where chunks are larger they may be more
PACKED = 200  # largest ratio of unpacked to stored bytes
UNPACKED = 256 << 20  # unpacked bytes that are allowed at any ratio
PACKED_CHUNK = 16 << 20  # the same for one chunk, which is unpacked in one piece
PADDED = 32  # largest ratio of padded to stored bytes of text, which is made as wide as its longest string
TEXTS = 16 << 20  # bytes of padded text that are allowed at any ratio
STATISTIC = 8 << 20  # numbers of one array in uns
SHORTEN = "Shorten the longest text."  # remedy for a fault of `padding_fault`


def chunks_of(shape: Sequence[int], chunk: Sequence[int]) -> int:
    """How many chunks cover an array of `shape`."""
    return prod(-(-n // c) for n, c in zip(shape, chunk, strict=True))


def chunk_fault(shape: Sequence[int], chunk: Sequence[int], width: int, size: int) -> str:
    """The fault of chunks of items `width` bytes wide in a file of `size` bytes; "" for none.

    An honest chunk costs its index some 20 bytes beside its data, so the number of chunks is bounded by the file.
    """
    if len(shape) != len(chunk) or min(chunk) < 1 or max(chunk) > 2**32:
        return "its chunks do not fit its shape"
    if prod(chunk) * width > CHUNK:
        return f"its chunks are {prod(chunk) * width >> 20} MiB each; at most {CHUNK >> 20} MiB are read"
    if chunks_of(shape, chunk) > 64 + size // 16:
        return f"it declares {chunks_of(shape, chunk)} chunks, more than a file of {size} bytes can hold"
    if chunks_of(shape, chunk) > MANY_CHUNKS + size // 512:
        return (
            f"it is cut into {chunks_of(shape, chunk)} chunks of {prod(chunk) * width} bytes, which would take too long to read"
        )
    return packing_fault(chunks_of(shape, chunk) * prod(chunk) * width, size)


def packing_fault(declared: int, stored: int, harmless: int = UNPACKED) -> str:
    """The fault of `declared` bytes that come out of `stored`; "" for none."""
    if declared > max(harmless, PACKED * stored):
        return f"it unpacks to {declared} bytes, {declared // max(stored, 1)} times what is stored: a decompression bomb"
    return ""


def padding_fault(width: int, stored: int) -> str:
    """The fault of texts that take `width` bytes, each as wide as the longest; "" for none."""
    if width > max(TEXTS, PADDED * stored):
        return f"its texts would take {width} bytes, each as wide as the longest, out of {stored} stored"
    return ""

"""Ranks of very many numbers: exact where they fit in memory, else midranks of bins that follow the bits of float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import frexp

import numpy as np

from relrep_cli.numerics.blocks import pick, row_blocks

EXACT = 1 << 22  # numbers that are sorted in memory
BINS = 1 << 18  # about so many bins; equal shares of 1 / 2^18 change a rank correlation by some 1e-11
CACHED = 1 << 15  # numbers whose codes are made at once, in the cache
PEAK = 100  # numbers are brought below 2^100, so that neither they nor their differences leave float32


@dataclass(frozen=True)
class Ranked:
    """codes: from a block of rows to the codes of its numbers, in ascending order. ranks: the centred midrank of each code."""

    codes: Callable[[slice], np.ndarray]
    ranks: np.ndarray


def ranked(x: np.ndarray) -> Ranked:
    """All numbers of (n, d) x in one order; exact up to EXACT numbers."""
    middle = (x.size + 1) / 2
    if x.size <= EXACT:
        codes, counts = dense(np.asarray(x, np.float64))
        return Ranked(codes.__getitem__, midranks(counts) - middle)
    sample = np.asarray(pick(x, np.arange(0, len(x), max(1, x.size // EXACT))), np.float64)
    bins = bins_for(sample, max(float(np.abs(x[block]).max()) for block in row_blocks(*x.shape, x)))

    def binned(block: slice) -> np.ndarray:
        return bins.codes(np.asarray(x[block], np.float64))

    counts = np.zeros(bins.size, np.int64)
    for block in row_blocks(*x.shape, x):
        counts += np.bincount(binned(block).ravel(), minlength=bins.size)
    return Ranked(binned, np.where(counts, midranks(counts) - middle, 0))


@dataclass(frozen=True)
class Bins:
    """Bins in ascending order: each value of a key's upper 16 bits holds 2^s bins, s as large as the sample is dense there.

    first: (65536,) number of its first bin. shift: (65536,) how many of the lower 16 bits its bins ignore.
    """

    first: np.ndarray
    shift: np.ndarray
    scale: float

    @property
    def size(self) -> int:
        return int(self.first[-1]) + (1 << int(16 - self.shift[-1]))

    def codes(self, values: np.ndarray) -> np.ndarray:
        """The bin of each number, in the shape of `values`."""
        flat, out = values.ravel(), np.empty(values.size, np.int32)
        for start in range(0, len(flat), CACHED):
            key = _key(flat[start : start + CACHED], self.scale)
            top = (key >> 16).astype(np.intp)
            key &= 0xFFFF
            key >>= self.shift[top]
            np.add(self.first[top], key.view(np.int32), out=out[start : start + CACHED])
        return out.reshape(values.shape)


def bins_for(sample: np.ndarray, peak: float) -> Bins:
    """Bins that split a sample of the numbers evenly; peak: the largest size among all of them."""
    scale = 2.0 ** min(PEAK - frexp(peak)[1], 1000)
    counts = np.bincount(_key(sample, scale).ravel() >> 16, minlength=1 << 16)
    wanted = np.maximum(counts * (BINS / max(1, sample.size)), 1)
    bits = np.minimum(np.ceil(np.log2(wanted)), 16).astype(np.uint32)
    sizes = np.left_shift(1, bits.astype(np.int64))
    return Bins((np.cumsum(sizes) - sizes).astype(np.int32), np.uint32(16) - bits, scale)


def _key(values: np.ndarray, scale: float) -> np.ndarray:
    """Unsigned integers in the order of the float32 values; both zeros are one."""
    single = np.multiply(values, scale, out=np.empty(values.shape, np.float32), casting="same_kind")
    single += 0.0
    turned = (single.view(np.int32) >> 31).view(np.uint32)  # all bits of negative numbers, to reverse their order
    turned |= np.uint32(1 << 31)
    turned ^= single.view(np.uint32)
    return turned


def midranks(counts: np.ndarray) -> np.ndarray:
    """Ranks from 1 of codes that occur `counts` times; equal ones share their mean rank.

    >>> midranks(np.array([1, 2, 1])).tolist()
    [1.0, 2.5, 4.0]
    """
    return np.cumsum(counts) - (counts - 1) / 2


def dense(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact codes 0, 1, … of numbers in ascending order, in their shape, and how often each occurs."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return codes.reshape(values.shape), counts

"""Rank all numbers of a matrix: exactly when they fit in memory, else by midranks of bins of their float32 bit patterns."""

from __future__ import annotations

from collections.abc import Callable
from math import frexp

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.blocks import pick, row_blocks

EXACT = 1 << 22  # up to this many numbers are sorted in memory
BINS = 1 << 18  # approximate number of bins; ties within bins of this size change a rank correlation by about 1e-11
CACHED = 1 << 15  # numbers coded at a time, so that they stay in the CPU cache
PEAK = 100  # numbers are scaled below 2^100, so that they and their differences fit float32


@dataclass(frozen=True)
class Ranked:
    """codes: a function from a block of rows to integer codes, in the order of the numbers. ranks: centred midranks."""

    codes: Callable[[slice], np.ndarray]
    ranks: np.ndarray


def ranked(x: np.ndarray) -> Ranked:
    """Rank all numbers of (n, d) x together; exact for up to EXACT numbers."""
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
    """Bins in ascending order of a 32-bit key.

    Each value of the upper 16 bits is split into 2^s bins; s is larger where the sample is denser.

    first: (65536,) number of the first bin of each value. shift: (65536,) how many of the lower 16 bits are ignored.
    """

    first: np.ndarray
    shift: np.ndarray
    scale: float

    @property
    def size(self) -> int:
        return int(self.first[-1]) + (1 << int(16 - self.shift[-1]))

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the bin number of each number, in the shape of `values`."""
        flat, out = values.ravel(), np.empty(values.size, np.int32)
        for start in range(0, len(flat), CACHED):
            key = _key(flat[start : start + CACHED], self.scale)
            top = (key >> 16).astype(np.intp)
            key &= 0xFFFF
            key >>= self.shift[top]
            np.add(self.first[top], key.view(np.int32), out=out[start : start + CACHED])
        return out.reshape(values.shape)


def bins_for(sample: np.ndarray, peak: float) -> Bins:
    """Choose bins that split a sample of the numbers evenly. peak: the largest absolute value of all numbers."""
    scale = 2.0 ** min(PEAK - frexp(peak)[1], 1000)
    counts = np.bincount(_key(sample, scale).ravel() >> 16, minlength=1 << 16)
    wanted = np.maximum(counts * (BINS / max(1, sample.size)), 1)
    bits = np.minimum(np.ceil(np.log2(wanted)), 16).astype(np.uint32)
    sizes = np.left_shift(1, bits.astype(np.int64))
    return Bins((np.cumsum(sizes) - sizes).astype(np.int32), np.uint32(16) - bits, scale)


def _key(values: np.ndarray, scale: float) -> np.ndarray:
    """Unsigned integers in the order of the float32 values; 0 and -0 are equal."""
    single = np.multiply(values, scale, out=np.empty(values.shape, np.float32), casting="same_kind")
    single += 0.0
    turned = (single.view(np.int32) >> 31).view(np.uint32)  # all bits of negative numbers, to reverse their order
    turned |= np.uint32(1 << 31)
    turned ^= single.view(np.uint32)
    return turned


def midranks(counts: np.ndarray) -> np.ndarray:
    """Compute the rank, from 1, of each code, given how often each occurs; ties get their mean rank.

    >>> midranks(np.array([1, 2, 1])).tolist()
    [1.0, 2.5, 4.0]
    """
    return np.cumsum(counts) - (counts - 1) / 2


def dense(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return exact codes 0, 1, … in the order of the numbers, in their shape, and how often each code occurs."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    return codes.reshape(values.shape), counts

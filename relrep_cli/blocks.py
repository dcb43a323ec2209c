"""Row blocks of arrays of any size, in bounded memory, and float64 moments of two spaces in one pass."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relrep_cli.sharing import shared
from relrep_cli.signals import check

ROWS = 4096  # fixed, never derived from free memory: float32 sums depend on the block, answers must not depend on the machine
BYTES = 32 << 20
MEMORY = 192 << 20  # bytes for the moments of all parts together
AROUND = 64 << 10  # bytes that a system maps on either side of those that were asked for


def block_rows(d: int) -> int:
    """How many rows of d numbers make a block: a power of two, at most 4096, about 32 MiB in float64."""
    rows = max(1, min(ROWS, BYTES // max(1, 8 * d)))
    return int(1 << (rows.bit_length() - 1))


def slices(n: int, rows: int, *mapped: np.ndarray) -> Iterator[slice]:
    """Consecutive slices of at most `rows` of n rows. Looks for a pending signal between them.

    mapped: arrays of n rows whose slice is `release`d when the next one is asked for.
    """
    for start in range(0, n, rows):
        check()
        block = slice(start, min(start + rows, n))
        yield block
        for x in mapped:
            release(x, block)


def release(x: np.ndarray, rows: slice = slice(None)) -> None:
    """Take x[rows] out of this process's memory where x is a memory map of a file, so that reading on needs no more of it.

    Nothing is lost: the system keeps the file's contents, written ones too, and brings them back when they are asked for.
    """
    owner: Any = x
    while owner is not None and getattr(owner, "_mmap", None) is None:
        owner = getattr(owner, "base", None)
    if owner is None or owner.mode not in ("r", "r+") or not hasattr(mmap, "MADV_DONTNEED"):  # "c" keeps changes in memory
        return
    begin = np.frombuffer(owner._mmap, np.uint8).__array_interface__["data"][0]
    low, high = np.lib.array_utils.byte_bounds(x[rows])
    first = max(0, low - begin - AROUND) // mmap.PAGESIZE * mmap.PAGESIZE
    owner._mmap.madvise(mmap.MADV_DONTNEED, first, min(high - begin + AROUND, len(owner._mmap)) - first)


def row_blocks(n: int, d: int, *mapped: np.ndarray) -> Iterator[slice]:
    """`slices` of an (n, d) array in blocks."""
    return slices(n, block_rows(d), *mapped)


def widen(block: np.ndarray) -> np.ndarray:
    """`block` as native float32, or float64 where it is stored so: float16 is widened before any sum."""
    return np.ascontiguousarray(block, np.float64 if block.dtype.itemsize == 8 else np.float32)


def take(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """x[rows]; no copy when that is all of x in order, else copied block by block (to disk when large)."""
    from relrep_cli.store.found import spool

    if len(rows) == len(x) and np.array_equal(rows, np.arange(len(x))):
        return x
    out = spool((len(rows), x.shape[1]), x.dtype)
    for block in row_blocks(*out.shape, out):
        out[block] = x[rows[block]]
        release(x)
    return out


def column_mean(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(d,) mean of x[rows] in float64: a float32 column sum errs by 8.8 at offset 1000 over a million rows."""
    total = np.zeros(x.shape[1])
    for block in row_blocks(len(rows), x.shape[1]):
        total += x[rows[block]].sum(0, dtype=np.float64)
        release(x)
    return total / len(rows)


def first_bad_row(x: np.ndarray) -> int | None:
    """The first row that holds NaN or infinity, or None."""
    for block in row_blocks(*x.shape, x):
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(widen(x[block]).sum()):
                continue  # a sum is finite only if all its terms are
        good = np.isfinite(x[block]).all(1)
        if not good.all():
            return block.start + int(np.argmin(good))
    return None


@dataclass(frozen=True)
class Moments:
    """Sums over the rows of two spaces side by side, z = (x, y), float64; additive over rows.

    n: number of rows. sums: (D,) of z. products: (D, D) of z z'. norms: (2,) of |x|^2, |y|^2. norm_products: (2, 2) of
    their products. weighted: (D, 2) of z |x|^2 and z |y|^2. dx: where y begins. shift: (D,) what z was shifted by.
    """

    dx: int
    n: int
    sums: np.ndarray
    products: np.ndarray
    norms: np.ndarray
    norm_products: np.ndarray
    weighted: np.ndarray
    shift: np.ndarray

    def _combine(self, other: Moments, sign: int) -> Moments:
        parts = ("n", "sums", "products", "norms", "norm_products", "weighted")
        return replace(self, **{p: getattr(self, p) + sign * getattr(other, p) for p in parts})

    def __add__(self, other: Moments) -> Moments:
        return self._combine(other, 1)

    def __sub__(self, other: Moments) -> Moments:
        return self._combine(other, -1)

    def part(self, side: int) -> slice:
        """Columns of x (0) or y (1)."""
        return slice(self.dx, None) if side else slice(0, self.dx)

    def centred(self) -> Moments:
        """The same sums about the means of the columns."""
        mean = self.sums / self.n
        means = np.zeros((len(mean), 2))  # each side's own
        for side in (0, 1):
            means[self.part(side), side] = mean[self.part(side)]
        squares, along = np.square(means).sum(0), self.products @ means  # (2,) and (D, 2)
        norms = self.norms - self.n * squares
        moved = self.weighted - 2 * along + np.outer(self.sums, squares)  # of z with the new |x|^2, |y|^2
        other = self.norm_products - 2 * (means.T @ self.weighted).T + np.outer(self.norms, squares)  # of old with new
        return replace(
            self,
            sums=np.zeros_like(mean),
            products=self.products - np.outer(mean, self.sums),
            norms=norms,
            norm_products=other - 2 * means.T @ moved + np.outer(squares, norms),
            weighted=moved - np.outer(mean, norms),
            shift=self.shift + mean,
        )


def _moments_of(z: np.ndarray, dx: int, shift: np.ndarray) -> Moments:
    norms = np.stack([np.einsum("ij,ij->i", part, part) for part in (z[:, :dx], z[:, dx:])], 1)
    return Moments(dx, len(z), z.sum(0), z.T @ z, norms.sum(0), norms.T @ norms, z.T @ norms, shift)


def moments(x: np.ndarray, y: np.ndarray, groups: int = 1) -> list[Moments]:
    """Moments of (n, dx) x and (n, dy) y in one pass, apart for `groups` interleaved parts of the rows.

    Rows i, i + groups, … form a part, so that a file sorted by class gives parts alike. Each space is shifted by the mean
    of its first block, which centred quantities do not feel and which keeps digits where data lie far from the origin.
    """
    dx, d = x.shape[1], x.shape[1] + y.shape[1]
    rows = next(row_blocks(len(x), d))
    shift = np.concatenate([x[rows].mean(0, dtype=np.float64), y[rows].mean(0, dtype=np.float64)])
    found: list[Moments | None] = [None] * groups
    for block in row_blocks(len(x), d, x, y):
        z = np.empty((block.stop - block.start, d))
        np.subtract(x[block], shift[:dx], out=z[:, :dx])
        np.subtract(y[block], shift[dx:], out=z[:, dx:])
        for g in range(groups):
            part = z[(g - block.start) % groups :: groups]
            if len(part):
                new, known = _moments_of(np.ascontiguousarray(part), dx, shift), found[g]
                found[g] = new if known is None else known + new
    return [m for m in found if m is not None]


@shared
def grouped_moments(x: np.ndarray, y: np.ndarray) -> list[Moments]:
    """Moments in 10 to 50 parts for a jackknife over groups of rows, as many as MEMORY allows; few rows are a part each."""
    n, d = len(x), x.shape[1] + y.shape[1]
    return moments(x, y, groups=int(np.clip(MEMORY // (8 * d * d), 10, 50)) if n >= 200 else min(n, 50))


def total(parts: list[Moments]) -> Moments:
    """Moments of all rows."""
    return sum(parts[1:], parts[0])

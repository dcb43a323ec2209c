"""Read arrays of any size in row blocks with bounded memory, and compute float64 moments of two spaces in one pass."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics.memo import learn, origin, recall, shared
from relrep_cli.numerics.spool import spool
from relrep_cli.numerics.threads import run_all

ROWS = 4096  # fixed, not derived from free memory: float32 sums depend on the block, and results must not depend on the machine
BYTES = 32 << 20
LANES = 4  # partial sums computed in parallel; their number is fixed, because it influences rounding
STACKED = 4 << 20  # bytes of products up to which sums of groups are stacked to be added
LIGHT = 1e7  # multiply-adds of a block that one thread does sooner than several
NARROW = 2048  # up to this many dims of both spaces together, there is memory for LANES partial sums
COPIED = 16 << 20  # bytes of rows copied at a time
FIRST = 1024  # the mean of this many first rows shifts the moments, independent of the other space
WIDE, FEW = 200, 10  # above WIDE dims of both spaces together, the jackknife has only FEW groups
FAULT = 2 << 20  # bytes: reading one number of a memory map loads up to this large an aligned part of the file
TOUCHED = 16  # parts of this size that are in memory at the same time while rows are picked


def block_rows(d: int) -> int:
    """Return the number of rows of d numbers in a block: a power of two, at most 4096, about 32 MiB in float64."""
    rows = max(1, min(ROWS, BYTES // max(1, 8 * d)))
    return int(1 << (rows.bit_length() - 1))


def slices(n: int, rows: int, *mapped: np.ndarray) -> Iterator[slice]:
    """Yield consecutive slices of n rows, each of at most `rows`. Checks for a pending signal before each slice.

    mapped: arrays of n rows. After each slice, its memory is freed with `release`, except what the next slice shares with it.
    """
    for start in range(0, n, rows):
        check()
        block = slice(start, min(start + rows, n))
        yield block
        for x in mapped:
            release(x, block, keep_end=block.stop < n)


def release(x: np.ndarray, rows: slice = slice(None), keep_end: bool = False) -> None:
    """Free the memory of x[rows] when x is a memory map of a file.

    No data are lost: the system keeps the contents of the file, written ones included, and reads them again when needed.
    keep_end: leave the stretch in which the rows end, for a pass that reads on from there.
    """
    file = _map_behind(x)
    if file is None:
        return
    begin = np.frombuffer(file, np.uint8).__array_interface__["data"][0]
    low, high = np.lib.array_utils.byte_bounds(x[rows])
    if keep_end:
        high = np.lib.array_utils.byte_bounds(x[rows.stop :])[0] - FAULT + 1
    first, last = max(0, low // FAULT * FAULT - begin), -(-high // FAULT) * FAULT - begin
    if last > first:
        file.madvise(mmap.MADV_DONTNEED, first, min(last, len(file)) - first)


def _map_behind(x: np.ndarray) -> mmap.mmap | None:
    """The memory map behind x; None when x is an ordinary array, or its map holds changes that are not in the file."""
    owner: Any = x
    while owner is not None and getattr(owner, "_mmap", None) is None:
        owner = getattr(owner, "base", None)
    if owner is None or owner.mode not in ("r", "r+") or not hasattr(mmap, "MADV_DONTNEED"):  # "c" keeps changes in memory
        return None
    file: mmap.mmap = owner._mmap
    return file


def pick(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Copy x[rows] in bounded memory, also when x is a memory map of a file.

    x: (n, …) array. rows: row numbers from 0, in any order and of any shape.

    Reading a row of a memory map loads a much larger part of the file (`FAULT`), which stays in memory; x[rows] for 300 rows of
    a million took 600 MiB. So rows are read in file order, a few parts at a time, and the parts are then released.

    >>> pick(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0])).tolist()
    [[3.0], [1.0]]
    """
    file = _map_behind(x)
    if file is None or len(file) <= FAULT * TOUCHED or not rows.size:
        return x[rows]
    if rows.ndim != 1:
        return pick(x, rows.ravel()).reshape(rows.shape + x.shape[1:])
    rows, out = rows.astype(np.int64, copy=False), np.empty((len(rows), *x.shape[1:]), x.dtype)
    order = None if (rows[1:] >= rows[:-1]).all() else np.argsort(rows)
    if x.ndim == 2 and x.strides[0] < abs(x.strides[1]):  # columns lie one after the other, as in Fortran
        for j in range(x.shape[1]):
            _pick_sorted(x[:, j], rows, order, out[:, j])
    else:
        _pick_sorted(x, rows, order, out)
    return out


def _pick_sorted(x: np.ndarray, rows: np.ndarray, order: np.ndarray | None, out: np.ndarray) -> None:
    """Copy x[rows] to `out`, `TOUCHED` parts of the file at a time. order: sorts the rows; None when they are sorted."""
    ascending = rows if order is None else rows[order]
    part = (x.__array_interface__["data"][0] + ascending * x.strides[0]) // FAULT
    each = 1 + x[0].nbytes // FAULT  # parts that one row spans
    batch = np.cumsum(np.diff(part, prepend=part[0]) != 0) * each // TOUCHED
    ends = [*(np.flatnonzero(np.diff(batch)) + 1).tolist(), len(rows)]
    for start, end in zip([0, *ends], ends, strict=False):
        out[slice(start, end) if order is None else order[start:end]] = x[ascending[start:end]]
        release(x, slice(int(ascending[start]), int(ascending[end - 1]) + 1))


def row_blocks(n: int, d: int, *mapped: np.ndarray) -> Iterator[slice]:
    """Yield the `slices` of an (n, d) array in blocks of `block_rows(d)`."""
    return slices(n, block_rows(d), *mapped)


def widen(block: np.ndarray) -> np.ndarray:
    """Convert a block to native float32, or to float64 when it is stored as such; float16 must be widened before any sum."""
    return np.ascontiguousarray(block, np.float64 if block.dtype.itemsize == 8 else np.float32)


def take(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return x[rows]: x itself when that is all of x in order, else a copy made block by block, on disk when large."""
    if len(rows) == len(x) and np.array_equal(rows, np.arange(len(x))):
        return x
    out = spool((len(rows), x.shape[1]), x.dtype)
    for block in slices(len(rows), max(1, COPIED // max(1, x[:1].nbytes)), out):  # large blocks, read in file order
        out[block] = pick(x, rows[block])
    return out


def column_mean(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the mean (d,) of x[rows] in float64. (A float32 sum of a million rows at offset 1000 is off by 8.8.)"""
    total = np.zeros(x.shape[1])
    for block in row_blocks(len(rows), x.shape[1]):
        total += pick(x, rows[block]).sum(0, dtype=np.float64)
    return total / len(rows)


def first_bad_row(x: np.ndarray) -> int | None:
    """Return the number of the first row that holds NaN or infinity, or None."""
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
    """Sums over the rows z = (x, y) of two concatenated spaces, in float64. Moments of disjoint sets of rows can be added.

    n: number of rows. sums: (D,) of z. products: (D, D) of z z'. norms: (2,) of |x|^2 and |y|^2. norm_products: (2, 2) of the
    products of these. weighted: (D, 2) of z |x|^2 and z |y|^2. dx: dims of x. shift: (D,) was subtracted from z.
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
        """The columns of x (side 0) or y (side 1)."""
        return slice(self.dx, None) if side else slice(0, self.dx)

    def centred(self) -> Moments:
        """Return the same sums for centred columns."""
        mean = self.sums / self.n
        means = np.zeros((len(mean), 2))  # column 0 holds the mean of x, column 1 that of y
        for side in (0, 1):
            means[self.part(side), side] = mean[self.part(side)]
        squares, along = np.square(means).sum(0), self.products @ means  # (2,) and (D, 2)
        norms = self.norms - self.n * squares
        moved = self.weighted - 2 * along + np.outer(self.sums, squares)  # sums of z times the centred |x|^2, |y|^2
        other = self.norm_products - 2 * (means.T @ self.weighted).T + np.outer(self.norms, squares)  # raw times centred
        return replace(
            self,
            sums=np.zeros_like(mean),
            products=self.products - np.outer(mean, self.sums),
            norms=norms,
            norm_products=other - 2 * means.T @ moved + np.outer(squares, norms),
            weighted=moved - np.outer(mean, norms),
            shift=self.shift + mean,
        )


def moments(x: np.ndarray, y: np.ndarray, groups: int = 1) -> list[Moments]:
    """Compute the moments of (n, dx) x and (n, dy) y in one pass, separately for each group of rows.

    Rows i, i + groups, … form a group, so that the groups of a file sorted by class are similar. Each space is shifted by the
    mean of its first rows; centred quantities do not depend on the shift, and data far from the origin keep their precision.
    The products of a space with itself come from the cache when they are there.
    """
    groups = min(groups, len(x))
    shift = [side[:FIRST].mean(0, dtype=np.float64) for side in (x, y)]
    own = [_known_products(side, groups) for side in (x, y)]
    if groups > 1 and len(x) * (x.shape[1] + y.shape[1]) ** 2 < LIGHT:
        found = _of_few_rows(x, y, shift, groups)
    else:
        found = _in_blocks(x, y, shift, groups, [products is None for products in own])
    for side, (space, products) in enumerate(zip((x, y), own, strict=True)):
        _settle(found, side, space, products)
    return found


def _in_blocks(x: np.ndarray, y: np.ndarray, shift: list[np.ndarray], groups: int, wanted: list[bool]) -> list[Moments]:
    """The moments of each group, block by block. wanted: for each side, whether to add its products with itself."""
    rows = block_rows(2 * max(x.shape[1], y.shape[1]))
    lanes = groups if groups > 1 else LANES if x.shape[1] + y.shape[1] <= NARROW else 1
    found = [_nothing(x.shape[1], np.concatenate(shift)) for _ in range(lanes)]

    def add(piece: tuple[int, slice]) -> None:
        lane, some = piece
        parts = [np.ascontiguousarray(side[some] - middle) for side, middle in zip((x, y), shift, strict=True)]
        if len(parts[0]):
            found[lane] = _with_rows(found[lane], parts, wanted)

    piece = max(1, rows // 2)  # so that two threads take the memory of one block
    for block in slices(len(x), rows if groups > 1 else piece * lanes, x, y):
        pieces = enumerate(_interleaved(block, lanes) if groups > 1 else _consecutive(block, piece))
        run_all(add, pieces, light=(block.stop - block.start) * len(found[0].shift) ** 2 < LIGHT)
    return found if groups > 1 else [total(found)]


def _of_few_rows(x: np.ndarray, y: np.ndarray, shift: list[np.ndarray], groups: int) -> list[Moments]:
    """The moments of each group, by one stacked product for all groups; groups are filled up with rows of zeros."""
    n, rows = len(x), -(-len(x) // groups)
    z = np.zeros((rows * groups, x.shape[1] + y.shape[1]))
    z[:n, : x.shape[1]], z[:n, x.shape[1] :] = x - shift[0], y - shift[1]
    z = np.ascontiguousarray(z.reshape(rows, groups, -1).swapaxes(0, 1))  # row i belongs to group i % groups
    norms = np.stack([np.einsum("gij,gij->gi", side, side) for side in (z[..., : x.shape[1]], z[..., x.shape[1] :])], 2)
    turned = z.swapaxes(1, 2)
    sums, products, weighted = z.sum(1), turned @ z, turned @ norms
    norm_products, both = norms.swapaxes(1, 2) @ norms, np.concatenate(shift)
    counts, lengths = [len(range(g, n, groups)) for g in range(groups)], norms.sum(1)
    return [
        Moments(x.shape[1], counts[g], sums[g], products[g], lengths[g], norm_products[g], weighted[g], both)
        for g in range(groups)
    ]


def _interleaved(block: slice, groups: int) -> list[slice]:
    """The rows of a block that belong to each group: rows g, g + groups, … of the file.

    >>> _interleaved(slice(8, 16), 3)
    [slice(9, 16, 3), slice(10, 16, 3), slice(8, 16, 3)]
    """
    return [slice(block.start + (g - block.start) % groups, block.stop, groups) for g in range(groups)]


def _consecutive(block: slice, rows: int) -> list[slice]:
    """A block in pieces of at most so many rows.

    >>> _consecutive(slice(8, 13), 3)
    [slice(8, 11, None), slice(11, 13, None)]
    """
    return [slice(start, min(start + rows, block.stop)) for start in range(block.start, block.stop, rows)]


def _nothing(dx: int, shift: np.ndarray) -> Moments:
    d = len(shift)
    return Moments(dx, 0, np.zeros(d), np.zeros((d, d)), np.zeros(2), np.zeros((2, 2)), np.zeros((d, 2)), shift)


def _with_rows(m: Moments, sides: list[np.ndarray], own: list[bool]) -> Moments:
    """Add shifted rows of both sides to m, in place. own: for each side, whether to add its products with itself."""
    norms = np.stack([np.einsum("ij,ij->i", side, side) for side in sides], 1)
    for a, side in enumerate(sides):
        m.sums[m.part(a)] += side.sum(0)
        m.weighted[m.part(a)] += side.T @ norms
        if own[a]:
            m.products[m.part(a), m.part(a)] += side.T @ side
    m.products[m.part(0), m.part(1)] += sides[0].T @ sides[1]
    norm_products = m.norm_products + norms.T @ norms
    return replace(m, n=m.n + len(norms), norms=m.norms + norms.sum(0), norm_products=norm_products)


def _known_products(x: np.ndarray, groups: int) -> np.ndarray | None:
    """The products (groups, d, d) of x with itself, cached for x or for the matrix that x is a permutation of, or None."""
    space, order = origin(x)
    if order is not None and groups > 1:
        return None
    return recall(space, ("products", groups), (groups, x.shape[1], x.shape[1]), np.float64)


def _settle(found: list[Moments], side: int, x: np.ndarray, known: np.ndarray | None) -> None:
    """Fill in the cached products of one side, or cache them. For side 1, also fill the transposed cross products."""
    part = found[0].part(side)
    if known is None:
        learn(x, ("products", len(found)), np.stack([m.products[part, part] for m in found]))
    for g, m in enumerate(found):
        if known is not None:
            m.products[part, part] = known[g]
        if side:
            m.products[part, m.part(0)] = m.products[m.part(0), part].T


@shared
def grouped_moments(x: np.ndarray, y: np.ndarray) -> list[Moments]:
    """Compute moments in 50 groups for a jackknife. Wide spaces get 10, because each group needs a D x D decomposition. When
    there are fewer rows than groups, each row is a group."""
    n, d = len(x), x.shape[1] + y.shape[1]
    return moments(x, y, groups=min(n, 50 if d <= WIDE else FEW))


def total(parts: list[Moments]) -> Moments:
    """Add the moments of all groups by pairwise summation: a fixed order with small rounding error."""
    if len(parts) > 1 and len(parts) * parts[0].products.nbytes < STACKED:
        first = parts[0]
        names = ("n", "sums", "products", "norms", "norm_products", "weighted")
        return replace(first, **{name: _pairwise(np.stack([getattr(m, name) for m in parts])) for name in names})
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)] + parts[len(parts) // 2 * 2 :]
    return parts[0]


def _pairwise(stack: np.ndarray) -> Any:
    """The sum over the first axis, in the order in which `total` adds."""
    while len(stack) > 1:
        even = len(stack) // 2 * 2
        stack = np.concatenate([stack[:even:2] + stack[1:even:2], stack[even:]])
    return stack[0].item() if stack[0].ndim == 0 else stack[0]

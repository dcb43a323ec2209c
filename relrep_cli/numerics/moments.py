"""Moments of two spaces in float64, computed in one pass over the rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from threading import local
from typing import Any

import numpy as np

from relrep_cli.numerics.blocks import block_rows, slices
from relrep_cli.numerics.spread import WORTH, Taken, row_ranges
from relrep_cli.numerics.threads import run_all
from relrep_cli.numerics.workspace import UNSHARED, Workspace

LANES = 4  # partial sums computed in parallel; their number is fixed, because it influences rounding
STACKED = 4 << 20  # bytes of products up to which sums of groups are stacked to be added
LIGHT = 1e7  # multiply-adds of a block that one thread does sooner than several
NARROW = 2048  # up to this many dims of both spaces together, there is memory for LANES partial sums
FIRST = 1024  # the mean of this many first rows shifts the moments, independent of the other space
WIDE, FEW = 200, 10  # above WIDE dims of both spaces together, the jackknife has only FEW groups


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


def moments(x: np.ndarray, y: np.ndarray, groups: int = 1, *, workspace: Workspace = UNSHARED) -> list[Moments]:
    """Compute the moments of (n, dx) x and (n, dy) y in one pass, separately for each group of rows.

    Rows i, i + groups, … form a group, so that the groups of a file sorted by class are similar. Each space is shifted by the
    mean of its first rows; centred quantities do not depend on the shift, and data far from the origin keep their precision.
    What depends on one space alone comes from the workspace when it is there.
    """
    groups = min(groups, len(x))
    if workspace.spread is not None or workspace.piece is not None:
        per_group = _in_pieces(x, y, groups, workspace)
        if per_group is not None:
            return per_group
    shift = [side[:FIRST].mean(0, dtype=np.float64) for side in (x, y)]
    own = [_known(side, groups, workspace) for side in (x, y)]
    if groups > 1 and len(x) * (x.shape[1] + y.shape[1]) ** 2 < LIGHT:
        per_group = _of_few_rows(x, y, shift, groups)
    else:
        per_group = _in_blocks(x, y, shift, groups, [known is None for known in own])
    for side, (space, known) in enumerate(zip((x, y), own, strict=True)):
        _settle(per_group, side, space, known, workspace)
    return per_group


def _in_pieces(x: np.ndarray, y: np.ndarray, groups: int, workspace: Workspace) -> list[Moments] | None:
    """The moments from pieces of several lanes each: those that other processes add, or the one that this process is to add.

    A lane adds its own rows in their order, wherever it is added, so no bit changes. None where this work is not cut.
    """
    d, piece = x.shape[1] + y.shape[1], workspace.piece
    shift = [side[:FIRST].mean(0, dtype=np.float64) for side in (x, y)]
    name = hashlib.sha256(repr((len(x), groups)).encode() + b"".join(middle.tobytes() for middle in shift)).hexdigest()
    if piece is not None:
        if (piece.what, piece.name) != ("moments", name):
            return None
        raise Taken(_lanes_in_blocks(x, y, shift, groups, [True, True], range(*piece.some)))
    if workspace.spread is None or len(x) * float(d) ** 2 < 2 * WORTH:
        return None
    lanes = _lanes(x, y, groups)
    parts = row_ranges(lanes, len(x) * float(d) ** 2 / lanes)
    sums = [m for some in workspace.spread("moments", name, parts) for m in some]
    sums = sums if groups > 1 else [total(sums)]
    for side, space in enumerate((x, y)):
        _settle(sums, side, space, None, workspace)
    return sums


def _lanes(x: np.ndarray, y: np.ndarray, groups: int) -> int:
    """The number of partial sums; it is fixed, because it influences rounding."""
    return groups if groups > 1 else LANES if x.shape[1] + y.shape[1] <= NARROW else 1


def _in_blocks(x: np.ndarray, y: np.ndarray, shift: list[np.ndarray], groups: int, wanted: list[bool]) -> list[Moments]:
    """The moments of each group, block by block. wanted: for each side, whether to add what depends on it alone."""
    sums = _lanes_in_blocks(x, y, shift, groups, wanted, range(_lanes(x, y, groups)))
    return sums if groups > 1 else [total(sums)]


def _lanes_in_blocks(
    x: np.ndarray, y: np.ndarray, shift: list[np.ndarray], groups: int, wanted: list[bool], some: range
) -> list[Moments]:
    """The partial sums `some`."""
    rows = block_rows(2 * max(x.shape[1], y.shape[1]))
    lanes = _lanes(x, y, groups)
    sums = [_nothing(x.shape[1], np.concatenate(shift)) for _ in range(lanes)]

    own = local()

    def add(piece: tuple[int, slice]) -> None:
        lane, some = piece
        if not hasattr(own, "rooms"):  # memory that is used again: new memory costs as much as the numbers in it
            own.rooms = [np.empty((rows, side.shape[1])) for side in (x, y)]
        parts = [_shifted(side[some], *to) for side, *to in zip((x, y), shift, own.rooms, strict=True)]
        if len(parts[0]):
            sums[lane] = _with_rows(sums[lane], parts, wanted)

    piece = max(1, rows // 2)  # so that two threads take the memory of one block
    for block in slices(len(x), rows if groups > 1 else piece * lanes, x, y):
        pieces = list(enumerate(_interleaved(block, lanes) if groups > 1 else _consecutive(block, piece)))
        mine = pieces[some.start : some.stop]
        run_all(add, mine, light=(block.stop - block.start) * len(sums[0].shift) ** 2 < LIGHT)
    return [sums[lane] for lane in some]


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


def _shifted(rows: np.ndarray, middle: np.ndarray, room: np.ndarray) -> np.ndarray:
    """rows - middle in float64, in the memory of `room`; to convert first and then subtract takes two thirds of the time."""
    wide: np.ndarray = room[: len(rows)]
    wide[:] = rows
    wide -= middle
    return wide


def _with_rows(m: Moments, sides: list[np.ndarray], own: list[bool]) -> Moments:
    """Add shifted rows of both sides to m, in place. own: for each side, whether to add what depends on it alone."""
    norms = [np.einsum("ij,ij->i", side, side) for side in sides]
    for a, side in enumerate(sides):
        m.weighted[m.part(a), 1 - a] += side.T @ norms[1 - a]
        if own[a]:
            m.sums[m.part(a)] += side.sum(0)
            m.weighted[m.part(a), a] += side.T @ norms[a]
            m.products[m.part(a), m.part(a)] += side.T @ side
            m.norms[a] += norms[a].sum()
            m.norm_products[a, a] += norms[a] @ norms[a]
    m.products[m.part(0), m.part(1)] += sides[0].T @ sides[1]
    m.norm_products[0, 1] += norms[0] @ norms[1]
    m.norm_products[1, 0] = m.norm_products[0, 1]
    return replace(m, n=m.n + len(sides[0]))


def _known(x: np.ndarray, groups: int, workspace: Workspace) -> np.ndarray | None:
    """What `_own` took from moments of x, kept for x or for the matrix that x is a permutation of, or None."""
    space, order = workspace.origin(x)
    if order is not None and groups > 1:
        return None
    return workspace.space_array(space, ("own moments", groups), (groups, x.shape[1] + 4, x.shape[1]), np.float64)


def _own(m: Moments, side: int) -> np.ndarray:
    """What depends on one side alone, as an array (d + 4, d): products, sums, weighted sums, two numbers."""
    part, d = m.part(side), len(m.sums[m.part(side)])
    out = np.zeros((d + 4, d))
    out[:d], out[d], out[d + 1] = m.products[part, part], m.sums[part], m.weighted[part, side]
    out[d + 2, 0], out[d + 3, 0] = m.norms[side], m.norm_products[side, side]
    return out


def _fill(m: Moments, side: int, own: np.ndarray) -> None:
    """Put back what `_own` took."""
    part, d = m.part(side), own.shape[1]
    m.products[part, part], m.sums[part], m.weighted[part, side] = own[:d], own[d], own[d + 1]
    m.norms[side], m.norm_products[side, side] = own[d + 2, 0], own[d + 3, 0]


def _settle(sums: list[Moments], side: int, x: np.ndarray, known: np.ndarray | None, workspace: Workspace) -> None:
    """Fill in what is known of one side, or keep it. For side 1, also fill the transposed cross products."""
    part = sums[0].part(side)
    if known is None:
        workspace.put_space_array(x, ("own moments", len(sums)), np.stack([_own(m, side) for m in sums]))
    for g, m in enumerate(sums):
        if known is not None:
            _fill(m, side, known[g])
        if side:
            m.products[part, m.part(0)] = m.products[m.part(0), part].T


def grouped_moments(x: np.ndarray, y: np.ndarray, *, workspace: Workspace = UNSHARED) -> list[Moments]:
    """Compute moments in 50 groups for a jackknife. Wide spaces get 10, because each group needs a D x D decomposition. When
    there are fewer rows than groups, each row is a group."""
    n, d = len(x), x.shape[1] + y.shape[1]
    groups = min(n, 50 if d <= WIDE else FEW)
    return workspace.once("grouped moments", (x, y), lambda: moments(x, y, groups, workspace=workspace))


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

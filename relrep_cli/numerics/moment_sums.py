"""Sums over the rows of spaces, in float64: those of each space alone, and those of pairs of spaces.

A tile of rows is converted and shifted once, and serves every pair. The tiles of a pair, and the order in which they are added,
depend on this pair alone, so its sums have the same bits whatever is computed beside it. The same steps add on a device, to
arrays of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from threading import local
from typing import Any

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import release, slices
from relrep_cli.numerics.devices import NUMPY, float64_zeros, in_float64, memory_of, sent, torch_device
from relrep_cli.numerics.flat_sums import Sums, cross_of, cross_size, own_of, own_size
from relrep_cli.numerics.threads import run_all

LANES = 4  # partial sums computed in parallel; their number is fixed, because it influences rounding
LIGHT = 1e7  # multiply-adds of a block that one thread does sooner than several
NARROW = 2048  # up to this many dims of both spaces together, there is memory for LANES partial sums
TILE, TILE_BYTES = 2048, 16 << 20  # rows of a tile, and its bytes in float64, at most

Piece = tuple[int, slice]  # a part of the sums, and rows that it gets


@dataclass(frozen=True, eq=False)
class Spaces:
    """Spaces with parallel rows, and the sums that are wanted of them.

    xs: arrays (n, d). shifts: (d,) each, subtracted from the rows. own: the places of the spaces whose own sums are wanted.
    pairs: the places of pairs of spaces. on: the device that adds, as torch names it; None for NumPy.
    """

    xs: Sequence[np.ndarray]
    shifts: Sequence[np.ndarray]
    own: Sequence[int]
    pairs: Sequence[tuple[int, int]]
    on: Any = None
    _rooms: local = field(init=False, repr=False, default_factory=local)

    def dims(self, pair: tuple[int, int]) -> tuple[int, int]:
        return self.xs[pair[0]].shape[1], self.xs[pair[1]].shape[1]

    def nothing(self, parts: int) -> Sums:
        """Sums of no rows, for so many parts."""
        own = {a: self._zeros(parts, own_size(self.xs[a].shape[1])) for a in self.own}
        return Sums(own, {pair: self._zeros(parts, cross_size(*self.dims(pair))) for pair in self.pairs})

    def _zeros(self, parts: int, size: int) -> Any:
        return np.zeros((parts, size)) if self.on is None else float64_zeros((parts, size), self.on)

    def memory(self, parts: int) -> AbstractContextManager[None]:
        """Within it, a lack of memory for the sums of so many parts on the device is a DataError."""
        if self.on is None:
            return nullcontext()
        sizes = [own_size(self.xs[a].shape[1]) for a in self.own] + [cross_size(*self.dims(pair)) for pair in self.pairs]
        return memory_of(str(self.on), f"the sums of products take {8 * parts * sum(sizes) >> 20} MiB")

    def room(self, name: Any, shape: tuple[int, int]) -> np.ndarray:
        """Memory of this thread that is used again: new memory costs as much as the numbers in it."""
        rooms = self._rooms.__dict__
        if name not in rooms or len(rooms[name]) < shape[0]:
            rooms[name] = np.empty(shape)
        room: np.ndarray = rooms[name][: shape[0]]
        return room


def device_for(device: str, n: int, dims: int) -> Any:
    """The device that adds the products of n rows of so many dims together: None for NumPy, as for little work."""
    if device == NUMPY or n * float(dims) ** 2 < LIGHT or (name := in_float64(device)) == NUMPY:
        return None
    return torch_device(name)


def tile_rows(d: int) -> int:
    """The rows of a tile of spaces of at most d dims: a power of two.

    >>> tile_rows(64), tile_rows(768), tile_rows(4096)
    (2048, 2048, 512)
    """
    rows = max(1, min(TILE, TILE_BYTES // max(1, 8 * d)))
    return int(1 << (rows.bit_length() - 1))


def lane_count(n: int, dx: int, dy: int) -> int:
    """The number of partial sums of a pair: that of its tiles, up to LANES."""
    return min(LANES if dx + dy <= NARROW else 1, -(-n // tile_rows(max(dx, dy))))


def in_groups(spaces: Spaces, groups: int, some: range | None = None) -> Sums:
    """The sums of each group of rows, or of the groups `some`; rows i, i + groups, … form a group."""
    some = range(groups) if some is None else some
    rows = tile_rows(max(x.shape[1] for x in spaces.xs)) * (1 if spaces.on is None else groups)  # large pieces for a device
    with spaces.memory(len(some)):
        into = spaces.nothing(len(some))
        for block in slices(len(spaces.xs[0]), rows, *spaces.xs):
            mine = _interleaved(block, groups)[some.start : some.stop]
            _add_all(into, spaces, list(enumerate(mine)))
        return into.here()


def in_lanes(spaces: Spaces, lanes: int, some: range) -> Sums:
    """The sums of the lanes `some` of so many. Each lane gets every so many-th tile."""
    rows = tile_rows(max(x.shape[1] for x in spaces.xs))
    with spaces.memory(len(some)):
        into = spaces.nothing(len(some))
        for block in slices(len(spaces.xs[0]), rows * lanes, *spaces.xs):
            mine = _consecutive(block, rows)[some.start : some.stop]
            _add_all(into, spaces, list(enumerate(mine)))
        return into.here()


def of_many(spaces: Spaces) -> Sums:
    """The sums of many pairs of spaces of equal dims, as `in_lanes` and `together` give them for each pair alone.

    One lane is in memory after the other, and threads share the pairs of a tile.
    """
    n, d = spaces.xs[0].shape
    lanes = lane_count(n, d, d)

    def of_lanes(some: range) -> Sums:
        if len(some) == 1:
            return _lane(spaces, tile_rows(d), lanes, some[0])
        middle = 1 << ((len(some) - 1).bit_length() - 1)  # as `pairwise` adds
        return _sum(of_lanes(some[:middle]), of_lanes(some[middle:]))

    with spaces.memory((lanes - 1).bit_length() + 1):
        return of_lanes(range(lanes)).here()


def _lane(spaces: Spaces, rows: int, lanes: int, lane: int) -> Sums:
    into, n = spaces.nothing(1), len(spaces.xs[0])
    for start in range(lane * rows, n, lanes * rows):
        check()
        tile = slice(start, min(start + rows, n))
        _add_all(into, spaces, [(0, tile)])
        for x in spaces.xs:
            release(x, tile)
    return into


def _sum(first: Sums, second: Sums) -> Sums:
    """The sum of both, in the memory of the first."""
    for a, own in first.own.items():
        own += second.own[a]
    for pair, cross in first.crosses.items():
        cross += second.crosses[pair]
    return first


def _add_all(into: Sums, spaces: Spaces, pieces: list[Piece]) -> None:
    if spaces.on is not None:
        return _add_there(into, spaces, pieces)
    work = sum(rows.stop - rows.start for _, rows in pieces) * float(spaces.xs[0].shape[1]) ** 2
    run_all(lambda piece: _add(into, spaces, piece), pieces, light=4 * work < LIGHT)


def _add(into: Sums, spaces: Spaces, piece: Piece) -> None:
    """Add some rows to one part of the sums."""
    part, rows = piece
    tiles = [
        _shifted(x[rows], shift, spaces, place) for place, (x, shift) in enumerate(zip(spaces.xs, spaces.shifts, strict=True))
    ]
    if len(tiles[0]):
        _add_tiles(into, spaces, part, tiles)


def _add_there(into: Sums, spaces: Spaces, pieces: list[Piece]) -> None:
    """The same for several pieces, on the device."""
    pieces = [(part, rows) for part, rows in pieces if rows.start < rows.stop]
    (shifts,) = sent([spaces.shifts], spaces.on)
    raw = sent(([x[rows] for x in spaces.xs] for _, rows in pieces), spaces.on)
    for (part, _), tiles in zip(pieces, raw, strict=True):
        _add_tiles(into, spaces, part, [tile.double() - shift for tile, shift in zip(tiles, shifts, strict=True)])


def _add_tiles(into: Sums, spaces: Spaces, part: int, tiles: list[Any]) -> None:
    """Add shifted rows of all spaces to one part of the sums: arrays of NumPy, or of torch where a device adds."""
    norms = [_squared_lengths(tile) for tile in tiles]

    def own(a: int) -> None:
        sums = own_of(into.own[a][part], tiles[a].shape[1])
        _add_product(tiles[a], tiles[a], sums.products, spaces)
        sums.sums[:] += tiles[a].sum(0)
        sums.weighted[:] += tiles[a].T @ norms[a]
        sums.numbers[0] += norms[a].sum()
        sums.numbers[1] += norms[a] @ norms[a]

    def cross(pair: tuple[int, int]) -> None:
        (a, b), sums = pair, cross_of(into.crosses[pair][part], *spaces.dims(pair))
        _add_product(tiles[a], tiles[b], sums.products, spaces)
        sums.left[:] += tiles[a].T @ norms[b]
        sums.right[:] += tiles[b].T @ norms[a]
        sums.number[:] += norms[a] @ norms[b]

    run_all(own, spaces.own, light=spaces.on is not None)
    run_all(cross, spaces.pairs, light=spaces.on is not None)


def _squared_lengths(tile: Any) -> Any:
    return np.einsum("ij,ij->i", tile, tile) if isinstance(tile, np.ndarray) else (tile * tile).sum(1)


def _add_product(x: Any, y: Any, into: Any, spaces: Spaces) -> None:
    if spaces.on is not None:
        into.addmm_(x.T, y)
        return
    room = spaces.room(into.shape, into.shape)
    np.matmul(x.T, y, out=room)
    into += room


def _shifted(rows: np.ndarray, middle: np.ndarray, spaces: Spaces, place: int) -> np.ndarray:
    """rows - middle in float64; to convert first and then subtract takes two thirds of the time."""
    wide = spaces.room(place, rows.shape)
    wide[:] = rows
    wide -= middle
    return wide


def of_few_rows(spaces: Spaces, groups: int) -> Sums:
    """The sums of one pair in each group, by one stacked product for all groups; groups are filled up with rows of zeros."""
    n, rows = len(spaces.xs[0]), -(-len(spaces.xs[0]) // groups)
    tiles = []
    for x, shift in zip(spaces.xs, spaces.shifts, strict=True):
        z = np.zeros((rows * groups, x.shape[1]))
        z[:n] = x - shift
        tiles.append(np.ascontiguousarray(z.reshape(rows, groups, -1).swapaxes(0, 1)))  # row i belongs to group i % groups
    norms = [np.einsum("gij,gij->gi", z, z)[..., None] for z in tiles]
    turned = [z.swapaxes(1, 2) for z in tiles]
    numbers = [[p.swapaxes(1, 2) @ q for q in norms] for p in norms]
    own = {
        a: _flat(turned[a] @ tiles[a], tiles[a].sum(1), turned[a] @ norms[a], norms[a].sum(1), numbers[a][a])
        for a in spaces.own
    }
    cross = _flat(turned[0] @ tiles[1], turned[0] @ norms[1], turned[1] @ norms[0], numbers[0][1])
    return Sums(own, {spaces.pairs[0]: cross})


def _flat(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


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

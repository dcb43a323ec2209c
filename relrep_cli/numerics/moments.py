"""Moments of two spaces in float64, computed in one pass over the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.devices import NUMPY
from relrep_cli.numerics.flat_sums import Sums, cross_of, joined, own_of, own_size, pairwise, together
from relrep_cli.numerics.moment_sums import (
    LIGHT,
    Spaces,
    device_for,
    in_groups,
    in_lanes,
    lane_count,
    of_few_rows,
    of_many,
)
from relrep_cli.numerics.spread import WORTH, Taken, row_ranges
from relrep_cli.numerics.workspace import UNSHARED, SpaceArrays, Workspace

STACKED = 4 << 20  # bytes of products up to which sums of groups are stacked to be added
FIRST = 1024  # the mean of this many first rows shifts the moments, independent of the other space
OWN, PAIR = "own sums", (0, 1)
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
    shifts = [shift_of(side) for side in (x, y)]
    known = [_known(side, groups, workspace) for side in (x, y)]
    sums = _in_pieces(x, y, shifts, groups, workspace) or _taken_before(x, y, groups, known, workspace)
    if sums is None:
        on = device_for(workspace.device, len(x), x.shape[1] + y.shape[1])
        sums = _sums(Spaces((x, y), shifts, [a for a in (0, 1) if known[a] is None], [PAIR], on), groups)
    own = [sums.own[a] if kept is None else kept for a, kept in enumerate(known)]
    for side, kept, mine in zip((x, y), known, own, strict=True):
        if kept is None:
            workspace.put_space_array(side, (OWN, groups), mine)
    counts = [len(range(g, len(x), groups)) for g in range(groups)]
    parts = zip(counts, *own, sums.crosses[PAIR], strict=True)
    return [_moments(n, mine, other, cross, shifts) for n, mine, other, cross in parts]


def shift_of(x: np.ndarray) -> np.ndarray:
    """What is subtracted from the rows of a space."""
    shift: np.ndarray = x[:FIRST].mean(0, dtype=np.float64)
    return shift


def _sums(spaces: Spaces, groups: int) -> Sums:
    """The sums of one pair, in each group."""
    x, y = spaces.xs
    if groups == 1:
        lanes = lane_count(len(x), x.shape[1], y.shape[1])
        return together(in_lanes(spaces, lanes, range(lanes)))
    if len(x) * (x.shape[1] + y.shape[1]) ** 2 < LIGHT:
        return of_few_rows(spaces, groups)
    return in_groups(spaces, groups)


def _in_pieces(x: np.ndarray, y: np.ndarray, shifts: list[np.ndarray], groups: int, workspace: Workspace) -> Sums | None:
    """The sums from pieces of several lanes each: those that other processes add, or the one that this process is to add.

    A lane adds its own rows in their order, wherever it is added, so no bit changes. None where this work is not cut.
    """
    d, piece = x.shape[1] + y.shape[1], workspace.piece
    if workspace.spread is None and piece is None:
        return None
    name = hashlib.sha256(repr((len(x), groups)).encode() + b"".join(shift.tobytes() for shift in shifts)).hexdigest()
    lanes = groups if groups > 1 else lane_count(len(x), x.shape[1], y.shape[1])
    spaces = Spaces((x, y), shifts, (0, 1), [PAIR], device_for(workspace.device, len(x), d))
    if piece is not None:
        if (piece.what, piece.name) != ("moments", name):
            return None
        some = range(*piece.some)
        raise Taken(in_groups(spaces, groups, some) if groups > 1 else in_lanes(spaces, lanes, some))
    if workspace.spread is None or len(x) * float(d) ** 2 < 2 * WORTH:
        return None
    parts = row_ranges(lanes, len(x) * float(d) ** 2 / lanes)
    sums = joined(workspace.spread("moments", name, parts))
    return sums if groups > 1 else together(sums)


def _taken_before(
    x: np.ndarray, y: np.ndarray, groups: int, known: list[np.ndarray | None], workspace: Workspace
) -> Sums | None:
    """The sums of both spaces that `take_together` left."""
    if groups > 1 or workspace.spaces is None or any(own is None for own in known):
        return None
    cross = workspace.spaces.pop_pair(x, y)
    return None if cross is None else Sums({}, {PAIR: cross})


def take_together(pairs: Sequence[tuple[np.ndarray, np.ndarray]], spaces: SpaceArrays, device: str = NUMPY) -> None:
    """Compute what `moments` needs of many pairs of registered spaces of one shape in one pass, and leave it in `spaces`.

    device: where this is computed; see devices.chosen.
    """
    xs = list({id(x): x for pair in pairs for x in pair}.values())
    place = {id(x): number for number, x in enumerate(xs)}
    size = own_size(xs[0].shape[1])
    missing = [a for a, x in enumerate(xs) if spaces.get(x, (OWN, 1), (1, size), np.float64) is None]
    wanted = [(place[id(x)], place[id(y)]) for x, y in pairs]
    on = device_for(device, len(xs[0]), 2 * xs[0].shape[1])
    sums = of_many(Spaces(xs, [shift_of(x) for x in xs], missing, wanted, on))
    for a, own in sums.own.items():
        spaces.put(xs[a], (OWN, 1), own)
    for (x, y), key in zip(pairs, wanted, strict=True):
        spaces.put_pair(x, y, sums.crosses[key])


def _moments(n: int, mine: np.ndarray, other: np.ndarray, cross: np.ndarray, shifts: Sequence[np.ndarray]) -> Moments:
    """The moments of a group, from its flat sums."""
    dx, dy = map(len, shifts)
    x, y, both = own_of(mine, dx), own_of(other, dy), cross_of(cross, dx, dy)
    products, weighted = np.empty((dx + dy, dx + dy)), np.empty((dx + dy, 2))
    products[:dx, :dx], products[dx:, dx:], products[:dx, dx:] = x.products, y.products, both.products
    products[dx:, :dx] = both.products.T
    weighted[:dx, 0], weighted[:dx, 1], weighted[dx:, 0], weighted[dx:, 1] = x.weighted, both.left, both.right, y.weighted
    norms, number = np.array([x.numbers[0], y.numbers[0]]), both.number[0]
    norm_products = np.array([[x.numbers[1], number], [number, y.numbers[1]]])
    sums = np.concatenate([x.sums, y.sums])
    return Moments(dx, n, sums, products, norms, norm_products, weighted, np.concatenate(shifts))


def _known(x: np.ndarray, groups: int, workspace: Workspace) -> np.ndarray | None:
    """The own sums of x that are kept for x or for the matrix that x is a permutation of, or None."""
    space, order = workspace.origin(x)
    if order is not None and groups > 1:
        return None
    return workspace.space_array(space, (OWN, groups), (groups, own_size(x.shape[1])), np.float64)


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
        return replace(first, **{name: pairwise(np.stack([getattr(m, name) for m in parts])) for name in names})
    while len(parts) > 1:
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)] + parts[len(parts) // 2 * 2 :]
    return parts[0]

"""Sums over the rows of spaces as flat arrays, so that sums of different rows can be added; see moment_sums.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass


class Own(NamedTuple):
    """Views of the sums over rows x of one space: of x x', x, x |x|^2, and the two numbers |x|^2 and |x|^4."""

    products: np.ndarray
    sums: np.ndarray
    weighted: np.ndarray
    numbers: np.ndarray


class Cross(NamedTuple):
    """Views of the sums over rows x and y of two spaces: of x y', x |y|^2, y |x|^2, and the number |x|^2 |y|^2."""

    products: np.ndarray
    left: np.ndarray
    right: np.ndarray
    number: np.ndarray


def own_of(flat: np.ndarray, d: int) -> Own:
    ends = (d * d, d * d + d, d * d + 2 * d)
    return Own(flat[: ends[0]].reshape(d, d), flat[ends[0] : ends[1]], flat[ends[1] : ends[2]], flat[ends[2] :])


def cross_of(flat: np.ndarray, dx: int, dy: int) -> Cross:
    ends = (dx * dy, dx * dy + dx, dx * dy + dx + dy)
    return Cross(flat[: ends[0]].reshape(dx, dy), flat[ends[0] : ends[1]], flat[ends[1] : ends[2]], flat[ends[2] :])


def own_size(d: int) -> int:
    return d * d + 2 * d + 2


def cross_size(dx: int, dy: int) -> int:
    return dx * dy + dx + dy + 1


@dataclass(frozen=True, eq=False)
class Sums:
    """Flat sums (parts, …) of several parts of the rows. own: by place of the space. crosses: by pair of places."""

    own: dict[int, np.ndarray]
    crosses: dict[tuple[int, int], np.ndarray]

    def here(self) -> Sums:
        """The same as arrays of NumPy, from wherever they were added."""
        own = {a: flat if isinstance(flat, np.ndarray) else flat.cpu().numpy() for a, flat in self.own.items()}
        return Sums(own, {a: flat if isinstance(flat, np.ndarray) else flat.cpu().numpy() for a, flat in self.crosses.items()})


def joined(pieces: Sequence[Sums]) -> Sums:
    """The parts of all sums, one after the other."""
    own = {a: np.concatenate([sums.own[a] for sums in pieces]) for a in pieces[0].own}
    return Sums(own, {pair: np.concatenate([sums.crosses[pair] for sums in pieces]) for pair in pieces[0].crosses})


def together(lanes: Sums) -> Sums:
    """All parts added to one."""
    own = {a: pairwise(parts)[None] for a, parts in lanes.own.items()}
    return Sums(own, {pair: pairwise(parts)[None] for pair, parts in lanes.crosses.items()})


def pairwise(stack: np.ndarray) -> Any:
    """The sum over the first axis, in the order in which `moments.total` adds."""
    while len(stack) > 1:
        even = len(stack) // 2 * 2
        stack = np.concatenate([stack[:even:2] + stack[1:even:2], stack[even:]])
    return stack[0].item() if stack[0].ndim == 0 else stack[0]

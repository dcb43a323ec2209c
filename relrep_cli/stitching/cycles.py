"""What a round trip through several spaces loses: items are translated from space to space until they are back in their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, permutations

import numpy as np

from relrep_cli.neighbors import ranks

QUERIES = 200  # items of a space that make a round trip
CYCLES = 120  # round trips, at most; one for each ordered pair at least
Maps = Callable[[int, int], Callable[[np.ndarray], np.ndarray] | None]


def cycle_losses(maps: Maps, rows: Sequence[np.ndarray], seed: int) -> dict[tuple[int, int], list[float]]:
    """The losses of the round trips from space a through space b: 1 minus the recall@1 of a's items, back in a.

    maps: from one space into another. rows: (n, d) items of each space; at most QUERIES of them make the trip, and only these
    are searched. A trip leads from b through a third space back to a; with two spaces, directly back. Where there are many,
    third spaces are drawn by the seed.
    """
    rng = np.random.default_rng(seed)
    some = [x[np.sort(rng.permutation(len(x))[:QUERIES])] for x in rows]
    count = len(rows)
    thirds = max(1, CYCLES // (count * (count - 1)))
    losses: dict[tuple[int, int], list[float]] = {}
    for a, b in permutations(range(count), 2):
        others = [c for c in range(count) if c not in (a, b)]
        others = sorted(rng.permutation(others)[:thirds].tolist()) if len(others) > thirds else others
        ways = [[b, c, a] for c in others] or [[b, a]]
        losses[a, b] = [_loss(some[a], list(_steps(maps, [a, *way]))) for way in ways]
    return losses


def _steps(maps: Maps, way: Sequence[int]) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    for a, b in pairwise(way):
        step = maps(a, b)
        assert step is not None
        yield step


def _loss(x: np.ndarray, steps: Sequence[Callable[[np.ndarray], np.ndarray]]) -> float:
    moved = x
    for step in steps:
        moved = step(moved)
    return 1 - float((ranks(moved, x) == 1).mean())

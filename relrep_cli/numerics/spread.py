"""One computation over the rows of a large pair, cut into pieces that other processes compute.

The process that wants the value runs a metric with a `Spread`. Where the metric comes to work that can be cut, the Spread
sends the pieces. Each process that gets one runs the same metric with a `Piece`, which ends with `Taken` when it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from relrep_cli.base.lazy_dataclasses import dataclass

WORTH = 5e10  # multiply-adds of one piece: some seconds, so that starting a piece does not count


class Taken(Exception):
    """The piece is done; `result` holds what it gave."""

    def __init__(self, result: Any) -> None:
        super().__init__("a piece was taken")
        self.result = result


@dataclass(frozen=True)
class Piece:
    """What to compute of a metric. what: the kind of work. name: tells this work from others of its kind. some: which part."""

    what: str
    name: str
    some: Any


@dataclass
class Spread:
    """Sends pieces of the work of a metric to other processes.

    compute: (the metric, pieces) -> their results in order. task: the metric that is being computed.
    """

    compute: Callable[[tuple[Any, ...], Sequence[Piece]], list[Any]]
    task: tuple[Any, ...] = ()

    def __call__(self, what: str, name: str, parts: Sequence[Any]) -> list[Any]:
        """The results of all parts of some work, in their order."""
        return self.compute(self.task, [Piece(what, name, part) for part in parts])


def row_ranges(n: int, cost: float) -> list[tuple[int, int]]:
    """The rows 0 to n in ranges that are worth a piece each. cost: multiply-adds of one row.

    >>> row_ranges(5, 2.5e10), row_ranges(5, 1e9)
    ([(0, 2), (2, 4), (4, 5)], [(0, 5)])
    """
    rows = max(1, int(WORTH / max(1.0, cost)))
    return [(start, min(start + rows, n)) for start in range(0, n, rows)]

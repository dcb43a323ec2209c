"""Products of one space with permutations of the other, some at a time, on all threads or on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.devices import NUMPY, memory_of, sent
from relrep_cli.numerics.moment_sums import device_for
from relrep_cli.numerics.threads import in_order

SMALL = 1 << 21  # numbers of both spaces together up to which they are copied; of larger ones a product costs most by far
ROOM = 1 << 20  # numbers in the products of one batch
GROUP = 8  # permutations that a thread tries with one buffer


@dataclass(frozen=True, eq=False)
class Batch:
    """Permutations that are tried one after the other. draw: makes the row numbers of the permutation of a number."""

    numbers: range
    draw: Callable[[int], np.ndarray]
    _orders: dict[int, np.ndarray] = field(init=False, repr=False, default_factory=dict)
    _kept: dict[Any, Any] = field(init=False, repr=False, default_factory=dict)
    _there: dict[Any, Any] = field(init=False, repr=False, default_factory=dict)

    def order_of(self, number: int) -> np.ndarray:
        """The row numbers of one permutation; those of a few are kept."""
        if number not in self._orders:
            if len(self._orders) * len(next(iter(self._orders.values()), ())) > ROOM:
                self._orders.clear()
            self._orders[number] = self.draw(number)
        return self._orders[number]

    def product(
        self, x: np.ndarray, y: np.ndarray, means: tuple[Any, ...], number: int, device: str = NUMPY
    ) -> np.ndarray | None:
        """(x - mx)'(y[order] - my), (dx, dy), for one permutation; None when the spaces are too large to gain from it.

        The products of the next permutations are computed with it, and kept until these are asked for. device: where they are
        computed, from spaces that stay there; see devices.chosen.
        """
        on = device_for(device, len(x), x.shape[1] + y.shape[1])
        if on is None and x.size + y.size > SMALL:
            return None
        name, size = (id(x), id(y)), max(1, ROOM // (x.shape[1] * y.shape[1]))
        start = number - (number - self.numbers.start) % size
        known = self._kept.get(name)
        if known is None or known[0] != start or not all(map(np.array_equal, known[1], means)):
            orders = [self.order_of(other) for other in range(start, min(start + size, self.numbers.stop))]
            products = _products(x, y, means, orders) if on is None else self._products_there(x, y, means, orders, on)
            known = self._kept[name] = start, means, products, (x, y)  # which keeps their identity
        product: np.ndarray = known[2][number - start]
        return product

    def _products_there(
        self, x: np.ndarray, y: np.ndarray, means: tuple[Any, ...], orders: list[np.ndarray], on: Any
    ) -> list[np.ndarray]:
        """`_products` on a device. It keeps the spaces of one pair."""
        with memory_of(str(on), f"both spaces in float64 take {8 * (x.size + 2 * y.size) >> 20} MiB"):
            name = (id(x), id(y), *map(bytes, map(np.asarray, means)))
            if name not in self._there:
                self._there.clear()
                centred = ([np.asarray(side, np.float64) - mean] for side, mean in zip((x, y), means, strict=True))
                self._there[name] = [space for (space,) in sent(centred, on)]
            left, right = self._there[name]
            return [(left.T @ right[order]).cpu().numpy() for (order,) in sent(([order] for order in orders), on)]


def _products(x: np.ndarray, y: np.ndarray, means: tuple[Any, ...], orders: list[np.ndarray]) -> list[np.ndarray]:
    """(dx, dy) for each permutation. Each is a product of its own, so that no other permutation changes a bit."""
    left, right = np.asarray(x, np.float64) - means[0], np.asarray(y, np.float64) - means[1]
    transposed = np.ascontiguousarray(left.T)

    def some(group: list[np.ndarray]) -> list[np.ndarray]:
        permuted = np.empty_like(right)  # in one piece: np.take into a part of an array would copy twice, as would "raise"
        return [transposed @ np.take(right, order, axis=0, out=permuted, mode="clip") for order in group]

    groups = [orders[start : start + GROUP] for start in range(0, len(orders), GROUP)]
    return [product for group in in_order(some, groups) for product in group]

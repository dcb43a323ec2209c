"""HSIC of a space with permuted rows of others, by Gram matrices: a permutation gathers instead of multiplying.

tr(K P'LP) needs n^2 / 2 products for any number of dims, and one gathered K serves all spaces L. So the permutations of the
layers of a network cost little more than those of one layer. Every sum has the same bits whatever is computed beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from relrep_cli.numerics import native
from relrep_cli.numerics.threads import in_order

ALWAYS, LARGEST = 512, 2048  # rows up to which Gram matrices serve any dims, and wide spaces only: 32 MiB each
GATHERED = 32  # multiply-adds of a matrix product in the time of a gathered number
GROUP = 32  # permutations that a thread tries with each row of the Gram matrices, which then is in its cache
TOGETHER = 48 << 20  # bytes of the Gram matrices that one gathered matrix serves


def serves(n: int, dx: int, dy: int) -> bool:
    """Whether Gram matrices are the quicker way for n rows. It depends on the shapes alone, so that a pair of spaces gets the
    same bits in every run."""
    return native.available() and (n <= ALWAYS or (n <= LARGEST and GATHERED * n <= 2 * dx * dy))


def serves_kernels(n: int) -> bool:
    """The same for kernels whose values a permutation would otherwise compute anew."""
    return native.available() and n <= LARGEST


def most_spaces(n: int) -> int:
    """How many spaces of n rows may be compared with one at a time."""
    return max(1, TOGETHER // (8 * packed_size(n)))


def packed_size(n: int) -> int:
    """The numbers of a matrix (n, n) that `_below_diagonal` packs.

    >>> packed_size(18)
    288
    """
    rows = np.arange(n)
    return int((-(-rows // native.PADDED) * native.PADDED).sum())


def gram(x: np.ndarray) -> np.ndarray:
    """The inner products (n, n) of the centred rows of x, in float64."""
    rows = np.asarray(x, np.float64)
    rows = rows - rows.mean(0)
    return rows @ rows.T


def _below_diagonal(matrix: np.ndarray, into: np.ndarray) -> None:
    """Write the rows of a matrix (n, n) below its diagonal, each filled up with zeros to a multiple of PADDED."""
    into[:] = 0
    at = 0
    for i, row in enumerate(matrix):
        into[at : at + i] = row[:i]
        at += -(-i // native.PADDED) * native.PADDED


def sums_of_grams(
    x: np.ndarray,
    others: Sequence[np.ndarray],
    orders: Sequence[np.ndarray],
    matrix: Callable[[np.ndarray], np.ndarray] = gram,
) -> np.ndarray:
    """Sums of K[i, j] L[order[i], order[j]] for each other space and order: those over i > j, and those over i = j.

    K, L: the matrices (n, n) that `matrix` makes of x and of the other space. others: at most `most_spaces`.
    Returns (others, 2, orders).
    """
    packed, squares = np.empty((len(others), packed_size(len(x)))), np.empty((len(others), len(x)))
    for place, y in enumerate(others):
        theirs = matrix(y)
        _below_diagonal(theirs, packed[place])
        squares[place] = theirs.diagonal()
    mine = matrix(x)
    places = np.empty((len(orders), len(x)), np.int32)  # where each row of y has gone: gathering x so serves all others
    for row, order in zip(places, orders, strict=True):
        row[order] = np.arange(len(x), dtype=np.int32)
    own = mine.diagonal()

    def some(group: np.ndarray) -> np.ndarray:
        equal = np.einsum("pi,ci->cp", own[group], squares)  # sum by sum, whatever the number of orders and others
        return np.stack([native.permuted_grams(mine, group, packed), equal], axis=1)

    groups = [places[start : start + GROUP] for start in range(0, len(places), GROUP)]
    return np.concatenate(list(in_order(some, groups)), axis=2)

"""How rows become vectors that are compared, and how far float32 may err on them."""

from __future__ import annotations

from dataclasses import dataclass
from math import frexp
from typing import Literal

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.distances import unit_rows

By = Literal["cosine", "euclidean"]
UNIT = 2.0**-24  # rounding unit of float32
PEAK = 50  # squares of 2^50 leave room in float32 on both sides
GRAIN = 2.0**-42  # a thousand roundings of a number near 1, so that few equal numbers fall on either side of a boundary
SAMPLE = 256  # rows, at even steps, that say where the data lie
FAR = 0.75  # squared length of the mean unit row above which cosines crowd together near 1
CACHED = 1 << 17  # numbers whose float64 work stays in a core's cache: 1 MiB


@dataclass(frozen=True)
class Frame:
    """How rows become vectors that are compared: at length 1, or times a power of two that keeps squares in range.

    center: (d,) what is subtracted before float32, so that data far from the origin keep their digits; then closeness is
    minus the squared distance, which orders unit rows as their cosine does. None: closeness is the inner product.
    """

    scale: float | None
    center: np.ndarray | None

    def double(self, x: np.ndarray) -> np.ndarray:
        wide = np.ascontiguousarray(x, np.float64)  # sums of columns in another layout have other bits
        return unit_rows(wide) if self.scale is None else wide * self.scale

    def single(self, wide: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(wide if self.center is None else wide - self.center, np.float32)

    def narrow(self, x: np.ndarray) -> np.ndarray:
        """single(double(x)) to within a rounding, at half the cost where squares cannot leave the range of float64."""
        if self.scale is not None or self.center is not None or x.dtype.itemsize == 8:
            return self.single(self.double(x))
        wide = np.ascontiguousarray(x, np.float64)
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
        out = np.empty(wide.shape, np.float32)
        return np.divide(wide, np.where(norm == 0, 1, norm), out=out, casting="same_kind")

    def closeness(self, q: np.ndarray, base: np.ndarray) -> np.ndarray:
        """(q, c) float64 closeness (higher is nearer) of q (q, d) to base (q, c, d): the same bits where equally near.

        Rows at length 1 are rounded numbers, so cosines, and distances between such rows, are taken to whole GRAINs.
        """
        if self.center is None:
            inner = np.einsum("qd,qcd->qc", q, base)
            return np.rint(inner / GRAIN) * GRAIN
        apart = base - q[:, None, :]
        squares = np.einsum("qcd,qcd->qc", apart, apart)
        return -(squares if self.scale else np.square(np.rint(np.sqrt(squares) / GRAIN) * GRAIN))

    def pairs(self, q: np.ndarray, base: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """(p,) float64 closeness of q[i] to base[j], base (n, d) as given; in parts that stay in the cache."""
        out = np.empty(len(i))
        step = max(1, CACHED // q.shape[1])
        for start in range(0, len(i), step):
            part = slice(start, start + step)
            out[part] = self.closeness(q[i[part]], self.double(pick(base, j[part]))[:, None, :])[:, 0]
            check()
        return out

    def slack(self, q: np.ndarray, far: np.ndarray, reach: float, norms: bool = True) -> np.ndarray:
        """(q,) how far float32 may err on the closeness of q (q, d) to rows whose closeness is about `far` (q,).

        A product of d terms errs by d roundings in any order. A squared distance D errs by e (|q|^2 + |b|^2), where |b|^2 is
        at most `reach`, and at most 2 |q|^2 + 2 D: so a row far out blurs only what is near it. norms: whether |q|^2 and
        |b|^2 were summed in float32 as well, which errs as much again.
        """
        d = q.shape[1]
        if self.center is None:
            return np.full(len(q), (d + 16) * UNIT)
        unit = ((1 + norms) * d + 16) * UNIT
        own, apart = np.square(q - self.center).sum(1), np.abs(far)
        return unit * np.minimum(own + reach, 3 * (own + apart)) + d * 2.0**-120  # the last term where squares underflow


def frame_of(by: By, queries: np.ndarray, base: np.ndarray) -> Frame:
    """The frame in which queries (q, d) and base (n, d) are compared."""
    some = np.asarray(pick(base, np.arange(0, len(base), max(1, len(base) // SAMPLE))), np.float64)
    if by == "euclidean":
        scale = 2.0 ** min(PEAK - frexp(max(_peak(queries), _peak(base)))[1], 1000)
        return Frame(scale, np.median(some, 0) * scale)  # a mean would follow a single row far out
    mean = unit_rows(some).mean(0)
    crowded = mean @ mean > FAR and not _zero_rows(base) and not _zero_rows(queries)
    return Frame(None, mean if crowded else None)


def _peak(x: np.ndarray) -> float:
    return max((float(np.abs(x[b]).max()) for b in row_blocks(*x.shape, x)), default=0.0)


def _zero_rows(x: np.ndarray) -> bool:
    return any(not np.asarray(x[b]).any(1).all() for b in row_blocks(*x.shape, x))

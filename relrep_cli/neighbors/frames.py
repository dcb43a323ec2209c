"""Scale and centre rows for a search, and bound the float32 error of their closeness."""

from __future__ import annotations

from math import frexp
from typing import Literal

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.distances import unit_rows

By = Literal["cosine", "euclidean"]
UNIT = 2.0**-24  # rounding unit of float32
PEAK = 50  # rows are scaled to about 2^50, so that squares neither over- nor underflow in float32
GRAIN = 2.0**-42  # cosines are rounded to multiples of this, a thousand rounding units, so that equal ones get equal bits
SAMPLE = 256  # evenly spaced rows used to locate the data
FAR = 0.75  # squared length of the mean unit row above which all cosines are close to 1
CACHED = 1 << 17  # numbers processed at a time in float64, 1 MiB, so that they stay in the CPU cache


@dataclass(frozen=True)
class Frame:
    """How rows are scaled and centred before a search.

    scale: a power of two that keeps squares in range; None to scale rows to length 1. center: (d,) subtracted before the
    conversion to float32, so that data far from the origin keep their precision; closeness is then minus the squared distance,
    which orders unit rows as their cosine does. Without a center, closeness is the inner product.
    """

    scale: float | None
    center: np.ndarray | None

    def double(self, x: np.ndarray) -> np.ndarray:
        wide = np.ascontiguousarray(x, np.float64)  # another memory layout would change the rounding of sums
        return unit_rows(wide) if self.scale is None else wide * self.scale

    def single(self, wide: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(wide if self.center is None else wide - self.center, np.float32)

    def narrow(self, x: np.ndarray) -> np.ndarray:
        """single(double(x)) up to one rounding, at half the cost when squares cannot overflow float64."""
        if self.scale is not None or self.center is not None or x.dtype.itemsize == 8:
            return self.single(self.double(x))
        wide = np.ascontiguousarray(x, np.float64)
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
        out = np.empty(wide.shape, np.float32)
        return np.divide(wide, np.where(norm == 0, 1, norm), out=out, casting="same_kind")

    def closeness(self, q: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Compute the float64 closeness (q, c) of q (q, d) to base (q, c, d); higher is nearer, and ties have equal bits.

        Unit rows carry rounding errors, so cosines, and distances between unit rows, are rounded to multiples of GRAIN.
        """
        if self.center is None:
            inner = np.einsum("qd,qcd->qc", q, base)
            return np.rint(inner / GRAIN) * GRAIN
        apart = base - q[:, None, :]
        squares = np.einsum("qcd,qcd->qc", apart, apart)
        return -(squares if self.scale else np.square(np.rint(np.sqrt(squares) / GRAIN) * GRAIN))

    def pairs(self, q: np.ndarray, base: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Compute the float64 closeness (p,) of q[i] to base[j], for unscaled base (n, d)."""
        out = np.empty(len(i))
        step = max(1, CACHED // q.shape[1])
        for start in range(0, len(i), step):
            part = slice(start, start + step)
            out[part] = self.closeness(q[i[part]], self.double(pick(base, j[part]))[:, None, :])[:, 0]
            check()
        return out

    def slack(self, q: np.ndarray, far: np.ndarray, reach: float, norms: bool = True) -> np.ndarray:
        """Bound the float32 error (q,) of the closeness of q (q, d) to rows whose closeness is about `far` (q,).

        The error of an inner product of d terms is at most d roundings, in any order. The error of a squared distance D is at
        most e (|q|^2 + |b|^2). Here |b|^2 is at most `reach`, and also at most 2 |q|^2 + 2 D, so an outlying row affects only
        the rows near it. norms: whether |q|^2 and |b|^2 were also summed in float32, which doubles the error.
        """
        d = q.shape[1]
        if self.center is None:
            return np.full(len(q), (d + 16) * UNIT)
        unit = ((1 + norms) * d + 16) * UNIT
        own, apart = np.square(q - self.center).sum(1), np.abs(far)
        return unit * np.minimum(own + reach, 3 * (own + apart)) + d * 2.0**-120  # the last term where squares underflow


def frame_of(by: By, queries: np.ndarray, base: np.ndarray) -> Frame:
    """Choose the frame for a search of queries (q, d) in base (n, d)."""
    sample = np.asarray(pick(base, np.arange(0, len(base), max(1, len(base) // SAMPLE))), np.float64)
    if by == "euclidean":
        scale = 2.0 ** min(PEAK - frexp(max(_peak(queries), _peak(base)))[1], 1000)
        return Frame(scale, np.median(sample, 0) * scale)  # the median, since a single outlier can move the mean
    mean = unit_rows(sample).mean(0)
    crowded = mean @ mean > FAR and not _zero_rows(base) and not _zero_rows(queries)
    return Frame(None, mean if crowded else None)


def _peak(x: np.ndarray) -> float:
    return max((float(np.abs(x[b]).max()) for b in row_blocks(*x.shape, x)), default=0.0)


def _zero_rows(x: np.ndarray) -> bool:
    return any(not np.asarray(x[b]).any(1).all() for b in row_blocks(*x.shape, x))

"""Whether one file holds the numbers of the other in another precision: short floats, 8-bit codes, bits.

Every number of both files is looked at, so that no file passes for a copy that is none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relrep_cli.comparison.file_pairs import FilePair, blocks_of_both, rounded, spacing, storage_error
from relrep_cli.numerics.blocks import block_rows, slices

FLOATS = ("float32", "float16", "bfloat16")
LEVELS = 256  # of 8 bits
BEYOND = {True: 2.0, False: 1.04}  # steps that a code, or a number made of one, may differ: cut off at worst, not rounded
CUT = 0.02  # share of numbers that may lie beyond the lowest or the highest level
NOTHING = 1e-9  # of the largest number: what may be lost where all of a row or column becomes one number
LEAST = 8  # numbers that share a scale
SPREAD = 16  # steps that the numbers of one scale usually span: fewer would fit much else


def short_floats(pair: FilePair) -> str:
    """The kind of number in which y holds the numbers of x; "" for none. Both have the same shape.

    Every number of y must be one of the two neighbours of its number of x among all numbers of the kind.
    """
    kinds = list(FLOATS)
    for x, y in blocks_of_both(pair):
        kinds = [kind for kind in kinds if _neighbours(x, y, kind)]
        if not kinds:
            return ""
    return kinds[0]


def _neighbours(x: np.ndarray, y: np.ndarray, kind: str) -> bool:
    nearest = rounded(x, kind)
    if np.array_equal(nearest, y):
        return True
    if not np.array_equal(rounded(y, kind), y):
        return False
    return bool((np.abs(np.asarray(y, np.float64) - x) < spacing(np.maximum(np.abs(y), np.abs(nearest)), kind)).all())


def eight_bits(pair: FilePair) -> str:
    """How y holds the numbers of x in at most 256 levels: one scale for each row, each column or the file; "" for none.

    Codes and numbers made from codes are both recognised. Within each row, column or file, y must lie on equal steps, and
    every number of x must lie within a step of its own number of y.
    """
    groups = (("scale for the file", _file_fits), ("scale for each column", _columns_fit), ("scale for each row", _rows_fit))
    for what, fits in groups:
        for codes in (True, False):
            if fits(pair, codes):
                return f"8-bit {'codes' if codes else 'steps'}, a {what}"
    return ""


def _rows_fit(pair: FilePair, codes: bool) -> bool:
    if pair.d < LEAST or not _fit(pair.xs[:LEAST], pair.ys[:LEAST], codes):
        return False
    return all(_fit(x, y, codes) for x, y in blocks_of_both(pair))


def _columns_fit(pair: FilePair, codes: bool) -> bool:
    if pair.n < LEAST or not _fit(pair.xs[:, :4].T, pair.ys[:, :4].T, codes):
        return False
    for some in slices(pair.d, max(1, block_rows(pair.n) // 4)):
        x, y = (np.ascontiguousarray(np.asarray(side[:, some]).T) for side in (pair.x, pair.y))
        if not _fit(x, y, codes):
            return False
    return True


def _file_fits(pair: FilePair, codes: bool) -> bool:
    """Take the step and the line from the sampled rows, then look at all numbers."""
    if len(np.unique(pair.ys[:64])) > LEVELS:
        return False
    ys, xs = pair.ys.reshape(1, -1), pair.xs.reshape(1, -1)
    low, high = ys.min(1), ys.max(1)
    step = _steps(ys, low, high, codes)
    if step is None or not _fit(xs, ys, codes):
        return False
    slope, offset = _lines(xs, ys, low, high) if codes else (np.ones(1), np.zeros(1))
    cut = 0
    for x, y in blocks_of_both(pair):
        y = np.asarray(y, np.float64)
        line = slope * x + offset
        beyond = np.abs(y - line) > BEYOND[codes] * step
        if (beyond & ~_cut_off(y, line, low, high)).any() or (codes and not np.array_equal(np.rint(y), y)):
            return False
        cut += int(beyond.sum())
    return cut <= CUT * pair.n * pair.d


def _fit(x: np.ndarray, y: np.ndarray, codes: bool) -> bool:
    """Whether y (g, size) holds x (g, size) in 256 levels, each row by a scale of its own, and codes by an offset, too.

    A row of equal numbers fits only numbers that are equal, or next to nothing. Where nothing was rounded, y is no
    coarser than x: that is no fit.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    low, high = y.min(1), y.max(1)
    if (np.ptp(x, axis=1)[high == low] > NOTHING * np.abs(x).max()).any():
        return False
    x, y, low, high = (part[high > low] for part in (x, y, low, high))
    step = _steps(y, low, high, codes) if len(y) else None
    if step is None or np.median((high - low) / step) < SPREAD:
        return False
    slope, offset = _lines(x, y, low, high) if codes else (np.ones(len(y)), np.zeros(len(y)))
    if not (slope > 0).all():
        return False
    line = slope[:, None] * x + offset[:, None]
    error = np.abs(y - line) / step[:, None]
    cut = _cut_off(y, line, low[:, None], high[:, None])
    beyond = error > BEYOND[codes]
    rounding = float(np.median(np.where(cut, 0, error).max(1)))
    return not (beyond & ~cut).any() and float(beyond.mean()) <= CUT and rounding > 0.1


def _cut_off(y: np.ndarray, line: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether y is its lowest or highest level because its number lies beyond it."""
    return np.asarray((y <= low) & (line < low) | (y >= high) & (line > high))


def _steps(y: np.ndarray, low: np.ndarray, high: np.ndarray, codes: bool) -> np.ndarray | None:
    """(g,) the step of each row of y, if all its numbers lie on at most 256 equal steps; None otherwise."""
    if codes:
        whole = np.array_equal(np.rint(y), y) and (high - low <= LEVELS - 1).all() and low.min() >= -128 and high.max() <= 255
        return np.ones(len(y)) if whole and (high - low >= 2).all() else None
    size = np.maximum(np.abs(low), np.abs(high))
    best = np.full(len(y), np.nan)
    noise = max(storage_error(y[:, :4096]), 1e-6)
    for step in (size / 127, size / 128, (high - low) / 255, (high - low) / 254, _smallest_gap(y)):
        with np.errstate(invalid="ignore", divide="ignore"):
            places = np.rint((y - low[:, None]) / step[:, None])
            finer = _slopes(places, y)
            off = np.abs(y - y.mean(1)[:, None] - finer[:, None] * (places - places.mean(1)[:, None])).max(1) / finer
            fits = (off <= np.minimum(0.2, 0.002 + 2 * noise * size / step)) & (places.max(1) < LEVELS)
        best = np.where(np.isnan(best) & fits, step, best)
        if not np.isnan(best).any():
            return best
    return None


def _slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(g,) the least squares slope of each row of y over that of x."""
    zx = x - x.mean(1)[:, None]
    return np.asarray(np.einsum("ij,ij->i", zx, y) / np.einsum("ij,ij->i", zx, zx))


def _smallest_gap(y: np.ndarray) -> np.ndarray:
    """(g,) the smallest distance of different numbers in each row of y, ignoring rounding."""
    gaps = np.diff(np.sort(y, axis=1), axis=1)
    wide = np.maximum(np.abs(y).max(1, keepdims=True) * 1e-3, 1e-300)
    return np.where(gaps > wide, gaps, np.inf).min(1, initial=np.inf)


def _lines(x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(g,) slope and offset of the least squares line of each row of y over that of x, without the ends, which may be cut."""
    inner = (y > low[:, None]) & (y < high[:, None])
    inner |= inner.sum(1, keepdims=True) < (1 - 2 * CUT) * y.shape[1]  # more at the ends than may be cut: they count, too
    count = inner.sum(1)
    mx, my = ((side * inner).sum(1) / count for side in (x, y))
    zx, zy = (x - mx[:, None]) * inner, (y - my[:, None]) * inner
    square = (zx * zx).sum(1)
    slope = (zx * zy).sum(1) / np.where(square > 0, square, 1)
    return slope, my - slope * mx


def sign_bits(pair: FilePair) -> str:
    """How y holds one bit for each number of x: as two values, or packed into bytes; "" for none."""
    bytes_wide = -(-pair.d // 8)
    if pair.e == pair.d:
        return _two_values(pair)
    if pair.e != bytes_wide or pair.d < 8:
        return ""
    for order in ("big", "little"):
        if _bytes_fit(pair, lambda y, order=order: np.unpackbits(y, axis=1, count=pair.d, bitorder=order)):  # type: ignore[misc]
            return "one bit for each number, packed into bytes"
    return ""


def _bytes_fit(pair: FilePair, unpack: Callable[[np.ndarray], np.ndarray]) -> bool:
    shift = 128 if pair.ys.min() < 0 else 0
    if not np.array_equal(np.rint(pair.ys), pair.ys) or pair.ys.min() + shift < 0 or pair.ys.max() + shift > 255:
        return False
    plain = True
    wrapped = shift > 0  # the same bytes, read as signed ones
    for x, y in blocks_of_both(pair):
        if not np.array_equal(np.rint(y), y) or y.min() < -shift or y.max() > 255 - shift:
            return False
        signs = x > 0
        plain = plain and bool(((unpack((y + shift).astype(np.uint8)) == signs) | (x == 0)).all())
        wrapped = wrapped and bool(((unpack(y.astype(np.int16).astype(np.uint8)) == signs) | (x == 0)).all())
        if not plain and not wrapped:
            return False
    return True


def _two_values(pair: FilePair) -> str:
    """Each column of y takes its higher value where x is above the column's threshold, or the file's."""
    low, high = float(pair.ys.min()), float(pair.ys.max())
    if not low < high or not ((pair.ys == low) | (pair.ys == high)).all():
        return ""
    below, above = np.full(pair.d, -np.inf), np.full(pair.d, np.inf)  # largest x of a low bit, smallest of a high one
    for x, y in blocks_of_both(pair):
        if not ((y == low) | (y == high)).all():
            return ""
        below = np.maximum(below, np.where(y == low, x, -np.inf).max(0))
        above = np.minimum(above, np.where(y == high, x, np.inf).min(0))
    if below.max() <= above.min():
        zero = below.max() <= 0 <= above.min()
        return "one bit for each number, " + ("its sign" if zero else "above one threshold")
    if (below <= above).all() and pair.n >= 20:
        return "one bit for each number, above the column's threshold"
    return ""

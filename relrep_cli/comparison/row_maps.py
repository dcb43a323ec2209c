"""Maps that leave every row to itself: the same numbers, unit length, first columns, zeros added; then a scale and a shift."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.file_pairs import FilePair, Map

PAIRS = 3000  # of rows from whose differences a scale is taken
ALIGNED = 0.97  # cosine above which two differences are one and the same
CORRELATED_ROWS = 1000  # by which columns are matched


@dataclass(frozen=True, eq=False)
class Fit:
    """One way in which y may follow from x. apply: predicts rows of y. evidence: its figures, in words."""

    apply: Map
    evidence: str = ""


def unit(x: np.ndarray) -> np.ndarray:
    """Rows at length 1; a row of zeros stays."""
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def one_length(rows: np.ndarray) -> bool:
    """Whether many rows have one length."""
    lengths = np.linalg.norm(rows, axis=1)
    return bool(np.mean(np.abs(lengths / max(float(np.median(lengths)), 1e-300) - 1) < 0.01) > 0.4)


def same(pair: FilePair) -> Iterator[Fit]:
    """y is x, up to noise."""
    if pair.d == pair.e:
        yield Fit(lambda x: x)


def scaled(pair: FilePair) -> Iterator[Fit]:
    """y is x times one number."""
    if pair.d == pair.e and (c := scale_of(pair.xs, pair.ys)):
        yield Fit(lambda x: c * x, f"{pair.names[1]} = {c:.6g} * {pair.names[0]}")


def shifted(pair: FilePair) -> Iterator[Fit]:
    """y is x plus one vector, perhaps times one number."""
    if pair.d == pair.e:
        yield from _shifted(pair, pair.xs, lambda x: x)


def unit_length(pair: FilePair) -> Iterator[Fit]:
    """y is x, or x less its mean, with each row at one length."""
    if pair.d != pair.e:
        return
    mean = pair.xs.mean(0)
    yield from _at_one_length(pair, lambda x: x, "")
    yield from _at_one_length(pair, lambda x: x - mean, f", after the mean of {pair.names[0]} was taken off")


def _at_one_length(pair: FilePair, base: Map, more: str) -> Iterator[Fit]:
    lengths = np.linalg.norm(pair.ys, axis=1)
    length = float(np.median(lengths))
    if not length > 0 or float(np.mean(np.abs(lengths / length - 1) < 0.02)) < 0.4:
        return
    c = 1.0 if abs(length - 1) < 0.01 else length
    before = np.linalg.norm(base(pair.xs), axis=1)
    if not more and float(np.mean(np.abs(before / max(float(np.median(before)), 1e-300) - 1) < 1e-6)) > 0.9:
        return  # they had one length before
    yield Fit(lambda x: c * unit(base(x)), f"lengths {before.min():.4g} to {before.max():.4g} became {c:.4g}{more}")


def padded(pair: FilePair) -> Iterator[Fit]:
    """y is x with columns of zeros after it."""
    more = pair.e - pair.d
    if more > 0 and not pair.ys[:, pair.d :].any():
        yield Fit(lambda x: np.pad(x, ((0, 0), (0, more))), f"{more} columns of zeros added to {pair.d}")


def truncated(pair: FilePair) -> Iterator[Fit]:
    """y is the first columns of x, perhaps scaled or shifted."""
    if pair.e < pair.d:
        what = f"the first {pair.e} of {pair.d} columns"
        yield Fit(lambda x: x[:, : pair.e], what)
        head = pair.xs[:, : pair.e]
        if c := scale_of(head, pair.ys):
            yield Fit(lambda x: c * x[:, : pair.e], f"{what}, times {c:.6g}")
        for fit in _shifted(pair, head, lambda x: x[:, : pair.e]):
            yield Fit(fit.apply, f"{what}, {fit.evidence}")


def truncated_unit_length(pair: FilePair) -> Iterator[Fit]:
    """y is the first columns of x, each row then brought to length 1."""
    if pair.e < pair.d:
        for fit in _at_one_length(pair, lambda x: x[:, : pair.e], ""):
            yield Fit(fit.apply, f"the first {pair.e} of {pair.d} columns; lengths then became 1")


def scale_of(x: np.ndarray, y: np.ndarray) -> float:
    """The number c for which y = c x holds for as many rows as it can; 0 where few rows of y are multiples of x."""
    dots, squares = np.einsum("ij,ij->i", x, y), np.einsum("ij,ij->i", x, x)
    cosines = dots / np.sqrt(np.maximum(squares * np.einsum("ij,ij->i", y, y), 1e-300))
    good = np.abs(cosines) > ALIGNED
    if good.sum() < max(2, 0.05 * len(x)):
        return 0.0
    c = dots[good] / squares[good]
    return float(np.median(c[c > 0] if (c > 0).mean() >= 0.5 else c[c < 0]))


def _shifted(pair: FilePair, u: np.ndarray, base: Map) -> Iterator[Fit]:
    """y = c u + b, from differences of two rows, which do not depend on b."""
    rng = np.random.default_rng(0)
    i, j = rng.integers(0, len(u), (2, PAIRS))
    i, j = i[i != j], j[i != j]
    du, dy = u[i] - u[j], pair.ys[i] - pair.ys[j]
    dots, squares = np.einsum("ij,ij->i", du, dy), np.einsum("ij,ij->i", du, du)
    good = dots > ALIGNED * np.sqrt(squares * np.einsum("ij,ij->i", dy, dy))
    good &= squares > 0
    if good.sum() < 0.02 * len(i):
        return
    usual = float(np.median(dots[good] / squares[good]))
    rows = np.unique(np.concatenate([i[good], j[good]]))
    for c in (1.0, usual) if abs(usual - 1) < 0.01 else (usual,):
        b = np.median(pair.ys[rows] - c * u[rows], 0)
        times = "" if c == 1 else f"{c:.6g} times, "
        yield Fit(lambda x, c=c, b=b: c * base(x) + b, f"{times}shifted by a vector of length {np.linalg.norm(b):.4g}")  # type: ignore[misc]


def columns_permuted(pair: FilePair) -> Iterator[Fit]:
    """y has the columns of x in another order, perhaps scaled, shifted or at unit length; or some of them."""
    if pair.e > pair.d or pair.n < 5:
        return
    bases = [("", pair.xs)] if pair.e < pair.d or not pair.turned else []
    bases += [(", at unit length", unit(pair.xs))] if one_length(pair.ys) and not one_length(pair.xs) else []
    for name, base in bases:
        order = _matched_columns(base, pair.ys)
        if order is None:
            continue
        moved = int((order != np.arange(pair.e)).sum())
        what = f"{moved} of {pair.e} columns moved{name}" if pair.e == pair.d else f"{pair.e} of {pair.d} columns{name}"
        if name:
            yield Fit(lambda x, order=order: unit(x)[:, order], what)  # type: ignore[misc]
            continue
        yield Fit(lambda x, order=order: x[:, order], what)  # type: ignore[misc]
        for fit in _shifted(pair, base[:, order], lambda x, order=order: x[:, order]):  # type: ignore[misc]
            yield Fit(fit.apply, f"{what}, {fit.evidence}")


def _matched_columns(x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """(e,) for each column of y the column of x that it equals up to scale and shift; None where many equal none."""
    some = np.random.default_rng(0).permutation(len(x))[:CORRELATED_ROWS]
    parts = []
    for side in (x[some], y[some]):
        z = side - np.median(side, 0)
        length = np.linalg.norm(z, axis=0)
        parts.append((z / np.where(length > 0, length, 1), length <= 1e-12 * max(length.max(initial=0), 1e-300)))
    (zx, flat_x), (zy, flat_y) = parts
    alike = zy.T @ zx
    if flat_x.any() and flat_y.any():  # columns of one number each: by that number
        level = np.abs(np.median(y, 0)[flat_y][:, None] - np.median(x, 0)[flat_x][None, :])
        alike[np.ix_(flat_y, flat_x)] = 0.9 - 0.1 * level / max(float(level.max()), 1e-300)
    best = alike.argmax(1)
    if np.median(alike[np.arange(len(best)), best]) < 0.3:
        return None
    if len(np.unique(best)) < len(best):
        from scipy.optimize import linear_sum_assignment

        best = linear_sum_assignment(-alike)[1]
    return np.asarray(best)

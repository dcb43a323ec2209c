"""Means over pairs of encoders, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean

T_975 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
Pair = tuple[str, str]


def over_encoders(values: Mapping[Pair, float]) -> tuple[float, float]:
    """The mean over ordered pairs, and half its 95 % interval by leaving out one encoder at a time.

    Pairs that share an encoder depend on each other, so an interval over pairs would be too narrow. NaN with two encoders.
    """
    names = sorted({name for pair in values for name in pair})
    whole = mean(values.values())
    if len(names) < 3:
        return whole, float("nan")
    without = [mean(value for pair, value in values.items() if name not in pair) for name in names]
    return whole, half_width(without, jackknife=True)


def half_width(values: Sequence[float], jackknife: bool = False) -> float:
    """Half the 95 % interval (Student's t) of the mean of values, or of the estimate whose leave-one-out values they are."""
    n, middle = len(values), mean(values)
    squares = sum((value - middle) ** 2 for value in values)
    error = sqrt(squares * (n - 1) / n) if jackknife else sqrt(squares / (n - 1) / n)
    return T_975.get(n - 1, 2.0) * error


def with_margin(value: float, margin: float, digits: int = 3) -> str:
    """`0.998 ± 0.004`, or the value alone where there is no interval."""
    return f"{value:.{digits}f}" if margin != margin else f"{value:.{digits}f} ± {margin:.{digits}f}"

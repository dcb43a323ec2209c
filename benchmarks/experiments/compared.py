"""Tables of `relrep compare`: means over pairs of encoders."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from lab import Lab, Record

COLUMNS = ("a", "b", "projection", "metric", "value", "chance")


def compared(lab: Lab, files: Sequence[str], anchors: str, options: str) -> list[Record]:
    return lab.cell(f"compare {' '.join(files)} -a {anchors} --split test {options}", COLUMNS)


def values(result: Sequence[Record], projection: str, metric: str, column: str = "value") -> list[float]:
    """The values of all pairs that have one."""
    return [r[column] for r in result if (r["projection"], r["metric"]) == (projection, metric) and r[column] is not None]


def spread(numbers: Sequence[float], digits: int = 3) -> str:
    """`0.502 (0.013)`: mean and standard deviation over pairs; the value alone where there is one pair; n/a for none."""
    if not numbers:
        return "n/a"
    return f"{mean(numbers):.{digits}f}" + (f" ({stdev(numbers):.{digits}f})" if len(numbers) > 1 else "")


def projections(result: Sequence[Record]) -> list[str]:
    return [p for p in dict.fromkeys(r["projection"] for r in result) if not p.startswith("ratio:")]


def by_projection(result: Sequence[Record], metrics: Sequence[str], digits: int = 3) -> list[list[str]]:
    """A row for each projection, a cell for each metric."""
    return [[name_of(p), *(spread(values(result, p, m), digits) for m in metrics)] for p in projections(result)]


def name_of(projection: str) -> str:
    """`relative(cosine, 300 anchors)` as the tables name it."""
    return "absolute" if projection == "absolute" else f"`{projection}`"

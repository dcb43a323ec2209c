"""What a table of stitched heads says in a line for each head: the best method, and those that tie with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.stitching.grid import is_error, score

WELL_KEPT = 0.85  # of a head's own score
OTHERS = {"linear": "--ridge 1, --head knn or --head mlp", "logistic": "--head knn or mlp", "svm": "--head knn or mlp"}


@dataclass(frozen=True)
class _Means:
    """Of a method over all pairs. The ends are means of ends, since all pairs have the same test items."""

    value: float
    low: float
    high: float
    pairs: int

    def ties(self, other: _Means) -> bool:
        """Whether the intervals overlap."""
        return self.low <= other.high and other.low <= self.high


def lines(records: Sequence[Record]) -> Iterator[str]:
    """A line for each head, one before it where relative spaces lose much, and first one where absolute spaces have no value.
    Only methods that bring every encoder to every other head are compared."""
    if any(r.get("stitching_index", 0) is None and r["method"] == "absolute" for r in records):
        yield "absolute spaces of unequal dims cannot be stitched: n/a."
    for head in dict.fromkeys(r["decoder"] for r in records):
        cells = [r for r in records if r["decoder"] == head and r["encoder"] != r["head"] and score(r) is not None]
        means = {name: _means([r for r in cells if r["method"] == name]) for name in dict.fromkeys(r["method"] for r in cells)}
        most = max((one.pairs for one in means.values()), default=0)
        means = {name: one for name, one in means.items() if one.pairs == most}
        if loss := _loss_between_relative_spaces(cells, head):
            yield loss
        if len(means) < 2:
            continue
        errors = is_error(cells[0])
        best = (min if errors else max)(means, key=lambda name: means[name].value)
        top, ties = means[best], [name for name in means if name != best and means[name].ties(means[best])]
        measure = "mse" if errors else "r2" if "r2" in cells[0] else "accuracy"
        pairs = f"{most} pairs" if most > 1 else "one pair"
        sentence = f"{head}: mean {measure} {top.value:.3f} ({top.low:.3f} to {top.high:.3f}) over {pairs} by {best}"
        tied = f"; {', '.join(ties)} tie{'s' if len(ties) == 1 else ''} with it: the intervals overlap"
        yield sentence + (tied if ties else ", the best of all methods") + "."


def _loss_between_relative_spaces(cells: Sequence[Record], head: str) -> str:
    """A hint where relative spaces cost a linear head much although it does well on its own: the penalty is the first thing to
    try, because columns of similarities nearly repeat each other; "" otherwise."""
    kept: dict[str, list[float]] = {}
    for r in cells:
        if r["method"].partition("+")[0] in SIMILARITIES and r.get("stitching_index") is not None:
            kept.setdefault(r["method"], []).append(r["stitching_index"])
    if head not in OTHERS or not kept:
        return ""
    best = max(kept, key=lambda name: np.mean(kept[name]))
    share = float(np.mean(kept[best]))
    if share >= WELL_KEPT:
        return ""
    return f"{head}: {best} keeps {share:.2f} of a head's own score on the other encoder. {OTHERS[head]} may keep more."


def _means(cells: Sequence[Record]) -> _Means:
    value, low, high = (float(np.mean(v)) for v in zip(*((score(r), r["low"], r["high"]) for r in cells), strict=True))
    return _Means(value, low, high, len(cells))

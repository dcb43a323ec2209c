"""What a metric returns and declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.base.registry import Param, Registry

__all__ = ["METRICS", "By", "K", "NotApplicable", "Score", "metric"]

METRICS: Registry = Registry(
    "metric",
    (
        "family",  # the kind of thing it compares
        "bounds",  # (low, high), None where there is no bound
        "identity",  # value of a space against itself; the name of an option that sets it; None where it varies
        "higher_is_closer",
        "symmetric",
        "needs",  # of "same dims", "labels", "n > d": what a pair must have
        "reads_coordinates",  # whether it compares coordinates across spaces, so that both must share one frame
        "invariant",  # maps of either space that leave the value alone by default (of both alike, where coordinates are read)
        "source",
    ),
)
metric = METRICS

K = Annotated[int, Param("How many neighbours; several, as 5,10,50, give a result each.", minimum=1, several=True)]
By = Annotated[
    Literal["cosine", "euclidean"],
    Param("Which rows are near: by cosine or by Euclidean distance.", choices=("cosine", "euclidean")),
]
Index = Annotated[
    Literal["exact", "ivf", "hnsw"],
    Param(
        "How neighbours are found: exact, or for many rows by an index, whose recall is measured and at least 0.99.",
        choices=("exact", "ivf", "hnsw"),
    ),
]
Ci = Annotated[
    float, Param("Sample just enough rows for a 95 % interval of this half-width, such as 0.005; 0 takes all rows.", minimum=0)
]


@dataclass(frozen=True)
class Score:
    """A metric's value with what inference needs.

    value: the number. rows: (n,) each row's own value, of which `value` is the mean, or None. sample: (m,) the row numbers
    of `rows` where only these were measured, else None, and population: how many rows there are. jackknife: (g,) the value
    without one g-th of the rows each, for metrics without row values. chance: the expected value under random pairing, in
    closed form, or the mean over `draws` random pairings. extra: what else the result must say, such as how many neighbour
    sets ended in a tie.
    """

    value: float
    chance: float
    convention: str
    rows: np.ndarray | None = None
    jackknife: np.ndarray | None = None
    sample: np.ndarray | None = None
    population: int = 0
    draws: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

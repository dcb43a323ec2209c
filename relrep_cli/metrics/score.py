"""What a metric returns and declares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Concatenate, Literal, TypedDict, TypeVar, Unpack

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.numerics.workspace import UNSHARED, Workspace

__all__ = ["METRICS", "By", "K", "Metric", "MetricFamily", "NotApplicable", "Score", "metric"]

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


Bounds = tuple[float | None, float | None]
Need = Literal["same dims", "labels", "n > d"]
Measure = Callable[Concatenate[np.ndarray, np.ndarray, ...], Score]  # (n, dx), (n, dy), keywords -> Score
AnyMeasure = TypeVar("AnyMeasure", bound=Measure)


@dataclass(frozen=True, kw_only=True, eq=False)
class FamilyTraits:
    """The traits of a metric that a family may share.

    family: the kind of thing it compares. bounds: lowest and highest value, None where there is no bound. identity: value of
    a space against itself; the name of an option that sets it; None where it varies. needs: what a pair must have.
    reads_coordinates: whether it compares coordinates across spaces, so that both must share one frame. invariant: maps of
    either space that leave the value alone by default (of both alike, where coordinates are read).
    """

    family: str
    bounds: Bounds
    identity: float | str | None
    higher_is_closer: bool
    symmetric: bool
    needs: Set[Need]
    reads_coordinates: bool
    invariant: Set[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Metric(FamilyTraits, Entry[Measure]):
    """A metric with its traits. source: where it is defined."""

    source: str

    def __call__(self, function: AnyMeasure) -> AnyMeasure:
        """Register the function."""
        METRICS.add(self.of(function))
        return function

    @cached_property
    def _context(self) -> frozenset[str]:
        """What the function takes of the run: its seed, the labels of the items, the workspace."""
        return frozenset(inspect.signature(self.function).parameters) & {"seed", "labels", "workspace"}

    def compute(
        self,
        x: np.ndarray,
        y: np.ndarray,
        params: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        labels: np.ndarray | None = None,
        workspace: Workspace = UNSHARED,
    ) -> Score:
        """Call the function on (n, dx) x and (n, dy) y with its options, and with what it takes of the run.

        params: values of options, defaults where absent. seed: for metrics that sample. labels: (n,) labels of the items, for
        metrics that need them. workspace: where intermediate results are shared.

        Raises NotApplicable when the metric is undefined on these data.
        """
        context = {"seed": seed, "labels": labels, "workspace": workspace}
        return self.function(x, y, **(params or {}), **{name: context[name] for name in self._context})


class OwnTraits(TypedDict, total=False):
    """What a metric may declare otherwise than its family."""

    bounds: Bounds
    identity: float | str | None
    higher_is_closer: bool
    symmetric: bool
    needs: Set[Need]
    reads_coordinates: bool
    invariant: Set[str]


class MetricFamily(FamilyTraits):
    """Traits that several metrics share: `@canonical_metric(symmetric=False, source="...")` declares a member."""

    def __call__(self, *, source: str, **own: Unpack[OwnTraits]) -> Metric:
        """The decorator of a metric of this family."""
        return Metric(source=source, **{**vars(self), **own})


METRICS = Registry("metric", Metric)
metric = Metric

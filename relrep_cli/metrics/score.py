"""The score that a metric returns, and the traits that it declares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Set
from dataclasses import field, replace
from functools import cached_property
from typing import Annotated, Any, Concatenate, Literal, Self, TypedDict, TypeVar, Unpack

import numpy as np

from relrep_cli.base.errors import NotApplicable, unknown
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Keyword, Param, Registry
from relrep_cli.metrics.forms import OLD, Form, current
from relrep_cli.numerics.intervals import Scale
from relrep_cli.numerics.workspace import UNSHARED, Workspace

__all__ = ["METRICS", "By", "K", "Metric", "MetricFamily", "NotApplicable", "Score", "metric"]

K = Annotated[int, Param("Number of neighbours; several, such as 5,10,50, give one result each.", minimum=1, several=True)]
By = Annotated[
    Literal["cosine", "euclidean"],
    Param("Distance by which neighbours are found: cosine or Euclidean.", choices=("cosine", "euclidean")),
]
Index = Annotated[
    Literal["exact", "ivf", "hnsw"],
    Param(
        "How to search for neighbours: exactly, or with an index, whose recall is measured and at least 0.99.",
        choices=("exact", "ivf", "hnsw"),
    ),
]
Ci = Annotated[
    float, Param("Sample just enough rows for a 95 % interval of this half-width, such as 0.005; 0 takes all rows.", minimum=0)
]


@dataclass(frozen=True)
class Score:
    """The value of a metric, with the numbers that its interval needs.

    value: the number. chance: the expected value under random pairing, in closed form or as the mean over `draws` random
    pairings; NaN when it was not wanted. convention: what exactly was computed. rows: (n,) values of the rows, whose mean is
    `value`; None for a metric without. jackknife: (g,) values without each g-th part of the rows, for a metric without row
    values. sample: (m,) row numbers of the rows that were measured, when not all were. population: the number of all rows.
    extra: further columns of the record, such as the number of neighbour sets that end in a tie. chance_error: the standard
    error of a drawn chance level. scale: on which the jackknife is nearly normal; see intervals.jackknife.
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
    chance_error: float = 0.0
    scale: Scale = "plain"

    def times(self, power: int) -> Score:
        """Multiply by 2^power, for spaces that were divided by it."""
        if not power:
            return self
        value, chance, error = (float(np.ldexp(number, power)) for number in (self.value, self.chance, self.chance_error))
        jackknife = None if self.jackknife is None else np.ldexp(self.jackknife, power)
        return replace(self, value=value, chance=chance, chance_error=error, jackknife=jackknife)


ALONE = ("statistics",)  # families whose metrics look at each space alone
Bounds = tuple[float | None, float | None]
Need = Literal["same dims", "labels", "n > d"]
Measure = Callable[Concatenate[np.ndarray, np.ndarray, ...], Score]  # (n, dx), (n, dy), keywords -> Score
AnyMeasure = TypeVar("AnyMeasure", bound=Measure)


@dataclass(frozen=True, kw_only=True, eq=False)
class FamilyTraits:
    """The traits of a metric that a family may share.

    family: the kind of metric. bounds: lowest and highest value, None where there is no bound. identity: the value of a space
    compared with itself, or the name of an option that equals it; None when it varies. needs: what a pair must have.
    reads_coordinates: whether the metric compares coordinates, so that both files must be in the same space. invariant:
    transformations of either space that do not change the value with default options; where coordinates are read, of both
    spaces alike.
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
    """A metric with its traits. source: where it is defined. form: which form of a metric it is, where there are several."""

    source: str
    form: Form | None = None

    def of(self, function: Measure) -> Self:
        """The entry of the function, under the name that its form has."""
        entry = super().of(function)
        if self.form is not None:
            object.__setattr__(entry, "name", self.form.name)
        return entry

    @classmethod
    def traits(cls) -> tuple[str, ...]:
        return tuple(name for name in super().traits() if name != "form")

    @property
    def shown(self) -> bool:
        """Whether lists name it: forms are found by their option, and metrics of one space alone belong to `evaluate`."""
        return self.family not in ALONE and self.plain

    @property
    def plain(self) -> bool:
        """Whether no option is needed to choose it."""
        return self.form is None or self.form.plain

    @property
    def keywords(self) -> dict[str, Keyword]:
        """The keywords of the function; for a metric with several forms, also the option that chooses one."""
        own = self.own_keywords
        forms = [entry.form for entry in METRICS.forms(self.name) if entry.form]
        if not forms:
            return own
        choice, values = forms[0].choice, tuple(form.value for form in forms)
        if choice.plain:
            return {choice.option: Form(choice, choice.plain).keyword(values), **own}
        known = own[choice.option]
        return own | {choice.option: replace(known, param=replace(known.param, choices=(*known.param.choices, *values)))}

    def __call__(self, function: AnyMeasure) -> AnyMeasure:
        """Register the function."""
        METRICS.add(self.of(function))
        return function

    @cached_property
    def _context(self) -> frozenset[str]:
        """The arguments that the function takes from the run: seed, labels of the items, workspace."""
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
    """The traits that a metric may declare instead of those of its family."""

    bounds: Bounds
    identity: float | str | None
    higher_is_closer: bool
    symmetric: bool
    needs: Set[Need]
    reads_coordinates: bool
    invariant: Set[str]


class MetricFamily(FamilyTraits):
    """Traits that several metrics share: `@canonical_metric(symmetric=False, source="...")` declares a member."""

    def __call__(self, *, source: str, form: Form | None = None, **own: Unpack[OwnTraits]) -> Metric:
        """Return the decorator of a metric of this family."""
        return Metric(source=source, form=form, **{**vars(self), **own})


class Metrics(Registry[Metric]):
    """All definitions by name. Forms of one metric have names such as `procrustes:angle`; old names are known, too."""

    def __getitem__(self, name: str) -> Metric:
        if name not in self:
            raise unknown(self.noun, name, [known for known, entry in self.items() if entry.shown], [*self, *OLD])
        return super().__getitem__(current(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(current(name) if isinstance(name, str) else name)

    def forms(self, metric: str) -> list[Metric]:
        """The definitions that an option of the metric chooses from; none where there is a single one."""
        forms = [entry for entry in self._entries.values() if entry.form is not None and entry.form.choice.metric == metric]
        return sorted(forms, key=lambda entry: not entry.plain)

    def taken(self, names: list[str], given: Mapping[str, Any]) -> set[str]:
        choosing = {form.form.choice.option for name in names for form in self.forms(current(name)) if form.form}
        return choosing | super().taken(self._chosen(names, given), given)

    def choose(self, names: list[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The parameters of each named definition, under the name of the form that the options choose."""
        if not names:
            return super().choose(names, given)
        for option, keyword in ((o, k) for name in names for o, k in self[name].keywords.items()):
            if given.get(option) is not None:
                keyword.read(given[option])  # refuses an unknown form
        chosen = {name: self[name].resolve(given) for name in self._chosen(names, given)}
        self._refuse_idle(names, given)
        return chosen

    def _chosen(self, names: list[str], given: Mapping[str, Any]) -> list[str]:
        """The present names of the definitions, of each metric with forms the one that the options say."""
        names_of_forms = []
        for name in map(current, names):
            fitting = [e.name for e in self.forms(name) if e.form and given.get(e.form.choice.option) == e.form.value]
            names_of_forms.append(fitting[0] if fitting else name)
        return names_of_forms


METRICS = Metrics("metric", Metric)
metric = Metric

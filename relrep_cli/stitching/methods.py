"""Methods of stitching: what stands side by side in the table, made from the options and carried out on spaces.

`none` and `absolute` leave vectors as they are, `relative` describes them by one similarity function, `product` by several
that are aggregated, each translator maps the encoder's vectors into the head's space, and a universe maps all spaces into a
common one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import UsageError, unknown
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.relative.aggregators import AGGREGATORS
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.recipes import Postprocessing, Recipe
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.relative.transformations import with_implied
from relrep_cli.stitching import translators
from relrep_cli.stitching.grid import Map, Route
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES

WITHOUT_ANCHORS = ("none", "absolute")
FAMILIES = {
    "none": "no stitching: each encoder with a head of its own",
    "absolute": "the vectors as they are, into a head of another space",
    "relative": "similarities to the anchors, one function at a time",
    "product": "several similarity functions, aggregated",
}
SIMILARITY = ("cosine", "euclidean", "l1", "chebyshev")  # of Cannistraci et al. 2024
AGGREGATE = ("concat", "sum", "mean")
USUAL = ("none", "absolute", "relative", "orthogonal", "ridge", "universe")  # where no method is named


def names() -> list[str]:
    return [*FAMILIES, *TRANSLATORS, *UNIVERSES]


@dataclass(frozen=True, eq=False)
class Method:
    """One way of stitching. recipe: how both spaces are projected; None where they stay absolute.

    translator: the name of the map between them; universe: that of the common space, each with its params; "" where there is
    none.
    """

    label: str
    recipe: Recipe | None = None
    translator: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    universe: str = ""

    @property
    def trains(self) -> bool:
        """Whether an aggregator is trained along with the head."""
        r = self.recipe
        return r is not None and bool(r.aggregate) and r.trained is None and bool(AGGREGATORS[r.aggregate].trainable)

    @property
    def anchored(self) -> bool:
        return self.recipe is not None or bool(self.translator or self.universe)

    @property
    def keeps_coordinates(self) -> bool:
        """Whether heads are trained on absolute vectors."""
        return self.recipe is None and not self.universe

    def to_json(self) -> dict[str, Any]:
        """The method without its anchors, as JSON holds it."""
        how = None if self.recipe is None else self.recipe.to_json()
        own = {"universe": self.universe} if self.universe else {}
        return {"method": self.label, "recipe": how, "translator": self.translator, "translation": dict(self.params), **own}


@dataclass(frozen=True)
class MethodChoice:
    """Which methods to run.

    names: of methods. aggregates: names of aggregators for `product`. translators: the params of translators and universes by
    name.
    """

    names: Sequence[str]
    aggregates: Sequence[str]
    translators: Mapping[str, Mapping[str, Any]]

    @property
    def families(self) -> list[str]:
        """The methods by name, each once and in the order of the table. Raises UsageError for an unknown one."""
        for name in self.names:
            if name not in (*names(), "all"):
                raise unknown("method", name, (*names(), "all"))
        return names() if "all" in self.names else [n for n in names() if n in self.names]

    @property
    def open(self) -> bool:
        """Whether the table shows every variant that makes sense, instead of one that was named."""
        return "all" in self.names


def methods(choice: MethodChoice, recipe: Recipe | None) -> list[Method]:
    """The methods in the order of the table, from the recipe that the options describe (None: no anchors).

    Raises UsageError for methods that the options contradict, or that need anchors where there are none.

    With `all`, relative ones come plain, centred and with standardised columns, unless the recipe prepares anything itself,
    and those whose statistics are of all rows, test rows too, come as well.
    """
    chosen: list[Method] = []
    for name in choice.families:
        if name in WITHOUT_ANCHORS:
            chosen.append(Method(name))
        elif recipe is None:
            raise UsageError("--anchors FILE is missing", "Make one with relrep anchor.")
        elif name == "relative":
            chosen += _relative(choice, recipe)
        elif name == "product":
            chosen += _products(choice, recipe)
        elif name in UNIVERSES:
            chosen.append(Method(name, params=choice.translators[name], universe=name))
        else:
            chosen.append(Method(name, None, name, choice.translators[name]))
    if not chosen:
        raise UsageError(
            "--aggregator works only with --method product, not with --method " + ",".join(choice.names),
            "Add --method product, or leave --aggregator out.",
        )
    return list({m.label: m for m in chosen}.values())


def _relative(choice: MethodChoice, recipe: Recipe) -> Iterator[Method]:
    if recipe.trained is not None:
        return
    for name, params in recipe.similarities.items():
        yield from _variants(choice, replace(recipe, similarities={name: params}, aggregate=""))


def _products(choice: MethodChoice, recipe: Recipe) -> Iterator[Method]:
    if recipe.trained is not None:
        yield Method(recipe.label, recipe)
        return
    if len(recipe.similarities) < 2:
        if "product" in choice.names:
            raise UsageError("--method product needs two or more similarity functions", "Name them with --similarity.")
        return
    for name in choice.aggregates:
        yield from _variants(choice, replace(recipe, aggregate=AGGREGATORS[name].name))


def _variants(choice: MethodChoice, recipe: Recipe) -> Iterator[Method]:
    """The recipe as it is or, where all is shown and nothing is prepared, plain, centred and standardised."""
    trains = Method("", recipe).trains
    if trains and recipe.after.standardize:
        raise UsageError(
            f"--standardize-columns does not go with --aggregate {recipe.aggregate}, which learns its own scale",
            "Leave --standardize-columns out.",
        )
    variants = [recipe]
    if choice.open and not recipe.before.steps() and recipe.after == Postprocessing():
        steady = all("translation" in with_implied(SIMILARITIES[name].invariant) for name in recipe.similarities)
        variants += [] if steady else [replace(recipe, before=Preprocessing(center=True))]
        variants += [] if trains else [replace(r, after=Postprocessing(standardize=True)) for r in variants]
    if "all" in choice.names and not recipe.transductive:
        variants += [replace(r, transductive=True) for r in variants if r.statistics()]
    return (Method(r.label, r) for r in variants)


def routes(chosen: Sequence[Method], anchors: Callable[[int], np.ndarray]) -> list[Route]:
    """How vectors travel by methods that share their coordinates. anchors: (space) -> (m, d) their vectors there."""
    return [Route(m.label, _carry(m, anchors), json.dumps(m.to_json(), sort_keys=True), own=m.label == "none") for m in chosen]


def _carry(m: Method, anchors: Callable[[int], np.ndarray]) -> Callable[[int, int], Map] | None:
    if not m.translator:
        return None
    return lambda e, h: translators.fit(m.translator, anchors(e), anchors(h), dict(m.params))

"""Recipes: how to project, said once and carried from the options to the files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf, isinf
from typing import Any

import numpy as np

from relrep_cli.anchors.correspondences import Pairs
from relrep_cli.anchors.mixtures import Mixtures
from relrep_cli.anchors.vectors import anchor_vectors
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.embedding import Embedding, text
from relrep_cli.relative.aggregators import AGGREGATORS, TrainedAggregator
from relrep_cli.relative.preparation import Before
from relrep_cli.relative.similarities import SIMILARITIES

UNREADABLE = "the saved record of how to project cannot be used; save it again with relrep stitch."


@dataclass(frozen=True)
class After:
    """What is done to relative coordinates. negate: distances become similarities, by their sign. standardize: each column
    at mean 0 and variance 1 over the training rows. step: coordinates are rounded to its multiples, 0 for not at all."""

    negate: bool = False
    standardize: bool = False
    step: float = 0.0


@dataclass(frozen=True, eq=False)
class Recipe:
    """How to project: on which anchors, by which similarity functions, with what before and after.

    similarities: names with their parameters, in order. aggregate: the name of what joins several, "" for one alone.
    trained: the trained aggregator of that name. transductive: statistics are those of all rows, not of the training rows.
    spares: embeddings that may hold anchors which the projected file does not, if they share its space. like: a relative
    embedding whose statistics are taken, if it was made from the same space. meaning: what the anchor ids stand for in each
    space, where they are not simply ids of items.
    """

    anchor_ids: np.ndarray
    similarities: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"cosine": {}})
    before: Before = field(default_factory=Before)
    aggregate: str = ""
    after: After = field(default_factory=After)
    transductive: bool = False
    spares: Sequence[Embedding] = ()
    like: Embedding | None = None
    trained: TrainedAggregator | None = None
    meaning: Mixtures | Pairs | None = None

    def vectors(self, e: Embedding, ids: np.ndarray | None = None) -> np.ndarray:
        """(m, d) vectors of the anchors, or of those called `ids`, in the space of e. Raises DataError; see anchor_vectors."""
        wanted = self.anchor_ids if ids is None else ids
        if self.meaning is None:
            return anchor_vectors(e, wanted, self.spares)
        return self.meaning.vectors(e, wanted, self.spares)

    def items(self, e: Embedding) -> np.ndarray:
        """The ids of the items that the anchors are in the space of e, or are mixed from: what a leak is judged by."""
        return self.anchor_ids if self.meaning is None else self.meaning.ids(e, self.anchor_ids, self.spares)

    @property
    def label(self) -> str:
        """A short name, such as `cosine+center` or `cosine,l1/sum`."""
        names = ",".join(self.similarities) + (f"/{self.aggregate}" if self.aggregate else "")
        after = [name for name in ("negate", "standardize") if getattr(self.after, name)]
        more = [*self.before.steps(), *after, *(["round"] if self.after.step else [])]
        return "+".join([names, *more, *(["transductive"] if self.transductive else [])])

    def apart(self) -> list[Recipe]:
        """Each similarity function alone, then all of them as they are joined; one recipe where there is nothing to part."""
        if len(self.similarities) == 1 or self.trained is not None:
            return [self]
        alone = [{name: params} for name, params in self.similarities.items()]
        return [*(replace(self, similarities=one, aggregate="") for one in alone), self]

    def how(self) -> dict[str, Any]:
        """All that bears on the coordinates but the anchors, as JSON holds it."""
        return {
            "similarities": [[name, _plain(params)] for name, params in self.similarities.items()],
            "before": self.before.steps(),
            "aggregate": self.aggregate,
            "negate": self.after.negate,
            "standardize": self.after.standardize,
            "round": self.after.step,
            "transductive": self.transductive,
        }

    def params(self) -> dict[str, Any]:
        """The same as flat parameters of a step: `similarity`, `lp.p`, `center`, …"""
        flat = {f"{name}.{key}": v for name, params in self.similarities.items() for key, v in _plain(params).items()}
        rest = {key: value for key, value in self.how().items() if key not in ("similarities", "before")}
        return {"similarity": ",".join(self.similarities), **flat, **asdict(self.before), **rest}

    def space(self) -> str:
        """The name of the relative space: encoders projected on the same anchors in the same way share it."""
        (name, params), *more = self.similarities.items()
        how: list[Any] = [name, _plain(params), {"center": self.before.center}]
        first = replace(self, before=Before(self.before.center), aggregate="", after=After(), transductive=False)
        if more or self.how() != first.how():  # what format version 1 could say at first keeps its names
            how.append(self.how())
        if self.trained is not None:
            how.append(hashlib.sha256(self.trained.to_bytes()).hexdigest())
        anchors = _listed(self.anchor_ids) + (self.meaning.content() if self.meaning is not None else b"")
        content = hashlib.sha256(json.dumps(how, sort_keys=True).encode() + b"\n" + anchors)
        return f"relative:{content.hexdigest()[:16]}"

    def var(self) -> dict[str, np.ndarray]:
        """The columns of the relative matrix: index `<similarity>:<anchor id>`, anchor and similarity."""
        if self.trained is not None:
            number = np.arange(self.trained.width).astype("S")
            return _columns(f"{self.aggregate}({','.join(self.similarities)})", number, np.full(len(number), b""))
        if self.aggregate in ("", "concat"):
            parts = [_columns(name, self.anchor_ids, self.anchor_ids) for name in self.similarities]
            return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return _columns("+".join(self.similarities), self.anchor_ids, self.anchor_ids)

    def statistics(self) -> list[str]:
        """The names of the statistics that preparation and standardising take."""
        before = self.before
        names = ["center"] if before.center or before.scale or before.whiten else []
        names += ["whiten"] if before.whiten else ["scale"] if before.scale else []
        return names + (["column-mean", "column-scale"] if self.after.standardize else [])

    def width(self) -> int:
        """How many columns the relative matrix has."""
        return len(self.anchor_ids) * (len(self.similarities) if self.aggregate == "concat" else 1)


def with_trained(recipe: Recipe, trained: TrainedAggregator) -> Recipe:
    """`recipe` with the similarities and the preparation that a trained aggregator saw. Raises DataError when they are off."""
    told = of_how(recipe, trained.recipe)
    if len(told.similarities) != trained.count:
        raise DataError(UNREADABLE)
    after = replace(recipe.after, negate=told.after.negate)
    return replace(told, after=after, transductive=recipe.transductive, aggregate=trained.name, trained=trained)


def of_how(recipe: Recipe, how: Mapping[str, Any]) -> Recipe:
    """`recipe` with all that `how` says, which Recipe.how() gave. Raises DataError when it is off."""
    try:
        return replace(
            recipe,
            similarities={name: SIMILARITIES[name].resolve(_valued(params)) for name, params in how["similarities"]},
            before=Before(**dict.fromkeys(how["before"], True)),
            aggregate=AGGREGATORS[how["aggregate"]].name if how["aggregate"] else "",
            after=After(bool(how["negate"]), bool(how["standardize"]), float(how["round"])),
            transductive=bool(how["transductive"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, UsageError):
        raise DataError(UNREADABLE) from None


def anchors_digest(ids: np.ndarray) -> str:
    """Names the anchors and their order."""
    return hashlib.sha256(_listed(ids)).hexdigest()


def _listed(ids: np.ndarray) -> bytes:
    return b"".join(i + b"\0" for i in ids.tolist())


def _columns(similarity: str, index: np.ndarray, anchors: np.ndarray) -> dict[str, np.ndarray]:
    names = text([similarity] * len(index))
    return {"id": np.char.add(f"{similarity}:".encode(), index), "anchor": anchors, "similarity": names}


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON holds them, which knows no infinity."""
    return {name: "inf" if isinstance(v, float) and isinf(v) else v for name, v in params.items()}


def _valued(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: inf if v == "inf" else v for name, v in params.items()}

"""Recipes: all settings of a relative projection in one object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from math import inf, isinf
from typing import Any

import numpy as np

from relrep_cli.anchors.correspondences import Pairs
from relrep_cli.anchors.mixtures import Mixtures
from relrep_cli.anchors.vectors import anchor_vectors
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding, text
from relrep_cli.relative.aggregators import AGGREGATORS, TrainedAggregator
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.similarities import SIMILARITIES

UNREADABLE = ("the saved projection settings cannot be used", "Save them again with relrep stitch.")


@dataclass(frozen=True)
class Postprocessing:
    """Steps applied to relative coordinates.

    negate: change the sign of distances, so that they grow with similarity. standardize: scale each column to mean 0 and
    variance 1 on the training rows. step: round coordinates to multiples of it; 0 for no rounding.
    """

    negate: bool = False
    standardize: bool = False
    step: float = 0.0


@dataclass(frozen=True, eq=False)
class Recipe:
    """The settings of a relative projection.

    similarities: names of similarity functions with their parameters, in order.
    before, after: the pre- and postprocessing.
    aggregate: name of the aggregator, "" for a single similarity function. trained: its weights, when it is trained.
    transductive: compute statistics on all rows instead of the training rows.
    anchor_sources: other embeddings of the same space, which may hold anchors that the projected file lacks.
    statistics_from: a relative embedding of the same space whose statistics are reused.
    meaning: the items behind each anchor id, when the anchors are pairs or mixtures.
    """

    anchor_ids: np.ndarray
    similarities: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"cosine": {}})
    before: Preprocessing = field(default_factory=Preprocessing)
    aggregate: str = ""
    after: Postprocessing = field(default_factory=Postprocessing)
    transductive: bool = False
    anchor_sources: Sequence[Embedding] = ()
    statistics_from: Embedding | None = None
    trained: TrainedAggregator | None = None
    meaning: Mixtures | Pairs | None = None

    def vectors(self, e: Embedding, ids: np.ndarray | None = None) -> np.ndarray:
        """Return the vectors (m, d) of the anchors, or of those named `ids`, in the space of `e`.

        Raises DataError when an anchor has no vector in this space; see `anchor_vectors`.
        """
        wanted = self.anchor_ids if ids is None else ids
        if self.meaning is None:
            return anchor_vectors(e, wanted, self.anchor_sources)
        return self.meaning.vectors(e, wanted, self.anchor_sources)

    def items(self, e: Embedding) -> np.ndarray:
        """The ids of the items behind the anchors, in the space of `e`. The check for leaks uses them.

        Returns (k,) ids, UTF-8.
        """
        return self.anchor_ids if self.meaning is None else self.meaning.ids(e, self.anchor_ids, self.anchor_sources)

    @property
    def label(self) -> str:
        """A short name, such as `cosine+center` or `cosine,l1/sum`."""
        names = ",".join(self.similarities) + (f"/{self.aggregate}" if self.aggregate else "")
        after = [name for name in ("negate", "standardize") if getattr(self.after, name)]
        more = [*self.before.steps(), *after, *(["round"] if self.after.step else [])]
        return "+".join([names, *more, *(["transductive"] if self.transductive else [])])

    def each_similarity(self) -> list[Recipe]:
        """Return one recipe per similarity function, then the aggregated one. A single or trained recipe is returned alone."""
        if len(self.similarities) == 1 or self.trained is not None:
            return [self]
        alone = [{name: params} for name, params in self.similarities.items()]
        return [*(replace(self, similarities=one, aggregate="") for one in alone), self]

    def to_json(self) -> dict[str, Any]:
        """Return all settings that influence the coordinates, except the anchors, as JSON values."""
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
        """Return the settings as flat parameters of a provenance step: `similarity`, `lp.p`, `center`, …"""
        flat = {f"{name}.{key}": v for name, params in self.similarities.items() for key, v in _plain(params).items()}
        rest = {key: value for key, value in self.to_json().items() if key not in ("similarities", "before")}
        return {"similarity": ",".join(self.similarities), **flat, **asdict(self.before), **rest}

    def space(self) -> str:
        """The name of the relative space: encoders projected on the same anchors in the same way share it."""
        (name, params), *more = self.similarities.items()
        how: list[Any] = [name, _plain(params), {"center": self.before.center}]
        first = replace(
            self, before=Preprocessing(self.before.center), aggregate="", after=Postprocessing(), transductive=False
        )
        if more or self.to_json() != first.to_json():  # recipes of the first releases must keep the names of their spaces
            how.append(self.to_json())
        if self.trained is not None:
            how.append(hashlib.sha256(self.trained.to_bytes()).hexdigest())
        anchors = _listed(self.anchor_ids) + (self.meaning.content() if self.meaning is not None else b"")
        content = hashlib.sha256(json.dumps(how, sort_keys=True).encode() + b"\n" + anchors)
        return f"relative:{content.hexdigest()[:16]}"

    def var(self) -> dict[str, np.ndarray]:
        """Return the `var` table of the relative matrix: index `<similarity>:<anchor id>`, anchor and similarity."""
        if self.trained is not None:
            number = np.arange(self.trained.width).astype("S")
            return _columns(f"{self.aggregate}({','.join(self.similarities)})", number, np.full(len(number), b""))
        if self.aggregate in ("", "concat"):
            parts = [_columns(name, self.anchor_ids, self.anchor_ids) for name in self.similarities]
            return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return _columns("+".join(self.similarities), self.anchor_ids, self.anchor_ids)

    def statistics(self) -> list[str]:
        """The names of the statistics that preprocessing and standardising need."""
        before = self.before
        names = ["center"] if before.center or before.scale or before.whiten else []
        names += ["whiten"] if before.whiten else ["scale"] if before.scale else []
        return names + (["column-mean", "column-scale"] if self.after.standardize else [])

    def width(self) -> int:
        """The number of columns of the relative matrix."""
        return len(self.anchor_ids) * (len(self.similarities) if self.aggregate == "concat" else 1)


def with_trained_aggregator(recipe: Recipe, trained: TrainedAggregator) -> Recipe:
    """Give a recipe a trained aggregator, with the similarity functions and the preprocessing of its training.

    Raises DataError when the stored settings are unusable.
    """
    stored = with_settings(recipe, trained.recipe)
    if len(stored.similarities) != trained.count:
        raise DataError(*UNREADABLE)
    after = replace(recipe.after, negate=stored.after.negate)
    return replace(stored, after=after, transductive=recipe.transductive, aggregate=trained.name, trained=trained)


def with_settings(recipe: Recipe, how: Mapping[str, Any]) -> Recipe:
    """Apply settings written by `Recipe.to_json` to a recipe. Raises DataError when they are unusable."""
    try:
        return replace(
            recipe,
            similarities={name: SIMILARITIES[name].resolve(_valued(params)) for name, params in how["similarities"]},
            before=Preprocessing(**dict.fromkeys(how["before"], True)),
            aggregate=AGGREGATORS[how["aggregate"]].name if how["aggregate"] else "",
            after=Postprocessing(bool(how["negate"]), bool(how["standardize"]), float(how["round"])),
            transductive=bool(how["transductive"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, UsageError):
        raise DataError(*UNREADABLE) from None


def anchors_digest(ids: np.ndarray) -> str:
    """A digest of the anchor ids in their order.

    ids: (m,) UTF-8.
    """
    return hashlib.sha256(_listed(ids)).hexdigest()


def _listed(ids: np.ndarray) -> bytes:
    return b"".join(i + b"\0" for i in ids.tolist())


def _columns(similarity: str, index: np.ndarray, anchors: np.ndarray) -> dict[str, np.ndarray]:
    names = text([similarity] * len(index))
    return {"id": np.char.add(f"{similarity}:".encode(), index), "anchor": anchors, "similarity": names}


def _plain(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON values; infinity becomes the string "inf"."""
    return {name: "inf" if isinstance(v, float) and isinf(v) else v for name, v in params.items()}


def _valued(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: inf if v == "inf" else v for name, v in params.items()}

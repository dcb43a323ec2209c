"""Heads as files: what a head learnt with the way to its coordinates, so that it runs on encoders it never saw."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding, bare_name
from relrep_cli.heads.heads import HEADS, Trained
from relrep_cli.relative import aggregators
from relrep_cli.relative.aggregators import TrainedAggregator, of_module
from relrep_cli.relative.recipes import Recipe, anchors_digest, with_settings
from relrep_cli.stitching import translators
from relrep_cli.stitching.grid import Target
from relrep_cli.stitching.methods import Method
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import PENALTY, UNIVERSES, join
from relrep_cli.store.trained import Unusable, need, pack, unpack

KEY, VERSION = "relrep-head", 1
WHAT: dict[str, type | tuple[type, ...]] = {
    "head": str,
    "classes": list,
    "target": str,
    "method": str,
    "recipe": (dict, type(None)),
    "translator": str,
    "translation": dict,
    "anchors": str,
    "dims": int,
    "trained_on": str,
    "space": str,
    "end_to_end": (float, type(None)),
}


@dataclass(frozen=True, eq=False)
class SavedHead:
    """A trained head and the way to its coordinates.

    classes: names in order, none where it predicts numbers. method, recipe, translator, translation: those of the method,
    as Method.to_json() gives them; for a universe its penalty. anchors: digest of the anchor ids, "" where none are needed.
    vectors: (m, d) the anchors in the head's own space, for a translator or a universe. dims: of the rows that the head takes.
    trained_on, space: the file and its space. end_to_end: its score on the test rows of that file. drawn: size and seed of the
    split, and the digest of the anchors that were kept out of its test rows ("" without any); empty where the split was not
    drawn, or is not known.
    """

    trained: Trained
    classes: Sequence[str]
    target: str
    method: str
    recipe: Mapping[str, Any] | None
    translator: str
    translation: Mapping[str, Any]
    anchors: str
    dims: int
    trained_on: str
    space: str
    end_to_end: float | None
    vectors: np.ndarray | None = None
    aggregator: TrainedAggregator | None = None
    drawn: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        own = {"head": self.trained.name, "classes": list(self.classes), "recipe": self.recipe and dict(self.recipe)}
        record = {name: getattr(self, name) for name in WHAT if name not in own}
        record |= {"translation": dict(self.translation), "drawn": dict(self.drawn)}
        arrays = {f"head.{name}": _kept(values) for name, values in self.trained.arrays.items()}
        if self.vectors is not None:
            arrays["anchors"] = _kept(self.vectors)
        if self.aggregator is not None:
            record["aggregator"] = {name: getattr(self.aggregator, name) for name in ("name", "count", "width")}
            arrays |= {f"aggregator.{name}": values for name, values in self.aggregator.weights.items()}
        return pack({"version": VERSION, **record, **own}, arrays, KEY)

    def require_same_anchors(self, anchor_ids: np.ndarray | None, file: str = "") -> None:
        """Raise UsageError or DataError unless these are the anchors that the head was trained with.

        anchor_ids: (m,), or None without anchors.
        """
        if not self.anchors:
            return
        if anchor_ids is None:
            raise UsageError(
                f"--anchors FILE is missing: the head reads vectors by {self.method}",
                "Name the anchors that it was trained with.",
            )
        if anchors_digest(anchor_ids) != self.anchors:
            raise DataError(
                "the head was trained with other anchors, or with these in another order "
                f"(digest {self.anchors[:16]}, not {anchors_digest(anchor_ids)[:16]})",
                "Name its own with --anchors.",
                file=file,
            )

    def path(self, recipe: Recipe) -> Recipe:
        """`recipe`, which has the anchors, made to project as the head is used to."""
        assert self.recipe is not None
        return replace(with_settings(recipe, self.recipe), trained=self.aggregator)

    def translate(self, vectors: np.ndarray) -> translators.Affine:
        """The map from a new space, with its anchors (m, d), into the head's own."""
        assert self.vectors is not None
        if self.translator in UNIVERSES:
            return join(vectors, self.vectors, float(self.translation.get(PENALTY, 0.0)))
        return translators.fit(self.translator, vectors, self.vectors, dict(self.translation))


def _kept(values: np.ndarray) -> np.ndarray:
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)


def load(source: str | os.PathLike[str] | bytes) -> SavedHead:
    """The head in a file written from `to_bytes`. Raises DataError when it is anything else."""
    return unpack(source, KEY, VERSION, "head", "relrep stitch --save-head", _built)


def _built(record: dict[str, Any], arrays: dict[str, np.ndarray]) -> SavedHead:
    sound = all(name in record and isinstance(record[name], kinds) for name, kinds in WHAT.items())
    need(sound and all(isinstance(c, str) for c in record["classes"]), "a head's metadata that cannot be read")
    need(record["head"] in HEADS, f"a head named {record['head']!r}")
    need(record["translator"] in ("", *TRANSLATORS, *UNIVERSES), f"a translator named {record['translator']!r}")
    need(all(np.isfinite(values).all() for values in arrays.values()), "numbers that are not finite")
    own = {name.removeprefix("head."): values for name, values in arrays.items() if name.startswith("head.")}
    parts = {name: record[name] for name in WHAT if name != "head"}
    trained = Trained(record["head"], len(record["classes"]), own)
    parts |= {"vectors": arrays.get("anchors"), "aggregator": _aggregator(record, arrays), "drawn": _drawn(record)}
    saved = SavedHead(trained, **parts)
    _judge_shapes(saved)
    return saved


def _drawn(record: Mapping[str, Any]) -> dict[str, Any]:
    stated = record.get("drawn", {})  # heads of older versions do not state it
    kinds = {"size": float, "seed": int, "anchors": str}
    sound = isinstance(stated, dict) and all(isinstance(stated.get(name), kind) for name, kind in kinds.items())
    need(stated == {} or (sound and 0 < stated["size"] < 1 and stated["seed"] >= 0), "a drawn split that cannot be read")
    return dict(stated)


def _aggregator(record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TrainedAggregator | None:
    stated = record.get("aggregator")
    if stated is None:
        return None
    need(isinstance(stated, dict) and record["recipe"] is not None, "an aggregator's record that cannot be read")
    weights = {name.removeprefix("aggregator."): v for name, v in arrays.items() if name.startswith("aggregator.")}
    return aggregators.built({**stated, "recipe": record["recipe"], "anchors": record["anchors"]}, weights)


def _judge_shapes(saved: SavedHead) -> None:
    """Whether the head takes rows of its dims and gives a score for each class, and translators have their anchors."""
    need(1 <= saved.dims <= 1 << 20, f"rows of {saved.dims} dims")
    if saved.translator in UNIVERSES:
        penalty = saved.translation.get(PENALTY, 0.0)
        need(isinstance(penalty, float) and 0 <= penalty < np.inf, "a universe's penalty that cannot be read")
    if saved.translator:
        need(saved.vectors is not None and saved.vectors.ndim == 2 and saved.vectors.shape[1] == saved.dims, "no anchors")
    try:
        with np.errstate(all="ignore"):  # of huge weights; `Trained` says so when they meet vectors
            scores = HEADS[saved.trained.name].scores(saved.trained.arrays, np.zeros((1, saved.dims), np.float32))
        sound = scores.shape == (1, len(saved.classes) or 1)
    except (KeyError, IndexError, ValueError, TypeError, UsageError) as error:
        raise Unusable("arrays that do not fit the head") from error
    need(sound, "arrays that do not fit the head")


def aggregator_of(recipe: Recipe | None, trained: Trained | None) -> TrainedAggregator | None:
    """The aggregator that was trained in front of a head, as data."""
    if recipe is None or trained is None or trained.front is None:
        return None
    count, width = len(recipe.similarities), len(recipe.anchor_ids)
    return of_module(recipe.aggregate, count, width, trained.front, recipe.to_json(), anchors_digest(recipe.anchor_ids))


def saved_head(
    m: Method, trained: Trained, e: Embedding, target: Target, own: Any, vectors: np.ndarray | None, recipe: Recipe | None
) -> SavedHead:
    """The head of the space e with the way to its coordinates."""
    method = m.to_json()
    return SavedHead(
        trained=Trained(trained.name, trained.classes, trained.arrays),
        classes=[c.decode(errors="backslashreplace") for c in target.classes.tolist()],
        target=target.column,
        method=m.label,
        recipe=method["recipe"],
        translator=m.translator,
        translation=dict(m.params),
        anchors=anchors_digest(recipe.anchor_ids) if m.anchored and recipe is not None else "",
        dims=e.d if m.recipe is None else m.recipe.width(),
        trained_on=bare_name(e.uri),
        space=e.space if m.recipe is None else m.recipe.space(),
        end_to_end=own,
        vectors=vectors,
        aggregator=aggregator_of(m.recipe, trained),
    )

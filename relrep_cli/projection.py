"""The relative representation: items described by their similarities to anchors, block by block."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from relrep_cli.anchors import anchor_vectors
from relrep_cli.blocks import column_mean, release, row_blocks, widen
from relrep_cli.embedding import RELATIVE, Embedding, text
from relrep_cli.errors import DataError
from relrep_cli.similarities import SIMILARITIES, torch_device


@dataclass(frozen=True, eq=False)
class Recipe:
    """How to project: on which anchors, by which similarity function, after which preparation.

    spares: embeddings that may hold anchors which the projected file does not, if they share its space.
    """

    anchor_ids: np.ndarray
    similarity: str = "cosine"
    params: Mapping[str, Any] = field(default_factory=dict)
    center: bool = False
    spares: Sequence[Embedding] = ()

    @property
    def label(self) -> str:
        return self.similarity + ("+center" if self.center else "")

    def space(self) -> str:
        """The name of the relative space: encoders projected on the same anchors in the same way share it."""
        how = json.dumps([self.similarity, dict(self.params), {"center": self.center}], sort_keys=True).encode()
        content = hashlib.sha256(how + b"\n" + b"".join(i + b"\0" for i in self.anchor_ids.tolist()))
        return f"relative:{content.hexdigest()[:16]}"

    def var(self) -> dict[str, np.ndarray]:
        """The columns of the relative matrix: index `<similarity>:<anchor id>`, anchor and similarity."""
        index = np.char.add(f"{self.similarity}:".encode(), self.anchor_ids)
        return {"id": index, "anchor": self.anchor_ids, "similarity": text([self.similarity] * len(index))}


@dataclass(frozen=True, eq=False)
class Basis:
    """A recipe made ready for one space. anchors: (m, d). origin: (d,) float64 training mean, or None."""

    recipe: Recipe
    anchors: np.ndarray
    origin: np.ndarray | None

    def digest(self) -> str:
        """Names the vectors, for records of what was computed with them."""
        origin = b"" if self.origin is None else self.origin.tobytes()
        return hashlib.sha256(str(self.anchors.dtype).encode() + self.anchors.tobytes() + b"\n" + origin).hexdigest()


def basis(e: Embedding, recipe: Recipe) -> Basis:
    """Look up the anchors of `recipe` in the space of `e`, and the mean of its training rows if it is to be centred.

    Raises DataError when an anchor has no vector in this space, or e is relative already.
    """
    if e.kind == RELATIVE:
        raise DataError(f"{e.uri}: is a relative representation already; project the absolute file it was made from.")
    origin = None
    if recipe.center:
        stored = e.uns.get("center")
        origin = column_mean(e.x, e.training_rows()) if stored is None else np.asarray(stored, np.float64)
    return Basis(recipe, anchor_vectors(e, recipe.anchor_ids, recipe.spares), origin)


def relative_blocks(x: np.ndarray, to: Basis, device: str = "cpu") -> Iterator[np.ndarray]:
    """Blocks (b, m) of the relative representation of x (n, d).

    float64 input is computed in float64, all else in float32. device: `cpu` computes with NumPy, others with torch.
    """
    function = SIMILARITIES[to.recipe.similarity].function
    send, fetch = _carriers(device)
    wide = np.result_type(widen(x[:1]).dtype, widen(to.anchors[:1]).dtype)
    anchors = send(_shifted(to.anchors, to.origin, wide))
    for block in row_blocks(len(x), max(x.shape[1], len(to.anchors)), x):
        yield fetch(function(send(_shifted(x[block], to.origin, wide)), anchors, **to.recipe.params))


def relative(e: Embedding, to: Basis, device: str = "cpu") -> Embedding:
    """`e` in relative coordinates, as one array that lies on disk when it is large."""
    from relrep_cli.store.found import spool

    out, start = spool((e.n, len(to.anchors)), widen(e.x[:1]).dtype), 0
    for block in relative_blocks(e.x, to, device):
        out[start : start + len(block)] = block
        release(out, slice(start, start + len(block)))
        start += len(block)
    return replace(e, x=out, var=to.recipe.var(), kind=RELATIVE, space=to.recipe.space(), digest="", uns={})


def _shifted(x: np.ndarray, origin: np.ndarray | None, dtype: np.dtype) -> np.ndarray:
    """x - origin in `dtype`; the difference is taken in float64, where nothing is lost."""
    if origin is None:
        return np.ascontiguousarray(x, dtype)
    return np.ascontiguousarray(np.asarray(x, np.float64) - origin, dtype)


def _carriers(device: str) -> tuple[Any, Any]:
    """How a block reaches the device, and how it comes back."""
    if device in ("cpu", "auto"):
        return (lambda block: block), (lambda block: block)
    torch = torch_device(device)
    return (lambda block: torch.from_numpy(block).to(device)), (lambda block: block.cpu().numpy())

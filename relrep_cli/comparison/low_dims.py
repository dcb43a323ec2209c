"""Hints where angles say little: spaces of two or three dims, such as a UMAP, whose neighbours are those by distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relrep_cli.base.errors import printable
from relrep_cli.embedding import RELATIVE, Embedding
from relrep_cli.metrics import METRICS

FEW = 3  # dims
DRAWN = ("umap", "tsne")  # in the name of a matrix: a layout for the eye, where distances are what was laid out
ANGLES, DISTANCES = ("cosine", "correlation"), "euclidean"


def is_flat(e: Embedding) -> bool:
    """Whether neighbours in this space are those by distance, not by angle."""
    name = e.uri.partition("?")[0].rpartition("::")[2].lower()
    return e.kind != RELATIVE and (e.d <= FEW or (e.d <= 2 * FEW and any(one in name for one in DRAWN)))


def hint(e: Embedding, metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """What to write instead, for metrics that go by angle on such a space; "" where there is nothing to say."""
    if not is_flat(e):
        return ""
    options = dict.fromkeys(
        f"{METRICS[name].keywords[key].option} {DISTANCES}"
        for name, params in metrics.items()
        for key, value in params.items()
        if value in ANGLES and DISTANCES in METRICS[name].keywords[key].param.choices
    )
    if not options:
        return ""
    return f"{printable(e.uri)}: has {e.d} dims, where angles say little of who is near. Write {' '.join(options)}."

"""Hints where angles say little: spaces of two or three dims, such as a UMAP, whose neighbours are those by distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from relrep_cli.base.errors import printable
from relrep_cli.base.registry import Registry
from relrep_cli.embedding import RELATIVE, Embedding

FEW = 3  # dims
DRAWN = ("umap", "tsne")  # in the name of a matrix: a layout for the eye, where distances are what was laid out
ANGLES, DISTANCES = ("cosine", "correlation"), "euclidean"


def is_flat(e: Embedding) -> bool:
    """Whether neighbours in this space are those by distance, not by angle."""
    name = e.uri.partition("?")[0].rpartition("::")[2].lower()
    return e.kind != RELATIVE and (e.d <= FEW or (e.d <= 2 * FEW and any(one in name for one in DRAWN)))


def hint(e: Embedding, options: Sequence[str]) -> str:
    """What to write instead where the options go by angle on such a space; "" where there is nothing to say."""
    if not options or not is_flat(e):
        return ""
    written = " ".join(f"{option} {DISTANCES}" for option in dict.fromkeys(options))
    return f"{printable(e.uri)}: has {e.d} dims, where angles say little about which items are near. Write {written}."


def by_angle(registry: Registry[Any], chosen: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The options by which the chosen entries go by angle, where they could go by distance."""
    given = [(registry[name].keywords[key], value) for name, params in chosen.items() for key, value in params.items()]
    return [keyword.option for keyword, value in given if value in ANGLES and DISTANCES in keyword.param.choices]

"""A universe as a file: fitted on the items that several files share, measured on others, saved as one map from each space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, say
from relrep_cli.embedding import ABSOLUTE, Embedding, Step, make_step
from relrep_cli.numerics.blocks import pick
from relrep_cli.relative.recipes import Recipe, anchors_digest
from relrep_cli.stitching.shared_samples import Samples, samples
from relrep_cli.stitching.space_maps import SpaceMaps
from relrep_cli.stitching.translation_quality import index_rows, quality, scores
from relrep_cli.stitching.universe import PENALTY, Universe, build

FIT_ROWS = 2000  # training rows that a universe is fitted on where no anchors are named; the file keeps them


@dataclass(frozen=True, eq=False)
class Building:
    """How to build a universe; see `translation.Fitting`."""

    method: str
    params: Mapping[str, Any]
    recipe: Recipe | None
    rows: int
    seed: int

    def step(self, es: Sequence[Embedding], universe: Universe) -> Step:
        """The step that made it, with the penalty that was chosen: spaces that join later use it."""
        anchors = "" if self.recipe is None else anchors_digest(self.recipe.anchor_ids)
        params = {"method": self.method, "anchors": anchors, "rows": self.rows, **self.params, PENALTY: universe.penalty}
        sources = [] if self.recipe is None else map(store.digested, self.recipe.anchor_sources)
        return make_step("translate", params, self.seed, [*es, *sources])


def build_universe(es: Sequence[Embedding], how: Building) -> tuple[Universe, SpaceMaps, list[Record]]:
    """The universe of some files, its maps as a file holds them, and the recall of held-out items for every pair of files.

    Raises DataError when two files are of one space, or share too few items.
    """
    spaces = [e.space for e in es]
    if twice := next((e for n, e in enumerate(es) if e.space in spaces[:n]), None):
        raise DataError(
            f"is of space {printable(twice.space)}, as another file is", "Name one file of each space.", file=twice.uri
        )
    rows = samples(es, how.recipe, how.rows, how.seed)
    universe = build(how.method, rows.vectors, dict(how.params))
    maps = SpaceMaps(
        universe.space, ABSOLUTE, dict(zip(spaces, universe.maps, strict=True)), how.method, universe.anchors, rows.ids
    )
    records = list(_qualities(es, universe, rows, how.seed)) if len(rows.held[0]) else []
    if not records:
        say("every shared item is an anchor, so none is left to measure the universe on.")
    return universe, maps, records


def _qualities(es: Sequence[Embedding], universe: Universe, rows: Samples, seed: int) -> Iterator[Record]:
    queries = [carry(pick(e.x, held)) for e, carry, held in zip(es, universe.maps, rows.held, strict=True)]
    index = [carry(pick(e.x, index_rows(e, held, seed))) for e, carry, held in zip(es, universe.maps, rows.held, strict=True)]
    own, qualities = np.arange(len(queries[0])), {}
    for a, b in permutations(range(len(es)), 2):
        flags: Record = {"file": es[a].uri, "into": es[b].uri, "fitted_on": len(rows.vectors[0])}
        flags |= {"index_size": len(index[b]), "held_out": "items"}
        record = next(quality(scores(queries[a], own, index[b]), seed, flags))
        qualities[a, b] = record["value"]
        yield record
    a, b = min(qualities, key=lambda pair: qualities[pair])
    mean = float(np.mean(list(qualities.values())))
    say(f"mean recall@1 {mean:.3f} over {len(qualities)} pairs; worst {qualities[a, b]:.3f}, of {es[a].uri} in {es[b].uri}.")

"""What `relrep project` does beside projecting: lists, audits and selections of functions, and universes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import fields
from relrep_cli.base.output import Style, progress, say, write
from relrep_cli.cli.options import plan
from relrep_cli.cli.recipe_options import RecipeOptions, read_recipe
from relrep_cli.embedding import in_id_order
from relrep_cli.relative.invariance_audit import audit, described, sample, table
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.relative.similarity_selection import select
from relrep_cli.relative.transformations import TRANSFORMATIONS
from relrep_cli.stitching.space_maps import required_maps
from relrep_cli.stitching.translation import Output as Rows
from relrep_cli.stitching.translation import translate_with_maps
from relrep_cli.stitching.translation_costs import lines_of_rows
from relrep_cli.stitching.universe import UNIVERSES

if TYPE_CHECKING:
    from relrep_cli.cli.project import Options

ANCHORS = 300  # of an audit for which none are named


def list_functions(style: Style) -> None:
    """Print which transformations leave each function unchanged."""
    write([*table()], ["similarity", *TRANSFORMATIONS], style)


def audit_functions(file: str, options: Options, style: Style) -> None:
    """Print how much each function changes when the space of the file is transformed."""
    embedding, group = in_id_order(store.read(file, options.reading.reading)), options.recipe
    group = group if group.similarity or group.aggregator else replace(group, similarity=["all"])
    anchor_ids = None
    if not group.anchors:
        rows = embedding.training_rows()
        count = min(ANCHORS, max(1, len(rows) // 2))
        anchor_ids = embedding.ids[np.sort(np.random.default_rng(options.seed).permutation(rows)[:count])]
    recipe = read_recipe(group, options.given, anchor_ids, reading=options.reading.reading)
    items = sample(embedding, recipe)
    say(f"{file}: {items.n} items and anchors in float64; change over the standard deviation, 0 where nothing moves.")
    with progress("auditing") as advance:
        records = audit(items, recipe, options.seed, advance)
    write([described(r) for r in records], ["similarity", *TRANSFORMATIONS], style)


def select_functions(files: list[str], options: Options, style: Style) -> None:
    """Print how well the files agree by each combination of functions."""
    group = options.recipe if options.recipe.similarity else replace(options.recipe, similarity=["all"])
    recipe = read_recipe(group, options.given, reading=options.reading.reading)
    with progress("selecting") as advance:
        records = select([in_id_order(store.read(f, options.reading.reading)) for f in files], recipe, options.seed, advance)
    write(records, ["rank", "similarities", "agreement", "low", "high", "correlation", "n"], style)


def project_into_universe(file: str, options: Options) -> None:
    """Write the file in the common space of a universe that knows its space."""
    needless = [one.name for one in fields(RecipeOptions)]
    for name, option in options.explicit.options.items():
        if name in (*needless, "weights", "h5ad", "device", "exact"):
            raise UsageError(f"{option} does not go with --universe, which has a map for each of its spaces", "Leave it out.")
    options.given.refuse(SIMILARITIES, "--universe")
    maps = required_maps(options.universe)
    if maps.method not in UNIVERSES:
        raise UsageError("is a map between two spaces", "Use relrep translate FILE --map.", file=options.universe)
    e = store.digested(store.read(file, options.reading.reading))
    running, dtype = options.running, options.dtype or "float32"
    name = options.output if running.part is None else running.part.file(options.output)
    inputs = [file, options.universe]
    rows = Rows(name, dtype, options.force, inputs, options.reading.reading, running.engine, running.part)
    if options.dry_run:
        return plan(lines_of_rows(e, maps, rows))
    translate_with_maps(e, maps, rows)

"""`relrep stitch`: heads of one space on items of another."""

from __future__ import annotations

from typing import Annotated

import typer

from relrep_cli import store
from relrep_cli.cli import options
from relrep_cli.cli.anchoring import read_recipe
from relrep_cli.embedding import Embedding
from relrep_cli.errors import UsageError
from relrep_cli.heads import HEADS
from relrep_cli.output import progress, say, write
from relrep_cli.projection import Recipe, basis, relative
from relrep_cli.similarities import SIMILARITIES
from relrep_cli.stitching import grid, prepare, refuse_leaks, targets

COLUMNS = (
    "encoder",
    "head",
    "method",
    "anchors",
    "accuracy",
    "f1",
    "end_to_end",
    "stitching_index",
    "deviation",
    "low",
    "high",
    "n",
    "decoder",
)
ALL = ["linear", "mlp"]
EXAMPLES = (
    "relrep stitch a.h5 b.h5 --anchors anchors.h5 --target label",
    "relrep stitch a.h5 b.h5 --anchors anchors.h5 --center --head mlp --seeds 5",
)


@options.command(HEADS, SIMILARITIES)
def stitch(
    files: Annotated[list[str], typer.Argument(metavar="FILE FILE...", help="Two or more absolute files.", show_default=False)],
    anchors: options.Anchors = "",
    target: Annotated[str, typer.Option("--target", "-t", help="Column that heads predict.", metavar="COLUMN")] = "label",
    head: Annotated[list[str], options.names_of(HEADS, "Heads to train, repeated or separated by commas.", "--head")] = ALL,
    similarity: Annotated[str, options.names_of(SIMILARITIES, "The similarity function.", "--similarity", "-s")] = "cosine",
    center: options.Center = False,
    anchor_vectors: options.AnchorVectors = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Train each head so many times, from --seed on.", min=1)] = 1,
    device: options.Device = "auto",
    dry_run: options.DryRun = False,
    format: options.AsFormat = None,
    json: options.AsJson = False,
    seed: options.Seed = 0,
    given: options.Given = options.NOTHING,
) -> None:
    """Train a head on the relative training rows of each file and run it on the test rows of every other.

    stitching_index is the stitched accuracy over the end-to-end accuracy, that of the encoder's own head. The same grid in
    absolute coordinates stands beside it.
    """
    if len(files) < 2:
        raise UsageError("stitch needs two or more files.")
    chosen = given.choose(HEADS, options.split_names(head))
    kind = options.format_of(format, json)
    recipe = read_recipe(anchors, similarity, center, anchor_vectors, given)
    spaces = [store.read(f) for f in files]
    classes = targets(spaces, target)
    refuse_leaks(spaces)
    if dry_run:
        return options.plan(
            [f"train {', '.join(chosen)} on {e.uri} ({e.n} x {e.d}) for {len(classes)} classes" for e in spaces]
        )
    records = []
    for method, views in _methods(spaces, recipe):
        tasks = [prepare(e, target, classes) for e in views]
        for name, params in chosen.items():
            with progress(f"stitching {method}") as advance:
                found = grid(tasks, len(classes), name, params, range(seed, seed + seeds), device, advance)
            number = len(recipe.anchor_ids) if method != "absolute" else None
            records += [r | {"method": method, "anchors": number, "decoder": name} for r in found]
    if any(r["accuracy"] is None for r in records):
        say("absolute spaces of unequal dims cannot be stitched: n/a.")
    write(records, COLUMNS, kind)


def _methods(spaces: list[Embedding], recipe: Recipe) -> list[tuple[str, list[Embedding]]]:
    return [(recipe.label, [relative(e, basis(e, recipe)) for e in spaces]), ("absolute", spaces)]

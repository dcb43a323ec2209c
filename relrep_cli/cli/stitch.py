"""`relrep stitch`: heads of one space on items of another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.aggregators import AGGREGATORS, TrainedAggregator, of_module
from relrep_cli.cli import options
from relrep_cli.cli.anchoring import read_recipe
from relrep_cli.embedding import Embedding
from relrep_cli.errors import DATA, DONE, DataError, UsageError
from relrep_cli.heads import HEADS
from relrep_cli.output import Record, progress, say, write
from relrep_cli.projection import Basis, basis, relative
from relrep_cli.recipes import Recipe, anchors_digest
from relrep_cli.records import Records
from relrep_cli.similarities import SIMILARITIES
from relrep_cli.stitching import Task, grid, prepare, refuse_leaks, targets

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
    target: Annotated[str, typer.Option("--target", "-t", help="Column that heads predict.", metavar="COLUMN")] = "label",
    head: Annotated[list[str], options.names_of(HEADS, "Heads to train, repeated or separated by commas.", "--head")] = ALL,
    save_aggregator: Annotated[
        str,
        typer.Option(
            "--save-aggregator",
            help="Keep the trainable aggregator, as trained with the first file's head.",
            metavar="FILE.safetensors",
            show_default=False,
        ),
    ] = "",
    force: options.Force = False,
    seeds: Annotated[int, typer.Option("--seeds", help="Train each head so many times, from --seed on.", min=1)] = 1,
    device: options.Device = "auto",
    cache: Annotated[
        str | None,
        typer.Option(
            "--cache", help="Keep finished cells in FOLDER, and take them from it.", metavar="FOLDER", show_default=False
        ),
    ] = None,
    dry_run: options.DryRun = False,
    format: options.AsFormat = None,
    json: options.AsJson = False,
    seed: options.Seed = 0,
    how: options.How = options.NO_HOW,
    given: options.Given = options.NOTHING,
) -> int:
    """Train a head on the relative training rows of each file and run it on the test rows of every other.

    stitching_index is the stitched accuracy over the end-to-end accuracy, that of the encoder's own head. The same grid in
    absolute coordinates stands beside it. With more than two files, one that cannot be used gives a record that says so, the
    others go on, and the exit code is 3. With --cache, a run that was cut short goes on where it was.
    """
    if len(files) < 2:
        raise UsageError("stitch needs two or more files.")
    chosen = given.choose(HEADS, options.split_names(head))
    kind = options.format_of(format, json)
    recipe = read_recipe(how, given, trains=True)
    front = _front(recipe)
    if save_aggregator:
        if front is None:
            raise UsageError("--save-aggregator needs one that is trained; name it with --aggregate, such as self-attention.")
        store.refuse(save_aggregator, force, [*files, *how.files()])
    chosen = _heads(chosen, front is not None)
    kept = Records(Path(cache) if cache else None)
    spaces, failed = _usable(files, recipe, target, bool(cache))
    classes = targets([s.e for s in spaces], target)
    refuse_leaks([s.e for s in spaces])
    if dry_run:
        options.plan([f"train {', '.join(chosen)} on {s.e.uri} ({s.e.n} x {s.e.d}) for {len(classes)} classes" for s in spaces])
        return DONE
    records: list[Record] = []
    for method in (recipe.label, "absolute"):
        tasks = [_task(s, method, target, classes) for s in spaces]
        for name, params in chosen.items():
            with progress(f"stitching {method}") as advance:
                first = front if method != "absolute" else None
                found = grid(tasks, len(classes), name, params, range(seed, seed + seeds), device, advance, kept, first)
            number = len(recipe.anchor_ids) if method != "absolute" else None
            records += [r | {"method": method, "anchors": number, "decoder": name} for r in found]
    if any(r["accuracy"] is None for r in records):
        say("absolute spaces of unequal dims cannot be stitched: n/a.")
    if save_aggregator and front is not None:
        store.write_bytes(save_aggregator, front.first(recipe).to_bytes(), force)
        say(f"{save_aggregator}: {recipe.aggregate} of {', '.join(recipe.similarities)}, trained on {spaces[0].e.uri}.")
    write([*records, *failed], COLUMNS, kind)
    if failed:
        say(f"{len(failed)} of {len(files)} files could not be used: see their error.")
    return DATA if failed else DONE


@dataclass(frozen=True, eq=False)
class Front:
    """A trainable aggregator of a recipe, built anew for every head; `built` are the modules, in order."""

    name: str
    count: int
    width: int
    built: list[Any] = field(default_factory=list)

    def __call__(self) -> Any:
        self.built.append(AGGREGATORS[self.name].function(self.count, self.width))
        return self.built[-1]

    def first(self, recipe: Recipe) -> TrainedAggregator:
        """The one trained first, with the way to its subspaces."""
        if not self.built:
            raise UsageError("--save-aggregator: every cell was taken from --cache, so nothing was trained; give another one.")
        ids = anchors_digest(recipe.anchor_ids)
        return of_module(self.name, self.count, self.width, self.built[0], recipe.how(), ids)


def _front(recipe: Recipe) -> Front | None:
    if not recipe.aggregate or recipe.trained is not None or not AGGREGATORS[recipe.aggregate].trainable:
        return None
    return Front(recipe.aggregate, len(recipe.similarities), len(recipe.anchor_ids))


def _heads(chosen: dict[str, dict[str, Any]], joint: bool) -> dict[str, dict[str, Any]]:
    """The heads that can be trained, with an aggregator in front where there is one."""
    kept = {name: params for name, params in chosen.items() if HEADS[name].joint or not joint}
    if not kept:
        fit = ", ".join(name for name, entry in HEADS.items() if entry.joint)
        raise UsageError(f"head {', '.join(chosen)} cannot be trained together with an aggregator; write --head {fit}.")
    if len(kept) < len(chosen):
        say(f"{', '.join(n for n in chosen if n not in kept)} cannot be trained together with an aggregator and is left out.")
    return kept


@dataclass(frozen=True, eq=False)
class _Space:
    e: Embedding
    to: Basis


def _usable(files: list[str], recipe: Recipe, target: str, named: bool) -> tuple[list[_Space], list[Record]]:
    """The files that can be stitched, and a record for each that cannot; with fewer than two left the error is raised."""
    spaces: list[_Space] = []
    failed: list[Record] = []
    for file in files:
        try:
            e = store.digested(store.read(file)) if named else store.read(file)
            seen = replace(recipe, aggregate="concat") if _front(recipe) else recipe  # an aggregator in front takes all parts
            space = _Space(e, basis(e, seen))
            options.notes(e, space.to)
            prepare(e, target, targets([e], target))
            spaces.append(space)
        except DataError as error:
            if len(files) == 2:
                raise
            failed.append(dict.fromkeys(COLUMNS) | {"encoder": file, "error": str(error)})
    if len(spaces) < 2:
        raise DataError(str(failed[0]["error"]))
    return spaces, failed


def _task(space: _Space, method: str, target: str, classes: np.ndarray) -> Task:
    """The space in absolute coordinates, or relative to its anchors."""
    e = space.e
    if method == "absolute":
        return prepare(e, target, classes, e.digest and f"{e.digest}:")
    return prepare(relative(e, space.to), target, classes, e.digest and f"{e.digest}:{method}:{space.to.digest()}:")

"""Run every method with every head on every pair of spaces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.output import Record, progress, say
from relrep_cli.base.task_cache import Records
from relrep_cli.embedding import Embedding
from relrep_cli.heads.heads import HEADS
from relrep_cli.relative.aggregators import AGGREGATORS
from relrep_cli.relative.projection import Basis
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.shared_views import KEPT, Views
from relrep_cli.stitching.adaptation import Adaptation, cells
from relrep_cli.stitching.adaptation import records as adapted_records
from relrep_cli.stitching.grid import Job, Target, Task, grid, prepare
from relrep_cli.stitching.methods import Method, routes
from relrep_cli.stitching.spaces import Spaces, report_unseen

if TYPE_CHECKING:
    from relrep_cli.stitching.output_files import OutputFiles

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


@dataclass(frozen=True, eq=False)
class Run:
    """How to stitch.

    heads: the params of each by name. cache: where finished cells are kept. on_cell: gets (head, route label, e, h, heads by
    seed, predictions by seed) of each cell that was computed. on_basis: gets each space and its basis.
    """

    methods: Sequence[Method]
    heads: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int]
    device: str
    cache: Records
    on_basis: Callable[[Embedding, Basis], None]
    on_cell: Callable[..., None] | None = None
    adaptation: Adaptation | None = None


@dataclass(frozen=True, eq=False)
class GridPlan:
    """Spaces, what to run on them, and the files to write besides the table."""

    spaces: Spaces
    settings: Run
    outputs: OutputFiles
    columns = COLUMNS

    @property
    def failed(self) -> list[Record]:
        """Records of the files that cannot be used."""
        return self.spaces.failed

    def lines(self) -> list[str]:
        """What --dry-run prints, one line for each method."""
        count, heads = len(self.spaces.es), self.settings.heads
        named = [(m, [name for name in heads if HEADS[name].joint or not m.trains]) for m in self.settings.methods]
        return [f"train {', '.join(names)} on {count} spaces by {m.label}" for m, names in named]

    def run(self) -> list[Record]:
        """Every record of the table, after the other files are written."""
        records = records_of(self.spaces, self.settings)
        self.settings.cache.close()
        self.outputs.write(self.spaces, self.settings, records)
        if any(r["stitching_index"] is None and r["method"] == "absolute" for r in records):
            say("absolute spaces of unequal dims cannot be stitched: n/a.")
        return records


def records_of(spaces: Spaces, run: Run) -> list[Record]:
    """Every method with every head on every pair of spaces, in the order of methods, then heads."""
    if spaces.target is None:
        return []
    for e in spaces.es:
        report_unseen(e, spaces.target, e.rows_of_split("test"))
    apart = [[m for m in run.methods if m.keeps_coordinates], *([m] for m in run.methods if not m.keeps_coordinates)]
    groups = [group for group in apart if group]
    found: dict[tuple[str, str], list[Record]] = {}
    views = [Views(e, KEPT // len(spaces.es), run.on_basis) for e in spaces.es]
    with progress("stitching") as advance:
        fitting = [_fitting(run.heads, group[0], spaces.target) for group in groups]
        places, count = iter(range(sum(map(len, fitting)))), sum(map(len, fitting))
        for group, heads in zip(groups, fitting, strict=True):
            tasks = [_task(view, n, group[0], spaces) for n, view in enumerate(views)]
            for name, params in heads.items():
                on_cell = None if run.on_cell is None else partial(run.on_cell, name)
                part = _part(advance, next(places), count)
                job = Job(name, params, run.seeds, run.device, part, run.cache, _front(group[0]), on_cell)
                for r in _grid(tasks, spaces, group, job, run.adaptation):
                    label = r["method"].partition("+adapted-")[0]
                    found.setdefault((label, name), []).append(r | {"decoder": name} | spaces.flags)
    anchors = None if spaces.recipe is None else len(spaces.recipe.anchor_ids)
    numbers = {m.label: anchors if m.anchored else None for m in run.methods}
    ordered = [(m.label, name) for m in run.methods for name in run.heads if (m.label, name) in found]
    return [r | {"anchors": numbers[label]} for label, name in ordered for r in found[label, name]]


def _grid(
    tasks: Sequence[Task], spaces: Spaces, group: Sequence[Method], job: Job, adaptation: Adaptation | None
) -> list[Record]:
    """The records of one group of methods and one head, with those of adapted heads where one is trained to be adapted."""
    assert spaces.target is not None
    recipe = group[0].recipe
    if adaptation is None or recipe is None or not group[0].trains:
        return grid(tasks, spaces.target, routes(group, spaces.anchors), job)
    adapted, add_adapted = cells(tasks, spaces.target, adaptation, list(recipe.similarities), job.runs)

    def on_cell(*cell: Any) -> None:
        add_adapted(*cell)
        if job.on_cell is not None:
            job.on_cell(*cell)

    frozen = grid(tasks, spaces.target, routes(group, spaces.anchors), replace(job, on_cell=on_cell))
    return adapted_records(frozen, adapted, [task.uri for task in tasks])


def _part(advance: Callable[..., None], place: int, parts: int) -> Callable[..., None]:
    """Progress of one head behind one group of methods as a part of all, which are equally many tasks."""
    return lambda done, total, note="": advance(place * total + done, parts * total, note)


def _fitting(heads: Mapping[str, Mapping[str, Any]], m: Method, target: Target) -> dict[str, Mapping[str, Any]]:
    """The heads that can be trained behind the method and for the target. Raises UsageError when there is none."""
    joint = {name: params for name, params in heads.items() if HEADS[name].joint or not m.trains}
    fitting = {name: params for name, params in joint.items() if target.kind in HEADS[name].predicts}
    if not fitting:
        fit = ", ".join(name for name, entry in HEADS.items() if target.kind in entry.predicts)
        raise UsageError(
            f"head {', '.join(joint)} does not predict {target.kind} ({printable(target.column)})", f"Choose --head {fit}."
        )
    return fitting


def without_trained_aggregator(recipe: Recipe) -> Recipe:
    """The recipe without an aggregator that is trained with the head, which takes all parts side by side."""
    return replace(recipe, aggregate="concat") if Method("", recipe).trains else recipe


def _front(m: Method) -> Callable[[], Any] | None:
    if m.recipe is None or not m.trains:
        return None
    return partial(AGGREGATORS[m.recipe.aggregate].function, len(m.recipe.similarities), len(m.recipe.anchor_ids))


def _task(views: Views, place: int, m: Method, spaces: Spaces) -> Task:
    """The space in absolute coordinates, relative to its anchors, or in the common space."""
    assert spaces.target is not None
    e, recipe = views.e, m.recipe
    if m.universe:
        common = spaces.universe(m.universe, m.params)
        return prepare(replace(e, x=common.maps[place].narrow(e.x)), spaces.target, e.digest and f"{e.digest}:{common.space}:")
    if recipe is None:
        anchors = b"" if spaces.recipe is None else np.ascontiguousarray(spaces.anchors(place)).tobytes()
        return prepare(e, spaces.target, e.digest and f"{e.digest}:{hashlib.sha256(anchors).hexdigest()}:")
    view = views.of(without_trained_aggregator(recipe))
    return prepare(view.e, spaces.target, e.digest and f"{e.digest}:{recipe.label}:{view.content}:")

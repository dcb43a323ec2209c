"""Run every method with every head on every pair of spaces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, say
from relrep_cli.base.task_cache import Records
from relrep_cli.embedding import Embedding
from relrep_cli.engine import jobs as engine_jobs
from relrep_cli.engine.jobs import Advance
from relrep_cli.engine.running import outcomes
from relrep_cli.heads.heads import HEADS
from relrep_cli.relative.aggregators import AGGREGATORS
from relrep_cli.relative.projection import Basis
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.shared_views import KEPT, Views
from relrep_cli.stitching import grid_summary
from relrep_cli.stitching.adaptation import Adaptation
from relrep_cli.stitching.adaptation import cells as adapted_cells
from relrep_cli.stitching.grid import Job, Target, Task, column, prepare
from relrep_cli.stitching.grid_results import Column, Frame, Grid, collect
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

    heads: the params of each by name. cache: where finished cells are kept. kept_of: (head, route label, e, h, heads by seed,
    predictions by seed) of a cell that was computed -> what other files need of it, or None. on_basis: gets each space and its
    basis. details: whether records say what is behind their scores.
    """

    methods: Sequence[Method]
    heads: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int]
    device: str
    cache: Records
    on_basis: Callable[[Embedding, Basis], None]
    kept_of: Callable[..., Any] | None = None
    adaptation: Adaptation | None = None
    details: bool = False


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
        return self.finish(records_of(self.spaces, self.settings, self.outputs.collect))

    def finish(self, records: list[Record]) -> list[Record]:
        """Write the other files, say which method is best, and return the records."""
        self.settings.cache.close()
        self.outputs.write(self.spaces, self.settings, records)
        for line in grid_summary.lines(records):
            say(line)
        return records


@dataclass(frozen=True, eq=False)
class Session:
    """The state of a process that trains heads: the spaces, and those of the last group of methods made ready."""

    spaces: Spaces
    run: Run
    views: list[Views]
    ready: dict[int, list[Task]] = field(default_factory=dict)

    @classmethod
    def of(cls, spaces: Spaces, run: Run) -> Session:
        return cls(spaces, run, [Views(e, KEPT // len(spaces.es), run.on_basis) for e in spaces.es])

    def tasks(self, place: int) -> list[Task]:
        """Every space in the coordinates of a group of methods."""
        if place not in self.ready:
            self.ready.clear()  # before the next group needs the memory
            first = groups(self.run.methods)[place][0]
            self.ready[place] = [_task(view, n, first, self.spaces) for n, view in enumerate(self.views)]
        return self.ready[place]


def groups(methods: Sequence[Method]) -> list[list[Method]]:
    """Methods that share their coordinates, and so their heads, in one group."""
    apart = [[m for m in methods if m.keeps_coordinates], *([m] for m in methods if not m.keeps_coordinates)]
    return [group for group in apart if group]


def frame_of(spaces: Spaces, run: Run) -> Frame:
    """The table that the run will fill. Raises UsageError for a method with no head that fits it."""
    assert spaces.target is not None
    count = None if spaces.recipe is None else len(spaces.recipe.anchor_ids)
    grids = [
        Grid(place, name, [(m.label, m.label == "none") for m in group])
        for place, group in enumerate(groups(run.methods))
        for name in _fitting(run.heads, group[0], spaces.target)
    ]
    order = [(m.label, name) for m in run.methods for name in run.heads]
    numbers = {m.label: count if m.anchored else None for m in run.methods}
    return Frame([e.uri for e in spaces.es], spaces.target.kind, spaces.flags, numbers, grids, order)


def tasks_of(frame: Frame) -> list[tuple[int, str, int]]:
    """The tasks of a grid: group of methods, head, and the space that the head is trained on."""
    return [(grid.place, grid.head, h) for grid in frame.grids for h in range(len(frame.uris))]


def job_of(frame: Frame, setup: str = "", shared: Any = None) -> engine_jobs.Job:
    """The job that fills the table: a task for each head of each space. setup, shared: how a process makes its Session."""
    tasks = [engine_jobs.Task((place, name, h), f"{name} head of {frame.uris[h]}") for place, name, h in tasks_of(frame)]
    return engine_jobs.Job("stitching", f"{__name__}:train_column", setup, shared, tasks)


def train_column(session: Session, advance: Advance, place: int, name: str, h: int) -> Column:
    """Train one head of one space, and score it on the test rows of every encoder."""
    run, spaces = session.run, session.spaces
    assert spaces.target is not None
    group, tasks = groups(run.methods)[place], session.tasks(place)
    job = Job(name, run.heads[name], run.seeds, run.device, advance, run.cache, _front(group[0]), details=run.details)
    kept: list[Any] = []
    adapted, adapt = _adapting(group[0], run, tasks, spaces.target, job.runs)

    def on_cell(*cell: Any) -> None:
        if adapt is not None:
            adapt(*cell)
        if run.kept_of is not None and (item_kept := run.kept_of(name, *cell)) is not None:
            kept.append(item_kept)

    cells_by_place = column(tasks, h, routes(group, spaces.anchors), spaces.target, replace(job, on_cell=on_cell))
    cells = [(label, e, cell) for (label, e, _), cell in cells_by_place.items()]
    return Column(cells, [len(task.y_test) for task in tasks], kept, adapted)


def _adapting(
    m: Method, run: Run, tasks: list[Task], target: Target, seeds: Sequence[int]
) -> tuple[dict[tuple[int, int, str], Record], Callable[..., None] | None]:
    """The cells of heads that are trained further, and what fills them; None where none is."""
    if run.adaptation is None or m.recipe is None or not m.trains:
        return {}, None
    return adapted_cells(tasks, target, run.adaptation, list(m.recipe.similarities), seeds)


def report(spaces: Spaces) -> None:
    """Say which test rows do not count."""
    assert spaces.target is not None
    for e in spaces.es:
        report_unseen(e, spaces.target, e.rows_of_split("test"))


def records_of(spaces: Spaces, run: Run, on_kept: Callable[..., None] | None = None) -> list[Record]:
    """Every method with every head on every pair of spaces, in the order of methods, then heads. In this process.

    on_kept: gets what was kept of each cell.
    """
    if spaces.target is None:
        return []
    report(spaces)
    frame = frame_of(spaces, run)
    return collect(frame, outcomes(job_of(frame), state=Session.of(spaces, run)), on_kept)


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

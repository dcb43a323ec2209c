"""What stitch does between its options and its table: read the files, divide them, and run every method."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.correspondences import Pairs
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import Record, progress, say
from relrep_cli.base.task_cache import Records
from relrep_cli.cli import options
from relrep_cli.embedding import RELATIVE, Embedding, refuse_row_numbers
from relrep_cli.heads.heads import HEADS
from relrep_cli.relative.aggregators import AGGREGATORS
from relrep_cli.relative.recipes import Recipe
from relrep_cli.relative.shared_views import KEPT, Views
from relrep_cli.splits import anchors_in_test_rows, assign_splits, refuse_leaks
from relrep_cli.stitching.adaptation import Adaptation, cells
from relrep_cli.stitching.adaptation import records as adapted_records
from relrep_cli.stitching.grid import Job, Target, Task, check, grid, prepare, target_of
from relrep_cli.stitching.methods import Method, routes

TEST_SIZE = 0.2


@dataclass(frozen=True, eq=False)
class Spaces:
    """The files of one run, divided. failed: records of those that cannot be used. flags: what every result is to say."""

    es: list[Embedding]
    recipe: Recipe | None
    target: Target | None
    failed: list[Record]
    flags: Record
    vectors: dict[int, np.ndarray] = field(default_factory=dict)

    def anchors(self, place: int) -> np.ndarray:
        """(m, d) the anchors in one of the spaces."""
        if place not in self.vectors and self.recipe is not None:
            self.vectors[place] = self.recipe.vectors(self.es[place])
        return self.vectors[place]


@dataclass(frozen=True)
class Column:
    """What is predicted. numbers: whether as numbers, though it may hold integers. optional: files without it will do.

    source: where the images are that are to be reconstructed.
    """

    name: str
    numbers: bool = False
    optional: bool = False
    source: str = ""

    def target(self, es: Sequence[Embedding]) -> Target:
        """What heads learn on these spaces. Raises DataError; see target_of."""
        if not self.source:
            return target_of(es, self.name, self.numbers)
        return _images(self.source)


@dataclass(frozen=True)
class Division:
    """How files without a split are divided, None for TEST_SIZE. allowed: whether anchors may be test rows."""

    size: float | None
    seed: int
    allowed: bool


@dataclass(frozen=True, eq=False)
class Run:
    """How to stitch: methods, heads with their params, seeds, and who hears of each cell that was computed."""

    methods: Sequence[Method]
    heads: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int]
    device: str
    kept: Records
    heard: Callable[..., None] | None = None
    adaptation: Adaptation | None = None


def read_spaces(files: Sequence[str], recipe: Recipe | None, column: Column, division: Division, digests: bool) -> Spaces:
    """Read and divide the files. One that cannot be used is a record, and with fewer than two left its error is raised."""
    failed: list[Record] = []

    def usable(made: Callable[..., Any], *arguments: Any) -> Any:
        """What a step gives for a file, None where it failed."""
        try:
            return made(*arguments)
        except DataError as error:
            if len(files) <= 2:
                raise
            uri = arguments[0].uri if isinstance(arguments[0], Embedding) else arguments[0]
            failed.append({"encoder": uri, "error": str(error)})

    es = [e for file in files if (e := usable(_read, file, recipe, digests))]
    ids = _items(recipe, es)
    undivided = [e.uri for e in es if "split" not in e.obs]
    size, seed = division.size or TEST_SIZE, division.seed
    if division.size is not None and not undivided:
        raise UsageError("--test-size draws a split for files without one, and all have one; leave it out.")
    es = assign_splits(es, ids, size, seed)
    predicts = not column.optional or bool(column.source) or any(column.name in e.obs for e in es)
    if predicts:
        es = [e for e in es if usable(_checked, e, column)]
    if len(es) < min(len(files), 2):
        raise DataError(str(failed[0]["error"]))
    if recipe is None or not isinstance(recipe.meaning, Pairs):
        refuse_row_numbers(es)
    for kin in _kin(recipe, es):
        refuse_leaks(kin)
    flags = {**_drawn(undivided, es, size, seed), **guarded(es, recipe, division.allowed)}
    return Spaces(es, recipe, column.target(es) if predicts else None, failed, flags)


def _read(file: str, recipe: Recipe | None, digests: bool) -> Embedding:
    e = store.digested(store.read(file)) if digests else store.read(file)
    if recipe is not None:
        if e.kind == RELATIVE:
            raise DataError(f"{e.uri}: is a relative representation already; give the absolute file it was made from.")
        recipe.vectors(e)
    return e


def _items(recipe: Recipe | None, es: Sequence[Embedding]) -> np.ndarray:
    """The ids of all items that are anchors in one of the spaces."""
    found = [np.zeros(0, "S1")] if recipe is None or not es else [recipe.items(e) for e in es]
    return found[0] if all(np.array_equal(ids, found[0]) for ids in found) else np.unique(np.concatenate(found))


@lru_cache(1)
def _images(uri: str) -> Target:
    """The images of a source as what decoders learn. Raises DataError when it holds something else."""
    from relrep_cli import sources

    items = sources.read(uri, sources.chosen(uri, takes={"images"}), {})
    if items.kind != "images":
        raise DataError(f"{printable(uri)}: holds {items.kind}, not images; name the folder that the encoders were trained on.")
    return Target("images", np.zeros(0, "S1"), items.x, items.ids)


def _checked(e: Embedding, column: Column) -> Any:
    return check(e, column.target([e]))


def _drawn(undivided: Sequence[str], es: Sequence[Embedding], size: float, seed: int) -> Record:
    """What to say of a split that no file had."""
    for e in es:
        if e.uri in undivided:
            rows = e.rows_of_split("test")
            count = 0 if rows is None else len(rows)
            say(f"{e.uri}: has no split; {count} of {e.n} items are drawn by id to judge (--test-size {size}, seed {seed}).")
    return {"split": f"drawn: {size} by seed {seed}"} if undivided else {}


def _kin(recipe: Recipe | None, es: list[Embedding]) -> list[list[Embedding]]:
    """The spaces in groups within which an id means one item: all of them, unless pairs name items by their sides."""
    if recipe is None or not isinstance(recipe.meaning, Pairs) or recipe.meaning.one_name:
        return [es]
    groups: dict[str, list[Embedding]] = {}
    for e in es:
        groups.setdefault(recipe.meaning.side_of(e, recipe.spares), []).append(e)
    return list(groups.values())


def guarded(es: list[Embedding], recipe: Recipe | None, allowed: bool) -> Record:
    """The guard against anchors that judge. Raises DataError, or gives what every result says where they are allowed."""
    kins = [(kin, _items(recipe, kin)) for kin in _kin(recipe, es)]
    found, count = np.concatenate([anchors_in_test_rows(*one) for one in kins]), sum(len(ids) for _, ids in kins)
    if not len(found):
        return {}
    some = printable(bytes(found[0]))
    if not allowed:
        raise DataError(
            f"{len(found)} of {count} anchors are test rows, such as {some}. Choose anchors among training rows (relrep "
            "anchor does), or write --allow-test-anchors, and every result says so."
        )
    say(f"{len(found)} of {count} anchors are test rows, such as {some}: results look better than they are.")
    return {"test_anchors": len(found)}


def records_of(spaces: Spaces, run: Run) -> list[Record]:
    """Every method with every head on every pair of spaces, in the order of methods, then heads."""
    if spaces.target is None:
        return []
    for e in spaces.es:
        say_unseen(e, spaces.target, e.rows_of_split("test"))
    apart = [[m for m in run.methods if m.recipe is None], *([m] for m in run.methods if m.recipe is not None)]
    groups = [group for group in apart if group]
    found: dict[tuple[str, str], list[Record]] = {}
    views = [Views(e, KEPT // len(spaces.es), options.notes) for e in spaces.es]
    with progress("stitching") as advance:
        for place, group in enumerate(groups):
            tasks = [_task(view, n, group[0].recipe, spaces) for n, view in enumerate(views)]
            for name, params in _fitting(run.heads, group[0], spaces.target).items():
                heard = None if run.heard is None else partial(run.heard, name)
                part = _part(advance, place, len(groups))
                job = Job(name, params, run.seeds, run.device, part, run.kept, _front(group[0]), heard)
                for r in _grid(tasks, spaces, group, job, run.adaptation):
                    label = r["method"].partition("+adapted-")[0]
                    found.setdefault((label, name), []).append(r | {"decoder": name} | spaces.flags)
    count = None if spaces.recipe is None else len(spaces.recipe.anchor_ids)
    numbers = {m.label: count if m.anchored else None for m in run.methods}
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
    found, hear = cells(tasks, spaces.target, adaptation, list(recipe.similarities), job.runs)

    def both(*heard: Any) -> None:
        hear(*heard)
        if job.heard is not None:
            job.heard(*heard)

    frozen = grid(tasks, spaces.target, routes(group, spaces.anchors), replace(job, heard=both))
    return adapted_records(frozen, found, [task.uri for task in tasks])


def say_unseen(e: Embedding, target: Target, rows: np.ndarray | None) -> None:
    """Say how many rows judge nothing, because their class is one that no head was trained on."""
    if rows is not None and (count := target.unseen(e, rows)):
        name = printable(target.column)
        say(f"{e.uri}: {count} of {len(rows)} test items have a {name} that no training item has, and do not count.")


def _part(advance: Callable[..., None], place: int, parts: int) -> Callable[..., None]:
    """Progress of one group of methods as a part of all."""
    return lambda done, total, note="": advance(place * 1000 + 1000 * done // total, parts * 1000, note)


def _fitting(heads: Mapping[str, Mapping[str, Any]], m: Method, target: Target) -> dict[str, Mapping[str, Any]]:
    """The heads that can be trained behind the method and for the target; those that cannot are said."""
    joint = {name: params for name, params in heads.items() if HEADS[name].joint or not m.trains}
    fitting = {name: params for name, params in joint.items() if target.kind in HEADS[name].predicts}
    if not fitting:
        fit = ", ".join(name for name, entry in HEADS.items() if target.kind in entry.predicts)
        raise UsageError(f"head {', '.join(joint)} does not predict {target.kind} ({printable(target.column)}); take {fit}.")
    return fitting


def seen(recipe: Recipe) -> Recipe:
    """The recipe without an aggregator that is trained with the head, which takes all parts side by side."""
    return replace(recipe, aggregate="concat") if Method("", recipe).trains else recipe


def _front(m: Method) -> Callable[[], Any] | None:
    if m.recipe is None or not m.trains:
        return None
    return partial(AGGREGATORS[m.recipe.aggregate].function, len(m.recipe.similarities), len(m.recipe.anchor_ids))


def _task(views: Views, place: int, recipe: Recipe | None, spaces: Spaces) -> Task:
    """The space in absolute coordinates, or relative to its anchors."""
    assert spaces.target is not None
    e = views.e
    if recipe is None:
        anchors = b"" if spaces.recipe is None else np.ascontiguousarray(spaces.anchors(place)).tobytes()
        return prepare(e, spaces.target, e.digest and f"{e.digest}:{hashlib.sha256(anchors).hexdigest()}:")
    view = views.of(seen(recipe))
    return prepare(view.e, spaces.target, e.digest and f"{e.digest}:{recipe.label}:{view.content}:")

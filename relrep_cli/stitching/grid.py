"""Zero-shot stitching: heads trained on one space, run on the items of another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.embedding import Embedding, find_ids, id_order
from relrep_cli.heads.heads import HEADS, Trained, train
from relrep_cli.numerics.blocks import take
from relrep_cli.reports.item_details import Details, Judgement, details_of, to_cache
from relrep_cli.stitching.predictions import item_scores, score_predictions

Record = dict[str, Any]
Cells = dict[tuple[str, int, int], Record]  # by label of the route, encoder and head
Map = Callable[[np.ndarray], np.ndarray]
NOWHERE = Records(None)
DETAILS = "details"  # the name in a record of what is behind its scores
UNSCORED: dict[str, Record] = {"classes": {}, "numbers": {"r2": None, "mse": None}, "images": {"mse": None}}
MISSING = dict.fromkeys(("accuracy", "f1", "deviation", "low", "high"))


@dataclass(frozen=True, eq=False)
class Target:
    """What heads predict: the classes of a column in sorted order, none where it holds numbers; or images, by id."""

    column: str
    classes: np.ndarray
    images: np.ndarray | None = None
    ids: np.ndarray | None = None

    @property
    def kind(self) -> str:
        """classes, numbers or images."""
        return "images" if self.images is not None else "classes" if len(self.classes) else "numbers"

    def of(self, e: Embedding, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) class numbers or numbers, or images (n, h, w), of some rows, and (n,) whether they are known."""
        if self.images is not None and self.ids is not None:
            places = find_ids(self.ids, e.ids[rows])
            return self.images[places], places >= 0
        values = e.column(self.column)[rows]
        if not len(self.classes):
            if values.dtype.kind not in "fiub":
                column = f"column {printable(self.column)}"
                raise DataError(
                    "holds text, but a regression needs numbers", "Name a column of numbers.", file=e.uri, place=column
                )
            numbers = np.asarray(values, np.float64)
            return numbers, np.isfinite(numbers)
        class_places = find_ids(self.classes, values.astype("S"))
        return class_places, class_places >= 0

    def unseen(self, e: Embedding, rows: np.ndarray) -> int:
        """How many of the rows have a class, but one that heads do not know. rows: (k,)."""
        if self.kind != "classes" or self.column not in e.obs:
            return 0
        return int(((e.obs[self.column][rows].astype("S") != b"") & ~self.of(e, rows)[1]).sum())

    def named(self, value: Any) -> Any:
        """A class number as the name of the class; a number as itself."""
        return self.classes[value].decode(errors="backslashreplace") if len(self.classes) else value


def target_of(spaces: Sequence[Embedding], column: str, numbers: bool = False) -> Target:
    """What the column asks for: classes, those that the training rows of any space have, or numbers to predict.

    Columns of fractions hold numbers, others only where `numbers` says so. Raises DataError when there are fewer than two
    classes, or numbers that do not vary.
    """
    place = f"column {printable(column)}"
    columns = [e.column(column)[e.training_rows()] for e in spaces]
    if numbers or any(values.dtype.kind == "f" for values in columns):
        words = next((e for e, values in zip(spaces, columns, strict=True) if values.dtype.kind not in "fiub"), None)
        if words is not None:
            raise DataError("holds text, not numbers", "Leave --numbers out.", file=words.uri, place=place)
        if all(np.nanstd(values.astype(np.float64)) == 0 for values in columns if len(values)):
            raise DataError(
                "all training rows have the same number, so there is nothing to predict", "Name another --target.", place=place
            )
        return Target(column, np.zeros(0, "S1"))
    classes = np.unique(np.concatenate([values.astype("S") for values in columns]))
    classes = classes[classes != b""]
    if len(classes) < 2:
        raise DataError(
            f"{len(classes)} class in the training rows; a head needs two",
            "Name another --target, or change the split.",
            place=place,
        )
    return Target(column, classes)


@dataclass(frozen=True, eq=False)
class Task:
    """One space made ready: training and test vectors with what is to be predicted, and their ids.

    content: names it, for records.
    """

    uri: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    train_ids: np.ndarray
    test_ids: np.ndarray
    content: str = ""


def check(e: Embedding, target: Target) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers and targets of the training and of the test rows of e whose target is known, both in the order of their ids.

    Raises DataError when either is empty.
    """
    findings = []
    for split in ("train", "test"):
        rows = e.rows_of_split(split)
        if rows is None or not len(rows):
            raise DataError(
                f"no rows of split {split!r}",
                "Stitching trains on train rows and scores test rows: name both in the column split.",
                file=e.uri,
            )
        order = id_order(e.ids[rows])
        rows = rows if order is None else rows[order]
        values, known = target.of(e, rows)
        if not known.any():
            raise DataError(
                f"no row of split {split!r} has a known {printable(target.column)}",
                "Fill in the column, or change the split.",
                file=e.uri,
            )
        findings.append((rows[known], values[known]))
    return findings


def prepare(e: Embedding, target: Target, content: str = "") -> Task:
    """Training and test rows of e whose target is known. Raises DataError when either is empty."""
    (train_rows, y_train), (test_rows, y_test) = check(e, target)
    if content:  # the digest of a file covers neither its labels nor its splits
        content += hashlib.sha256(b"".join(v.tobytes() for v in (y_train, y_test)) + e.obs["split"].tobytes()).hexdigest()
    x_train, x_test = take(e.x, train_rows), take(e.x, test_rows)
    return Task(e.uri, x_train, y_train, x_test, y_test, e.ids[train_rows], e.ids[test_rows], content)


@dataclass(frozen=True, eq=False)
class Route:
    """How test vectors of encoder e reach the head of space h.

    carry: (e, h) -> the map of rows, None where they go as they are; asked for e != h alone. key: names the map, for
    records. own: the end-to-end cells alone.
    """

    label: str
    carry: Callable[[int, int], Map | None] | None = None
    key: str = ""
    own: bool = False

    def fits(self, tasks: Sequence[Task], e: int, h: int) -> bool:
        if e == h:
            return True
        return not self.own and (self.carry is not None or tasks[e].x_test.shape[1] == tasks[h].x_train.shape[1])


@dataclass(frozen=True, eq=False)
class Job:
    """What a grid is made with. front: builds what is trained in front of each head.

    on_cell: gets (route label, e, h, heads by seed, predictions by seed) of each cell that was computed. details: whether cells
    say what is behind their scores, for a report.
    """

    head: str
    params: Mapping[str, Any]
    seeds: Sequence[int] = (0,)
    device: str = "cpu"
    advance: Callable[[float], None] = lambda part: None
    cache: Records = NOWHERE
    front: Callable[[], Any] | None = None
    on_cell: Callable[[str, int, int, list[Trained], list[np.ndarray]], None] | None = None
    details: bool = False

    @property
    def runs(self) -> list[int]:
        return list(self.seeds[:1] if HEADS[self.head].deterministic else self.seeds)


def grid(tasks: Sequence[Task], target: Target, routes: Sequence[Route], job: Job) -> list[Record]:
    """Every head on every encoder's test rows by every route: scores, end-to-end score and stitching index.

    The end-to-end score is that of the encoder's own head: what training anew would have given. Cells that no route can
    reach, for unequal dims, have no value. deviation: standard deviation of the score over seeds. A head is trained once
    for all its cells, and only if one is missing from the records.
    """
    cells: Cells = {}
    for h in range(len(tasks)):
        cells |= column(tasks, h, routes, target, job)
    counts = [len(task.y_test) for task in tasks]
    return table([task.uri for task in tasks], counts, [(r.label, r.own) for r in routes], cells, target.kind)


def column(tasks: Sequence[Task], h: int, routes: Sequence[Route], target: Target, job: Job) -> Cells:
    """The head of one space, trained with every seed, on the test rows of the encoders that reach it."""
    wanted = [(r, e) for r in routes for e in range(len(tasks)) if r.fits(tasks, e, h)]
    keys = {(r.label, e): _key(tasks, r, e, h, target, job) for r, e in wanted}
    cached = {place: job.cache.get(key) for place, key in keys.items() if key}
    missing = [(r, e) for r, e in wanted if cached.get((r.label, e)) is None]
    trained: list[Trained] = []
    for done, seed in enumerate(job.runs if missing else []):
        job.advance(done / len(job.runs))
        own = tasks[h]
        trained.append(train(job.head, own.x_train, own.y_train, len(target.classes), job.params, seed, job.device, job.front))
    for r, e in missing:
        carry = None if e == h or r.carry is None else r.carry(e, h)
        x = tasks[e].x_test if carry is None else carry(tasks[e].x_test)
        predicted = [one(x) for one in trained]
        cell = score_predictions(tasks[e].y_test, predicted, len(target.classes), job.runs[0])
        if job.details:
            cell[DETAILS] = to_cache(_details(tasks[e], predicted, target))
        cached[r.label, e] = cell
        if keys[r.label, e]:
            job.cache.put(keys[r.label, e], cell)
        if job.on_cell is not None:
            job.on_cell(r.label, e, h, trained, predicted)
    return {(label, e, h): cell for (label, e), cell in cached.items() if cell is not None}


def _details(task: Task, predicted: Sequence[np.ndarray], target: Target) -> Details:
    """What is behind the scores of a cell. Where seeds differ, an item is taken for what the head of the first one says."""
    names = [name.decode(errors="backslashreplace") for name in target.classes.tolist()]
    values = item_scores(task.y_test, predicted, len(names)).mean(0)
    truth, taken_for = (task.y_test, predicted[0]) if names else (None, None)
    return details_of(Judgement(values, task.test_ids, truth, taken_for, names, target.kind != "images"))


def _key(tasks: Sequence[Task], r: Route, e: int, h: int, target: Target, job: Job) -> str:
    if not (tasks[e].content and tasks[h].content):
        return ""
    route = r.key if e != h else ""
    names = [name.decode(errors="backslashreplace") for name in target.classes.tolist()]
    more = [DETAILS] if job.details else []
    return task_key(tasks[h].content, tasks[e].content, job.head, dict(job.params), job.runs, names, route, *more)


def score(cell: Record) -> Any:
    """The score of a cell: its accuracy, the r2 of numbers, or the mean squared error of images."""
    return cell["r2"] if "r2" in cell else cell["mse"] if "mse" in cell else cell["accuracy"]


def index(cell: Record, own: Any) -> float | None:
    """The stitching index: the stitched score over the end-to-end one, of errors the end-to-end one over the stitched."""
    stitched = score(cell)
    if stitched is None or own is None or not own > 0:
        return None
    return float(own / stitched if is_error(cell) else stitched / own)


def is_error(cell: Record) -> bool:
    return "mse" in cell and "r2" not in cell


def table(
    uris: Sequence[str],
    counts: Sequence[int],
    routes: Sequence[tuple[str, bool]],
    cells: Cells,
    kind: str,
    errors: Mapping[int, str] = MappingProxyType({}),
) -> list[Record]:
    """The records of a grid: every route, then every encoder with every head.

    counts: of test rows. routes: label, and whether only end-to-end cells count. kind: of the target. errors: of the heads
    that could not be trained.
    """
    pairs = [(e, h) for e in range(len(uris)) for h in range(len(uris))]
    records = []
    for label, e, h in ((label, e, h) for label, own in routes for e, h in pairs if e == h or not own):
        own = score(cells[label, e, e]) if (label, e, e) in cells else None
        cell = cells.get((label, e, h), MISSING | UNSCORED[kind])
        record = {"encoder": uris[e], "head": uris[h], "method": label, "n": counts[e], "end_to_end": own}
        record |= cell | {"stitching_index": index(cell, own)}
        records.append(record | ({"error": errors[h]} if h in errors else {}))
    return records

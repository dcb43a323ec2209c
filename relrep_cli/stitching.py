"""Zero-shot stitching: heads trained on one space, run on the items of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.errors import DataError, printable
from relrep_cli.heads import HEADS, weighted_f1
from relrep_cli.inference import bootstrap, within

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Task:
    """One space made ready: training and test vectors with their class numbers."""

    uri: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def targets(spaces: Sequence[Embedding], column: str) -> np.ndarray:
    """The classes that the training rows of any space have, sorted. Raises DataError where there is no text column."""
    found = []
    for e in spaces:
        values = e.column(column)
        if values.dtype.kind == "f":
            raise DataError(f"{e.uri}: column {printable(column)} holds numbers with fractions, and heads predict classes.")
        found.append(values.astype("S")[e.training_rows()])
    classes = np.unique(np.concatenate(found))
    classes = classes[classes != b""]
    if len(classes) < 2:
        raise DataError(f"column {printable(column)}: {len(classes)} class in the training rows; a head needs two.")
    return classes


def prepare(e: Embedding, column: str, classes: np.ndarray) -> Task:
    """Training and test rows of e that have a class. Raises DataError when either is empty."""
    parts = []
    for split in ("train", "test"):
        rows = e.rows_of_split(split)
        if rows is None or not len(rows):
            raise DataError(f"{e.uri}: no rows of split {split!r}; stitching trains on train and judges on test rows.")
        numbers = find_ids(classes, e.column(column).astype("S")[rows])
        parts += [e.x[rows[numbers >= 0]], numbers[numbers >= 0]]
    return Task(e.uri, *parts)


def refuse_leaks(spaces: Sequence[Embedding]) -> None:
    """Raise DataError when an item is a training row of one space and a test row of another."""
    for a in spaces:
        for b in spaces:
            train, test = a.rows_of_split("train"), b.rows_of_split("test")
            if train is None or test is None:
                continue
            leaked = np.flatnonzero(find_ids(a.ids[train], b.ids[test]) >= 0)
            if len(leaked):
                item = printable(bytes(b.ids[test][leaked[0]]))
                raise DataError(
                    f"{len(leaked)} items train in {a.uri} and test in {b.uri}, such as {item}; use one split for all."
                )


def grid(
    tasks: Sequence[Task],
    classes: int,
    name: str,
    params: Mapping[str, Any],
    seeds: Sequence[int],
    device: str,
    advance: Callable[..., None],
) -> list[Record]:
    """Every head on every encoder's test rows: accuracy, weighted F1, end-to-end accuracy and stitching index.

    The end-to-end accuracy is that of the encoder's own head: what training anew would have given. Cells of unequal dims
    have no value. deviation: standard deviation of the accuracy over seeds.
    """
    runs = seeds[:1] if HEADS[name].deterministic else seeds
    predicted: dict[tuple[int, int], list[np.ndarray]] = {}
    for h, trained in enumerate(tasks):
        for done, seed in enumerate(runs):
            advance(h * len(runs) + done, len(tasks) * len(runs), f"{name} head of {trained.uri}")
            predict = HEADS[name].function(trained.x_train, trained.y_train, classes, seed=seed, device=device, **params)
            for e, task in enumerate(tasks):
                if task.x_test.shape[1] == trained.x_train.shape[1]:
                    predicted.setdefault((e, h), []).append(predict(task.x_test))
    return [_cell(tasks, e, h, predicted, classes, seeds[0]) for e in range(len(tasks)) for h in range(len(tasks))]


def _cell(
    tasks: Sequence[Task], e: int, h: int, predicted: Mapping[tuple[int, int], list[np.ndarray]], classes: int, seed: int
) -> Record:
    task, outcome = tasks[e], predicted.get((e, h))
    record: Record = {"encoder": task.uri, "head": tasks[h].uri, "n": len(task.y_test)}
    own = float(np.mean([p == task.y_test for p in predicted[e, e]]))
    if outcome is None:
        blank = dict.fromkeys(("accuracy", "f1", "stitching_index", "deviation", "low", "high"))
        return record | blank | {"end_to_end": own}
    hits = np.array([p == task.y_test for p in outcome], np.float64)
    low, high = within(bootstrap(hits.mean(0), np.random.default_rng(seed)), (0, 1))
    return record | {
        "accuracy": float(hits.mean()),
        "f1": float(np.mean([weighted_f1(p, task.y_test, classes) for p in outcome])),
        "end_to_end": own,
        "stitching_index": float(hits.mean()) / own if own else None,
        "deviation": float(hits.mean(1).std(ddof=1)) if len(hits) > 1 else 0.0,
        "low": low,
        "high": high,
    }

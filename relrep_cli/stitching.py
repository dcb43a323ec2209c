"""Zero-shot stitching: heads trained on one space, run on the items of another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.errors import DataError, printable
from relrep_cli.heads import HEADS, weighted_f1
from relrep_cli.inference import bootstrap, within
from relrep_cli.records import Records, task_key

Record = dict[str, Any]
NOWHERE = Records(None)


@dataclass(frozen=True, eq=False)
class Task:
    """One space made ready: training and test vectors with their class numbers. content: names them, for records."""

    uri: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    content: str = ""


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


def prepare(e: Embedding, column: str, classes: np.ndarray, content: str = "") -> Task:
    """Training and test rows of e that have a class. Raises DataError when either is empty."""
    parts = []
    for split in ("train", "test"):
        rows = e.rows_of_split(split)
        if rows is None or not len(rows):
            raise DataError(f"{e.uri}: no rows of split {split!r}; stitching trains on train and judges on test rows.")
        numbers = find_ids(classes, e.column(column).astype("S")[rows])
        parts += [e.x[rows[numbers >= 0]], numbers[numbers >= 0]]
    if content:  # the digest of a file covers neither its labels nor its splits
        content += hashlib.sha256(b"".join(part.tobytes() for part in parts[1::2]) + rows_named(e)).hexdigest()
    return Task(e.uri, parts[0], parts[1], parts[2], parts[3], content)


def rows_named(e: Embedding) -> bytes:
    """The split of every row, as bytes."""
    return e.obs["split"].tobytes()


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
    kept: Records = NOWHERE,
    front: Callable[[], Any] | None = None,
) -> list[Record]:
    """Every head on every encoder's test rows: accuracy, weighted F1, end-to-end accuracy and stitching index.

    The end-to-end accuracy is that of the encoder's own head: what training anew would have given. Cells of unequal dims
    have no value. deviation: standard deviation of the accuracy over seeds. Finished cells are taken from and added to
    `kept`; a head is trained only if one of its cells is missing. front: builds what is trained in front of each head.
    """
    more = {**params, **({"front": front} if front is not None else {})}
    runs = list(seeds[:1] if HEADS[name].deterministic else seeds)
    cells: dict[tuple[int, int], Record] = {}
    for h, trained in enumerate(tasks):
        fitting = [e for e, task in enumerate(tasks) if task.x_test.shape[1] == trained.x_train.shape[1]]
        keys = {e: task_key(trained.content, tasks[e].content, name, dict(params), runs, classes) for e in fitting}
        found = {e: kept.get(key) for e, key in keys.items() if trained.content}
        if len(found) < len(fitting) or None in found.values():
            found = dict(_column(tasks, h, fitting, classes, name, more, runs, device, advance))
            for e, key in keys.items() if trained.content else ():
                kept.put(key, found[e] or {})
        cells |= {(e, h): cell for e, cell in found.items() if cell is not None}
    return [_record(tasks, e, h, cells) for e in range(len(tasks)) for h in range(len(tasks))]


def _column(
    tasks: Sequence[Task],
    h: int,
    fitting: Sequence[int],
    classes: int,
    name: str,
    params: Mapping[str, Any],
    runs: Sequence[int],
    device: str,
    advance: Callable[..., None],
) -> dict[int, Record]:
    """The head of one space, trained with every seed, on the test rows of the encoders it fits."""
    predicted: dict[int, list[np.ndarray]] = {e: [] for e in fitting}
    for done, seed in enumerate(runs):
        advance(h * len(runs) + done, len(tasks) * len(runs), f"{name} head of {tasks[h].uri}")
        trained = HEADS[name].function(tasks[h].x_train, tasks[h].y_train, classes, seed=seed, device=device, **params)
        for e in fitting:
            predicted[e].append(trained(tasks[e].x_test))
    return {e: _cell(tasks[e].y_test, outcome, classes, runs[0]) for e, outcome in predicted.items()}


def _cell(truth: np.ndarray, predicted: Sequence[np.ndarray], classes: int, seed: int) -> Record:
    hits = np.array([p == truth for p in predicted], np.float64)
    low, high = within(bootstrap(hits.mean(0), np.random.default_rng(seed)), (0, 1))
    return {
        "accuracy": float(hits.mean()),
        "f1": float(np.mean([weighted_f1(p, truth, classes) for p in predicted])),
        "deviation": float(hits.mean(1).std(ddof=1)) if len(hits) > 1 else 0.0,
        "low": low,
        "high": high,
    }


def _record(tasks: Sequence[Task], e: int, h: int, cells: Mapping[tuple[int, int], Record]) -> Record:
    own = cells[e, e]["accuracy"]
    record = {"encoder": tasks[e].uri, "head": tasks[h].uri, "n": len(tasks[e].y_test), "end_to_end": own}
    cell = cells.get((e, h), dict.fromkeys(("accuracy", "f1", "deviation", "low", "high")))
    index = cell["accuracy"] / own if own and cell["accuracy"] is not None else None
    return record | cell | {"stitching_index": index}

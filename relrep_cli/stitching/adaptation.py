"""Adaptation: a stitched head with a trained aggregator, trained further on a few labelled rows of the new encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.heads import mlp
from relrep_cli.heads.heads import Trained
from relrep_cli.splits import drawn
from relrep_cli.stitching.grid import Record, Target, Task, index
from relrep_cli.stitching.predictions import score_predictions

PASSES, STEPS = 10, 50  # over the few rows, and of descent at least


@dataclass(frozen=True)
class Adaptation:
    """What is trained further, each in a copy of its own: parts out of mlp.ADAPTED. fraction: of training rows."""

    parts: Sequence[str]
    fraction: float
    seed: int = 0
    device: str = "cpu"

    def rows(self, task: Task) -> np.ndarray:
        """The training rows of the new encoder that are used, drawn by id. Raises DataError when there are none.

        Returns (k,) row numbers.
        """
        rows = np.flatnonzero(drawn(task.train_ids, self.fraction, self.seed, b"adapt"))
        if not len(rows):
            raise DataError(
                f"--adapt-fraction {self.fraction} leaves none of {len(task.train_ids)} training rows",
                "Give a larger share.",
                file=task.uri,
            )
        return rows


def adapted(trained: Trained, task: Task, what: str, how: Adaptation, seed: int) -> Trained:
    """A copy of the head, its part `what` trained further on the few rows of the task."""
    rows = how.rows(task)
    epochs = mlp.passes(len(rows), 0, PASSES, STEPS)
    x, y = task.x_train[rows], task.y_train[rows]
    arrays, front = mlp.adapted(trained.arrays, trained.front, x, y, trained.classes, what, seed, how.device, epochs)
    return replace(trained, arrays=arrays, front=front)


def cells(
    tasks: Sequence[Task], target: Target, how: Adaptation, names: Sequence[str], seeds: Sequence[int]
) -> tuple[dict[tuple[int, int, str], Record], Callable[..., None]]:
    """Cells before ("") and after each adaptation by (encoder, head, part), and the function that fills them cell by cell.

    names: of the subspaces, whose mean attention over the test rows stands in each cell.
    """
    records: dict[tuple[int, int, str], Record] = {}

    def add_cells(label: str, e: int, h: int, trained: list[Trained], predicted: list[np.ndarray]) -> None:
        task = tasks[e]
        records[e, h, ""] = _attention(trained, task.x_test, names)
        for what in how.parts if e != h else ():
            after = [adapted(one, task, what, how, seed) for one, seed in zip(trained, seeds, strict=True)]
            cell = score_predictions(task.y_test, [one(task.x_test) for one in after], len(target.classes), seeds[0])
            records[e, h, what] = cell | {"adapted_rows": len(how.rows(task))} | _attention(after, task.x_test, names)

    return records, add_cells


def _attention(trained: Sequence[Trained], x: np.ndarray, names: Sequence[str]) -> Record:
    """How much attention each subspace gets in the mean over rows and seeds; nothing where the aggregator does not attend."""
    shares = [share for one in trained if (share := mlp.attention(one.front, x)) is not None]
    if not shares:
        return {}
    return {f"attention_{name}": float(share) for name, share in zip(names, np.mean(shares, 0), strict=True)}


def records(frozen: Sequence[Record], adapted: dict[tuple[int, int, str], Record], uris: Sequence[str]) -> list[Record]:
    """The records of a grid with those of its adapted heads behind each."""
    out: list[Record] = []
    for place, r in enumerate(frozen):
        e, h = divmod(place, len(uris))
        out.append(r | adapted.get((e, h, ""), {}))
        for (one, other, what), cell in adapted.items():
            if (one, other) == (e, h) and what:
                more: dict[str, Any] = {"method": f"{r['method']}+adapted-{what}"}
                out.append(r | cell | more | {"stitching_index": index(cell, r["end_to_end"])})
    return out

"""Metrics that read coordinates across spaces: both must share one frame, as relative spaces on the same anchors do."""

from __future__ import annotations

from typing import Annotated

import numpy as np

from relrep_cli.blocks import row_blocks
from relrep_cli.metrics.sampling import mean_of, over_rows
from relrep_cli.metrics.score import By, Ci, Score, metric
from relrep_cli.neighbors import ranks, unit_rows
from relrep_cli.registry import Param

At = Annotated[int, Param("Count ranks up to this one only; 0 counts all.", minimum=0)]


@metric(
    bounds=(-1, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=True,
    needs_same_dims=True,
    reads_coordinates=True,
    invariant={"orthogonal", "permutation", "scale"},
    source="Moschella et al. 2022, sec. 4: mean cosine of paired rows",
)
def cosine(x: np.ndarray, y: np.ndarray) -> Score:
    """Mean cosine of paired rows (the cosine index).

    x, y: (n, d). A zero row has cosine 0 with everything.

    >>> cosine(np.eye(2), np.array([[1.0, 0.0], [1.0, 0.0]])).value
    0.5
    """
    rows, mean_x, mean_y = np.empty(len(x)), np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for block in row_blocks(*x.shape):
        u, v = (unit_rows(np.asarray(side[block], np.float64)) for side in (x, y))
        rows[block] = np.einsum("ij,ij->i", u, v).clip(-1, 1)
        mean_x, mean_y = mean_x + u.sum(0), mean_y + v.sum(0)
    chance = float(mean_x @ mean_y) / len(x) ** 2
    return Score(float(rows.mean()), chance, "mean cosine of paired rows", rows)


@metric(
    bounds=(0, 1),
    identity=1,
    higher_is_closer=True,
    symmetric=False,
    needs_same_dims=True,
    reads_coordinates=True,
    invariant={"orthogonal", "permutation", "scale"},
    source="mean reciprocal rank of the paired row among all rows of y",
)
def mrr(x: np.ndarray, y: np.ndarray, *, at: At = 0, neighbours: By = "cosine", ci: Ci = 0.0, seed: int = 0) -> Score:
    """Mean reciprocal rank of y_i among all rows of y, seen from x_i.

    x, y: (n, d). Equal rows rank by row number. With `at`, ranks beyond it count 0.
    """

    def values(rows: np.ndarray | None) -> np.ndarray:
        found = ranks(x, y, by=neighbours, rows=rows)
        return np.where((at == 0) | (found <= at), 1.0 / found, 0.0)

    reach = min(at, len(x)) if at else len(x)
    chance = float((1.0 / np.arange(1, reach + 1)).sum() / len(x))
    cut = f"ranks up to {at}" if at else "full rank"
    convention = f"{neighbours}, {cut}, row i of y ranked among all rows of y"
    return mean_of(over_rows(values, len(x), ci, seed), chance, convention, ci=ci)

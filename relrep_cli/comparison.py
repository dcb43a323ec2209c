"""Pairs of embeddings, joined by id and measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from relrep_cli import inference
from relrep_cli.embedding import Embedding, match_ids, select
from relrep_cli.errors import DataError
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import NotApplicable, Score


def join(a: Embedding, b: Embedding, require_all: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers in a and in b of the ids they share, in the order of a.

    Raises DataError when they share none, when row numbers would pair files of unequal length, or when rows would be left
    out under `require_all`.
    """
    if a.row_ids and b.row_ids and a.n != b.n:
        raise DataError(
            f"{a.uri} and {b.uri}: neither has ids, and {a.n} rows cannot pair with {b.n}. Give them ids with relrep embed."
        )
    rows = match_ids(a.ids, b.ids)
    shared = len(rows[0])
    if not shared:
        raise DataError(f"{a.uri} and {b.uri}: no common ids; {_example(a)} against {_example(b)}.")
    if require_all and (shared < a.n or shared < b.n):
        raise DataError(f"{a.uri} and {b.uri}: {shared} common ids of {a.n} and {b.n}, and --require-all allows no loss.")
    return rows[0], rows[1]


def _example(e: Embedding) -> str:
    return f"{'row numbers' if e.row_ids else e.ids[0].decode(errors='backslashreplace')!r} in {e.uri}"


def pair(a: Embedding, b: Embedding, rows: tuple[np.ndarray, np.ndarray]) -> tuple[Embedding, Embedding]:
    """a and b cut to the joined rows."""
    return select(a, rows[0]), select(b, rows[1])


def measure(name: str, params: Mapping[str, Any], a: Embedding, b: Embedding) -> Score:
    """The named metric of two embeddings whose rows are parallel. Raises NotApplicable with the reason."""
    entry = METRICS[name]
    if entry.needs_same_dims and a.d != b.d:
        raise NotApplicable(
            f"dims differ ({a.d} and {b.d}); project both onto shared anchors first, or use --metric knn-jaccard"
        )
    if "k" in params and a.n <= params["k"]:
        raise NotApplicable(f"k = {params['k']} needs more than {a.n} items")
    return entry.function(a.x, b.x, **params)


def interval(name: str, score: Score, seed: int) -> tuple[float | None, float | None]:
    """95 % confidence interval of a score, cut at the metric's bounds; (None, None) where there are too few rows."""
    if score.rows is not None and len(score.rows) > 1:
        found = inference.bootstrap(score.rows, np.random.default_rng(seed))
    elif score.jackknife is not None:
        found = inference.jackknife(score.value, score.jackknife)
    else:
        return None, None
    return inference.within(found, METRICS[name].bounds)

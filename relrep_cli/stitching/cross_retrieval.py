"""Retrieval across spaces: queries of one encoder against the index of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from relrep_cli.neighbors import nearest, overlap, ranks, unit_rows
from relrep_cli.numerics.blocks import row_blocks, take
from relrep_cli.numerics.intervals import bootstrap_of_few, within
from relrep_cli.numerics.spool import spool

K = 10


@dataclass(frozen=True)
class Sparse:
    """How relative rows become sparse (Norelli et al. 2023, sec. 2): the `kept` largest similarities of each row, raised to
    `power`; negative ones count 0."""

    kept: int
    power: float

    def of(self, x: np.ndarray) -> np.ndarray:
        """(n, m) rows of (n, m) similarities, of length 1."""
        out = spool(x.shape, np.float32)
        kept = min(self.kept, x.shape[1])
        for block in row_blocks(*x.shape, x, out):
            rows = np.asarray(x[block], np.float64).clip(0)
            least = np.partition(rows, -kept, axis=1)[:, -kept, None]
            out[block] = unit_rows(np.where(rows >= least, rows, 0) ** self.power)
        return out


def retrieve(queries: np.ndarray, own: np.ndarray, base: np.ndarray, seed: int) -> dict[str, Any]:
    """How well queries (q, d) find their items, the rows `own` (q,) of the index base (n, d), by cosine.

    recall_1, recall_10, mrr: of the query's own item among all n. retained: the share of the ten other items nearest to the
    item's own vector, which re-embedding the query would find, that the query finds among its ten nearest others; low and
    high: its 95 % interval. Raises UsageError for an index of fewer than 12 items.
    """
    index = take(base, np.concatenate([own, np.setdiff1d(np.arange(len(base)), own)]))  # query i is to find row i
    places = ranks(queries, index)
    found = nearest(queries, index, K, exclude_self=True)
    wanted = nearest(index, index, K, exclude_self=True, rows=np.arange(len(own)))
    kept = overlap(found.rows, wanted.rows) / K
    low, high = within(bootstrap_of_few(kept, np.random.default_rng(seed)), (0, 1))
    return {
        "recall_1": float((places == 1).mean()),
        "recall_10": float((places <= K).mean()),
        "mrr": float((1 / places).mean()),
        "retained": float(kept.mean()),
        "low": low,
        "high": high,
        "n": len(queries),
        "size": len(base),
    }

"""Which rows of a file are learnt from, and which are judged."""

from __future__ import annotations

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.embedding import Embedding


def rows_of(e: Embedding, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to learn from, and to judge: those of `split`, of test for "", all for "all". Raises DataError for none."""
    everything = np.arange(e.n)
    if "split" not in e.obs and not split:
        return everything, everything
    train = e.rows_of_split("train")
    test = everything if split == "all" else e.rows_of_split(split or "test")
    if test is None or not len(test):
        splits = "no split column" if test is None else ", ".join(printable(s) for s in np.unique(e.obs["split"]).tolist())
        remedy = "Leave --split out, or write --holdout 0.2." if test is None else "Choose another with --split, or all."
        raise DataError(f"no rows of split {printable(split or 'test')!r}; found: {splits}", remedy, file=e.uri)
    return everything if train is None else train, test


def held_out(e: Embedding, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random share of the items to judge, the same ones in all files of the same ids."""
    if "split" in e.obs:
        raise DataError("has splits of its own", "Leave --holdout out.", file=e.uri)
    order = np.argsort(e.ids, kind="stable")[np.random.default_rng(seed).permutation(e.n)]
    count = int(np.clip(round(share * e.n), 1, max(e.n - 1, 1)))
    return np.sort(order[count:]), np.sort(order[:count])

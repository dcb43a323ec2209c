"""Which items train and which judge: splits drawn by id, the same in every file, and the guard against leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.embedding import Embedding, find_ids


def drawn(ids: np.ndarray, size: float, seed: int, purpose: bytes = b"") -> np.ndarray:
    """(n,) whether each id falls into the test part: about the share `size` of all ids, whatever else there is.

    An id's part depends on itself and the seed alone, so that files with the same items, in any order, are divided alike.
    Draws for another purpose (16 bytes at most) are independent.

    >>> drawn(np.array([b"a", b"b", b"c"]), 0.5, 0).tolist() == drawn(np.array([b"c", b"b", b"a"]), 0.5, 0)[::-1].tolist()
    True
    """
    salt = str(seed).encode()
    lots = [int.from_bytes(hashlib.blake2b(i, digest_size=8, salt=salt, person=purpose).digest(), "big") for i in ids.tolist()]
    return np.array(lots, np.uint64) < np.uint64(min(size, 1.0) * (2**64 - 2**11))


def divided(spaces: Sequence[Embedding], anchors: np.ndarray, size: float, seed: int) -> list[Embedding]:
    """The spaces, where one has no split with a drawn one: what another file says of an item counts, and anchors train."""
    known = [e for e in spaces if "split" in e.obs]
    return [e if "split" in e.obs else _with_split(e, known, anchors, size, seed) for e in spaces]


def judges(e: Embedding, anchors: np.ndarray, size: float, seed: int) -> np.ndarray:
    """(n,) whether each row of e, which has no split, is drawn to judge; anchors never are."""
    return drawn(e.ids, size, seed) & (find_ids(anchors, e.ids) < 0)


def _with_split(e: Embedding, known: Sequence[Embedding], anchors: np.ndarray, size: float, seed: int) -> Embedding:
    split = np.where(judges(e, anchors, size, seed), b"test", b"train").astype("S16")
    for other in known:
        rows = find_ids(other.ids, e.ids)
        split[rows >= 0] = other.obs["split"][rows[rows >= 0]]
    return replace(e, obs={**e.obs, "split": split})


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


def judging(spaces: Sequence[Embedding], anchors: np.ndarray) -> np.ndarray:
    """The anchors, by id, that are test rows of any of the spaces."""
    found = np.zeros(len(anchors), bool)
    for e in spaces:
        test = e.rows_of_split("test")
        if test is not None and len(test):
            found |= find_ids(e.ids[test], anchors) >= 0
    return anchors[found]

"""Draw train/test splits by item id, and refuse splits in which a test item is also a training item."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.embedding import Embedding, find_ids


def drawn(ids: np.ndarray, size: float, seed: int, purpose: bytes = b"") -> np.ndarray:
    """Draw a random subset of ids, by a hash of each id.

    ids: (n,) "S" array. size: the probability of each id to be drawn. purpose: at most 16 bytes; draws for different purposes
    are independent.

    Whether an id is drawn depends only on the id, the seed and the purpose. So files with the same items get the same split,
    in any order of rows.

    Returns a boolean mask (n,).

    >>> drawn(np.array([b"a", b"b", b"c"]), 0.5, 0).tolist() == drawn(np.array([b"c", b"b", b"a"]), 0.5, 0)[::-1].tolist()
    True
    """
    salt = str(seed).encode()
    lots = [int.from_bytes(hashlib.blake2b(i, digest_size=8, salt=salt, person=purpose).digest(), "big") for i in ids.tolist()]
    return np.array(lots, np.uint64) < np.uint64(min(size, 1.0) * (2**64 - 2**11))


def assign_splits(spaces: Sequence[Embedding], anchors: np.ndarray, size: float, seed: int) -> list[Embedding]:
    """Give every space a split.

    A file without one copies the split of items that another file has, and draws the rest by id. A drawn test row is never an
    anchor; a copied one can be, which the caller refuses (see anchors_in_test_rows).

    anchors: ids of the anchors. size: the share of test rows.
    """
    with_split = [space for space in spaces if "split" in space.obs]
    return [space if "split" in space.obs else _with_split(space, with_split, anchors, size, seed) for space in spaces]


def drawn_test_rows(embedding: Embedding, anchors: np.ndarray, size: float, seed: int) -> np.ndarray:
    """Boolean mask (n,) of the rows drawn as test rows. Anchors are never test rows."""
    return drawn(embedding.ids, size, seed) & (find_ids(anchors, embedding.ids) < 0)


def _with_split(
    embedding: Embedding, with_split: Sequence[Embedding], anchors: np.ndarray, size: float, seed: int
) -> Embedding:
    split = np.where(drawn_test_rows(embedding, anchors, size, seed), b"test", b"train").astype("S16")
    for other in with_split:
        rows = find_ids(other.ids, embedding.ids)
        split[rows >= 0] = other.obs["split"][rows[rows >= 0]]
    return replace(embedding, obs={**embedding.obs, "split": split})


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
                    f"{len(leaked)} items are training rows of {a.uri} and test rows of {b.uri}, such as {item}",
                    "Use one split for all.",
                )


def anchors_in_test_rows(spaces: Sequence[Embedding], anchors: np.ndarray) -> np.ndarray:
    """Return the ids of the anchors that are test rows of any space."""
    is_test = np.zeros(len(anchors), bool)
    for space in spaces:
        test = space.rows_of_split("test")
        if test is not None and len(test):
            is_test |= find_ids(space.ids[test], anchors) >= 0
    return anchors[is_test]

"""Which items of one or more files may become anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.candidates import Candidates
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say
from relrep_cli.embedding import Embedding, id_order, match_ids
from relrep_cli.store.positions import check_positions


def candidates(spaces: Sequence[Embedding], split: str | None, joint: bool, listed: np.ndarray | None = None) -> Candidates:
    """The items that all files share and that are of the split in each, in the order of their ids.

    listed: (k,) ids to choose from, or None.

    joint: compare candidates by the vectors of all files, else of the first. Raises DataError when there are none.
    """
    rows = [in_order(e, of_split(e, split)) for e in spaces]
    check_positions(spaces)
    places = match_ids(*(e.ids[r] for e, r in zip(spaces, rows, strict=True)))
    shared = tuple(r[p] for r, p in zip(rows, places, strict=True))
    names = ", ".join(e.uri for e in spaces)
    if not len(shared[0]):
        raise DataError(
            f"share no ids among their {split or 'training'} items",
            "Give files of the same items, or choose from other rows with --split.",
            file=names,
        )
    if len(shared[0]) < max(map(len, rows)):
        say(f"{names}: choosing from the {len(shared[0])} items that all of them share.")
    seen = len(spaces) if joint else 1
    return Candidates(tuple(spaces[:seen]), shared[:seen], listed)


@dataclass(frozen=True)
class ItemFiles:
    """Files of candidates, and which of their items are candidates, for another process."""

    files: tuple[str, ...]
    reading: store.Reading
    split: str | None
    joint: bool


def candidates_of(named: ItemFiles) -> Candidates:
    """The candidates that these files hold."""
    return candidates([store.read(file, named.reading) for file in named.files], named.split, named.joint)


def in_order(e: Embedding, rows: np.ndarray) -> np.ndarray:
    """Row numbers of e in the order of their ids.

    rows: (k,). Returns (k,).
    """
    order = id_order(e.ids[rows])
    return rows if order is None else rows[order]


def of_split(e: Embedding, split: str | None) -> np.ndarray:
    """Row numbers of the split, by default of the training rows; with a note, of all rows where the file has no splits.

    Returns (k,) row numbers. Raises DataError when no row is of the split.
    """
    if split == "all":
        return np.arange(e.n)
    rows = e.rows_of_split(split or "train")
    if rows is None and split is None:
        say(f"{e.uri}: has no split; choosing from all {e.n} items.")
        return np.arange(e.n)
    if rows is None or not len(rows):
        splits = "no split column" if rows is None else ", ".join(printable(s) for s in np.unique(e.obs["split"]).tolist())
        raise DataError(
            f"no items of split {split or 'train'!r}; found: {splits}", "Choose another with --split, or all.", file=e.uri
        )
    return rows


def collections(spaces: Sequence[Embedding], source: Sequence[str], trust_digest: bool = False) -> list[Embedding]:
    """The files of another collection in the order of the spaces, one of each. Raises DataError when one is not there."""
    if len(source) != len(spaces):
        raise UsageError(
            f"out-of-domain takes one file for each FILE, and {len(source)} are given for {len(spaces)}",
            "Name one file of the other collection for each space.",
            place="--source",
        )
    reading = store.Reading(trust_digest=trust_digest)
    others = [store.digested(store.read(uri, reading)) for uri in source]
    rows = []
    for e in spaces:
        same = [o for o in others if o.space == e.space and o.d == e.d]
        if len(same) != 1:
            known = ", ".join(f"{o.uri} ({printable(o.space)})" for o in others)
            raise DataError(
                f"{len(same)} of the collections are of its space ({printable(e.space)}); given: {known}",
                "Embed the other collection with the same encoder: relrep embed --encoder FILE, or --space NAME on import.",
                file=e.uri,
            )
        rows += same
    return rows

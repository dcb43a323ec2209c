"""Look up the vectors of anchors in an embedding, or in other files of the same space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.embedding import Embedding, find_ids
from relrep_cli.numerics.blocks import pick
from relrep_cli.store.normalizing import difference


def anchor_vectors(e: Embedding, ids: np.ndarray, anchor_sources: Sequence[Embedding] = ()) -> np.ndarray:
    """Return the vectors (m, d) of the anchors `ids` in the space of `e`.

    They come from the rows of `e`, else from a spare of the same space. Coordinates of another space are never used.

    Raises DataError when an anchor is in none of these files.
    """
    out = np.empty((len(ids), e.d), np.result_type(*(s.x.dtype.newbyteorder("=") for s in (e, *anchor_sources))))
    missing = np.ones(len(ids), bool)
    for source in (e, *(s for s in anchor_sources if s.space and s.space == e.space and s.d == e.d)):
        rows = find_ids(source.ids, ids)
        held = missing & (rows >= 0)
        out[held] = pick(source.x, rows[held])
        missing &= ~held
    if missing.any():
        raise _missing(e, ids[missing], len(ids), anchor_sources)
    return out


def _named(e: Embedding) -> str:
    return printable(e.space) or "an unnamed one"


def _missing(e: Embedding, ids: np.ndarray, count: int, anchor_sources: Sequence[Embedding]) -> DataError:
    """The error for anchors without a vector. ids: of these, of so many."""
    some = ", ".join(printable(i) for i in ids[:3].tolist()) + (", …" if len(ids) > 3 else "")
    finding = f"{len(ids)} anchors are not among its {e.n} items: {some}"
    for spare in anchor_sources:
        if spare.space != e.space and (find_ids(spare.ids, ids) >= 0).any():
            finding += f". {spare.uri} has some in another space ({_named(spare)}, not {_named(e)})"
    remedy = "Name a file of the same space that holds them with --anchor-vectors FILE; relrep embed --space NAME names spaces."
    if change := difference(ids, e.ids):  # the items are here under another spelling, so that no other file is needed
        name, what, joined = change
        finding = f"{len(ids)} anchors are not among its {e.n} items: {some}; {joined} of them differ only by {what}"
        remedy = f"Write --normalize-ids {name} to find them."
    elif len(ids) < count:
        remedy += " To choose among the items of several files, name them all: relrep anchor A B."
    return DataError(finding, remedy, file=e.uri)

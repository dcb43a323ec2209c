"""How good anchors are for files: one record for each thing measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.correspondences import Pairs
from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.anchors.pair_search import score, truth_of
from relrep_cli.anchors.quality import Space, agreement, report
from relrep_cli.anchors.shared_items import of_split
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.output import Record
from relrep_cli.embedding import Embedding, find_ids, in_id_order, match_ids
from relrep_cli.relative.recipes import Recipe
from relrep_cli.store.positions import check_positions
from relrep_cli.store.reading import PLAIN, Reading

COLUMNS = ("file", "name", "value", "advice")


def report_anchors(
    anchors: str, files: list[str], truth: str, split: str | None, seed: int, reading: Reading = PLAIN
) -> list[Record]:
    """Records with COLUMNS on the anchors of a file: for each of the files, and between the first and each other one.

    truth: pairs file that scores pairs, "" for none. Raises UsageError or DataError.
    """
    ids, spare, meaning = read_anchors(anchors, reading)
    spaces = [in_id_order(store.read(file, reading)) for file in files]
    recipe = Recipe(ids, anchor_sources=(spare,) if spare else (), meaning=meaning)
    rows = [of_split(e, split) for e in spaces]
    measured = [_space(e, r, recipe) for e, r in zip(spaces, rows, strict=True)]
    records = list(report(measured, seed))
    if len(spaces) > 1:
        check_positions(spaces)
        shared = match_ids(*(e.ids[r] for e, r in zip(spaces, rows, strict=True)))
        records += agreement(measured, [r[p] for r, p in zip(rows, shared, strict=True)], seed)
    if truth:
        records.append(_right(meaning, truth, spaces))
    return records


def _space(e: Embedding, rows: np.ndarray, recipe: Recipe) -> Space:
    space = Space(e.uri, e.x, rows, recipe.vectors(e))
    if "label" not in e.obs:
        return space
    labels = e.obs["label"].astype("S")
    items = recipe.items(e) if isinstance(recipe.meaning, Pairs | None) else np.empty(0, "S1")
    at = find_ids(e.ids, items)
    return replace(space, labels=labels[rows], own=np.where(at >= 0, labels[at], b""))


def _right(meaning: object, truth: str, spaces: list[Embedding]) -> Record:
    if not isinstance(meaning, Pairs) or len(spaces) != 2:
        raise UsageError(
            "--truth scores a pairs file between two files",
            "Give a pairs file to --report and two FILEs, or leave out --truth.",
        )
    true = truth_of(truth, spaces)
    sides = {meaning.side_of(e): e for e in spaces}
    if len(sides) < 2:
        raise DataError("both files are on the same side of it", "Name one of each.", file=meaning.uri)
    ordered = [true.a, true.b] if meaning.side_of(spaces[0]) == "a" else [true.b, true.a]
    agreeing, right = (
        np.stack([find_ids(sides["a"].ids, a), find_ids(sides["b"].ids, b)], 1) for a, b in ((meaning.a, meaning.b), ordered)
    )
    return {"file": meaning.uri, "name": "pairs right", "value": score(agreeing, right), "advice": ""}

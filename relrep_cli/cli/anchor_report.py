"""`relrep anchor --report`: how good anchors are for files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.correspondences import Pairs
from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.anchors.quality import Space, agreement, report
from relrep_cli.base.errors import DONE, DataError, UsageError
from relrep_cli.base.output import Record, write
from relrep_cli.cli.anchor_candidates import of_split
from relrep_cli.cli.anchor_pairs import score, truth_of
from relrep_cli.embedding import Embedding, find_ids, in_id_order, match_ids, refuse_row_numbers
from relrep_cli.relative.recipes import Recipe

COLUMNS = ("file", "name", "value", "advice")


def judge(anchors: str, files: list[str], truth: str, split: str | None, seed: int, kind: str | None, writes: bool) -> int:
    """Print one record for each thing measured of the anchors, for each file and between the first and each other one."""
    if writes:
        raise UsageError("--report chooses no anchors, so it writes none", "Leave out -o and --ids-only.")
    ids, spare, meaning = read_anchors(anchors)
    spaces = [in_id_order(store.read(file)) for file in files]
    recipe = Recipe(ids, spares=(spare,) if spare else (), meaning=meaning)
    rows = [of_split(e, split) for e in spaces]
    seen = [_space(e, r, recipe) for e, r in zip(spaces, rows, strict=True)]
    records = list(report(seen, seed))
    if len(spaces) > 1:
        refuse_row_numbers(spaces)
        shared = match_ids(*(e.ids[r] for e, r in zip(spaces, rows, strict=True)))
        records += agreement(seen, [r[p] for r, p in zip(rows, shared, strict=True)], seed)
    if truth:
        records.append(_right(meaning, truth, spaces))
    write(records, COLUMNS, kind)
    return DONE


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
        raise DataError("both files are on one side of it", "Name one of each.", file=meaning.uri)
    ordered = [true.a, true.b] if meaning.side_of(spaces[0]) == "a" else [true.b, true.a]
    found, right = (
        np.stack([find_ids(sides["a"].ids, a), find_ids(sides["b"].ids, b)], 1) for a, b in ((meaning.a, meaning.b), ordered)
    )
    return {"file": meaning.uri, "name": "pairs right", "value": score(found, right), "advice": ""}

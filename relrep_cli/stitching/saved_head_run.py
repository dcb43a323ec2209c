"""A saved head on files it never saw: `relrep stitch --head head.safetensors NEW.h5`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import PLAIN_STYLE, Record, Style, say
from relrep_cli.embedding import RELATIVE, Embedding, bare_name
from relrep_cli.numerics.blocks import take
from relrep_cli.relative.projection import Basis, basis, relative
from relrep_cli.relative.recipes import Recipe, anchors_digest
from relrep_cli.splits import drawn_test_rows
from relrep_cli.stitching.grid import MISSING, Target, index
from relrep_cli.stitching.grid_run import COLUMNS
from relrep_cli.stitching.output_files import PREDICTIONS
from relrep_cli.stitching.predictions import score_predictions
from relrep_cli.stitching.saved_heads import SavedHead
from relrep_cli.stitching.spaces import refuse_test_anchors, report_unseen
from relrep_cli.stitching.universe import UNIVERSES
from relrep_cli.store.reading import PLAIN, Reading


@dataclass(frozen=True, eq=False)
class SavedHeadPlan:
    """A saved head and the files to run it on.

    head_file: where the head is saved. recipe: has its anchors; None where it needs none. predictions: file to write them to,
    "" for none. on_basis: gets each space and its basis.
    """

    files: Sequence[str]
    head_file: str
    saved: SavedHead
    recipe: Recipe | None
    on_basis: Callable[[Embedding, Basis], None]
    predictions: str = ""
    force: bool = False
    allow_test_anchors: bool = False
    seed: int = 0
    reading: Reading = PLAIN
    style: Style = PLAIN_STYLE
    columns = COLUMNS
    failed: Sequence[Record] = ()

    def check(self, inputs: Sequence[str]) -> None:
        """Raise UsageError or DataError, before any work, for other anchors or an output that cannot be written."""
        self.saved.require_same_anchors(None if self.recipe is None else self.recipe.anchor_ids, self.head_file)
        if self.predictions:
            store.agree(self.predictions, self.style)
            store.refuse(self.predictions, True, [*self.files, *inputs, self.head_file])

    def lines(self) -> list[str]:
        """What --dry-run prints, one line for each file."""
        return [f"run the {self.saved.trained.name} head of {self.head_file} on {file}" for file in self.files]

    def run(self) -> list[Record]:
        """A record for each file: the scores of the head on its test rows; see _rows_to_predict where there is no split.

        Rows without a known target are predicted too, and not scored. Writes the predictions. Raises DataError where a file
        is not what the head needs.
        """
        saved, recipe = self.saved, self.recipe
        target = Target(saved.target, np.array([c.encode() for c in saved.classes]) if saved.classes else np.zeros(0, "S1"))
        records, lines = [], []
        for file in self.files:
            e = store.read(file, self.reading)
            e = e if e.space else store.digested(e)
            rows = _rows_to_predict(e, saved, recipe)
            predicted = saved.trained(_vectors(self, e, rows))
            records.append(_record(self, e, target, rows, predicted))
            lines += list(_predictions(e, target, rows, predicted, saved)) if self.predictions else []
        if self.predictions:
            content = store.encoded(self.predictions, lines, PREDICTIONS, self.style)
            store.write_bytes(self.predictions, content, self.force, f"{len(lines)} predictions.")
        return records


def _rows_to_predict(e: Embedding, saved: SavedHead, recipe: Recipe | None) -> np.ndarray:
    """The rows that the head predicts: the test rows, drawn as in its training where there is no split, or else all.

    Raises DataError where there are none, or where the head's own file has no split and what it was trained on is not known.
    """
    known = saved.target in e.obs
    rows = e.rows_of_split("test")
    rows = _drawn_again(e, saved, recipe) if rows is None and known and saved.drawn else rows
    if rows is not None and not len(rows):
        raise DataError(
            "no rows of split 'test'; the head would predict nothing", "Mark its test rows in the column split.", file=e.uri
        )
    if rows is None and known and _same_space(e, saved) and bare_name(e.uri) == saved.trained_on:
        raise DataError(
            "has no split, and the head was trained on rows of it without recording which",
            "Give the file a column split.",
            file=e.uri,
        )
    if rows is None and known:
        say(f"{e.uri}: has no split; all {e.n} items count, including any that the head was trained on.")
    return np.arange(e.n) if rows is None else rows


def _drawn_again(e: Embedding, saved: SavedHead, recipe: Recipe | None) -> np.ndarray:
    """The test rows that stitch drew when it trained the head."""
    size, seed, anchors = (saved.drawn[name] for name in ("size", "seed", "anchors"))
    if anchors and (recipe is None or anchors_digest(recipe.anchor_ids) != anchors):
        raise UsageError(
            "has no split, and drawing it again needs the anchors",
            "Give the --anchors that the head was trained with.",
            file=e.uri,
        )
    rows = np.flatnonzero(drawn_test_rows(e, np.zeros(0, "S1") if recipe is None else recipe.items(e), size, seed))
    say(f"{e.uri}: has no split; {len(rows)} of {e.n} items are drawn as test rows, as in training (size {size}, seed {seed}).")
    return rows


def _same_space(e: Embedding, saved: SavedHead) -> bool:
    """Whether e is of the space that the head was trained on; always true where it takes relative or common coordinates."""
    return saved.recipe is not None or saved.translator in UNIVERSES or e.space == saved.space


def _vectors(plan: SavedHeadPlan, e: Embedding, rows: np.ndarray) -> np.ndarray:
    """(len(rows), d') the rows of e as the head takes them."""
    saved, recipe = plan.saved, plan.recipe
    if e.kind == RELATIVE and (saved.recipe is not None or saved.translator):
        raise DataError("is a relative representation already", "Give the absolute file that it was made from.", file=e.uri)
    if saved.recipe is not None and recipe is not None:
        to = basis(e, saved.path(recipe))
        plan.on_basis(e, to)
        return take(relative(e, to).x, rows)
    x = take(e.x, rows)
    if recipe is not None and (saved.translator in UNIVERSES or (saved.translator and not _same_space(e, saved))):
        return saved.translate(recipe.vectors(e))(x)
    if e.d != saved.dims:
        raise DataError(
            f"has {e.d} dims, and the head takes {saved.dims}", "Save a head by a method that uses anchors.", file=e.uri
        )
    if not _same_space(e, saved):
        here, there = printable(e.space), printable(saved.space)
        say(f"{e.uri}: is of space {here}, the head of {there}; {saved.method} runs it on the vectors as they are.")
    return x


def _record(plan: SavedHeadPlan, e: Embedding, target: Target, rows: np.ndarray, predicted: np.ndarray) -> Record:
    """Scores where the truth is known. end_to_end: of the head on the space it was trained on."""
    saved, recipe = plan.saved, plan.recipe
    record: Record = {"encoder": e.uri, "head": saved.trained_on, "method": saved.method, "decoder": saved.trained.name}
    record |= {"end_to_end": saved.end_to_end, "anchors": None}
    if recipe is not None and saved.anchors:
        record |= {"anchors": len(recipe.anchor_ids), **refuse_test_anchors([e], recipe, plan.allow_test_anchors)}
    truth, known = target.of(e, rows) if target.column in e.obs else (predicted, np.zeros(len(rows), bool))
    report_unseen(e, target, rows)
    if not known.any():
        say(f"{e.uri}: no row has a known {target.column}, so the head is not judged.")
        return record | MISSING | {"n": 0, "stitching_index": None}
    cell = score_predictions(truth[known], [predicted[known]], len(saved.classes), plan.seed)
    return record | cell | {"n": int(known.sum()), "stitching_index": index(cell, saved.end_to_end)}


def _predictions(
    e: Embedding, target: Target, rows: np.ndarray, predicted: np.ndarray, saved: SavedHead
) -> Iterator[dict[str, Any]]:
    truth, known = target.of(e, rows) if target.column in e.obs else (predicted, np.zeros(len(rows), bool))
    about = {"encoder": e.uri, "head": saved.trained_on, "method": saved.method, "decoder": saved.trained.name}
    for i, value, true, sure in zip(e.ids[rows].tolist(), predicted.tolist(), truth.tolist(), known.tolist(), strict=True):
        yield {
            "id": i.decode(errors="backslashreplace"),
            "prediction": target.named(value),
            "truth": target.named(true) if sure else None,
            **about,
        }

"""A saved head on files it never saw: `relrep stitch --head head.safetensors NEW.h5`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import Record, say
from relrep_cli.cli import options
from relrep_cli.cli.recipe_options import read_recipe
from relrep_cli.cli.stitch_outputs import PREDICTIONS
from relrep_cli.cli.stitch_run import guarded, say_unseen
from relrep_cli.embedding import RELATIVE, Embedding, bare_name
from relrep_cli.numerics.blocks import take
from relrep_cli.relative.projection import basis, relative
from relrep_cli.relative.recipes import Recipe, anchors_digest
from relrep_cli.splits import drawn_test_rows
from relrep_cli.stitching.grid import MISSING, Target, index, judged
from relrep_cli.stitching.saved_heads import SavedHead, load


@dataclass(frozen=True)
class Rerun:
    """What the options ask of a saved head. predictions: file to write them to."""

    file: str
    predictions: str = ""
    force: bool = False
    allowed: bool = False
    seed: int = 0
    dry_run: bool = False


def rerun(files: Sequence[str], run: Rerun, how: options.How, given: options.Given) -> list[Record]:
    """A record for each file: the scores of the head on its test rows; see _judging where there is no split.

    Rows without a known target are predicted too, and not judged. Raises DataError where the file or the anchors are not
    what the head needs.
    """
    saved = load(run.file)
    told = [o for o in how.given() if o not in ("--anchors", "--statistics", "--anchor-vectors")]
    if told:
        raise UsageError(f"{told[0]} does not go with a saved head, which brings its own.")
    recipe = read_recipe(how, given) if how.anchors else None
    try:
        saved.judge(None if recipe is None else recipe.anchor_ids)
    except DataError as error:
        raise DataError(f"{run.file}: {error}") from None
    if run.predictions:
        store.refuse(run.predictions, True, [*files, *how.files(), run.file])
    if run.dry_run:
        options.plan([f"run the {saved.trained.name} head of {run.file} on {file}" for file in files])
        return []
    target = Target(saved.target, np.array([c.encode() for c in saved.classes]) if saved.classes else np.zeros(0, "S1"))
    records, lines = [], []
    for file in files:
        e = store.read(file)
        e = e if e.space else store.digested(e)
        rows = _judging(e, saved, recipe)
        predicted = saved.trained(_vectors(saved, e, recipe, rows))
        records.append(_record(saved, e, target, rows, predicted, run, recipe))
        lines += list(_lines(e, target, rows, predicted, saved, run)) if run.predictions else []
    if run.predictions:
        content = store.encoded(run.predictions, lines, PREDICTIONS)
        store.write_bytes(run.predictions, content, run.force, f"{len(lines)} predictions.")
    return records


def _judging(e: Embedding, saved: SavedHead, recipe: Recipe | None) -> np.ndarray:
    """The rows that the head predicts: the test rows, drawn as in its training where there is no split, or else all.

    Raises DataError where there are none, or where the head's own file has no split and what it was trained on is not known.
    """
    known = saved.target in e.obs
    rows = e.rows_of_split("test")
    rows = _drawn_again(e, saved, recipe) if rows is None and known and saved.drawn else rows
    if rows is not None and not len(rows):
        raise DataError(f"{e.uri}: no rows of split 'test'; the head would predict nothing.")
    if rows is None and known and _own(e, saved) and bare_name(e.uri) == saved.trained_on:
        raise DataError(
            f"{e.uri}: has no split, and the head, trained on it, does not say on which rows. Give the file a column split."
        )
    if rows is None and known:
        say(f"{e.uri}: has no split; all {e.n} items judge, also those that the head was trained on, if there are any.")
    return np.arange(e.n) if rows is None else rows


def _drawn_again(e: Embedding, saved: SavedHead, recipe: Recipe | None) -> np.ndarray:
    """The rows that stitch drew to judge when it trained the head."""
    size, seed, anchors = (saved.drawn[name] for name in ("size", "seed", "anchors"))
    if anchors and (recipe is None or anchors_digest(recipe.anchor_ids) != anchors):
        raise UsageError(f"{e.uri}: has no split; to draw it again, give the --anchors that the head was trained with.")
    rows = np.flatnonzero(drawn_test_rows(e, np.zeros(0, "S1") if recipe is None else recipe.items(e), size, seed))
    say(f"{e.uri}: has no split; {len(rows)} of {e.n} items are drawn to judge, as in training (size {size}, seed {seed}).")
    return rows


def _own(e: Embedding, saved: SavedHead) -> bool:
    """Whether e is of the absolute space that the head was trained on; heads of a recipe do not tell."""
    return saved.recipe is not None or e.space == saved.space


def _vectors(saved: SavedHead, e: Embedding, recipe: Recipe | None, rows: np.ndarray) -> np.ndarray:
    """(len(rows), d') the rows of e as the head takes them."""
    if e.kind == RELATIVE and (saved.recipe is not None or saved.translator):
        raise DataError(f"{e.uri}: is a relative representation already; give the absolute file it was made from.")
    if saved.recipe is not None and recipe is not None:
        to = basis(e, saved.path(recipe))
        options.notes(e, to)
        return take(relative(e, to).x, rows)
    x = take(e.x, rows)
    if saved.translator and recipe is not None and not _own(e, saved):
        return saved.translate(recipe.vectors(e))(x)
    if e.d != saved.dims:
        raise DataError(f"{e.uri}: has {e.d} dims, and the head takes {saved.dims}; save one that goes through anchors.")
    if not _own(e, saved):
        here, there = printable(e.space), printable(saved.space)
        say(f"{e.uri}: is of space {here}, the head of {there}; {saved.method} runs it on the vectors as they are.")
    return x


def _record(
    saved: SavedHead, e: Embedding, target: Target, rows: np.ndarray, predicted: np.ndarray, run: Rerun, recipe: Recipe | None
) -> Record:
    """Scores where the truth is known. end_to_end: of the head on the space it was trained on."""
    record: Record = {"encoder": e.uri, "head": saved.trained_on, "method": saved.method, "decoder": saved.trained.name}
    record |= {"end_to_end": saved.end_to_end, "anchors": None}
    if recipe is not None and saved.anchors:
        record |= {"anchors": len(recipe.anchor_ids), **guarded([e], recipe, run.allowed)}
    truth, known = target.of(e, rows) if target.column in e.obs else (predicted, np.zeros(len(rows), bool))
    say_unseen(e, target, rows)
    if not known.any():
        say(f"{e.uri}: no row has a known {target.column}, so the head is not judged.")
        return record | MISSING | {"n": 0, "stitching_index": None}
    cell = judged(truth[known], [predicted[known]], len(saved.classes), run.seed)
    return record | cell | {"n": int(known.sum()), "stitching_index": index(cell, saved.end_to_end)}


def _lines(
    e: Embedding, target: Target, rows: np.ndarray, predicted: np.ndarray, saved: SavedHead, run: Rerun
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

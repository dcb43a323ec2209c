"""Translate files of one space into another: fit a map, measure it on items that it was not fitted on, write vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, say
from relrep_cli.base.task_cache import Records, records_for
from relrep_cli.embedding import Embedding, Step, chain, make_step, row_numbers
from relrep_cli.engine.log import one_task
from relrep_cli.engine.running import HERE, Engine
from relrep_cli.engine.shards import Shard
from relrep_cli.numerics.blocks import release
from relrep_cli.numerics.spool import spool
from relrep_cli.relative.recipes import Recipe, anchors_digest
from relrep_cli.stitching import translators
from relrep_cli.stitching.shared_samples import samples
from relrep_cli.stitching.space_maps import SpaceMaps
from relrep_cli.stitching.translated_rows import SETUP, Translated, block_of, part_of, translated_blocks
from relrep_cli.stitching.translation_quality import INDEX, crossed_scores, held_out_scores, index_rows, quality
from relrep_cli.stitching.translators import Affine
from relrep_cli.stitching.universe import PENALTY, UNIVERSES, join
from relrep_cli.store.exports import EXPORTS, export
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.shared_rows import SharedRows, rows_of_task

FIT_ROWS = 10_000  # training rows that a map is fitted on where no anchors are named
POOR = 0.5  # of held-out items, below which a map is questioned


@dataclass(frozen=True, eq=False)
class Fitting:
    """How to fit a map.

    method: name of a translator, or of the universe that is joined, with its params. recipe: has the anchors; None for all
    shared training rows, at most `rows` of them, drawn by the seed. searched: rows of the target, at most, in which the map is
    measured.
    """

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    recipe: Recipe | None = None
    rows: int = FIT_ROWS
    seed: int = 0
    searched: int = INDEX

    def fit(self, x: np.ndarray, y: np.ndarray) -> Affine:
        """The map from anchors x (m, dx) to y (m, dy). If y belongs to a universe, the map joins x to it as a further space."""
        if self.method in UNIVERSES:
            return join(x, y, float(self.params.get(PENALTY, 0.0)))
        return translators.fit(self.method, x, y, dict(self.params))

    def step(self, e: Embedding, target: Embedding, dtype: str) -> Step:
        """The step that made the map, and the vectors that are stored as dtype."""
        anchors = "" if self.recipe is None else anchors_digest(self.recipe.anchor_ids)
        params = {"method": self.method, "anchors": anchors, "rows": self.rows, "dtype": dtype, **self.params}
        sources = [] if self.recipe is None else map(store.digested, self.recipe.anchor_sources)
        return make_step("translate", params, self.seed, [e, target, *sources])


def fit_map(e: Embedding, target: Embedding, how: Fitting) -> tuple[Affine, list[Record]]:
    """The map from the space of e into that of the target, and its quality on items that it was not fitted on.

    Where every shared item is needed for the fit, the quality is that of five maps, each fitted without a fifth of the items.
    Raises DataError when the files share too few items, or an anchor is missing.
    """
    if e.space and e.space == target.space:
        if how.method in UNIVERSES:
            raise DataError(f"is in the space of {target.uri} already, {printable(e.space)}", "Use it as it is.", file=e.uri)
        say(f"{e.uri} and {target.uri} name the same space, {printable(e.space)}.")
    rows = samples([e, target], how.recipe, how.rows, how.seed)
    x, y = rows.vectors
    carry = how.fit(x, y)
    flags: Record = {"file": e.uri, "into": target.uri, "fitted_on": len(x)}
    if len(rows.held[0]):
        index = index_rows(target, rows.held[1], how.seed, how.searched)
        scores = held_out_scores(carry, e, rows.held[0], target, rows.held[1], index)
        flags |= {"index_size": len(index), "held_out": "items"}
    else:
        scores = crossed_scores(how.fit, x, y, how.seed)
        flags |= {"index_size": len(y), "held_out": "cross-validation"}
    records = list(quality(scores, how.seed, flags))
    share = next(r for r in records if r["measure"] == "recall_10")
    if share["high"] < POOR:
        say(
            f"{e.uri}: only {share['value']:.3f} of held-out items are among the ten nearest to their translation. "
            "relrep translate --report says whether more anchors would help."
        )
    return carry, records


def maps_of(e: Embedding, target: Embedding, carry: Affine, how: Fitting) -> SpaceMaps:
    """The map as a file holds it."""
    return SpaceMaps(target.space, target.kind, {e.space: carry}, how.method)


@dataclass(frozen=True)
class Output:
    """The file to write. inputs: files that must not be overwritten. reading: how other processes read the file to translate.
    engine: where rows are computed. shard: write only this part, into `file`."""

    file: str
    dtype: str = "float32"
    force: bool = False
    inputs: Sequence[str] = ()
    reading: Reading = PLAIN
    engine: Engine = HERE
    shard: Shard | None = None

    def is_due(self, file: str, step: Step) -> bool:
        """Whether the output, or the map file, is still to be written. Raises UsageError or WriteError where it cannot be."""
        if not self.force and store.identify(file) == step["id"]:
            say(f"{file}: up to date.")
            return False
        store.refuse(file, self.force, self.inputs, (*store.HDF5, *EXPORTS) if file == self.file else store.HDF5)
        return True


def write_translated(output: Output, e: Embedding, carry: Affine, space: str, kind: str, step: Step, inputs: Any) -> None:
    """Write e in the target space. inputs: the embeddings whose history the file continues."""
    with one_task(output.engine.own_log, "translating", output.file):
        n, d = _write_rows(output, e, carry, space, kind, step, inputs)
    say(f"{output.file}: {n} x {d} in space {printable(space)}.")


def _write_rows(output: Output, e: Embedding, carry: Affine, space: str, kind: str, step: Step, inputs: Any) -> tuple[int, int]:
    d = carry.matrix.shape[1]
    if Path(output.file).suffix.lower() in EXPORTS:
        x = spool((e.n, d), np.dtype(output.dtype))
        at = 0
        for block in translated_blocks(e, carry, output.dtype):
            done = slice(at, at + len(block))
            x[done] = block
            release(x, done, keep_end=done.stop < e.n)
            at = done.stop
        export(replace(e, x=x, space=space), output.file, output.dtype, output.force)
    else:
        name, records = str(step["id"]), Records(None)
        e, start, uns = (e, 0, {}) if output.shard is None else part_of(e, carry, output.shard)
        blocks: Iterator[np.ndarray] | SharedRows = translated_blocks(e, carry, output.dtype)
        if output.engine.elsewhere:
            records = records_for(output.file, None)
            rows, shared = (
                rows_of_task(block_of(carry), max(e.d, d)),
                Translated(e.uri, output.reading, carry, start, output.dtype),
            )
            blocks = SharedRows("translating", SETUP, shared, rows, output.engine, records, name)
        store.write(
            output.file,
            blocks,
            shape=(e.n, d),
            dtype=output.dtype,
            ids=e.ids,
            obs=e.obs,
            var={"id": row_numbers(d)},
            kind=kind,
            space=space,
            row_ids=e.row_ids,
            steps=chain(inputs, step),
            uns=uns,
            force=output.force,
        )
        records.close()
    return e.n, d


def translate_with_maps(e: Embedding, maps: SpaceMaps, output: Output) -> None:
    """Write a file of a space that the maps know."""
    carry = maps.of(e)
    as_input = Embedding(
        np.zeros((0, 1)), np.zeros(0, "S1"), space=maps.space, digest=maps.digest, uri=maps.uri, steps=maps.steps
    )
    step = make_step("translate", {"method": maps.method, "dtype": output.dtype}, None, [e, as_input])
    if output.is_due(output.file, step):
        write_translated(output, e, carry, maps.space, maps.kind, step, [e, as_input])

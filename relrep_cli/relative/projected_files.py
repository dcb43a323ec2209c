"""Relative representations as files: project an embedding, write the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.correspondences import Pairs
from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, progress, say
from relrep_cli.base.task_cache import Records, records_for
from relrep_cli.comparison.low_dims import hint
from relrep_cli.embedding import RELATIVE, Embedding, Step, chain, make_step
from relrep_cli.engine.estimates import takes
from relrep_cli.engine.log import one_task
from relrep_cli.engine.running import HERE, Engine
from relrep_cli.engine.shards import Shard
from relrep_cli.relative.projected_parts import rows_of
from relrep_cli.relative.projected_rows import Fitted
from relrep_cli.relative.projection import Basis, basis, projection_notes, relative, relative_blocks, tile_rows
from relrep_cli.relative.projection_costs import cost_of
from relrep_cli.relative.recipes import Recipe
from relrep_cli.store.h5ad_copies import Addition, write_copy
from relrep_cli.store.limits import STATISTIC
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.row_parts import SHARD
from relrep_cli.store.shared_rows import SharedRows, rows_of_task

IN_OBSM = "X_relrep"  # where scanpy looks for embeddings: obsm, with X_ in front


@dataclass(frozen=True, kw_only=True)
class Projection:
    """How to project a file, and where to write the result.

    weights: file for the attention that a trained aggregator pays to each function, "" for none. inputs: further files that
    must not be overwritten. dtype: of the stored numbers; None for float32, with a note where that narrows float64. exact:
    compute in float64 on padded tiles. shard: write only this part, into its own file. engine: where rows are computed. setup,
    source: how another process makes the rows, see SharedRows; it gets (source, Fitted).
    """

    output: str
    reading: Reading = PLAIN
    weights: str = ""
    inputs: tuple[str, ...] = ()
    dtype: str | None = None
    device: str = "cpu"
    exact: bool = False
    force: bool = False
    dry_run: bool = False
    shard: Shard | None = None
    engine: Engine = HERE
    setup: str = ""
    source: Any = None

    @property
    def stored(self) -> str:
        return self.dtype or "float32"


def project_file(file: str, recipe: Recipe, to_do: Projection) -> None:
    """Write the relative representation of an embedding file, unless the output is up to date.

    Raises UsageError for options that the recipe does not allow, DataError for a file that cannot be used, WriteError.
    """
    _check(recipe, to_do)
    if to_do.shard is not None:
        to_do = replace(to_do, output=to_do.shard.file(to_do.output))
    e = store.digested(store.read(file, to_do.reading))
    more = [*recipe.anchor_sources, *([recipe.statistics_from] if recipe.statistics_from else [])]
    inputs = [e, *map(store.digested, more)]
    step = make_step("project", _params(e, recipe, to_do), None, inputs)
    output, weights = to_do.output, to_do.weights
    if not to_do.force and store.identify(output) == step["id"] and (not weights or Path(weights).exists()):
        return say(f"{output}: up to date.")
    if weights:
        store.agree(weights)
    store.refuse_same({"-o": output, "--weights": weights})
    for target in filter(None, (output, weights)):
        store.refuse(target, to_do.force, [file, *to_do.inputs], store.HDF5 if target == output else ())
    if to_do.dry_run:
        n = e.n if to_do.shard is None else rows_of(e, recipe, to_do.shard)[0].n
        m, size = recipe.width(), n * recipe.width() * np.dtype(to_do.stored).itemsize / 1e6
        say(f"would: project {file}: {n} x {e.d} on {m} columns by {recipe.label} to {output}, {size:.1f} MB")
        return say(f"would: {takes(cost_of(e, recipe, n), max(1, to_do.engine.processes))}")
    to = basis(e, recipe, double=to_do.stored == "float64", exact=to_do.exact)
    note_basis(e, to)
    if e.x.dtype.itemsize == 8 and to_do.dtype is None:
        say(f"{file}: is float64 and computed in float64, but stored as float32; --dtype float64 keeps it.")
    attention: list[np.ndarray] = []
    records = records_for(output, None) if to_do.engine.elsewhere else Records(None)
    with one_task(to_do.engine.own_log, "projecting", output):
        _write(e, to, to_do, chain([e, *recipe.anchor_sources], step), attention if weights else None, records)
    records.close()
    if weights:
        _write_weights(weights, e, recipe, np.concatenate(attention), to_do.force)
    part = f"part {to_do.shard.number} of {to_do.shard.count} of " if to_do.shard else ""
    say(f"{output}: {part}{e.n} x {recipe.width()}, {recipe.label} to {len(to.anchors)} anchors.")


def project_into_copy(file: str, recipe: Recipe, to_do: Projection, target: str) -> None:
    """Write a copy of the AnnData file with the relative vectors in obsm. Raises DataError, UsageError or WriteError."""
    e = store.read(file, to_do.reading)
    if to_do.dry_run:
        return say(f"would: project {file}: {e.n} x {e.d} on {recipe.width()} columns into obsm of {target}")
    to = basis(e, recipe, double=to_do.stored == "float64", exact=to_do.exact)
    if not to_do.output:
        note_basis(e, to)
    x = relative(e, to, to_do.device).x.astype(to_do.stored, copy=False)
    write_copy(file, target, [Addition("obsm", IN_OBSM, x, f"{recipe.label} to {len(to.anchors)} anchors")], to_do.force)


def note_basis(embedding: Embedding, to: Basis) -> None:
    """Tell the user what is worth knowing about how a space was prepared for projection."""
    by_angle = ["--similarity"] if set(to.recipe.similarities) == {"cosine"} else []
    for note in filter(None, [*projection_notes(embedding, to), hint(embedding, by_angle)]):
        say(note)


def _check(recipe: Recipe, to_do: Projection) -> None:
    if to_do.weights and (recipe.trained is None or not recipe.aggregate.endswith("attention")):
        remedy = "Name a trained one with attention: self-attention or mlp-self-attention."
        raise UsageError("--weights needs --aggregator", remedy)
    if to_do.shard is not None and (to_do.weights or to_do.output == "-"):
        what = "--weights" if to_do.weights else "-o -"
        raise UsageError(f"--shard makes a part, and does not go with {what}", "Leave one of them out.")
    if to_do.engine.elsewhere and (to_do.weights or to_do.output == "-"):
        what = "--weights" if to_do.weights else "-o -"
        raise UsageError(f"--cluster writes rows from several processes, and does not go with {what}", "Leave one of them out.")
    if to_do.exact and (to_do.device != "cpu" or recipe.trained is not None):
        other = "--device" if to_do.device != "cpu" else "--aggregator"
        raise UsageError(f"--exact computes with NumPy, so it does not go with {other}", "Leave one of them out.")


def _params(e: Embedding, recipe: Recipe, to_do: Projection) -> dict[str, object]:
    """What the history of the output records."""
    params = {**recipe.params(), "dtype": to_do.stored, "anchors": recipe.space(), "device": to_do.device}
    if to_do.exact:
        params["exact"] = True
    if isinstance(recipe.meaning, Pairs):
        params["side"] = recipe.meaning.side_of(e, recipe.anchor_sources)
    return params


def _write(
    whole: Embedding, to: Basis, to_do: Projection, steps: list[Step], attention: list[np.ndarray] | None, records: Records
) -> None:
    e, uns = (whole, {}) if to_do.shard is None else rows_of(whole, to.recipe, to_do.shard)
    width = to.recipe.width()
    with ExitStack() as stack:
        blocks: Iterator[np.ndarray] | SharedRows
        if to_do.engine.elsewhere:
            fitted = Fitted.of(to, int(uns[SHARD][2]) if SHARD in uns else 0, to_do.device)
            step = rows_of_task(tile_rows(e.d, width), max(e.d, width))
            shared = (to_do.source, fitted)
            blocks = SharedRows("projecting", to_do.setup, shared, step, to_do.engine, records, str(steps[-1]["id"]))
        else:
            advance = stack.enter_context(progress("projecting"))
            computed = relative_blocks(e.x, to, to_do.device, None if attention is None else attention.append)
            blocks = _counted(computed, e.n, advance)
        store.write(
            to_do.output,
            blocks,
            shape=(e.n, width),
            dtype=to_do.stored,
            ids=e.ids,
            obs=e.obs,
            var=to.recipe.var(),
            kind=RELATIVE,
            space=to.recipe.space(),
            source_space=e.space,
            row_ids=e.row_ids,
            steps=steps,
            uns=_lasting(to_do.output, to) | uns,
            force=to_do.force,
        )


def _lasting(output: str, to: Basis) -> dict[str, np.ndarray]:
    """The statistics that the format can hold; a note names those that are too large for it."""
    large = [name for name, values in to.statistics.items() if values.size > STATISTIC]
    if large:
        say(f"{output}: {', '.join(large)} is too large to keep, so --statistics cannot take it from this file.")
    return {name: values for name, values in to.statistics.items() if name not in large}


def _counted(blocks: Iterator[np.ndarray], total: int, advance: Callable[[int, int], None]) -> Iterator[np.ndarray]:
    done = 0
    for block in blocks:
        done += len(block)
        advance(done, total)
        yield block


def _write_weights(target: str, e: Embedding, recipe: Recipe, attention: np.ndarray, force: bool) -> None:
    """Write a table with one line for each item: its id, and the attention to each similarity function."""
    names = list(recipe.similarities)
    records: list[Record] = [
        {"id": i.decode(errors="backslashreplace"), **dict(zip(names, row, strict=True))}
        for i, row in zip(e.ids.tolist(), attention.tolist(), strict=True)
    ]
    store.write_bytes(target, store.encoded(target, records, ["id", *names]), force)
    means = ", ".join(f"{name} {share:.3f}" for name, share in zip(names, attention.mean(0), strict=True))
    say(f"{target}: mean attention {means}.")

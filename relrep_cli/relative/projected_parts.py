"""Parts of a file that several runs share: the rows of a projected part, and the whole of all parts of any file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import progress, say
from relrep_cli.embedding import Embedding
from relrep_cli.engine.shards import Shard, refuse_incomplete
from relrep_cli.numerics.blocks import release, slices
from relrep_cli.relative.projection import tile_rows
from relrep_cli.relative.recipes import Recipe
from relrep_cli.store.row_parts import SHARD, rows_of_shard, stated

COPIED = 4096  # rows


@dataclass(frozen=True)
class FilePart:
    """A part that was read. start: the first of its rows in the whole. total: the rows of the whole."""

    shard: Shard
    embedding: Embedding
    start: int
    total: int


def rows_of(embedding: Embedding, recipe: Recipe, shard: Shard) -> tuple[Embedding, dict[str, np.ndarray]]:
    """Return the rows of a part, and what its file says of it. Parts begin where tiles of the whole begin, so no bit changes.

    Raises UsageError when there are fewer tiles than parts.
    """
    rows = rows_of_shard(embedding.n, tile_rows(embedding.d, recipe.width()), shard, embedding.uri)
    columns = {name: column[rows] for name, column in embedding.obs.items()}
    part = replace(embedding, x=embedding.x[rows], ids=embedding.ids[rows], obs=columns)
    return part, stated(shard, rows.start, embedding.n)


def read_part(name: str) -> FilePart:
    """Read a part, with its digest. Raises DataError when it is none."""
    embedding = store.digested(store.read(name))
    stated = embedding.uns.get(SHARD)
    if stated is None or stated.shape != (4,) or not np.isfinite(stated).all() or not 1 <= stated[0] <= stated[1]:
        raise DataError("no part of a file", "Name files that project or embed has written with --shard.", file=name)
    number, count, start, total = map(int, stated)
    return FilePart(Shard(number, count), embedding, start, total)


def merge_files(parts: Sequence[FilePart], output: str, force: bool) -> None:
    """Write the whole of all parts, with the bytes that one run would have written at the time of the first part.

    Raises UsageError when parts are missing, occur twice, or differ in anything but their rows.
    """
    refuse_incomplete([(part.embedding.uri, part.shard, _common(part)) for part in parts])
    ordered = sorted(parts, key=lambda part: part.start)
    first, ends = ordered[0], np.cumsum([0, *(part.embedding.n for part in ordered)])
    if [part.start for part in ordered] != ends[:-1].tolist() or ends[-1] != first.total:
        raise DataError("the parts do not hold every row once", "Write them again with --shard.", file=output)
    e = first.embedding
    with progress("merging") as advance:
        store.write(
            output,
            _rows(ordered, advance),
            shape=(first.total, e.d),
            dtype=e.x.dtype.name,
            ids=np.concatenate([part.embedding.ids for part in ordered]),
            obs={name: np.concatenate([part.embedding.obs[name] for part in ordered]) for name in e.obs},
            var=e.var,
            kind=e.kind,
            space=e.space,
            source_space=e.source_space,
            row_ids=e.row_ids,
            steps=list(e.steps),
            uns={name: values for name, values in e.uns.items() if name != SHARD},
            force=force,
        )
    say(f"{output}: {first.total} x {e.d}, of {len(ordered)} parts.")


def _common(part: FilePart) -> object:
    """What all parts must have in common."""
    e = part.embedding
    statistics = {name: values.tobytes() for name, values in e.uns.items() if name != SHARD}
    columns = [(name, values.tolist()) for name, values in e.var.items()]
    steps = [{name: value for name, value in step.items() if name != "time"} for step in e.steps]
    return e.d, e.x.dtype.name, e.space, e.source_space, e.kind, steps, sorted(e.obs), columns, statistics, part.total


def _rows(parts: Sequence[FilePart], advance: object) -> Iterator[np.ndarray]:
    done = 0
    for part in parts:
        for block in slices(part.embedding.n, COPIED):
            yield np.asarray(part.embedding.x[block])
            release(part.embedding.x, block)
            done += block.stop - block.start
            advance(done, part.total)  # type: ignore[operator]

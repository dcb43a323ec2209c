"""Rows of a file in another space, computed in this process or in others, whole or in part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from relrep_cli import store
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding
from relrep_cli.engine.jobs import listening
from relrep_cli.engine.shards import Shard
from relrep_cli.numerics.blocks import block_rows, row_blocks
from relrep_cli.numerics.threads import in_order
from relrep_cli.stitching.translators import Affine
from relrep_cli.store.reading import Reading
from relrep_cli.store.row_parts import rows_of_shard, stated
from relrep_cli.store.shared_rows import Blocks

SETUP = f"{__name__}:rows_of_process"


@dataclass(frozen=True, eq=False)
class Translated:
    """What another process must know: the file, the map, the row of the file that is row 0 of the output, and its dtype."""

    file: str
    reading: Reading
    carry: Affine
    start: int
    dtype: str


def translated_blocks(e: Embedding, carry: Affine, dtype: str) -> Iterator[np.ndarray]:
    """The rows of e in the target space, block by block, as dtype. A number that it cannot hold is infinite."""
    kept = np.dtype(dtype)

    def rows(block: slice) -> np.ndarray:
        with np.errstate(over="ignore"):  # the store says so
            return carry.stored_rows(e.x[block], kept).astype(kept, copy=False)

    return in_order(rows, row_blocks(e.n, max(carry.matrix.shape), e.x))


def block_of(carry: Affine) -> int:
    """The rows of one block; parts and tasks hold whole blocks, so that no bit changes."""
    return block_rows(max(carry.matrix.shape))


def part_of(e: Embedding, carry: Affine, shard: Shard) -> tuple[Embedding, int, dict[str, np.ndarray]]:
    """The rows of a part, the first of them, and what its file says of them. Raises UsageError for too many parts."""
    rows = rows_of_shard(e.n, block_of(carry), shard, e.uri)
    columns = {name: column[rows] for name, column in e.obs.items()}
    return replace(e, x=e.x[rows], ids=e.ids[rows], obs=columns), rows.start, stated(shard, rows.start, e.n)


def rows_of_process(shared: Translated) -> Blocks:
    """The rows of a process of its own. The main process has printed the notes on the file."""
    with listening():
        e = store.read(shared.file, shared.reading)

    def blocks(start: int, stop: int) -> Iterator[np.ndarray]:
        x = e.x[shared.start + start : shared.start + stop]
        return translated_blocks(replace(e, x=x, ids=e.ids[: len(x)], obs={}), shared.carry, shared.dtype)

    return blocks

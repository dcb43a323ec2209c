"""Importing vectors: an embedding of any readable file becomes one of format version 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.base.output import say
from relrep_cli.embedding import ABSOLUTE, Embedding, chain, make_step, row_numbers
from relrep_cli.engine.estimates import Cost, of_file, takes
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.store import digested, identify, refuse, write
from relrep_cli.store.exports import EXPORTS, export
from relrep_cli.store.writing import HDF5


def import_vectors(
    embedding: Embedding,
    output: str,
    *,
    replaced: Sequence[str] = (),
    inputs: Sequence[str] = (),
    dtype: str | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> None:
    """Write an embedding to the file `output`, in format version 1 unless its ending is one of EXPORTS, unless it is there.

    replaced: names of the columns that come from other files, for the record. inputs: files that must not be overwritten.
    dtype: of the stored numbers; None keeps float16 and stores all else as float32, with a note where that narrows float64.
    Raises UsageError, WriteError or DataError as `store.write` does.
    """
    e = digested(embedding)
    stored = dtype or ("float16" if e.x.dtype.itemsize == 2 else "float32")
    step = make_step("embed", {"encoder": "none", "space": e.space, "dtype": stored, "columns": sorted(replaced)}, None, [e])
    if not force and identify(output) == step["id"]:
        return say(f"{output}: up to date.")
    refuse(output, force, [e.uri, *inputs], (*HDF5, *EXPORTS))
    if dry_run:
        say(f"would: import {e.uri}: {e.n} x {e.d} as {stored} to {output}")
        return say(f"would: {takes(of_file(e.x, e.ids).beside(Cost(scanned=e.x.size)))}")
    if e.x.dtype.itemsize == 8 and dtype is None:
        say(f"{e.uri}: is float64, stored as float32; --dtype float64 keeps it.")
    if Path(output).suffix.lower() in EXPORTS:
        export(e, output, stored, force)
        return say(f"{output}: {e.n} x {e.d}{', without ids' if e.row_ids else ''}.")
    write(
        output,
        (np.asarray(e.x[b]) for b in row_blocks(*e.x.shape, e.x)),
        shape=(e.n, e.d),
        dtype=stored,
        ids=e.ids,
        obs=e.obs,
        var={"id": row_numbers(e.d)},
        kind=ABSOLUTE,
        row_ids=e.row_ids,
        space=e.space,
        steps=chain([e], step),
        force=force,
    )
    say(f"{output}: {e.n} x {e.d}, space {printable(e.space)}.")

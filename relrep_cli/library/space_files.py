"""Reading and writing files, in the library."""

from __future__ import annotations

import os

from relrep_cli import store
from relrep_cli.embedding import Embedding
from relrep_cli.library.given_spaces import Column, Space, as_embedding
from relrep_cli.library.wording import speaks_python
from relrep_cli.store.reading import Reading


@speaks_python
def read(
    uri: str | os.PathLike[str],
    *,
    ids: Column | None = None,
    labels: Column | None = None,
    split: Column | None = None,
    space: str = "",
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    vector_columns: str | None = None,
    by_position: bool = False,
    transpose: bool = False,
    packed_bits: bool = False,
    pool: str | None = None,
    normalize_ids: str | None = None,
) -> Embedding:
    """Read a file in any format that docs/reading.md lists.

    uri: a path, or a path and the name of an embedding in it, such as "a.h5::layer/3".
    ids, labels, split, space: replace what the file holds; see `as_embedding`. The others say how to read the file, where it
    does not say so itself; they mean what the options of these names mean (docs/reading.md).

    Raises DataError for a file that is missing, damaged or ambiguous.
    """
    how = Reading(
        id_column, vector_columns, label_column, split_column, by_position, transpose, packed_bits, pool, None, normalize_ids
    )
    return as_embedding(store.read(os.fspath(uri), how), ids=ids, labels=labels, split=split, space=space)


@speaks_python
def write(x: Space, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write an embedding as a file of format version 1 (docs/format.md), which other programs read as HDF5.

    Raises WriteError where the file exists and `overwrite` is not set, or cannot be written.
    """
    e, output = as_embedding(x), os.fspath(path)
    store.refuse(output, overwrite, [e.uri], store.HDF5)
    store.write(
        output, [e.x], shape=e.x.shape, dtype=e.x.dtype.name, ids=e.ids, obs=dict(e.obs), var=dict(e.var), kind=e.kind,
        space=e.space, steps=list(e.steps), uns=dict(e.uns), source_space=e.source_space, row_ids=e.row_ids, force=overwrite,
    )  # fmt: skip

"""Turn what a caller has (a path, an array, a data frame, a tensor) into an Embedding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.embedding import Embedding, duplicates, row_numbers, text
from relrep_cli.library.wording import speaks_python
from relrep_cli.numerics.blocks import first_bad_row
from relrep_cli.store.column_names import is_id_name, role

Space: TypeAlias = Any  # an Embedding, a path or URI, an array (n, d), a pandas data frame, or a tensor
Spaces: TypeAlias = Any  # a Space, a pattern that several embeddings match, or a mapping or a list of Spaces
Column: TypeAlias = "Sequence[Any] | np.ndarray"  # one value for each row


@speaks_python
def as_embedding(
    x: Space,
    *,
    ids: Column | None = None,
    labels: Column | None = None,
    split: Column | None = None,
    space: str = "",
    name: str = "x",
) -> Embedding:
    """Return `x` as an Embedding.

    x: an Embedding; a path or URI, which is read; an array (n, d) of numbers; a data frame of such columns, or with one column
        whose cells are vectors, whose columns `id`, `label` and `split` are what they say, and whose index becomes the ids
        without such a column; or anything that NumPy turns into such an array, such as a tensor on the CPU.
    ids: (n,) one text or number for each row. labels, split: (n,) columns. All three replace what `x` holds itself.
    space: the name of the encoder. name: what messages call an array.

    Rows of an array without ids are numbered. They pair with another array by position only; see `compare`.

    Raises UsageError for anything that is not a matrix, and DataError for a repeated id, or a NaN or an infinity.

    >>> as_embedding([[1.0, 2.0], [3.0, 4.0]], ids=["a", "b"]).ids.tolist()
    [b'a', b'b']
    """
    if isinstance(x, Embedding):
        embedding = x
    elif isinstance(x, str | os.PathLike):
        embedding = store.read(os.fspath(x))
    else:
        embedding = _of_array(x, name)
    n = embedding.n
    columns = {key: column(values, n, key) for key, values in (("label", labels), ("split", split)) if values is not None}
    if ids is not None:
        embedding = replace(embedding, ids=_ids(ids, n, name), row_ids=False, id_candidates=(), digest="", claim=None)
    if columns or space:
        embedding = replace(embedding, obs={**embedding.obs, **columns}, space=space or embedding.space)
    return embedding


def _of_array(x: Any, name: str) -> Embedding:
    if hasattr(x, "to_numpy") and hasattr(x, "columns"):
        return _of_frame(x, name)
    try:
        values = np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
    except ValueError:  # a list of parts that do not fit together
        raise UsageError(f"{name} is a list of parts of different shapes", "Give one matrix.") from None
    if values.ndim == 0:
        raise UsageError(f"{name} is {printable(type(x).__name__)}, not a matrix", "Give a path, an array or a data frame.")
    if values.ndim != 2 or not values.size:
        raise UsageError(f"{name} has the shape {values.shape}", "Give a matrix with one row for each item.")
    if values.dtype.kind not in "fiub":
        raise UsageError(f"{name} holds {values.dtype.name}, not numbers", "Give its columns of numbers alone.")
    if values.dtype not in (np.float16, np.float32, np.float64):
        values = values.astype(np.float64)
    if (row := first_bad_row(values)) is not None:
        raise DataError(f"row {row} holds NaN or infinity", "Remove such rows.", file=name)
    return Embedding(values, row_numbers(len(values)), uri=name, row_ids=True)


def _of_frame(x: Any, name: str) -> Embedding:
    """A data frame: its columns of numbers, or the vectors in one column, with ids from a column of that name, or else from the
    index."""
    roles = {part: column for column in reversed(list(x.columns)) if (part := role(str(column)))}
    words = [str(c) for c in x.columns if c not in roles.values() and getattr(x[c].dtype, "kind", "O") not in "fiub"]
    vectors = [word for word in words if word in x.columns and _hold_vectors(x[word])]
    if len(vectors) == 1:
        named = [word for word in words if is_id_name(word)]
        roles |= {"id": named[0]} if len(named) == 1 and "id" not in roles else {}
        matrix = np.stack([np.asarray(cell) for cell in x[vectors[0]]])
    elif words:
        listed = ", ".join(printable(word, 40) for word in words[:6])
        remedy = f"Leave them out, or make one the ids: {name}.set_index({words[0]!r})."
        raise UsageError(f"{name} has columns that hold no numbers: {listed}", remedy)
    else:
        matrix = x[[c for c in x.columns if c not in roles.values()]].to_numpy()
    embedding = _of_array(matrix, name)
    obs = {part: column(x[own], embedding.n, part) for part, own in roles.items() if part != "id"}
    ids = x[roles["id"]] if "id" in roles else x.index
    if "id" not in roles and ids.dtype.kind in "iu" and np.array_equal(ids, np.arange(embedding.n)):
        return replace(embedding, obs=obs)
    return replace(embedding, obs=obs, ids=_ids(ids, embedding.n, name), row_ids=False)


def _hold_vectors(cells: Any) -> bool:
    """Whether the cells of a column are vectors of one length, as a data frame holds a list column of Parquet."""
    arrays = [cell for cell in cells if isinstance(cell, list | tuple | np.ndarray)]
    return len(arrays) == len(cells) > 0 and len({len(a) for a in arrays}) == 1 and np.asarray(arrays[0]).dtype.kind in "fiub"


def _ids(values: Any, n: int, name: str) -> np.ndarray:
    texts = column(values, n, "ids")
    texts = texts if texts.dtype.kind == "S" else text(str(value) for value in np.asarray(values).tolist())
    if twice := duplicates(texts):
        some = ", ".join(printable(i, 60) for i in twice[:3])
        raise DataError(f"{len(twice)} ids occur more than once: {some}", "Give every item an id of its own.", file=name)
    return texts


def column(values: Any, n: int, name: str) -> np.ndarray:
    """Return values (n,) as a column: numbers as they are, anything else as UTF-8. Raises UsageError for another length."""
    array = np.asarray(values)
    if array.shape != (n,):
        raise UsageError(f"{name} has the shape {array.shape}, and there are {n} rows", "Give one value for each row.")
    return array if array.dtype.kind in "fiubS" else text(v if isinstance(v, bytes) else str(v) for v in array.tolist())


def ids_of(anchors: Any) -> np.ndarray:
    """Return ids (m,), given as texts or as row numbers."""
    given = np.asarray(anchors)
    return given if given.dtype.kind == "S" else text(str(one) for one in given.ravel().tolist())

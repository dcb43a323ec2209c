"""What the functions of the library share: names, spaces, recipes and results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.anchors.id_lists import read_anchors
from relrep_cli.base.errors import UsageError, printable
from relrep_cli.comparison import layers
from relrep_cli.embedding import Embedding, duplicates
from relrep_cli.library.given_spaces import Column, Space, Spaces, as_embedding, ids_of
from relrep_cli.library.result_tables import Results
from relrep_cli.library.wording import in_python
from relrep_cli.relative.preparation import Preprocessing
from relrep_cli.relative.recipes import Postprocessing, Recipe
from relrep_cli.relative.similarities import SIMILARITIES

Names = str | Iterable[str]


def recipe_of(
    anchors: Any,
    *,
    similarity: Names = "cosine",
    aggregate: str = "",
    center: bool = False,
    scale: bool = False,
    whiten: bool = False,
    normalize: bool = False,
    standardize_columns: bool = False,
    negate: bool = False,
    transductive: bool = False,
    anchor_vectors: Space | None = None,
    **options: Any,
) -> Recipe:
    """Return the settings of a projection. anchors: ids, row numbers, or an anchor file."""
    if isinstance(anchors, str | os.PathLike):
        ids, spare, meaning = read_anchors(os.fspath(anchors))
    elif isinstance(anchors, Embedding):
        ids, spare, meaning = anchors.ids, anchors, None
    else:
        ids, spare, meaning = _anchor_ids(anchors), None, None
    chosen = SIMILARITIES.choose(names_of(similarity), options)
    sources = [one for one in (spare, None if anchor_vectors is None else as_embedding(anchor_vectors)) if one is not None]
    return Recipe(
        ids,
        similarities=chosen,
        before=Preprocessing(center, scale, whiten, normalize),
        aggregate=aggregate or ("concat" if len(chosen) > 1 else ""),
        after=Postprocessing(negate, standardize_columns),
        transductive=transductive,
        anchor_sources=tuple(sources),
        meaning=meaning,
    )


def _anchor_ids(anchors: Any) -> np.ndarray:
    """Ids (m,) of anchors. Raises UsageError for what cannot be anchors: vectors, fractions, a mask, an item twice."""
    given = np.asarray(anchors)
    if given.ndim == 0 and given.dtype.kind in "iu":
        raise UsageError(f"anchors are the number {given}", f"Choose that many with relrep.anchor(x, {given}).")
    if given.ndim != 1 or given.dtype.kind in "fcb" or not given.size:
        form = "a mask" if given.dtype.kind == "b" else f"{given.dtype.name} of the shape {given.shape}"
        raise UsageError(
            f"anchors are {form}", "Give ids or row numbers (m,); relrep.anchor chooses some, numpy.flatnonzero reads a mask."
        )
    ids = ids_of(given)
    if twice := duplicates(ids):
        raise UsageError(f"anchors are named twice, such as {printable(twice[0])}", "Name each once.")
    return ids


def check_numbers(*, seed: int = 0, **counts: int) -> None:
    """Raise UsageError for a seed or a count below 0."""
    if wrong := next((name for name, value in {"seed": seed, **counts}.items() if value < 0), ""):
        raise UsageError(f"{wrong} is below 0", "Give 0 or a larger whole number.")


def names_of(names: Names) -> list[str]:
    """Names given one by one, or with commas."""
    several = [names] if isinstance(names, str) else list(names)
    return [part.strip() for name in several for part in name.split(",") if part.strip()]


def named_spaces(
    spaces: Sequence[Space],
    ids: Sequence[Column | None] = (),
    labels: Column | None = None,
    split: Column | None = None,
    names: Sequence[str] = (),
) -> list[Embedding]:
    """The spaces as Embeddings with a name each, by which records tell them apart. labels, split: of the first. names: of
    those that have none."""
    letters = names or _argument_names(len(spaces))
    read: list[Embedding] = []
    for place, space in enumerate(spaces):
        own = ids[place] if place < len(ids) else None
        first: dict[str, Any] = {"labels": labels, "split": split} if place == 0 else {}
        e = as_embedding(space, ids=own, name=letters[place], **first)
        read.append(e)
    count = Counter(e.uri for e in read)  # two encodings of one file would both have its name
    return [e if e.uri and count[e.uri] == 1 else replace(e, uri=letters[place]) for place, e in enumerate(read)]


def expanded(spaces: Sequence[Spaces]) -> list[dict[str, Space]]:
    """For each argument, the spaces that it stands for, by the names that arrays get: the keys of a mapping, `x[0]` in a list,
    `x` alone. A path stands for all embeddings that match `FILE::PATTERN`.

    Where a name would stand for two spaces, keys follow the name of their argument: `x::A0`.
    """
    arguments = _argument_names(len(spaces))
    keys = [str(key) for space in spaces if isinstance(space, Mapping) for key in space]
    alone = [name for name, space in zip(arguments, spaces, strict=True) if not is_group(space)]
    apart = len({*keys, *alone}) == len(keys) + len(alone)
    return [_members(name, space, "" if apart else f"{name}::") for name, space in zip(arguments, spaces, strict=True)]


def _argument_names(count: int) -> list[str]:
    return ["x", "y", *(f"z{i}" for i in range(1, count))][:count]


def _members(name: str, space: Spaces, prefix: str) -> dict[str, Space]:
    """The spaces of one argument. prefix: of the keys of a mapping."""
    if isinstance(space, Mapping):
        named = {f"{prefix}{key}": value for key, value in space.items()}
        members = {key: replace(as_embedding(value, name=key), uri=key) for key, value in named.items()}
    elif is_group(space):
        each = [one for item in space for one in _of_pattern(item)]
        members = {f"{name}[{place}]": one for place, one in enumerate(each)}
    elif getattr(space, "ndim", 0) == 3:
        remedy = f"Give a matrix with one row for each item; list({name}) stands for {len(space)} of them."
        raise UsageError(f"{name} has the shape {tuple(space.shape)}", remedy)
    else:
        each = _of_pattern(space)
        members = {name: each[0]} if len(each) == 1 else {f"{name}[{place}]": one for place, one in enumerate(each)}
    if not members:
        raise UsageError(f"{name} holds no spaces", "Give it one or more.")
    return members


def _of_pattern(space: Space) -> list[Space]:
    return list(layers.expand([os.fspath(space)])[0]) if isinstance(space, str | os.PathLike) else [space]


def is_group(space: Spaces) -> bool:
    """Whether an argument stands for several spaces: a mapping, or a list of paths, matrices, tensors, frames or Embeddings.

    >>> is_group({"A0": [[1.0]]}), is_group(["a.h5", "b.h5"]), is_group([np.eye(2)]), is_group([[1.0, 2.0], [3.0, 4.0]])
    (True, True, True, False)
    """
    if isinstance(space, Mapping):
        return True
    return isinstance(space, list | tuple) and any(map(_is_space, space))


def _is_space(item: Any) -> bool:
    """Whether an item of a list is a space of its own, and not a row of a matrix."""
    if isinstance(item, list | tuple):
        return any(isinstance(part, list | tuple) or getattr(part, "ndim", 0) for part in item)
    return isinstance(item, str | os.PathLike | Embedding) or hasattr(item, "columns") or getattr(item, "ndim", 1) > 1


def grouped_spaces(
    spaces: Sequence[Spaces], ids: Sequence[Column | None], labels: Column | None = None
) -> list[list[Embedding]]:
    """The spaces of each argument as Embeddings. ids: of the spaces of each argument. labels: of those of the first."""
    groups = expanded(spaces)
    flat = {name: one for group in groups for name, one in group.items()}
    ids_of_each = [own for group, own in zip(groups, ids, strict=False) for _ in group]
    named = iter(named_spaces(list(flat.values()), ids_of_each, labels, names=list(flat)))
    out = [[next(named) for _ in group] for group in groups]
    return [[as_embedding(e, labels=labels) for e in out[0]], *out[1:]]


def flat_spaces(spaces: Sequence[Spaces], labels: Column | None = None) -> list[Embedding]:
    """All spaces of all arguments as Embeddings. labels: of the first."""
    flat = {name: one for group in expanded(spaces) for name, one in group.items()}
    return named_spaces(list(flat.values()), (), labels, names=list(flat))


def name_of(against: str | int, uris: Sequence[str]) -> str:
    """The name of a space that is given by its place or its name; what is no place stays as it is."""
    return uris[against] if isinstance(against, int) and -len(uris) <= against < len(uris) else str(against)


def with_columns(e: Embedding, first: Embedding, names: Sequence[str]) -> Embedding:
    """A space with the columns that it lacks and the first space has, row by row, where both have the same ids in order."""
    missing = {name: first.obs[name] for name in names if name in first.obs and name not in e.obs}
    if not missing or e.n != first.n or not np.array_equal(e.ids, first.ids):
        return e
    return replace(e, obs={**e.obs, **missing})


def results_of(records: Sequence[Mapping[str, Any]], notes: Sequence[str], known: Sequence[str]) -> Results:
    """The result of a call. known: the columns of the command's table; those that only some records have come after them."""
    more = sorted({name for record in records for name in record} - set(known))
    translated = [{key: in_python(value) if key == "error" else value for key, value in record.items()} for record in records]
    return Results(translated, [*known, *more], tuple(notes))

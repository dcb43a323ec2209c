"""Embedding files: read any format, write format version 1."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.output import say
from relrep_cli.base.uris import is_stdin, split_uri
from relrep_cli.embedding import ABSOLUTE, MAP, RELATIVE, Claim, Embedding, Step, digested_space, duplicates, row_numbers
from relrep_cli.numerics.blocks import first_bad_row
from relrep_cli.numerics.digests import checksum, digest
from relrep_cli.store import seen
from relrep_cli.store.archive import write
from relrep_cli.store.files import HDF5_ENDINGS
from relrep_cli.store.found import Found
from relrep_cli.store.lines import header_or
from relrep_cli.store.reading import PLAIN, Reading, reading_of
from relrep_cli.store.results import READABLE, TABLES, agree, decoded, encoded, format_of, has_columns
from relrep_cli.store.writing import HDF5, refuse, refuse_same, spooled_stdin, write_bytes

__all__ = [
    "HDF5",
    "HDF5_ENDINGS",
    "OF_ARRAYS",
    "PLAIN",
    "READABLE",
    "TABLES",
    "Reading",
    "agree",
    "decoded",
    "digested",
    "encoded",
    "format_of",
    "has_columns",
    "identify",
    "members",
    "read",
    "refuse",
    "refuse_same",
    "write",
    "write_bytes",
]


def read(
    uri: str,
    reading: Reading = PLAIN,
    *,
    judge: bool = True,
    columns: Mapping[str, np.ndarray] | None = None,
    space: str | None = None,
) -> Embedding:
    """The embedding that `uri` names: `FILE`, `FILE::MEMBER` or `-` (HDF5 on stdin; also `/dev/stdin`), with a query or not.

    reading: what the user says of the file, if its query does not. With `judge`, ids must be unique and every number finite.
    columns: obs columns, and "id", that replace the file's own, as `space` does.

    Raises DataError with one line that says what was found, UsageError for a query that cannot be read.
    """
    path, _, member = split_uri(uri)
    reading = reading_of(uri, reading)
    if path != "-":
        content = _open(Path(path), member or None, reading)
    else:
        with spooled_stdin() as spooled:
            content = _open(spooled, member or None, reading, "-")
    return _interpret(uri, _with_columns(uri, content, dict(columns or {}), space), judge, reading.trust_digest)


def _with_columns(uri: str, content: Found, columns: dict[str, np.ndarray], space: str | None) -> Found:
    for name, values in columns.items():
        if len(values) != len(content.x):
            turned = content.layout == "array" and len(values) == content.x.shape[1]
            usual = header_or("Give one a row.", values, len(content.x))
            remedy = "Write --transpose if each column is an item." if turned else usual
            raise DataError(f"{len(content.x)} rows, but {len(values)} lines of {name}", remedy, file=uri)
    ids = columns.pop("ids", content.ids)
    attrs = {**content.attrs, "space": space, "digest": ""} if space else content.attrs
    if ids is not content.ids:
        attrs = {**attrs, "digest": "", "row-ids": 0}
    return dataclasses.replace(content, ids=ids, obs={**content.obs, **columns}, attrs=attrs)


def _open(path: Path, member: str | None, reading: Reading, name: str | None = None) -> Found:
    from relrep_cli.store.foreign import found_in

    try:
        return found_in(path, member, reading, hdf5=name is not None)
    except DataError as error:
        if name is not None:  # the temporary's own name means nothing to the user
            sentence = str(error).replace(str(path), name)
            sentence = sentence.replace("Give the file its right name.", "Standard input takes HDF5 alone.")
            sentence = re.sub(
                r"Give it a name (that ends in \.\w+)", r"Standard input takes HDF5 alone: save it in a file \1", sentence
            )
            raise DataError(sentence) from None
        raise


OF_ARRAYS = (".npz", ".safetensors", ".pt", ".pth")  # files of several arrays by name


def members(path: str, all_arrays: bool = True) -> list[str]:
    """The names of the embeddings inside a file of HDF5 or of named arrays, `/` for the one at the root.

    all_arrays: also where the file alone means one of its arrays, by its name.
    """
    if not path.lower().endswith(OF_ARRAYS):
        from relrep_cli.store.hdf5 import list_hdf5

        return list_hdf5(Path(path))
    from relrep_cli.store.arrays import EVERY, Several
    from relrep_cli.store.foreign import found_in

    try:
        found_in(Path(path), EVERY if all_arrays else None)
    except Several as several:
        return list(several.names)
    return ["/"]


def _interpret(uri: str, content: Found, judge: bool, trusted: bool) -> Embedding:
    n, d = content.x.shape
    if not n or not d:
        raise DataError(
            f"holds no numbers: its shape is {n} x {d}", "Give a file with at least one item and one dimension.", file=uri
        )
    row_ids = content.ids is None or bool(content.attrs.get("row-ids"))
    steps = _steps(content.attrs.get("steps", ""))
    ids = row_numbers(n) if content.ids is None else np.asarray(content.ids)
    embedding = Embedding(
        x=content.x,
        ids=ids,
        obs=content.obs,
        var=content.var,
        space=str(content.attrs.get("space", "")),
        kind=kind if (kind := str(content.attrs.get("kind", ""))) in (RELATIVE, MAP) else ABSOLUTE,
        steps=steps or [],
        digest=str(content.attrs.get("digest", "")),
        uri=uri,
        row_ids=row_ids,
        uns=content.uns,
        source_space=str(content.attrs.get("source-space", "")),
        id_candidates=content.unread,
        candidate_digests=content.digests,
        claim=None if trusted else _claim(uri, content, ids),
    )
    if judge:
        _check_ids_and_numbers(embedding, content.places)
    if steps is None:  # said after judging, so that a file that is refused gets one line
        say(f"{uri}: its record of steps cannot be read and is left out.")
    for note in content.notes:
        say(f"{uri}: {note}")
    if row_ids and judge:
        say(f"{uri}: has no ids; row numbers stand in for them.")
    return embedding


def _check_ids_and_numbers(e: Embedding, places: Mapping[str, str]) -> None:
    if e.kind == MAP:
        raise DataError(
            "holds maps between spaces, not vectors of items", "Give it to relrep translate with --map or --into.", file=e.uri
        )
    path = split_uri(e.uri)[0]
    where = {part: f"{path}::{printable(place)}" for part, place in places.items() if place}
    twice = duplicates(e.ids)
    if twice:
        some = ", ".join(printable(i) for i in twice[:3]) + (", …" if len(twice) > 3 else "")
        raise DataError(
            f"{len(twice)} ids occur more than once: {some}", "Give every item an id of its own.", file=where.get("ids", e.uri)
        )
    row = first_bad_row(e.x)
    if row is not None:
        raise DataError(
            f"row {row} (id {printable(bytes(e.ids[row]))}) holds NaN or infinity",
            "Remove such rows; relrep info counts them.",
            file=where.get("x", e.uri),
        )


def _steps(content: str | int) -> list[Step] | None:
    """The chain of steps; None for what is not a JSON list of steps."""
    if not content:
        return []
    with suppress(ValueError, RecursionError):
        steps: Any = json.loads(str(content))
        if isinstance(steps, list) and all(map(_is_step, steps)):
            return steps
    return None


def _is_step(step: Any) -> bool:
    """Whether the parts of a step that relrep reads are there, and have the right types."""
    if not isinstance(step, dict) or not isinstance(step.get("id"), str):
        return False
    inputs = step.get("inputs") or []
    return isinstance(step.get("params") or {}, dict) and isinstance(inputs, list) and all(isinstance(i, dict) for i in inputs)


def _claim(uri: str, content: Found, ids: np.ndarray) -> Claim | None:
    """The digest that the file states as something to check; None where it states none, or where other ids replace its own."""
    if not content.attrs.get("digest"):
        return None
    path, _, member = split_uri(uri)
    stamp = None if is_stdin(uri) else content.stamp
    return Claim(content.x, ids, str(content.attrs.get("checksum", "")), (path, member), stamp)


def digested(e: Embedding) -> Embedding:
    """`e` with its digest, and a space name of its own if it has none.

    The digest that a file states is checked against its content, unless the file is as it was when that was done before.
    Where the content was changed since, its own digest takes the place of the stated one, with a note.
    """
    named = dataclasses.replace(e, digest=_true_digest(e), claim=None)
    return dataclasses.replace(named, space=e.space or digested_space(named))


def _true_digest(e: Embedding) -> str:
    if not e.digest:
        return digest(e.x, e.ids)
    if e.claim is None or (computed := _checked(e.digest, e.claim)) == e.digest:
        return e.digest
    say(f"{e.uri}: was changed after its digest was stored; what it holds now is used.")
    return computed


def _checked(stated: str, claim: Claim) -> str:
    """The digest of what the claim is about: from memory, the stated one where the checksum fits, or computed."""
    known = seen.recall(claim.place, claim.stamp)
    if known:
        return known
    settled = seen.settled(claim.place, claim.stamp)
    fits = claim.checksum and checksum(digest(claim.x, claim.ids, fast=True), stated) == claim.checksum
    computed = stated if fits else digest(claim.x, claim.ids)
    if settled:
        seen.remember(claim.place, claim.stamp, computed)
    return computed


def identify(target: str) -> str | None:
    """The id of the step that made the file `target`; None when there is no such file, or it does not say, or was changed."""
    if target == "-" or not os.path.isfile(target):
        return None
    with suppress(DataError):
        e = read(target, judge=False)
        return str(e.steps[-1]["id"]) if e.steps and digested(e).digest == e.digest else None
    return None

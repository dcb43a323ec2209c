"""Reading any HDF5 file as an embedding. Files are untrusted: see `survey` for what is looked at, `chunks` for the data.

libhdf5 looks at the structure in a child process that can open nothing else, for a bounded time and memory; what it finds
is checked against the size of the file, and the data are read from the file without it.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import NO_DESCRIPTORS, DataError, WriteError, printable
from relrep_cli.numerics.spool import spool
from relrep_cli.store import child
from relrep_cli.store.arrays import matrix_shape, real
from relrep_cli.store.chunks import SLOT, Source, Unusable, load, stored
from relrep_cli.store.columns import blocks, column
from relrep_cli.store.files import AGAIN, HEAD, MORE_ROOM, mistaken, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.hdf5_plans import CategoricalPlan, ColumnPlan, DatasetPlan, EmbeddingPlan, Plan, from_answer
from relrep_cli.store.heap import texts
from relrep_cli.store.limits import SHORTEN, packing_fault, padding_fault
from relrep_cli.store.matlab_texts import texts_of
from relrep_cli.store.proteins import assembled
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.seen import stamp_of

SIGNATURE = b"\x89HDF\r\n\x1a\n"
CPU = 0.8  # seconds of libhdf5 that any file gets, and one more for every
BYTES_A_SECOND = 100_000_000  # of its size
SAVE = "Save the vectors as one dataset of numbers, items by dimensions."
ROLES = ("label", "split")  # columns that commands use: what is wrong with one is an error, not a reason to leave it out


def read_hdf5(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The embedding at `member` of an HDF5 file: a collection, a dataset, or a group with one matrix; None means `/`.

    Raises DataError with one line: where, what was found, what to do.
    """
    with _source(path) as source:
        answer = _ask(source, "survey", member, asdict(reading))
        shifted, plan = dataclasses.replace(source, shift=answer["shift"]), _plan(source, answer["plan"])
        content = _content(shifted, plan) if isinstance(plan, EmbeddingPlan) else assembled(shifted, plan, reading)
        now = os.fstat(source.file.fileno())
        if (now.st_size, now.st_mtime_ns) != (source.size, source.status.st_mtime_ns):
            raise source.bad("the file changed while it was read", "Try again when nothing writes to it.")
        return dataclasses.replace(content, stamp=stamp_of(source.file.fileno()))


def list_hdf5(path: Path) -> list[str]:
    """The names of the embeddings in an HDF5 file, "/" for the one at its root. Raises DataError when it is none."""
    with _source(path) as source:
        return [str(name) for name in _ask(source, "contents")["plan"]]


@contextmanager
def _source(path: Path) -> Iterator[Source]:
    with opened(path) as file:
        source = Source(path, file, os.fstat(file.fileno()), _signature(path, file))
        try:
            yield source
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise WriteError(str(error.strerror), MORE_ROOM, file=tempfile.gettempdir()) from None
            if error.errno in NO_DESCRIPTORS:
                raise
            raise source.bad(f"cannot be read: {error.strerror}", "Try again.") from None


def _signature(path: Path, file: FileIO) -> int:
    """Where HDF5 begins in the file: at 0, or behind a user block of 512, 1024, 2048 … bytes."""
    at = 0
    while at < size_of(file):
        if os.pread(file.fileno(), 8, at) == SIGNATURE:
            return at
        at = 2 * at or 512
    raise mistaken(path, os.pread(file.fileno(), HEAD, 0), "HDF5")


def _ask(source: Source, question: str, *arguments: Any) -> dict[str, Any]:
    """The answer of the child. Raises DataError with the fault that it found, or with how it died."""
    identity = [source.status.st_dev, source.status.st_ino, source.size]
    seconds = CPU + source.size / BYTES_A_SECOND
    try:
        answer = child.run(f"relrep_cli.store.survey:{question}", os.fspath(source.path), *arguments, identity, seconds)
    except child.Died as death:
        raise source.bad(death.finding) from None
    if "error" in answer:
        where, finding, remedy = answer["error"]
        raise _refusal(source, where, finding, remedy, answer.get("found"))
    return answer


def _refusal(source: Source, where: str, finding: str, remedy: str, members: list[str] | None) -> DataError:
    """The error for what the child refused; members: the embeddings of the file where the one named is not there."""
    if cut := re.search(r"truncated file: eof = (\d+),.*stored_eof = (\d+)", finding):
        return source.bad(f"truncated: {cut[1]} bytes of {cut[2]}", "Copy or write it again.")
    if "already open for write" in finding:
        return source.bad("a program is still writing it, or died while writing it", "Wait for it, or write the file again.")
    if members is not None:
        names = ", ".join(printable(name, 60) for name in members[:20]) + (", …" if len(members) > 20 else "")
        finding = f"{finding}; found {names}" if members else f"{finding}; this file holds none"
        path, parents = printable(str(source.path), 1000), {os.path.dirname(name) for name in members}
        remedy = f"Write {path}::{printable(members[0])}." if members else SAVE
        if len(members) > 1 and len(parents) == 1 and (parent := printable(parents.pop().rstrip("/"))):
            remedy += f" compare and evaluate take all of them: '{path}::{parent}/*'."
    return source.bad(printable(finding, 2000), printable(remedy, 2000), where or None)


# --- the plan becomes arrays ---


def _plan(source: Source, answer: dict[str, Any]) -> Plan:
    try:
        return from_answer(answer)
    except (ValueError, TypeError, KeyError):
        raise source.bad("reading its structure gave no plan; the file is hostile", AGAIN) from None


def _content(source: Source, plan: EmbeddingPlan) -> Found:
    _check_total(source, plan)
    obs = dict(plan.obs)
    roles = {name: column(source.path, name, _values(source, obs[name])) for name in ROLES if name in obs}
    x = _matrix(source, plan)
    index = plan.ids.name.rpartition("/")[2] if plan.ids else None
    siblings = {index: _values(source, plan.ids)} if plan.ids and index is not None else {}
    beside, n = plan.siblings, len(x)
    for name, part in beside.columns:
        if (values := _sibling(source, part, name in beside.wanted)) is not None:
            siblings[name] = values
    siblings |= {name: texts_of(source, parts, n) for name, parts in beside.letters}
    siblings |= {name: np.array([text.encode(errors="replace") for text in texts]) for name, texts in beside.attributes}
    return Found(
        x=x,
        columns=siblings,
        index=index,
        unread=beside.unread,
        obs=roles | _columns(source, [(name, c) for name, c in plan.obs if name not in ROLES]),
        var=_columns(source, plan.var),
        attrs=dict(plan.attrs),
        uns={name: _annotation(source, name, c) for name, c in plan.uns},
        places={"x": plan.x.name, **({"ids": plan.ids.name} if plan.ids else {})},
        stored=np.dtype(plan.x.kind).name,
        notes=plan.notes,
        layout="array" if plan.is_array else "collection",
        scaling={name: np.array(values) for name, values in plan.scaling_attributes}
        | {name: load(source, stored(source, part)) for name, part in plan.scaling},
    )


def _sibling(source: Source, plan: DatasetPlan, wanted: bool) -> np.ndarray | None:
    """(n,) the values of a dataset beside the matrix; None for one that nobody asks for and that cannot be used."""
    try:
        return _values(source, plan)
    except (Unusable, DataError):
        if wanted:
            raise
        return None


def _check_total(source: Source, plan: EmbeddingPlan) -> None:
    """Bound what all parts unpack to together: a thousand hard links to one packed column are a bomb, too."""
    columns = [c for _, c in (*plan.obs, *plan.var, *plan.uns, *plan.siblings.columns, *plan.scaling)] + (
        [plan.ids] if plan.ids else []
    )
    parts = [part for c in columns for part in ([c.codes, c.categories] if isinstance(c, CategoricalPlan) else [c])]
    packed = [item for part in [plan.x, *parts] if (item := stored(source, part)).table is not None]
    fault = packing_fault(sum(item.unpacked for item in packed), source.size)
    if fault:
        raise source.bad(f"{fault}; the file is hostile", AGAIN)
    widths = [_padded(source, c) for _, c in (*plan.obs, *plan.var)]
    fault = padding_fault(sum(width for width in widths if not padding_fault(width, source.size)), source.size)
    if fault:  # before the first is made; those that are too wide by themselves are left out later
        raise source.bad(fault, SHORTEN)


def _padded(source: Source, plan: ColumnPlan) -> int:
    """Bytes of a column of fixed-length text, codes replaced by their categories; 0 for any other column."""
    rows, values = (plan.codes, plan.categories) if isinstance(plan, CategoricalPlan) else (plan, plan)
    words = stored(source, values)
    return prod(rows.shape) * words.dtype.itemsize if words.dtype.kind == "S" else 0


def _matrix(source: Source, plan: EmbeddingPlan) -> np.ndarray:
    """(n, d) floats as they are stored, whatever their byte order; integers widened to the float that holds them exactly."""
    x = load(source, stored(source, plan.x)).reshape(matrix_shape(plan.x.shape))
    x = x.T if plan.transposed else x
    return x if x.dtype.kind == "f" and x.flags.c_contiguous else real(source.path, x, plan.x.name)


def _annotation(source: Source, name: str, plan: DatasetPlan) -> np.ndarray:
    """An array of numbers in its own shape, or (n,) text."""
    item = stored(source, plan)
    return column(source.path, name, _values(source, plan)) if item.dtype.kind == "S" else load(source, item)


def _columns(source: Source, plans: Iterable[tuple[str, ColumnPlan]]) -> dict[str, np.ndarray]:
    """Columns that no command needs by name: numbers, or "S" in UTF-8; those whose text cannot be used are left out."""
    columns: dict[str, np.ndarray] = {}
    total = 0
    for name, plan in plans:
        with suppress(Unusable):
            values = _values(source, plan)
            total += values.nbytes
            fault = padding_fault(total, source.size)
            if fault:  # a thousand hard links to one column, again
                raise source.bad(fault, SHORTEN, name)
            with suppress(DataError):
                columns[name] = column(source.path, name, values) if values.dtype.kind == "S" else values
    return columns


def _values(source: Source, plan: ColumnPlan) -> np.ndarray:
    """(n,) a column as it is stored, text as "S"."""
    if isinstance(plan, CategoricalPlan):
        return _expanded(source, plan)
    item = stored(source, plan)
    if item.dtype == SLOT:
        return texts(source, item)
    fault = padding_fault(item.bytes, source.size) if item.dtype.kind == "S" else ""
    if fault:
        raise source.unusable(fault, SHORTEN, item.name)
    values = load(source, item).reshape(-1)
    return _unpadded(values, plan.padding) if item.dtype.kind == "S" and plan.padding else values


def _unpadded(values: np.ndarray, padding: str) -> np.ndarray:
    """Text as HDF5 means it: of Fortran without the spaces behind it, of C without what stands behind its first NUL."""
    out = spool(values.shape, values.dtype)
    for rows in blocks(len(values), values.dtype.itemsize):
        out[rows] = np.char.rstrip(values[rows], b" ") if padding == "spaces" else values[rows]
        if padding == "ended":
            letters = out[rows].view(np.uint8).reshape(-1, values.dtype.itemsize)
            letters[np.logical_or.accumulate(letters == 0, axis=1)] = 0
    return out


def _expanded(source: Source, plan: CategoricalPlan) -> np.ndarray:
    """A categorical column with every code replaced by its category; code -1 is a missing value, as text b""."""
    codes = load(source, stored(source, plan.codes))
    categories = _values(source, plan.categories)
    low, high = (int(codes.min()), int(codes.max())) if codes.size else (0, -1)
    if codes.dtype.kind not in "iu" or low < -1 or high >= len(categories):
        raise source.bad(f"its codes do not fit its {len(categories)} categories; the file is damaged", AGAIN, plan.codes.name)
    if categories.dtype.kind != "S" and low < 0:
        categories = categories.astype("S")
    if categories.dtype.kind == "S":
        categories = np.append(categories, np.zeros(1, categories.dtype))
    fault = padding_fault(len(codes) * categories.dtype.itemsize, source.size)
    if fault:
        raise source.unusable(fault, SHORTEN, plan.codes.name)
    out = spool(codes.shape, categories.dtype)
    for rows in blocks(len(codes), categories.dtype.itemsize, codes, out):
        out[rows] = categories[codes[rows].astype(np.int64)]
    return out

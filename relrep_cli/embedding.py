"""The Embedding: arrays with ids, columns and provenance; and functions that match rows of several embeddings by id."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli import __version__
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.uris import split_uri
from relrep_cli.numerics.digests import digest

ABSOLUTE, RELATIVE, MAP = "absolute", "relative", "map"  # a map file holds matrices between spaces, and no items
Step = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Claim:
    """A digest that a file states and that nobody has compared with its content yet; see `store.digested`.

    x, ids: the content that it is about. checksum: what the file states beside it, "" for nothing. place: path and member.
    stamp: size, times and inode of the file as it was read, None where it has no lasting name.
    """

    x: np.ndarray
    ids: np.ndarray
    checksum: str = ""
    place: tuple[str, str] = ("", "")
    stamp: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Embedding:
    """n items as rows of `x`, with their ids and metadata.

    x: (n, d) float16, float32 or float64, any byte order, often a read-only memory map.
    ids: (n,) UTF-8 in a NumPy "S" array. obs, var: named arrays that describe the rows and the columns of x; text is "S".
    row_ids: whether the ids are only row numbers, because the file has none. id_candidates: columns that could be ids, where
    nothing says so, or where the ids only count the rows; candidate_digests: of some of them, by which files are compared.
    uns: statistics of the training rows, by name. source_space: the space from which a relative embedding was made. claim: what
    is to be checked before the digest of a file is believed; None for a digest that was computed or checked.
    """

    x: np.ndarray
    ids: np.ndarray
    obs: Mapping[str, np.ndarray] = field(default_factory=dict)
    var: Mapping[str, np.ndarray] = field(default_factory=dict)
    space: str = ""
    kind: str = ABSOLUTE
    steps: Sequence[Step] = ()
    digest: str = ""
    uri: str = ""
    row_ids: bool = False
    uns: Mapping[str, np.ndarray] = field(default_factory=dict)
    source_space: str = ""
    id_candidates: tuple[str, ...] = ()
    candidate_digests: Mapping[str, str] = field(default_factory=dict)
    claim: Claim | None = None

    def __repr__(self) -> str:
        numbers, columns = f"{self.x.dtype.name}, {self.kind}", ", ".join(map(printable, self.obs)) or "none"
        space = f", space {printable(self.space)}" if self.space else ""
        ids = "row numbers" if self.row_ids else f"{printable(bytes(self.ids[0]), 40)} … {printable(bytes(self.ids[-1]), 40)}"
        return f"<Embedding {printable(self.uri)}: {self.n} x {self.d} {numbers}{space}; ids {ids}; columns {columns}>"

    @property
    def n(self) -> int:
        return int(self.x.shape[0])

    @property
    def d(self) -> int:
        return int(self.x.shape[1])

    def column(self, name: str) -> np.ndarray:
        """Return the obs column `name` (n,). Raises DataError, with the existing columns, when there is none."""
        if name not in self.obs:
            names = ", ".join(map(printable, self.obs)) or "none"
            quoted = shlex.quote(printable(name))
            more = f"read it as the column label: FILE?label={quoted}, or --label-column {quoted} for all files"
            more = "add labels with relrep embed --labels" if name == "label" else more
            remedy = ", or ".join(["name one of these"] * bool(self.obs) + [more])
            raise DataError(
                f"no column {printable(name)!r}; columns found: {names}", f"{remedy[0].upper()}{remedy[1:]}.", file=self.uri
            )
        return self.obs[name]

    def rows_of_split(self, *names: str) -> np.ndarray | None:
        """Return the row numbers whose split is one of `names`; None when the file has no split."""
        if "split" not in self.obs:
            return None
        return np.flatnonzero(np.isin(self.obs["split"], [name.encode() for name in names]))

    def training_rows(self) -> np.ndarray:
        """Return the row numbers of the training split, or all rows when the file has no split.

        Raises DataError when there is a split column without any `train` row.
        """
        rows = self.rows_of_split("train")
        if rows is None:
            return np.arange(self.n)
        if not len(rows):
            raise DataError("its split column has no row 'train'", "Take a file that holds training rows.", file=self.uri)
        return rows


def select(e: Embedding, rows: np.ndarray) -> Embedding:
    """Return the given rows of `e` as an embedding; `e` itself when these are all its rows in order."""
    from relrep_cli.numerics.blocks import take

    x = take(e.x, rows)
    if x is e.x:
        return e
    return replace(e, x=x, ids=e.ids[rows], obs={name: values[rows] for name, values in e.obs.items()}, digest="")


def id_order(ids: np.ndarray) -> np.ndarray | None:
    """Return the row numbers (n,) that sort ids (n,), shorter ids first, then by bytes; None when they are sorted already.

    In this order, row numbers used as ids are in their numerical order.

    >>> id_order(np.array([b"10", b"9", b"a"])).tolist(), id_order(np.array([b"9", b"10"]))
    ([1, 2, 0], None)
    """
    lengths = np.strings.str_len(ids)
    longer, same = lengths[1:] > lengths[:-1], lengths[1:] == lengths[:-1]
    if (longer | (same & (ids[1:] >= ids[:-1]))).all():
        return None
    return np.lexsort((ids, lengths))


def in_id_order(e: Embedding) -> Embedding:
    """Sort the rows of `e` by id, so that no result depends on the order of the rows in a file; see `id_order`.

    The digest stays that of the file, because the same file always gives the same sorted rows.
    """
    order = id_order(e.ids)
    return e if order is None else replace(select(e, order), digest=e.digest)


def of_split(e: Embedding, split: str | None) -> Embedding:
    """Return the rows of one split of `e`, or `e` itself for None. Raises DataError, with the splits found, for no rows."""
    if split is None:
        return e
    rows = e.rows_of_split(split)
    if rows is None or not len(rows):
        splits = "no split column" if rows is None else ", ".join(printable(s) for s in np.unique(e.obs["split"]).tolist())
        remedy = "Leave --split out, or add splits with relrep embed --splits."
        remedy = remedy if rows is None else "Choose one of these with --split."
        raise DataError(f"no rows of split {printable(split)!r}; found: {splits}", remedy, file=e.uri)
    return select(e, rows)


def text(values: Iterable[str | bytes]) -> np.ndarray:
    """Encode strings as UTF-8 in a NumPy "S" array.

    >>> text(["a", "é"]).tolist()
    [b'a', b'\\xc3\\xa9']
    """
    encoded = [v.encode() if isinstance(v, str) else bytes(v) for v in values]
    return np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")


def row_numbers(n: int) -> np.ndarray:
    """Return row numbers as ids (n,), for files without ids: b"0", b"1", …"""
    return np.arange(n).astype(f"S{len(str(max(n - 1, 0)))}")


def duplicates(ids: np.ndarray) -> list[bytes]:
    """Return the ids that occur more than once, sorted."""
    ordered = np.sort(ids)
    again = ordered[1:][ordered[1:] == ordered[:-1]]
    return [bytes(i) for i in again[np.append(True, again[1:] != again[:-1])[: len(again)]]]  # np.unique imports numpy.ma


def match_ids(*ids: np.ndarray) -> list[np.ndarray]:
    """Return the row numbers of the ids that all arrays share, in the order of the first array.

    ids: arrays of unique ids. Returns one array (c,) for each input.

    >>> [r.tolist() for r in match_ids(np.array([b"a", b"b", b"c"]), np.array([b"c", b"x", b"a"]))]
    [[0, 2], [2, 0]]
    """
    first = ids[0]
    if all(len(other) == len(first) and np.array_equal(other, first) for other in ids[1:]):
        return [np.arange(len(first))] * len(ids)
    shared = first
    for other in ids[1:]:
        shared = np.intersect1d(shared, other, assume_unique=True)
    rows = [_find(one, shared) for one in ids]
    order = np.argsort(rows[0], kind="stable")
    return [one[order] for one in rows]


def _find(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Row numbers in `ids` of each wanted id; all of them must be there."""
    order = np.argsort(ids, kind="stable")
    return order[np.searchsorted(ids, wanted, sorter=order)]


def find_ids(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the row number of each wanted id (len(wanted),), -1 for an id that is not there.

    >>> find_ids(np.array([b"a", b"b"]), np.array([b"b", b"z"])).tolist()
    [1, -1]
    """
    if not len(ids):
        return np.full(len(wanted), -1)
    order = np.argsort(ids, kind="stable")
    rows = order[np.searchsorted(ids, wanted, sorter=order).clip(max=len(ids) - 1)]
    return np.where(ids[rows] == wanted, rows, -1)


def digested_space(e: Embedding) -> str:
    """Make a name for an unnamed space from the digest of its content."""
    return f"unnamed:{(e.digest or digest(e.x, e.ids)).removeprefix('sha256:')[:16]}"


def make_step(command: str, params: Mapping[str, Any], seed: int | None, inputs: Sequence[Embedding]) -> Step:
    """Make the provenance record of one run. Its id is a digest of the computation, so two equal runs have equal ids.

    params: all parameters, with resolved defaults. The record holds no host, user or folder names: inputs are named by their
    last path part. inputs: with digests that were checked, see `store.digested`.
    """
    assert not any(e.claim for e in inputs), "a digest was taken on trust"
    content = {
        "program": "relrep",
        "version": __version__,
        "command": command,
        "params": dict(params),
        "seed": seed,
        "inputs": [{"uri": bare_name(e.uri), "digest": e.digest} for e in inputs],
        "prev": [e.steps[-1]["id"] for e in inputs if e.steps],
    }
    identity = {**content, "inputs": [_identity(e) for e in inputs]}
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return {"id": name, **content, "time": timestamp()}


def _identity(e: Embedding) -> list[str]:
    """What of an input influences results: its digest, and labels, splits, statistics and spaces, which that leaves out."""
    return [e.digest, _columns_digest(e.obs), _columns_digest(e.uns), e.kind, e.space, e.source_space]


def _columns_digest(columns: Mapping[str, np.ndarray]) -> str:
    running = hashlib.sha256()
    for name, values in sorted(columns.items()):
        running.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        running.update(np.ascontiguousarray(values).tobytes())
    return running.hexdigest()


def bare_name(uri: str) -> str:
    """Return the last path part of a URI with its member: `a.h5::x` for `/home/ann/a.h5::x`."""
    path, mark, member = split_uri(uri)
    return os.path.basename(path) + mark + member


def timestamp() -> str:
    """Return the UTC time of the run, or that of SOURCE_DATE_EPOCH, so that two equal runs can write equal bytes."""
    try:
        seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (ValueError, OverflowError):
        raise UsageError(
            "SOURCE_DATE_EPOCH is not a whole number of seconds", "Correct or unset this environment variable."
        ) from None


def chain(inputs: Sequence[Embedding], step: Step) -> list[Step]:
    """Return the steps that led to the inputs, oldest first and without repeats, then `step`."""
    known: dict[str, Step] = {s["id"]: s for e in inputs for s in e.steps if "id" in s}
    return [*(s for i, s in known.items() if i != step["id"]), step]

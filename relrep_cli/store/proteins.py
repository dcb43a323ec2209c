"""HDF5 files of protein vectors, as UniProt and scikit-bio write them. `plan_*` run in the child that surveys the file."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics.spool import spool
from relrep_cli.store.chunks import Source, load, stored
from relrep_cli.store.columns import described as columns
from relrep_cli.store.files import AGAIN
from relrep_cli.store.found import Found
from relrep_cli.store.limits import SHORTEN, padding_fault

MOST = 1 << 20  # vectors, each a dataset
ROW = 1 << 16  # numbers of one vector
SECONDS = 1e-3  # CPU time in which libhdf5 opens one dataset, on a slow processor
PARTS = (b"embedding", b"id", b"idptr")


def plan_of(group: Any) -> dict[str, Any] | None:
    """What the root group of a file is: {"one_by_one": …}, {"pointers": …}, or None for neither."""
    from relrep_cli.store.guards import has

    if all(has(group, part) for part in PARTS):
        return _pointers(group)
    return _one_by_one(group)


def _one_by_one(group: Any) -> dict[str, Any] | None:
    """UniProt: a dataset (d,) for each protein, under its accession; all alike, none in a group."""
    from relrep_cli.store.child import allow_more
    from relrep_cli.store.guards import Refused, dataset, described, file_size, step

    names: list[bytes] = []

    def keep(name: bytes) -> bool | None:
        names.append(name)
        return True if len(names) > MOST else None

    group.links.iterate(keep)
    if not names or len(names) > MOST:
        return None
    try:
        first = described(step(group, names[0], "/"), names[0].decode(errors="replace"))
    except Refused:
        return None
    if len(first["shape"]) != 1 or first["kind"][1] != "f" or not 1 < first["shape"][0] <= ROW:
        return None
    if len(names) * first["shape"][0] * int(first["kind"][2:]) <= file_size(group):  # or the file does not hold them all
        allow_more(SECONDS * len(names))
    plans: list[Any] = [[name, dataset(step(group, name, "/"), name.decode(errors="replace"))] for name in names]
    other = next((plan for _, plan in plans if (plan["shape"], plan["kind"]) != (first["shape"], first["kind"])), None)
    if other is not None:
        raise Refused(
            other["name"],
            f"its shape is {tuple(other['shape'])}, that of others {tuple(first['shape'])}",
            "Write vectors of one length.",
        )
    return {"one_by_one": plans}


def _pointers(group: Any) -> dict[str, Any] | None:
    """scikit-bio: rows, letters, and where those of each protein end."""
    from relrep_cli.store.guards import dataset, has, step

    parts = [*PARTS, *([b"embedding_ptr"] if has(group, b"embedding_ptr") else [])]
    found = {name.decode(): dataset(step(group, name, "/"), f"/{name.decode()}") for name in parts}
    flat = all(len(found[name.decode()]["shape"]) == 1 for name in parts[1:])
    return {"pointers": found} if flat and len(found["embedding"]["shape"]) == 2 else None


def assembled(source: Source, plan: dict[str, Any]) -> Found:
    """The vectors that a plan of `plan_of` names. Raises DataError."""
    return _stacked(source, plan["one_by_one"]) if "one_by_one" in plan else _pointed(source, plan["pointers"])


def _stacked(source: Source, plans: list[Any]) -> Found:
    items = [stored(source, plan) for _, plan in plans]
    n, d = len(items), prod(items[0].shape)
    if sum(item.unpacked for item in items if item.table is not None) > 256 << 20 > source.size:
        raise source.bad("it unpacks to far more than is stored; the file is hostile", AGAIN)
    x = spool((n, d), items[0].dtype.newbyteorder("="))
    for i, item in enumerate(items):
        if i % 1024 == 0:
            check()
        x[i] = load(source, item)
    names = [bytes(name) for name, _ in plans]
    width = max(map(len, names))
    if fault := padding_fault(width * n, source.size):
        raise source.bad(fault, SHORTEN)
    return Found(x, *columns(source.path, {"id": np.array(names, f"S{width}")}))


def _pointed(source: Source, plan: dict[str, Any]) -> Found:
    """One vector for each protein: its row, or the mean of those of its residues. Its letters are its id."""
    rows = load(source, stored(source, plan["embedding"]))
    letters = load(source, stored(source, plan["id"]))
    ends = _ends(source, plan, "idptr", len(letters))
    pointer = "embedding_ptr" if "embedding_ptr" in plan else "idptr"
    last = _ends(source, plan, pointer, len(rows))
    if letters.dtype.kind not in "iu" or rows.dtype.kind != "f" or len(ends) != len(last):
        raise source.bad("its pointers do not fit its proteins", "Write it again.")
    first = np.concatenate([[0], last[:-1]])
    if len(last) == len(rows):
        x = rows
    else:
        sums = np.add.reduceat(rows.astype(np.float64), first, axis=0)
        x = (sums / (last - first)[:, None]).astype(rows.dtype)
    content = letters.astype(np.uint8).tobytes()
    names = [content[a:b] for a, b in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True)]
    width = max(map(len, names))
    if fault := padding_fault(width * len(names), source.size):
        raise source.bad(fault, SHORTEN)
    return Found(x, *columns(source.path, {"id": np.array(names, f"S{width}")}))


def _ends(source: Source, plan: dict[str, Any], name: str, total: int) -> np.ndarray:
    """Where each part ends. scikit-bio leaves the last end out, which is that of all."""
    ends = load(source, stored(source, plan[name])).astype(np.int64)
    ends = ends if len(ends) and ends[-1] == total else np.append(ends, total)
    if len(ends) > MOST or (np.diff(ends, prepend=0) <= 0).any():
        raise source.bad("its pointers do not rise; the file is damaged", AGAIN, f"/{name}")
    return ends

"""HDF5 files of protein vectors, as UniProt and scikit-bio write them. `plan_*` run in the child that surveys the file."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.numerics.spool import spool
from relrep_cli.store.chunks import Source, load, stored
from relrep_cli.store.column_names import is_id_name
from relrep_cli.store.files import AGAIN
from relrep_cli.store.found import Found
from relrep_cli.store.hdf5_plans import DatasetPlan, ItemsPlan, PointersPlan
from relrep_cli.store.item_arrays import are_items, pooled, pooling_fault
from relrep_cli.store.limits import SHORTEN, padding_fault
from relrep_cli.store.reading import Reading

MOST = 1 << 20  # vectors, each a dataset
SECONDS = 1e-3  # CPU time in which libhdf5 opens one dataset, on a slow processor
HEADER = 96  # bytes that a dataset takes in a file at least, beside its data
BYTES = 1 << 10  # memory that libhdf5 keeps for it
DEPTH = 4  # groups within groups, for ids that hold /
PARTS, ROWS = (b"embedding", b"id", b"idptr"), b"embedding_ptr"
ORIGINAL = "original_id"  # attribute with the id, where keys are numbers (bio_embeddings)


def plan_of(group: Any, reading: Reading) -> ItemsPlan | PointersPlan | None:
    """The plan of a root group that holds proteins; None for any other."""
    from relrep_cli.store.guards import has

    if all(has(group, part) for part in PARTS):
        return _pointers(group)
    return _one_by_one(group, reading)


def _one_by_one(group: Any, reading: Reading) -> ItemsPlan | None:
    """A dataset for each item, under its id: a vector (d,), as UniProt has it, or rows (L, d) or (layers, L, d)."""
    from relrep_cli.store.guards import Refused, dataset, described
    from relrep_cli.store.hdf5_attributes import attribute

    names = _names(group)
    if not names or len(names) > MOST:
        return None
    try:
        first = described(_open(group, names[0]), names[0].decode(errors="replace"))
    except Refused:
        return None
    if first.kind[1] != "f" or not _looks_like_items(group, names, first, reading):
        return None
    plans: list[DatasetPlan] = []
    places, originals, known = array("q"), [], id_attribute(_open(group, names[0]), names)
    for name in names:
        shown = name.decode(errors="replace")
        item = _open(group, name)
        plan = dataset(item, shown)
        if (len(plan.shape), plan.shape[-1:], plan.kind) != (len(first.shape), first.shape[-1:], first.kind):
            if any(b"/" in one for one in names):
                return None
            raise Refused(
                shown,
                f"its shape is {plan.shape}, that of others {first.shape}",
                "Write vectors of one length.",
            )
        place = plan.offset if plan.shape == first.shape else None
        places.append(-1 if place is None else place)
        plans += [plan] if place is None else []
        originals.append(attribute(item, known, shown))
    named = all(isinstance(one, str) for one in originals) and (known == ORIGINAL or len(set(originals)) == len(originals))
    shown_names = (
        [str(one) for one in originals] if named else [name.decode(errors="replace") for name in without_common_end(names)]
    )
    return ItemsPlan(first, tuple(shown_names), places.tobytes(), tuple(plans), named)


def id_attribute(item: Any, names: list[bytes]) -> str:
    """The attribute with the ids: original_id, or where the names of the datasets only count them, one named as ids are."""
    from relrep_cli.store.hdf5_attributes import attribute, attribute_names

    counted = [{b"%d" % i for i in range(start, start + len(names))} for start in (0, 1)]
    if set(names) in counted and attribute(item, ORIGINAL, "") is None:
        return next((n for n in attribute_names(item) if is_id_name(n) and isinstance(attribute(item, n, ""), str)), ORIGINAL)
    return ORIGINAL


def without_common_end(names: list[bytes]) -> list[bytes]:
    """Paths without the last parts that all of them share, as where each item is a group with its embedding.

    >>> without_common_end([b"P1/embedding", b"P2/embedding"]), without_common_end([b"a/1", b"a/2"]), without_common_end([b"x"])
    ([b'P1', b'P2'], [b'a/1', b'a/2'], [b'x'])
    """
    while len(names) > 1 and len({name.rpartition(b"/")[2] for name in names}) == 1 and all(b"/" in name for name in names):
        names = [name.rpartition(b"/")[0] for name in names]
    return names


def _names(group: Any) -> list[bytes]:
    """The paths of all datasets of a group, in its order, at most MOST and one: an id with / makes groups of its parts."""
    from relrep_cli.store.child import allow_more
    from relrep_cli.store.guards import file_size
    from relrep_cli.store.libhdf5 import h5g, h5i, h5l, h5o

    names: list[bytes] = []

    def walk(place: Any, before: bytes, depth: int) -> None:
        inside: list[bytes] = []

        def keep(name: bytes) -> bool | None:
            inside.append(name)
            return True if len(names) + len(inside) > MOST else None

        place.links.iterate(keep)
        if HEADER * len(inside) <= file_size(group):  # or the file does not hold them all
            allow_more(SECONDS * len(inside), BYTES * len(inside))
        mixed = depth < DEPTH
        for name in inside:
            if len(names) > MOST:
                return
            if place.links.get_info(name).type == h5l.TYPE_HARD and mixed:
                item = h5o.open(place, name)
                if h5i.get_type(item) == h5i.GROUP and isinstance(item, h5g.GroupID):
                    walk(item, before + name + b"/", depth + 1)
                    continue
            names.append(before + name)

    walk(group, b"", 0)
    return names


def _open(group: Any, name: bytes) -> Any:
    from relrep_cli.store.guards import step

    for part in name.split(b"/"):
        group = step(group, part, "/")
    return group


def _looks_like_items(group: Any, names: list[bytes], first: DatasetPlan, reading: Reading) -> bool:
    """Whether the datasets of a file are items of it, by the first of them. Raises Refused where the user has to say more."""
    from relrep_cli.store.guards import Refused, described

    if len(first.shape) == 1:
        return are_items([first.shape], reading)
    try:
        shapes = [described(_open(group, name), name.decode(errors="replace")).shape for name in names[:64]]
    except Refused:
        return False
    if not are_items(shapes, reading):
        return False
    if fault := pooling_fault(first.shape, reading):
        raise Refused("/", *fault)
    return True


def _pointers(group: Any) -> PointersPlan | None:
    """scikit-bio: rows, letters, and where those of each protein end."""
    from relrep_cli.store.guards import dataset, has, step

    embedding, letters, ends, rows = (
        dataset(step(group, name, "/"), f"/{name.decode()}") if has(group, name) else None for name in (*PARTS, ROWS)
    )
    assert embedding is not None and letters is not None and ends is not None, "plan_of asks for these first"
    flat = all(len(part.shape) == 1 for part in (letters, ends, rows) if part is not None)
    return PointersPlan(embedding, letters, ends, rows) if flat and len(embedding.shape) == 2 else None


def assembled(source: Source, plan: ItemsPlan | PointersPlan, reading: Reading) -> Found:
    """The vectors that a plan of `plan_of` names. Raises DataError."""
    return _stacked(source, plan, reading) if isinstance(plan, ItemsPlan) else _pointed(source, plan)


def _stacked(source: Source, plan: ItemsPlan, reading: Reading) -> Found:
    names = [name.encode(errors="replace") for name in plan.names]
    places, items = np.frombuffer(plan.places, "<i8"), [stored(source, one) for one in plan.plans]
    if len(places) != len(names) or int((places < 0).sum()) != len(items):
        raise source.bad("its vectors do not fit its names; the file is hostile", AGAIN)
    if sum(item.unpacked for item in items if item.table is not None) > 256 << 20 > source.size:
        raise source.bad("it unpacks to far more than is stored; the file is hostile", AGAIN)
    others = iter(items)
    x = None
    for i, place in enumerate(places.tolist()):
        if i % 1024 == 0:
            check()
        item = next(others) if place < 0 else stored(source, replace(plan.first, offset=place))
        vector = pooled(load(source, item), reading)
        if x is None:
            x = spool((len(names), vector.shape[-1]), vector.dtype.newbyteorder("="))
        x[i] = vector
    assert x is not None, "a plan has a vector"
    width = max(map(len, names))
    if fault := padding_fault(width * len(names), source.size):
        raise source.bad(fault, SHORTEN)
    index = ORIGINAL if plan.from_attribute else "key"
    return Found(x, columns={index: np.array(names, f"S{width}")}, index=index)


def _pointed(source: Source, plan: PointersPlan) -> Found:
    """One vector for each protein: its row, or the mean of those of its residues. Its letters are its id."""
    rows = load(source, stored(source, plan.embedding))
    letters = load(source, stored(source, plan.id))
    ends = _ends(source, plan.idptr, len(letters))
    last = _ends(source, plan.embedding_ptr or plan.idptr, len(rows))
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
    return Found(x, columns={"id": np.array(names, f"S{width}")}, index="id")


def _ends(source: Source, plan: DatasetPlan, total: int) -> np.ndarray:
    """Where each part ends. scikit-bio leaves the last end out, which is that of all."""
    ends = load(source, stored(source, plan)).astype(np.int64)
    ends = ends if len(ends) and ends[-1] == total else np.append(ends, total)
    if len(ends) > MOST or (np.diff(ends, prepend=0) <= 0).any():
        raise source.bad("its pointers do not rise; the file is damaged", AGAIN, plan.name)
    return ends

"""One HDF5 object at a time, looked at before it is touched. Runs in the child process only.

Every function takes the object and `where`, its name in messages. Data are never read here (but for scalar attributes
and compact data, which live in the object's header): the answer is a plan, by which `chunks` reads the bytes itself.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any

import numpy as np

from relrep_cli.store.files import AGAIN
from relrep_cli.store.hdf5_plans import DatasetPlan
from relrep_cli.store.libhdf5 import h5d, h5g, h5i, h5l, h5o, h5s, h5t, h5z
from relrep_cli.store.limits import MEMBERS, TEXT_WIDTH, chunk_fault, chunks_of

LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "an external link"}
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
OTHER_FILTERS = {
    4: "szip", 5: "nbit", 6: "scaleoffset", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle",
    32013: "zfp", 32015: "zstd", 32026: "blosc2",
}  # fmt: skip
CLASSES = {
    h5t.FLOAT: "a custom float", h5t.INTEGER: "a custom integer", h5t.ENUM: "named values", h5t.COMPOUND: "compound values",
    h5t.REFERENCE: "references", h5t.OPAQUE: "opaque bytes", h5t.VLEN: "variable-length sequences", h5t.ARRAY: "arrays",
    h5t.BITFIELD: "bit fields", h5t.TIME: "times", h5t.STRING: "text", getattr(h5t, "COMPLEX", -9): "complex numbers",
}  # fmt: skip

PADDINGS = {h5t.STR_NULLTERM: "ended", h5t.STR_SPACEPAD: "spaces"}  # of fixed-length text, other than with NULs
SLOT = 16  # bytes of a text of variable length: its length, and where in the heap it is


class Refused(Exception):
    """An object is not read. where: its name in the file; finding and remedy as in `base.errors`."""

    def __init__(self, where: str, finding: str, remedy: str) -> None:
        super().__init__(finding)
        self.where, self.fields = where, [where, finding, remedy]


class Unsupported(Refused):
    """Harmless, but of a kind that relrep does not read; a column of such a kind is left out."""


# --- links ---


def has(group: Any, name: bytes) -> bool:
    return isinstance(group, h5g.GroupID) and b"/" not in name and bool(group.links.exists(name))


def below(where: str, name: bytes) -> str:
    return f"{where.rstrip('/')}/{name.decode(errors='backslashreplace')}"


def step(group: Any, name: bytes, where: str) -> Any:
    """The object behind the hard link `name` of `group`; other links lead to other files, or round in circles."""
    here = below(where, name)
    if not has(group, name):
        raise Refused(here, "there is no such object", "Check the name; relrep info lists the embeddings of a file.")
    kind = group.links.get_info(name).type
    if kind != h5l.TYPE_HARD:
        what = LINKS.get(kind, "a user-defined link")
        raise Refused(
            here, f"it is {what}, and relrep follows only hard links", "Name the object it leads to, or copy it here."
        )
    return h5o.open(group, name)


def members(group: Any) -> list[bytes]:
    """The names in a group, at most MEMBERS of them."""
    names: list[bytes] = []

    def keep(name: bytes) -> bool | None:
        names.append(name)
        return True if len(names) >= MEMBERS else None

    group.links.iterate(keep)
    return names


# --- datasets ---


def described(item: Any, where: str, single: bool = False) -> DatasetPlan:
    """Name, shape and kind of a dataset. Layout first: asking a virtual one for its shape opens its sources.

    single: whether it may be a single value, of shape ().
    """
    if not isinstance(item, h5d.DatasetID):
        raise Unsupported(where, "it is not a dataset", "Name a dataset.")
    creation = item.get_create_plist()
    if creation.get_layout() == h5d.VIRTUAL:
        raise Refused(where, "it is a virtual dataset, whose data lie in other files", "Copy the data into one file.")
    if creation.get_external_count():
        raise Refused(where, "its data lie in an external file", "Copy the data into one file.")
    kind = item.get_type()
    padding = PADDINGS.get(kind.get_strpad(), "") if kind.get_class() == h5t.STRING else ""
    return DatasetPlan(where, extent(item, where, single), kind_of(kind, where), padding)


def dataset(item: Any, where: str, single: bool = False) -> DatasetPlan:
    """The plan of a dataset: what `described` finds, and where and how its data lie."""
    plan = described(item, where, single)
    shape, width = plan.shape, width_of(item, where)
    creation = item.get_create_plist()
    if not prod(shape):
        return replace(plan, raw=b"")
    if creation.get_layout() == h5d.CHUNKED:
        return chunked(item, creation, plan, width)
    stored = item.get_storage_size()
    if stored != prod(shape) * width:
        raise Refused(
            where, f"it declares {prod(shape) * width} bytes and stores {stored}; the file is incomplete or hostile", AGAIN
        )
    if creation.get_layout() == h5d.COMPACT:
        return replace(plan, raw=compact(item, plan, width))
    if item.get_offset() is None:
        raise Refused(where, "its data were never written", AGAIN)
    return replace(plan, offset=item.get_offset())


def extent(item: Any, where: str, single: bool = False) -> tuple[int, ...]:
    space = item.get_space()
    if single and space.get_simple_extent_type() == h5s.SCALAR:
        return ()
    if space.get_simple_extent_type() != h5s.SIMPLE:
        raise Unsupported(where, "it is a single value, not an array", "Name an array of numbers.")
    return tuple(space.get_simple_extent_dims())


@cache
def standard_types() -> dict[str, Any]:
    """The stored types that are read, by NumPy's names."""
    kinds = {}
    for order, end in (("<", "LE"), (">", "BE")):
        for size in (1, 2, 4, 8):
            kinds[f"{order}i{size}"] = getattr(h5t, f"STD_I{8 * size}{end}")
            kinds[f"{order}u{size}"] = getattr(h5t, f"STD_U{8 * size}{end}")
        for size in (2, 4, 8):
            kinds[f"{order}f{size}"] = getattr(h5t, f"IEEE_F{8 * size}{end}")
    return kinds | {"|b1": h5t.py_create(np.dtype(bool))}


def kind_of(kind: Any, where: str) -> str:
    """NumPy's name of a stored type; "text" for text of variable length."""
    known, width = kind.get_class(), kind.get_size()
    if known in (h5t.FLOAT, h5t.INTEGER, h5t.ENUM):
        for name, standard in standard_types().items():
            if kind.equal(standard):
                return name
    if known == h5t.STRING and kind.is_variable_str():
        return "text"
    if known == h5t.STRING and width <= TEXT_WIDTH:
        return f"|S{width}"
    if known == h5t.STRING:
        raise Unsupported(where, f"its strings take {width} bytes each, at most {TEXT_WIDTH} are read", "Shorten them.")
    what = "complex numbers" if is_complex(kind) else CLASSES.get(known, f"values of HDF5 class {known}")
    raise Unsupported(where, f"it holds {what} of {width} bytes", "Save it as float16, float32, float64, integers or text.")


def width_of(item: Any, where: str) -> int:
    """Bytes an item takes in the file; HDF5 itself only tells what it takes in memory."""
    kind = item.get_type()
    if not (kind.get_class() == h5t.STRING and kind.is_variable_str()):
        return int(kind.get_size())
    if h5i.get_file_id(item).get_create_plist().get_sizes() != (8, 8):
        raise Unsupported(where, "it holds text of variable length in a file with short addresses", "Rewrite it with h5repack.")
    return SLOT


def is_complex(kind: Any) -> bool:
    """Whether a compound type is h5py's way to write complex numbers."""
    return kind.get_class() == h5t.COMPOUND and kind.get_nmembers() == 2 and kind.get_member_name(0) in (b"r", b"real")


def compact(item: Any, plan: DatasetPlan, width: int) -> bytes:
    """The data of a dataset small enough to live in its own header."""
    if plan.kind == "text":
        raise Unsupported(plan.name, "it holds text of variable length in compact layout", "Rewrite it with h5repack -l CONTI.")
    if prod(plan.shape) * width > 64 << 10:
        raise Refused(plan.name, "its compact data are larger than 64 KiB; the file is damaged or hostile", AGAIN)
    data = np.empty(plan.shape, f"V{width}")
    item.read(h5s.ALL, h5s.ALL, data, item.get_type())
    return data.tobytes()


def chunked(item: Any, creation: Any, plan: DatasetPlan, width: int) -> DatasetPlan:
    """The plan with its chunks."""
    where, shape, chunk = plan.name, plan.shape, tuple(creation.get_chunk())
    fault = chunk_fault(shape, chunk, width, file_size(item))
    if fault:
        raise Refused(where, fault, "If it is honest, rewrite it with h5repack -f NONE -l CONTI.")
    filters = [filter_name(creation.get_filter(i), width, where) for i in range(creation.get_nfilters())]
    if len(set(filters)) != len(filters):
        raise Refused(
            where, "a filter is applied to it twice, which only a decompression bomb needs", "Rewrite it with h5repack."
        )
    table = chunk_table(item, chunks_of(shape, chunk), where)
    return replace(plan, chunk=chunk, filters=tuple(filters), table=table)


def chunk_table(item: Any, wanted: int, where: str) -> bytes:
    """One row a chunk, in one pass: asking for them by number walks the index each time."""
    count, rows = 0, array("q")

    def keep(info: Any) -> bool | None:
        nonlocal count
        count += 1
        rows.extend((*info.chunk_offset, info.filter_mask, info.byte_offset, info.size))
        return True if count > wanted else None

    item.chunk_iter(keep)
    if count != wanted:
        raise Refused(where, f"{wanted} chunks are declared and {count} stored; the others were never written", AGAIN)
    return np.frombuffer(rows, np.int64).astype("<i8").tobytes()


def filter_name(described: tuple[Any, ...], width: int, where: str) -> str:
    code, _, values, _ = described
    if code not in FILTERS:
        what = f"it is packed with filter {OTHER_FILTERS.get(code, code)}, and relrep reads gzip, lzf, shuffle and fletcher32"
        raise Refused(where, what, "Read it in Python with h5py and hdf5plugin, and write it again with gzip.")
    if code == h5z.FILTER_SHUFFLE and tuple(values)[:1] != (width,):
        raise Refused(where, "its shuffle filter disagrees with its type; the file is damaged or hostile", AGAIN)
    return FILTERS[code]


def file_size(item: Any) -> int:
    return os.fstat(h5i.get_file_id(item).get_vfd_handle()).st_size

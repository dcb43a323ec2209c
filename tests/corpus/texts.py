"""Text that is not text: the heap of the file and the pointers into it, widths, encodings; attributes, which are text too."""

from __future__ import annotations

import json
import struct
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5s, h5t

from corpus.base import (
    ACCEPT,
    IDS,
    PLACES,
    TEXT,
    VALUES,
    Maker,
    N,
    added,
    case,
    collection,
    edited,
    everywhere,
    fixed_text,
    low_level,
    patched,
    plain,
    replaced,
    shape_at,
    vlen,
)  # fmt: skip

MIB = 1 << 20

# --- pointers ---


def laughs(target: str, base: Maker, count: int) -> Maker:
    """A thousand million laughs: one text of a MiB, named by every slot of `target`."""

    def put(group: Any, last: str) -> None:
        group.create_dataset(last, data=np.array(["x" * MIB] + ["y"] * (count - 1), object), dtype=h5py.string_dtype())

    def alias(content: bytearray, file: h5py.File) -> None:
        at = file[target].id.get_offset()
        content[at : at + 16 * count] = content[at : at + 16] * count

    return patched(alias, replaced(target, put, base))


def attribute_laughs(holder: str, name: str) -> Maker:
    """The same in an attribute of 3,000 texts."""

    def make(path: Path) -> None:
        collection(path, libver=None)  # without checksums over what is patched below
        with h5py.File(path, "r+") as file:
            file[holder].attrs[name] = np.array(["z" * MIB] + [f"column-{i}" for i in range(2999)], object)
        content = path.read_bytes()
        heap = content.rfind(b"GCOL", 0, content.find(b"z" * 1000))
        slot = struct.pack("<IQI", MIB, heap, 1)
        at = content.find(slot)
        path.write_bytes(content[:at] + slot * 3000 + content[at + len(slot) * 3000 :])

    return make


for place, (target, base) in PLACES.items():
    if place in TEXT:
        case(f"laughs-{place}", laughs(target, base, shape_at(place)[0]), f"8 GB from 1.3 MB, at {target}")
case("laughs-attribute", attribute_laughs("/", "notes"), "an unknown attribute is not read", ACCEPT)
case("laughs-known-attribute", attribute_laughs("/", "space"), "nor a known one that is no scalar", ACCEPT)
case("laughs-column-order", attribute_laughs("obs", "column-order"), "the order of columns is not worth a risk", ACCEPT)


def slot(form: str, at: int, value: int) -> Maker:
    """A maker: a field of the fourth id's slot (length 0, address 4, number 12) is changed."""

    def patch(content: bytearray, file: h5py.File) -> None:
        struct.pack_into(form, content, file["ids"].id.get_offset() + 16 * 3 + at, value)

    return patched(patch, vlen)


def heap_field(at: int, value: int) -> Maker:
    """A maker: eight bytes of the heap (size 8, first object 16, its size 24) are changed."""
    return patched(lambda content, file: struct.pack_into("<Q", content, content.find(b"GCOL") + at, value), vlen)


def free_block(content: bytearray, file: h5py.File) -> None:
    """The free space at the end of the heap says that it is 0 bytes long: libhdf5 looks at it for ever."""
    heap = content.find(b"GCOL")
    size, at = struct.unpack_from("<Q", content, heap + 8)[0], heap + 16
    while at < heap + size and struct.unpack_from("<H", content, at)[0]:
        at += 16 + (struct.unpack_from("<Q", content, at + 8)[0] + 7) // 8 * 8
    struct.pack_into("<Q", content, at + 8, 0)


def into_data(content: bytearray, file: h5py.File) -> None:
    struct.pack_into("<Q", content, file["ids"].id.get_offset() + 4, file["embeddings"].id.get_offset())


case("heap-free-zero", patched(free_block, vlen), "endless loop in libhdf5 up to 2.0")
case("heap-free-zero-attribute", patched(free_block, collection), "the same under a scalar attribute")
case("heap-size-huge", heap_field(8, 1 << 60), "a heap of 2**60 bytes")
case("heap-size-zero", heap_field(8, 0), "a heap of no bytes")
case("heap-object-huge", heap_field(24, 1 << 40), "an object of 2**40 bytes")
case("heap-object-negative", heap_field(24, 1 << 63), "an object of 2**63 bytes")
case("heap-object-short", heap_field(24, 1), "an object shorter than its text")
case("heap-no-signature", heap_field(0, 0), "no heap there")
case("slot-beyond-end", slot("<Q", 4, 1 << 50), "an address past the end")
case("slot-all-ones", slot("<Q", 4, 2**64 - 1), "an undefined address")
case("slot-into-data", patched(into_data, vlen), "no heap there")
case("slot-no-object", slot("<I", 12, 9999), "an object that is not there")
case("slot-number-huge", slot("<I", 12, (1 << 16) + 1), "a number beyond 16 bits")
case("slot-too-long", slot("<I", 0, 3000), "longer than its object")
case("slot-4gib", slot("<I", 0, 2**32 - 1), "an id of 4 GiB")

# --- widths and encodings ---


def wide_outlier(path: Path) -> None:
    """A hundred thousand ids of which one is long: as wide as that one, they take 400 MB."""
    ids = np.full(100_000, "a", object)
    ids[7] = "b" * 4090
    plain(path, np.zeros((100_000, 1), "f4"), ids)


why = "fixed strings of 1 GiB, where text or numbers belong"
everywhere("text-1gib", lambda group, name, shape, dtype: group.file and wide(group, name, shape), why)


def wide(group: Any, name: str, shape: tuple[int, ...]) -> None:
    h5py.h5d.create(group.id, name.encode(), fixed_text(1 << 30), h5s.create_simple(shape))


case("text-wide-outlier", wide_outlier, "one long text among 100,000")
case("text-5000", lambda path: vlen(path, ["x" * 5000, *IDS[1:]]), "an id of 5000 bytes")
case("text-5000-fixed", lambda path: plain(path, ids=np.full(N, b"x" * 5000)), "ids of 5000 bytes")
case("text-5000-column", added("obs/essay", np.array(["x" * 5000] * N, object)), "a long column is left out", ACCEPT)
case(
    "text-array-type",
    replaced("ids", lambda g, name: g.create_dataset(name, (N,), np.dtype(("S8", (4,)))), plain),
    "an array type",
)
case("text-not-utf8", lambda path: plain(path, ids=np.array([b"\xff\xfe%d" % i for i in range(N)])), "not UTF-8")
case("text-not-utf8-vlen", lambda path: vlen(path, [b"\xe9%d" % i for i in range(N)]), "Latin-1 in UTF-8's place")
case(
    "text-not-utf8-label",
    replaced("obs/label/categories", low_level(fixed_text(1), (3,), np.full(3, b"\xe9")), collection),
    "a label",
)
case("text-not-utf8-column", added("obs/city", np.full(N, b"\xe9")), "a column in Latin-1 is left out", ACCEPT)
case("text-split-character", lambda path: plain(path, ids=np.array([b"a\xc3", b"\xa9b"] * (N // 2))), "half a character an id")
case("text-empty", lambda path: plain(path, ids=np.array(["", *IDS[1:]], "S")), "an empty id")
case("text-empty-vlen", lambda path: vlen(path, ["", *IDS[1:]]), "an empty id")
case("text-all-empty", replaced("ids", low_level(fixed_text(9), (N,), np.zeros(N, "S9")), plain), "no id at all")
case("text-escapes", lambda path: vlen(path, ["\x1b[31mred\n", "\x1b[31mred\n", *IDS[2:]]), "control characters, twice", VALUES)
case("ids-twice", lambda path: plain(path, ids=["same", "same", *IDS[2:]]), "duplicates", VALUES)
case("ids-short", lambda path: plain(path, ids=IDS[:-1]), "fewer ids than rows")
case("ids-long", lambda path: plain(path, ids=[*IDS, "extra"]), "more ids than rows")
case("ids-float", lambda path: plain(path, ids=np.linspace(0, 1, N)), "ids that are no text")
case("ids-matrix", lambda path: plain(path, ids=np.array([IDS, IDS], "S").T), "two ids a row")
case("ids-group", replaced("ids", lambda group, name: group.create_group(name), plain), "a group")

# --- attributes ---


def attributes(path: Path) -> None:
    plain(path, libver="latest")
    with h5py.File(path, "r+", libver="latest") as file:
        for i in range(20_000):
            h5a.create(file["embeddings"].id, b"%d" % i, h5t.STD_I8LE, h5s.create(h5s.SCALAR))


def attribute(holder: str, name: str, value: Any) -> Maker:
    """A maker: a collection with one attribute replaced, in a format that takes attributes of any size."""

    def make(path: Path) -> None:
        collection(path)
        with h5py.File(path, "r+", libver="latest") as file:
            file[holder].attrs.create(name, value)

    return make


LONG = np.bytes_(b"x" * 16 * MIB)
case("attribute-20000", attributes, "20,000 attributes: only known names are looked at", ACCEPT)
case("attribute-16mib", attribute("/", "notes", LONG), "an unknown name is not read", ACCEPT)
for holder, name in (("/", "steps"), ("/", "format"), ("obs", "_index"), ("var", "_index")):
    case(f"attribute-16mib-{holder.strip('/')}{name}", attribute(holder, name, LONG), "a known attribute of 16 MiB")
case(
    "attribute-vlen-1mib", attribute("/", "steps", "x" * MIB), "of variable length: its size in the header is that of a pointer"
)
case("attribute-array", attribute("/", "steps", ["a", "b"]), "a known name that is no scalar is not read", ACCEPT)
case("attribute-null", attribute("/", "space", h5py.Empty("S9")), "a known name without a value is not read", ACCEPT)
case(
    "attribute-compound",
    attribute("/", "kind", np.zeros((), [("a", "f4")])),
    "a known name of another type is not read",
    ACCEPT,
)
case("attribute-index-gone", attribute("obs", "_index", "nowhere"), "the index is not where the attribute says")
case("attribute-index-number", attribute("obs", "_index", 5), "the index is named by a number")
case("attribute-index-dot", attribute("obs", "_index", "."), "the index is the frame itself")
case("attribute-not-utf8", attribute("/", "space", np.bytes_(b"\xff\xfe")), "not UTF-8", ACCEPT)
case("format-newer", lambda path: collection(path, **{"format-version": 2}), "made by a newer relrep")
case("format-huge", lambda path: collection(path, **{"format-version": np.uint64(2**64 - 1)}), "a version beyond int64")
case("format-text", lambda path: collection(path, **{"format-version": "one"}), "a version that is not a number")
case("format-no-index", edited(lambda file: file["obs"].__delitem__("id")), "the format requires ids")
case("format-no-var", edited(lambda file: file.__delitem__("var")), "no frame of columns", ACCEPT)
ODD = [
    {"params": [1, 2]},
    {"params": "text"},
    {"inputs": 7},
    {"inputs": ["a.h5", None]},
    {"params": {}, "inputs": [], "seed": []},
]
for i, step in enumerate(ODD):
    odd = json.dumps([{"id": "x", **step}])
    case(f"format-odd-steps-{i}", partial(collection, steps=odd), "steps whose parts are of other kinds", ACCEPT)
case("format-bad-steps", lambda path: collection(path, steps="{" * 9999), "steps that are no JSON", ACCEPT)

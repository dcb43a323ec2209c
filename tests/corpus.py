"""Hostile, damaged, foreign and honest files for every reader: `build(folder)` writes them and says what each deserves.

Run as a script with a folder to look at the files. A case is a function that writes one file; its decorator says what a
reader must do with it, its docstring or argument says why. Most dangers come in several places (matrix, ids, categorical
codes, …), because a guard that knows only the matrix is no guard.
"""

from __future__ import annotations

import gzip
import os
import pickle
import socket
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

N, D = 60, 8
X = np.random.default_rng(0).standard_normal((N, D)).astype("f4")
IDS = [f"item-{i}" for i in range(N)]
SECRET = "outside-secret.h5"  # a good file beside the cases: what hostile files point at
REFUSE, ACCEPT, VALUES = "refuse", "accept", "values"  # values: well-formed, but NaN, duplicates, …: refused by `store.read`


@dataclass(frozen=True)
class Case:
    """One file. member: what follows `::`, or None. expect: REFUSE, ACCEPT or VALUES."""

    name: str
    path: Path
    member: str | None
    expect: str
    why: str


Maker = Callable[[Path], Any]
MAKERS: list[tuple[str, Maker, str | None, str, str]] = []


def case(name: str, make: Maker, why: str, expect: str = REFUSE, member: str | None = None) -> None:
    MAKERS.append((name, make, member, expect, why))


def build(folder: Path) -> list[Case]:
    """Write every case into `folder`. A case that this HDF5 cannot write is left out, and said on stderr."""
    folder.mkdir(parents=True, exist_ok=True)
    plain(folder / SECRET, ids=[f"secret-{i}" for i in range(N)])
    (folder / "secret.bin").write_bytes(b"S3CRET" * 4096)
    cases = []
    for name, make, member, expect, why in MAKERS:
        path = folder / (name if "." in name else f"{name}.h5")
        try:
            made = make(path)
        except (OSError, ValueError, RuntimeError, AttributeError, ImportError) as error:
            print(f"corpus: {name} could not be written: {error}", file=sys.stderr)
            continue
        cases.append(Case(name, made if isinstance(made, Path) else path, member, expect, why))
    return cases


# --- honest files, from which the others are made ---


def plain(path: Path, x: Any = X, ids: Any = IDS, *, libver: Any = None, userblock: int = 0, **options: Any) -> None:
    """A foreign file: `embeddings` and `ids` at the root. `options` go to the matrix; values of None leave a dataset out."""
    with h5py.File(path, "w", libver=libver, userblock_size=userblock) as file:
        if x is not None:
            file.create_dataset("embeddings", data=x, **options)
        if ids is not None:
            file["ids"] = ids


def collection(path: Path, where: str = "/", **attributes: Any) -> None:
    """A file in relrep's own layout, with a categorical label."""
    with h5py.File(path, "a", libver="v110") as file:
        group = file.require_group(where)
        known = {"format": "HDF5::RelRep", "format-version": 1, "encoding-type": "anndata", "encoding-version": "0.1.0"}
        group.attrs.update({**known, "kind": "absolute", "space": "test", "steps": "[]", **attributes})
        group["X"] = X
        obs = frame(group, "obs", IDS)
        label = obs.create_group("label")
        label.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
        label["codes"], label["categories"] = (np.arange(N) % 3).astype("i1"), np.array([b"cat", b"dog", b"eel"])
        frame(group, "var", [str(i) for i in range(D)])


def frame(parent: Any, name: str, index: Any) -> Any:
    group = parent.create_group(name)
    group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "id"})
    group["id"] = np.array(index, "S")
    return group


def edited(edit: Callable[[h5py.File], None], base: Maker = collection) -> Maker:
    """A maker: the file of `base`, then changed by `edit`."""

    def make(path: Path) -> None:
        base(path)
        with h5py.File(path, "r+") as file:
            edit(file)

    return make


def replaced(name: str, put: Callable[[Any, str], None], base: Maker = collection) -> Maker:
    """A maker: the file of `base` with the object `name` replaced by what `put(group, last part)` makes."""

    def edit(file: h5py.File) -> None:
        parent, _, last = name.rpartition("/")
        group = file[parent or "/"]
        del group[last]
        put(group, last)

    return edited(edit, base)


def patched(patch: Callable[[bytearray, h5py.File], None], base: Maker = plain) -> Maker:
    """A maker: the bytes of the file of `base`, changed by `patch`, which may look at the structure first."""

    def make(path: Path) -> None:
        base(path)
        content = bytearray(path.read_bytes())
        with h5py.File(path) as file:
            patch(content, file)
        path.write_bytes(content)

    return make


PLACES = {  # every dataset that a reader touches: in a collection, and beside a bare matrix
    "x": ("X", collection), "index": ("obs/id", collection), "codes": ("obs/label/codes", collection),
    "categories": ("obs/label/categories", collection), "var": ("var/id", collection), "bare": ("embeddings", plain),
    "ids": ("ids", plain),
}  # fmt: skip
TEXT = {"index", "categories", "var", "ids"}


def content_of(place: str) -> tuple[tuple[int, ...], str]:
    """Shape and type of the honest dataset at a place."""
    shape = {"x": (N, D), "bare": (N, D), "categories": (3,), "var": (D,)}.get(place, (N,))
    return shape, "S8" if place in TEXT else "i1" if place == "codes" else "f4"


def everywhere(name: str, put: Callable[[Any, str, tuple[int, ...], str], None], why: str) -> None:
    """Seven cases: the same danger at each of PLACES. `put(group, name, shape, dtype)` makes the dataset."""
    for place, (target, base) in PLACES.items():
        shape, dtype = content_of(place)
        make = replaced(target, lambda g, last, s=shape, t=dtype: put(g, last, s, t), base)
        case(f"{name}-{place}", make, f"{why}, at {target}")


# --- other files: external storage, links, virtual datasets ---


def external(target: str) -> Callable[[Any, str, tuple[int, ...], str], None]:
    def put(group: Any, name: str, shape: tuple[int, ...], dtype: str) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        group.create_dataset(name, shape, dtype, external=[(target.replace("@", str(folder_of(group))), 0, size)])

    return put


def folder_of(group: Any) -> Path:
    return Path(group.file.filename).resolve().parent


def external_fifo(path: Path) -> None:
    os.mkfifo(f"{path}.fifo")
    replaced("embeddings", lambda g, name: external(f"{path}.fifo")(g, name, (N, D), "f4"), plain)(path)


def external_many(path: Path) -> None:
    segments = [("secret.bin", i, 30) for i in range(64)]
    replaced("embeddings", lambda g, name: g.create_dataset(name, (N, D), "f4", external=segments), plain)(path)


def linked(file: str, name: str = "/embeddings") -> Callable[[Any, str], None]:
    def put(group: Any, last: str) -> None:
        group[last] = h5py.ExternalLink(file, name)

    return put


def link_to_fifo(path: Path) -> None:
    os.mkfifo(f"{path}.fifo")
    replaced("embeddings", linked(f"{path}.fifo"), plain)(path)


def soft_through_external(file: h5py.File) -> None:
    del file["embeddings"]
    file["door"] = h5py.ExternalLink(SECRET, "/")
    file["embeddings"] = h5py.SoftLink("/door/embeddings")


def index_through_link(file: h5py.File) -> None:
    file["obs/door"] = h5py.ExternalLink(SECRET, "/")
    file["obs"].attrs["_index"] = "door/ids"


def virtual(source: str, name: str = "embeddings") -> Callable[[Any, str, tuple[int, ...], str], None]:
    def put(group: Any, last: str, shape: tuple[int, ...], dtype: str) -> None:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(source, name, shape, dtype)
        group.create_virtual_dataset(last, layout)

    return put


def virtual_pattern(group: Any, name: str) -> None:
    """A source pattern `%b` opens one file after another as soon as the shape is asked for."""
    space = h5s.create_simple((N, D), (h5s.UNLIMITED, D))
    space.select_hyperslab((0, 0), (h5s.UNLIMITED, 1), (N, D), (N, D))
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_virtual(space, b"outside-%b.h5", b"embeddings", h5s.create_simple((N, D)))
    h5d.create(group.id, name.encode(), h5t.IEEE_F32LE, h5s.create_simple((N, D), (h5s.UNLIMITED, D)), plist)


everywhere("external", external("secret.bin"), "external storage returns the bytes of any file (CVE-2026-1669)")
case(
    "external-absolute",
    replaced("embeddings", lambda g, n: external("@/secret.bin")(g, n, (N, D), "f4"), plain),
    "absolute path",
)
case(
    "external-passwd", replaced("embeddings", lambda g, n: external("/etc/passwd")(g, n, (N, D), "u1"), plain), "any local file"
)
case(
    "external-zero",
    replaced("embeddings", lambda g, n: external("/dev/zero")(g, n, (9999, 9999), "f4"), plain),
    "400 MB from 2 kB",
)
case("external-fifo", external_fifo, "reading it hangs")
case("external-missing", replaced("embeddings", lambda g, n: external("nowhere")(g, n, (N, D), "f4"), plain), "missing file")
case("external-many", external_many, "64 segments")
everywhere("virtual", lambda g, n, s, t: virtual(SECRET)(g, n, s, t), "a virtual dataset reads another file (keras#22976)")
case(
    "virtual-missing",
    replaced("embeddings", lambda g, n: virtual("gone.h5")(g, n, (N, D), "f4"), plain),
    "fill values, silently",
)
case("virtual-self", replaced("embeddings", lambda g, n: virtual(".")(g, n, (N, D), "f4"), plain), "its own source: SIGSEGV")
case("virtual-pattern", replaced("embeddings", virtual_pattern, plain), "opens files when asked for its shape")
for place, (target, base) in PLACES.items():
    case(f"external-link-{place}", replaced(target, linked(SECRET), base), f"another file is read (keras#22899), at {target}")
case("external-link-obs", replaced("obs", linked(SECRET, "/")), "a whole frame elsewhere")
case("external-link-label", replaced("obs/label", linked(SECRET, "/ids")), "a column elsewhere")
case("external-link-uns", edited(lambda f: linked(SECRET)(f.create_group("uns"), "center")), "an array of uns elsewhere")
case("external-link-missing", replaced("embeddings", linked("gone.h5"), plain), "dangling")
case("external-link-fifo", link_to_fifo, "opening it hangs")
case("external-link-self", lambda p: replaced("embeddings", linked(p.name), plain)(p), "round in a circle")
case(
    "external-link-in-path",
    edited(lambda f: linked(SECRET, "/")(f, "door"), plain),
    "first component",
    member="door/embeddings",
)
case("soft-through-external", edited(soft_through_external, plain), "a guard that looks at the last link only (keras#23163)")
case(
    "soft-in-path",
    edited(lambda f: f.__setitem__("door", h5py.SoftLink("/")), plain),
    "soft links are not followed",
    member="door/ids",
)
case("soft-cycle", replaced("embeddings", lambda g, n: g.__setitem__(n, h5py.SoftLink(f"/{n}")), plain), "leads to itself")
case("soft-dangling", replaced("embeddings", lambda g, n: g.__setitem__(n, h5py.SoftLink("/gone")), plain), "leads nowhere")
case("soft-ids", replaced("ids", lambda g, n: g.__setitem__(n, h5py.SoftLink("/embeddings")), plain), "ids by soft link")
case("soft-obs", replaced("obs", lambda g, n: g.__setitem__(n, h5py.SoftLink("/var"))), "obs by soft link")
case("index-through-link", edited(index_through_link), "the index named by an attribute lies behind a link")


# --- packing: filters, bombs, short chunks ---


def packed(
    path: Path,
    chunk: tuple[int, ...],
    shape: tuple[int, ...],
    blob: bytes,
    *,
    dtype: Any = "f4",
    name: str = "embeddings",
    count: int | None = None,
    mask: int = 0,
    grows: bool = False,
    filters: Callable[[Any], None] | None = lambda p: p.set_deflate(9),
) -> None:
    """A file whose first `count` chunks (default all) hold `blob` as it is, whatever the filters would make of it."""
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_chunk(chunk)
    if filters:
        filters(plist)
    with h5py.File(path, "a") as file:
        kind = h5t.py_create(np.dtype(dtype), logical=True)
        dataset = h5d.create(
            file.id, name.encode(), kind, h5s.create_simple(shape, (h5s.UNLIMITED,) * len(shape) if grows else None), plist
        )
        corners = list(np.ndindex(*(-(-n // c) for n, c in zip(shape, chunk, strict=True))))
        for corner in corners[:count]:
            dataset.write_direct_chunk(tuple(i * c for i, c in zip(corner, chunk, strict=True)), blob, mask)


def zeros(size: int, times: int = 1) -> bytes:
    """`size` zero bytes, deflated `times` times."""
    blob = bytes(size)
    for _ in range(times):
        blob = zlib.compress(blob, 9)
    return blob


def twice(plist: Any) -> None:
    plist.set_deflate(9)
    plist.set_deflate(9)


def filtered(*numbers: int) -> Callable[[Any], None]:
    """Filters by number, optional ones, so that HDF5 lets the file be written without having them."""

    def put(plist: Any) -> None:
        for number in numbers:
            plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (4,) if number == 2 else (1,))

    return put


RAW = X.tobytes()
ONE = ((N, D), (N, D))
case(
    "filter-plugin", lambda p: packed(p, *ONE, RAW, filters=filtered(65000)), "an unknown filter loads every plugin (hdf5#5160)"
)
case("filter-plugin-ids", lambda p: (plain(p, ids=None), packed(p, (N,), (N,), b"a" * 8 * N, dtype="S8", name="ids", filters=filtered(65000))), "an unknown filter on the ids")  # fmt: skip
case("filter-blosc", lambda p: packed(p, *ONE, RAW, filters=filtered(32001)), "needs a plugin")
case("filter-lzf", lambda p: plain(p, compression="lzf"), "not read; the message says what to do")
case(
    "filter-scaleoffset", lambda p: plain(p, (X * 100).astype("i4"), scaleoffset=0), "heap contents on short chunks (hdf5#6585)"
)
case(
    "filter-gzip-twice",
    lambda p: packed(p, (4096, 4096), (4096, 4096), zeros(1 << 26, 2), filters=twice),
    "64 MiB from 300 bytes",
)
case("filter-shuffle-twice", lambda p: packed(p, *ONE, RAW, filters=filtered(2, 2)), "twice the same filter")
case("filter-fletcher-twice", lambda p: packed(p, *ONE, RAW, filters=filtered(3, 3)), "twice the same filter")
case("filter-many", lambda p: packed(p, *ONE, RAW, filters=filtered(*range(300, 330))), "thirty filters")
case(
    "shape-3gib",
    lambda p: h5py.File(p, "w").create_dataset("embeddings", (1 << 20, 768), "f4").file.close(),
    "nothing stored (CVE-2026-0897)",
)
case(
    "shape-3pib", lambda p: h5py.File(p, "w").create_dataset("embeddings", (1 << 40, 768), "f4").file.close(), "nothing stored"
)
case("shape-overflow", lambda p: h5py.File(p, "w").create_dataset("embeddings", (1 << 31, 1 << 30), "f4", chunks=(1024, 1024)).file.close(), "2**63 bytes")  # fmt: skip
case(
    "shape-small-unwritten",
    lambda p: h5py.File(p, "w").create_dataset("embeddings", (N, D), "f4").file.close(),
    "reads as zeros",
)
everywhere("unwritten", lambda g, n, s, t: g.create_dataset(n, s, t), "contiguous, never written, reads as zeros")
everywhere("unwritten-chunks", lambda g, n, s, t: g.create_dataset(n, s, t, chunks=s), "chunks never written read as zeros")
case("shape-ids-bomb", lambda p: (plain(p, ids=None), h5py.File(p, "a").create_dataset("ids", (1 << 40,), "S99").file.close()), "ids never written")  # fmt: skip
case("shape-zero-rows", lambda p: plain(p, np.empty((0, D), "f4"), None), "no rows")
case("shape-zero-columns", lambda p: plain(p, np.empty((N, 0), "f4")), "no dimensions")
case("shape-zero-by-huge", lambda p: h5py.File(p, "w").create_dataset("embeddings", (1 << 62, 0), "f4").file.close(), "no dimensions, 2**62 rows")  # fmt: skip
case("bomb-1gib", lambda p: packed(p, (2048, 8192), (32768, 8192), zeros(1 << 26)), "1 GiB from 1 MB (CWE-409)")
case("bomb-320mib", lambda p: packed(p, (1024, 1024), (81920, 1024), zeros(1 << 22)), "320 MiB from 330 kB")
case("bomb-chunk", lambda p: packed(p, (8192, 8192), (8192, 8192), zeros(1 << 28)), "one chunk of 256 MiB")
case("bomb-ids", lambda p: (plain(p, ids=None), packed(p, (1 << 17,), (1 << 17,), zeros(1 << 29), dtype="S4096", name="ids")), "512 MiB of ids")  # fmt: skip
case("bomb-edge", lambda p: packed(p, (8192, 4096), (N, D), zeros(1 << 27), grows=True), "128 MiB inflated for 60 rows", ACCEPT)
case("bomb-margin", lambda p: packed(p, (1, 1 << 24), (40, 1), zeros(1 << 26), grows=True), "2.5 GiB inflated for 40 numbers")
case("index-bomb", lambda p: h5py.File(p, "w").create_dataset("embeddings", (1 << 15, 1 << 10), "f4", chunks=(1, 1)).file.close(), "32 million chunks")  # fmt: skip
case("chunk-missing", lambda p: packed(p, (10, D), (N, D), zlib.compress(RAW[:320]), count=5), "one of six was never written")
case("chunk-short-inflate", lambda p: packed(p, *ONE, zlib.compress(RAW[:-4])), "freed memory becomes embeddings (hdf5#6184)")
case("chunk-very-short", lambda p: packed(p, (4096, 4096), (4096, 4096), zeros(1 << 20)), "64 MiB chunk from 1 MiB: SIGSEGV")
case("chunk-long-inflate", lambda p: packed(p, *ONE, zlib.compress(RAW + b"more")), "more than a chunk")
case("chunk-cut-stream", lambda p: packed(p, *ONE, zlib.compress(RAW)[:-20]), "the deflate stream ends early")
case("chunk-no-checksum", lambda p: packed(p, *ONE, zlib.compress(RAW)[:-4]), "the Adler checksum is missing")
case("chunk-noise", lambda p: packed(p, *ONE, b"\xff\x00garbage" * 30), "not a deflate stream")
case("chunk-raw-short", lambda p: packed(p, *ONE, RAW[:-4], filters=None), "stored short (CVE-2025-44904)")
case("chunk-raw-tiny", lambda p: packed(p, *ONE, b"\0", filters=None), "one byte stored")
case(
    "chunk-mask-short", lambda p: packed(p, *ONE, RAW[:100], mask=1), "the filter is said to be skipped, and the data are short"
)
case("chunk-mask-wrong", lambda p: packed(p, *ONE, zlib.compress(RAW), mask=1), "deflated, but said to be raw")
case("chunk-fletcher-wrong", lambda p: packed(p, *ONE, RAW + b"\1\2\3\4", filters=filtered(3)), "wrong checksum")
case("chunk-fletcher-short", lambda p: packed(p, *ONE, b"\1\2", filters=filtered(3)), "shorter than its checksum")
case("chunk-codes-short", lambda p: (replaced("obs/label/codes", lambda g, n: None)(p), packed(p, (N,), (N,), zlib.compress(b"\0\1"), dtype="i1", name="obs/label/codes")), "short codes")  # fmt: skip
case("chunk-ids-short", lambda p: (plain(p, ids=None), packed(p, (N,), (N,), zlib.compress(b"abc"), dtype="S8", name="ids")), "short ids")  # fmt: skip


def chunk_address(content: bytearray, file: h5py.File, number: int, address: int) -> None:
    """Send a chunk elsewhere: its address in the B-tree becomes another."""
    info = file["embeddings"].id.get_chunk_info(number)
    at = content.find(struct.pack("<Q", info.byte_offset))
    content[at : at + 8] = struct.pack("<Q", address)


def two_chunks(path: Path) -> None:
    plain(path, chunks=(N // 2, D))


case("chunk-beyond-end", patched(lambda c, f: chunk_address(c, f, 1, 1 << 30), two_chunks), "an address past the end")
case("chunk-alias", patched(lambda c, f: chunk_address(c, f, 1, f["embeddings"].id.get_chunk_info(0).byte_offset), two_chunks), "two chunks share their bytes")  # fmt: skip


# --- text: heap, vlen, width, encoding ---


def vlen(path: Path, ids: Any = IDS) -> None:
    plain(path, ids=np.array(ids, object))


def slots_of(file: h5py.File, name: str = "ids") -> int:
    return int(file[name].id.get_offset())


def alias(content: bytearray, file: h5py.File, name: str = "ids") -> None:
    """All texts point at the first one."""
    at, count = slots_of(file, name), file[name].shape[0]
    content[at : at + 16 * count] = content[at : at + 16] * count


def laughs(target: str, base: Maker, count: int) -> Maker:
    """A thousand million laughs: one long text, named by every slot of `target`."""

    def put(group: Any, last: str) -> None:
        texts = np.array(["x" * (1 << 20)] + ["y"] * (count - 1), object)
        group.create_dataset(last, data=texts, dtype=h5py.string_dtype())

    return patched(lambda c, f: alias(c, f, target), replaced(target, put, base))


def attribute_laughs(path: Path, holder: str, name: str) -> None:
    collection(path)
    with h5py.File(path, "r+") as file:
        file[holder].attrs[name] = np.array(["z" * (1 << 20)] + [f"col{i}" for i in range(2999)], object)
    content = path.read_bytes()
    heap = content.find(b"GCOL")
    while content[heap : heap + (1 << 20)].count(b"z") < 1000:
        heap = content.find(b"GCOL", heap + 1)
    slot = struct.pack("<IQI", 1 << 20, heap, 1)
    at = content.find(slot)
    path.write_bytes(content[:at] + slot * 3000 + content[at + 16 * 3000 :])


def slot(content: bytearray, file: h5py.File, number: int, form: str, at: int, value: int) -> None:
    place = slots_of(file) + 16 * number + at
    content[place : place + struct.calcsize(form)] = struct.pack(form, value)


def heap_field(at: int, value: int) -> Callable[[bytearray, h5py.File], None]:
    def patch(content: bytearray, file: h5py.File) -> None:
        place = content.find(b"GCOL") + at
        content[place : place + 8] = struct.pack("<Q", value)

    return patch


def free_block(content: bytearray, file: h5py.File) -> None:
    """The free space at the end of the heap says that it is 0 bytes long: libhdf5 looks at it for ever."""
    heap = content.find(b"GCOL")
    size, at = struct.unpack_from("<Q", content, heap + 8)[0], heap + 16
    while at < heap + size and struct.unpack_from("<H", content, at)[0]:
        at += 16 + (struct.unpack_from("<Q", content, at + 8)[0] + 7) // 8 * 8
    struct.pack_into("<Q", content, at + 8, 0)


def attribute_heap(path: Path) -> None:
    collection(path)
    with h5py.File(path, "r+") as file:
        file.attrs["space"] = "of variable length"
        file["obs"].attrs["_index"] = "id"


def texts_of(width: int) -> Callable[[Any, str, tuple[int, ...], str], None]:
    def put(group: Any, name: str, shape: tuple[int, ...], dtype: str) -> None:
        kind = h5t.C_S1.copy()
        kind.set_size(width)
        h5d.create(group.id, name.encode(), kind, h5s.create_simple(shape))

    return put


def many_wide(path: Path) -> None:
    """A hundred thousand texts of which one is long: as wide as that one, they take 400 MB."""
    plain(path, np.zeros((100_000, 1), "f4"), None)
    with h5py.File(path, "a") as file:
        text = np.full(100_000, "a", object)
        text[7] = "b" * 4090
        file["ids"] = text


for place, (target, base) in PLACES.items():
    if place in TEXT:
        case(f"laughs-{place}", laughs(target, base, content_of(place)[0][0]), f"vlen aliasing, 8 GB from 1.3 MB, at {target}")
case("laughs-attribute", lambda p: attribute_laughs(p, "/", "notes"), "an unknown attribute is not read", ACCEPT)
case(
    "laughs-known-attribute",
    lambda p: attribute_laughs(p, "/", "space"),
    "a known one that is no scalar is not read either",
    ACCEPT,
)
case(
    "laughs-column-order",
    lambda p: attribute_laughs(p, "obs", "column-order"),
    "the order of columns is not worth a risk",
    ACCEPT,
)
case("heap-free-zero", patched(free_block, vlen), "endless loop in libhdf5 up to 2.0")
case("heap-free-zero-attribute", patched(free_block, attribute_heap), "the same under a scalar attribute")
case("heap-size-huge", patched(heap_field(8, 1 << 60), vlen), "a collection of 2**60 bytes")
case("heap-size-zero", patched(heap_field(8, 0), vlen), "a collection of no bytes")
case("heap-object-huge", patched(heap_field(24, 1 << 40), vlen), "an object of 2**40 bytes")
case("heap-object-negative", patched(heap_field(24, 1 << 63), vlen), "an object of 2**63 bytes")
case("heap-no-signature", patched(heap_field(0, 0), vlen), "no heap there")
case("slot-beyond-end", patched(lambda c, f: slot(c, f, 3, "<Q", 4, 1 << 50), vlen), "an address past the end")
case("slot-all-ones", patched(lambda c, f: slot(c, f, 3, "<Q", 4, 2**64 - 1), vlen), "an undefined address")
case("slot-into-data", patched(lambda c, f: slot(c, f, 3, "<Q", 4, f["embeddings"].id.get_offset()), vlen), "no heap there")
case("slot-no-object", patched(lambda c, f: slot(c, f, 3, "<I", 12, 9999), vlen), "an object that is not there")
case("slot-number-huge", patched(lambda c, f: slot(c, f, 3, "<I", 12, (1 << 16) + 1), vlen), "a number beyond 16 bits")
case("slot-too-long", patched(lambda c, f: slot(c, f, 3, "<I", 0, 3000), vlen), "longer than its object")
case("slot-4gib", patched(lambda c, f: slot(c, f, 3, "<I", 0, 2**32 - 1), vlen), "4 GiB of one id")
case("text-wide-outlier", many_wide, "one long text among 100,000")
case("text-5000", lambda p: vlen(p, ["x" * 5000, *IDS[1:]]), "an id of 5000 bytes")
everywhere("text-1gib", texts_of(1 << 30), "fixed strings of 1 GiB, where strings or numbers belong")
case("text-array-type", replaced("ids", lambda g, n: g.create_dataset(n, (N,), np.dtype(("S8", (4,)))), plain), "an array type")
case("text-not-utf8", lambda p: plain(p, ids=np.array([b"\xff\xfe%d" % i for i in range(N)])), "not UTF-8")
case(
    "text-not-utf8-vlen",
    lambda p: plain(p, ids=np.array([b"\xe9%d" % i for i in range(N)], object)),
    "Latin-1 in UTF-8's place",
)
case(
    "text-split-character",
    lambda p: plain(p, ids=np.array([b"a\xc3", b"\xa9b"] * (N // 2))),
    "half a character at the end of an id",
)
case("text-ids-empty", lambda p: plain(p, ids=np.array([b"", *map(str.encode, IDS[1:])])), "an empty id")
case("text-ids-empty-vlen", lambda p: vlen(p, ["", *IDS[1:]]), "an empty id")
case("text-escapes", lambda p: vlen(p, ["\x1b[31mred\n", "\x1b[31mred\n", *IDS[2:]]), "control characters, twice", VALUES)
case("ids-short", lambda p: plain(p, ids=IDS[:-1]), "fewer ids than rows")
case("ids-long", lambda p: plain(p, ids=[*IDS, "extra"]), "more ids than rows")
case("ids-float", lambda p: plain(p, ids=np.linspace(0, 1, N)), "ids that are no text")
case("ids-matrix", lambda p: plain(p, ids=np.array([IDS, IDS], "S").T), "two ids a row")
case("ids-group", replaced("ids", lambda g, n: g.create_group(n), plain), "a group")
case("ids-twice", lambda p: plain(p, ids=["same", "same", *IDS[2:]]), "duplicates", VALUES)


# --- types ---


def typed(kind: Any) -> Maker:
    """A matrix of an HDF5 type that NumPy may not have."""

    def make(path: Path) -> None:
        with h5py.File(path, "w") as file:
            plist = h5p.create(h5p.DATASET_CREATE)
            plist.set_alloc_time(h5d.ALLOC_TIME_EARLY)
            h5d.create(file.id, b"embeddings", kind(), h5s.create_simple((N, D)), plist)

    return make


def brain_float() -> Any:
    kind = h5t.IEEE_F16LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_ebias(127)
    return kind


def odd_integer() -> Any:
    kind = h5t.STD_I32LE.copy()
    kind.set_precision(20)
    return kind


def opaque() -> Any:
    kind = h5t.create(h5t.OPAQUE, 64)
    kind.set_tag(b"pickle")
    return kind


BOOM = pickle.dumps({"__reduce__": print}, 0)
case("type-compound", lambda p: plain(p, np.zeros((N, D), [("a", "f4"), ("b", "f4")])), "compound values")
case("type-complex", lambda p: plain(p, X.astype("c8")), "loses its imaginary part with a warning")
case("type-enum", lambda p: plain(p, np.zeros((N, D), "i4"), dtype=h5py.enum_dtype({"A": 0, "B": 1})), "enumerated values")
case("type-bool", lambda p: plain(p, X > 0), "truth values")
case("type-text", lambda p: plain(p, X.astype("S12")), "numbers as text")
case("type-vlen-text", lambda p: plain(p, X.astype(str).astype(object), dtype=h5py.string_dtype()), "numbers as vlen text")
case("type-references", lambda p: plain(p, np.empty((N, D), h5py.ref_dtype), dtype=h5py.ref_dtype), "object references")
case(
    "type-regions", lambda p: plain(p, np.empty((N, D), h5py.regionref_dtype), dtype=h5py.regionref_dtype), "region references"
)
case("type-opaque", lambda p: plain(p, np.full((N, D), np.void(BOOM.ljust(80)))), "a pickle in opaque bytes")
case("type-opaque-tagged", typed(opaque), "opaque bytes with a tag")
case(
    "type-array",
    lambda p: h5py.File(p, "w").create_dataset("embeddings", (N,), np.dtype(("f4", (D,)))).file.close(),
    "an array type",
)
case("type-array-huge", lambda p: h5py.File(p, "w").create_dataset("embeddings", (N,), np.dtype(("f4", (1 << 28,)))).file.close(), "1 GiB an item")  # fmt: skip
case("type-vlen-floats", lambda p: h5py.File(p, "w").create_dataset("embeddings", (N,), h5py.vlen_dtype("f4")).file.close(), "rows of any length")  # fmt: skip
case("type-bfloat16", typed(brain_float), "a custom float")
case("type-odd-integer", typed(odd_integer), "20 bits in 32")
case("type-bits", typed(lambda: h5t.STD_B32LE), "bit fields")
case("type-long-double", typed(lambda: h5t.NATIVE_LDOUBLE), "longer than float64")
case("type-big-integers", lambda p: plain(p, np.full((N, D), 2**60 + 1, "i8")), "integers that no float holds exactly")
case("rank-0", lambda p: plain(p, np.float32(3)), "a single number")
case("rank-1", lambda p: plain(p, X[0]), "one axis")
case("rank-3", lambda p: plain(p, X.reshape(N, 2, 4)), "three axes")
case("rank-32", lambda p: plain(p, np.zeros((1,) * 32, "f4")), "thirty-two axes")
case("rank-null", lambda p: plain(p, h5py.Empty("f4")), "no dataspace")


# --- structure ---


def nested(path: Path) -> None:
    plain(path)
    with h5py.File(path, "r+") as file:
        group = file
        for _ in range(3000):
            group = group.create_group("g")


def nested_only(path: Path) -> None:
    nested(path)
    with h5py.File(path, "r+") as file:
        del file["embeddings"]


def wide_only(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        for i in range(5000):
            file.create_group(f"group-{i}")


def attributes(path: Path, count: int = 50_000) -> None:
    plain(path, libver="latest")
    with h5py.File(path, "r+", libver="latest") as file:
        kind, space = h5t.STD_I8LE, h5s.create(h5s.SCALAR)
        for i in range(count):
            h5py.h5a.create(file["embeddings"].id, b"%d" % i, kind, space)


def cyclic(file: h5py.File) -> None:
    file["a/b"] = np.zeros(3)
    file["a/up"] = file["/"]
    file["a/self"] = file["a"]


def sparse(file: h5py.File) -> None:
    del file["X"]
    group = file.create_group("X")
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (N, D)})
    group["data"], group["indices"], group["indptr"] = np.ones(9, "f4"), np.arange(9), np.arange(N + 1)


def big_attribute(name: str) -> Maker:
    def make(path: Path) -> None:
        collection(path)
        with h5py.File(path, "r+", libver="latest") as file:
            if name in file.attrs:
                del file.attrs[name]
            file.attrs.create(name, np.bytes_(b"x" * (16 << 20)))

    return make


def open_for_writing(path: Path) -> None:
    """A version 3 superblock whose writer never closed it; flags and checksum as HDF5 leaves them."""
    with h5py.File(path, "w", libver="latest") as file:
        file["embeddings"] = X
        file.swmr_mode = True
        file.flush()
        content = path.read_bytes()
    path.write_bytes(content)


def family(path: Path) -> Path:
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_family(1 << 20, h5p.create(h5p.FILE_ACCESS))
    with h5py.File(h5py.h5f.create(str(path.with_name("family-%d.h5")).encode(), fapl=access)) as file:
        file["embeddings"] = X
    return path.with_name("family-0.h5")


def codes(values: Any) -> Maker:
    return replaced("obs/label/codes", lambda g, n: g.create_dataset(n, data=values))


case("nested-beside", nested, "3,000 nested groups beside the matrix", ACCEPT)
case("nested-only", nested_only, "3,000 nested groups and no matrix")
case("wide-only", wide_only, "5,000 empty groups and no matrix")
case("cycle", edited(cyclic, lambda p: plain(p, None)), "groups that contain themselves")
case(
    "cycle-member",
    edited(cyclic, plain),
    "a path through the cycle is a path of hard links",
    ACCEPT,
    "a/up/a/self/up/embeddings",
)
case("deep-member", plain, "a member 5,000 groups deep", member="/".join(["x"] * 5000))
case("odd-member", plain, "a member that is no path", member="../\x00\n\x1b[31m/ \ud800")
case("member-missing", plain, "no such member", member="layer/3")
case("member-of-dataset", plain, "a member inside of a dataset", member="embeddings/x")
case("attributes-50000", attributes, "50,000 attributes: only known names are looked at", ACCEPT)
case("attribute-16mib", big_attribute("notes"), "unknown names are not read", ACCEPT)
case("attribute-16mib-known", big_attribute("steps"), "a known attribute of 16 MiB")
case("attribute-16mib-index", lambda p: (collection(p), big_obs(p)), "the name of the index is 16 MiB long")
case("format-newer", lambda p: collection(p, **{"format-version": 2}), "made by a newer relrep")
case("format-text", lambda p: collection(p, **{"format-version": "one"}), "a version that is no number")
case("format-no-index", edited(lambda f: f["obs"].__delitem__("id")), "the format requires ids")
case("sparse-x", edited(sparse), "X is sparse")
case("x-named-type", replaced("X", lambda g, n: g.__setitem__(n, np.dtype("f4"))), "X is a committed type")
case("obs-compound", replaced("obs", lambda g, n: g.__setitem__(n, np.zeros(N, [("index", "S8")]))), "obs of anndata 0.6")
case("obs-short", replaced("obs/id", lambda g, n: g.__setitem__(n, np.array(IDS[:-1], "S"))), "fewer ids than rows")
case("column-short", edited(lambda f: f["obs"].__setitem__("age", np.arange(N - 1))), "a column that is too short")
case("codes-short", codes(np.zeros(N - 1, "i1")), "too few codes")
case("codes-beyond", codes(np.full(N, 3, "i1")), "a code without category")
case("codes-negative", codes(np.full(N, -2, "i1")), "a code below -1")
case("codes-huge", codes(np.full(N, 2**63 + 5, "u8")), "a code beyond int64")
case("codes-float", codes(np.zeros(N)), "codes that are no integers")
case("two-matrices", edited(lambda f: f.__setitem__("features", X), plain), "which one is meant?")
case("no-matrix", lambda p: plain(p, None), "only ids")
case("open-for-writing", open_for_writing, "a writer died, or is still writing")
case("family", family, "one of several files")


def big_obs(path: Path) -> None:
    with h5py.File(path, "r+", libver="latest") as file:
        file["obs"].attrs.create("_index", np.bytes_(b"x" * (16 << 20)))


# --- not HDF5, not whole, not a file ---


def content(data: bytes) -> Maker:
    return lambda path: path.write_bytes(data) and None


def cut(share: float, base: Maker = plain) -> Maker:
    def make(path: Path) -> None:
        base(path)
        os.truncate(path, int(path.stat().st_size * share))

    return make


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's address has at most 107 bytes
        server.bind(path.name)
        os.chdir(here)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.txt", "hello")


def npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)


SIGNATURE = b"\x89HDF\r\n\x1a\n"
for name, data, why in (
    ("text", b"hello world\n" * 9, "text"),
    ("gzip", gzip.compress(b"hello" * 99), "gzip-compressed"),
    ("html", b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
    ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a Git LFS pointer"),
    ("pickle", pickle.dumps({"x": [1.0]}), "a pickle"),
    ("noise", np.random.default_rng(1).bytes(5000), "noise"),
    ("json", b'{"embeddings": [[1, 2]]}', "JSON"),
    ("empty", b"", "no bytes"),
    ("one-byte", b"\x89", "one byte"),
    ("signature-only", SIGNATURE, "a signature and nothing else"),
    ("signature-zeros", SIGNATURE + bytes(4096), "a signature and zeros"),
    ("signature-ones", SIGNATURE + b"\xff" * 4096, "a signature and ones"),
    ("signature-late", bytes(1000) + SIGNATURE + bytes(500), "a signature where none is looked for"),
):
    case(f"is-{name}", content(data), why)
case("is-zip", zipped, "a zip archive")
case("is-npy", npy, "a NumPy array")
case("is-folder", lambda p: p.mkdir(), "a folder")
case("is-fifo", os.mkfifo, "a pipe: opening it would block")
case("is-socket", listening, "a socket")
case("is-device", lambda p: Path("/dev/zero"), "a device")
case("is-missing", lambda p: None, "no such file")
case("is-dangling", lambda p: p.symlink_to("gone.h5"), "a dangling symbolic link")
case("is-loop", lambda p: p.symlink_to(p.name), "a symbolic link to itself")
for share in (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99):
    case(f"cut-{share}.h5", cut(share), f"truncated at {share:.0%}")
    if share in (0.1, 0.5, 0.9, 0.99):
        case(f"cut-own-{share}.h5", cut(share, collection), f"relrep's layout, truncated at {share:.0%}")
        case(
            f"cut-packed-{share}.h5",
            cut(share, lambda p: plain(p, compression="gzip", chunks=(7, D))),
            f"gzip, truncated at {share:.0%}",
        )


# --- values: `store.read` refuses them ---


def holed(value: float, dtype: str = "f4") -> Maker:
    def make(path: Path) -> None:
        x = X.astype(dtype)
        x[N // 2, 3] = value
        plain(path, x)

    return make


case("value-nan", holed(np.nan), "NaN", VALUES)
case("value-inf", holed(np.inf), "infinity", VALUES)
case("value-minus-inf-half", holed(-np.inf, "f2"), "infinity in float16", VALUES)
case("value-nan-big-endian", holed(np.nan, ">f8"), "NaN in big-endian float64", VALUES)
case("value-nan-packed", lambda p: plain(p, np.full((N, D), np.nan, "f4"), compression="gzip"), "NaN in packed data", VALUES)


# --- foreign and honest: to be read ---


def anndata_file(path: Path, **options: Any) -> None:
    import anndata
    import pandas as pd

    obs = pd.DataFrame({"label": pd.Categorical(["a", "é", "c"] * (N // 3)), "n": np.arange(N), "t": IDS}, index=IDS)
    obs["maybe"] = pd.array([1, None] * (N // 2), dtype="Int64")
    anndata.AnnData(X, obs, obsm={"X_pca": X[:, :3].astype("f8")}).write_h5ad(path, **options)


def with_label(path: Path) -> None:
    plain(path)
    with h5py.File(path, "r+") as file:
        file["labels"], file["split"] = np.arange(N) % 10, np.arange(N) % 2


def with_empty_categories(path: Path) -> None:
    codes(np.full(N, -1, "i1"))(path)
    replaced("obs/label/categories", lambda g, n: g.create_dataset(n, data=np.empty(0, "S1")), lambda p: None)(path)


def symbolic(path: Path) -> None:
    path.symlink_to(SECRET)


for name, options in {
    "v0": {}, "v3": {"libver": "latest"}, "v110": {"libver": "v110"}, "gzip": {"compression": "gzip"},
    "gzip-shuffle": {"compression": "gzip", "shuffle": True}, "fletcher": {"fletcher32": True},
    "all-filters": {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (7, 3)},
    "all-filters-latest": {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (7, 3), "libver": "latest"},
    "resizable": {"maxshape": (None, D)}, "resizable-latest": {"maxshape": (None, D), "libver": "latest"},
    "resizable-both": {"maxshape": (None, None), "chunks": (16, 3), "libver": "latest"},
    "row-chunks": {"chunks": (1, D)}, "edge-chunks": {"chunks": (50, 7)}, "userblock": {"userblock": 512},
    "userblock-chunks": {"userblock": 1024, "chunks": (10, D), "compression": "gzip"}, "no-ids": {"ids": None},
    "int-ids": {"ids": np.arange(N) * 1000}, "bytes-ids": {"ids": np.array(IDS, "S")}, "column-ids": {"ids": np.arange(N)[:, None]},
    "one-row": {"x": X[:1], "ids": ["only"]}, "one-column": {"x": X[:, :1]}, "track-order": {"track_order": True},
}.items():  # fmt: skip
    case(f"good-{name}", lambda p, o=options: plain(p, **o), "an honest file", ACCEPT)
for dtype in ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "i1", "u1", "<i2", ">u2", "<i4", ">i4", "<u8", ">i8"):
    label = ("be-" if dtype[0] == ">" else "") + dtype.lstrip("<>")
    case(
        f"good-{label}",
        lambda p, t=dtype: plain(p, (X * 10).astype(t) if "u" not in t else np.abs(X * 10).astype(t)),
        f"dtype {dtype}",
        ACCEPT,
    )
case("good-collection", collection, "relrep's own layout", ACCEPT)
case(
    "good-collection-inside", lambda p: (collection(p, "layer/0"), collection(p, "layer/6")), "two in a file", ACCEPT, "layer/6"
)
case("good-x-of-collection", collection, "the matrix named itself", ACCEPT, "X")
case("good-vlen-ids", vlen, "ids of variable length", ACCEPT)
case(
    "good-vlen-userblock", lambda p: plain(p, ids=np.array(IDS, object), userblock=2048), "the heap behind a user block", ACCEPT
)
case("good-vlen-unicode", lambda p: vlen(p, [f"ключ-{i}-日本" for i in range(N)]), "ids beyond ASCII", ACCEPT)
case(
    "good-compact", lambda p: plain(p, ids=None) or replaced("embeddings", compact, lambda q: None)(p), "compact layout", ACCEPT
)
case("good-mask", lambda p: packed(p, *ONE, RAW, mask=1), "a chunk whose filter was rightly skipped", ACCEPT)
case("good-label", with_label, "labels and a split as numbers", ACCEPT)
case("good-member", plain, "named with a slash", ACCEPT, "/embeddings")
case(
    "good-keras-like", edited(lambda f: f.move("embeddings", "model/layer/vars")), "any dataset", ACCEPT, "model/layer/vars"
) if False else None
case("good-missing-categories", with_empty_categories, "every label is missing", ACCEPT)
case(
    "good-column-kinds", edited(lambda f: f["obs"].__setitem__("z", np.zeros(N, "c8"))), "a complex column is left out", ACCEPT
)
case("good-plugin-beside", lambda p: (plain(p), packed(p, *ONE, RAW, name="zz", filters=filtered(65000))), "a sibling that is not touched", ACCEPT)  # fmt: skip
case("good-link-beside", edited(lambda f: linked(SECRET)(f, "door"), plain), "a link that is not followed", ACCEPT)
case("good-symlink", symbolic, "a symbolic link to a good file", ACCEPT)
case("good-ünï côdé", plain, "a name beyond ASCII", ACCEPT)
case("good-h5ad", anndata_file, "written by anndata", ACCEPT)
case("good-h5ad-gzip", lambda p: anndata_file(p, compression="gzip"), "written by anndata, packed", ACCEPT)
case("good-h5ad-obsm", anndata_file, "an element of obsm", ACCEPT, "obsm/X_pca")


def compact(group: Any, name: str) -> None:
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_layout(h5d.COMPACT)
    h5d.create(group.id, name.encode(), h5t.IEEE_F32LE, h5s.create_simple((N, D)), plist).write(h5s.ALL, h5s.ALL, X)


if __name__ == "__main__":
    for made in build(Path(sys.argv[1])):
        print(made.expect, made.name, made.member or "", made.why, sep="\t")

"""Types, axes and layouts that are no embedding; structures that wear a reader out; damaged structure."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5p, h5t

from corpus.base import (
    ACCEPT,
    IDS,
    VALUES,
    D,
    Maker,
    N,
    X,
    added,
    case,
    collection,
    edited,
    low_level,
    matrix,
    no_matrix,
    patched,
    plain,
    replaced,
)  # fmt: skip

# --- types ---


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


def made(shape: tuple[int, ...], dtype: Any) -> Maker:
    return matrix(lambda group, name: group.create_dataset(name, shape, dtype))


PICKLED = np.void(pickle.dumps({"weights": [1.0]}, 0).ljust(99))
case("type-compound", lambda path: plain(path, np.zeros((N, D), [("a", "f4"), ("b", "f4")])), "compound values")
case("type-complex", lambda path: plain(path, X.astype("c8")), "loses its imaginary part with a warning")
case("type-enum", lambda path: plain(path, np.zeros((N, D), "i4"), dtype=h5py.enum_dtype({"A": 0, "B": 1})), "named values")
case("type-bool", lambda path: plain(path, X > 0), "truth values")
case("type-text", lambda path: plain(path, X.astype("S12")), "numbers as text")
case(
    "type-vlen-text", lambda path: plain(path, X.astype(str).astype(object), dtype=h5py.string_dtype()), "numbers as vlen text"
)
case("type-references", made((N, D), h5py.ref_dtype), "object references")
case("type-regions", made((N, D), h5py.regionref_dtype), "region references")
case("type-opaque", lambda path: plain(path, np.full((N, D), PICKLED)), "a pickle in opaque bytes")
case("type-opaque-tagged", matrix(low_level(opaque())), "opaque bytes with a tag")
case("type-array", made((N,), np.dtype(("f4", (D,)))), "an array type")
case("type-array-huge", made((N,), np.dtype(("f4", (1 << 28,)))), "1 GiB an item")
case("type-vlen-floats", made((N,), h5py.vlen_dtype("f4")), "rows of any length")
case("type-bfloat16", matrix(low_level(brain_float())), "a custom float")
case("type-odd-integer", matrix(low_level(odd_integer())), "20 bits in 32")
case("type-bits", matrix(low_level(h5t.STD_B32LE)), "bit fields")
case("type-time", matrix(low_level(h5t.UNIX_D32LE)), "times")
case("type-long-double", matrix(low_level(h5t.NATIVE_LDOUBLE)), "longer than float64")
case("type-big-integers", lambda path: plain(path, np.full((N, D), 2**60 + 1, "i8")), "integers that no float holds")
case("rank-0", lambda path: plain(path, np.float32(3)), "a single number")
case("rank-1", lambda path: plain(path, X[0]), "one axis")
case("rank-3", lambda path: plain(path, X.reshape(N, 2, 4)), "three axes")
case("rank-32", lambda path: plain(path, np.zeros((1,) * 32, "f4")), "thirty-two axes")
case("rank-null", lambda path: plain(path, h5py.Empty("f4")), "no dataspace")

# --- collections that do not hold together ---


def sparse(group: Any, name: str) -> None:
    x = group.create_group(name)
    x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (N, D)})
    x["data"], x["indices"], x["indptr"] = np.ones(9, "f4"), np.arange(9), np.arange(N + 1)


def codes(values: Any) -> Maker:
    return replaced("obs/label/codes", lambda group, name: group.create_dataset(name, data=values))


case("sparse-x", replaced("X", sparse), "X is sparse")
case("x-type", replaced("X", lambda group, name: group.__setitem__(name, np.dtype("f4"))), "X is a committed type")
case("x-group", replaced("X", lambda group, name: group.create_group(name)), "X is an empty group")
case(
    "obs-compound", replaced("obs", lambda g, name: g.create_dataset(name, data=np.zeros(N, [("index", "S8")]))), "anndata 0.6"
)
case(
    "obs-short", replaced("obs/id", lambda g, name: g.create_dataset(name, data=np.array(IDS[:-1], "S"))), "fewer ids than rows"
)
case("obs-index-matrix", replaced("obs/id", lambda g, name: g.create_dataset(name, data=X)), "ids with two axes")
case(
    "var-short",
    replaced("var/id", lambda g, name: g.create_dataset(name, data=np.array(["a"], "S"))),
    "one name for eight columns",
)
case("column-short", added("obs/age", np.arange(N - 1)), "a column that is too short")
case("column-group", added("obs/deep/er", np.arange(N)), "a column of unknown kind is left out", ACCEPT)
case("codes-short", codes(np.zeros(N - 1, "i1")), "too few codes")
case("codes-beyond", codes(np.full(N, 3, "i1")), "a code without a category")
case("codes-negative", codes(np.full(N, -2, "i1")), "a code below -1")
case("codes-huge", codes(np.full(N, 2**63 + 5, "u8")), "a code beyond int64")
case("codes-float", codes(np.zeros(N)), "codes that are no integers")
case("uns-wrong-type", added("uns/center", np.array([b"text"])), "a center of text")
case("uns-unwritten", edited(lambda file: file.create_dataset("uns/center", (1 << 40,), "f4")), "a center of 4 TiB")
case("uns-group", edited(lambda file: file.create_group("uns/center")), "a center that is a group")
case("two-matrices", added("features", X, plain), "which one is meant?")
case("matrix-missing", no_matrix, "only ids")
case("member-missing", plain, "no such member", member="layer/3")
case("member-of-dataset", plain, "a member inside of a dataset", member="embeddings/x")
case("member-deep", plain, "a member 5,000 groups deep", member="/".join(["x"] * 5000))
case("member-odd", plain, "a member that is no path", member="../\x00\n\x1b[31m/ \ud800")
case("member-is-ids", plain, "a member with one axis", member="ids")

# --- structures that wear a reader out ---


def nested(path: Path, x: Any = X) -> None:
    plain(path, x)
    with h5py.File(path, "r+") as file:
        group = file
        for _ in range(3000):
            group = group.create_group("g")


def crowd(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        for i in range(5000):
            file.create_group(f"group-{i}")


def many_columns(file: h5py.File) -> None:
    """Three thousand columns, more than are looked at."""
    for i in range(3000):
        file[f"obs/c{i}"] = file["obs/label/codes"]


case("nested-beside", nested, "3,000 nested groups beside the matrix", ACCEPT)
case("nested-only", lambda path: nested(path, None), "3,000 nested groups and no matrix")
case("crowd", crowd, "5,000 groups and no matrix")
case("many-columns", edited(many_columns), "3,000 columns", ACCEPT)

# --- damaged structure ---


def tree(kind: int, at: int, value: int, base: Maker) -> Maker:
    """A maker: eight bytes of the last B-tree node of a kind (0 of groups, 1 of chunks) are changed; -1 is its own address."""

    def patch(content: bytearray, file: h5py.File) -> None:
        node = content.rfind(b"TREE" + bytes([kind]))
        struct.pack_into("<Q", content, node + at, node if value < 0 else value)

    return patched(patch, base)


def chunky(path: Path) -> None:
    plain(path, chunks=(2, D))


def header(at: int, value: int) -> Maker:
    """A maker: a byte of the superblock is changed, in the version that has no checksum."""
    return patched(lambda content, file: content.__setitem__(at, value), plain)


def open_for_writing(path: Path) -> None:
    """As a writer leaves it that dies, or is still at work."""
    with h5py.File(path, "w", libver="latest") as file:
        file["embeddings"] = X
        file.swmr_mode = True
        file.flush()
        content = path.read_bytes()
    path.write_bytes(content)


def split_up(driver: str) -> Maker:
    """A maker: one of the files of a driver that uses several."""

    def make(path: Path) -> Path:
        access = h5p.create(h5p.FILE_ACCESS)
        default = h5p.create(h5p.FILE_ACCESS)
        if driver == "family":
            access.set_fapl_family(1 << 20, default)
            name = path.with_name("family-%d.h5")
        else:
            access.set_fapl_split(b"-m.h5", default, b"-r.h5", default)
            name = path.with_name("split")
        with h5py.File(h5py.h5f.create(str(name).encode(), fapl=access)) as file:
            file["embeddings"] = X
        return path.with_name("family-0.h5" if driver == "family" else "split-m.h5")

    return make


for kind, name, base in ((0, "group", plain), (1, "chunk", chunky)):
    case(f"tree-{name}-child-self", tree(kind, 32, -1, base), f"the B-tree of a {name} is its own child")
    case(f"tree-{name}-child-beyond", tree(kind, 32, 1 << 50, base), f"the B-tree of a {name} leads past the end")
case("tree-chunk-right-self", tree(1, 16, -1, chunky), "a node of the B-tree is its own neighbour", ACCEPT)
case("tree-chunk-size", tree(1, 24, 1 << 30, chunky), "a chunk that says it is 1 GiB long")
case("superblock-version", header(8, 99), "an unknown superblock")
case("superblock-offsets", header(13, 3), "addresses of 3 bytes")
case("superblock-lengths", header(14, 255), "lengths of 255 bytes")
case(
    "superblock-root", patched(lambda content, file: struct.pack_into("<Q", content, 64, 1 << 60)), "the root lies past the end"
)
case("open-for-writing", open_for_writing, "a writer died, or is at work")
case("family", split_up("family"), "one of several files")
case("split", split_up("split"), "one of two files")

# --- values: `store.read` refuses them ---


def holed(value: float, dtype: str = "f4") -> Maker:
    x = X.astype(dtype)
    x[N // 2, 3] = value
    return lambda path: plain(path, x)


case("value-nan", holed(np.nan), "NaN", VALUES)
case("value-inf", holed(np.inf), "infinity", VALUES)
case("value-minus-inf-half", holed(-np.inf, "f2"), "infinity in float16", VALUES)
case("value-nan-big-endian", holed(np.nan, ">f8"), "NaN in big-endian float64", VALUES)
case("value-nan-packed", lambda path: plain(path, np.full((N, D), np.nan, "f4"), compression="gzip"), "NaN, packed", VALUES)
case(
    "value-nan-collection",
    edited(lambda file: file["X"].__setitem__((3, 3), np.nan), collection),
    "NaN in relrep's layout",
    VALUES,
)

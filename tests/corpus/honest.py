"""Honest files that a generous reader reads: every layout, type and encoding that people write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5s, h5t

from corpus.base import (
    ACCEPT,
    IDS,
    RAW,
    SECRET,
    D,
    Maker,
    N,
    X,
    added,
    both,
    case,
    collection,
    edited,
    fixed_text,
    low_level,
    matrix,
    no_ids,
    plain,
    replaced,
    vlen,
)  # fmt: skip
from corpus.packing import ONE, filtered, packed
from corpus.structure import codes

PACKED = {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (7, 3)}
OPTIONS: dict[str, dict[str, Any]] = {
    "v0": {}, "v3": {"libver": "latest"}, "v110": {"libver": "v110"}, "gzip": {"compression": "gzip"},
    "gzip-shuffle": {"compression": "gzip", "shuffle": True}, "fletcher": {"fletcher32": True}, "all-filters": PACKED,
    "all-filters-latest": {**PACKED, "libver": "latest"}, "one-chunk-latest": {"chunks": (N, D), "libver": "latest"},
    "resizable": {"maxshape": (None, D)}, "resizable-latest": {"maxshape": (None, D), "libver": "latest"},
    "resizable-both": {"maxshape": (None, None), "chunks": (16, 3), "libver": "latest"}, "row-chunks": {"chunks": (1, D)},
    "edge-chunks": {"chunks": (50, 7)}, "userblock": {"userblock": 512}, "track-order": {"track_order": True},
    "userblock-chunks": {"userblock": 1024, "chunks": (10, D), "compression": "gzip"}, "no-ids": {"ids": None},
    "int-ids": {"ids": np.arange(N) * 1000}, "bytes-ids": {"ids": np.array(IDS, "S")},
    "column-ids": {"ids": np.arange(N)[:, None]}, "one-row": {"x": X[:1], "ids": ["only"]}, "one-column": {"x": X[:, :1]},
}  # fmt: skip
for name, options in OPTIONS.items():
    case(f"good-{name}", lambda path, options=options: plain(path, **options), "an honest file", ACCEPT)
for dtype in ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8", "|i1", "|u1", "<i2", ">u2", "<i4", ">i4", "<u8", ">i8"):
    name = dtype.translate(str.maketrans({"<": "", "|": "", ">": "big-endian-"}))
    case(f"good-{name}", lambda path, dtype=dtype: plain(path, np.abs(X * 10).astype(dtype)), f"numbers as {dtype}", ACCEPT)


def padded(padding: int, ids: list[bytes]) -> Maker:
    """A maker: ids of fixed length as another language pads them, bytes as they are."""

    def make(path: Path) -> None:
        no_ids(path)
        kind = fixed_text(12)
        kind.set_strpad(padding)
        with h5py.File(path, "r+") as file:
            dataset = h5d.create(file.id, b"ids", kind, h5s.create_simple((N,)))
            dataset.write(h5s.ALL, h5s.ALL, np.array(ids, "S12"), kind)

    return make


case("good-fortran-ids", padded(h5t.STR_SPACEPAD, [i.encode().ljust(12) for i in IDS]), "padded with spaces", ACCEPT)
case("good-c-ids", padded(h5t.STR_NULLTERM, [f"{i}\0old!".encode() for i in IDS]), "junk behind the NUL that ends it", ACCEPT)


def labelled(path: Path) -> None:
    plain(path)
    with h5py.File(path, "r+") as file:
        file["labels"], file["split"] = np.arange(N) % 10, np.arange(N) % 2


def paged(path: Path) -> None:
    with h5py.File(path, "w", fs_strategy="page", fs_page_size=4096, libver="latest") as file:
        file["embeddings"], file["ids"] = X, IDS


def anndata_file(**options: Any) -> Maker:
    def make(path: Path) -> None:
        import anndata
        import pandas as pd

        obs = pd.DataFrame({"label": pd.Categorical(["a", "é", None] * (N // 3)), "n": np.arange(N), "t": IDS}, index=IDS)
        obs["maybe"] = pd.array([1, None] * (N // 2), dtype="Int64")
        anndata.AnnData(X, obs, obsm={"X_pca": X[:, :3].astype("f8")}).write_h5ad(path, **options)

    return make


def committed(file: h5py.File) -> None:
    """A matrix whose type has a name of its own in the file."""
    file["type"] = np.dtype("f4")
    file.create_dataset("embeddings", data=X, dtype=file["type"])


def headed(path: Path) -> None:
    """A user block with words in it, as MATLAB writes one."""
    plain(path, userblock=512)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))


empty_categories = replaced(
    "obs/label/categories", lambda g, name: g.create_dataset(name, data=np.empty(0, "S1")), lambda p: None
)
implicit = low_level(h5t.IEEE_F32LE, data=X, set_chunk=(10, D))
compact = low_level(h5t.IEEE_F32LE, data=X, set_layout=h5d.COMPACT)
text = low_level(h5t.IEEE_F64BE, data=X, set_fill_time=h5d.FILL_TIME_NEVER)
case("good-compact", matrix(compact), "compact layout", ACCEPT)
case(
    "good-implicit",
    replaced("embeddings", implicit, lambda path: plain(path, libver="latest")),
    "chunks without an index",
    ACCEPT,
)
case("good-never-filled", matrix(text), "big-endian float64, never filled", ACCEPT)
case("good-mask", packed(*ONE, RAW, mask=1), "a chunk whose filter was rightly skipped", ACCEPT)
case("good-committed-type", edited(committed, lambda path: plain(path, None)), "a named type", ACCEPT)
case("good-headed", headed, "words in the user block", ACCEPT)
case("good-paged", paged, "paged file space", ACCEPT)
case("good-vlen", vlen, "ids of variable length", ACCEPT)
case("good-vlen-userblock", lambda path: vlen(path, userblock=2048), "the heap behind a user block", ACCEPT)
case("good-vlen-unicode", lambda path: vlen(path, [f"ключ-{i}-日本" for i in range(N)]), "ids beyond ASCII", ACCEPT)
case("good-vlen-long", lambda path: vlen(path, [f"{i}" * 900 for i in range(10, 10 + N)]), "ids in many heaps", ACCEPT)
case("good-collection", collection, "relrep's own layout", ACCEPT)
case(
    "good-inside",
    both(lambda path: collection(path, "layer/0"), lambda path: collection(path, "layer/6")),
    "two",
    ACCEPT,
    "layer/6",
)
case("good-x-of-collection", collection, "the matrix of a collection", ACCEPT, "X")
case("good-member", plain, "named with a slash", ACCEPT, "/embeddings")
case("good-any-name", added("model/layer/vars", X, no_ids), "any dataset", ACCEPT, "model/layer/vars")
case("good-label", labelled, "labels and a split as numbers", ACCEPT)
case("good-missing-labels", both(codes(np.full(N, -1, "i1")), empty_categories), "every label is missing", ACCEPT)
case("good-column-kinds", added("obs/z", np.zeros(N, "c8")), "a complex column is left out", ACCEPT)
case("good-plugin-beside", both(plain, packed(*ONE, RAW, name="zz", filters=filtered(65000))), "a sibling in peace", ACCEPT)
case("good-link-beside", added("door", h5py.ExternalLink(SECRET, "/"), plain), "a link that is not followed", ACCEPT)
case(
    "good-hard-links",
    edited(lambda file: file.__setitem__("again", file["embeddings"]), plain),
    "two names of one dataset",
    ACCEPT,
)
case("good-symlink", lambda path: path.symlink_to(SECRET), "a symbolic link to an honest file", ACCEPT)
case("good-ünï côdé", plain, "a name beyond ASCII", ACCEPT)
case("good-h5ad", anndata_file(), "written by anndata", ACCEPT)
case("good-h5ad-gzip", anndata_file(compression="gzip"), "written by anndata, packed", ACCEPT)
case("good-h5ad-obsm", anndata_file(), "an element of obsm", ACCEPT, "obsm/X_pca")

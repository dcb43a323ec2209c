"""Data that are not what they declare: never written, bombs, unknown filters, chunks too short."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z

from corpus.base import ACCEPT, RAW, D, Maker, N, X, both, case, edited, everywhere, no_ids, patched, plain, replaced, unwritten

MIB = 1 << 20
ONE = ((N, D), (N, D))  # the whole matrix in one chunk


def packed(
    chunk: tuple[int, ...],
    shape: tuple[int, ...],
    blob: bytes | Callable[[], bytes],
    *,
    dtype: Any = "f4",
    name: str = "embeddings",
    count: int | None = None,
    mask: int = 0,
    grows: bool = False,
    filters: Callable[[Any], None] = lambda plist: plist.set_deflate(9),
) -> Maker:
    """A maker: adds a dataset whose first `count` chunks (default all) hold `blob` as it is, whatever its filters do."""

    def make(path: Path) -> None:
        data = blob() if callable(blob) else blob
        plist = h5p.create(h5p.DATASET_CREATE)
        plist.set_chunk(chunk)
        filters(plist)
        space = h5s.create_simple(shape, (h5s.UNLIMITED,) * len(shape) if grows else None)
        with h5py.File(path, "a") as file:
            file.require_group(name.rpartition("/")[0] or "/")
            dataset = h5d.create(file.id, name.encode(), h5t.py_create(np.dtype(dtype), logical=True), space, plist)
            corners = list(np.ndindex(*(-(-n // c) for n, c in zip(shape, chunk, strict=True))))
            for corner in corners[:count]:
                dataset.write_direct_chunk(tuple(i * c for i, c in zip(corner, chunk, strict=True)), data, mask)

    return make


@cache
def deflated_zeros(size: int, times: int) -> bytes:
    blob = bytes(size)
    for _ in range(times):
        blob = zlib.compress(blob, 9)
    return blob


def zeros(size: int, times: int = 1) -> Callable[[], bytes]:
    """`size` zero bytes, deflated `times` times when a file with them is written."""
    return partial(deflated_zeros, size, times)


def filtered(*numbers: int) -> Callable[[Any], None]:
    """Filters by number; optional ones, so that HDF5 writes the file without having them."""

    def put(plist: Any) -> None:
        for number in numbers:
            plist.set_filter(number, h5z.FLAG_OPTIONAL, (4,) if number == 2 else (1,))

    return put


def raw(plist: Any) -> None:
    """No filter."""


def ids(blob: bytes | Callable[[], bytes], filters: Callable[[Any], None] = lambda plist: plist.set_deflate(9)) -> Maker:
    return both(no_ids, packed((N,), (N,), blob, dtype="S8", name="ids", filters=filters))


# --- filters ---

case("filter-plugin", packed(*ONE, RAW, filters=filtered(65000)), "an unknown filter loads every plugin there is (hdf5#5160)")
case("filter-plugin-ids", ids(b"a" * 8 * N, filtered(65000)), "an unknown filter on the ids")
case("filter-blosc", packed(*ONE, RAW, filters=filtered(32001)), "needs a plugin")
case("good-lzf", lambda path: plain(path, compression="lzf"), "h5py's own filter", ACCEPT)
case(
    "lzf-good-long", lambda path: plain(path, np.repeat(X, 500, axis=1).astype("f4"), compression="lzf"), "long copies", ACCEPT
)
case("lzf-before-start", packed(*ONE, b"\x20\xff", filters=filtered(32000)), "a copy from before the start")
case("lzf-cut", packed(*ONE, b"\x1f\0\0", filters=filtered(32000)), "fewer bytes than its run has")
case("lzf-cut-copy", packed(*ONE, b"\x01aa\xe0", filters=filtered(32000)), "a copy without its length")
case("lzf-longer", packed(*ONE, b"\x01aa" + b"\xe0\xff\x01" * 40, filters=filtered(32000)), "more bytes than declared")
case("lzf-noise", packed(*ONE, bytes(range(256)), filters=filtered(32000)), "no LZF stream")
case("filter-scaleoffset", lambda path: plain(path, (X * 9).astype("i4"), scaleoffset=0), "heap contents (hdf5#6585)")
case(
    "filter-gzip-twice", packed((4096, 4096), (4096, 4096), zeros(64 * MIB, 2), filters=filtered(1, 1)), "64 MiB from 300 bytes"
)
case("filter-shuffle-twice", packed(*ONE, RAW, filters=filtered(2, 2)), "twice the same filter")
case("filter-fletcher-twice", packed(*ONE, RAW, filters=filtered(3, 3)), "twice the same filter")
case("filter-many", packed(*ONE, RAW, filters=filtered(*range(300, 330))), "thirty filters")

# --- declared, but not stored ---

case("shape-3gib", unwritten((1 << 20, 768)), "nothing stored (CVE-2026-0897)")
case("shape-3pib", unwritten((1 << 40, 768)), "nothing stored")
case("shape-overflow", unwritten((1 << 31, 1 << 30), chunks=(1024, 1024)), "2**63 bytes")
case("shape-ids", both(no_ids, unwritten((1 << 40,), "S99", "ids")), "ids never written")
case("shape-no-rows", lambda path: plain(path, np.empty((0, D), "f4"), None), "no rows")
case("shape-no-columns", lambda path: plain(path, np.empty((N, 0), "f4")), "no dimensions")
case("shape-zero-by-huge", unwritten((1 << 62, 0)), "no dimensions, 2**62 rows")
case("index-bomb", unwritten((1 << 15, 1 << 10), chunks=(1, 1)), "32 million chunks, 15 s and 8 GB")
everywhere("unwritten", lambda g, name, shape, dtype: g.create_dataset(name, shape, dtype), "never written, reads as zeros")
everywhere(
    "unwritten-chunk", lambda g, name, shape, dtype: g.create_dataset(name, shape, dtype, chunks=shape), "the same, chunked"
)
case("chunk-missing", packed((10, D), (N, D), zlib.compress(RAW[:320]), count=5), "one chunk of six was never written")


def longer(content: bytearray, file: h5py.File) -> None:
    """The matrix says that it has twice as many rows."""
    at = content.find(struct.pack("<QQ", N, D))
    struct.pack_into("<Q", content, at, 2 * N)


def moved(content: bytearray, file: h5py.File) -> None:
    """The matrix says that it lies near the end of the file."""
    at = content.find(struct.pack("<QQ", file["embeddings"].id.get_offset(), len(RAW)))
    struct.pack_into("<Q", content, at, len(content) - 9)


case("dims-doubled", patched(longer), "more rows than bytes")
case("offset-at-end", patched(moved), "data beyond the end of the file")

# --- bombs ---


def many_links(file: h5py.File) -> None:
    """Five hundred columns that are one packed dataset."""
    for i in range(500):
        file[f"obs/c{i}"] = file["obs/c"]


def wide_labels(file: h5py.File) -> None:
    """Seven hundred columns that are one, whose text takes 15 MB once its codes are replaced."""
    codes, categories = np.zeros(N, "i1"), np.array([b"x" * 4096])
    for name in ("X", "obs/id", "obs/label"):
        del file[name]
    file["X"], file["obs/id"] = np.zeros((4000, 1), "f4"), np.array([b"%d" % i for i in range(4000)])
    file["obs/c/codes"], file["obs/c/categories"] = np.resize(codes, 4000), categories
    del file["var"]
    many_links(file)


rows = 1 << 25
big = both(
    packed((rows, 1), (rows, 1), zeros(2 * rows), dtype="f2", name="X"),
    packed((rows,), (rows,), zeros(2 * rows), dtype="f2", name="obs/c"),
)
case("bomb-links", edited(many_links, big), "500 hard links to one packed column of 64 MiB: 32 GiB")
case("bomb-links-text", edited(wide_labels), "500 hard links to a column of one long text: 8 GB")
case("bomb-tiny-chunks", packed((1, 1), (200, 150), RAW[:4], filters=raw), "30,000 chunks of one number each, all written")
case("bomb-1gib", packed((2048, 8192), (32768, 8192), zeros(64 * MIB)), "1 GiB from 1 MB (CWE-409)")
case("bomb-320mib", packed((1024, 1024), (81920, 1024), zeros(4 * MIB)), "320 MiB from 330 kB")
case("bomb-chunk", packed((8192, 8192), (8192, 8192), zeros(64 * MIB)), "one chunk of 256 MiB")
case("bomb-ids", both(no_ids, packed((1 << 14,), (1 << 17,), zeros(64 * MIB), dtype="S4096", name="ids")), "512 MiB of ids")
case("bomb-margin", packed((1, 16 * MIB), (40, 1), zeros(64 * MIB), grows=True), "2.5 GiB inflated for 40 numbers")
case("bomb-one-chunk", packed((1024, 16 * 1024), (N, D), zeros(64 * MIB), grows=True), "64 MiB in one piece for 2 kB")
case(
    "bomb-one-chunk-ids",
    both(no_ids, packed((MIB,), (N,), zeros(64 * MIB), dtype="S64", name="ids", grows=True)),
    "the same, ids",
)
case("bomb-small-margin", packed((1024, 4096), (N, D), zeros(16 * MIB), grows=True), "16 MiB inflated for 2 kB", ACCEPT)

# --- chunks that are not as long as they should be: freed memory becomes embeddings ---

case("chunk-short", packed(*ONE, zlib.compress(RAW[:-4])), "inflates too short (hdf5#6184)")
case("chunk-very-short", packed((4096, 4096), (4096, 4096), zeros(MIB)), "1 MiB instead of 64: SIGSEGV")
case("chunk-long", packed(*ONE, zlib.compress(RAW + b"more")), "inflates too long")
case("chunk-nothing", packed(*ONE, zlib.compress(b"")), "inflates to nothing")
case("chunk-cut", packed(*ONE, zlib.compress(RAW)[:-20]), "the deflate stream ends early")
case("chunk-no-checksum", packed(*ONE, zlib.compress(RAW)[:-4]), "Adler's checksum is missing")
case("chunk-noise", packed(*ONE, b"\xff\x00garbage" * 30), "no deflate stream")
case("chunk-raw-short", packed(*ONE, RAW[:-4], filters=raw), "stored short (CVE-2025-44904)")
case("chunk-raw-tiny", packed(*ONE, b"\0", filters=raw), "one byte stored")
case("chunk-raw-long", packed(*ONE, RAW + b"more", filters=raw), "stored long")
case("chunk-mask-short", packed(*ONE, RAW[:100], mask=1), "the filter was skipped, they say, and the data are short")
case("chunk-mask-wrong", packed(*ONE, zlib.compress(RAW), mask=1), "deflated, but said to be raw")
case("chunk-fletcher-wrong", packed(*ONE, RAW + b"\1\2\3\4", filters=filtered(3)), "wrong checksum")
case("chunk-fletcher-short", packed(*ONE, b"\1\2", filters=filtered(3)), "shorter than its checksum")
case("chunk-shuffle-short", packed(*ONE, RAW[:99], filters=filtered(2)), "shuffled and short")
case("chunk-ids-short", ids(zlib.compress(b"abc")), "short ids")
no_codes = replaced("obs/label/codes", lambda group, name: None)
short_codes = packed((N,), (N,), zlib.compress(b"\0\1"), dtype="i1", name="obs/label/codes")
case("chunk-codes-short", both(no_codes, short_codes), "short codes")


def second_chunk(address: Callable[[h5py.File], int]) -> Maker:
    """A maker: the second of two chunks is sent to another address."""

    def patch(content: bytearray, file: h5py.File) -> None:
        info = file["embeddings"].id.get_chunk_info(1)
        at = content.find(struct.pack("<Q", info.byte_offset))
        struct.pack_into("<Q", content, at, address(file))

    return patched(patch, lambda path: plain(path, chunks=(N // 2, D)))


case("chunk-beyond-end", second_chunk(lambda file: 1 << 30), "an address past the end")
case("chunk-all-ones", second_chunk(lambda file: 2**64 - 1), "an undefined address")
case("chunk-alias", second_chunk(lambda file: file["embeddings"].id.get_chunk_info(0).byte_offset), "two chunks share bytes")

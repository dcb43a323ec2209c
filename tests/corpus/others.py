"""What is not HDF5, not whole, or not a file."""

from __future__ import annotations

import gzip
import os
import pickle
import socket
import zipfile
from pathlib import Path

import numpy as np

from corpus.base import D, Maker, X, case, collection, plain

SIGNATURE = b"\x89HDF\r\n\x1a\n"


def content(data: bytes) -> Maker:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.txt", "hello")


def npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)


def listening(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's address has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def locked(path: Path) -> None:
    plain(path)
    path.chmod(0)
    if os.access(path, os.R_OK):
        raise OSError("root reads everything")


for name, data, why in (
    ("text", b"hello world\n" * 9, "text"),
    ("csv", b"id,x,y\na,1,2\n=HYPERLINK(),3,4\n", "a table"),
    ("gzip", gzip.compress(b"hello" * 99), "gzip-compressed data"),
    ("html", b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
    ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "a Git LFS pointer"),
    ("pickle", pickle.dumps({"x": [1.0]}), "a pickle"),
    ("noise", np.random.default_rng(1).bytes(5000), "noise"),
    ("json", b'{"embeddings": [[1, 2]]}', "JSON"),
    ("escapes", b"\x1b[31m\x1b]0;title\x07" * 9, "control characters"),
    ("empty", b"", "no bytes"),
    ("one-byte", b"\x89", "one byte"),
    ("signature-only", SIGNATURE, "a signature and nothing else"),
    ("signature-zeros", SIGNATURE + bytes(4096), "a signature and zeros"),
    ("signature-ones", SIGNATURE + b"\xff" * 4096, "a signature and ones"),
    ("signature-late", bytes(1000) + SIGNATURE + bytes(500), "a signature where none is looked for"),
    ("signature-512", bytes(512) + SIGNATURE + bytes(500), "a signature behind a user block, and zeros"),
):
    case(f"is-{name}", content(data), why)
case("is-zip", zipped, "a zip archive")
case("is-npy", npy, "a NumPy array")
case("is-folder", lambda path: path.mkdir(), "a folder")
case("is-fifo", os.mkfifo, "a pipe: opening it would block")
case("is-socket", listening, "a socket")
case("is-device", lambda path: Path("/dev/zero"), "a device")
case("is-missing", lambda path: None, "no such file")
case("is-in-a-file", lambda path: plain(path) or path / "inside.h5", "a file where a folder should be")
case("is-dangling", lambda path: path.symlink_to("gone.h5"), "a symbolic link that leads nowhere")
case("is-loop", lambda path: path.symlink_to(path.name), "a symbolic link to itself")
case("is-locked", locked, "no permission")
case("is-long-name", lambda path: path.with_name("x" * 300), "a name that no file can have")


def cut(share: float, base: Maker) -> Maker:
    def make(path: Path) -> None:
        base(path)
        os.truncate(path, int(path.stat().st_size * share))

    return make


def packed(path: Path) -> None:
    plain(path, compression="gzip", chunks=(7, D))


for percent in (1, 3, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99):
    case(f"cut-{percent}", cut(percent / 100, plain), f"truncated at {percent} %")
for percent in (10, 50, 90, 99):
    case(f"cut-collection-{percent}", cut(percent / 100, collection), f"relrep's layout, truncated at {percent} %")
    case(f"cut-packed-{percent}", cut(percent / 100, packed), f"packed, truncated at {percent} %")

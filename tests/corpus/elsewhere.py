"""Files that make a reader open other files, or go round in circles: external storage, links, virtual datasets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from corpus.base import PLACES, SECRET, D, N, Put, added, case, collection, edited, everywhere, matrix, plain, replaced


def stored_in(target: str, shape: tuple[int, ...] = (N, D), dtype: str = "f4") -> Put:
    """A put: a dataset whose bytes lie in another file; `@` stands for the folder of this one."""

    def put(group: Any, name: str) -> None:
        place = target.replace("@", str(Path(group.file.filename).resolve().parent))
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        group.create_dataset(name, shape, dtype, external=[(place, 0, size)])

    return put


def in_pieces(group: Any, name: str) -> None:
    group.create_dataset(name, (N, D), "f4", external=[("secret.bin", i, 30) for i in range(64)])


def through_fifo(path: Path, put: Any) -> None:
    os.mkfifo(f"{path}.fifo")
    matrix(put(f"{path}.fifo"))(path)


why = "external storage returns the bytes of any file as data (CVE-2026-1669)"
everywhere("external", lambda group, name, shape, dtype: stored_in("secret.bin", shape, dtype)(group, name), why)
case("external-absolute", matrix(stored_in("@/secret.bin")), "absolute path")
case("external-passwd", matrix(stored_in("/etc/passwd", (100, 8), "u1")), "any local file")
case("external-zero", matrix(stored_in("/dev/zero", (9999, 9999))), "400 MB from 2 kB")
case("external-fifo", lambda path: through_fifo(path, stored_in), "reading it hangs")
case("external-missing", matrix(stored_in("nowhere")), "no such file")
case("external-pieces", matrix(in_pieces), "64 pieces")
case("external-self", lambda path: matrix(stored_in(path.name))(path), "its own bytes as data")


def linked(file: str, name: str = "/embeddings") -> Put:
    return lambda group, last: group.__setitem__(last, h5py.ExternalLink(file, name))


def soft(target: str) -> Put:
    return lambda group, last: group.__setitem__(last, h5py.SoftLink(target))


def door(file: h5py.File) -> None:
    file["door"] = h5py.ExternalLink(SECRET, "/")


def behind_the_door(file: h5py.File) -> None:
    door(file)
    del file["embeddings"]
    file["embeddings"] = h5py.SoftLink("/door/embeddings")


def index_behind_a_door(file: h5py.File) -> None:
    file["obs/door"] = h5py.ExternalLink(SECRET, "/")
    file["obs"].attrs["_index"] = "door/ids"


def old_categories(file: h5py.File) -> None:
    """Categories as anndata 0.7 kept them, elsewhere."""
    file["obs/kind"] = np.zeros(N, "i1")
    file["obs/__categories/kind"] = h5py.ExternalLink(SECRET, "/ids")


for place, (target, base) in PLACES.items():
    case(f"external-link-{place}", replaced(target, linked(SECRET), base), f"another file is read (keras#22899), at {target}")
case("external-link-obs", replaced("obs", linked(SECRET, "/")), "a whole frame elsewhere")
case("external-link-column", added("obs/age", h5py.ExternalLink(SECRET, "/ids")), "a column elsewhere")
case("external-link-label", added("label", h5py.ExternalLink(SECRET, "/ids"), plain), "labels elsewhere")
case("external-link-categories-old", edited(old_categories), "categories of anndata 0.7 elsewhere")
case("external-link-uns", added("uns/center", h5py.ExternalLink(SECRET, "/embeddings")), "an array of uns elsewhere")
case("external-link-missing", matrix(linked("gone.h5")), "no such file")
case("external-link-fifo", lambda path: through_fifo(path, linked), "opening it hangs")
case("external-link-self", lambda path: matrix(linked(path.name))(path), "round in a circle")
case("external-link-in-path", edited(door, plain), "the first component of a path", member="door/embeddings")
case("soft-through-external", edited(behind_the_door, plain), "a guard that looks at the last link only (keras#23163)")
case("soft-in-path", added("door", h5py.SoftLink("/"), plain), "soft links are not followed", member="door/embeddings")
case("soft-cycle", matrix(soft("/embeddings")), "leads to itself")
case("soft-dangling", matrix(soft("/gone")), "leads nowhere")
case("soft-ids", replaced("ids", soft("/embeddings"), plain), "ids by a soft link")
case("soft-obs", replaced("obs", soft("/var")), "a frame by a soft link")
case("soft-x", replaced("X", soft("/obs/id")), "a matrix by a soft link")
case("index-behind-link", edited(index_behind_a_door), "the attribute _index names a path through an external link")


def virtual(source: str, shape: tuple[int, ...] = (N, D), dtype: str = "f4") -> Put:
    """A put: a dataset that shows `embeddings` of another file; `.` is this file."""

    def put(group: Any, name: str) -> None:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(source, "embeddings", shape, dtype)
        group.create_virtual_dataset(name, layout)

    return put


def virtual_pattern(group: Any, name: str) -> None:
    """A source pattern `%b` opens one file after another as soon as the shape is asked for."""
    space = h5s.create_simple((N, D), (h5s.UNLIMITED, D))
    space.select_hyperslab((0, 0), (h5s.UNLIMITED, 1), (N, D), (N, D))
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_virtual(space, b"outside-%b.h5", b"embeddings", h5s.create_simple((N, D)))
    h5d.create(group.id, name.encode(), h5t.IEEE_F32LE, h5s.create_simple((N, D), (h5s.UNLIMITED, D)), plist)


why = "a virtual dataset reads another file (keras#22976)"
everywhere("virtual", lambda group, name, shape, dtype: virtual(SECRET, shape, dtype)(group, name), why)
case("virtual-missing", matrix(virtual("gone.h5")), "fill values, silently")
case("virtual-self", matrix(virtual(".")), "its own source: SIGSEGV")
case("virtual-pattern", matrix(virtual_pattern), "opens files when asked for its shape")
case("virtual-huge", matrix(virtual(SECRET, (1 << 40, 8))), "32 TiB of fill values")


def cyclic(file: h5py.File) -> None:
    file["a/b"] = np.zeros(3)
    file["a/up"] = file["/"]
    file["a/self"] = file["a"]


case("cycle", edited(cyclic, lambda path: plain(path, None)), "groups that contain themselves, and no matrix")
case("cycle-member", edited(cyclic, plain), "a path of hard links round the circle", "accept", "a/up/a/self/up/embeddings")
case("cycle-obs", edited(lambda file: file.__setitem__("obs/obs", file["obs"]), collection), "a frame in itself", "accept")

"""What the cases are made of: the list they register in, honest files, and ways to change those."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

N, D = 60, 8
X = np.random.default_rng(0).standard_normal((N, D)).astype("f4")
RAW = X.tobytes()
IDS = [f"item-{i}" for i in range(N)]
SECRET = "outside-secret.h5"  # an honest file beside the cases, for hostile ones to point at
REFUSE, ACCEPT, VALUES = "refuse", "accept", "values"

Maker = Callable[[Path], Any]
Put = Callable[[Any, str], Any]  # makes an object of a name in a group


@dataclass(frozen=True)
class Case:
    """One file and what a reader owes it.

    member: what follows `::`, or None. expect: REFUSE or ACCEPT; VALUES for well-formed files whose numbers or ids are
    wrong (NaN, duplicates), which `read_hdf5` hands on and `store.read` refuses. why: the danger, and where it is known from.
    """

    name: str
    path: Path
    member: str | None
    expect: str
    why: str


MAKERS: list[tuple[str, Maker, str | None, str, str]] = []


def case(name: str, make: Maker, why: str, expect: str = REFUSE, member: str | None = None) -> None:
    """Register a case. `make` writes the file; a Path that it returns is the file instead."""
    MAKERS.append((name, make, member, expect, why))


def build(folder: Path) -> list[Case]:
    """Write every case into `folder`. A case that this HDF5 cannot write is left out, and said on stderr."""
    folder.mkdir(parents=True, exist_ok=True)
    plain(folder / SECRET, ids=[f"secret-{i}" for i in range(N)])
    (folder / "secret.bin").write_bytes(b"S3CRET" * 4096)
    cases = []
    for name, make, member, expect, why in MAKERS:
        path = folder / f"{name}.h5"
        try:
            made = make(path)
        except (OSError, ValueError, RuntimeError, AttributeError, ImportError) as error:
            print(f"corpus: {name} could not be written: {error}", file=sys.stderr)
            continue
        cases.append(Case(name, made if isinstance(made, Path) else path, member, expect, why))
    return cases


# --- honest files ---


def plain(path: Path, x: Any = X, ids: Any = IDS, *, libver: Any = None, userblock: int = 0, **options: Any) -> None:
    """A foreign file: `embeddings` and `ids` at the root; None leaves one out. `options` go to the matrix."""
    with h5py.File(path, "w", libver=libver, userblock_size=userblock) as file:
        if x is not None:
            file.create_dataset("embeddings", data=x, **options)
        if ids is not None:
            file["ids"] = ids


def no_ids(path: Path) -> None:
    plain(path, ids=None)


def no_matrix(path: Path) -> None:
    plain(path, None)


def vlen(path: Path, ids: Any = IDS, **options: Any) -> None:
    """The same with ids of variable length, which lie in the heap of the file."""
    plain(path, ids=np.array(ids, object), **options)


def collection(path: Path, where: str = "/", libver: Any = "v110", **attributes: Any) -> None:
    """A file in relrep's own layout, with a categorical label."""
    with h5py.File(path, "a", libver=libver) as file:
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


# --- changing them ---


def both(*makers: Maker) -> Maker:
    """A maker: one after another on the same file."""

    def make(path: Path) -> None:
        for maker in makers:
            maker(path)

    return make


def edited(edit: Callable[[h5py.File], Any], base: Maker = collection) -> Maker:
    """A maker: the file of `base`, then changed by `edit`."""

    def make(path: Path) -> None:
        base(path)
        with h5py.File(path, "r+") as file:
            edit(file)

    return make


def added(name: str, value: Any, base: Maker = collection) -> Maker:
    return edited(lambda file: file.__setitem__(name, value), base)


def replaced(name: str, put: Put, base: Maker = collection) -> Maker:
    """A maker: the file of `base` with the object `name` replaced by what `put` makes."""

    def edit(file: h5py.File) -> None:
        parent, _, last = name.rpartition("/")
        group = file[parent or "/"]
        del group[last]
        put(group, last)

    return edited(edit, base)


def matrix(put: Put) -> Maker:
    """A maker: a plain file whose matrix is what `put` makes."""
    return replaced("embeddings", put, plain)


def unwritten(shape: tuple[int, ...], dtype: Any = "f4", name: str = "embeddings", **options: Any) -> Maker:
    """A maker: a dataset that declares its shape and stores nothing, added to the file."""

    def make(path: Path) -> None:
        with h5py.File(path, "a") as file:
            file.create_dataset(name, shape, dtype, **options)

    return make


def patched(patch: Callable[[bytearray, h5py.File], None], base: Maker = plain) -> Maker:
    """A maker: the bytes of the file of `base`, changed by `patch`, which may look at the structure."""

    def make(path: Path) -> None:
        base(path)
        content = bytearray(path.read_bytes())
        with h5py.File(path) as file:
            patch(content, file)
        path.write_bytes(content)

    return make


def low_level(kind: Any, shape: tuple[int, ...] = (N, D), data: Any = None, **settings: Any) -> Put:
    """A put: a dataset of any HDF5 type, its space allocated; `settings` are calls on its creation properties."""

    def put(group: Any, name: str) -> None:
        plist = h5p.create(h5p.DATASET_CREATE)
        plist.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        for setting, value in settings.items():
            getattr(plist, setting)(value)
        made = h5d.create(group.id, name.encode(), kind, h5s.create_simple(shape), plist)
        if data is not None:
            made.write(h5s.ALL, h5s.ALL, data)

    return put


def fixed_text(width: int) -> Any:
    kind = h5t.C_S1.copy()
    kind.set_size(width)
    kind.set_strpad(h5t.STR_NULLPAD)
    return kind


# --- the same danger in every dataset that a reader touches ---

PLACES = {
    "x": ("X", collection), "index": ("obs/id", collection), "codes": ("obs/label/codes", collection),
    "categories": ("obs/label/categories", collection), "var": ("var/id", collection), "bare": ("embeddings", plain),
    "ids": ("ids", plain),
}  # fmt: skip
TEXT = {"index", "categories", "var", "ids"}


def shape_at(place: str) -> tuple[int, ...]:
    return {"x": (N, D), "bare": (N, D), "categories": (3,), "var": (D,)}.get(place, (N,))


def dtype_at(place: str) -> str:
    return "S8" if place in TEXT else "i1" if place == "codes" else "f4"


def everywhere(name: str, put: Callable[[Any, str, tuple[int, ...], str], Any], why: str) -> None:
    """A case for each of PLACES; `put(group, name, shape, dtype)` makes what lies there."""
    for place, (target, base) in PLACES.items():

        def make(group: Any, last: str, place: str = place) -> None:
            put(group, last, shape_at(place), dtype_at(place))

        case(f"{name}-{place}", replaced(target, make, base), f"{why}, at {target}")

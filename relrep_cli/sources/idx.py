"""Image collections in the IDX format of the MNIST family, plain or gzipped."""

from __future__ import annotations

import math
import os
import re
import stat
import zlib
from dataclasses import replace
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import printable
from relrep_cli.numerics.spool import spool
from relrep_cli.sources.fitting import Channels, Size, fitted
from relrep_cli.sources.items import Items, bad, merged, numbered, part_of, source
from relrep_cli.store.maps import mapped

UNSIGNED_BYTE = 0x08
ELEMENTS = {0x09: "signed bytes", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
PARTS = ("train", "t10k")
SMALL = 1 << 28  # bytes: below, any compression ratio is harmless; above, a plain file is memory-mapped
RATIO = 200  # photographs and drawings shrink 2 to 20 times; only a bomb shrinks more than this
BLOCK = 1 << 20  # bytes


def _fits(path: Path) -> bool:
    """A folder with an images file, or a file that is called one."""
    names = os.listdir(path) if path.is_dir() else [path.name]
    return any(re.search(r"images[-.]idx3-ubyte(\.gz)?$|\.idx3(-ubyte)?(\.gz)?$", name) for name in names)


@source(kind="images", fits=_fits, has_columns=False, source="LeCun, Cortes and Burges 1998")
def idx(path: Path, *, size: Size = 0, source_channels: Channels = "auto") -> Items:
    """IDX image files of the MNIST family, plain or .gz, alone or in a folder.

    Labels come from the file named like its images file.
    A folder holds `train-images-idx3-ubyte` (split train), `t10k-images-idx3-ubyte` (split test) or both, each with or
    without `.gz`, and with `.idx3` for `-idx3`. Raises DataError for everything that is not such a file, whole and sane.
    The format: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits".
    """
    parts = [_read_part(images) for images in (_images_in(path) if path.is_dir() else [path])]
    shapes = {part.x.shape[1:] for part in parts}
    if len(shapes) > 1:
        sizes = " and ".join(f"{h} x {w}" for h, w in sorted(shapes))
        raise bad(path, f"its files hold images of different sizes, {sizes}", "Give one of the files.")
    return merged([replace(part, x=fitted(part.x, size, source_channels)) for part in parts])


def _images_in(folder: Path) -> list[Path]:
    """The images files of a folder under their conventional names, train before test."""
    names = sorted(os.listdir(folder))
    pattern = "{}-images[-.]idx3-ubyte(.gz)?"
    files = [next((n for n in names if re.fullmatch(pattern.format(part), n)), None) for part in PARTS]
    if not any(files):
        raise bad(folder, "no images file here", "It takes train-images-idx3-ubyte or t10k-images-idx3-ubyte, or their .gz.")
    return [folder / name for name in files if name]


def _read_part(path: Path) -> Items:
    """One images file with its labels, if they are there."""
    x = _read_idx(path, "images", 3)
    beside = _labels_of(path)
    label = _read_idx(beside, "labels", 1) if beside else None
    if beside and label is not None and len(label) != len(x):
        raise bad(beside, f"{len(label)} labels for the {len(x)} images of {printable(path.name)}", "Give a matching pair.")
    stem = re.split(r"[-.]?images|\.", path.name)[0]
    split = part_of(stem)
    obs = {}
    if label is not None:
        obs["label"] = np.array([b"%d" % i for i in range(int(label.max()) + 1)])[label]
    if split:
        obs["split"] = np.full(len(x), split.encode())
    return Items(x, numbered(split or stem or "image", len(x)), "", obs)


def _labels_of(images: Path) -> Path | None:
    """The labels file that belongs to an images file: same name, other words; zipped or not."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    candidates = (images.with_name(name), images.with_name(name + ".gz"))
    return next((path for path in candidates if path.name != images.name and path.exists()), None)


def _read_idx(path: Path, noun: str, rank: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file of `rank` dimensions: every check first, then the data."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise bad(path, "not a regular file", "Give an IDX file or a folder of them.")
    start = 4 + 4 * rank
    head, gzipped = _head(path, start)
    shape = _shape(path, head, noun, rank)
    size = math.prod(shape)
    _check_size(path, start + size, status.st_size, gzipped)
    if gzipped:
        return _inflated(path, start + size, whole=True)[start : start + size].reshape(shape)
    if size > SMALL:
        with FileIO(path) as file:
            return mapped(path, file, np.uint8, start, shape)
    return np.fromfile(path, np.uint8, size, offset=start).reshape(shape)


def _head(path: Path, size: int) -> tuple[bytes, bool]:
    """The first bytes of a file, and whether they had to be inflated (told by content: names lie)."""
    with path.open("rb") as file:
        head = file.read(size)
    gzipped = head[:2] == b"\x1f\x8b"
    return (_inflated(path, size, whole=False).tobytes(), True) if gzipped else (head, False)


def _shape(path: Path, head: bytes, noun: str, rank: int) -> tuple[int, ...]:
    """The shape that an IDX header declares: magic number, element type, count of dimensions, then dimensions."""
    if len(head) < 4 or head[:2] != b"\0\0":
        raise bad(path, f"not an IDX file (it starts with {printable(repr(head[:4])[1:])})", f"Give an IDX file of {noun}.")
    if head[2] != UNSIGNED_BYTE:
        kind = ELEMENTS.get(head[2], f"elements of unknown type {head[2]:#04x}")
        raise bad(path, f"it holds {kind}", f"{noun.capitalize()} are unsigned bytes (type 0x08).")
    if head[3] != rank:
        raise bad(path, f"it has {head[3]} dimensions where {noun} have {rank}", f"Give the {noun} file.")
    if len(head) < 4 + 4 * rank:
        raise bad(path, f"it ends inside its header, after {len(head)} bytes", "Fetch it again.")
    shape = tuple(int.from_bytes(head[i : i + 4], "big") for i in range(4, len(head), 4))
    if 0 in shape:
        raise bad(path, f"no {noun} in it (it declares {' x '.join(map(str, shape))})", "Give a file that holds some.")
    return shape


def _check_size(path: Path, declared: int, stored: int, gzipped: bool) -> None:
    """Refuse a file that cannot hold what it declares, before room is made for it. Sizes in bytes."""
    if gzipped:
        if declared > SMALL and declared > RATIO * stored:
            raise bad(path, f"{stored} compressed bytes declare {declared}", "If that is right, decompress it first.")
    elif stored != declared:
        what = "is cut short" if stored < declared else "goes on after its end"
        raise bad(path, f"it {what}: {declared} bytes declared, {stored} found", "Fetch it again.")


def _inflated(path: Path, size: int, *, whole: bool) -> NDArray[np.uint8]:
    """The first `size` bytes of a gzip stream, on disk when they are many; `whole`: it must end there."""
    stream = zlib.decompressobj(31)  # 31: gzip with header and checksum
    out, size_so_far = spool((size + whole,), np.uint8), 0
    try:
        with path.open("rb") as file:
            while size_so_far < len(out) and not stream.eof and (block := stream.unconsumed_tail or file.read(BLOCK)):
                piece = stream.decompress(block, min(len(out) - size_so_far, BLOCK))
                out[size_so_far : size_so_far + len(piece)] = np.frombuffer(piece, np.uint8)
                size_so_far += len(piece)
            trailing = bool(stream.unused_data or file.read(1))
    except zlib.error as error:
        raise bad(path, f"its gzip stream is damaged ({printable(str(error))})", "Fetch it again.") from None
    if whole and size_so_far > size:
        raise bad(path, f"it inflates to more than the {size} bytes declared", "Fetch it again.")
    if whole and not stream.eof:
        raise bad(path, f"its gzip stream is cut short: {size} bytes declared, {size_so_far} found", "Fetch it again.")
    if whole and (size_so_far < size or trailing):
        what = "more data follows its gzip stream" if trailing else f"{size} bytes declared, {size_so_far} found"
        raise bad(path, what, "Fetch it again.")
    return out[:size_so_far]

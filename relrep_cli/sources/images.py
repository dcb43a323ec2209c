"""Folders of pictures, decoded in blocks by Pillow in a child process, and arrays of images in .npy and .npz."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import printable
from relrep_cli.base.signals import check
from relrep_cli.numerics.blocks import release
from relrep_cli.numerics.spool import spool
from relrep_cli.sources.fitting import Channels, Size, fitted
from relrep_cli.sources.items import Items, SkipBad, Skipped, bad, digest_of, joined, numbered, part_of, source, text_column
from relrep_cli.store import child
from relrep_cli.store.apart import limit
from relrep_cli.store.arrays import Array, listed
from relrep_cli.store.column_names import role
from relrep_cli.store.columns import column

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # what Pillow may look for, whatever the file is called
LARGEST = 64 << 20  # pixels of one picture
BLOCK_BYTES, BLOCK = 16 << 20, 1024  # of decoded pixels, and pictures, in one child
MEMORY = 1 << 30  # bytes of a child


def _pictures(folder: Path) -> Iterator[Path]:
    """Pictures of a folder and the two levels below it, by name; hidden ones are left out."""
    levels = [sorted(folder.glob(pattern)) for pattern in ("*", "*/*", "*/*/*")]
    for path in sorted(path for level in levels for path in level):
        if path.suffix.lower() in ENDINGS and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _has_pictures(path: Path) -> bool:
    return path.is_dir() and next(_pictures(path), None) is not None


@source(kind="images", fits=_has_pictures, has_columns=False, source="the layout of torchvision's ImageFolder")
def pictures(path: Path, *, size: Size = 0, source_channels: Channels = "auto", skip_bad: SkipBad = False) -> Items:
    """Folders of pictures: a folder for each class, in train and test folders or without; JPEG, PNG and others.

    An id is the path within the folder. Decoded once, block by block, into a temporary file; without `size` all pictures
    must have one size. Raises DataError that names the picture for one that cannot be decoded.
    """
    files = list(_pictures(path))
    if not files:
        raise bad(path, "no pictures here", "Name a folder that holds some.")
    skipped = Skipped(path, skip_bad)
    shape = _shape_of_first(files, size, source_channels, skipped)
    x = spool((len(files), *shape), np.uint8)
    kept: list[Path] = []
    for start, images in _decoded(files, shape, bool(size)):
        for i, image in enumerate(images):
            if isinstance(image, str):
                skipped.note(str(files[start + i]), image)
            else:
                x[len(kept)] = image
                kept.append(files[start + i])
        release(x, slice(0, len(kept)))
    skipped.tell(len(kept))
    x = x[: len(kept)]
    places = [file.relative_to(path).parts for file in kept]
    splits = [part_of(parts[0]) if len(parts) > 1 else "" for parts in places]
    labels = [parts[-2] if len(parts) > 1 + bool(split) else "" for parts, split in zip(places, splits, strict=True)]
    columns = {"label": labels, "split": splits}
    obs = {name: text_column(os.fsencode(v) for v in values) for name, values in columns.items() if any(values)}
    ids = text_column("/".join(parts).encode("utf-8", "backslashreplace") for parts in places)
    return Items(x, ids, digest_of(x), obs)


def _shape_of_first(files: list[Path], size: int, channels: str, skipped: Skipped) -> tuple[int, ...]:
    """The shape that all pictures get, from the first that can be read; those before it are noted again later."""
    first = ""
    for file in files:
        check()
        shape = _ask([file], None, None)[0]
        if not isinstance(shape, str):
            height, width, grey = shape
            side = (size, size) if size else (height, width)
            return side if channels == "grey" or (channels == "auto" and grey) else (*side, 3)
        first = first or f"{file}: {shape}"
        if not skipped.allowed:
            break
    raise bad(first.partition(": ")[0], first.partition(": ")[2], "Mend or remove it, or leave such items out with --skip-bad.")


def _decoded(files: list[Path], shape: tuple[int, ...], resize: bool) -> Iterator[tuple[int, list[Any]]]:
    """(number of the first, images or what is wrong with each) of all pictures, block by block."""
    rows = max(1, min(BLOCK, BLOCK_BYTES // max(1, int(np.prod(shape)))))
    for start in range(0, len(files), rows):
        check()
        yield start, _ask(files[start : start + rows], shape, resize)


def _ask(files: list[Path], shape: tuple[int, ...] | None, resize: bool | None) -> list[Any]:
    """What a child makes of some pictures. A picture that kills it is found by halving."""
    import PIL.Image  # noqa: F401  (here once, not in every child)

    try:
        answer = child.run(decode, [os.fspath(file) for file in files], shape, resize, patience=60 + len(files))
    except child.Died as error:
        if len(files) == 1:
            how = "crashes the decoder" if "crashed" in str(error) else "the decoder ran out of time or memory"
            return [f"it {how}"]
        half = len(files) // 2
        return _ask(files[:half], shape, resize) + _ask(files[half:], shape, resize)
    if shape is None:
        return list(answer)
    return [one if isinstance(one, str) else np.frombuffer(one, np.uint8).reshape(shape) for one in answer]


def decode(names: list[str], shape: list[int] | None, resize: bool | None) -> list[Any]:
    """In the child: bytes of each picture in `shape`, or what is wrong with it; without a shape, (height, width, grey)."""
    limit(5 + len(names) / 2, MEMORY)
    return [_one(name, shape, bool(resize)) for name in names]


def _one(name: str, shape: list[int] | None, resize: bool) -> Any:
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # judged here
    try:
        with Image.open(name, formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                return f"it has {image.width} x {image.height} pixels; at most {LARGEST >> 20} million are read"
            if shape is None:
                turned = image.getexif().get(0x0112, 1) > 4
                size = (image.width, image.height) if turned else (image.height, image.width)
                return [*size, image.mode in ("1", "L", "LA") or _is_deep(image)]
            if _is_deep(image) and not (image.mode.startswith("I;16") or image.format == "PNG"):
                return f"its pixels are numbers of 32 bits (mode {image.mode}); save it with 8 or 16"
            whole = _of_bytes(ImageOps.exif_transpose(image)).convert("L" if len(shape) == 2 else "RGB")
    except Exception as error:  # decoders raise whatever they like
        return _reason(error)
    if resize:
        whole = ImageOps.fit(whole, (shape[1], shape[0]), Image.Resampling.BILINEAR)
    elif (whole.height, whole.width) != (shape[0], shape[1]):
        return f"it is {whole.height} x {whole.width}, the first picture {shape[0]} x {shape[1]}; --size makes them equal"
    return whole.tobytes()


def _is_deep(image: Any) -> bool:
    """Grey of more than 8 bits, which Pillow's own conversion would cut off at 255."""
    return image.mode[0] in "IF"


def _of_bytes(image: Any) -> Any:
    """The upper bytes of grey of 16 bits; others as they are."""
    from PIL import Image

    return Image.fromarray((np.asarray(image, np.uint32) >> 8).astype(np.uint8)) if _is_deep(image) else image


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "it is not a picture that can be read"
    return f"it cannot be decoded ({re.sub(r'[^ -~]', '?', str(error))[:80] or type(error).__name__})"


def _arrays(path: Path) -> list[Array]:
    from relrep_cli.store.npy import arrays_in_npy
    from relrep_cli.store.npz import arrays_in_npz

    return arrays_in_npz(path) if path.suffix.lower() == ".npz" else arrays_in_npy(path)


def _is_images(array: Array) -> bool:
    """(n, h, w), or with 1 or 3 channels at its second or last place."""
    ranked = len(array.shape) == 3 or (len(array.shape) == 4 and bool({1, 3} & {array.shape[1], array.shape[3]}))
    return array.dtype == np.uint8 and ranked and all(array.shape)


def _fits(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".npz") and path.is_file() and any(map(_is_images, _arrays(path)))


@source(kind="images", fits=_fits, has_columns=False, source="the file format of NumPy")
def arrays(path: Path, *, size: Size = 0, source_channels: Channels = "auto") -> Items:
    """Images in .npy or .npz: unsigned bytes (n, h, w), (n, h, w, c) or (n, c, h, w) of 1 or 3 channels.

    An .npz may hold one array of images with siblings id, label, split and others of one value a row, or one array for each
    split, as x_train, y_train, x_test and y_test (train_images and train_labels, too). Raises DataError that lists the arrays
    when there is none.
    """
    stored = _arrays(path)
    images = [array for array in stored if _is_images(array)]
    if not images:
        raise bad(path, f"no images in it, (n, h, w) of uint8; found {listed(stored)}", "Save them as unsigned bytes.")
    parts = {_split_in(array.name): array for array in images}
    if len(images) > 1 and ("" in parts or len(parts) < len(images)):
        raise bad(path, f"which of its images? Found {listed(images)}", "Save one, or name them x_train and x_test.")
    order = ("train", "valid", "test", "")
    named = sorted(parts.items(), key=lambda pair: order.index(pair[0]))
    x = [_channels_last(array.read()) for _, array in named]
    if len({part.shape[1:] for part in x}) > 1:
        raise bad(path, f"its images differ in shape: {listed(images)}", "Save them alike.")
    obs = _columns_of(path, stored, named)
    ids = obs.pop("id", None)
    if ids is None:
        ids = np.concatenate([numbered(split or "image", len(part)) for (split, _), part in zip(named, x, strict=True)])
    whole = fitted(joined(x), size, source_channels)
    return Items(whole, ids, digest_of(whole), obs)


def _split_in(name: str) -> str:
    """The split in the name of an array: x_train, train_images, testX."""
    match = re.search(r"(train|valid|val|test)", name.lower())
    return part_of(match[0]) if match else ""


def _channels_last(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if x.ndim == 4 and x.shape[-1] not in (1, 3):
        x = x.transpose(0, 2, 3, 1)
    return x[..., 0] if x.ndim == 4 and x.shape[-1] == 1 else x


def _columns_of(path: Path, stored: list[Array], named: list[tuple[str, Array]]) -> dict[str, NDArray[Any]]:
    """Columns beside the images, those of each split one after the other."""
    columns: dict[str, NDArray[Any]] = {}
    if [split for split, _ in named] != [""]:
        columns["split"] = np.concatenate([np.full(array.shape[0], split.encode()) for split, array in named])
    for name in ("label", "id", "split"):
        parts = [next((a for a in stored if _tells(a, name, split, array)), None) for split, array in named]
        if all(part is not None and part.dtype is not None for part in parts):
            columns[name] = np.concatenate([column(path, name, part.read().reshape(-1)) for part in parts if part is not None])
    return {**(_others(path, stored, named[0][1]) if len(named) == 1 else {}), **columns}


def _others(path: Path, stored: list[Array], images: Array) -> dict[str, NDArray[Any]]:
    """Every other array with one value a row, as a column of its own name."""
    single = [a for a in stored if a.shape == images.shape[:1] and a.dtype is not None and role(a.name) is None]
    return {printable(array.name, 60): column(path, array.name, array.read()) for array in single}


def _tells(array: Array, name: str, split: str, images: Array) -> bool:
    """Whether an array is the column `name` of `images`: the same split in its name, one value a row."""
    words = [word for word in re.split(r"[^a-z]+", array.name.lower()) if word]
    own = [word for word in words if not part_of(word)]
    named = role(own[0]) == name or (name == "label" and own[0] == "y") if own else False
    return (
        named and _split_in(array.name) == split and array.shape[:1] == images.shape[:1] and int(np.prod(array.shape[1:])) == 1
    )

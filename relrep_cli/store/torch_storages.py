"""Where the numbers of a PyTorch file are: in a zip archive, as torch.save writes it, or in a row, as before torch 1.6.

Tensors are mapped where they lie, without torch.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import field
from io import FileIO
from math import prod
from pathlib import Path

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.signals import check
from relrep_cli.numerics.spool import spool
from relrep_cli.store.arrays import from_bfloat16
from relrep_cli.store.files import bad, opened, size_of
from relrep_cli.store.maps import QUIET, SHORTER, mapped
from relrep_cli.store.npz import STEP, places_of
from relrep_cli.store.pickle_opcodes import Malformed, TooLong
from relrep_cli.store.torch_pickles import Content, Storage, Tensor, content_of_pickle, plain_pickle

SAVE = "Save the tensor alone: torch.save(x, FILE), or numpy.save."
AGAIN = "Save it again with torch.save."
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files of torch before 1.6 begin
BEFORE = 3  # pickles before the one of the tensors in such files: a number, a version, and the sizes of types
REPEATED = 4  # how much larger than its storage a tensor may be
HARMLESS = 64 << 20  # bytes that a tensor may take however small its storage is


@dataclass(frozen=True)
class Place:
    """Where the bytes of a storage are in the file. checksum: their CRC-32, 0 where none is known."""

    start: int
    size: int
    checksum: int


@dataclass(frozen=True)
class TorchFile:
    """A PyTorch file: what its pickle holds, and where its storages are, by their keys."""

    path: Path
    content: Content
    places: Mapping[str, Place]
    big_endian: bool = False
    sound: set[str] = field(default_factory=set)  # keys of storages whose checksums were compared
    map: list[np.ndarray] = field(default_factory=list)  # the bytes of the file, once they are needed


def torch_file(path: Path, file: FileIO, longest: int, most: int) -> TorchFile:
    """Read the pickle of `path`, open as `file`, of at most `longest` bytes and `most` opcodes.

    Raises TooLong for a longer one, Malformed for damage, DataError for what is no file of PyTorch.
    """
    if os.pread(file.fileno(), 2, 0) == b"PK":
        return _of_archive(path, file, longest, most)
    return _of_stream(path, file, longest, most)


def _of_archive(path: Path, file: FileIO, longest: int, most: int) -> TorchFile:
    """Raises DataError unless all entries are stored as they are, as torch.save does."""
    try:
        places = places_of(path, file)
    except DataError as error:
        raise bad(path, error.finding, AGAIN) from None
    if packed := next((entry for entry, _ in places if entry.compress_type != zipfile.ZIP_STORED), None):
        raise bad(path, f"its entry {printable(packed.filename, 60)} is compressed, as torch.save never does", SAVE)
    entries = {entry.filename: Place(start, entry.file_size, entry.CRC) for entry, start in places}
    pickled = next((name for name in entries if name.endswith("data.pkl")), None)
    if pickled is None:
        raise bad(path, "this is a zip archive, but none of PyTorch's", SAVE)
    folder = pickled.removesuffix("data.pkl")
    content = content_of_pickle(io.BytesIO(_bytes(file, entries[pickled], longest)), most)
    order = entries.get(f"{folder}byteorder")
    stated = _bytes(file, order, longest) if order else b"little"
    if stated not in (b"little", b"big"):
        raise Malformed("its entry byteorder says neither little nor big")
    keys = {name.removeprefix(f"{folder}data/"): place for name, place in entries.items()}
    return TorchFile(path, content, {key: keys[key] for key in content.storages if key in keys}, stated == b"big")


def _bytes(file: FileIO, place: Place, longest: int) -> bytes:
    """A small entry. Raises TooLong, or Malformed where its checksum differs."""
    if place.size > longest:
        raise TooLong
    read = os.pread(file.fileno(), place.size, place.start)
    if place.checksum and zlib.crc32(read) != place.checksum:
        raise Malformed("its data do not have the checksum that the archive states")
    return read


def _of_stream(path: Path, file: FileIO, longest: int, most: int) -> TorchFile:
    start = io.BytesIO(os.pread(file.fileno(), longest, 0))
    try:
        for _ in range(BEFORE):
            plain_pickle(start)
        content = content_of_pickle(start, most)
        if content.strangers:
            return TorchFile(path, content, {})
        keys = plain_pickle(start)
    except Malformed:
        if size_of(file) > longest and start.tell() >= longest:
            raise TooLong from None
        raise
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise Malformed
    at, places = start.tell(), {}
    for key in keys:
        count = int.from_bytes(os.pread(file.fileno(), 8, at), "little")
        storage = content.storages.get(key)
        if storage is None or count != storage.count:
            raise Malformed("its storages are not those that its tensors name")
        places[key] = Place(at + 8, storage.size, 0)
        at += 8 + storage.size
    if at > size_of(file):
        raise Malformed(f"it ends {at - size_of(file)} bytes before its last number")
    return TorchFile(path, content, places)


def dtype_of(tensor: Tensor) -> np.dtype | None:
    """The NumPy type of the numbers of a tensor; None for a type that is not read."""
    if tensor.storage is None or tensor.kind.startswith("complex"):
        return None
    return np.dtype(np.float32) if tensor.kind == "bfloat16" else tensor.storage.stored


def check_places(torch: TorchFile, tensors: list[tuple[str, Tensor]]) -> None:
    """Raise DataError unless the storage of every tensor is in the file, and no tensor is far larger than it."""
    for name, tensor in tensors:
        if tensor.storage is None:
            continue
        place = torch.places.get(tensor.storage.key)
        if place is None or place.size < tensor.storage.start * tensor.storage.stored.itemsize + tensor.storage.size:
            raise bad(torch.path, "damaged: its numbers are not all in the file", AGAIN, name)
        if prod(tensor.shape) * tensor.storage.stored.itemsize > max(HARMLESS, REPEATED * place.size):
            raise bad(torch.path, "it repeats its storage far more often than is stored", SAVE, name)


def numbers(torch: TorchFile, name: str, tensor: Tensor) -> np.ndarray:
    """The numbers of a tensor, mapped from the file where they can be used as they are. Raises DataError for damage."""
    storage = tensor.storage
    assert storage is not None, "tensors that are not read have been refused"
    if not all(tensor.shape):
        return np.empty(tensor.shape, dtype_of(tensor))
    values = _view(_stored(torch, name, torch.places[storage.key], storage), tensor)
    if torch.big_endian:
        values = _copied(values, storage.stored)
    if tensor.kind == "bfloat16":
        values = from_bfloat16(values)
    return np.negative(values, out=spool(values.shape, values.dtype)) if tensor.negative else values


def _copied(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    out = spool(values.shape, dtype)
    out[...] = values
    return out


def _stored(torch: TorchFile, name: str, place: Place, storage: Storage) -> np.ndarray:
    """The numbers of a storage, mapped once for all tensors, of which there may be many. Raises DataError."""
    if not torch.map:
        with opened(torch.path) as file:
            torch.map.append(mapped(torch.path, file, np.uint8, 0, (size_of(file),)))
    if storage.key not in torch.sound:
        with opened(torch.path) as file:
            _check_sum(torch.path, file, name, place)
        torch.sound.add(storage.key)
    start = place.start + storage.start * storage.stored.itemsize
    if start + storage.size > len(torch.map[0]):
        raise bad(torch.path, SHORTER, QUIET)
    stored = storage.stored.newbyteorder(">") if torch.big_endian else storage.stored
    return torch.map[0][start : start + storage.size].view(stored)


def _view(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The tensor in the numbers of its storage."""
    part = values[tensor.offset :]
    if tensor.strides == _in_order(tensor.shape):
        return part[: prod(tensor.shape)].reshape(tensor.shape)
    steps = [stride * values.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(part, tensor.shape, steps, subok=True, writeable=False)


def _in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor whose numbers follow each other; 0 for an axis of length 1."""
    return tuple(prod(shape[axis + 1 :]) if size > 1 else 0 for axis, size in enumerate(shape))


def _check_sum(path: Path, file: FileIO, name: str, place: Place) -> None:
    if not place.checksum:  # torch can leave them out
        return
    computed = 0
    for at in range(place.start, place.start + place.size, STEP):
        check()
        computed = zlib.crc32(os.pread(file.fileno(), min(STEP, place.start + place.size - at), at), computed)
    if computed != place.checksum:
        raise bad(path, "its numbers are damaged: they do not have the checksum that the archive states", AGAIN, name)

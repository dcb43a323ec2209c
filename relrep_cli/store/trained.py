"""Trained things as files: named arrays and one JSON record in safetensors, never a pickle.

The record is one metadata entry, because safetensors writes several in no fixed order and equal things are to give equal
bytes. A foreign file is judged before an array is used: every length against the file, every type, and no gap or overlap.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import DataError, printable

LARGEST_HEADER, LARGEST_FILE = 1 << 20, 1 << 30  # bytes; the heaviest encoders here are a few hundred megabytes
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
Arrays = Mapping[str, NDArray[np.floating[Any]]]
T = TypeVar("T")


def pack(record: Mapping[str, Any], arrays: Arrays, key: str) -> bytes:
    """The bytes of a safetensors file with `record` as the metadata entry `key`; equal things give equal bytes."""
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(plain, metadata={key: json.dumps(record, sort_keys=True)})


def unpack(
    source: str | os.PathLike[str] | bytes, key: str, version: int, noun: str, made_by: str, build: Callable[[Any, Any], T]
) -> T:
    """build(record, arrays) of a file written from `pack`, or of those bytes.

    Raises DataError when it is anything else, or when `build` raises Unusable or ValueError.
    """
    where = noun if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else _content(Path(source))
        tensors, start = _header(data)
        record = _record(tensors.pop("__metadata__", None), key, version, noun)
        _check_layout(tensors, len(data) - start)
        return build(record, {name: _array(data, start, entry) for name, entry in tensors.items()})
    except (Unusable, OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise DataError(printable(str(what), 200), f"Give {a(noun)} that {made_by} saved.", file=printable(where)) from None


def a(noun: str) -> str:
    """The noun with its article: an encoder, a head."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class Unusable(Exception):
    """What is wrong with the file; `unpack` adds where and what to do."""


def need(true: Any, otherwise: str) -> None:
    if not true:
        raise Unusable(otherwise)


def _content(path: Path) -> bytes:
    """The bytes of a regular file of bounded size."""
    need(path.is_file(), "no such file" if not path.exists() else "not a regular file")
    need(path.stat().st_size <= LARGEST_FILE, f"larger than such a file can be ({LARGEST_FILE} bytes)")
    return path.read_bytes()


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The JSON header of safetensors bytes and where the arrays begin."""
    length = int.from_bytes(data[:8], "little")
    need(len(data) >= 10 and length <= min(LARGEST_HEADER, len(data) - 8), "not a safetensors file")
    return _object(data[8 : 8 + length], "not a safetensors file"), 8 + length


def _object(text: Any, otherwise: str) -> dict[str, Any]:
    """The JSON object in `text`."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        found = None
    need(isinstance(found, dict), otherwise)
    return dict(found)


def _record(metadata: Any, key: str, version: int, noun: str) -> dict[str, Any]:
    """What the metadata say: an object of the version that is known."""
    text = metadata.get(key) if isinstance(metadata, dict) else None
    need(isinstance(text, str), f"safetensors without {a(noun)}'s metadata")
    record = _object(text, f"{a(noun)}'s metadata that cannot be read")
    found = record.get("version")
    need(isinstance(found, int), f"{a(noun)}'s metadata that cannot be read")
    need(found == version, f"{noun} format {found}; this relrep reads {version}")
    return record


def _check_layout(tensors: Mapping[str, Any], size: int) -> None:
    """Every array is float32 or float64, as long as its shape says, and they lie end to end: no gap, overlap or rest."""
    for entry in tensors.values():
        sound = isinstance(entry, dict) and str(entry.get("dtype")) in DTYPES
        sound = sound and all(naturals(entry.get(key)) for key in ("shape", "data_offsets")) and len(entry["data_offsets"]) == 2
        need(sound, "an array that is not of float32 or float64, or has no place in the file")
        begin, end = entry["data_offsets"]
        length = math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize
        need(end - begin == length, "arrays whose sizes do not match the file")
    spans = sorted(entry["data_offsets"] for entry in tensors.values())
    tiled = [begin for begin, _ in spans] + [size] == [0] + [end for _, end in spans]
    need(tiled, "arrays whose sizes do not match the file")


def naturals(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 8 and all(type(v) is int and 0 <= v < 2**48 for v in value)


def _array(data: bytes, start: int, entry: Mapping[str, Any]) -> NDArray[np.floating[Any]]:
    """The array of a checked entry. A copy: offsets need not be aligned, and torch wants writable memory."""
    size, offset = math.prod(entry["shape"]), start + entry["data_offsets"][0]
    return np.array(np.frombuffer(data, DTYPES[entry["dtype"]], size, offset).reshape(entry["shape"]))

"""Trained things as files: named arrays and one JSON record in safetensors, never a pickle.

The record is one metadata entry, because safetensors writes several in no fixed order and equal things are to give equal
bytes. A foreign file is checked before an array is used: every type here, and the layout by `safetensors.layout`.
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

from relrep_cli.base.errors import NO_DESCRIPTORS, DataError, printable
from relrep_cli.store.safetensors import Malformed, Place, entries_of, layout

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
        entries, start = _header(data)
        record = _record(entries.pop("__metadata__", None), key, version, noun)
        places = _layout(entries, len(data) - start)
        return build(record, {name: _array(data, start, place) for name, place in places.items()})
    except (Unusable, OSError, ValueError) as error:
        if getattr(error, "errno", None) in NO_DESCRIPTORS:
            raise
        what = getattr(error, "strerror", None) or error
        raise DataError(printable(str(what), 200), f"Give {a(noun)} that {made_by} saved.", file=printable(where)) from None


def a(noun: str) -> str:
    """The noun with its article: an encoder, a head."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class Unusable(Exception):
    """A fault of the file; `unpack` adds the place and the remedy."""


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
    try:
        return entries_of(data[8 : 8 + length]), 8 + length
    except Malformed:
        raise Unusable("not a safetensors file") from None


def _object(text: Any, otherwise: str) -> dict[str, Any]:
    """The JSON object in `text`."""
    try:
        content = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        content = None
    need(isinstance(content, dict), otherwise)
    return dict(content)


def _record(metadata: Any, key: str, version: int, noun: str) -> dict[str, Any]:
    """The object in the metadata, of the version that is known."""
    text = metadata.get(key) if isinstance(metadata, dict) else None
    need(isinstance(text, str), f"safetensors without {a(noun)}'s metadata")
    record = _object(text, f"{a(noun)}'s metadata that cannot be read")
    stated = record.get("version")
    need(isinstance(stated, int), f"{a(noun)}'s metadata that cannot be read")
    need(stated == version, f"{noun} format {stated}; this relrep reads {version}")
    return record


def _layout(entries: dict[str, Any], size: int) -> dict[str, Place]:
    """Where the arrays lie, all of them float32 or float64."""
    try:
        places = layout(entries, size)
    except Malformed as error:
        raise Unusable(f"array {printable(error.name, 40)}: {error.finding}" if error.name else error.finding) from None
    need(all(place[0] in DTYPES for place in places.values()), "an array that is not of float32 or float64")
    return places


def naturals(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 8 and all(type(v) is int and 0 <= v < 2**48 for v in value)


def _array(data: bytes, start: int, place: Place) -> NDArray[np.floating[Any]]:
    """The array at a checked place. A copy: offsets need not be aligned, and torch wants writable memory."""
    dtype, shape, begin, _ = place
    return np.array(np.frombuffer(data, DTYPES[dtype], math.prod(shape), start + begin).reshape(shape))

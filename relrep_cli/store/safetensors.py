"""The .safetensors format: a bounded JSON header whose every offset is checked, then data mapped where it lies."""

from __future__ import annotations

import json
import os
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.numerics.spool import spool
from relrep_cli.store.arrays import Array, found
from relrep_cli.store.columns import blocks
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.maps import mapped

HEADER = 16 << 20  # bytes; the format allows 100 MB, real ones stay below 10
TENSORS = 1 << 14
DTYPES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "?",
    "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip
Place = tuple[str, tuple[int, ...], int, int]  # dtype, shape, begin, end


def read_safetensors(path: Path, member: str | None) -> Found:
    """The chosen (n, d) tensor, mapped; BF16 widened to float32; integer siblings id(s), label(s), split. Raises DataError."""
    with opened(path) as file:
        head = os.pread(file.fileno(), HEAD, 0)
        length, room = int.from_bytes(head[:8], "little"), size_of(file) - 8
        if head[8:9] != b"{":
            raise mistaken(path, head, "a safetensors file")
        if not 2 <= length <= min(room, HEADER):
            raise bad(path, f"its header claims {length} bytes; {max(room, 0)} follow, {HEADER} are allowed", "Save it again.")
        entries = _entries(path, os.pread(file.fileno(), length, 8))
        places = {name: _place(path, name, entry) for name, entry in entries.items()}
        _check_layout(path, places, room - length)
        arrays = [_array(path, file, name, *place, base=8 + length) for name, place in places.items()]
        return found(path, arrays, member, "tensor")


def _entries(path: Path, header: bytes) -> dict[str, Any]:
    """The tensors by name, as the JSON header declares them."""
    if header.count(b"{") > TENSORS or header.count(b",") > 16 * TENSORS or header.count(b"[") > 4 * TENSORS:
        raise bad(path, f"its header names more than {TENSORS} tensors", "Split the file.")
    try:
        entries = json.loads(header.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else printable(str(error), 80)
        raise bad(path, f"its header is not JSON of the safetensors kind: {reason}", "Save it again.") from None
    return {name: entry for name, entry in entries.items() if name != "__metadata__"}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name is given twice")
    return entries


def _place(path: Path, name: str, entry: Any) -> Place:
    """What the header says of a tensor, each part of the right type and sign."""
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if isinstance(dtype, str) and _naturals(shape) and _naturals(offsets) and len(offsets) == 2:
        return dtype, tuple(shape), offsets[0], offsets[1]
    raise bad(path, "its dtype, shape or data_offsets are missing or malformed", "Save it again.", name)


def _naturals(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and len(values) <= 32 and all(type(v) is int and 0 <= v < 1 << 63 for v in values)


def _check_layout(path: Path, places: dict[str, Place], size: int) -> None:
    """Raise DataError unless the tensors fill the `size` bytes of data one after the other, each as long as its shape says."""
    at = 0
    for name, (dtype, shape, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != at or end < begin or end > size:
            raise bad(path, f"its bytes {begin} to {end} overlap, leave a gap or pass the end ({size})", "Save it again.", name)
        if dtype in DTYPES and end - begin != prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
            raise bad(path, f"shape {shape} of {dtype} does not fit its {end - begin} bytes", "Save it again.", name)
        at = end
    if at != size:
        raise bad(path, f"{size - at} bytes belong to no tensor", "Save it again.")


def _array(path: Path, file: FileIO, name: str, dtype: str, shape: tuple[int, ...], begin: int, end: int, base: int) -> Array:
    def read() -> np.ndarray:
        if begin == end:
            return np.empty(shape, DTYPES[dtype])
        values = mapped(path, file, DTYPES[dtype], base + begin, shape)
        return _widened(values) if dtype == "BF16" else values

    known = None if dtype not in DTYPES else np.dtype("<f4" if dtype == "BF16" else DTYPES[dtype])
    return Array(name, shape, known, printable(dtype, 20), read)


def _widened(values: np.ndarray) -> np.ndarray:
    """bfloat16 bits as float32, exactly: a bfloat16 is the upper half of a float32."""
    out = spool(values.shape, np.float32)
    for rows in blocks(len(values), 4 * prod(values.shape[1:]), values, out):
        out[rows] = (values[rows].astype(np.uint32) << 16).view(np.float32)
    return out

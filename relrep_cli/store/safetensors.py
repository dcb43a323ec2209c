"""The .safetensors format: a bounded JSON header whose every offset is checked, then data mapped where it lies.

The safetensors library checks the layout as well, but takes headers of up to 100 MB, and its NumPy side copies tensors instead
of mapping them.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.store.arrays import Array, content_of, from_bfloat16
from relrep_cli.store.column_names import is_id_name, role
from relrep_cli.store.columns import texts_in_json
from relrep_cli.store.files import HEAD, bad, mistaken, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.item_arrays import of_arrays
from relrep_cli.store.maps import mapped
from relrep_cli.store.reading import PLAIN, Reading

HEADER = 16 << 20  # bytes; the format allows 100 MB, real ones stay below 10
TENSORS = 1 << 14
DTYPES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "?",
    "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8",
}  # fmt: skip
Place = tuple[str, tuple[int, ...], int, int]  # dtype, shape, begin, end


class Malformed(Exception):
    """A fault in the header of a safetensors file, or in the tensor `name`."""

    def __init__(self, finding: str, name: str | None = None) -> None:
        super().__init__(finding)
        self.finding, self.name = finding, name


def read_safetensors(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The chosen (n, d) tensor, mapped; BF16 widened to float32; tensors of n integers beside it. Raises DataError."""
    with opened(path) as file:
        head = os.pread(file.fileno(), HEAD, 0)
        length, room = int.from_bytes(head[:8], "little"), size_of(file) - 8
        if head[8:9] != b"{":
            raise mistaken(path, head, "a safetensors file")
        if not 2 <= length <= min(room, HEADER):
            raise bad(path, f"its header claims {length} bytes; {max(room, 0)} follow, {HEADER} are allowed", "Save it again.")
        places, metadata = _places(path, os.pread(file.fileno(), length, 8), room - length)
        arrays = [_as_text(_array(path, file, name, *place, base=8 + length)) for name, place in places.items()]
        vectors = member is None and all(len(array.shape) == 1 for array in arrays)
        if vectors and (of_items := of_arrays(path, arrays, room, reading)):
            return of_items
        chosen = content_of(path, arrays, member, reading, "tensor")
        return replace(chosen, columns={**_listed(metadata, len(chosen.x)), **chosen.columns})


def _listed(metadata: Any, n: int) -> dict[str, np.ndarray]:
    """Lists of n ids that a file keeps as JSON in its metadata, which hold texts alone."""
    lists = {name: texts_in_json(value, n) for name, value in metadata.items() if is_id_name(name) and isinstance(value, str)}
    return {name: np.array([text.encode(errors="replace") for text in texts]) for name, texts in lists.items() if texts}


def _places(path: Path, header: bytes, size: int) -> tuple[dict[str, Place], dict[str, Any]]:
    """Where each tensor lies, checked, and the metadata. Raises DataError."""
    if header.count(b"{") > TENSORS or header.count(b",") > 16 * TENSORS or header.count(b"[") > 4 * TENSORS:
        raise bad(path, f"its header names more than {TENSORS} tensors", "Split the file.")
    try:
        entries = entries_of(header)
        metadata = entries.pop("__metadata__", None)
        return layout(entries, size), metadata if isinstance(metadata, dict) else {}
    except Malformed as error:
        raise bad(path, error.finding, "Save it again.", error.name) from None


def entries_of(header: bytes) -> dict[str, Any]:
    """The entries of a JSON header by name, "__metadata__" among them. Raises Malformed."""
    try:
        entries = json.loads(header.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else printable(str(error), 80)
        raise Malformed(f"its header is not JSON of the safetensors kind: {reason}") from None
    if not isinstance(entries, dict):
        raise Malformed("its header is not JSON of the safetensors kind: no object")
    return entries


def layout(entries: dict[str, Any], size: int) -> dict[str, Place]:
    """Where each tensor lies in the `size` bytes of data, by name.

    Raises Malformed unless the tensors fill the data one after the other, each as long as its shape says.
    """
    places = {name: _place(name, entry) for name, entry in entries.items()}
    _check_layout(places, size)
    return places


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name is given twice")
    return entries


def _place(name: str, entry: Any) -> Place:
    """The place of a tensor by its entry in the header, each part of the right type and sign. Raises Malformed."""
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = (fields.get(key) for key in ("dtype", "shape", "data_offsets"))
    if isinstance(dtype, str) and _naturals(shape) and _naturals(offsets) and len(offsets) == 2:
        return dtype, tuple(shape), offsets[0], offsets[1]
    raise Malformed("its dtype, shape or data_offsets are missing or malformed", name)


def _naturals(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and len(values) <= 32 and all(type(v) is int and 0 <= v < 1 << 63 for v in values)


def _check_layout(places: dict[str, Place], size: int) -> None:
    at = 0
    for name, (dtype, shape, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != at or end < begin or end > size:
            raise Malformed(f"its bytes {begin} to {end} overlap, leave a gap or pass the end ({size})", name)
        if dtype in DTYPES and end - begin != prod(shape) * np.dtype(DTYPES[dtype]).itemsize:
            raise Malformed(f"shape {shape} of {dtype} does not fit its {end - begin} bytes", name)
        at = end
    if at != size:
        raise Malformed(f"{size - at} bytes belong to no tensor")


def _array(path: Path, file: FileIO, name: str, dtype: str, shape: tuple[int, ...], begin: int, end: int, base: int) -> Array:
    def read() -> np.ndarray:
        if begin == end:
            return np.empty(shape, DTYPES[dtype])
        values = mapped(path, file, DTYPES[dtype], base + begin, shape)
        return from_bfloat16(values) if dtype == "BF16" else values

    known = None if dtype not in DTYPES else np.dtype("<f4" if dtype == "BF16" else DTYPES[dtype])
    return Array(name, shape, known, printable(dtype, 20), read)


def _as_text(array: Array) -> Array:
    """A tensor of bytes (n, width) that is named as ids, labels or splits: text, padded with zeros, as `exports` writes it."""
    named = role(array.name) is not None or is_id_name(array.name)
    if not named or array.dtype != np.uint8 or len(array.shape) != 2 or not all(array.shape):
        return array
    n, width = array.shape
    return Array(
        array.name, (n,), np.dtype(f"S{width}"), "text", lambda: np.ascontiguousarray(array.read()).view(f"S{width}")[:, 0]
    )

"""Trained encoders as files: named arrays in safetensors, never a pickle.

A file holds the arrays and one metadata entry, `relrep-encoder`: a JSON record of name, version, shape and params.
One entry only, because safetensors writes several in no fixed order and equal encoders are to give equal bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.encoders.base import ENCODERS, Trained
from relrep_cli.errors import DataError, UsageError, printable

KEY, VERSION = "relrep-encoder", 1
LARGEST_HEADER, LARGEST_FILE = 1 << 20, 1 << 30  # bytes; the heaviest encoders here are a few hundred megabytes
DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
UNREADABLE = "an encoder's metadata that cannot be read"


def to_bytes(trained: Trained) -> bytes:
    """The encoder as the bytes of a safetensors file; equal encoders give equal bytes."""
    from safetensors.numpy import save

    record = {"name": trained.name, "version": VERSION, "shape": trained.shape, "params": trained.params}
    weights = {name: np.ascontiguousarray(weight) for name, weight in trained.weights.items()}
    return save(weights, metadata={KEY: json.dumps(record, sort_keys=True)})


def load(source: str | os.PathLike[str] | bytes) -> Trained:
    """The encoder in a file written from `to_bytes`, or in those bytes.

    Raises DataError when it is anything else: every length is checked against the file, every name, type and shape
    against what the encoder of that name has, before a weight is used.
    """
    where = "encoder" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else _content(Path(source))
        tensors, start = _header(data)
        record = _record(tensors.pop("__metadata__", None))
        _check_layout(tensors, len(data) - start)
        weights = {name: _array(data, start, entry) for name, entry in tensors.items()}
        return _trained(record, weights)
    except (_Unusable, OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise DataError(f"{printable(where)}: {printable(str(what), 200)}. Give an encoder that relrep embed saved.") from None


class _Unusable(Exception):
    """What is wrong with the file; `load` adds where and what to do."""


def _need(true: Any, otherwise: str) -> None:
    if not true:
        raise _Unusable(otherwise)


def _content(path: Path) -> bytes:
    """The bytes of a regular file of bounded size."""
    _need(path.is_file(), "no such file" if not path.exists() else "not a regular file")
    _need(path.stat().st_size <= LARGEST_FILE, f"larger than an encoder can be ({LARGEST_FILE} bytes)")
    return path.read_bytes()


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    """The JSON header of safetensors bytes and where the arrays begin."""
    length = int.from_bytes(data[:8], "little")
    _need(len(data) >= 10 and length <= min(LARGEST_HEADER, len(data) - 8), "not a safetensors file")
    return _object(data[8 : 8 + length], "not a safetensors file"), 8 + length


def _object(text: Any, otherwise: str) -> dict[str, Any]:
    """The JSON object in `text`."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        found = None
    _need(isinstance(found, dict), otherwise)
    return dict(found)


def _record(metadata: Any) -> dict[str, Any]:
    """What the metadata say about the encoder: types checked, nothing else yet."""
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    _need(isinstance(text, str), "safetensors without an encoder's metadata")
    record = _object(text, UNREADABLE)
    expected = {"name": str, "version": int, "shape": list, "params": dict}
    _need(all(isinstance(record.get(key), kind) for key, kind in expected.items()), UNREADABLE)
    _need(record["version"] == VERSION, f"encoder format {record['version']}; this relrep reads {VERSION}")
    return record


def _check_layout(tensors: Mapping[str, Any], size: int) -> None:
    """Every array is float32 or float64, as long as its shape says, and they lie end to end: no gap, overlap or rest."""
    for entry in tensors.values():
        sound = isinstance(entry, dict) and str(entry.get("dtype")) in DTYPES
        sound = (
            sound and all(_naturals(entry.get(key)) for key in ("shape", "data_offsets")) and len(entry["data_offsets"]) == 2
        )
        _need(sound, "an array that is not of float32 or float64, or has no place in the file")
        begin, end = entry["data_offsets"]
        length = math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize
        _need(end - begin == length, "arrays whose sizes do not match the file")
    spans = sorted(entry["data_offsets"] for entry in tensors.values())
    tiled = [begin for begin, _ in spans] + [size] == [0] + [end for _, end in spans]
    _need(tiled, "arrays whose sizes do not match the file")


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 8 and all(type(v) is int and 0 <= v < 2**48 for v in value)


def _array(data: bytes, start: int, entry: Mapping[str, Any]) -> NDArray[np.floating[Any]]:
    """The array of a checked entry. A copy: offsets need not be aligned, and torch wants writable memory."""
    size, offset = math.prod(entry["shape"]), start + entry["data_offsets"][0]
    return np.array(np.frombuffer(data, DTYPES[entry["dtype"]], size, offset).reshape(entry["shape"]))


def _trained(record: dict[str, Any], weights: dict[str, NDArray[np.floating[Any]]]) -> Trained:
    """The encoder, once its name is known, its parameters are allowed and its weights have the shapes that follow."""
    name, params, shape = record["name"], record["params"], record["shape"]
    _need(name in ENCODERS, f"an encoder named {name!r}; known: {', '.join(ENCODERS)}")
    _check_params(name, params)
    _need(_naturals(shape) and 0 not in shape, UNREADABLE)
    try:
        expected = ENCODERS[name].shapes(tuple(shape), params)
    except ValueError:  # a rank that the encoder does not know
        expected = None
    _need({n: w.shape for n, w in weights.items()} == expected, f"weights that do not fit encoder {name}")
    _need(all(np.isfinite(w).all() for w in weights.values()), "weights that are not finite")
    return Trained(name, params, tuple(shape), weights)


def _check_params(name: str, params: dict[str, Any]) -> None:
    """The parameters are exactly the encoder's own, each of its type and in its range, and a seed."""
    entry = ENCODERS[name]
    kinds = {keyword.name: keyword.type for keyword in entry.keywords.values()} | {"seed": int}
    sound = params.keys() == kinds.keys() and all(type(params[key]) is kind for key, kind in kinds.items())
    _need(sound, f"parameters that are not those of encoder {name}")
    try:
        entry.resolve(params)
    except UsageError as error:
        raise _Unusable(str(error).rstrip(".")) from None

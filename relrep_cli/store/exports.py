"""Collections written in other formats, with their ids, labels and splits: what `foreign` reads, written back.

Rows go out block by block, so that a file larger than memory can be exported. Names of columns are those that the reading rule
finds again.
"""

from __future__ import annotations

import csv
import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.signals import check
from relrep_cli.embedding import Embedding
from relrep_cli.numerics.blocks import all_finite, row_blocks
from relrep_cli.store.beside import ids_beside
from relrep_cli.store.column_names import role
from relrep_cli.store.writing import published, write_bytes

VECTORS = "embedding"  # the name of the array or column of vectors
Exporter = Callable[[Path, Embedding, np.dtype], None]


def export(e: Embedding, target: str, dtype: str, force: bool) -> None:
    """Write `e` to a file whose ending is one of EXPORTS. dtype: of the stored numbers.

    .npy holds numbers alone, so its ids go to a list beside it, NAME.ids.txt. Raises WriteError, DataError or UsageError.
    """
    ending = Path(target).suffix.lower()
    if ending == ".npy" and not e.row_ids:
        lines = b"".join(item.replace(b"\n", b" ") + b"\n" for item in e.ids.tolist())
        write_bytes(str(ids_beside(Path(target))), lines, force)
    with published(target, force, e.n * e.d * np.dtype(dtype).itemsize) as path:
        EXPORTS[ending](path, e, np.dtype(dtype))


def _blocks(e: Embedding, dtype: np.dtype) -> Iterator[np.ndarray]:
    for rows in row_blocks(*e.x.shape, e.x):
        check()
        with np.errstate(over="ignore"):  # said below
            block = np.ascontiguousarray(e.x[rows], dtype)
        if not all_finite(block):
            row = rows.start + int(np.argmin(np.isfinite(block).all(1)))
            raise DataError(f"row {row} holds a number out of range for {dtype.name}", "Write --dtype float64.", file=e.uri)
        yield block


def _columns(e: Embedding) -> dict[str, np.ndarray]:
    """Ids, unless they are row numbers, and the columns of the file, by name."""
    return {**({} if e.row_ids else {"id": e.ids}), **{name: values for name, values in e.obs.items() if name != "id"}}


def texts(values: np.ndarray) -> list[Any]:
    if values.dtype.kind == "S":
        return [value.decode("utf-8", "backslashreplace") for value in values.tolist()]
    return list(values.tolist())


def npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    head = io.BytesIO()
    stated = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, stated)
    return head.getvalue()


def _write_npy(path: Path, e: Embedding, dtype: np.dtype) -> None:
    with path.open("r+b") as file:
        _matrix(file, e, dtype)
        file.truncate()


def _matrix(file: IO[bytes], e: Embedding, dtype: np.dtype) -> None:
    file.write(npy_header((e.n, e.d), dtype))
    for block in _blocks(e, dtype):
        file.write(block.data)


def _write_npz(path: Path, e: Embedding, dtype: np.dtype) -> None:
    with path.open("r+b") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            with archive.open(f"{VECTORS}.npy", "w", force_zip64=True) as entry:
                _matrix(entry, e, dtype)
            for name, values in _columns(e).items():
                plain = np.array(texts(values)) if values.dtype.kind == "S" else values
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    entry.write(npy_header(plain.shape, plain.dtype) + plain.tobytes())
        file.truncate()


def _write_safetensors(path: Path, e: Embedding, dtype: np.dtype) -> None:
    """Texts are bytes (n, width), padded with zeros, since tensors hold no text."""
    names = {np.dtype("float16"): "F16", np.dtype("float32"): "F32", np.dtype("float64"): "F64"}
    entries: dict[str, Any] = {VECTORS: _entry(names[dtype], (e.n, e.d), 0, e.n * e.d * dtype.itemsize)}
    columns = {n: v if v.dtype.kind == "S" else np.ascontiguousarray(v, np.float64) for n, v in _columns(e).items()}
    at = e.n * e.d * dtype.itemsize
    for name, values in columns.items():
        shape = (e.n, values.dtype.itemsize) if values.dtype.kind == "S" else (e.n,)
        entries[name] = _entry("U8" if values.dtype.kind == "S" else "F64", shape, at, values.nbytes)
        at += values.nbytes
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with path.open("r+b") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for block in _blocks(e, dtype):
            file.write(block.data)
        for values in columns.values():
            file.write(np.ascontiguousarray(values).tobytes())
        file.truncate()


def _entry(kind: str, shape: tuple[int, ...], start: int, size: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, start + size]}


def _write_text(delimiter: str) -> Exporter:
    def write(path: Path, e: Embedding, dtype: np.dtype) -> None:
        # A column of numbers that is no coordinate is left out: whoever reads the table could not tell it from one.
        columns = {name: texts(values) for name, values in _columns(e).items() if values.dtype.kind == "S" or role(name)}
        with path.open("r+", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            lines.writerow([*columns, *(f"e{i}" for i in range(e.d))])
            at = 0
            for block in _blocks(e, dtype):
                named = zip(*(values[at : at + len(block)] for values in columns.values()), strict=True) if columns else None
                for row in block.astype(str).tolist():
                    lines.writerow([*(next(named) if named else ()), *row])
                at += len(block)
            file.truncate()

    return write


def _write_parquet(path: Path, e: Embedding, dtype: np.dtype) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {name: _arrow(values) for name, values in _columns(e).items()}
    kind = pa.list_(pa.from_numpy_dtype(dtype), e.d)
    schema = pa.schema([*((name, values.type) for name, values in columns.items()), (VECTORS, kind)])
    at = 0
    with parquet.ParquetWriter(path, schema) as file:
        for block in _blocks(e, dtype):
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), type=kind)
            named = [values.slice(at, len(block)) for values in columns.values()]
            file.write_table(pa.table([*named, vectors], schema))
            at += len(block)


def _arrow(values: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(texts(values), pa.string()) if values.dtype.kind == "S" else pa.array(values)


EXPORTS: Mapping[str, Exporter] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".safetensors": _write_safetensors,
    ".csv": _write_text(","),
    ".tsv": _write_text("\t"),
    ".parquet": _write_parquet,
}

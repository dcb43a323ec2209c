"""Integers that stand for real numbers are read as these, by the scale beside them; what is not clear is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.store.foreign import found_in
from relrep_cli.store.reading import Reading

N, D = 12, 4
RNG = np.random.default_rng(0)
CODES = RNG.integers(-128, 128, (N, D)).astype(np.int8)
PER_ROW, PER_COLUMN = RNG.uniform(0.1, 1, (N, 1)), RNG.uniform(0.1, 1, D)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path.with_suffix(".npz"), embeddings=CODES, **arrays)
    return path.with_suffix(".npz")


def safetensors(path: Path, **arrays: Any) -> Path:
    tensors = {"embeddings": CODES} | {name: np.atleast_1d(np.float32(v)) for name, v in arrays.items()}
    save_file(tensors, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


def hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["embeddings"] = CODES
        for name, values in arrays.items():
            file[name] = values
    return path.with_suffix(".h5")


def attributes(path: Path, **arrays: Any) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["embeddings"] = CODES
        file["embeddings"].attrs.update(arrays)
    return path.with_suffix(".h5")


RIGHT = [
    ({"scale": 0.5}, CODES * 0.5),
    ({"scale": PER_COLUMN, "zero_point": np.int32(3)}, (CODES - 3.0) * PER_COLUMN),
    ({"scale_factor": 0.01, "add_offset": -7.0}, CODES * 0.01 - 7),
]
PER_ITEM = [
    ({"scale": PER_ROW}, CODES * PER_ROW),
    ({"scales": PER_ROW[:, 0], "offset": PER_COLUMN}, CODES * PER_ROW + PER_COLUMN),
]


@pytest.mark.parametrize("write", [npz, safetensors, hdf5])
@pytest.mark.parametrize("given, right", RIGHT + PER_ITEM, ids=lambda value: "+".join(value) if isinstance(value, dict) else "")
def test_scales_beside_integers(tmp_path: Path, write: Callable[..., Path], given: dict[str, Any], right: np.ndarray) -> None:
    content = found_in(write(tmp_path / "a", **given))
    assert content.x.dtype == np.float32 and np.allclose(content.x, right, rtol=1e-6, atol=1e-5)
    assert any(note.startswith("int8 is read as the numbers that it stands for, by ") for note in content.notes)
    assert content.ids is None and not content.unread


@pytest.mark.parametrize("given, right", RIGHT, ids=lambda value: "+".join(value) if isinstance(value, dict) else "")
def test_scales_in_attributes(tmp_path: Path, given: dict[str, Any], right: np.ndarray) -> None:
    assert np.allclose(found_in(attributes(tmp_path / "a", **given)).x, right, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind, least", [(np.int8, -128), (np.uint8, 0)])
def test_ranges_of_sentence_transformers(tmp_path: Path, kind: Any, least: int) -> None:
    """quantize_embeddings: steps of (high - low) / 255 from low, cut off, less 128 for int8; so no number moves by a step."""
    x = RNG.normal(size=(N, D)).astype(np.float32)
    ranges = np.vstack([x.min(0), x.max(0)])
    steps = (ranges[1] - ranges[0]) / 255
    np.savez(tmp_path / "a.npz", embeddings=((x - ranges[0]) / steps + least).astype(kind), ranges=ranges)
    read = store.read(str(tmp_path / "a.npz")).x
    assert (np.abs(read - x) <= steps * 1.001).all()


def test_a_scale_for_each_row_of_a_table(tmp_path: Path) -> None:
    columns = {"doc_id": [f"d{i}" for i in range(N)], "embedding": pa.array(CODES.tolist(), pa.list_(pa.int8()))}
    pq.write_table(pa.table(columns | {"scale": PER_ROW[:, 0], "zero_point": [3] * N}), tmp_path / "a.parquet")
    assert np.allclose(store.read(str(tmp_path / "a.parquet")).x, (CODES - 3.0) * PER_ROW, rtol=1e-5)


def test_scales_that_do_not_fit_or_say_the_same_are_refused(tmp_path: Path) -> None:
    for given, message in (
        ({"scale": np.ones(1), "scale_factor": np.ones(1)}, "scale and scale_factor both scale its integers"),
        ({"scale": np.array([np.nan])}, "holds no finite numbers"),
        ({"ranges": np.ones((2, D)), "scale": np.ones(1)}, "ranges go with int8 or uint8 and no scale"),
    ):
        with pytest.raises(DataError, match=message):
            store.read(str(npz(tmp_path / "a", **given)))
    square = RNG.integers(0, 9, (D, D)).astype(np.int8)
    np.savez(tmp_path / "b.npz", embeddings=square, scale=PER_COLUMN)
    with pytest.raises(DataError, match=r"its 4 values may be those of the rows or of the columns. Write"):
        store.read(str(tmp_path / "b.npz"))
    np.savez(tmp_path / "b.npz", embeddings=square, scale=PER_COLUMN[None])
    assert np.allclose(store.read(str(tmp_path / "b.npz")).x, square * PER_COLUMN)


@pytest.mark.parametrize("write", [npz, safetensors, hdf5])
def test_an_offset_alone_says_nothing(tmp_path: Path, write: Callable[..., Path]) -> None:
    """It may be the place of a text, and such a place may be an id."""
    path = write(tmp_path / "a", offsets=np.arange(N) * 7 + 3)
    content = found_in(path)
    assert np.array_equal(content.x, CODES) and (content.unread == ("offsets",) or path.suffix == ".safetensors")


def test_real_numbers_have_no_scale(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", embeddings=CODES.astype(np.float32), scale=0.5)
    assert np.array_equal(store.read(str(tmp_path / "a.npz")).x, CODES)


def test_bits_packed_into_lists_of_bytes(tmp_path: Path) -> None:
    bits = RNG.integers(0, 2, (N, 16))
    packed = np.packbits(bits, axis=1)
    pq.write_table(pa.table({"embedding": pa.array(packed.tolist(), pa.list_(pa.uint8()))}), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(f'{{"embedding": {row}}}\n' for row in packed.tolist()))
    for name in ("a.parquet", "a.jsonl"):
        assert np.array_equal(store.read(str(tmp_path / name), Reading(packed_bits=True)).x, bits)
    (tmp_path / "b.jsonl").write_text('{"embedding": [0.5, 1]}\n')
    with pytest.raises(DataError, match="--packed-bits unpacks bytes, and it holds other numbers"):
        store.read(str(tmp_path / "b.jsonl"), Reading(packed_bits=True))


def test_numbers_that_no_float_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the numbers that its int8 stands for, by scale, do not fit float32"):
        store.read(str(npz(tmp_path / "a", scale=1e300)))

"""Foreign formats: honest files read as what was written, others are refused in one line, soon and in little memory."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from csv import writer as csv_writer
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relrep_cli.base.errors import DataError
from relrep_cli.store.foreign import READERS, found_in, sniff
from relrep_cli.store.found import Found

pa = pytest.importorskip("pyarrow")
ipc = pytest.importorskip("pyarrow.ipc")
pq = pytest.importorskip("pyarrow.parquet")

N, D = 23, 5
IDS = [f"é{i}" for i in range(N)]
LABELS = [f"l{i % 3}" for i in range(N)]
FLOATS = ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"]
INTEGERS = ["i1", "u1", "<i2", ">u2", "<i4", ">u4", "<i8", ">u8"]


def matrix(dtype: str = "<f4", n: int = N, d: int = D) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((n, d)) * 50
    return (np.abs(x) if "u" in dtype else x).astype(dtype)


def read(path: Path, member: str | None = None) -> Found:
    return found_in(path, member)


def refusal(path: Path, member: str | None = None) -> str:
    """The message of the refusal, without the path; it is one printable line that begins with the path."""
    with pytest.raises(DataError) as caught:
        read(path, member)
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith(str(path))
    assert message[-1] in ".?"
    return message.removeprefix(str(path))


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def npy_header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    size = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + size + text.encode("latin-1") + data


def npz(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_ids(ids: np.ndarray) -> bytes:
    return npz({"x.npy": npy(matrix()), "ids.npy": npy(ids)})


def tensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def arrow(table: Any, packed: str | None = None, *, stream: bool = False) -> bytes:
    buffer = io.BytesIO()
    options = ipc.IpcWriteOptions(compression=packed)
    with (ipc.new_stream if stream else ipc.new_file)(buffer, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=7)
    return buffer.getvalue()


def lists(x: np.ndarray) -> object:
    return pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])


def csv(x: np.ndarray, separator: str = ",") -> bytes:
    rows = [["id", *(f"c{i}" for i in range(x.shape[1])), "Label"]]
    rows += [[i, *map(repr, row), label] for i, row, label in zip(IDS, x.tolist(), LABELS, strict=True)]
    return "".join(separator.join(row) + "\n" for row in rows).encode()


# --- what is honest reads as it was written ---


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
def test_npy_of_every_type_and_order(tmp_path: Path, dtype: str, order: Literal["C", "F"]) -> None:
    x = np.asarray(matrix(dtype), order=order)
    np.save(tmp_path / "x.npy", x)
    read_back = read(tmp_path / "x.npy")
    assert np.array_equal(read_back.x, x)
    assert read_back.x.dtype.kind == "f"
    assert read_back.x.flags.c_contiguous
    assert read_back.x.dtype.itemsize == (x.dtype.itemsize if x.dtype.kind == "f" else 4 if x.dtype.itemsize <= 2 else 8)


def test_npy_in_c_order_is_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", matrix())
    assert isinstance(read(tmp_path / "x.npy").x, np.memmap)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_of_every_version(tmp_path: Path, version: tuple[int, int]) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array(file, matrix(), version)
    assert np.array_equal(read(tmp_path / "x.npy").x, matrix())


def test_npy_header_as_python_2_and_others_wrote_it(tmp_path: Path) -> None:
    text = "{'shape':(23L,5L),\"fortran_order\" : False, 'descr':'<f4'}\n"
    (tmp_path / "x.npy").write_bytes(npy_header(text, matrix().tobytes()))
    assert np.array_equal(read(tmp_path / "x.npy").x, matrix())


@pytest.mark.parametrize("dtype", [*FLOATS, "<i4"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_siblings(tmp_path: Path, save: Callable[..., None], dtype: str) -> None:
    x = np.asfortranarray(matrix(dtype))
    save(tmp_path / "x.npz", x, ids=np.array(IDS), labels=np.array(LABELS), split=np.arange(N) % 2)
    read_back = read(tmp_path / "x.npz")
    assert np.array_equal(read_back.x, x)
    assert read_back.ids is not None
    assert read_back.ids.tolist() == [i.encode() for i in IDS]
    assert read_back.obs["label"].tolist() == [label.encode() for label in LABELS]
    assert read_back.obs["split"].tolist() == [b"train" if i % 2 == 0 else b"test" for i in range(N)]


def test_npz_stored_is_mapped_and_deflated_is_not(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=matrix())
    np.savez_compressed(tmp_path / "z.npz", x=matrix())
    assert isinstance(read(tmp_path / "x.npz").x, np.memmap)
    assert not isinstance(read(tmp_path / "z.npz").x, np.memmap)


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (np.arange(N), [b"%d" % i for i in range(N)]),
        (np.arange(N).astype(">u8"), [b"%d" % i for i in range(N)]),
        (np.array(IDS).astype(">U7"), [i.encode() for i in IDS]),
        (np.array([i.encode() for i in IDS]), [i.encode() for i in IDS]),
        (np.array([f"a{i}" for i in range(N)]), [b"a%d" % i for i in range(N)]),
        (np.arange(N).reshape(N, 1), [b"%d" % i for i in range(N)]),
    ],
)
def test_ids_of_every_type(tmp_path: Path, ids: np.ndarray, wanted: list[bytes]) -> None:
    np.savez(tmp_path / "x.npz", x=matrix(), id=ids)
    read_back = read(tmp_path / "x.npz").ids
    assert read_back is not None
    assert read_back.dtype.kind == "S"
    assert read_back.tolist() == wanted


def test_ids_of_another_length_are_refused_and_names_are_left(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=matrix(), names=np.arange(N + 1), label=np.linspace(0, 1, N))
    read_back = read(tmp_path / "x.npz")
    assert read_back.ids is None
    assert read_back.obs["label"].dtype == np.float64
    np.savez(tmp_path / "x.npz", x=matrix(), ids=np.arange(N + 1))
    assert refusal(tmp_path / "x.npz") == f"::ids: {N + 1} ids, but {N} rows. Give every item one id."
    np.savez(tmp_path / "x.npz", x=matrix(), ids=np.arange(D))
    assert "looks transposed. Write --transpose to read it so, or --by-position." in refusal(tmp_path / "x.npz")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i8"])
def test_safetensors(tmp_path: Path, dtype: str) -> None:
    x = matrix(dtype)
    names = {"f": "F", "i": "I", "u": "U"}
    kind = f"{names[x.dtype.kind]}{8 * x.dtype.itemsize}"
    header = {"__metadata__": {"by": "us"}, "x": tensor(kind, [N, D], 0, x.nbytes)}
    header["label"] = tensor("I32", [N], x.nbytes, x.nbytes + 4 * N)
    (tmp_path / "x.safetensors").write_bytes(tensors(header, x.tobytes() + np.arange(N, dtype="<i4").tobytes()))
    read_back = read(tmp_path / "x.safetensors")
    assert np.array_equal(read_back.x, x)
    assert read_back.obs["label"].tolist() == [b"%d" % i for i in range(N)]


def test_safetensors_of_its_own_library(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file({"a": matrix(), "b": matrix("f8")[:, :2].copy()}, tmp_path / "x.safetensors", {"k": "v"})
    assert np.array_equal(read(tmp_path / "x.safetensors", "b").x, matrix("f8")[:, :2])
    assert isinstance(read(tmp_path / "x.safetensors", "a").x, np.memmap)


def test_safetensors_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    bits = np.arange(1 << 16, dtype="<u2").reshape(-1, 16)
    (tmp_path / "x.safetensors").write_bytes(tensors({"x": tensor("BF16", [4096, 16], 0, bits.nbytes)}, bits.tobytes()))
    x = read(tmp_path / "x.safetensors").x
    assert x.dtype == np.float32
    assert np.array_equal(x.view(np.uint32) >> 16, bits)
    assert x[0x3F80 // 16, 0] == 1.0


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text(tmp_path: Path, suffix: str, end: str) -> None:
    content = csv(matrix("f8"), "," if suffix == ".csv" else "\t").replace(b"\n", end.encode())
    (tmp_path / f"x{suffix}").write_bytes(content)
    read_back = read(tmp_path / f"x{suffix}")
    assert read_back.x.dtype == np.float64
    assert np.array_equal(read_back.x, matrix("f8"))
    assert read_back.ids is not None
    assert read_back.ids.tolist() == [i.encode() for i in IDS]
    assert read_back.obs["label"].tolist() == [label.encode() for label in LABELS]


@pytest.mark.parametrize(
    ("content", "x", "ids"),
    [
        (b"1,2\n3,4\n", [[1, 2], [3, 4]], None),
        (b"1,2", [[1, 2]], None),
        (b"\xef\xbb\xbfa,b\n1,2\n", [[1, 2]], None),
        (b"0,1\n3,4\n", [[3, 4]], None),  # pandas' own names
        (b",0,1\n7,3,4\n", [[3, 4]], [b"7"]),  # pandas' own index
        (b"item_id,a\nx,3\ny,4\n", [[3], [4]], [b"x", b"y"]),
        (b'id,"a, b"\n"x ""1""",3\n\n\ny,4\n', [[3], [4]], [b'x "1"', b"y"]),
        (b"a0,a1\n 1, -2e-3\n+3,4.\n", [[1, -0.002], [3, 4]], None),
        (b"=HYPERLINK(1),b\n1,2\n", [[1, 2]], None),
        ("é,ü\n1,2\n".encode(), [[1, 2]], None),
    ],
)
def test_text_of_many_kinds(tmp_path: Path, content: bytes, x: list[list[float]], ids: list[bytes] | None) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    read_back = read(tmp_path / "x.csv")
    assert read_back.x.tolist() == x
    assert (None if read_back.ids is None else read_back.ids.tolist()) == ids


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i4"])
@pytest.mark.parametrize("fixed", [True, False])
def test_parquet_column_of_lists(tmp_path: Path, dtype: str, fixed: bool) -> None:
    x = matrix(dtype)
    kind = pa.list_(pa.from_numpy_dtype(x.dtype))
    column = lists(x) if fixed else pa.array(list(x), kind)
    table = pa.table({"emb": column, "ids": pa.array(IDS), "label": pa.array(LABELS).dictionary_encode()})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=7)
    read_back = read(tmp_path / "x.parquet", "emb")
    assert np.array_equal(read_back.x, x)
    assert read_back.x.dtype.itemsize == max(x.dtype.itemsize, 2 if x.dtype.kind == "f" else 4 if dtype == "i1" else 8)
    assert read_back.ids is not None
    assert read_back.ids.tolist() == [i.encode() for i in IDS]
    assert read_back.obs["label"].tolist() == [label.encode() for label in LABELS]


def test_parquet_columns_of_numbers_in_their_order(tmp_path: Path) -> None:
    x = matrix()
    columns = {f"c{D - i}": x[:, i] for i in range(D)}
    (tmp_path / "x.parquet").write_bytes(parquet(note=pa.array(LABELS), **columns, id=pa.array(range(N)), split=[1] * N))
    read_back = read(tmp_path / "x.parquet")
    assert np.array_equal(read_back.x, x)
    assert read_back.ids is not None
    assert read_back.ids[3] == b"3"
    assert set(read_back.obs["split"]) == {b"test"}


def test_parquet_missing_labels_are_empty(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(parquet(a=[1.0, 2.0], label=["x", None]))
    assert read(tmp_path / "x.parquet").obs["label"].tolist() == [b"x", b""]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    d=st.integers(1, 40),
    dtype=st.sampled_from(["f4", "f8"]),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e9]),
    suffix=st.sampled_from([".csv", ".npy", ".npz", ".parquet", ".safetensors", ".tsv"]),
)
def test_what_is_written_is_read(tmp_path: Path, seed: int, n: int, d: int, dtype: str, scale: float, suffix: str) -> None:
    """With its ids where the format has room for text; float64 in decimals reads back exactly."""
    x = (np.random.default_rng(seed).standard_normal((n, d)) * scale).astype(dtype)
    ids = [f'é {i}, "日"' for i in range(n)]
    path = tmp_path / f"x{suffix}"
    if suffix == ".npy":
        np.save(path, x)
    elif suffix == ".npz":
        (np.savez_compressed if seed % 2 else np.savez)(path, x=x, ids=ids)
    elif suffix == ".safetensors":
        path.write_bytes(tensors({"x": tensor(dtype.upper()[0] + str(8 * x.itemsize), [n, d], 0, x.nbytes)}, x.tobytes()))
    elif suffix == ".parquet":
        pq.write_table(pa.table({"x": lists(x), "id": ids}), path, row_group_size=1 + seed % n)
    else:
        separator = "," if suffix == ".csv" else "\t"
        with path.open("w", newline="") as file:
            rows = [["id", *(f"c{i}" for i in range(d))], *([i, *row] for i, row in zip(ids, x.tolist(), strict=True))]
            csv_writer(file, delimiter=separator).writerows(rows)
    read_back = read(path)
    assert np.array_equal(read_back.x, x)
    assert read_back.ids is None if suffix in (".npy", ".safetensors") else [i.decode() for i in read_back.ids] == ids


# --- which array? ---


def test_members_of_npz(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=matrix(), b=matrix("f8"), labels=np.zeros((N, 2)), c=np.zeros(3))
    assert read(path, "b").x.dtype == np.float64
    assert refusal(path).startswith(f": which array? Found a (23, 5), b (23, 5). Write {path}::a.")
    assert (
        refusal(path, "q")
        == f"::q: no array of this name. Found a (23, 5), b (23, 5), labels (23, 2), c (3,). Write {path}::a."
    )
    assert refusal(path, "c") == "::c: shape (3,); an embedding is (items, dimensions). Reshape it."


def test_a_usual_name_wins(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", X=matrix(), weights=matrix("f8"))
    assert read(tmp_path / "x.npz").x.dtype == np.float32


def test_members_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(parquet(a=lists(matrix()), b=lists(matrix("f8")), n=[1] * N, t=IDS))
    assert read(path, "b").x.dtype == np.float64
    assert read(path, "n").x.shape == (N, 1)
    assert refusal(path) == f": which column of vectors? Found a, b. Write {path}::a."
    actual = "a (vectors), b (vectors), n (whole numbers), t (text)"
    assert refusal(path, "q") == f"::q: no column of this name. Found {actual}. Write {path}::a."
    assert (
        refusal(path, "t") == "::t: holds string, not lists of numbers. Name a column of lists of numbers, all of one length."
    )


def test_members_of_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(tensors({"a": tensor("F32", [1, 2], 0, 8), "b": tensor("F8_E4M3", [2, 2], 8, 12)}, bytes(12)))
    assert read(path).x.shape == (1, 2)
    assert refusal(path, "b") == "::b: dtype F8_E4M3; relrep reads float16, float32, float64 and integers. Convert it."
    path.write_bytes(tensors({"a": tensor("F32", [1, 2], 0, 8), "b": tensor("F16", [2, 2], 8, 16)}, bytes(16)))
    assert refusal(path).startswith(f": which tensor? Found a (1, 2), b (2, 2). Write {path}::a.")


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".tsv"])
def test_formats_without_members(tmp_path: Path, suffix: str) -> None:
    assert f"no members. Write {tmp_path}/x{suffix}." in refusal(tmp_path / f"x{suffix}", "a")


# --- what is not honest is refused: name -> (content, words of the message) ---

GOOD = npy(matrix())
X2 = tensor("F32", [2, 2], 0, 16)


class Trap:
    """Unpickled, it would make a file."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("sprung",)


def object_npy() -> bytes:
    return npy_header("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }\n", pickle.dumps(Trap()))


def overlapping() -> bytes:
    """Two names for the bytes of one entry."""
    content = npz({"a.npy": GOOD, "b.npy": GOOD})
    second = content.index(b"PK\x03\x04", 4)
    directory = content.index(b"PK\x01\x02")
    entry = content.index(b"PK\x01\x02", directory + 4)
    assert content[entry + 42 : entry + 46] == struct.pack("<I", second)
    return content[: entry + 42] + struct.pack("<I", 0) + content[entry + 46 :]


def reaching() -> bytes:
    """The first of two entries is said to be ten bytes longer than it is, up to within the second."""
    content = npz({"a.npy": GOOD, "b.npy": GOOD})
    entry = content.index(b"PK\x01\x02") + 20
    assert content[entry : entry + 8] == struct.pack("<II", len(GOOD), len(GOOD))
    return content[:entry] + struct.pack("<II", len(GOOD) + 10, len(GOOD) + 10) + content[entry + 8 :]


def patched(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


def scratched(content: bytes, at: int) -> bytes:
    return b"".join([content[:at], bytes([content[at] ^ 0xFF]), content[at:][1:]])


def bomb() -> bytes:
    """512 MiB of zeros from half a megabyte."""
    start = npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (131072, 1024), }\n")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    data = first + 512 * (packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)) + packer.flush()
    size = len(start) + (512 << 20)
    numbers = struct.pack("<IIIHH", 0, len(data), size, 5, 0)
    place = struct.pack("<HHHII", 0, 0, 0, 0, 0)
    local = b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 8, 0, 0) + numbers + b"x.npy"
    entry = b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 8, 0, 0) + numbers + place + b"x.npy"
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local) + len(data), 0)
    return local + data + entry + end


def wide_ids() -> bytes:
    with_one = pa.array(["x" * 4000, *("y" for _ in range(400_000))])
    return parquet(id=with_one, a=np.random.default_rng(0).standard_normal(len(with_one)))


def arrow_bomb(column: str, values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({column: values})
    with ipc.new_file(buffer, table.schema, options=ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def with_lengths(content: bytes, old: int, new: int) -> bytes:
    """Every 64-bit number of this value is said to be another."""
    return patched(content, struct.pack("<q", old), struct.pack("<q", new))


def with_file_path() -> bytes:
    """A column that says its data are in another file."""
    table = pa.table({"a": [1.0, 2.0]})
    group: list[Any] = []
    buffer = io.BytesIO()
    pq.write_table(table, buffer, metadata_collector=group)
    group[0].set_file_path("/etc/passwd")
    metadata = io.BytesIO()
    pq.write_metadata(table.schema, metadata, metadata_collector=group)
    return b"PAR1" + buffer.getvalue()[4:-8] + metadata.getvalue()[4:]


WIDE = pa.table({"emb": [[float(i)] * 1001 for i in range(14)]})
H = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n"
HOSTILE: dict[str, tuple[Callable[[], bytes] | bytes, str]] = {
    "object.npy": (object_npy, "dtype object (a pickle, which is never opened)"),
    "bfloat16.npy": (npy(np.zeros((3, 2), "V2")), "dtype void of 2 bytes, as bfloat16 is saved"),
    "structured.npy": (npy(np.zeros(3, [("a", "f4"), ("b", "i4")])), "dtype void or structured"),
    "complex.npy": (npy(np.zeros((3, 2), complex)), "dtype complex128"),
    "bool.npy": (npy(np.zeros((3, 2), bool)), "dtype bool"),
    "text.npy": (npy(np.array([["a", "b"]])), "dtype str"),
    "date.npy": (npy_header(H % ("<M8[s]", "(1, 1)"), bytes(8)), "dtype datetime"),
    "longdouble.npy": (npy_header(H % ("<f16", "(1, 1)"), bytes(16)), "relrep reads float16, float32, float64"),
    "rank1.npy": (npy(np.zeros(3)), "shape (3,); an embedding is (items, dimensions)"),
    "rank3.npy": (npy(np.zeros((3, 2, 2))), "shape (3, 2, 2)"),
    "rank40.npy": (npy_header(H % ("<f4", "(" + "1," * 40 + ")"), bytes(4)), "not that of a plain array"),
    "none.npy": (npy(np.zeros((0, 4))), "holds no numbers"),
    "flat.npy": (npy(np.zeros((4, 0))), "holds no numbers"),
    "negative.npy": (npy_header(H % ("<f4", "(-1, 4)"), bytes(16)), "not that of a plain array"),
    "huge.npy": (npy_header(H % ("<f4", "(9223372036854775807, 4)"), bytes(16)), "declares 147573952589676412912 bytes"),
    "digits.npy": (npy_header(H % ("<f4", f"({'9' * 3000}, 4)"), bytes(16)), "not that of a plain array"),
    "code.npy": (npy_header("__import__('os').mkdir('sprung')\n"), "not that of a plain array"),
    "call.npy": (npy_header(H % ("<f4", "(1, __import__('os').mkdir('sprung'))"), bytes(8)), "not that of a plain array"),
    "nested.npy": (npy_header("[" * 4000), "not that of a plain array"),
    "unary.npy": (npy_header("{'shape': " + "-" * 3900 + "1}"), "not that of a plain array"),
    "regex.npy": (npy_header("{'shape': (" + "1 " * 1900 + "!"), "not that of a plain array"),
    "twice.npy": (npy_header("{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (1, 1)}"), "plain array"),
    "nul.npy": (npy_header(H % ("<f4\0", "(1, 1)"), bytes(4)), "relrep reads float16"),
    "missing.npy": (npy_header("{'descr': '<f4', 'shape': (1, 1)}", bytes(4)), "not that of a plain array"),
    "header.npy": (npy_header("{" + " " * 100_000, version=b"\x02\x00"), "claims 100013 bytes"),
    "4gib.npy": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "claims 4294967307 bytes"),
    "version.npy": (npy_header("{}", version=b"\x09\x00"), "not a NumPy array of version 1, 2 or 3"),
    "longer.npy": (GOOD + b"\0", "declares 460 bytes of data, 461 are there"),
    "ids.npy": (npy(np.full((2, 2), 2**60)), "integers of 2^53 or more"),
    "pickle.npy": (pickle.dumps(Trap()), "this is a Python pickle"),
    "lfs.npy": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer, not a NumPy array"),
    "page.npy": (b"\n<!DOCTYPE html><html>", "Download the file itself"),
    "gzip.npy": (b"\x1f\x8b\x08\0", "Unpack it with gunzip"),
    "noise.npy": (b"\xff\x00\x1b[31m\n", "its first bytes are \\xff\\x00\\x1b[31m\\n"),
    "hdf5.npz": (b"\x89HDF\r\n\x1a\n", "this is HDF5, not an .npz archive. Give it a name that ends in .h5."),
    "empty.npy": (b"", "this is an empty file"),
    "object.npz": (lambda: npz({"x.npy": object_npy()}), "Found x (1, 1) of object (a pickle, which is never opened)."),
    "objectids.npz": (
        lambda: npz({"x.npy": GOOD, "id.npy": patched(object_npy(), b"(1, 1)", b"(23,) ")}),
        "::id: dtype object",
    ),
    "nothing.npz": (npz({"readme.txt": b"hello"}), "Found nothing"),
    "empty.npz": (npz({}), "no embedding here"),
    "bomb.npz": (bomb, "a decompression bomb"),
    "overlap.npz": (overlapping, "overlaps others"),
    "reaching.npz": (reaching, "::a: this entry overlaps others"),
    "name\x1b[31m.npz": (npz({"\x1b[31mx.npy": GOOD, "y.npy": GOOD}), "\\x1b[31mx (23, 5)"),
    "crc.npz": (scratched(npz({"x.npy": GOOD}), 600), "length or checksum differ"),
    "bit.npz": (lambda: patched(npz({"x.npy": GOOD}), GOOD[-20:], bytes(20)), "length or checksum differ"),
    "deflate.npz": (lambda: scratched(npz({"x.npy": GOOD}, zipfile.ZIP_DEFLATED), 300), "its compressed data is damaged"),
    "bzip2.npz": (npz({"x.npy": GOOD}, zipfile.ZIP_BZIP2), "compressed by zip method 12"),
    "sizes.npz": (lambda: patched(npz({"x.npy": GOOD}), struct.pack("<II", 588, 588), struct.pack("<II", 588, 9)), "two sizes"),
    "twice.npz": (lambda: npz({"x.npy": GOOD, "y.npy": GOOD}).replace(b"y.npy", b"x.npy"), "2 entries with 1 names"),
    "encrypted.npz": (lambda: npz({"x.npy": GOOD}).replace(b"\x14\0\0\0\0\0", b"\x14\0\1\0\0\0"), "encrypted"),
    "many.npz": (npz({f"{i}.npy": b"" for i in range(5000)}), "at most 4096"),
    "directory.npz": (npz({"a" * 60_000 + str(i): b"" for i in range(40)}), "a directory of"),
    "emptyid.npz": (with_ids(np.array(["a", ""] + ["b"] * 21)), "item 2 has an empty id"),
    "latin.npz": (with_ids(np.array([b"a", b"\xe9"] + [b"b"] * 21)), "item 2: its id is not UTF-8"),
    "halves.npz": (with_ids(np.array([b"\xc3", b"\xa9"] + [b"b"] * 21)), "item 1: its id"),
    "surrogate.npz": (with_ids(np.array(["\udc80"] * N)), "not Unicode"),
    "points.npz": (npz({"x.npy": GOOD, "id.npy": npy(np.full(N, -1, "<i4")).replace(b"<i4", b"<U1")}), "not Unicode"),
    "longid.npz": (
        with_ids(np.array(["a" * 5000] * N)),
        "item 1: its id is 5000 bytes long",
    ),
    "floatid.npz": (with_ids(np.zeros(N)), "the id column holds float64"),
    "2^60.safetensors": (struct.pack("<Q", 1 << 60) + b"{}", "claims 1152921504606846976 bytes"),
    "2^63.safetensors": (tensors({"x": tensor("F32", [1 << 63, 2], 0, 8)}, bytes(8)), "malformed"),
    "offsets.safetensors": (tensors({"x": tensor("F32", [2, 2], 1 << 60, (1 << 60) + 16)}, bytes(16)), "overlap, leave a gap"),
    "negative.safetensors": (tensors({"x": tensor("F32", [2, 2], -16, 0)}, bytes(16)), "malformed"),
    "backward.safetensors": (tensors({"x": tensor("F32", [2, 2], 16, 0)}, bytes(16)), "overlap, leave a gap"),
    "beyond.safetensors": (tensors({"x": tensor("F32", [2, 2], 0, 16)}, bytes(15)), "pass the end (15)"),
    "overlap.safetensors": (tensors({"x": X2, "y": tensor("F32", [2, 2], 8, 24)}, bytes(24)), "::y: its bytes 8 to 24 overlap"),
    "gap.safetensors": (tensors({"x": X2, "y": tensor("F32", [2, 2], 20, 36)}, bytes(36)), "leave a gap"),
    "rest.safetensors": (tensors({"x": X2}, bytes(20)), "4 bytes belong to no tensor"),
    "shape.safetensors": (tensors({"x": tensor("F32", [3, 2], 0, 16)}, bytes(16)), "does not fit its 16 bytes"),
    "float.safetensors": (tensors({"x": tensor("F32", [2.0, 2], 0, 16)}, bytes(16)), "malformed"),  # type: ignore[list-item]
    "true.safetensors": (tensors({"x": tensor("F32", [True, True], 0, 4)}, bytes(4)), "malformed"),
    "infinite.safetensors": (tensors(b'{"x":{"dtype":"F32","shape":[1e999,2],"data_offsets":[0,16]}}', bytes(16)), "malformed"),
    "digits.safetensors": (tensors(b'{"x":' + b"9" * 10_000 + b"}"), "not JSON of the safetensors kind"),
    "twice.safetensors": (tensors(b'{"x":{"dtype":"F32","dtype":"F64"}}'), "a name is given twice"),
    "list.safetensors": (tensors({"x": [1]}), "malformed"),
    "deep.safetensors": (tensors(b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), "nested too deeply"),
    "deeper.safetensors": (tensors(b'{"x":' + b"[" * 500_000), "names more than"),
    "latin.safetensors": (tensors(b'{"\xe9":1}'), "not JSON"),
    "none.safetensors": (tensors({}), "no embedding here"),
    "meta.safetensors": (tensors({"__metadata__": {"a": "b"}}), "Found nothing"),
    "cut.safetensors": (b"\x10\0\0", "not a safetensors file"),
    "word.csv": (b"c1,c2,c3\n" + b"1,2,3\n" * 5 + b"1,2,abc\n", "row 7, column c3: 'abc' is not a number."),
    "formula.csv": (b'a,b\n1,2\n1,=HYPERLINK("http://x")\n', "row 3, column b: '=HYPERLINK"),
    "escape.csv": (b"a,b\n" + b"1,2\n" * 400 + b"1,\x1b[31m\n", "does not occur in UTF-8 text"),
    "hole.csv": (b"a0,a1\n1,\n", "row 2, column a1: '' is not a number."),
    "short.csv": (b"a,b\n1,2\n1\n", "row 3 has 1 cells, the first row 2."),
    "long.csv": (b"a,b\n1,2\n1,2,3\n", "row 3 has 3 cells, the first row 2."),
    "headless.csv": (b"1,2\n3,x\n", "row 2, column 2: 'x' is not a number."),
    "header.csv": (b"a,b\n", "holds no rows"),
    "blank.csv": (b"\na,b\n1,2\n", "its first line is blank"),
    "words.csv": (b"id,label\na,b\n", "its columns are ids, labels and splits, and none holds vectors"),
    "comment.csv": (b"# by me\nid,e0,e1\na,1,2\n", "its first line is a comment, not the names of columns"),
    "a.xlsx": (b"PK\x03\x04" + bytes(30), "this is a spreadsheet, by its ending. Save the sheet as CSV."),
    "semicolon.csv": (b"id;a\nx;1\n", "its cells are separated by ';', which goes with decimal commas"),
    "quote.csv": (b'a,"b\n1,2\n', "its first line is malformed"),
    "quotes.csv": (b'a,b\n1,"2\n3,4\n', ""),
    "nul.csv": (b"a,b\n1,2\0\n", "byte 7 (hexadecimal 00) does not occur in UTF-8 text."),
    "utf16.csv": ("a,b\n1,2\n".encode("utf-16"), "this is UTF-16 text, not a table as text. Save it as UTF-8."),
    "latin.csv": (b"a,b\xe9\n1,2\n", "byte 3 (hexadecimal e9)"),
    "latinid.csv": (b"id,b\n" + b"x,1\n" * 300_000 + b"\xe9,1\n", "holds text that is not UTF-8"),
    "late.csv": (lambda: b"id,a\n" + b"x,1.5\n" * 3_000_000 + b"x,\x1b\n", "row 3000002, column a: '\\x1b' is not a number"),
    "line.csv": (b"1" * (3 << 20), "its first line is longer than 1048576 bytes"),
    "lateline.csv": (b"a,b\n1,2\n" + b"3" * (20 << 20), "a row is longer than 262144 bytes"),
    "columns.csv": (b"," * 20_000, "20001 columns; a text table may have 16384"),
    "ids.csv": (b"id,ids,a\n1,x,3\n4,y,6\n", "id, ids could each be the ids"),
    "emptyid.csv": (b"id,a\nx,1\n,2\n", "item 2 has an empty id"),
    "binary.csv": (bytes(range(256)), "does not occur in UTF-8 text"),
    "null.parquet": (parquet(a=[1.0, None]), "::a: row 2 holds a null. Remove such rows."),
    "nulls.parquet": (parquet(emb=[[1.0, 2.0], None]), "::emb: row 2 is null. Remove such rows."),
    "inner.parquet": (parquet(emb=[[1.0, 2.0], [1.0, None]]), "::emb: row 2 holds a null."),
    "ragged.parquet": (parquet(emb=[[1.0, 2.0], [1.0, 2.0], [1.0]]), "::emb: row 3 holds 1 numbers, those before 2."),
    "empties.parquet": (parquet(emb=pa.array([[], []], pa.list_(pa.float32()))), "holds no numbers"),
    "nested.parquet": (parquet(emb=[[[1.0, 2.0]], [[1.0, 2.0]]]), "no column of vectors and no columns of real numbers"),
    "struct.parquet": (parquet(emb=[{"a": 1.0}]), "no column of vectors and no columns of real numbers"),
    "text.parquet": (parquet(a=["x"]), "Found a (text)."),
    "rows.parquet": (parquet(a=pa.array([], pa.float32())), "holds no rows"),
    "columns.parquet": (lambda: parquet(), "no column of vectors and no columns of real numbers"),
    "emptyid.parquet": (parquet(a=[1.0, 2.0], id=["x", None]), "item 2 has an empty id"),
    "vastid.parquet": (lambda: parquet(a=[1.0], id=["x" * 10_000_000]), "::id: holds texts longer than 65536 bytes"),
    "listid.parquet": (parquet(a=[1.0], id=[["x"]]), "the id column holds list<element: string>"),
    "floatid.parquet": (parquet(a=[1.0], id=[0.5]), "the id column holds float64"),
    "latinid.parquet": (parquet(a=[1.0], id=[b"\xe9"]), "item 1: its id is not UTF-8"),
    "big.parquet": (parquet(emb=[[2**60]], id=["a"]), "holds integers of 2^53 or more, which floats cannot hold exactly"),
    "runs.parquet": (lambda: parquet(a=np.zeros(34_000_000)), "a decompression bomb"),
    "elsewhere.parquet": (with_file_path, "its data are in another file, /etc/passwd"),
    "uneven.parquet": (wide_ids, "one text of 4000 bytes among short ones"),
    "footer.parquet": (parquet(a=[1.0])[:-8] + b"\xff\xff\xff\x7fPAR1", "its metadata claims 2147483647 bytes"),
    "zero.parquet": (b"PAR1" + bytes(20) + b"\0\0\0\0PAR1", "damaged"),
    "magic.parquet": (b"PAR1PAR1", "cut short"),
    "encrypted.parquet": (b"PARE" + bytes(20), "this is encrypted Parquet"),
    "bomb.csv.gz": (lambda: gzip.compress(b"a,b\n" + b"1.5,2.5\n" * 20_000_000), "a decompression bomb"),
    "cut.csv.gz": (lambda: gzip.compress(csv(matrix()))[:-20], "cut short: its gzip stream has no end. Fetch it again."),
    "bit.csv.gz": (lambda: scratched(gzip.compress(csv(matrix())), 400), "its gzip stream is damaged"),
    "sum.csv.gz": (lambda: scratched(gzip.compress(csv(matrix())), -5), "its gzip stream is damaged (CRC check failed"),
    "method.csv.gz": (b"\x1f\x8b\x07" + bytes(20), "its gzip stream is damaged (Unknown compression method)"),
    "text.csv.gz": (b"a,b\n1,2\n", "this is text, not gzip-compressed data."),
    "empty.csv.gz": (gzip.compress(b""), "it holds an empty file"),
    "a.h5.gz": (gzip.compress(b"\x89HDF\r\n\x1a\n"), "only text is read when gzipped: .csv.gz,"),
    "word.csv.gz": (gzip.compress(b"c1,c2\n1,2\n1,x\n"), "word.csv.gz: row 3, column c2: 'x' is not a number."),
    "twice.csv.gz": (lambda: gzip.compress(gzip.compress(b"a,b\n1,2\n")), "this is gzip-compressed data, not a table"),
    "words.vec.gz": (gzip.compress(b"3 2\na 1.5 2.5\n"), "words.vec.gz: its first line declares 3 vectors, and 1 follow"),
    "null.jsonl.gz": (gzip.compress(b"[1]\n[null]\n"), "null.jsonl.gz: line 2 holds a null"),
    "deep.jsonl": (b"[" * 100_000, "line 1: nested too deeply"),
    "deep.json": (b'[{"v":' + b"[" * 1_000_000, "item 1: nested too deeply"),
    "digits.jsonl": (b"[" + b"9" * 5000 + b"]", "line 1: this is not JSON"),
    "beyond.jsonl": (b"[" + b"9" * 400 + b"]", "whole numbers that are too large for a float"),
    "big.json": (b"[[1152921504606846976]]", "integers of 2^53 or more"),
    "twice.jsonl": (b'{"v":[1],"v":[2]}', "line 1: this is not JSON (a name occurs twice in one object)."),
    "line.jsonl": (b'{"v":[1.5],"t":"' + b"x" * (5 << 20), "line 1 is longer than 4194304 characters"),
    "item.json": (b'[{"v":[1.5],"t":"' + b"x" * (9 << 20), "item 1 is longer than 4194304 characters"),
    "object.json": (lambda: b'{"v":[' + b"[]," * 1_000_000 + b"[1]]}", "it asks for too much memory"),
    "whole.json": (lambda: b'{"v":[' + b" " * (65 << 20), "one JSON object of 68157446 bytes; at most 67108864 are read"),
    "ragged.jsonl": (b"[1]\n\n[1,2]\n", "line 3 holds 2 numbers, those before 1."),
    "null.jsonl": (b"[1]\n[null]\n", "line 2 holds a null among its numbers. Remove such items."),
    "nul.jsonl": (b'{"v":[1.0],"id":"a"}\n\0', "line 2: this is not JSON"),
    "latin.jsonl": (b'[1.0]\n{"v":"\xe9"}\n', "holds text that is not UTF-8"),
    "latest.jsonl": (b"[1.5]\n" * 20_000 + b"\xe9\n", "holds text that is not UTF-8"),
    "surrogate.jsonl": (b'{"id":"\\udc80","v":[1.0]}', "item 1: its id is not UTF-8"),
    "listid.jsonl": (b'{"id":["x"],"v":[1.0]}', "line 1: id holds neither text nor a number. Save it as text."),
    "emptyid.jsonl": (b'{"id":"x","v":[1.0]}\n{"v":[1.0]}', "item 2 has an empty id"),
    "utf16.json": ('[{"v": [1.5]}]'.encode("utf-16"), "this is UTF-16 text, not JSON. Save it as UTF-8."),
    "npy.json": (GOOD, "this is a NumPy array (.npy), not JSON. Give it a name that ends in .npy."),
    "page.jsonl": (b"<html><body>404</body></html>", "Download the file itself"),
    "null.arrow": (arrow(pa.table({"a": [1.0, None]})), "::a: row 2 holds a null. Remove such rows."),
    "ragged.arrow": (arrow(pa.table({"emb": [[1.0]] * 8 + [[1.0, 2.0]]})), "::emb: row 9 holds 2 numbers, those before 1."),
    "rows.arrow": (arrow(pa.table({"a": pa.array([], pa.float32())})), "holds no rows"),
    "text.arrow": (arrow(pa.table({"a": ["x"]})), "Found a (text)."),
    "bomb.arrow": (lambda: arrow_bomb("a", np.zeros(40_000_000)), "it unpacks to more than 67108864 bytes, out of "),
    "buffer.arrow": (lambda: with_lengths(arrow(WIDE, "zstd"), 7 * 8 * 1001, 1 << 50), "damaged"),
    "rows2.arrow": (lambda: with_lengths(arrow(WIDE), 7, 1 << 40), "damaged"),
    "rows3.arrow": (lambda: with_lengths(arrow(WIDE, stream=True), 7, 8), "damaged"),
    "negative.arrow": (lambda: with_lengths(arrow(WIDE), 7, -7), "holds no rows"),
    "footer.arrow": (arrow(pa.table({"a": [1.0]}))[:-10] + b"\xff\xff\xff\x7fARROW1", "its metadata claims 2147483647 bytes"),
    "schema.arrow": (
        lambda: b"\xff\xff\xff\xff\xff\xff\xff\x7f" + arrow(pa.table({"a": [1.0]}), stream=True)[8:],
        "its metadata claims 2147483647 bytes",
    ),
    "cut.arrow": (arrow(pa.table({"a": [1.0]}))[:-1], "cut short: an Arrow file ends with ARROW1"),
    "cutstream.arrow": (arrow(pa.table({"a": [1.0]}), stream=True)[:-8], "the mark that ends an Arrow stream is missing"),
    "old.feather": (b"FEA1" + bytes(40) + b"FEA1", "this is Feather version 1"),
    "npy.feather": (GOOD, "this is a NumPy array (.npy), not Arrow IPC (Feather). Give it a name that ends in .npy."),
    "npy.parquet": (GOOD, "this is a NumPy array (.npy), not a Parquet file. Give it a name that ends in .npy."),
}


def content_of(name: str) -> bytes:
    content = HOSTILE[name][0]
    return content if isinstance(content, bytes) else content()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    for name in HOSTILE:
        (folder / name).write_bytes(content_of(name))
    return folder


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(hostile: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile)
    with pytest.raises(DataError) as caught:
        read(hostile / name)
    message = str(caught.value)
    assert message.isprintable()
    assert HOSTILE[name][1] in message
    assert message[-1] in ".?"
    assert not (hostile / "sprung").exists()


PROBE = """
import resource, sys
from pathlib import Path
from relrep_cli.base.errors import DataError
from relrep_cli.store.foreign import found_in
def cpu():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

worst = 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = cpu()
    try:
        found_in(path)
        raise SystemExit(f"{path} was read")
    except DataError:
        worst = max(worst, cpu() - start)
assert "pyarrow" not in sys.modules
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(worst, max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes are Linux's unit")
def test_refusals_are_quick_and_small(hostile: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE, str(hostile)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 2
    assert megabytes < 100


@pytest.mark.parametrize("suffix", READERS)
def test_what_is_no_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    assert refusal(path) == ": no such file. Check the path."
    path.symlink_to(path)
    assert "cannot be opened" in refusal(path)
    path.unlink()
    path.mkdir()
    assert refusal(path) == ": this is a folder. Name a file that holds embeddings."
    path.rmdir()
    os.mkfifo(path)
    start = time.monotonic()
    assert "this is a pipe" in refusal(path)
    assert time.monotonic() - start < 1
    with pytest.raises(DataError, match="a device"):
        READERS[suffix](Path("/dev/zero"), None)
    with pytest.raises(DataError, match="a NUL byte"):
        READERS[suffix](Path(f"a\0{suffix}"), None)


def examples() -> dict[str, bytes]:
    x = matrix()
    return {
        "a.npy": GOOD,
        "stored.npz": with_ids(np.array(IDS)),
        "deflated.npz": npz({"x.npy": GOOD, "ids.npy": npy(np.array(IDS))}, zipfile.ZIP_DEFLATED),
        "a.safetensors": tensors({"x": tensor("F32", [N, D], 0, x.nbytes)}, x.tobytes()),
        "a.csv": csv(x),
        "lists.parquet": parquet(id=IDS, emb=list(x)),
        "a.jsonl": b"".join(json.dumps({"id": i, "v": row}).encode() + b"\n" for i, row in zip(IDS, x.tolist(), strict=True)),
        "a.csv.gz": gzip.compress(csv(x), mtime=0),
        "a.json": json.dumps([{"id": i, "v": row} for i, row in zip(IDS, x.tolist(), strict=True)]).encode(),
        "columns.json": json.dumps({"id": IDS, "v": x.tolist()}).encode(),
        "file.arrow": arrow(pa.table({"id": IDS, "emb": list(x)})),
        "stream.arrow": arrow(pa.table({"id": IDS, "emb": lists(x)}), stream=True),
        "packed.feather": arrow(pa.table({"id": IDS, "label": LABELS, "emb": lists(x)}), "lz4"),
        "wide.parquet": parquet(id=IDS, label=LABELS, **{f"c{i}": x[:, i] for i in range(D)}),
    }


@pytest.mark.parametrize("name", [name for name in examples() if not name.endswith((".csv", ".jsonl"))])
def test_truncated_files_are_refused(tmp_path: Path, name: str) -> None:
    content = examples()[name]
    path = tmp_path / name
    for length in {*range(0, 40, 3), *range(40, len(content), max(1, len(content) // 40)), len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(DataError):
            read(path)


@pytest.mark.parametrize("name", examples())
def test_damaged_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    """Files with some bytes changed: an error in one line or an embedding, nothing else."""
    rng = np.random.default_rng(7)
    content = np.frombuffer(examples()[name], np.uint8)
    path = tmp_path / name
    most = int(os.environ.get("RELREP_FUZZ", "20"))
    for _ in range(min(most, 40 if name.endswith((".parquet", ".arrow", ".feather")) else 150)):
        changed = content.copy()
        low = int(rng.choice([0, 0, max(0, len(content) - 300)]))
        for at in rng.integers(low, len(content), rng.integers(1, 5)):
            changed[at : at + rng.integers(1, 5)] = rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))])
        path.write_bytes(changed.tobytes())
        with contextlib.suppress(DataError):
            read_back = read(path)
            assert read_back.x.ndim == 2
            assert read_back.x.dtype.kind == "f"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "an empty file"),
        (GOOD, "a NumPy array (.npy)"),
        (npz({"x": b""}), "a zip archive (.npz or other)"),
        (b"PAR1", "Parquet"),
        (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
        (pickle.dumps([1]), "a Python pickle"),
        (b"  <HTML>", "an HTML page"),
        (tensors({"x": X2}), "a safetensors file"),
        ("é".encode()[:1], "text"),
        (b"id,a\n", "text"),
        (b"\xff\x80\0", None),
    ],
    ids=lambda value: "head" if isinstance(value, bytes) else str(value),  # a zip holds the time of day; workers must agree
)
def test_sniff(head: bytes, kind: str | None) -> None:
    assert sniff(head[:1024]) == kind

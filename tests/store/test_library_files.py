"""Files that torch, SciPy, faiss and sqlite3 read in a guarded child: right values, and one line for what is damaged."""

from __future__ import annotations

import io
import random
import sqlite3
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import scipy.io
import torch
from torch_archives import GIVEN, OLD, STORAGE, WHOLE, D, N, X, legacy

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.store import torch_files
from relrep_cli.store.foreign import found_in

NAMES = [f"item{i}" for i in range(N)]
WANTED = [name.encode() for name in NAMES]


def saved(content: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, **options)
    return out.getvalue()


def matlab(content: dict[str, Any], **options: Any) -> bytes:
    out = io.BytesIO()
    scipy.io.savemat(out, content, **options)
    return out.getvalue()


def index(made: Any) -> bytes:
    return bytes(faiss.serialize_index(made).tobytes())


def flat(metric: type = faiss.IndexFlatIP) -> Any:
    made = metric(D)
    made.add(X)
    return made


def mapped_ids(kind: type = faiss.IndexIDMap) -> Any:
    made = kind(faiss.IndexFlatL2(D))
    made.add_with_ids(X, np.arange(N, dtype=np.int64) * 3)
    return made


def database(path: Path, values: Callable[[np.ndarray], Any] = lambda row: row.tobytes()) -> Path:
    base = sqlite3.connect(path)
    base.execute("create table items (name text, emb blob, note real)")
    base.executemany(
        "insert into items values (?, ?, ?)", [(n, values(x), i / 7) for i, (n, x) in enumerate(zip(NAMES, X, strict=True))]
    )
    base.execute("create view v as select * from items")
    base.execute("create table empty (a int)")
    base.commit()
    base.close()
    return path


def refusal(uri: object) -> str:
    with pytest.raises(DataError) as error:
        store.read(str(uri))
    message = str(error.value)
    assert message.isprintable() and message[-1] in ".?"
    return message


# --- torch ---


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        (torch.tensor(X), None),
        ({"x": torch.tensor(X), "names": NAMES, "step": 3, "label": list(range(N))}, WANTED),
        ({name: torch.tensor(row) for name, row in zip(NAMES, X, strict=True)}, WANTED),
        (torch.tensor(X.T, requires_grad=True).T, None),  # strides of a transposed view
    ],
)
def test_tensors(tmp_path: Path, content: Any, ids: list[bytes] | None) -> None:
    (tmp_path / "a.pt").write_bytes(saved(content))
    e = store.read(str(tmp_path / "a.pt"))
    assert np.array_equal(e.x, X) and (e.row_ids if ids is None else e.ids.tolist() == ids)


def test_tensors_of_other_types_and_forms(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(saved(torch.tensor(X), _use_new_zipfile_serialization=False))
    assert np.array_equal(store.read(str(path)).x, X)
    path.write_bytes(saved(torch.tensor(X).to(torch.bfloat16)))
    assert np.array_equal(store.read(str(path)).x, torch.tensor(X).to(torch.bfloat16).float().numpy())
    path.write_bytes(saved({"a": torch.tensor(X), "b": torch.tensor(2 * X)}))
    assert "which tensor? Found a (9, 4), b (9, 4). Write" in refusal(path)
    assert np.array_equal(store.read(f"{path}::b").x, 2 * X)
    path.write_bytes(saved(torch.tensor(X).to_sparse()))
    assert "sparse" in refusal(path)


BASE = torch.tensor(np.random.default_rng(1).normal(size=(12, 10)) * 40)
TYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
VIEWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "whole": lambda x: x,
    "rows": lambda x: x[3:7],
    "columns": lambda x: x[:, 2:5],
    "every other": lambda x: x[1::2, ::3],
    "transposed": lambda x: x.T,
    "middle axis": lambda x: x.reshape(12, 1, 10),
    "repeated": lambda x: x[:1].expand(5, 10),
    "one row": lambda x: x[2:3],
    "one column": lambda x: x[:, 4:5],
    "overlapping": lambda x: x.reshape(-1).as_strided((6, 4), (3, 2), 5),
    "parameter": lambda x: torch.nn.Parameter(x, requires_grad=False),
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("form", [True, False], ids=["zip", "legacy"])
def test_numbers_equal_those_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, form: bool) -> None:
    """Of every type that is read, and of every kind of view, one after the other and in one file, where they share numbers."""
    monkeypatch.setattr(torch_files, "read_with_library", None)
    path = tmp_path / "a.pt"
    base = BASE.abs().to(getattr(torch, kind)) if kind.startswith("uint") else BASE.to(getattr(torch, kind))
    views = {name: view(base) for name, view in VIEWS.items()}
    for content in (*views.values(), views):
        path.write_bytes(saved(content, _use_new_zipfile_serialization=form))
        loaded = torch.load(path, weights_only=True) if form or kind not in TYPES[-3:] else content  # torch cannot load these
        for name, tensor in loaded.items() if isinstance(loaded, dict) else [(None, loaded)]:
            wanted = (tensor.float() if kind == "bfloat16" else tensor).numpy().squeeze(1 if tensor.ndim == 3 else ())
            assert np.array_equal(found_in(path, name).x, wanted)


def test_dicts_and_lists_of_vectors_equal_those_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = BASE.float()
    rows = {f"p{i}": row for i, row in enumerate(x)}
    contents: list[Any] = [
        rows,
        {name: row.clone().half() for name, row in rows.items()},
        {name: torch.nn.Parameter(row) for name, row in rows.items()},
        OrderedDict(rows),
        list(x),
        tuple(x.unbind()),
    ]
    path = tmp_path / "a.pt"
    for content in contents:
        path.write_bytes(saved(content))
        with monkeypatch.context() as patched:
            patched.setattr(torch_files, "read_with_library", None)
            ours = found_in(path)
        with monkeypatch.context() as patched:  # as if the pickle were large: the same in the child
            patched.setattr(torch_files, "MOST", 2)
            apart = found_in(path)
        vectors = list(content.values() if isinstance(content, dict) else content)
        assert np.array_equal(ours.x, torch.stack(vectors).detach().numpy()) and np.array_equal(apart.x, ours.x)
        assert ours.ids is None if not isinstance(content, dict) else ours.ids.tolist() == [name.encode() for name in rows]


@pytest.mark.slow
def test_more_than_16384_vectors_are_all_read(tmp_path: Path) -> None:
    """An earlier version left the others out without a word."""
    x = torch.arange(17_000, dtype=torch.float32).reshape(-1, 1).expand(-1, 2).contiguous()
    (tmp_path / "a.pt").write_bytes(saved({f"p{i}": row for i, row in enumerate(x)}))
    content = found_in(tmp_path / "a.pt")
    assert np.array_equal(content.x, x.numpy()) and content.ids[-1] == b"p16999"


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.parametrize("form", [True, False], ids=["zip", "legacy"])
def test_a_sign_that_is_still_to_be_changed(tmp_path: Path, kind: str, form: bool) -> None:
    """torch marks the imaginary part of a conjugate as negative instead of changing its numbers."""
    x = BASE.to(getattr(torch, kind)) * (1 + 2j)
    tensor = x.conj().imag
    assert tensor.is_neg()
    path = tmp_path / "a.pt"
    path.write_bytes(saved({"x": tensor, "plain": x.imag}, _use_new_zipfile_serialization=form))
    assert np.array_equal(found_in(path, "x").x, torch.load(path, weights_only=True)["x"].resolve_neg().numpy())
    assert np.array_equal(found_in(path, "plain").x, -found_in(path, "x").x)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64", "int16", "int64"])
def test_files_of_big_endian_machines(tmp_path: Path, kind: str) -> None:
    path, base = tmp_path / "a.pt", BASE.to(getattr(torch, kind))
    stored = base.view(getattr(torch, f"int{8 * base.itemsize}")).numpy()
    with zipfile.ZipFile(io.BytesIO(saved({"x": base, "rows": base[3:7, 1:]}))) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            content = b"big" if name.endswith("byteorder") else content
            content = stored.byteswap().tobytes() if name.endswith("data/0") else content
            new.writestr(name, content)
    for name, tensor in torch.load(path, weights_only=True).items():
        assert np.array_equal(found_in(path, name).x, tensor.float().numpy() if kind == "bfloat16" else tensor.numpy())
    assert np.array_equal(found_in(path, "x").x, base.float().numpy() if kind == "bfloat16" else base.numpy())


def test_an_unknown_order_of_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(io.BytesIO(saved(torch.tensor(X)))) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"mixed" if name.endswith("byteorder") else old.read(name))
    assert "its entry byteorder says neither little nor big" in refusal(path)


@pytest.mark.parametrize("name", OLD)
def test_the_oldest_files_equal_those_of_torch(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(legacy(OLD[name]))
    loaded = torch.load(path, weights_only=True)
    for member, tensor in loaded.items() if isinstance(loaded, dict) else [("tensor", loaded)]:
        assert np.array_equal(found_in(path, member).x, tensor.detach().numpy())
    assert np.array_equal(found_in(path, "x" if isinstance(loaded, dict) else None).x, X[2:5] if "a part" in name else X[:3])


UNREAD: list[tuple[Callable[[], torch.Tensor], str, Callable[[torch.Tensor], torch.Tensor]]] = [
    (lambda: torch.tensor(X).to_sparse(), "float32, sparse", lambda x: x.to_dense()),
    (lambda: torch.quantize_per_tensor(torch.tensor(X), 0.1, 0, torch.qint8), "qint8, quantised", lambda x: x.dequantize()),
    (
        lambda: torch.nested.nested_tensor([torch.zeros(2, 3), torch.ones(4, 3)]),
        "(2,) of float32, nested",
        lambda x: torch.stack([item.mean(0) for item in x.unbind()]),
    ),
    (
        lambda: torch.zeros(3, 4, dtype=torch.complex64).conj(),
        "complex64",
        lambda x: torch.view_as_real(x.resolve_conj()).flatten(1),
    ),
    (lambda: torch.zeros(3, 4).to(torch.float8_e4m3fn), "float8_e4m3fn", lambda x: x.float()),
    (lambda: torch.zeros(3, 4, device="meta"), "(3, 4) of float32, without numbers", torch.ones_like),
]


@pytest.mark.filterwarnings("ignore")  # torch means to give some of these up
@pytest.mark.parametrize(("make", "words", "remedied"), UNREAD, ids=lambda one: one if isinstance(one, str) else "")
def test_forms_that_are_not_read(
    tmp_path: Path, make: Callable[[], torch.Tensor], words: str, remedied: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    """One line names the form and the remedy, and the remedy works; a plain tensor beside it is read."""
    path, tensor = tmp_path / "a.pt", make()
    path.write_bytes(saved(tensor))
    message, member = refusal(path), refusal(f"{path}::tensor")
    remedy = message.rpartition("torch.save(")[2].removesuffix(", FILE).")
    assert words in message and member.endswith(message.rpartition(words + ". ")[2])
    if "torch.save" in message:
        assert bool(eval(remedy, {"torch": torch, "x": tensor}).shape == remedied(tensor).shape)  # noqa: S307
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch_files, "MOST", 2)  # as if the pickle were large
        assert refusal(path) == message
    path.write_bytes(saved({"x": torch.tensor(X), "other": tensor}))
    assert np.array_equal(store.read(str(path)).x, X)
    path.write_bytes(saved(remedied(torch.zeros(3, 4)) if tensor.is_meta else remedied(tensor)))
    assert store.read(str(path)).n in (2, 3, N)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            b"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n)R",
            "calls torch._utils._rebuild_device_tensor_from_cpu_tensor",
        ),
        (
            b"ctorch._utils\n_rebuild_tensor_v2\n(" + WHOLE + GIVEN + b"\x89}" + b"}X\x05\0\0\0otherK\x01stR",
            "a tensor has properties that relrep does not know",
        ),
        (
            b"ctorch._utils\n_rebuild_tensor_v2\n(" + WHOLE + GIVEN + b"\x89}" + b"}X\x04\0\0\0conjK\x01stR",
            "a tensor has properties that relrep does not know",
        ),
        (b"ctorch\nDoubleTensor\n)R(" + WHOLE + GIVEN + b"tb", "its pickle is malformed"),
        (b"ctorch\nFloatTensor\n)RK\x01b", "its pickle is malformed"),
        (b"ctorch\nfloat32\nK\x01b", "its pickle is malformed"),
        (b"ctorch._utils\n_rebuild_tensor\n(" + STORAGE % (N * D, b"(X\x01\0\0\0vK\x80K\x0ct") + GIVEN + b"tR", "malformed"),
        (b"ctorch._utils\n_rebuild_tensor\n(" + STORAGE % (N * D, b"(X\x01\0\0\0vK\x08K\x0bt") + GIVEN + b"tR", "beyond its"),
    ],
)
def test_pickles_that_are_not_followed(tmp_path: Path, body: bytes, words: str) -> None:
    (tmp_path / "a.pt").write_bytes(legacy(body))
    assert words in refusal(tmp_path / "a.pt")


def test_what_lies_beside_a_tensor_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_files, "read_with_library", None)
    marked = torch.tensor(X)
    marked.about = "an attribute"  # type: ignore[attr-defined]
    more = {"type": torch.float16, "device": torch.device("cpu"), "set": {1}, "bytes": bytearray(b"a"), "size": torch.Size([2])}
    for content in (marked, {"x": marked, "counts": Counter("abca"), "number": 2j, **more}):
        (tmp_path / "a.pt").write_bytes(saved(content))
        assert np.array_equal(store.read(str(tmp_path / "a.pt")).x, X)
    (tmp_path / "a.pt").write_bytes(saved({1, 2}))
    assert "holds set, not tensors" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_binary_protocol(tmp_path: Path, protocol: int) -> None:
    """torch itself refuses 4 and 5 with weights_only."""
    (tmp_path / "a.pt").write_bytes(saved({"x": torch.tensor(X), "names": NAMES}, pickle_protocol=protocol))
    e = store.read(str(tmp_path / "a.pt"))
    assert np.array_equal(e.x, X) and e.ids.tolist() == WANTED


def test_damage_that_torch_does_not_see(tmp_path: Path) -> None:
    """torch.load does not compare checksums; files may leave them out."""
    path, whole = tmp_path / "a.pt", saved(torch.tensor(X))
    at = whole.index(X.tobytes())
    path.write_bytes(whole[: at + 5] + bytes([whole[at + 5] ^ 1]) + whole[at + 6 :])
    assert torch.load(path, weights_only=True).shape == (N, D)
    assert "do not have the checksum that the archive states" in refusal(path)
    try:
        torch.serialization.set_crc32_options(False)
        path.write_bytes(saved(torch.tensor(X)))
    finally:
        torch.serialization.set_crc32_options(True)
    assert np.array_equal(store.read(str(path)).x, X)


def pickled(body: bytes) -> bytes:
    """A file of torch around a pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("archive/data/0", X.tobytes())
    return out.getvalue()


STORED = b"(X\x07\0\0\0storagectorch\n%sStorage\nX\x01\0\0\0%dX\x03\0\0\0cpuK%ctQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(%sK%cK%cK%c\x86K%cK%c\x86\x89)tR"


def tensor_of(
    storage: bytes = b"", offset: int = 0, shape: tuple[int, int] = (N, D), strides: tuple[int, int] = (D, 1)
) -> bytes:
    return pickled(TENSOR % (storage or STORED % (b"Float", 0, N * D), offset, *shape, *strides))


HOSTILE = {
    "storage of another type": (tensor_of(STORED % (b"Double", 0, N * D)), "its numbers are not all in the file"),
    "no such storage": (tensor_of(STORED % (b"Float", 7, N * D)), "its numbers are not all in the file"),
    "unknown type": (tensor_of(STORED % (b"Quux", 0, N * D)), "its pickle is malformed"),
    "beyond": (tensor_of(offset=1), "a tensor reaches beyond its storage"),
    "strides beyond": (tensor_of(strides=(D, 2)), "a tensor reaches beyond its storage"),
    "key of keys": (pickled(b"}K\x01" + b"q\0h\0\x86" * 60 + b"K\x01s"), "its pickle is malformed"),
    "marks": (pickled(b"N" * 20000 + b"(t" * 20000), "its pickle is malformed"),
    "cycle": (pickled(b"]q\0h\0a"), "holds list, not tensors"),
    "no arguments": (pickled(b"ctorch._utils\n_rebuild_tensor_v2\n)R"), "its pickle is malformed"),
    "a type called": (pickled(b"ctorch\nfloat32\n)R"), "its pickle is malformed"),
    "items below a mark": (pickled(b"K\x01K\x02(\x86"), "its pickle is malformed"),
    "other than a storage": (pickled(b"(X\x06\0\0\0moduletQ"), "its pickle is malformed"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Refused at once, and without torch."""
    monkeypatch.setattr(torch_files, "read_with_library", None)
    content, words = HOSTILE[name]
    (tmp_path / "a.pt").write_bytes(content)
    assert words in refusal(tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes(tensor_of())
    assert np.array_equal(store.read(str(tmp_path / "a.pt")).x, X)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


REFUSED: list[tuple[Any, str]] = [
    ({"a": torch.zeros(3), "b": torch.zeros(4)}, "its tensors have different shapes: (3,), (4,)"),
    ({"a": torch.zeros(3, 4), "b": torch.zeros(4, 4).half()}, "which tensor? Found a (3, 4), b (4, 4)"),
    ([torch.zeros(2, 3, 4)] * 2, "(items, dimensions) tensor of numbers. Found list (2, 2, 3, 4)"),
    ({"label": "x", "mean_representations": {33: torch.zeros(4)}}, "Found mean_representations () of a dict"),
    (torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).state_dict(), "which tensor? Found 0.weight (4, 3)"),
    (torch.nn.Linear(3, 4), "never opened: torch.nn.modules.linear.Linear"),
    (torch.ones(5, dtype=torch.bool), "Found tensor (5,)"),
    (torch.zeros(3, 4, dtype=torch.complex64), "of complex64"),
    (torch.zeros(3, 4).to(torch.float8_e4m3fn), "of float8_e4m3fn"),
    (torch.tensor(X).to_sparse(), "Found tensor (9, 4) of float32, sparse"),
    ("text", "holds str, not tensors"),
]


@pytest.mark.parametrize(("content", "words"), REFUSED)
def test_files_are_refused_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, words: str) -> None:
    """Its import alone passes the limits of a refusal."""
    monkeypatch.setattr(torch_files, "read_with_library", None)
    path = tmp_path / "a.pt"
    for form in (True, False):
        path.write_bytes(saved(content, _use_new_zipfile_serialization=form))
        assert words in refusal(path)


@pytest.mark.slow
def test_hostile_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch_files, "read_with_library", None)  # torch is not even imported
    path = tmp_path / "a.pt"
    for form in (True, False):
        path.write_bytes(saved({"x": torch.tensor(X), "y": Evil()}, _use_new_zipfile_serialization=form))
        assert "Python objects besides tensors, which could run code and are never opened: pathlib.P" in refusal(path)
    monkeypatch.undo()
    assert not (tmp_path / "sprung").exists()
    path.write_bytes(saved(torch.zeros(1).expand(1 << 16, 1 << 14)))  # 4 GiB from one number
    assert "repeats its storage far more often than is stored" in refusal(path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(64 << 20))
    path.write_bytes(packed.getvalue())
    assert "is compressed, as torch.save never does" in refusal(path)
    np.savez(tmp_path / "a.npz", x=X)
    path.write_bytes((tmp_path / "a.npz").read_bytes())
    assert "this is a zip archive, but none of PyTorch's" in refusal(path)
    path.write_bytes(saved({"a": torch.zeros(3), "b": torch.zeros(4)}))
    assert "its tensors have different shapes: (3,), (4,)" in refusal(path)
    path.write_bytes(saved("text"))
    assert "holds str, not tensors" in refusal(path)


# --- MATLAB ---


@pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}])
def test_matrices_of_matlab(tmp_path: Path, options: dict[str, Any]) -> None:
    content: dict[str, Any] = {"emb": X.astype(np.float64), "names": np.array(NAMES)}
    if "format" not in options:
        content |= {"names": np.array(NAMES, object), "label": np.arange(N)}
    (tmp_path / "a.mat").write_bytes(matlab(content, **options))
    e = store.read(str(tmp_path / "a.mat"))
    assert np.array_equal(e.x, X.astype(np.float64)) and e.ids.tolist() == WANTED
    (tmp_path / "b.mat").write_bytes(matlab({"a": X, "b": X}))
    assert "which matrix? Found a (9, 4), b (9, 4)" in refusal(tmp_path / "b.mat")


# --- faiss ---


@pytest.mark.parametrize(
    "made", [flat(), flat(faiss.IndexFlatL2), mapped_ids(), mapped_ids(faiss.IndexIDMap2)], ids=lambda i: type(i).__name__
)
def test_indexes_that_keep_their_vectors(tmp_path: Path, made: Any) -> None:
    (tmp_path / "a.faiss").write_bytes(index(made))
    e = store.read(str(tmp_path / "a.faiss"))
    assert np.array_equal(e.x, X)
    assert e.row_ids if isinstance(made, faiss.IndexFlat) else e.ids.tolist() == [b"%d" % (3 * i) for i in range(N)]


def test_indexes_that_do_not_keep_their_vectors(tmp_path: Path) -> None:
    graph = faiss.IndexHNSWFlat(D, 4)
    graph.add(X)
    codes = faiss.IndexIDMap(faiss.IndexScalarQuantizer(D, faiss.ScalarQuantizer.QT_8bit))
    codes.train(X)
    codes.add_with_ids(X, np.arange(N))
    for made in (graph, codes):
        (tmp_path / "a.index").write_bytes(index(made))
        assert "relrep reads IndexFlat" in refusal(tmp_path / "a.index") and "numpy.save(FILE, index.reconstruct_n" in refusal(
            tmp_path / "a.index"
        )
    (tmp_path / "a.index").write_text("no index")
    assert "this is text, not a faiss index" in refusal(tmp_path / "a.index")


# --- SQLite ---


@pytest.mark.parametrize("values", [lambda row: row.tobytes(), lambda row: str(row.tolist())])
def test_tables_of_sqlite(tmp_path: Path, values: Callable[[np.ndarray], Any]) -> None:
    path = database(tmp_path / "a?#%.db", values)
    e = store.read(str(path))
    assert np.allclose(e.x, X, atol=1e-7) and e.ids.tolist() == WANTED
    assert np.array_equal(store.read(f"{path}::items").x, e.x)
    assert "no table of this name; found empty, items" in refusal(f"{path}::v")  # a view is code
    assert "no column of vectors" in refusal(f"{path}::empty")


def test_blobs_of_float64_are_seen_by_their_values(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    for name, rows in {"double": x, "from-single": x.astype("f4").astype("f8")}.items():
        with sqlite3.connect(tmp_path / f"{name}.db") as base:
            base.execute("create table t (uuid text, embedding blob)")
            base.executemany("insert into t values (?, ?)", [(f"u{i}", row.tobytes()) for i, row in enumerate(rows)])
        base.close()
        content = found_in(tmp_path / f"{name}.db")
        assert np.array_equal(content.x, rows) and "float64, by their values" in content.notes[0]


def test_vectors_of_sqlite_that_are_uneven_or_missing(tmp_path: Path) -> None:
    for value, finding in ((b"\0\xff\0\xfe", "row 4 holds 1 numbers, those before 4"), (None, "row 4 holds no vector")):
        path = database(tmp_path / "a.db")
        with sqlite3.connect(path) as base:
            base.execute("update items set emb = ? where name = 'item3'", (value,))
        base.close()
        assert finding in refusal(f"{path}?vectors=emb") or "no table with vectors" in refusal(f"{path}?vectors=emb")
        path.unlink()


# --- damage of all kinds ---


FILES: dict[str, Callable[[], bytes]] = {
    ".pt": lambda: saved({"embeddings": torch.tensor(X), "ids": NAMES}),
    ".mat": lambda: matlab({"emb": X, "names": np.array(NAMES, object)}, do_compression=True),
    ".faiss": lambda: index(mapped_ids()),
}


@pytest.mark.parametrize("ending", [*FILES, ".db"])
@pytest.mark.slow
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path, ending: str) -> None:
    whole = FILES[ending]() if ending in FILES else database(tmp_path / "whole.db").read_bytes()
    drawn, path = random.Random(ending), tmp_path / f"a{ending}"
    cuts = [whole[: drawn.randrange(1, len(whole))] for _ in range(6)]
    flips = []
    for _ in range(18):
        content = bytearray(whole)
        for _ in range(drawn.choice([1, 3, 20])):
            content[drawn.randrange(min(len(content), 2000))] ^= 1 << drawn.randrange(8)
        flips.append(bytes(content))
    refused = 0
    for content in (*cuts, *flips):
        path.write_bytes(content)
        try:
            assert store.read(str(path)).x.ndim == 2
        except DataError as error:
            refused += 1
            assert str(error).isprintable() and 20 < len(str(error)) < 700
    assert refused > 3

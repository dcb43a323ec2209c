"""Files that torch, SciPy, faiss and sqlite3 read in a guarded child: right values, and one line for what is damaged."""

from __future__ import annotations

import io
import random
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import scipy.io
import torch

from relrep_cli import store
from relrep_cli.base.errors import DataError
from relrep_cli.store import torch_files
from relrep_cli.store.foreign import found_in
from relrep_cli.store.torch_outlines import outline

N, D = 9, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype(np.float32)
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


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


def test_files_are_refused_by_the_outlines_of_their_tensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch, whose import alone passes the limits of a refusal; the words are those that torch's tensors would get."""
    path = tmp_path / "a.pt"
    contents: list[tuple[Any, str]] = [
        ({"a": torch.zeros(3), "b": torch.zeros(4)}, "its tensors have different shapes: (3,), (4,)"),
        ({"a": torch.zeros(3, 4), "b": torch.zeros(4, 4).half()}, "which tensor? Found a (3, 4), b (4, 4)"),
        (
            [torch.zeros(2, 3, 4)] * 2,
            "(items, dimensions) tensor of numbers. Found list (2, 2, 3, 4)",
        ),
        ({"label": "x", "mean_representations": {33: torch.zeros(4)}}, "Found mean_representations () of a dict"),
        (torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).state_dict(), "which tensor? Found 0.weight (4, 3)"),
        (torch.ones(5, dtype=torch.bool), "Found tensor (5,)"),
        ("text", "holds str, not tensors"),
    ]
    for early in (True, False):
        with monkeypatch.context() as patched:
            if early:
                patched.setattr(torch_files, "read_with_library", None)
            else:
                patched.setattr(torch_files, "_refuse_early", lambda *_: None)
            for content, words in contents if early else contents[:2]:
                path.write_bytes(saved(content))
                assert words in refusal(path)
    for damaged in (b"", b"\x80\x02}q\x00", b"\x80\x02(.", b"\x80\x02cos\nsystem\n."):
        with pytest.raises(ValueError, match=r"Error|malformed|exhausted"):
            outline(damaged)
    assert outline(b"\x80\x02]q\x00K\x01a.") == [1]


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
    few = ending == ".pt"  # each child imports torch
    cuts = [whole[: drawn.randrange(1, len(whole))] for _ in range(1 if few else 6)]
    flips = []
    for _ in range(3 if few else 18):
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
    assert refused > 3 - 2 * few

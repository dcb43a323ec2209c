"""Word and protein vectors: word2vec, GloVe, the projector, thingsvision, scikit-bio and UniProt."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from relrep_cli import store
from relrep_cli.base.errors import DataError

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
WORDS = ["the", "café", "of", ". . .", "1999"]


def lines(words: list[str] = WORDS, x: np.ndarray = X, head: bool = False) -> str:
    rows = [f"{word} {' '.join(map(str, row))}" for word, row in zip(words, x.tolist(), strict=True)]
    return "\n".join([f"{len(words)} {x.shape[1]}"] * head + rows) + "\n"


def binary(words: list[str] = WORDS, newline: bytes = b"\n") -> bytes:
    rows = [word.encode() + b" " + row.astype("<f4").tobytes() + newline for word, row in zip(words, X, strict=True)]
    return f"{len(words)} 3\n".encode() + b"".join(rows)


def read(path: Path) -> Any:
    return store.read(str(path))


@pytest.mark.parametrize("name", ["glove.txt", "w2v.vec", "w.glove"])
@pytest.mark.parametrize("head", [True, False])
def test_text(tmp_path: Path, name: str, head: bool) -> None:
    (tmp_path / name).write_text(lines(head=head))
    e = read(tmp_path / name)
    assert np.array_equal(e.x, X) and e.x.dtype == np.float32
    assert [i.decode() for i in e.ids] == WORDS


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_binary(tmp_path: Path, newline: bytes) -> None:
    words = ["the", "café", "of", "New_York", "1999"]
    (tmp_path / "w.bin").write_bytes(binary(words, newline))
    e = read(tmp_path / "w.bin")
    assert np.array_equal(e.x, X) and [i.decode() for i in e.ids] == words


def test_many_lines(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2500, 4)).astype(np.float32)
    (tmp_path / "a.txt").write_text(lines([f"w{i}" for i in range(2500)], x).rstrip("\n"))
    e = read(tmp_path / "a.txt")
    assert np.array_equal(e.x, x) and e.ids[2499] == b"w2499"


BAD = {
    "short line": (
        lines(["a", "b", "c", "d", "e"]).replace(f" {float(X[2, 2])}\n", "\n"),
        "line 3 holds 2 numbers, those before 3",
    ),
    "not a number": (lines().replace(str(float(X[4, 1])), "x.y"), "line 5: 'x.y' is not a number"),
    "prose": ("Once upon a time\nthere was a fish\n", "is not a number"),
    "one word": ("hello\n", "no lines of a word and its numbers"),
    "lies": ("1000000000 300\nthe 1 2 3\n", "declares 300 numbers a line, and line 2 holds 3"),
    "no dims": ("3 0\nthe 1\n", "from 1 to 65536 are read"),
}


@pytest.mark.parametrize("content, message", BAD.values(), ids=BAD)
def test_bad_text(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "a.txt")
    assert str(caught.value).startswith(f"{tmp_path / 'a.txt'}: ") and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"1000000000 300\nthe " + bytes(50), "declares 1000000000 vectors of 300, more than"),
        (binary()[:-6], "it ends within vector 5 of 5"),
        (b"1 3\n" + b"x" * 9000, "ends within vector 1 of 1"),
        (b"0 3\n\x00", "from 1 to 65536 are read"),
        (b"\x80\x04K\x01.", "a Python pickle"),
    ],
)
def test_bad_binary(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.bin")


@pytest.mark.slow
def test_mutants(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, good in (("a.txt", lines(head=True).encode()), ("a.bin", binary())):
        for _ in range(200):
            mutant = bytearray(good)
            for at in rng.integers(0, len(good), rng.integers(1, 5)):
                mutant[at] = rng.integers(256)
            (tmp_path / name).write_bytes(mutant[: rng.integers(1, len(good) + 1)])
            with contextlib.suppress(DataError):
                read(tmp_path / name)


# What lies beside


def test_thingsvision(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", X)
    np.savetxt(tmp_path / "features.txt", X)
    (tmp_path / "file_names.txt").write_text("\n".join(f"img/{i}.jpg" for i in range(5)) + "\n")
    for name in ("features.npy", "features.txt"):
        e = read(tmp_path / name)
        np.testing.assert_allclose(e.x, X, rtol=1e-6)
        assert e.ids[4] == b"img/4.jpg"
    (tmp_path / "file_names.txt").write_text("a\nb\n")
    assert read(tmp_path / "features.npy").row_ids, "two names are not those of five rows"
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file["features"] = X
    assert read(tmp_path / "features.h5").x.shape == (5, 3)


def test_projector(tmp_path: Path) -> None:
    (tmp_path / "vectors.tsv").write_text("\n".join("\t".join(map(str, row)) for row in X.tolist()) + "\n")
    assert read(tmp_path / "vectors.tsv").row_ids
    (tmp_path / "metadata.tsv").write_text("\n".join(WORDS) + "\n")
    assert [i.decode() for i in read(tmp_path / "vectors.tsv").ids] == WORDS
    (tmp_path / "metadata.tsv").write_text("cat\ndog\ncat\ncat\ndog\n")
    e = read(tmp_path / "vectors.tsv")
    assert e.row_ids and list(e.obs["label"]) == [b"cat", b"dog", b"cat", b"cat", b"dog"]
    (tmp_path / "metadata.tsv").write_text("Label\tname\n" + "".join(f"c\t{word}\n" for word in WORDS))
    e = read(tmp_path / "vectors.tsv")
    assert [i.decode() for i in e.ids] == WORDS and set(e.obs["label"]) == {b"c"}


# Proteins


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": (3,)}], ids=["plain", "gzip"])
def test_uniprot(tmp_path: Path, options: dict[str, Any]) -> None:
    names = [f"P{i:05d}" for i in range(5)]
    with h5py.File(tmp_path / "per-protein.h5", "w") as file:
        for name, row in zip(names, X.astype(np.float16), strict=True):
            file.create_dataset(name, data=row, **options)
    e = read(tmp_path / "per-protein.h5")
    assert [i.decode() for i in e.ids] == names and np.array_equal(e.x, X.astype(np.float16)) and e.x.dtype == np.float16
    with h5py.File(tmp_path / "per-protein.h5", "a") as file:
        file["P99999"] = np.zeros(4, np.float16)
    with pytest.raises(DataError, match=r"P99999: its shape is \(4,\), that of others \(3,\)"):
        read(tmp_path / "per-protein.h5")


def test_uniprot_with_links_elsewhere(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = X[0]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["A"] = X[0]
        file["B"] = h5py.ExternalLink("other.h5", "secret")
    with pytest.raises(DataError, match="it is an external link"):
        read(tmp_path / "a.h5")


@pytest.mark.slow
def test_many_proteins(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(3000):
            file[f"P{i:05d}"] = np.full(8, i, np.float32)
    e = read(tmp_path / "a.h5")
    assert e.x.shape == (3000, 8) and np.array_equal(e.x[:, 0], np.arange(3000))


@pytest.mark.parametrize("complete", [True, False], ids=["all ends", "the last end left out"])
def test_scikit_bio(tmp_path: Path, complete: bool) -> None:
    """One row a protein, or one for each of its residues, whose mean is taken. The package leaves the last end out."""
    proteins = [b"MKV", b"GHKLA"]
    ends = np.cumsum([len(p) for p in proteins]).astype(np.int32)
    kept = slice(None) if complete else slice(-1)
    residues = np.arange(16.0, dtype=np.float32).reshape(8, 2)
    letters = np.frombuffer(b"".join(proteins), np.uint8)
    with h5py.File(tmp_path / "residues.h5", "w") as file:
        file.create_dataset("embedding", data=residues, compression="gzip")
        file["id"], file["idptr"] = letters, ends[kept]
    with h5py.File(tmp_path / "vectors.h5", "w") as file:
        file["embedding"], file["id"], file["idptr"] = X[:2], letters, ends[kept]
        file["embedding_ptr"] = np.array([1, 2], np.int32)[kept]
    e = read(tmp_path / "residues.h5")
    assert list(e.ids) == proteins and np.array_equal(e.x, [residues[:3].mean(0), residues[3:].mean(0)])
    e = read(tmp_path / "vectors.h5")
    assert list(e.ids) == proteins and np.array_equal(e.x, X[:2])


def test_scikit_bio_pointers_that_lie(tmp_path: Path) -> None:
    for pointers in ([5, 3], [0, 8], [2**40, 8], [-1, 8]):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["embedding"], file["id"] = np.zeros((8, 2), np.float32), np.full(8, 65, np.uint8)
            file["idptr"] = np.array(pointers, np.int64)
        with pytest.raises(DataError, match="pointers do not rise"):
            read(tmp_path / "a.h5")

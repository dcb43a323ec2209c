"""CIFAR in both versions, and the pickles of the Python version: data come out, nothing is ever called."""

from __future__ import annotations

import os
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relrep_cli.base.errors import DataError
from relrep_cli.sources import chosen, read
from relrep_cli.sources.pickles import Forbidden, read_pickle


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def old(value: Any) -> bytes:
    """A pickle as Python 2 wrote it: protocol 2, text as bytes, NumPy's old names."""
    return pickle.dumps(value, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def binary(folder: Path) -> Path:
    for name, n, seed in (("data_batch_1", 6, 1), ("data_batch_2", 4, 2), ("test_batch", 3, 3)):
        rows = np.concatenate([np.arange(n, dtype=np.uint8)[:, None], pixels(n, seed)], 1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(f"class{i}" for i in range(10)) + "\n\n")
    return folder


def python(folder: Path) -> Path:
    for name, n, seed in (("data_batch_1", 6, 1), ("data_batch_2", 4, 2), ("test_batch", 3, 3)):
        batch = {b"data": pixels(n, seed), b"labels": list(range(n)), b"filenames": [b"a.png"] * n, b"batch_label": b"one"}
        (folder / name).write_bytes(old(batch))
    names = {b"label_names": [b"class%d" % i for i in range(10)], b"num_vis": 3072}
    (folder / "batches.meta").write_bytes(old(names))
    return folder


def items(path: Path) -> Any:
    assert chosen(str(path)) == "cifar"
    return read(str(path), "cifar", {})


def test_both_versions_are_the_same_items(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir(), (tmp_path / "py").mkdir()
    first, second = items(binary(tmp_path / "bin")), items(python(tmp_path / "py"))
    assert first.digest == second.digest and first.x.shape == (13, 32, 32, 3)
    assert np.array_equal(first.x[6, :, :, 1].ravel(), pixels(4, 2)[0, 1024:2048]), "channels lie one after the other"
    assert list(first.label) == list(second.label) and first.label[12] == b"class2"
    assert list(first.split) == [b"train"] * 10 + [b"test"] * 3
    assert first.ids[6] == b"data_batch_2-00000" and first.ids[12] == b"test-00002"


def test_cifar_100(tmp_path: Path) -> None:
    batch = {"data": pixels(4), "fine_labels": [1, 2, 3, 99], "coarse_labels": [0, 0, 1, 19]}
    (tmp_path / "train").write_bytes(pickle.dumps(batch, 4))
    out = items(tmp_path)
    assert list(out.label) == [b"1", b"2", b"3", b"99"] and list(out.obs["coarse_label"]) == [b"0", b"0", b"1", b"19"]
    rows = np.concatenate([np.array([[0, 1], [0, 2], [1, 3], [19, 99]], np.uint8), pixels(4)], 1)
    (tmp_path / "train.bin").write_bytes(rows.tobytes())
    again = items(tmp_path / "train.bin")
    assert again.digest == out.digest and list(again.obs["coarse_label"]) == list(out.obs["coarse_label"])


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_data_of_every_protocol(protocol: int) -> None:
    value = {
        b"data": np.arange(6, dtype="<f4").reshape(2, 3), "text": "é", "list": [1, -2, 2**70, True, None, 1.5],
        "nested": {"a": (1, (2, [b"x"]))}, 3: np.asfortranarray(np.arange(4).reshape(2, 2)),
    }  # fmt: skip
    actual = read_pickle(pickle.dumps(value, protocol))
    for key in (b"data", 3):
        assert actual[key].dtype == value[key].dtype and np.array_equal(actual.pop(key), value.pop(key))
    assert actual == value


class Runs:
    """What a hostile pickle does when it is loaded."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("owned",)


class Builds(dict):
    def __setstate__(self, state: Any) -> None:
        os.mkdir("owned")


HOSTILE = {
    "call": lambda: pickle.dumps({"data": Runs()}),
    "call of old": lambda: pickle.dumps({"data": Runs()}, 0),
    "eval": lambda: b"c__builtin__\neval\n(S'1'\ntR.",
    "codecs alone": lambda: b"\x80\x02c_codecs\nencode\n.",
    "other codecs": lambda: b"\x80\x02c_codecs\nlookup\nX\x05\x00\x00\x00utf-8\x85R.",
    "object array": lambda: pickle.dumps(np.array([Runs(), 1], dtype=object)),
    "dates": lambda: pickle.dumps(np.array(["2020"], "M8[D]")),
    "subclass": lambda: pickle.dumps(OrderedDict(a=1)),
    "set": lambda: pickle.dumps({1, 2}, 4),
    "own class": lambda: pickle.dumps(Builds(a=1)),
    "persistent": lambda: b"\x80\x02X\x01\x00\x00\x00aQ.",
    "array that lies": lambda: pickle.dumps(np.arange(9, dtype=np.uint8)).replace(b"K\x09\x85", b"K\x10\x85"),
    "array that is not filled": lambda: b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",
    "negative axis": lambda: pickle.dumps(np.arange(9, dtype=np.uint8)).replace(b"K\x09\x85", b"J\xff\xff\xff\xff\x85"),
    "nested": lambda: b"\x80\x02" + b"]" * 500 + b"a" * 499 + b".",
    "cycle": lambda: b"\x80\x02]q\x00h\x00a.",
    "empty stack": lambda: b"\x80\x02a.",
    "two values": lambda: b"\x80\x02K\x01K\x02.",
    "memo without entry": lambda: b"\x80\x02h\x07.",
    "cut": lambda: pickle.dumps(list(range(9)))[:-3],
    "text": lambda: b"hello",
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles(content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError):  # Forbidden is one
        read_pickle(content())
    (tmp_path / "train").write_bytes(content())
    with pytest.raises(DataError) as caught:
        read("train", "cifar", {})
    assert str(caught.value).startswith("train: ") and str(caught.value).isprintable()
    assert not (tmp_path / "owned").exists()


def test_the_hostile_pickle_is_hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused does its work when it is loaded, so the tests above can fail."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(HOSTILE["call"]())  # noqa: S301
    assert (tmp_path / "owned").exists()


def test_mutants_are_refused_or_read() -> None:
    rng = np.random.default_rng(0)
    good = pickle.dumps({"data": np.arange(30, dtype=np.uint8).reshape(5, 6), "labels": [1, 2, 3, 4, 5]}, 2)
    assert len(list(pickletools.genops(good))) > 30
    read_anyway = 0
    for _ in range(1500):
        mutant = bytearray(good)
        for at in rng.integers(0, len(good), rng.integers(1, 4)):
            mutant[at] = rng.integers(256)
        try:
            read_pickle(bytes(mutant))
            read_anyway += 1
        except ValueError:
            pass
    assert 0 < read_anyway < 1500


def test_what_does_not_fit(tmp_path: Path) -> None:
    for batch, message in [
        ([1], "holds no dict"),
        ({"labels": [1]}, r"no data of \(n, 3072\) bytes"),
        ({"data": pixels(2), "labels": [1]}, "labels are not one small number for each of 2 images"),
        ({"data": pixels(2), "labels": [1, 300]}, "labels are not one small number"),
    ]:
        (tmp_path / "train").write_bytes(pickle.dumps(batch))
        with pytest.raises(DataError, match=message):
            read(str(tmp_path), "cifar", {})
    (tmp_path / "train.bin").write_bytes(bytes(4000))
    with pytest.raises(DataError, match="4000 bytes are not a whole number of images"):
        read(str(tmp_path), "cifar", {})
    with pytest.raises(Forbidden, match="names 'os system'"):
        read_pickle(b"cos\nsystem\n(S'true'\ntR.")

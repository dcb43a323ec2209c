"""Reading IDX images: what is right is read, what is wrong is one line that says where, what and what to do."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from relrep_cli.base.errors import DataError
from relrep_cli.sources import Items, read
from relrep_cli.sources.idx import SMALL


def read_images(path: str | Path) -> Items:
    return read(str(path), "idx", {})


IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"


def idx(array: np.ndarray, shape: tuple[int, ...] | None = None, kind: int = 8) -> bytes:
    """The array as an IDX file; `shape` is what the header says if it is to lie."""
    shape = array.shape if shape is None else shape
    return bytes([0, 0, kind, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + array.tobytes()


def images(n: int, h: int = 3, w: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, h, w), dtype=np.uint8)


def labels(n: int) -> np.ndarray:
    return (np.arange(n) % 11).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The four conventional files: 12 images to train on, plain, and 5 to test on, zipped."""
    (tmp_path / IMAGES.format("train")).write_bytes(idx(images(12)))
    (tmp_path / LABELS.format("train")).write_bytes(idx(labels(12)))
    (tmp_path / (IMAGES.format("t10k") + ".gz")).write_bytes(gzip.compress(idx(images(5, seed=1))))
    (tmp_path / (LABELS.format("t10k") + ".gz")).write_bytes(gzip.compress(idx(labels(5))))
    return tmp_path


def test_folder(folder: Path) -> None:
    items = read_images(folder)
    assert np.array_equal(items.x, np.concatenate([images(12), images(5, seed=1)]))
    assert list(items.ids[[0, 11, 12, 16]]) == [b"train-00000", b"train-00011", b"test-00000", b"test-00004"]
    assert items.label is not None and list(items.label[[0, 10, 12]]) == [b"0", b"10", b"0"]
    assert items.split is not None and list(items.split) == [b"train"] * 12 + [b"test"] * 5
    expected = hashlib.sha256(b"17,3,2\n" + items.x.tobytes()).hexdigest()
    assert items.digest == f"sha256:{expected}"


def test_ids_sort_and_are_unique(tmp_path: Path) -> None:
    (tmp_path / IMAGES.format("train")).write_bytes(idx(images(100_001, 1, 1)))
    ids = read_images(tmp_path).ids
    assert ids[-1] == b"train-100000" and ids[1] == b"train-000001"
    assert np.array_equal(ids, np.unique(ids))


@pytest.mark.parametrize("part, split", [("train", b"train"), ("t10k", b"test")])
def test_one_part_is_enough(tmp_path: Path, part: str, split: bytes) -> None:
    (tmp_path / IMAGES.format(part)).write_bytes(idx(images(4)))
    items = read_images(tmp_path)
    assert items.label is None and items.split is not None and set(items.split) == {split}


def test_names_with_a_dot(tmp_path: Path) -> None:
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx(images(4)))
    (tmp_path / "train-labels.idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels(4))))
    items = read_images(tmp_path)
    assert len(items.x) == 4 and items.label is not None


def test_labels_of_one_part_only(folder: Path) -> None:
    (folder / LABELS.format("train")).unlink()
    items = read_images(folder)
    assert items.label is not None and list(items.label[[0, 12, 13]]) == [b"", b"0", b"1"]


def test_lone_conventional_file(folder: Path) -> None:
    items = read_images(str(folder / (IMAGES.format("t10k") + ".gz")))
    assert items.ids[0] == b"test-00000" and items.label is not None and len(items.label) == 5


@pytest.mark.parametrize(
    "name, stem",
    [("digits.idx3", b"digits"), ("emnist-letters-train-images-idx3-ubyte", b"emnist-letters-train"), ("images", b"image")],
)
def test_lone_file_of_another_name(tmp_path: Path, name: str, stem: bytes) -> None:
    (tmp_path / name).write_bytes(idx(images(3)))
    items = read_images(tmp_path / name)
    assert items.ids[2] == stem + b"-00002" and items.split is None and items.label is None


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(idx(images(3))))
    (tmp_path / "b.gz").write_bytes(idx(images(3)))
    first, second = (read_images(tmp_path / name) for name in ("a", "b.gz"))
    assert first.digest == second.digest


def test_digest_tells_shapes_apart(tmp_path: Path) -> None:
    digests = []
    for i, shape in enumerate([(2, 3, 4), (2, 4, 3), (4, 3, 2)]):
        (tmp_path / str(i)).write_bytes(idx(images(24, 1, 1).reshape(shape)))
        digests.append(read_images(tmp_path / str(i)).digest)
    assert len(set(digests)) == 3


GOOD = idx(images(6))
ZIPPED = gzip.compress(GOOD, mtime=0)
BAD = {
    "empty": (b"", "not an IDX file"),
    "three bytes": (b"\0\0\x08", "not an IDX file"),
    "text": (b"<!DOCTYPE html>", "not an IDX file"),
    "escapes": (b"\x1b[31\n", "not an IDX file"),
    "int16": (idx(images(6), kind=0x0B), "it holds int16"),
    "unknown type": (idx(images(6), kind=0xEE), "elements of unknown type 0xee"),
    "labels": (idx(labels(6)), "it has 1 dimensions where images have 3"),
    "colour": (idx(images(6).reshape(2, 3, 3, 2)), "it has 4 dimensions where images have 3"),
    "half a header": (GOOD[:11], "it ends inside its header"),
    "no images": (idx(images(0)), "no images in it"),
    "no pixels": (idx(images(6, 0, 2)), "no images in it"),
    "cut": (GOOD[:-1], "it is cut short: 52 bytes declared, 51 found"),
    "too long": (GOOD + b"x", "it goes on after its end"),
    "lies a little": (idx(images(6), (7, 3, 2)), "it is cut short"),
    "lies a lot": (idx(images(6), (2**32 - 1,) * 3), "it is cut short"),
    "gz cut": (ZIPPED[:-12], "its gzip stream is cut short"),
    "gz checksum cut": (ZIPPED[:-5], "its gzip stream is cut short"),
    "gz checksum wrong": (ZIPPED[:-8] + bytes(4) + ZIPPED[-4:], "its gzip stream is damaged"),
    "gz damaged": (ZIPPED[:40] + b"\xff" * 20 + ZIPPED[60:], "its gzip stream is damaged"),
    "gz magic only": (b"\x1f\x8b", "not an IDX file"),
    "gz of text": (gzip.compress(b"hello world"), "not an IDX file"),
    "gz too short": (gzip.compress(GOOD[:-1]), "52 bytes declared, 51 found"),
    "gz too long": (gzip.compress(GOOD + b"x"), "it inflates to more than the 52 bytes declared"),
    "gz with a tail": (ZIPPED + b"tail", "more data follows its gzip stream"),
    "gz lies a lot": (gzip.compress(idx(images(6), (2**32 - 1,) * 3)), "compressed bytes declare"),
}


@pytest.mark.parametrize("content, actual", BAD.values(), ids=BAD)
def test_bad_files(tmp_path: Path, content: bytes, actual: str) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_images(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and actual in message and message.endswith(".")
    assert message.isprintable(), "one line, no control characters"


def test_every_cut_and_every_flip_is_refused_or_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for content in (GOOD, ZIPPED):
        mutants = [content[:i] for i in range(len(content))]
        for _ in range(200):
            flipped = bytearray(content)
            flipped[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            mutants.append(bytes(flipped))
        for mutant in mutants:
            (tmp_path / "m").write_bytes(mutant)
            with contextlib.suppress(DataError):
                assert isinstance(read_images(tmp_path / "m"), Items)


def test_gzip_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    zip_ = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = idx(np.empty((0, 0, 0), np.uint8), (SMALL // 1024 + 1, 32, 32))
    bomb = zip_.compress(head) + b"".join(zip_.compress(bytes(1 << 20)) for _ in range(4)) + zip_.flush()
    (tmp_path / "bomb.gz").write_bytes(bomb)
    with pytest.raises(DataError, match="compressed bytes declare"):
        read_images(tmp_path / "bomb.gz")


def test_more_than_declared_is_not_inflated(tmp_path: Path) -> None:
    import tracemalloc

    (tmp_path / "bomb.gz").write_bytes(gzip.compress(GOOD + bytes(10_000_000)))
    tracemalloc.start()
    with pytest.raises(DataError, match="inflates to more than"):
        read_images(tmp_path / "bomb.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_large_plain_file_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relrep_cli.sources.idx.SMALL", 10)
    (tmp_path / "a").write_bytes(GOOD)
    x = read_images(tmp_path / "a").x
    assert isinstance(x, np.memmap) and np.array_equal(x, images(6))


def test_labels_must_match(folder: Path) -> None:
    (folder / LABELS.format("train")).write_bytes(idx(labels(11)))
    with pytest.raises(DataError, match="11 labels for the 12 images of train-images-idx3-ubyte"):
        read_images(folder)
    (folder / LABELS.format("train")).write_bytes(idx(images(12)))
    with pytest.raises(DataError, match="it has 3 dimensions where labels have 1"):
        read_images(folder)


def test_sizes_must_match(folder: Path) -> None:
    (folder / IMAGES.format("train")).write_bytes(idx(images(12, 5, 5)))
    with pytest.raises(DataError, match="different sizes, 3 x 2 and 5 x 5"):
        read_images(folder)


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "empty").mkdir()
    for name, actual in [("fifo", "not a regular file"), ("loop", "cannot be read"), ("empty", "no images file here")]:
        with pytest.raises(DataError, match=actual):
            read_images(tmp_path / name)
    for path in (tmp_path / "absent", "a\0b"):
        with pytest.raises(DataError, match="cannot be read"):
            read_images(path)


def test_names_are_printed_safely(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\nb"
    path.write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        read_images(path)
    assert str(caught.value).isprintable()


FASHION = Path(os.environ.get("RELREP_TEST_FASHION_MNIST", "fashion-mnist"))


@pytest.mark.skipif(not FASHION.is_dir(), reason="set RELREP_TEST_FASHION_MNIST to the folder of Fashion-MNIST")
def test_fashion_mnist() -> None:
    items = read_images(FASHION)
    assert items.x.shape == (70_000, 28, 28) and items.label is not None and items.split is not None
    assert np.array_equal(np.unique(items.label, return_counts=True)[1], np.full(10, 7_000))
    assert (items.split == b"test").sum() == 10_000

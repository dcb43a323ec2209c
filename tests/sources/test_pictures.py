"""Folders of pictures and arrays of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from relrep_cli.base.errors import DataError
from relrep_cli.sources import SOURCES, Items, chosen, read


def items(path: Path, **given: Any) -> Items:
    name = chosen(str(path), "", list(given))
    return read(str(path), name, SOURCES[name].resolve(given))


def colour(h: int, w: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes in train and test, PNG, 6 x 5."""
    for i, place in enumerate(["train/cat", "train/dog", "test/cat", "test/dog"]):
        (tmp_path / place).mkdir(parents=True)
        for j in range(2):
            Image.fromarray(colour(6, 5, 10 * i + j)).save(tmp_path / place / f"{j}.png")
    (tmp_path / "README.md").write_text("not a picture")
    (tmp_path / "train" / ".hidden.png").write_text("not a picture either")
    return tmp_path


def test_class_folders_in_splits(folder: Path) -> None:
    out = items(folder)
    assert out.x.shape == (8, 6, 5, 3) and out.kind == "images"
    assert list(out.ids[[0, 7]]) == [b"test/cat/0.png", b"train/dog/1.png"]
    assert list(out.label) == [b"cat", b"cat", b"dog", b"dog"] * 2
    assert list(out.split) == [b"test"] * 4 + [b"train"] * 4
    assert np.array_equal(out.x[7], colour(6, 5, 11))


def test_class_folders_alone_and_no_folders(folder: Path) -> None:
    assert set(items(folder / "train").obs) == {"label"} and set(items(folder / "train").label) == {b"cat", b"dog"}
    assert not items(folder / "train" / "cat").obs


def test_grey_and_sizes(folder: Path) -> None:
    assert items(folder, source_channels="grey").x.shape == (8, 6, 5)
    small = items(folder, size=4)
    assert small.x.shape == (8, 4, 4, 3) and chosen(str(folder), "", ["size"]) == "pictures"
    Image.fromarray(colour(6, 5, 0)[..., 0]).save(folder / "test" / "cat" / "0.png")
    assert items(folder).x.shape == (8, 6, 5), "the first picture is grey"
    assert items(folder, source_channels="rgb").x.shape == (8, 6, 5, 3)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\x89PNG\r\n\x1a\n nonsense", "cannot be decoded|no picture"),
        (b"text", "not a picture that can be read"),
        (b"", "not a picture that can be read"),
    ],
)
def test_broken_pictures_are_named_or_skipped(
    folder: Path, content: bytes, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "relrep")
    broken = folder / "train" / "cat" / "1.png"
    broken.write_bytes(content)
    with pytest.raises(DataError, match=rf"train/cat/1.png: .*({message}).*--skip-bad"):
        items(folder)
    out = items(folder, skip_bad=True)
    assert len(out.x) == 7 == len(out.ids) and b"train/cat/1.png" not in out.ids
    assert f"one item left out; the first: {broken}" in caplog.text
    assert np.array_equal(out.x[4], colour(6, 5, 0 * 10)), "what follows a gap keeps its pixels"


def test_cut_pictures(folder: Path) -> None:
    path = folder / "train" / "cat" / "0.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"train/cat/0.png: it cannot be decoded"):
        items(folder)


def test_pictures_of_other_sizes(folder: Path) -> None:
    Image.fromarray(colour(9, 9, 1)).save(folder / "train" / "dog" / "1.png")
    with pytest.raises(DataError, match=r"dog/1.png: it is 9 x 9, the first picture 6 x 5; --size makes them equal"):
        items(folder)
    assert items(folder, size=5).x.shape == (8, 5, 5, 3)


@pytest.mark.slow
def test_a_picture_that_kills_the_decoder_is_found(folder: Path, own_forks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from relrep_cli.sources import images

    decode = images._one

    def deadly(name: str, *rest: Any) -> Any:
        if name.endswith("dog/1.png"):
            os.abort()
        return decode(name, *rest)

    monkeypatch.setattr(images, "_one", deadly)
    with pytest.raises(DataError, match=r"test/dog/1.png: it crashes the decoder"):
        items(folder)
    assert len(items(folder, skip_bad=True).x) == 6


def test_bombs(tmp_path: Path) -> None:
    Image.new("1", (12_000, 12_000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 100_000
    with pytest.raises(DataError, match="12000 x 12000 pixels; at most 64 million"):
        items(tmp_path)


def test_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a.png: it is not a picture"):
        items(tmp_path, skip_bad=True)


def test_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relrep_cli.sources.images.BLOCK", 3)
    for i in range(8):
        Image.fromarray(colour(2, 2, i)).save(tmp_path / f"{i}.png")
    assert np.array_equal(items(tmp_path).x, [colour(2, 2, i) for i in range(8)])


# Arrays


def grey(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 3), dtype=np.uint8)


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", grey(5))
    out = items(tmp_path / "a.npy")
    assert np.array_equal(out.x, grey(5)) and out.ids[4] == b"image-00004" and isinstance(out.x, np.memmap)


@pytest.mark.parametrize("axes, shape", [((0, 1, 2, 3), (5, 6, 7, 3)), ((0, 3, 1, 2), (5, 6, 7, 3))])
def test_channels_first_or_last(tmp_path: Path, axes: tuple[int, ...], shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", x.transpose(axes))
    assert items(tmp_path / "a.npy").x.shape == shape and np.array_equal(items(tmp_path / "a.npy").x, x)


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_npz_of_splits(tmp_path: Path, names: tuple[str, str]) -> None:
    parts = {"test": 2, "train": 5}
    arrays = {names[0].format(s): grey(n, n) for s, n in parts.items()}
    arrays |= {names[1].format(s): np.arange(n) for s, n in parts.items()}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    out = items(tmp_path / "a.npz")
    assert np.array_equal(out.x, np.concatenate([grey(5, 5), grey(2, 2)]))
    assert list(out.split) == [b"train"] * 5 + [b"test"] * 2 and list(out.label) == [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
        b"0",
        b"1",
    ]
    assert list(out.ids[[4, 5]]) == [b"train-00004", b"test-00000"]


def test_npz_with_siblings(tmp_path: Path) -> None:
    named = {"ids": np.array(["a", "b", "c"]), "label": np.array([2, 0, 1]), "hue": np.array(["red", "blue", "red"])}
    np.savez(tmp_path / "a.npz", images=grey(3), weight=np.arange(3.0), **named)
    out = items(tmp_path / "a.npz")
    assert list(out.ids) == [b"a", b"b", b"c"] and list(out.label) == [b"2", b"0", b"1"]
    assert list(out.obs["hue"]) == [b"red", b"blue", b"red"] and list(out.obs["weight"]) == [0, 1, 2]


def test_arrays_that_are_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=grey(3), b=grey(3))
    with pytest.raises(DataError, match=r"which of its images\? Found a \(3, 4, 3\), b"):
        items(tmp_path / "two.npz")
    np.save(tmp_path / "float.npy", grey(3) / 255)
    with pytest.raises(DataError, match=r"no images in it, \(n, h, w\) of uint8; found"):
        read(str(tmp_path / "float.npy"), "arrays", {})


@pytest.mark.slow
def test_arrays_are_resized_as_pictures_in_files_are(folder: Path, tmp_path: Path) -> None:
    whole = items(folder)
    np.save(tmp_path / "whole.npy", whole.x)
    for options in ({"size": 4}, {"source_channels": "grey"}, {"size": 9, "source_channels": "grey"}):
        kept = read(str(tmp_path / "whole.npy"), "arrays", options).x
        assert np.array_equal(kept, items(folder, **options).x) and kept.shape[1:] != whole.x.shape[1:]


def test_grey_of_16_bits_keeps_its_scale(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for name in ("a.png", "b.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
    out = items(tmp_path)
    assert out.x.shape == (2, 8, 8) and (out.x == (ramp >> 8)).all()
    Image.fromarray(ramp.astype(np.int32)).save(tmp_path / "c.tif")
    with pytest.raises(DataError, match=r"c.tif: its pixels are numbers of 32 bits \(mode I\); save it with 8 or 16"):
        items(tmp_path)

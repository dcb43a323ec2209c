"""Makes the files of this folder from Fashion-MNIST: `python sample_data/make.py FOLDER`.

FOLDER holds the four IDX files (Debian: package dataset-fashion-mnist). Takes about five minutes on two cores.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from relrep_cli import store
from relrep_cli.embedding import row_numbers, select

HERE = Path(__file__).parent
TRAIN_PER_CLASS = 300  # training items kept of each class, beside all test items
NAMES = ("a.h5", "b.h5")  # of the spaces with seeds 0 and 1
IMAGES = {"train": 400, "t10k": 100}


def relrep(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "relrep_cli", *map(str, words)], check=True)


def make_space(source: Path, seed: int) -> None:
    """Train one autoencoder on all training items; keep all test items and some training items of its space."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / NAMES[seed]
        relrep("embed", source, "--encoder", "conv-ae", "--dim", 48, "--seed", seed, "--threads", 1, "-o", whole)
        e = store.read(str(whole))
    part = select(e, kept_rows(e.obs["label"], e.obs["split"]))
    store.write(
        str(HERE / whole.name),
        [np.asarray(part.x)],
        shape=part.x.shape,
        dtype="float32",
        ids=part.ids,
        obs=part.obs,
        var={"id": row_numbers(part.d)},
        kind=part.kind,
        space=part.space,
        steps=list(e.steps),
        force=True,
    )


def kept_rows(label: np.ndarray, split: np.ndarray) -> np.ndarray:
    """The first training items of each class and all test items, in the order of the file."""
    train = [np.flatnonzero((split == b"train") & (label == c))[:TRAIN_PER_CLASS] for c in np.unique(label)]
    return np.sort(np.concatenate([*train, np.flatnonzero(split == b"test")]))


def cut_images(source: Path) -> None:
    """The first images of either part, with their labels, as IDX files of their own."""
    (HERE / "images").mkdir(exist_ok=True)
    for part, count in IMAGES.items():
        for kind, head, size in (("images-idx3", 16, 784), ("labels-idx1", 8, 1)):
            name = f"{part}-{kind}-ubyte.gz"
            content = gzip.decompress((source / name).read_bytes())
            cut = content[:4] + count.to_bytes(4, "big") + content[8:head] + content[head : head + count * size]
            (HERE / "images" / name).write_bytes(gzip.compress(cut, mtime=0))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    cut_images(Path(sys.argv[1]))
    for number in (0, 1):
        make_space(Path(sys.argv[1]), number)

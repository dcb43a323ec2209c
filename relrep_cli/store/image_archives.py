"""Images written as .npz, with their ids, labels and splits: what `embed` reads as arrays."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

from relrep_cli.store.exports import npy_header, texts
from relrep_cli.store.writing import published

IMAGES, ENDING = "images", ".npz"


def write_images(
    target: str, blocks: Iterator[np.ndarray], shape: tuple[int, ...], columns: Mapping[str, np.ndarray], force: bool
) -> None:
    """Write blocks of images (b, h, w[, c]) in 0..1 as bytes, n of them in all; shape: (n, h, w[, c])."""
    with published(target, force, math.prod(shape)) as path, path.open("r+b") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            with archive.open(f"{IMAGES}.npy", "w", force_zip64=True) as entry:
                entry.write(npy_header(shape, np.dtype(np.uint8)))
                for block in blocks:
                    entry.write(np.rint(255 * np.clip(block, 0, 1)).astype(np.uint8).tobytes())
            for name, values in columns.items():
                plain = np.array(texts(values)) if values.dtype.kind == "S" else values
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    entry.write(npy_header(plain.shape, plain.dtype) + plain.tobytes())
        file.truncate()

"""CIFAR-10 and CIFAR-100 as their authors distribute them: the binary version and the Python version."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import printable
from relrep_cli.sources.fitting import Channels, Size, fitted
from relrep_cli.sources.items import Items, bad, merged, numbered, source, text_column
from relrep_cli.sources.pickles import read_pickle
from relrep_cli.store.files import opened, size_of

PIXELS, SIDE = 3072, 32
LARGEST = 1 << 29  # bytes of a file of the Python version; they have 31 and 155 MB
NAMES = re.compile(r"(?P<test>test)(_batch)?(?P<a>\.bin)?|(train|data_batch_[1-9])(?P<b>\.bin)?")
TEXTS = (("label", "batches.meta.txt"), ("label", "fine_label_names.txt"), ("coarse_label", "coarse_label_names.txt"))
KEYS = (("label", "label_names"), ("label", "fine_label_names"), ("coarse_label", "coarse_label_names"))


def _files(path: Path) -> list[Path]:
    """The batches that `path` names, training ones first; those of one version, if a folder has both."""
    names = sorted(os.listdir(path)) if path.is_dir() else [path.name]
    named = [match for name in names if (match := NAMES.fullmatch(name)) and (path / name if path.is_dir() else path).is_file()]
    binary = [match for match in named if match["a"] or match["b"]]
    chosen = sorted(binary or named, key=lambda match: (bool(match["test"]), match[0]))
    return [path / match[0] if path.is_dir() else path for match in chosen]


def _fits(path: Path) -> bool:
    """Every file is as long as some rows of the binary version, or begins as a pickle does."""
    files = _files(path)
    return bool(files) and all(
        file.stat().st_size % (PIXELS + 1) == 0 or file.stat().st_size % (PIXELS + 2) == 0
        if file.suffix == ".bin"
        else file.open("rb").read(1) == b"\x80"
        for file in files
    )


@source(kind="images", fits=_fits, has_columns=False, source="Krizhevsky 2009")
def cifar(path: Path, *, size: Size = 0, source_channels: Channels = "auto") -> Items:
    """CIFAR-10 or CIFAR-100, binary or Python version, a folder or one batch.

    Images (n, 32, 32, 3). Labels are names where a file of names lies beside the batches, else numbers; those of CIFAR-100
    are the fine ones, `coarse_label` holds the others. A pickle is parsed with our own table of opcodes and never executed.
    The formats: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    files = _files(path)
    if not files:
        raise bad(path, "no batches of CIFAR here", "It takes data_batch_1 to 5 and test_batch, or train and test.")
    parts = [_part(file) for file in files]
    return merged([replace(part, x=fitted(part.x, size, source_channels)) for part in parts])


def _part(path: Path) -> Items:
    """One batch."""
    rows, labels = _binary(path) if path.suffix == ".bin" else _python(path)
    split = "test" if path.name.startswith("test") else "train"
    names = _class_names(path.parent)
    obs = {column: _named(path, values, names.get(column)) for column, values in labels.items()}
    obs["split"] = np.full(len(rows), split.encode())
    stem = "train" if path.name.startswith("train") else "test" if split == "test" else path.stem
    return Items(rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), numbered(stem, len(rows)), "", obs)


def _binary(path: Path) -> tuple[NDArray[np.uint8], dict[str, NDArray[Any]]]:
    """Pixels (n, 3072) and labels: one byte before the pixels, or the coarse and the fine one."""
    with opened(path) as file:
        size = size_of(file)
    width = next((width for width in (PIXELS + 1, PIXELS + 2) if size % width == 0), 0)
    if not width:
        raise bad(path, f"{size} bytes are not a whole number of images of 3073 or 3074 bytes", "Fetch it again.")
    rows = np.memmap(path, np.uint8, "r", shape=(size // width, width))
    head = width - PIXELS
    labels = {"label": np.asarray(rows[:, head - 1])} | ({"coarse_label": np.asarray(rows[:, 0])} if head == 2 else {})
    return rows[:, head:], labels


def _python(path: Path) -> tuple[NDArray[np.uint8], dict[str, NDArray[Any]]]:
    """The same of a pickle: a dict of data (n, 3072) and labels, or fine_labels and coarse_labels."""
    batch = _pickled(path)
    data, columns = batch.get("data"), {}
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != PIXELS:
        raise bad(path, "its pickle holds no data of (n, 3072) bytes", "Fetch it again.")
    for column, keys in (("label", ("labels", "fine_labels")), ("coarse_label", ("coarse_labels",))):
        values = next((batch[key] for key in keys if key in batch), None)
        if values is None:
            continue
        if not isinstance(values, list) or len(values) != len(data) or not all(type(v) is int and 0 <= v < 256 for v in values):
            raise bad(path, f"its {column}s are not one small number for each of {len(data)} images", "Fetch it again.")
        columns[column] = np.array(values, np.uint8)
    return data, columns


def _pickled(path: Path) -> dict[str, Any]:
    """The dict in a pickle, its keys as text."""
    with opened(path) as file:
        if size_of(file) > LARGEST:
            raise bad(path, f"larger than such a file can be ({LARGEST} bytes)", "Use the binary version.")
        content = file.read()
    try:
        loaded = read_pickle(content)
    except (ValueError, UnicodeDecodeError) as error:
        raise bad(path, printable(str(error), 200), "Fetch it again, or use the binary version.") from None
    if not isinstance(loaded, dict):
        raise bad(path, "its pickle holds no dict", "Fetch it again.")
    return {key.decode("latin-1") if isinstance(key, bytes) else str(key): value for key, value in loaded.items()}


def _class_names(folder: Path) -> dict[str, list[bytes]]:
    """The names of the classes, where a file beside the batches says them."""
    names: dict[str, list[bytes]] = {}
    for column, text in TEXTS:
        if (folder / text).is_file():
            names[column] = (folder / text).read_bytes()[:65536].split()
    for meta in ("batches.meta", "meta"):
        if not names and (folder / meta).is_file():
            content = _pickled(folder / meta)
            for column, key in (
                ("label", "label_names"),
                ("label", "fine_label_names"),
                ("coarse_label", "coarse_label_names"),
            ):
                values = content.get(key)
                if isinstance(values, list) and all(isinstance(v, bytes | str) for v in values):
                    names[column] = [v.encode() if isinstance(v, str) else v for v in values]
    return names


def _named(path: Path, values: NDArray[Any], names: list[bytes] | None) -> NDArray[np.bytes_]:
    """Numbers as text, by name where there are names."""
    if names is None:
        return values.astype("S3")
    if int(values.max()) >= len(names):
        raise bad(path, f"it has class {int(values.max())}, but {len(names)} classes are named", "Fetch it again.")
    return text_column(names)[values]

"""Columns in a file of their own beside the vectors: what thingsvision and the TensorFlow projector write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

LARGEST = 64 << 20  # bytes of such a file


def ids_beside(path: Path) -> Path:
    """Where the ids of an exported .npy are: a.ids.txt beside a.npy."""
    return path.with_suffix(".ids.txt")


def columns_beside(path: Path, n: int) -> dict[str, Any]:
    """{"columns", "index"} of the ids, file names or metadata beside a file of n vectors; {} where none fits.

    A list of names is the ids where they are all different, else labels. A table has the names of its columns in its first row.
    """
    lists = ("file_names.txt",) if path.stem == "features" or path.suffix != ".npy" else ()
    tables = ("metadata.tsv", f"{path.stem}.metadata.tsv") if path.suffix != ".npy" or path.stem == "features" else ()
    for name, separator in ((ids_beside(path).name, None), *((n, None) for n in lists), *((n, "\t") for n in tables)):
        place = path.with_name(name)
        if place == path or not place.is_file() or place.stat().st_size > LARGEST:
            continue
        lines = place.read_bytes().decode("utf-8", "replace").removesuffix("\n").split("\n")
        rows = [line.rstrip("\r").split(separator) if separator else [line.rstrip("\r")] for line in lines]
        if len(rows) == n and all(len(row) == 1 for row in rows):
            values = [row[0] for row in rows]
            return _list_of_names(np.array(values), len(set(values)) == n and all(values))
        if separator and len(rows) == n + 1 and all(len(row) == len(rows[0]) > 1 for row in rows):
            return {"columns": {name: np.array([row[i] for row in rows[1:]]) for i, name in enumerate(rows[0])}}
    return {}


def _list_of_names(names: np.ndarray, distinct: bool) -> dict[str, Any]:
    return {"columns": {"id": names}, "index": "id"} if distinct else {"columns": {"label": names}}

"""MTEB's cache of embeddings: rows without a header, found by an index."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from relrep_cli import store
from relrep_cli.base.errors import DataError

X = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
PLACES = {"f00": 4, "f01": 0, "f02": 7}


def cache(folder: Path, index: object = PLACES, dimension: str = "3", vectors: bytes = X.tobytes()) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "vectors.npy").write_bytes(vectors)
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "dimension").write_text(dimension)
    return folder


def test_rows_by_the_hash_of_their_text(tmp_path: Path) -> None:
    e = store.read(str(cache(tmp_path / "c")))
    assert np.array_equal(e.x, X[[4, 0, 7]]) and e.ids.tolist() == [b"f00", b"f01", b"f02"]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"index": {"a": 10}}, "lists rows that vectors.npy lacks"),
        ({"index": {"a": 1, "b": 1}}, "or lists one twice"),
        ({"index": {"a": -1}}, "not an index of rows"),
        ({"index": {}}, "not an index of rows"),
        ({"index": [1]}, "not an index of rows"),
        ({"dimension": "3.5"}, "no number of dimensions"),
        ({"dimension": "7"}, "are not whole rows of 7 float32"),
        ({"vectors": b""}, "this is an empty file"),
    ],
)
def test_damaged_caches(tmp_path: Path, change: dict, finding: str) -> None:
    with pytest.raises(DataError, match=finding):
        store.read(str(cache(tmp_path / "c", **change)))

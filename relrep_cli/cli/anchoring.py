"""What project, compare and stitch share: the options that say how to project, read into a Recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from relrep_cli import store
from relrep_cli.cli.options import Given
from relrep_cli.embedding import Embedding, duplicates, text
from relrep_cli.errors import DataError, UsageError, printable
from relrep_cli.projection import Recipe
from relrep_cli.similarities import SIMILARITIES

TEXT_LIMIT = 64 << 20  # bytes of a list of ids


def read_recipe(anchors: str, similarity: str, center: bool, vectors: list[str] | None, given: Given) -> Recipe:
    """The recipe that the options describe."""
    if not anchors:
        raise UsageError("--anchors FILE is missing; make one with relrep anchor.")
    params = given.choose(SIMILARITIES, [similarity])[similarity]
    ids, spare = read_anchors(anchors)
    spares = ([spare] if spare else []) + [store.read(v) for v in vectors or []]
    return Recipe(ids, similarity, params, center, tuple(spares))


def read_anchors(uri: str) -> tuple[np.ndarray, Embedding | None]:
    """Anchor ids in order, from an embedding file (given back too, for its vectors) or from text with one id a line."""
    if _is_text(uri):
        return _read_ids(uri), None
    e = store.read(uri)
    if e.row_ids:
        raise DataError(f"{uri}: has no ids, so it cannot name anchors; make an anchor file with relrep anchor.")
    return e.ids, e


def _is_text(uri: str) -> bool:
    if "::" in uri or uri == "-":
        return False
    path = Path(uri)
    return path.suffix.lower() in {".txt", ".ids", ".list"} or (path.is_file() and _looks_like_text(path))


def _looks_like_text(path: Path) -> bool:
    if path.suffix.lower() in {".h5", ".hdf5", ".h5ad", ".npy", ".npz", ".csv", ".tsv", ".parquet", ".safetensors"}:
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return bool(head) and b"\0" not in head


def _read_ids(uri: str) -> np.ndarray:
    path = Path(uri)
    if not path.is_file():
        raise DataError(f"{uri}: no such file.")
    if path.stat().st_size > TEXT_LIMIT:
        raise DataError(f"{uri}: is {path.stat().st_size} bytes long; a list of ids may have {TEXT_LIMIT}.")
    try:
        lines = path.read_bytes().decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{uri}: is no UTF-8 text with one id a line.") from None
    ids = text([line.strip() for line in lines if line.strip()])
    if not len(ids):
        raise DataError(f"{uri}: holds no ids; write one a line.")
    twice = duplicates(ids)
    if twice:
        raise DataError(f"{uri}: {len(twice)} ids stand more than once, such as {printable(twice[0])}.")
    return ids

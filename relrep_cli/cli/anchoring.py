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
    if path.suffix.lower() in {".txt", ".ids", ".list"} or path.is_fifo():  # <(sort ids.txt) is a pipe
        return True
    return path.is_file() and _looks_like_text(path)


def _looks_like_text(path: Path) -> bool:
    if path.suffix.lower() in {".h5", ".hdf5", ".h5ad", ".npy", ".npz", ".csv", ".tsv", ".parquet", ".safetensors"}:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False  # the reader says why
    return bool(head) and b"\0" not in head


def read_lines(uri: str) -> list[str]:
    """The lines of a text file, spaces kept; only a line feed (or both of Windows) ends a line, for ids may hold all else."""
    try:
        with open(uri, "rb") as file:
            content = file.read(TEXT_LIMIT + 1)
        if len(content) > TEXT_LIMIT:
            raise DataError(f"{uri}: is longer than {TEXT_LIMIT} bytes, more than a list may have.")
        return content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise DataError(f"{uri}: is no UTF-8 text with one value a line.") from None
    except OSError as error:
        raise DataError(f"{uri}: {str(error.strerror).lower()}. Check the path.") from None


def _read_ids(uri: str) -> np.ndarray:
    ids = text([line for line in read_lines(uri) if line.strip()])
    if not len(ids):
        raise DataError(f"{uri}: holds no ids; write one a line.")
    twice = duplicates(ids)
    if twice:
        raise DataError(f"{uri}: {len(twice)} ids stand more than once, such as {printable(twice[0])}.")
    return ids

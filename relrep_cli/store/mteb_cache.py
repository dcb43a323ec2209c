"""MTEB's cache of embeddings: raw float32 rows in vectors.npy, which has no header, and index.json from hashes to rows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.numerics.blocks import pick
from relrep_cli.store.files import bad, opened, size_of
from relrep_cli.store.found import Found
from relrep_cli.store.limits import TEXT_WIDTH
from relrep_cli.store.maps import mapped
from relrep_cli.store.reading import Reading

VECTORS, INDEX, DIMENSION = "vectors.npy", "index.json", "dimension"
LARGEST = 256 << 20  # bytes of the index
AGAIN = "Let MTEB fill the cache again."


def is_mteb_cache(path: Path) -> bool:
    """Whether a folder is one that MTEB's CachedEmbeddingWrapper fills."""
    return all((path / name).is_file() for name in (VECTORS, INDEX, DIMENSION))


def read_mteb_cache(path: Path, member: str | None, reading: Reading) -> Found:
    """The rows (n, d) that the index names, in its order, with its keys as ids. Raises DataError."""
    if member is not None:
        raise bad(path, "a cache of MTEB has no members", f"Write {printable(str(path), 1000)}.", member)
    d = _dimension(path / DIMENSION)
    places = _index(path / INDEX)
    vectors = path / VECTORS
    with opened(vectors) as file:
        rows, rest = divmod(size_of(file), 4 * d)
        if rest or not rows:
            raise bad(vectors, f"its {size_of(file)} bytes are not whole rows of {d} float32", AGAIN)
        stored = mapped(vectors, file, np.dtype("<f4"), 0, (rows, d))
    at = np.array(list(places.values()), np.int64)
    if at.max() >= rows or len(np.unique(at)) != len(at):
        raise bad(path / INDEX, f"it lists rows that {VECTORS} lacks, or lists one twice; {VECTORS} has {rows} rows", AGAIN)
    ids = np.array([key.encode("utf-8", "backslashreplace") for key in places])
    return Found(pick(stored, at), columns={"hash": ids}, index="hash", stored="float32")


def _dimension(path: Path) -> int:
    with opened(path) as file:
        content = os.pread(file.fileno(), 32, 0).strip()
    if not content.isdigit() or not 0 < int(content) <= 1 << 16:
        raise bad(path, f"it holds {printable(content, 40)!r}, no number of dimensions", AGAIN)
    return int(content)


def _index(path: Path) -> dict[str, int]:
    with opened(path) as file:
        if size_of(file) > LARGEST:
            raise bad(path, f"longer than {LARGEST >> 20} MiB", "Split the cache.")
        content = file.read()
    try:
        index = json.loads(content)
    except (ValueError, RecursionError):
        index = None
    whole = isinstance(index, dict) and index and all(type(v) is int and 0 <= v < 1 << 48 for v in index.values())
    if not whole or max(map(len, index)) > TEXT_WIDTH:
        raise bad(path, "it is not an index of rows by the hash of their text", AGAIN)
    return dict(index)

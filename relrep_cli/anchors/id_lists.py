"""Read anchors: from an anchor file, a list of ids, or a file of pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from relrep_cli import store
from relrep_cli.anchors.correspondences import Pairs, looks_like_pairs, read_pairs
from relrep_cli.anchors.mixtures import Mixtures, mixtures_of
from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.uris import is_stdin, split_uri
from relrep_cli.embedding import Embedding, duplicates, text
from relrep_cli.store.files import HDF5_ENDINGS, refuse_pipe
from relrep_cli.store.lines import read_lines, stdin_is_hdf5
from relrep_cli.store.normalizing import normalized
from relrep_cli.store.reading import PLAIN, Reading, reading_of

TABLES = {".tsv", ".csv"}
MANY = 2000  # rows of a file that may be anchors though nobody chose them


def read_anchors(uri: str, reading: Reading = PLAIN) -> tuple[np.ndarray, Embedding | None, Mixtures | Pairs | None]:
    """Read anchors from an embedding file, a text file with one id a line, or a pairs file (`pairs.tsv`, `pairs.tsv::a`).

    reading: of the files that the anchors are for; its changes of ids hold for the anchors, too.

    Returns the (m,) anchor ids in order; the embedding that holds their vectors, or None; and the mixtures or pairs that the
    ids name, or None where each id is that of an item. Raises DataError.
    """
    path, _, side = split_uri(uri)
    reading = reading_of(uri, reading.beside)
    changed = partial(normalized, names=reading.normalize_ids or "")
    is_text = _is_text(path)
    lines = read_lines(path) if is_text or looks_like_pairs(_first_line(path)) else [""]
    if looks_like_pairs(lines[0]):
        pairs = read_pairs(path, lines, side, changed)
        return pairs.names, None, pairs
    if is_text and not side:
        return _ids(path, lines, changed), None, None
    embedding = store.read(uri, reading)
    if embedding.row_ids:
        raise DataError("has no ids, so it cannot name anchors", "Make an anchor file with relrep anchor.", file=uri)
    mixtures = mixtures_of(embedding)
    return embedding.ids, embedding, mixtures and replace(mixtures, items=changed(mixtures.items))


def refuse_whole_collections(anchors: Embedding | None) -> None:
    """Raise DataError for a file of many rows that `relrep anchor` did not choose: it is more likely the whole collection."""
    if anchors is None or anchors.n <= MANY or any(step.get("command") == "anchor" for step in anchors.steps):
        return
    raise DataError(
        f"holds {anchors.n} rows, which relrep anchor did not choose",
        "Choose anchors with relrep anchor, or write --all-as-anchors to use every row.",
        file=anchors.uri,
    )


def _first_line(path: str) -> str:
    """The first line of a table, "" for another file."""
    if Path(path).suffix.lower() not in TABLES:
        return ""
    refuse_pipe(path)
    try:
        with open(path, "rb") as file:
            return file.readline(4096).decode("utf-8-sig", "replace")
    except OSError:
        return ""  # the reader says why


def _is_text(uri: str) -> bool:
    if is_stdin(uri):
        return not stdin_is_hdf5()
    path = Path(uri)
    if path.suffix.lower() in {".txt", ".ids", ".list"} or path.is_fifo():  # <(sort ids.txt) is a pipe
        return True
    return path.is_file() and _looks_like_text(path)


def _looks_like_text(path: Path) -> bool:
    from relrep_cli.store.foreign import READERS  # which imports all readers

    if path.suffix.lower() in (*READERS, *HDF5_ENDINGS):
        return False
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False  # the reader says why
    return bool(head) and b"\0" not in head


def _ids(uri: str, lines: list[str], changed: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    ids = changed(text([line for line in lines if line.strip()]))
    if not len(ids):
        raise DataError("holds no ids", "Write ids, one a line.", file=uri)
    twice = duplicates(ids)
    if twice:
        raise DataError(
            f"{len(twice)} ids occur more than once, such as {printable(twice[0])}", "Keep one line for each id.", file=uri
        )
    return ids

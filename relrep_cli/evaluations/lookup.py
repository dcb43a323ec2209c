"""The nearest or farthest items of a few others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, say
from relrep_cli.embedding import Embedding, find_ids, text
from relrep_cli.evaluations.asked_queries import note_other_space, refuse_other_dims
from relrep_cli.evaluations.findings import distances
from relrep_cli.neighbors import By, nearest
from relrep_cli.numerics.blocks import pick, row_blocks, take
from relrep_cli.numerics.workspace import Workspace
from relrep_cli.plots.strips import Strip
from relrep_cli.sources import Items

COLUMNS = ("query", "query_label", "rank", "id", "label", "distance")


@dataclass(frozen=True, eq=False)
class Looked:
    """rows, distances: (q, k) row numbers of the items found, best first, and how far each is from its query."""

    rows: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True, eq=False)
class Queries:
    """ids, labels: (q,) of the queries; labels is None where they have none."""

    ids: np.ndarray
    labels: np.ndarray | None = None


def look_up(
    e: Embedding, queries: np.ndarray, among: np.ndarray, k: int, by: By, farthest: bool, device: str = "cpu"
) -> Looked:
    """The k items nearest to, or farthest from, each query (q,), by (distance, row number); never the query itself.

    queries, among: row numbers of e. device: where the search for the nearest computes; see devices.chosen.

    Raises UsageError when there are too few items for k.
    """
    room = len(among) - int(np.isin(queries, among).any())
    if not room:
        raise UsageError("the only item that is searched is the query itself", "Search more rows with --split all.", file=e.uri)
    if k > room:
        raise UsageError(f"-k is {k}, but only {room} other items are searched", f"Write -k {room} or less.")
    x = take(e.x, queries)
    rows = _without(_best_rows(x, e, among, min(k + 1, len(among)), by, farthest, device), queries, k)
    return Looked(rows, distances(x, e.x, rows, by))


def look_up_vectors(
    e: Embedding, queries: Embedding, among: np.ndarray, k: int, by: By, farthest: bool, device: str = "cpu"
) -> Looked:
    """The k items nearest to, or farthest from, each row of another embedding, in the order of its rows. An item with the id of
    a query is an item like any other.

    Raises DataError for queries of other dims, UsageError when there are too few items for k.
    """
    refuse_other_dims(queries, e)
    if k > len(among):
        raise UsageError(f"-k is {k}, but only {len(among)} items are searched", f"Write -k {len(among)} or less.")
    note_other_space(queries, e)
    rows = _best_rows(queries.x, e, among, k, by, farthest, device)
    return Looked(rows, distances(queries.x, e.x, rows, by))


def _best_rows(x: np.ndarray, e: Embedding, among: np.ndarray, k: int, by: By, farthest: bool, device: str) -> np.ndarray:
    """(q, k) the rows `among` e that are nearest to, or farthest from, each of x (q, d)."""
    base, on = take(e.x, among), Workspace(shares=False, device=device)
    return among[_farthest(x, base, k, by) if farthest else nearest(x, base, k, by=by, workspace=on).rows]


def _without(rows: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The first k places of rows (q, k + 1), the query itself left out."""
    kept = np.argsort(rows == queries[:, None], axis=1, kind="stable")
    return np.take_along_axis(rows, kept, 1)[:, :k]


def _farthest(x: np.ndarray, base: np.ndarray, k: int, by: By) -> np.ndarray:
    """(q, k) the rows of base farthest from each of x (q, d); by cosine, those nearest to -x."""
    if by == "cosine":
        return nearest(-np.asarray(x, np.float64), base, k, by=by).rows
    rows, far = np.empty((len(x), 0), np.int64), np.empty((len(x), 0))
    for block in row_blocks(len(base), len(x) * x.shape[1]):
        new = np.broadcast_to(np.arange(block.start, block.stop), (len(x), block.stop - block.start))
        rows = np.concatenate([rows, new], 1)
        far = np.concatenate([far, distances(x, base, new, by)], 1)
        best = np.argsort(-far, axis=1, kind="stable")[:, :k]  # rows are in order, so that equal ones stay so
        rows, far = np.take_along_axis(rows, best, 1), np.take_along_axis(far, best, 1)
    return rows


def rows_of_split(embedding: Embedding, split: str | None) -> np.ndarray:
    """(m,) row numbers of the split; of all rows for None or "all". Raises DataError when the split has no rows."""
    rows = np.arange(embedding.n) if split in (None, "all") else embedding.rows_of_split(str(split))
    if rows is None or not len(rows):
        names = [printable(name) for name in np.unique(embedding.obs["split"]).tolist()] if "split" in embedding.obs else []
        finding = f"no rows of split {printable(str(split))!r}; found: {', '.join(names) or 'no split column'}"
        raise DataError(finding, "Choose one of these with --split, or all.", file=embedding.uri)
    return rows


def rows_of_ids(embedding: Embedding, ids: Sequence[str], separated: Callable[[list[str]], list[str]]) -> np.ndarray:
    """(q,) row numbers of the ids. A text that is no id itself is cut into ids by `separated`.

    Raises UsageError for a text without any id, DataError for an id that the file does not hold.
    """
    parts = [[one] if find_ids(embedding.ids, text([one]))[0] >= 0 else separated([one]) for one in ids]
    if not all(parts):
        raise UsageError(f"--query {printable(ids[parts.index([])])!r} names no item", "Write --query ID.")
    words = list(itertools.chain(*parts))
    rows = find_ids(embedding.ids, text(words))
    if (rows < 0).any():
        missing = [word for word, row in zip(words, rows, strict=True) if row < 0]
        finding = f"no item {printable(missing[0])!r} ({len(missing)} of {len(words)})"
        remedy = f"Check the ids; they look like {printable(bytes(embedding.ids[0]))}."
        raise DataError(finding, remedy, file=embedding.uri)
    return rows


def sampled(embedding: Embedding, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` of the rows at random, in order; all of them, with a note, where there are fewer."""
    if count > len(rows):
        say(f"{embedding.uri}: all {len(rows)} items are taken, which are fewer than --sample {count}.")
    return rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]


def records_of(queries: Queries, embedding: Embedding, result: Looked, labels: np.ndarray | None) -> list[Record]:
    """One record with COLUMNS for each query and each item of the embedding that was found for it. labels: (n,) of items."""

    def label(values: np.ndarray | None, row: int) -> str | None:
        return None if values is None else _shown(values[row])

    records = []
    for query, (rows, far) in enumerate(zip(result.rows.tolist(), result.distances.tolist(), strict=True)):
        own = _shown(queries.ids[query]), label(queries.labels, query)
        for rank, (row, distance) in enumerate(zip(rows, far, strict=True), 1):
            values = (*own, rank, _shown(embedding.ids[row]), label(labels, row), distance)
            records.append(dict(zip(COLUMNS, values, strict=True)))
    return records


def pictures_of(items: Items, embedding: Embedding, rows: np.ndarray, source: str) -> list[list[np.ndarray]]:
    """The pictures (h, w) or (h, w, 3) of the rows (lines, columns) of an embedding, looked up by id.

    source: the URI of the items, for the message. Raises DataError when they lack one of the rows.
    """
    places = find_ids(items.ids, embedding.ids[rows.ravel()])
    if (places < 0).any():
        missing = printable(bytes(embedding.ids[rows.ravel()][np.argmax(places < 0)]))
        finding = f"holds no item {missing}, which {embedding.uri} has"
        raise DataError(finding, "Name the source that it was embedded from.", file=source)
    return [list(line) for line in pick(items.x, places.reshape(rows.shape))]


def strips_of(
    embedding: Embedding, rows: np.ndarray, result: Looked, labels: np.ndarray | None, pictures: list[list[np.ndarray]]
) -> list[Strip]:
    """What to draw for each line of rows, the query first: its pictures, labels or else ids, and distances."""
    names = embedding.ids if labels is None else labels
    return [
        Strip(line, [_shown(names[row]) for row in own], distances[: len(own) - 1])
        for own, distances, line in zip(rows.tolist(), result.distances.tolist(), pictures, strict=False)
    ]


def _shown(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)

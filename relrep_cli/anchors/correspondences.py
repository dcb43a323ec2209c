"""Pairs files: corresponding items of two spaces, used as anchors when the spaces have no common ids."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from relrep_cli.anchors.vectors import anchor_vectors
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding, digested_space, duplicates, find_ids, text

Side = Literal["", "a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")
COLUMNS = ("a", "b", "score", "space_a", "space_b")
NAME_LIMIT = 2048  # bytes of a pair's name; a longer name is replaced by its digest


@dataclass(frozen=True, eq=False)
class Pairs:
    """p anchors, each an item `a` of one space and the corresponding item `b` of another.

    a, b: (p,) ids, unique within each. score: (p,) similarity of each pair, None when unknown. spaces: the names of the two
    spaces, "" when unknown. side: the column that applies to every file, "" to decide for each file. uri: the pairs file.
    """

    a: np.ndarray
    b: np.ndarray
    score: np.ndarray | None = None
    spaces: tuple[str, str] = ("", "")
    side: Side = ""
    uri: str = "pairs"

    @property
    def names(self) -> np.ndarray:
        """The ids (p,) of the anchors, the same in both spaces: the item's id when both items share it, else both ids."""
        return text([_name(x, y) for x, y in zip(self.a.tolist(), self.b.tolist(), strict=True)])

    @property
    def one_name(self) -> bool:
        """Whether equal ids mean the same item in both spaces: true when most pairs have equal ids."""
        return bool((self.a == self.b).mean() > 0.5)

    def content(self) -> bytes:
        return b""  # the anchor names already identify the pairs

    def ids(self, e: Embedding, wanted: np.ndarray, anchor_sources: Sequence[Embedding] = ()) -> np.ndarray:
        """The ids of the items of the pairs named `wanted`, in the space of `e`.

        wanted: (k,) names of pairs. Returns (k,) ids.
        """
        return self._column(self.side_of(e, anchor_sources))[find_ids(self.names, wanted)]

    def vectors(self, e: Embedding, wanted: np.ndarray, anchor_sources: Sequence[Embedding] = ()) -> np.ndarray:
        """The vectors (len(wanted), d) of these items in the space of `e`; see `anchor_vectors`."""
        return anchor_vectors(e, self.ids(e, wanted, anchor_sources), anchor_sources)

    def side_of(self, e: Embedding, anchor_sources: Sequence[Embedding] = ()) -> Side:
        """Find the column that holds the items of `e`.

        It is the side that the user named, else the column made for the space of `e`, else the column whose ids `e` holds.

        Raises DataError when `e` holds the ids of both columns or of neither.
        """
        if self.side:
            return self.side
        space = e.space or digested_space(e)
        of_space = [side for side, name in zip(SIDES, self.spaces, strict=True) if name and name == space]
        if len(of_space) == 1:
            return of_space[0]
        lacking = {side: self._lacking(side, e, anchor_sources) for side in SIDES}
        whole = [side for side in SIDES if not lacking[side]]
        if len(whole) == 1 or (whole and np.array_equal(self.a, self.b)):
            return whole[0]
        if whole:
            raise DataError(
                f"has the ids of both columns of {self.uri}, and neither is of its space ({printable(space)})",
                f"Write {self.uri}::a or {self.uri}::b.",
                file=e.uri,
            )
        raise DataError(
            f"{lacking['a']} ids of column a of {self.uri} are not among its items, nor are {lacking['b']} of column b",
            "Name a file of one of the two spaces that the pairs were made for.",
            file=e.uri,
        )

    def _column(self, side: Side) -> np.ndarray:
        return self.a if side == "a" else self.b

    def _lacking(self, side: Side, e: Embedding, anchor_sources: Sequence[Embedding]) -> int:
        missing = np.ones(len(self.a), bool)
        for source in (e, *(s for s in anchor_sources if s.space and s.space == e.space)):
            missing &= find_ids(source.ids, self._column(side)) < 0
        return int(missing.sum())

    def to_text(self) -> str:
        """Return the text of a pairs file: TSV with the columns a, b, score, space_a, space_b."""
        out = io.StringIO()
        writer = csv.writer(out, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        scores = np.full(len(self.a), 1.0) if self.score is None else self.score
        for x, y, score in zip(self.a.tolist(), self.b.tolist(), scores.tolist(), strict=True):
            writer.writerow([x.decode(), y.decode(), f"{score:.6f}", *self.spaces])
        return out.getvalue()


def _name(x: bytes, y: bytes) -> bytes:
    if x == y:
        return x
    name = x + b"=" + y
    return name if len(name) <= NAME_LIMIT else b"pair:" + hashlib.sha256(name).hexdigest().encode()


def looks_like_pairs(line: str) -> bool:
    """Whether a line is the header of a pairs file: its first two columns are a and b."""
    return line.replace(",", "\t").rstrip("\r\n").split("\t")[:2] == ["a", "b"]


def read_pairs(
    uri: str, lines: Iterable[str], side: str = "", changed: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> Pairs:
    """Parse a pairs file, given as lines.

    side: "a" or "b" when that column applies to every file. changed: what is done to the ids of a column.

    Raises DataError when the header lacks these columns, a line has too few cells, or an item occurs twice in a column.
    """
    if side not in ("", "a", "b"):
        raise UsageError("a pairs file has no such side", f"Write {uri}::a or {uri}::b.", file=f"{uri}::{printable(side)}")
    rows = [row for row in _cells(uri, lines) if row]
    if not rows or rows[0][:2] != ["a", "b"]:
        raise DataError("not a pairs file", "Its first line must name the columns a and b, with a tab between them.", file=uri)
    header, body = rows[0], rows[1:]
    short = next((place for place, row in enumerate(body, 2) if len(row) != len(header) or not row[0] or not row[1]), None)
    if short is not None or not body:
        finding = f"line {short} does not hold {len(header)} cells with two ids" if short else "holds no pairs"
        raise DataError(finding, "Write one pair a line: two ids with a tab between them.", file=uri)
    a, b = (changed(text([row[place] for row in body])) for place in (0, 1))
    for name, ids in (("a", a), ("b", b)):
        if twice := duplicates(ids):
            raise DataError(
                f"{printable(twice[0])} occurs more than once in column {name}", "Keep one pair for each item.", file=uri
            )
    known = {name: {row[header.index(name)] for row in body} for name in ("space_a", "space_b") if name in header}
    spaces = tuple(values.pop() if len(values := known.get(name, set())) == 1 else "" for name in ("space_a", "space_b"))
    pairs = Pairs(a, b, None, (spaces[0], spaces[1]), uri=uri)
    return replace(pairs, side=side)  # type: ignore[arg-type]


def _cells(uri: str, lines: Iterable[str]) -> list[list[str]]:
    rows = list(lines)
    try:
        return list(csv.reader((row + "\n" for row in rows), delimiter="\t" if rows and "\t" in rows[0] else ",", strict=True))
    except csv.Error as error:
        raise DataError(
            f"cannot be read as pairs ({printable(str(error))})", "Write it again, with tabs between the columns.", file=uri
        ) from None

"""What all sources share: the registry, the items they give, and the names of things."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import detail, say
from relrep_cli.base.registry import Entry, Param, Registry
from relrep_cli.numerics.blocks import slices
from relrep_cli.numerics.spool import spool

if TYPE_CHECKING:
    from relrep_cli.sources.positives import Pairs

BLOCK = 1024  # rows that are handled at once
PARTS = (("train", "train"), ("t10k", "test"), ("test", "test"), ("trec_10", "test"), ("val", "valid"), ("dev", "valid"))
SkipBad = Annotated[bool, Param("Leave out items that cannot be read, and say how many.")]


@dataclass(frozen=True)
class Items:
    """What an encoder encodes, one item a row.

    x: images (n, h, w) or (n, h, w, 3) uint8, vectors (n, d) of floats, the features of a graph's nodes (n, d), or Texts
    (n,); what is large lies in a file and is mapped. ids: (n,) UTF-8 in an "S" array, unique. digest: "sha256:…" of x and,
    for a graph, its edges. obs: columns, text as "S". edges: (e, 2) row numbers, each pair once.
    pairs: positives of each item, for encoders that learn from pairs.
    """

    x: Any
    ids: NDArray[np.bytes_]
    digest: str
    obs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    edges: NDArray[np.int64] | None = None
    pairs: Pairs | None = None

    @property
    def kind(self) -> str:
        """images, vectors, texts or graph."""
        if self.edges is not None:
            return "graph"
        return {1: "texts", 2: "vectors"}.get(len(self.x.shape), "images")

    @property
    def label(self) -> NDArray[Any] | None:
        return self.obs.get("label")

    @property
    def split(self) -> NDArray[Any] | None:
        return self.obs.get("split")

    def part(self, rows: slice) -> Items:
        """Consecutive items, to be encoded. The digest stays that of all items."""
        x = self.x.part(rows) if self.kind == "texts" else self.x[rows]
        return replace(self, x=x, ids=self.ids[rows], obs={name: column[rows] for name, column in self.obs.items()}, pairs=None)

    def rows_of(self, split: str) -> NDArray[np.intp]:
        """Row numbers of that split; none when the items have no splits."""
        return np.empty(0, np.intp) if self.split is None else np.flatnonzero(self.split == split.encode())


Reading = Callable[Concatenate[Path, ...], Items]  # file or folder, keywords -> items
AnyReading = TypeVar("AnyReading", bound=Reading)


@dataclass(frozen=True, kw_only=True, eq=False)
class Source(Entry[Reading]):
    """A kind of source with its traits.

    kind: what it gives. fits: whether a file or folder looks like it; the first that fits is taken. has_columns: whether it
    finds ids and splits by the reading rule, and so takes what the user says of them as the keyword `reading`.
    """

    kind: Literal["images", "texts", "vectors", "graph"]
    fits: Callable[[Path], bool]
    has_columns: bool
    source: str

    def __call__(self, function: AnyReading) -> AnyReading:
        """Register the function."""
        SOURCES.add(self.of(function))
        return function


SOURCES = Registry("source", Source)
source = Source


def part_of(name: str) -> str:
    """The split that a file or folder is named after, "" when after none.

    >>> part_of("t10k-images-idx3-ubyte"), part_of("val.csv"), part_of("vases")
    ('test', 'valid', '')
    """
    split_named = next((split for head, split in PARTS if re.match(rf"{head}(?![a-z])", name.lower())), "")
    return split_named or ("valid" if re.match(r"(valid|validation)(?![a-z])", name.lower()) else "")


def numbered(stem: str, n: int) -> NDArray[np.bytes_]:
    """`stem-00000` and on, with as many digits as make them sort."""
    width = max(5, len(str(n - 1)))
    prefix = stem.encode("utf-8", "backslashreplace")
    return np.char.add(prefix + b"-", np.char.zfill(np.arange(n).astype("S"), width))


def digest_of(*arrays: NDArray[Any]) -> str:
    """sha256 over each array's "n,h,w" and its bytes, so that a reshaped copy is another collection."""
    digest = hashlib.sha256()
    for x in arrays:
        digest.update(f"{','.join(map(str, x.shape))}\n".encode())
        for rows in slices(len(x), BLOCK, x):
            digest.update(np.ascontiguousarray(x[rows]).data)
    return f"sha256:{digest.hexdigest()}"


def joined(x: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The rows of several arrays one after the other, on disk when they are many."""
    if len(x) == 1:
        return x[0]
    out, at = spool((sum(map(len, x)), *x[0].shape[1:]), x[0].dtype), 0
    for part in x:
        for rows in slices(len(part), BLOCK, part, out):
            out[at + rows.start : at + rows.stop] = part[rows]
        at += len(part)
    return out


def merged(parts: Sequence[Items]) -> Items:
    """One collection of several arrays of items. A column that only some of them have is empty text in the others."""
    x = joined([part.x for part in parts])
    names = dict.fromkeys(name for part in parts for name in part.obs)
    obs = {name: np.concatenate([p.obs.get(name, np.full(len(p.x), b"")) for p in parts]) for name in names}
    return Items(x, np.concatenate([part.ids for part in parts]), digest_of(x), obs)


def bad(path: Path | str, finding: str, to_do: str) -> DataError:
    return DataError(finding, to_do, file=printable(str(path), 1000))


class Skipped:
    """Items that cannot be read: the first one is an error, or with `allowed` all are counted."""

    def __init__(self, path: Path, allowed: bool) -> None:
        self.path, self.allowed, self.count, self.first = path, allowed, 0, ""

    def note(self, where: str, why: str) -> None:
        """Raise DataError for the item at `where`, unless such are skipped."""
        if not self.allowed:
            raise bad(where, why, "Mend or remove it, or leave such items out with --skip-bad.")
        detail(f"left out: {where}: {why}")
        self.first = self.first or f"{where}: {why}"
        self.count += 1

    def tell(self, left: int) -> None:
        """Say how many were skipped. Raises DataError when no item is `left`."""
        if not left:
            why = f"; the first: {printable(self.first, 300)}" if self.first else ""
            raise bad(self.path, f"no item in it can be read{why}", "Give a source that holds some.")
        if self.count:
            items = "one item" if self.count == 1 else f"{self.count} items"
            say(f"{self.path}: {items} left out; the first: {printable(self.first, 300)}.")


def text_column(values: Iterable[bytes]) -> NDArray[np.bytes_]:
    """An "S" array of UTF-8."""
    values = list(values)
    return np.array(values, f"S{max([1, *map(len, values)])}")

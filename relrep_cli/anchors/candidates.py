"""The candidate items for anchors, and the registry of strategies that choose among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Any, Concatenate, Literal, TypeVar, cast

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Registry
from relrep_cli.embedding import Embedding
from relrep_cli.numerics.blocks import pick, row_blocks, take
from relrep_cli.numerics.devices import NUMPY
from relrep_cli.numerics.distances import unit
from relrep_cli.numerics.whitening import deviations, moments

if TYPE_CHECKING:
    from relrep_cli.anchors.mixtures import Mixtures
    from relrep_cli.anchors.paired import Matching
    from relrep_cli.anchors.row_ranges import Ranges

PEAK = 2.0**40  # sums of squares fit float32 for numbers between 1 / PEAK and PEAK


@dataclass(frozen=True, eq=False)
class Candidates:
    """n items that may become anchors.

    spaces: the embeddings that hold them; several have equal weight. rows: for each space, (n,) parallel row numbers. listed:
    ids that the user named, for strategies that read a list. ranges: passes over the candidates by several processes; None for
    passes in this one. device: where large products are computed; see devices.chosen.
    """

    spaces: tuple[Embedding, ...]
    rows: tuple[np.ndarray, ...]
    listed: np.ndarray | None = None
    ranges: Ranges | None = None
    device: str = NUMPY

    def __len__(self) -> int:
        return len(self.rows[0])

    @property
    def ids(self) -> np.ndarray:
        return self.spaces[0].ids[self.rows[0]]

    def column(self, name: str) -> np.ndarray:
        """Return the column (n,) of the first file. Raises DataError when the file has no such column."""
        return self.spaces[0].column(name)[self.rows[0]]

    def at(self, places: np.ndarray) -> Candidates:
        """Return the candidates at these places, in this order.

        places: (k,) numbers from 0.
        """
        return replace(self, rows=tuple(rows[places] for rows in self.rows))

    def vectors(self, by: str = "euclidean") -> np.ndarray:
        """Return vectors (n, D), float32 or float64, to compare candidates by Euclidean distance.

        by: "cosine" scales the vectors to length 1. The vectors of several spaces are concatenated: each axis is standardised
        over the candidates, and each space has equal weight whatever its dims. The result is the stored array itself when it
        can be used unchanged; otherwise a copy, in a temporary file when large.
        """
        return self.vectors_between(self.frame(by), 0, len(self))

    def vectors_between(self, frame: Frame | None, start: int, stop: int) -> np.ndarray:
        """Return the `vectors` of the candidates from start to stop. frame: that of all candidates."""
        if frame is None:
            x, rows = self.spaces[0].x, self.rows[0]
            return x[start:stop] if _is_all(rows, x) else take(x, rows[start:stop])
        from relrep_cli.numerics.spool import spool

        out = spool((stop - start, sum(e.d for e in self.spaces)), frame.dtype)
        for block in row_blocks(*out.shape, out):
            out[block] = self.vectors_in(frame, slice(start + block.start, start + block.stop))
        return out

    def frame(self, by: str = "euclidean") -> Frame | None:
        """How `vectors` follow from what is stored; None where they are the stored rows themselves."""
        dtype = np.result_type(*(e.x.dtype for e in self.spaces))
        kept: type = np.float64 if dtype.itemsize == 8 else np.float32
        if len(self.spaces) > 1:
            known = []
            for e, rows in zip(self.spaces, self.rows, strict=True):
                mean, variances, power = moments(pick(e.x, rows[b]) for b in row_blocks(len(rows), e.d))
                known.append((mean, deviations(variances, power)))
            return Frame(by, kept, 1.0, (*known,))
        x, rows = self.spaces[0].x, self.rows[0]
        peak = max(float(np.abs(pick(x, rows[b])).max()) for b in row_blocks(len(rows), x.shape[1]))
        plain = dtype in (np.float32, np.float64) and (x.flags.c_contiguous or not _is_all(rows, x))
        plain = plain and (1 / PEAK < peak < PEAK or not peak)
        if plain and by != "cosine":
            return None
        return Frame(by, kept, 2.0 ** min(-int(np.frexp(peak)[1]), 1023))

    def vectors_in(self, frame: Frame | None, places: slice | np.ndarray) -> np.ndarray:
        """Return the `vectors` of the candidates at some places, in memory. frame: that of all candidates."""
        picked = [pick(e.x, rows[places]) for e, rows in zip(self.spaces, self.rows, strict=True)]
        if frame is None:
            return np.ascontiguousarray(picked[0])
        if not frame.moments:
            columns = [_scaled(np.asarray(picked[0], np.float64) * frame.scale, frame.by)]
        else:
            standard = [(np.asarray(x, np.float64) - mean) / dev for x, (mean, dev) in zip(picked, frame.moments, strict=True)]
            columns = [_scaled(x, frame.by) if frame.by == "cosine" else x / sqrt(x.shape[1]) for x in standard]
        return np.concatenate(columns, 1).astype(frame.dtype, copy=False)


@dataclass(frozen=True, eq=False)
class Frame:
    """How vectors that are compared follow from those of files, the same way in every process.

    by: see Candidates.vectors. scale: a factor. moments: of several spaces, the mean and the deviation of each axis.
    """

    by: str
    dtype: type
    scale: float
    moments: tuple[tuple[np.ndarray, np.ndarray], ...] = ()


def _is_all(rows: np.ndarray, x: np.ndarray) -> bool:
    """Whether these rows are all of x in order, which needs no copy."""
    return len(rows) == len(x) and np.array_equal(rows, np.arange(len(x)))


def _scaled(x: np.ndarray, by: str) -> np.ndarray:
    return unit(x) if by == "cosine" else x


# candidates, m, rng, keywords -> (m,) places among the candidates, or mixtures of them
Choice = Callable[Concatenate[Candidates, int, np.random.Generator, ...], "np.ndarray | Mixtures"]
# candidates of each of two files, m, rng, keywords -> pairs of them
Pairing = Callable[Concatenate[Candidates, Candidates, int, np.random.Generator, ...], "Matching"]
AnyChoice = TypeVar("AnyChoice", bound=Choice | Pairing)


@dataclass(frozen=True, kw_only=True, eq=False)
class Strategy(Entry[Choice | Pairing]):
    """A strategy with its traits.

    gives: items (row numbers), mixtures (of items) or pairs (of items of two files). reads: what it needs beside vectors.
    """

    gives: Literal["items", "mixtures", "pairs"]
    reads: Literal["", "labels", "counts", "list", "collections", "seeds"]
    source: str

    def __call__(self, function: AnyChoice) -> AnyChoice:
        """Register the function."""
        STRATEGIES.add(self.of(function))
        return function


STRATEGIES = Registry("strategy", Strategy)
strategy = Strategy


def choose(c: Candidates, name: str, m: int, rng: np.random.Generator, params: dict[str, Any]) -> Any:
    """Choose m anchors with the named strategy.

    Returns (m,) places among the candidates, or Mixtures of candidates.

    Raises DataError when there are fewer than m candidates, or when the strategy needs data that the files lack.
    """
    entry = STRATEGIES[name]
    places = np.arange(len(c))
    if entry.reads == "labels":  # an item without a label belongs to no class
        labels = c.column("label")
        places = np.flatnonzero(labels != b"" if labels.dtype.kind == "S" else ~np.isnan(labels))
    if m > len(places):
        most = len(places)
        raise DataError(
            f"{m} anchors requested, but only {most} candidate items", f"Write -n {most} or less.", file=c.spaces[0].uri
        )

    picked = cast(Choice, entry.function)(c if len(places) == len(c) else c.at(places), m, rng, **params)
    return places[picked] if isinstance(picked, np.ndarray) else picked

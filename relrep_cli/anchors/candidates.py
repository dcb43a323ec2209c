"""The candidate items for anchors, and the registry of strategies that choose among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING, Any, Concatenate, Literal, TypeVar, cast

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.registry import Entry, Registry
from relrep_cli.embedding import Embedding
from relrep_cli.numerics.blocks import pick, row_blocks, take
from relrep_cli.numerics.distances import unit
from relrep_cli.numerics.whitening import deviations, moments

if TYPE_CHECKING:
    from relrep_cli.anchors.mixtures import Mixtures
    from relrep_cli.anchors.paired import Matching

PEAK = 2.0**40  # sums of squares fit float32 for numbers between 1 / PEAK and PEAK


@dataclass(frozen=True, eq=False)
class Candidates:
    """n items that may become anchors.

    spaces: the embeddings that hold them; several have equal weight. rows: for each space, (n,) parallel row numbers. listed:
    ids that the user named, for strategies that read a list.
    """

    spaces: tuple[Embedding, ...]
    rows: tuple[np.ndarray, ...]
    listed: np.ndarray | None = None

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
        if len(self.spaces) > 1:
            return self._joined(by)
        e, rows = self.spaces[0], self.rows[0]
        x = take(e.x, rows)
        peak = max(float(np.abs(x[b]).max()) for b in row_blocks(*x.shape, x))
        plain = x.dtype in (np.float32, np.float64) and x.flags.c_contiguous and (1 / PEAK < peak < PEAK or not peak)
        if plain and by != "cosine":
            return x
        scale = 2.0 ** min(-int(np.frexp(peak)[1]), 1023)
        return _spooled(len(x), [x.shape[1]], x.dtype, lambda b: [_scaled(np.asarray(x[b], np.float64) * scale, by)])

    def _joined(self, by: str) -> np.ndarray:
        known = []
        for e, rows in zip(self.spaces, self.rows, strict=True):
            mean, variances, power = moments(pick(e.x, rows[b]) for b in row_blocks(len(rows), e.d))
            known.append((e.x, rows, mean, deviations(variances, power)))

        def parts(b: slice) -> list[np.ndarray]:
            columns = []
            for x, rows, mean, deviation in known:
                standard = (np.asarray(pick(x, rows[b]), np.float64) - mean) / deviation
                columns.append(_scaled(standard, by) if by == "cosine" else standard / sqrt(x.shape[1]))
            return columns

        return _spooled(len(self), [e.d for e in self.spaces], np.result_type(*(e.x.dtype for e in self.spaces)), parts)


def _scaled(x: np.ndarray, by: str) -> np.ndarray:
    return unit(x) if by == "cosine" else x


def _spooled(n: int, dims: list[int], dtype: Any, parts: Any) -> np.ndarray:
    """(n, sum of dims) filled block by block with the concatenated columns that `parts` returns for a block of rows."""
    from relrep_cli.numerics.spool import spool

    out = spool((n, sum(dims)), np.float64 if np.dtype(dtype).itemsize == 8 else np.float32)
    for b in row_blocks(*out.shape, out):
        out[b] = np.concatenate(parts(b), 1)
    return out


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

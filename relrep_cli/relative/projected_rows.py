"""A projection in other processes: what they must know beside the recipe, and the rows that they compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding
from relrep_cli.relative.projection import Basis, relative_blocks
from relrep_cli.relative.recipes import Recipe
from relrep_cli.store.shared_rows import Blocks


@dataclass(frozen=True)
class Fitted:
    """What one process has fitted on the training rows, for all others. The fields are those of Basis.

    start: the row of the file that is row 0 of the output. device: as in relative_blocks.
    """

    anchors: np.ndarray
    dtype: np.dtype
    statistics: Mapping[str, np.ndarray]
    fitted: Mapping[str, Mapping[str, np.ndarray]]
    exact: bool
    start: int
    device: str

    @classmethod
    def of(cls, to: Basis, start: int, device: str) -> Fitted:
        return cls(to.anchors, to.dtype, to.statistics, to.fitted, to.exact, start, device)


def blocks_of(e: Embedding, recipe: Recipe, known: Fitted) -> Blocks:
    """The function that computes rows of the output. It is asked for whole tiles, counted from row 0 of the file."""
    to = Basis(recipe, known.anchors, known.dtype, known.statistics, known.fitted, exact=known.exact)

    def blocks(start: int, stop: int) -> Iterator[np.ndarray]:
        return relative_blocks(e.x[known.start + start : known.start + stop], to, known.device)

    return blocks

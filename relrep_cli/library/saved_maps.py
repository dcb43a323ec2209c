"""Maps between spaces as files: what `relrep translate --save-map` writes, for the library."""

from __future__ import annotations

import os

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding, Step
from relrep_cli.library.given_spaces import Space, as_embedding
from relrep_cli.library.wording import speaks_python
from relrep_cli.stitching.space_maps import SpaceMaps, read_maps, save_maps


@dataclass(frozen=True, eq=False)
class SavedMap:
    """The maps of a file, from one or several spaces into one. `read_map` reads it.

    held: what the file holds. Call it with vectors to translate them; give it to `translate` as `into` to join a universe.
    """

    held: SpaceMaps

    @property
    def spaces(self) -> tuple[str, ...]:
        """The names of the spaces that it maps from."""
        return tuple(self.held.maps)

    @property
    def into(self) -> str:
        """The name of the space that it maps into."""
        return self.held.space

    def __call__(self, x: Space, *, space: str = "") -> np.ndarray:
        """Translate vectors (n, d), such as queries. Returns (n, d2) float64.

        x: see `as_embedding`. space: the name of its space; "" for the one that x names, or the only one with d dims.

        Raises DataError where no map of the file is for such vectors.
        """
        return _moved(self.held, as_embedding(x, space=space) if space else as_embedding(x))

    def __repr__(self) -> str:
        named = ", ".join(f"{printable(name)} ({len(one.source)} dims)" for name, one in self.held.maps.items())
        return f"<SavedMap into {printable(self.into)}: from {named}>"


@speaks_python
def _moved(held: SpaceMaps, e: Embedding) -> np.ndarray:
    return held.of(e)(e.x)


@speaks_python
def read_map(path: str | os.PathLike[str]) -> SavedMap:
    """Read the maps of a file that `relrep translate --save-map`, `Translation.save` or `Universe.save` wrote.

    Raises UsageError where the file holds no map, DataError for one that cannot be used.
    """
    maps = read_maps(os.fspath(path))
    if maps is None:
        raise UsageError("holds no map", "Give a file that Translation.save or Universe.save wrote.", file=os.fspath(path))
    return SavedMap(maps)


@speaks_python
def write_map(path: str | os.PathLike[str], held: SpaceMaps, steps: list[Step], overwrite: bool) -> None:
    """Write maps with the steps that made them. Raises UsageError where the file exists and `overwrite` is not set."""
    output = os.fspath(path)
    store.refuse(output, overwrite, [], store.HDF5)
    save_maps(output, held, steps, overwrite)

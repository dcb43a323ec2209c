"""Anchors that are weighted means of items. They are stored as ids and weights, so every space with these items has them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from relrep_cli.anchors.vectors import anchor_vectors
from relrep_cli.base.errors import DataError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding, find_ids, text
from relrep_cli.numerics.blocks import row_blocks

ITEMS, WEIGHTS, STARTS = "mixture-items", "mixture-weights", "mixture-starts"


@dataclass(frozen=True, eq=False)
class Mixtures:
    """m weighted means of items.

    Mixture i is the mean of items[starts[i]:starts[i + 1]], with the weights at the same places, which sum to 1.

    names: (m,) ids of the mixtures. items: (z,) ids; an item may be in several mixtures. weights: (z,) float64. starts:
    (m + 1,) ints.
    """

    names: np.ndarray
    items: np.ndarray
    weights: np.ndarray
    starts: np.ndarray

    def uns(self) -> dict[str, np.ndarray]:
        """Return the arrays that an anchor file stores."""
        return {ITEMS: self.items, WEIGHTS: self.weights, STARTS: self.starts.astype(np.float64)}

    def content(self) -> bytes:
        """A digest of the items and weights, independent of the names."""
        parts = (np.char.add(self.items, b"\n"), self.weights, self.starts)
        return hashlib.sha256(b"".join(b"".join(p.tolist()) if p.dtype.kind == "S" else p.tobytes() for p in parts)).digest()

    def ids(self, e: Embedding, wanted: np.ndarray, anchor_sources: Sequence[Embedding] = ()) -> np.ndarray:
        """The ids of the items in the mixtures named `wanted`.

        wanted: (k,) names of mixtures. Returns (p,) ids, each once.
        """
        return np.unique(self.items[np.repeat(np.isin(self.names, wanted), np.diff(self.starts))])

    def vectors(self, e: Embedding, wanted: np.ndarray, anchor_sources: Sequence[Embedding] = ()) -> np.ndarray:
        """Compute the vectors (len(wanted), d) of the mixtures with these names in the space of `e`.

        The rows come from `e`, or from anchor_sources of its space. Sums are float64.

        Raises DataError when an item is in none of these files.
        """
        from scipy.sparse import csr_array

        items, which = np.unique(self.items, return_inverse=True)
        shape = (len(self.names), len(items))
        weights = csr_array((self.weights, which, self.starts), shape=shape)[find_ids(self.names, wanted)].tocsc()
        out = np.zeros((len(wanted), e.d))
        for block in row_blocks(len(items), e.d):
            rows = anchor_vectors(e, items[block], anchor_sources)
            out += weights[:, block] @ np.asarray(rows, np.float64)
        return out.astype(np.float64 if rows.dtype.itemsize == 8 else np.float32)


def mixed(ids: np.ndarray, groups: Sequence[np.ndarray]) -> Mixtures:
    """Make the unweighted mean of each group of items.

    ids: (n,) ids. groups: arrays of places in `ids`. The name of a mixture is a digest of its items.
    """
    names = [hashlib.sha256(b"\n".join(ids[group].tolist())).hexdigest()[:16] for group in groups]
    sizes = np.array([len(group) for group in groups])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return Mixtures(
        text([f"mixture:{place}:{name}" for place, name in enumerate(names)]),
        ids[np.concatenate(groups)],
        np.repeat(1 / sizes, sizes),
        starts,
    )


def mixtures_of(e: Embedding) -> Mixtures | None:
    """Read the mixtures of an anchor file; None when its anchors are items.

    Raises DataError when the stored arrays do not fit together.
    """
    if not any(name in e.uns for name in (ITEMS, WEIGHTS, STARTS)):
        return None
    items, weights, starts = (e.uns.get(name, np.empty(0)) for name in (ITEMS, WEIGHTS, STARTS))
    bounds = starts.astype(np.int64) if np.isfinite(starts).all() and (np.abs(starts) < 2**53).all() else np.empty(0, np.int64)
    fits = (
        items.ndim == weights.ndim == bounds.ndim == 1
        and items.dtype.kind == "S"
        and len(items) == len(weights)
        and len(bounds) == e.n + 1
        and (np.diff(bounds) > 0).all()
        and (bounds[0], bounds[-1]) == (0, len(items))
    )
    if not fits:
        raise DataError("items, weights and starts of its mixtures do not fit together", "Make it again.", file=e.uri)
    sums = np.add.reduceat(np.asarray(weights, np.float64), bounds[:-1])
    if not (weights >= 0).all() or not (np.abs(sums - 1) < 1e-6).all():
        name = printable(bytes(e.ids[int(np.argmax(~(np.abs(sums - 1) < 1e-6)))]))
        raise DataError(
            f"weights of a mixture must be positive with sum 1; those of {name} are not", "Make it again.", file=e.uri
        )
    return Mixtures(e.ids, items, np.asarray(weights, np.float64), bounds)

"""Maps between spaces as one HDF5 file: an affine map from each of some spaces into one target space.

The file has format version 1 with the kind `map`, so it is read as guarded as any other file. Its rows are the axes of the
source spaces, one space after the other, and X says where each axis goes. A row `target` holds what is added at the end, and
rows of anchors may follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.output import say
from relrep_cli.embedding import ABSOLUTE, MAP, RELATIVE, Embedding, Step, text
from relrep_cli.numerics.blocks import first_bad_row
from relrep_cli.stitching.translators import Affine
from relrep_cli.stitching.universe import PENALTY, UNIVERSES
from relrep_cli.store.reading import PLAIN, Reading

ANCHOR = b"anchor "  # in front of the id of an anchor
DAMAGED = "is a damaged map"
REMEDY = "Save it again with relrep translate --save-map."


@dataclass(frozen=True, eq=False)
class SpaceMaps:
    """Maps into one space.

    space: the name of the target. kind: of its vectors. maps: by the name of the source space. anchors: (m, k) the anchors in
    the target, with their ids, where another space can join by them; None where the map does not keep them. method, params:
    how the maps were fitted. steps, digest: of the file.
    """

    space: str
    kind: str
    maps: Mapping[str, Affine]
    method: str
    anchors: np.ndarray | None = None
    anchor_ids: np.ndarray | None = None
    steps: Sequence[Step] = ()
    digest: str = ""
    uri: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    def of(self, e: Embedding) -> Affine:
        """The map for the space of e. A file that names no space is taken for the one with its dims, if there is one only.

        Raises DataError when there is no such map, or the dims differ.
        """
        unnamed = not e.space or e.space.startswith("unnamed:")
        fitting = [name for name, one in self.maps.items() if len(one.source) == e.d]
        if e.space not in self.maps and unnamed and len(fitting) == 1:
            say(f"{e.uri}: names no space; taken for {printable(fitting[0])}, which has its {e.d} dims.")
            return self.maps[fitting[0]]
        if e.space not in self.maps:
            known = ", ".join(f"{printable(name)} ({len(one.source)} dims)" for name, one in self.maps.items())
            found = f"{e.d} dims and names no space" if unnamed else f"{e.d} dims of space {printable(e.space)}"
            raise DataError(
                f"has {found}, and {self.uri} maps from {known}",
                "Give a file of such a space; relrep embed --space NAME names the space of vectors that you import.",
                file=e.uri,
            )
        found_map = self.maps[e.space]
        if len(found_map.source) != e.d:
            raise DataError(
                f"has {e.d} dims, and the map takes {len(found_map.source)}", "Give a file of its space.", file=e.uri
            )
        return found_map

    def without_rows(self) -> Embedding:
        """What the history of a translated file names as its input."""
        none = np.zeros((0, 1)), np.zeros(0, "S1")
        return Embedding(*none, space=self.space, steps=self.steps, digest=self.digest, uri=self.uri)

    def as_embedding(self) -> Embedding:
        """The anchors in the target space, which another space can be fitted to. Raises UsageError when none are kept."""
        if self.anchors is None or self.anchor_ids is None or self.method not in UNIVERSES:
            raise UsageError(
                "is a map between two spaces, which no third one can join",
                "Name an embedding file with --into, or a universe.",
                file=self.uri,
            )
        return Embedding(
            self.anchors, self.anchor_ids, space=self.space, kind=self.kind, steps=self.steps, digest=self.digest, uri=self.uri
        )


def save_maps(output: str, maps: SpaceMaps, steps: list[Step], force: bool) -> None:
    """Write maps to an HDF5 file. Raises UsageError and WriteError as `store.write` does."""
    found = list(maps.maps.values())
    sizes = [len(one.source) for one in found]
    width, axes = len(found[0].target), sum(sizes)
    none = np.zeros((0, width))
    anchors, ids = (none, []) if maps.anchors is None or maps.anchor_ids is None else (maps.anchors, maps.anchor_ids.tolist())
    blank = np.zeros(1 + len(anchors))
    along = [np.full(size, np.nan if one.along is None else one.along) for one, size in zip(found, sizes, strict=True)]
    names = [b"axis %d of space %d" % (axis, n) for n, size in enumerate(sizes) for axis in range(size)]
    store.write(
        output,
        [*(one.matrix for one in found), found[0].target[None], anchors],
        shape=(axes + len(blank), width),
        dtype="float64",
        ids=text([*names, b"target", *(ANCHOR + i for i in ids)]),
        obs={
            "role": text(["axis"] * axes + ["target"] + ["anchor"] * len(anchors)),
            "space": text([name for name, size in zip(maps.maps, sizes, strict=True) for _ in range(size)] + [""] * len(blank)),
            "source": np.concatenate([*(one.source for one in found), blank]),
            "along": np.concatenate([*along, blank]),
            "unit": np.concatenate([*(np.full(len(one.source), one.unit_rows, np.int8) for one in found), np.int8(blank)]),
            "kind": text([maps.kind] * (axes + len(blank))),
        },
        var={"id": np.arange(width).astype("S")},
        kind=MAP,
        space=maps.space,
        steps=steps,
        force=force,
    )


def read_maps(file: str, reading: Reading = PLAIN) -> SpaceMaps | None:
    """The maps in a file; None where it holds anything else. Raises DataError for a map that cannot be used."""
    found = store.read(file, reading, judge=False)
    return maps_in(store.digested(found)) if found.kind == MAP else None


def maps_in(e: Embedding) -> SpaceMaps:
    """The maps that a file of the kind `map` holds. Raises DataError for one that cannot be used."""
    try:
        return _maps(e)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError):
        raise DataError(DAMAGED, REMEDY, file=e.uri) from None


def read_target(file: str, reading: Reading = PLAIN) -> Embedding | SpaceMaps:
    """The embedding that a file holds, or the maps of a universe. Raises UsageError for a map that no space can join."""
    try:
        return store.digested(store.read(file, reading))
    except DataError:
        maps = read_maps(file, reading)
        if maps is None:
            raise
    maps.as_embedding()
    return maps


def _maps(e: Embedding) -> SpaceMaps:
    role, space, x = e.obs["role"], e.obs["space"], np.array(e.x, np.float64)
    source, along = (np.asarray(e.obs[name], np.float64) for name in ("source", "along"))
    axes, target, anchors = (np.flatnonzero(role == name) for name in (b"axis", b"target", b"anchor"))
    if not len(axes) or len(target) != 1 or first_bad_row(x) is not None or not np.isfinite(source).all():
        raise ValueError
    maps: dict[str, Affine] = {}
    for name in dict.fromkeys(space[axes].tolist()):
        rows = axes[space[axes] == name]
        length = float(along[rows[0]])
        if np.isinf(length):
            raise ValueError
        maps[name.decode(errors="backslashreplace")] = Affine(
            source[rows], x[rows], x[target[0]], None if np.isnan(length) else length, bool(e.obs["unit"][rows[0]])
        )
    ids = text([name.removeprefix(ANCHOR) for name in e.ids[anchors].tolist()]) if len(anchors) else None
    params = dict(e.steps[-1].get("params") or {}) if e.steps else {}
    params[PENALTY] = float(params.get(PENALTY) or 0.0)
    if not 0 <= params[PENALTY] < np.inf:
        raise ValueError
    kind = RELATIVE if e.obs["kind"][0] == RELATIVE.encode() else ABSOLUTE
    kept = x[anchors] if len(anchors) else None
    return SpaceMaps(e.space, kind, maps, str(params.get("method", "")), kept, ids, e.steps, e.digest, e.uri, params)

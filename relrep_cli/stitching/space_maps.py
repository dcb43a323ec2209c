"""Maps between spaces as one HDF5 file: an affine map from each of some spaces into one target space.

The file has format version 1 with the kind `map`, so it is read as guarded as any other file. Its rows are the axes of the
source spaces, one space after the other, and X says where each axis goes. A row `target` holds what is added at the end. Rows
of anchors may follow, and the axes and targets of the regions of local maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say
from relrep_cli.embedding import ABSOLUTE, MAP, RELATIVE, Embedding, Step, text
from relrep_cli.numerics.blocks import first_bad_row
from relrep_cli.stitching.local_maps import LocalMaps
from relrep_cli.stitching.translators import Affine
from relrep_cli.stitching.universe import PENALTY, UNIVERSES
from relrep_cli.store.reading import PLAIN, Reading

NUMBERS = ("source", "along", "scale", "centre", "region")  # columns of numbers; what does not apply is 0
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
        if e.space == self.space and e.space not in self.maps:
            raise DataError(f"is in the space of {self.uri} already, {printable(e.space)}", "Use it as it is.", file=e.uri)
        if e.space not in self.maps:
            known = ", ".join(f"{printable(name)} ({len(one.source)} dims)" for name, one in self.maps.items())
            finding = f"{e.d} dims and names no space" if unnamed else f"{e.d} dims of space {printable(e.space)}"
            raise DataError(
                f"has {finding}, and {self.uri} maps from {known}",
                "Give a file of such a space; relrep embed --space NAME names the space of vectors that you import.",
                file=e.uri,
            )
        own_map = self.maps[e.space]
        if len(own_map.source) != e.d:
            raise DataError(f"has {e.d} dims, and the map takes {len(own_map.source)}", "Give a file of its space.", file=e.uri)
        return own_map

    def as_embedding(self) -> Embedding:
        """The anchors in the target space, which another space can be fitted to. Raises UsageError when none are kept."""
        if self.anchors is None or self.anchor_ids is None or self.method not in UNIVERSES:
            raise UsageError(
                "is a map between two spaces, and no third space can join it",
                "Name an embedding file with --into, or a universe.",
                file=self.uri,
            )
        return Embedding(
            self.anchors, self.anchor_ids, space=self.space, kind=self.kind, steps=self.steps, digest=self.digest, uri=self.uri
        )


def required_maps(file: str) -> SpaceMaps:
    """The maps in a file. Raises UsageError when it holds none."""
    maps = read_maps(file)
    if maps is None:
        raise UsageError("holds no map", "Give a file that relrep translate --save-map wrote.", file=file)
    return maps


def save_maps(output: str, maps: SpaceMaps, steps: list[Step], force: bool) -> None:
    """Write maps to an HDF5 file. Raises UsageError and WriteError as `store.write` does."""
    rows = _rows_of(maps)
    store.write(
        output,
        [one.x for one in rows],
        shape=(sum(len(one.x) for one in rows), rows[0].x.shape[1]),
        dtype="float64",
        ids=text([name for one in rows for name in one.ids]),
        obs={
            "role": text([one.role for one in rows for _ in one.x]),
            "space": text([one.space for one in rows for _ in one.x]),
            **{name: np.concatenate([np.broadcast_to(one.obs.get(name, 0.0), len(one.x)) for one in rows]) for name in NUMBERS},
            "unit": np.concatenate([np.full(len(one.x), one.unit, np.int8) for one in rows]),
            "kind": text([maps.kind for one in rows for _ in one.x]),
        },
        var={"id": np.arange(rows[0].x.shape[1]).astype("S")},
        kind=MAP,
        space=maps.space,
        steps=steps,
        force=force,
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some rows of the file: x (r, k) with their ids and numbers of their own."""

    role: str
    space: str
    x: np.ndarray
    ids: Sequence[bytes]
    obs: Mapping[str, Any] = field(default_factory=dict)
    unit: bool = False


def _rows_of(maps: SpaceMaps) -> list[_Rows]:
    """The axes of each space, the target, anchors, and the regions of local maps."""
    rows = []
    for n, (space, one) in enumerate(maps.maps.items()):
        along = np.nan if one.along is None else one.along
        scale = one.scale if isinstance(one, LocalMaps) else 1.0
        ids = [b"axis %d of space %d" % (axis, n) for axis in range(len(one.matrix))]
        rows.append(
            _Rows("axis", space, one.matrix, ids, {"source": one.source, "along": along, "scale": scale}, one.unit_rows)
        )
    rows.append(_Rows("target", "", next(iter(maps.maps.values())).target[None], [b"target"]))
    if maps.anchors is not None and maps.anchor_ids is not None and len(maps.anchors):
        rows.append(_Rows("anchor", "", maps.anchors, [ANCHOR + i for i in maps.anchor_ids.tolist()]))
    for n, (space, one) in enumerate(maps.maps.items()):
        for number, part in enumerate(one.parts if isinstance(one, LocalMaps) else ()):
            assert isinstance(one, LocalMaps)
            region = b"region %d of space %d" % (number, n)
            ids = [b"axis %d, " % axis + region for axis in range(len(part.matrix))]
            values = {"source": part.source, "region": number, "centre": one.centres[number]}
            rows.append(_Rows("region", space, part.matrix, ids, values))
            ids = [b"target, " + region]
            rows.append(_Rows("region target", space, part.target[None], ids, {"region": number, "scale": one.width}))
    return rows


def read_maps(file: str, reading: Reading = PLAIN) -> SpaceMaps | None:
    """The maps in a file; None where it holds anything else. Raises DataError for a map that cannot be used."""
    embedding = store.read(file, reading, judge=False)
    return maps_in(store.digested(embedding)) if embedding.kind == MAP else None


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
        whole = Affine(source[rows], x[rows], x[target[0]], None if np.isnan(length) else length, bool(e.obs["unit"][rows[0]]))
        maps[name.decode(errors="backslashreplace")] = _with_regions(whole, e, x, name, rows)
    ids = text([name.removeprefix(ANCHOR) for name in e.ids[anchors].tolist()]) if len(anchors) else None
    params = dict(e.steps[-1].get("params") or {}) if e.steps else {}
    params[PENALTY] = float(params.get(PENALTY) or 0.0)
    if not 0 <= params[PENALTY] < np.inf:
        raise ValueError
    kind = RELATIVE if e.obs["kind"][0] == RELATIVE.encode() else ABSOLUTE
    kept = x[anchors] if len(anchors) else None
    return SpaceMaps(e.space, kind, maps, str(params.get("method", "")), kept, ids, e.steps, e.digest, e.uri, params)


def _with_regions(whole: Affine, e: Embedding, x: np.ndarray, name: bytes, axes: np.ndarray) -> Affine:
    """The map of a space with its regions, where it has some."""
    role, space = e.obs["role"], e.obs["space"]
    targets = np.flatnonzero((role == b"region target") & (space == name))
    if not len(targets):
        return whole
    numbers = {key: np.asarray(e.obs[key], np.float64) for key in NUMBERS}
    parts, centres = [], []
    for place in targets:
        rows = np.flatnonzero((role == b"region") & (space == name) & (numbers["region"] == numbers["region"][place]))
        parts.append(Affine(numbers["source"][rows], x[rows], x[place]))
        centres.append(numbers["centre"][rows])
    scale, width = numbers["scale"][axes], float(numbers["scale"][targets[0]])
    maps = LocalMaps(
        whole.source, whole.matrix, whole.target, parts=tuple(parts), centres=np.array(centres), scale=scale, width=width
    )
    if maps.centres.shape != (len(parts), len(axes)) or not (
        np.isfinite(maps.centres).all() and (scale > 0).all() and width > 0
    ):
        raise ValueError
    return maps

"""The points of a report: each space in two dims, as small whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.embedding import Embedding
from relrep_cli.plots.scatters import REST, Cloud, Picture
from relrep_cli.plots.space_panels import ABSOLUTE, PanelOptions, panels
from relrep_cli.reports.grids import shown

POINTS = 20_000  # of all spaces together
MOST, FEWEST = 1_000, 100  # points of one space
GRID, SHADES = 999, 99  # the highest coordinate of a point, and the highest shade


@dataclass(frozen=True, eq=False)
class Space:
    """One space. name: of the panel. cloud: its points, or None with the reason in `note`. classes: names of the colours. span:
    the numbers at both ends of the shades, where shades say a number."""

    name: str
    cloud: Cloud | None
    classes: Sequence[str] = ()
    span: tuple[float, float] | None = None
    note: str = ""


def spaces_of(read: Sequence[tuple[str, Embedding | DataError]], seed: int) -> list[Space]:
    """The points of every space that can be drawn, by PCA or as they are; the same items in all of them.

    read: names of panels with their spaces. Colours stand for labels.
    """
    share = int(np.clip(POINTS // max(1, len(read)), FEWEST, MOST))
    options = PanelOptions(method="", params={}, sample=share, seed=seed, quiet=True)
    made: list[Cloud | DataError] = []
    for _, embedding in read:
        try:
            made.append(embedding if isinstance(embedding, DataError) else panels([embedding], [ABSOLUTE], options)[0][0])
        except DataError as error:
            made.append(error)
    picture = Picture([[cloud for cloud in made if isinstance(cloud, Cloud)]], "", "label")
    classes = [name for name in picture.classes() if name != REST]
    span = picture.span() if picture.continuous else None
    return [
        Space(name, None, note=str(cloud))
        if isinstance(cloud, DataError)
        else Space(name, cloud, classes, span, _note(cloud, embedding))
        for (name, embedding), cloud in zip(read, made, strict=True)
    ]


def _note(cloud: Cloud, space: Embedding | DataError) -> str:
    """What the panel shows, with the number of all items where it shows some of them."""
    count = len(cloud.ids)
    if isinstance(space, DataError) or space.n == count:
        return cloud.note
    return cloud.note.replace(f"{count} items", f"{count} of {space.n} items", 1)


def to_json(space: Space, items: dict[str, int], lists: dict[tuple[int, ...], int]) -> dict[str, Any]:
    """The space as JSON values. items: the number of each id that the page names, extended. lists: the same of lists of
    numbers, which many spaces share."""
    base = {"name": shown(space.name), "note": shown(space.note), "classes": list(map(shown, space.classes))}
    base |= {"span": None if space.span is None else list(map(shown, space.span))}
    cloud = space.cloud
    if cloud is None:
        empty = lists.setdefault((), len(lists))
        return base | {"points": [], "items": empty, "colours": empty, "axes": ["", ""]}
    ids = [items.setdefault(shown(bytes(i)), len(items)) for i in cloud.ids.tolist()]
    return base | {
        "points": _whole(cloud.places, cloud.scaled).ravel().tolist(),
        "items": lists.setdefault(tuple(ids), len(lists)),
        "colours": lists.setdefault(tuple(_colours(space)), len(lists)),
        "axes": list(map(shown, cloud.axes)),
    }


def _whole(places: np.ndarray, scaled: bool) -> np.ndarray:
    """Places (n, 2) as whole numbers from 0 to GRID, on one scale for both axes where they have one unit."""
    low, size = places.min(0), np.ptp(places, axis=0)
    size = np.full(2, size.max()) if scaled else size
    free = (1 - np.ptp(places, axis=0) / np.where(size > 0, size, 1)) / 2  # so that the shorter axis is in the middle
    return np.rint(GRID * ((places - low) / np.where(size > 0, size, 1) + free)).astype(int)


def _colours(space: Space) -> list[int]:
    """The number of each point's class, or its shade from 0 to SHADES; -1 for one without; nothing where no point has any."""
    values = None if space.cloud is None else space.cloud.values
    if values is None:
        return []
    if space.span is not None:
        low, high = space.span
        numbers = np.clip((values.astype(np.float64) - low) / (high - low if high > low else 1), 0, 1)
        return np.where(np.isfinite(numbers), np.rint(SHADES * numbers), -1).astype(int).tolist()
    places = {name: place for place, name in enumerate(space.classes)}
    return [places.get(str(value), -1) for value in values.tolist()] if places else []

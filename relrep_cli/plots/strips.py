"""Strips of pictures: items, and what lies near them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relrep_cli.errors import printable
from relrep_cli.plots.drawing import CLASSES, INK, drawing, saved, wrapped

LINES = 40  # queries that a strip holds
SIDE = 0.82  # inches of a picture


@dataclass(frozen=True, eq=False)
class Strip:
    """A query and what was found for it: pictures (h, w) or (h, w, 3) uint8, and a line under each; the query is first."""

    pictures: Sequence[np.ndarray]
    captions: Sequence[str]


def strips(found: Sequence[Strip], title: str, target: str) -> bytes:
    """One line of pictures for each query, which stands at the left in a frame."""
    from matplotlib.figure import Figure

    columns = max(len(strip.pictures) for strip in found)
    with drawing():
        width = max(4.2, SIDE * columns + 0.3)
        figure = Figure(figsize=(width, 1.22 * SIDE * len(found) + 0.75), layout="constrained")
        for line, strip in enumerate(found):
            for column, (picture, caption) in enumerate(zip(strip.pictures, strip.captions, strict=True)):
                axes = figure.add_subplot(len(found), columns, line * columns + column + 1)
                axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(printable(caption, 60), fontsize=5, color=INK, labelpad=2)
                axes.spines[:].set(visible=column == 0, color=CLASSES[2], linewidth=2)
        figure.suptitle(wrapped(printable(title, 300), int(13 * width)), fontsize=8, color=INK)
        return saved(figure, target)

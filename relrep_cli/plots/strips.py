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


def pictures(lines: Sequence[tuple[str, np.ndarray]], shape: tuple[int, ...], target: str) -> bytes:
    """Rows of images, each with its name: (n, pixels) in 0..1 of images of that shape."""
    from matplotlib.figure import Figure

    count = max(len(values) for _, values in lines)
    with drawing():
        figure = Figure(figsize=(0.7 * count + 2.6, 0.72 * len(lines) + 0.2), layout="constrained")
        places = figure.subplots(len(lines), count, squeeze=False)
        for axes, (name, values) in zip(places, lines, strict=True):
            for one, image in zip(axes, values, strict=False):
                one.imshow(image.reshape(shape), cmap="gray", vmin=0, vmax=1)
            for one in axes:
                one.set_xticks([]), one.set_yticks([])
                one.spines[:].set_visible(False)
            axes[0].set_ylabel(wrapped(printable(name), 24), rotation=0, ha="right", va="center", fontsize=7, color=INK)
        return saved(figure, target)

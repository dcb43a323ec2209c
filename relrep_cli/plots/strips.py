"""Strips of pictures: items, and what lies near them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.plots.drawing import CLASSES, INK, drawing, saved, wrapped

LINES = 40  # of pictures that a strip holds
MOST = 12  # neighbours in a line
SIDE, GAP, CAPTION, BETWEEN = 0.82, 0.06, 0.26, 0.1  # inches: a picture, between two, the words below it, between queries
LETTERS = 16  # of a name below a picture


@dataclass(frozen=True, eq=False)
class Strip:
    """A query and what was found for it: pictures (h, w) or (h, w, 3) uint8, a name under each; the query is first.

    distances: one for each picture but the query.
    """

    pictures: Sequence[np.ndarray]
    names: Sequence[str]
    distances: Sequence[float]


def fitting(queries: int, k: int) -> tuple[int, int]:
    """How many of the queries, and of the k neighbours of each, a strip holds."""
    k = min(k, LINES * MOST)
    return min(queries, LINES // -(-k // MOST)), k


def strips(pictures: Sequence[Strip], title: str, target: str) -> bytes:
    """One query after the other, in a frame at the left, its neighbours beside it in lines of equal length.

    The figure is as large as what it holds. All distances have as many decimals as give the least of them three digits.
    """
    from matplotlib.figure import Figure

    k = max(len(strip.distances) for strip in pictures)
    lines = -(-k // MOST)
    across = -(-k // lines)
    tall = SIDE * min(1.5, max(picture.shape[0] / picture.shape[1] for strip in pictures for picture in strip.pictures))
    width = (across + 1) * (SIDE + GAP) + GAP
    head = wrapped(printable(title, 300), int(14 * width))
    top = 0.14 * (head.count("\n") + 1) + 0.14
    height = top + len(pictures) * (lines * (tall + CAPTION) + BETWEEN)
    decimals = _decimals([distance for strip in pictures for distance in strip.distances])
    with drawing():
        figure = Figure(figsize=(width, height))
        figure.text(GAP / width, 1 - 0.07 / height, head, fontsize=8, color=INK, va="top")
        for number, strip in enumerate(pictures):
            above = top + number * (lines * (tall + CAPTION) + BETWEEN)
            captions = ["", *(f"{distance:.{decimals}f}" for distance in strip.distances)]
            for place, (picture, name, far) in enumerate(zip(strip.pictures, strip.names, captions, strict=True)):
                line, column = divmod(place - 1, across) if place else (0, -1)
                left, below = GAP + (column + 1) * (SIDE + GAP), above + line * (tall + CAPTION) + tall
                axes = figure.add_axes((left / width, 1 - below / height, SIDE / width, tall / height))
                axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(f"{printable(name, LETTERS)}\n{far}", fontsize=6, color=INK, labelpad=2)
                axes.spines[:].set(visible=not place, color=CLASSES[2], linewidth=2)
        return saved(figure, target)


def _decimals(distances: Sequence[float]) -> int:
    """So many that the least distance has three digits; at most five, since what is nearer is a copy."""
    least = min((distance for distance in distances if distance >= 1e-5), default=1.0)
    return min(5, max(0, 2 - math.floor(math.log10(least))))


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

"""Draws coloured shapes, whose colour, shape and location are known: `python sample_data/shapes.py FILE.npz [N] [SEED]`.

N images (4000 unless told) of 32 x 32 pixels, three quarters to train on. Each holds one shape on a dark ground: its hue is
one of 6, its shape one of 4, its place one of 4, all drawn alone, with a little variation in each. An
encoder that an augmentation made blind to one of them says nothing about that column, and still tells the others.
"""

from __future__ import annotations

import colorsys
import sys

import numpy as np

SIDE, GRID = 32, 2
COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")
SHAPES = ("disc", "square", "triangle", "cross")
LOCATIONS = tuple(f"{row} {column}" for row in ("top", "bottom") for column in ("left", "right"))


def inside(shape: str, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Which places belong to a shape about (0, 0) that reaches from -1 to 1."""
    if shape == "disc":
        return down**2 + right**2 <= 1
    if shape == "square":
        return np.maximum(abs(down), abs(right)) <= 0.85
    if shape == "triangle":
        return (abs(right) <= (down + 1) / 2) & (abs(down) <= 1)
    return (np.minimum(abs(down), abs(right)) <= 0.3) & (np.maximum(abs(down), abs(right)) <= 1)


def draw(colour: int, shape: int, location: int, rng: np.random.Generator) -> np.ndarray:
    """(32, 32, 3) bytes: one shape of about 12 pixels across."""
    down, right = np.mgrid[:SIDE, :SIDE].astype(float)
    cell = SIDE / GRID
    centre = (np.array(divmod(location, GRID)) + 0.5) * cell + rng.uniform(-1, 1, 2)
    radius = rng.uniform(5, 6.5)
    mask = inside(SHAPES[shape], (down - centre[0]) / radius, (right - centre[1]) / radius)
    hue = (colour + rng.uniform(-0.2, 0.2)) / len(COLOURS)
    paint = np.array(colorsys.hsv_to_rgb(hue % 1, rng.uniform(0.8, 1), rng.uniform(0.8, 1)))
    image = np.where(mask[..., None], paint, 0.1)
    return (255 * image).round().astype(np.uint8)


def main(target: str, n: int = 4000, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    factors = {
        "colour": (COLOURS, rng.integers(len(COLOURS), size=n)),
        "shape": (SHAPES, rng.integers(len(SHAPES), size=n)),
        "location": (LOCATIONS, rng.integers(len(LOCATIONS), size=n)),
    }
    images = [draw(*codes, rng) for codes in zip(*(codes for _, codes in factors.values()), strict=True)]
    split = np.where(np.arange(n) < 3 * n // 4, "train", "test")
    columns = {name: np.array(names)[codes] for name, (names, codes) in factors.items()}
    np.savez_compressed(target, images=np.stack(images), split=split, **columns)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:]))

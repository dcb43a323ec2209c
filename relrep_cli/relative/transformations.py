"""Transformations of a space, used to test invariances of similarity functions and metrics.

Each is a function of (rng, x) that returns a map of rows. The map is drawn once and applied to items and anchors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from typing import TypeVar

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Registry

Map = Callable[[np.ndarray], np.ndarray]
TURN = 0.75  # the part of a full circle that the widest axis covers when it is rolled up
Draw = Callable[[np.random.Generator, np.ndarray], Map]  # rng, rows of the space (n, d) -> a map of rows
AnyDraw = TypeVar("AnyDraw", bound=Draw)


@dataclass(frozen=True, kw_only=True, eq=False)
class Transformation(Entry[Draw]):
    """A transformation with its trait. implies: what is invariant to this one is invariant to these, too."""

    implies: Set[str]

    def __call__(self, function: AnyDraw) -> AnyDraw:
        """Register the function."""
        TRANSFORMATIONS.add(self.of(function))
        return function


TRANSFORMATIONS = Registry("transformation", Transformation)
transformation = Transformation


@transformation(implies=set())
def scale(rng: np.random.Generator, x: np.ndarray) -> Map:
    """All axes by one positive factor (isotropic scaling)."""
    return lambda rows: rows * 3.7


@transformation(implies={"permutation", "signed-permutation"})
def orthogonal(rng: np.random.Generator, x: np.ndarray) -> Map:
    """A rotation or reflection."""
    q = _rotation(rng, x.shape[1])
    return lambda rows: rows @ q


@transformation(implies=set())
def translation(rng: np.random.Generator, x: np.ndarray) -> Map:
    """One vector added to all rows, on each axis some three times as long as the data are wide."""
    far = rng.normal(size=x.shape[1]) * 3 * _width(x)
    return lambda rows: rows + far


@transformation(implies=set())
def permutation(rng: np.random.Generator, x: np.ndarray) -> Map:
    """Axes in another order."""
    order = np.roll(rng.permutation(x.shape[1]), 1)
    return lambda rows: rows[:, order]


@transformation(implies={"permutation"})
def signed_permutation(rng: np.random.Generator, x: np.ndarray) -> Map:
    """Axes in another order, every second one with its sign changed."""
    d = x.shape[1]
    order, sign = rng.permutation(d), np.where(np.arange(d) % 2, 1.0, -1.0)
    return lambda rows: rows[:, order] * sign


@transformation(implies={"scale"})
def axis_scale(rng: np.random.Generator, x: np.ndarray) -> Map:
    """Each axis by a factor of its own, from 0.1 to 10."""
    factors = rng.permutation(np.geomspace(0.1, 10, x.shape[1]))
    return lambda rows: rows * factors


@transformation(implies={"scale", "orthogonal", "permutation", "signed-permutation", "axis-scale"})
def linear(rng: np.random.Generator, x: np.ndarray) -> Map:
    """An invertible matrix with singular values from 0.2 to 5."""
    d = x.shape[1]
    matrix = _rotation(rng, d) @ np.diag(np.geomspace(0.2, 5, d)) @ _rotation(rng, d)
    return lambda rows: rows @ matrix


@transformation(implies={"linear", "translation", "scale", "orthogonal", "permutation", "signed-permutation", "axis-scale"})
def affine(rng: np.random.Generator, x: np.ndarray) -> Map:
    """An invertible matrix, then one vector added."""
    turned, moved = linear(rng, x), translation(rng, x)
    return lambda rows: moved(turned(rows))


@transformation(implies=set())
def zero_axes(rng: np.random.Generator, x: np.ndarray) -> Map:
    """Three axes more, on which all rows are 0."""
    return lambda rows: np.concatenate([rows, np.zeros((len(rows), 3), rows.dtype)], 1)


@transformation(implies=set())
def isometry(rng: np.random.Generator, x: np.ndarray) -> Map:
    """The widest axis rolled up to three quarters of a circle: lengths of paths stay, straight lines through space do not."""
    axis = int(np.argmax(x.std(0)))
    start, radius = x[:, axis].min(), max(float(np.ptp(x[:, axis])), 1e-300) / (2 * np.pi * TURN)

    def rolled(rows: np.ndarray) -> np.ndarray:
        angle = (rows[:, axis] - start) / radius
        out = np.concatenate([rows, (radius * np.sin(angle))[:, None]], 1)
        out[:, axis] = radius * np.cos(angle)
        return out

    return rolled


def with_implied(invariant: Iterable[str]) -> set[str]:
    """All invariances that follow from the declared ones, which are included.

    >>> sorted(with_implied({"axis-scale"}))
    ['axis-scale', 'scale']
    """
    return set(invariant).union(*(TRANSFORMATIONS[name].implies for name in invariant))


def _rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(d, d)))
    return q * np.sign(np.diag(r))  # without the signs, the rotation would not be uniformly distributed


def _width(x: np.ndarray) -> float:
    return float(x.std()) or float(np.abs(x).max()) or 1.0

"""The nine maps of a space, and which of them a declared `invariant` trait promises to leave unfelt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Map = Callable[[np.ndarray], np.ndarray]

# What each trait name promises besides itself.
PROMISES: dict[str, set[str]] = {
    "scale": set(),
    "orthogonal": {"permutation", "signed-permutation"},
    "translation": set(),
    "permutation": set(),
    "signed-permutation": {"permutation"},
    "axis-scale": {"scale"},
    "linear": {"scale", "orthogonal", "permutation", "signed-permutation", "axis-scale"},
}
# Zero columns carry nothing, so everything should ignore them; these cannot, as they average over coordinates.
FEEL_ZERO_AXES = {"mse", "pearson", "spearman", "rsa", "mahalanobis"}


def _orthogonal(rng: np.random.Generator, d: int) -> Map:
    q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return lambda x: x @ q


def _linear(rng: np.random.Generator, d: int) -> Map:
    matrix = _orthogonal(rng, d)(np.diag(np.geomspace(0.2, 5, d)) @ _orthogonal(rng, d)(np.eye(d)))
    return lambda x: x @ matrix


def _translation(rng: np.random.Generator, d: int) -> Map:
    far = rng.normal(size=d) * 2
    return lambda x: x + far


def _permutation(rng: np.random.Generator, d: int) -> Map:
    order = np.roll(rng.permutation(d), 1)
    return lambda x: x[:, order]


def _signed_permutation(rng: np.random.Generator, d: int) -> Map:
    order, sign = rng.permutation(d), np.where(np.arange(d) % 2, 1.0, -1.0)
    return lambda x: x[:, order] * sign


def _axis_scale(rng: np.random.Generator, d: int) -> Map:
    factors = rng.permutation(np.geomspace(0.1, 10, d))
    return lambda x: x * factors


def _affine(rng: np.random.Generator, d: int) -> Map:
    linear, translation = _linear(rng, d), _translation(rng, d)
    return lambda x: translation(linear(x))


TRANSFORMATIONS: dict[str, Callable[[np.random.Generator, int], Map]] = {
    "scale": lambda rng, d: lambda x: x * 3.7,
    "orthogonal": _orthogonal,
    "translation": _translation,
    "permutation": _permutation,
    "signed-permutation": _signed_permutation,
    "axis-scale": _axis_scale,
    "linear": _linear,
    "affine": _affine,
    "zero-axes": lambda rng, d: lambda x: np.concatenate([x, np.zeros((len(x), 3))], 1),
}


def expected(name: str, invariant: set[str], transformation: str) -> bool:
    """Whether the entry `name`, which declares `invariant`, should give the same answer after the transformation."""
    kept = set(invariant).union(*(PROMISES.get(trait, set()) for trait in invariant))
    if transformation == "zero-axes":
        return name not in FEEL_ZERO_AXES or "zero-axes" in invariant
    if transformation == "affine":
        return {"linear", "translation"} <= kept
    return transformation in kept

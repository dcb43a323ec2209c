"""Local maps: a rotation for each region of a space, mixed by distance, where one rotation does not join two spaces."""

from __future__ import annotations

from dataclasses import field

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.distances import unit
from relrep_cli.numerics.intervals import bootstrap
from relrep_cli.stitching.translators import SIMILAR, Affine, Scaling, between, nearest_rotation, scaled, translator

REGIONS = (2, 4, 8, 16)
FEWEST = 20  # anchors of a region
FOLDS = 3
ROUNDS = 20
SHRUNK = 0.1  # weight of all anchors in every region


@dataclass(frozen=True, eq=False)
class LocalMaps(Affine):
    """A map for each region, mixed by the softmax of minus the squared distance to its centre over `width`.

    parts: one map each. centres: (c, d) and width: of rows less `source`, over `scale` (d,). The rest of what the class
    inherits is the map of all anchors.
    """

    parts: tuple[Affine, ...] = ()
    centres: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    scale: np.ndarray = field(default_factory=lambda: np.ones(0))
    width: float = 1.0

    def rows(self, x: np.ndarray) -> np.ndarray:
        """The translated rows of one block."""
        z = np.asarray(x, np.float64)
        out = np.zeros((len(z), len(self.target)))
        shares = memberships((z - self.source) / self.scale, self.centres, self.width)
        for part, share in zip(self.parts, shares.T, strict=True):
            out += share[:, None] * part.rows(z)
        return out

    def stored_rows(self, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
        return self.rows(x)


@translator(recovers=SIMILAR, source="piecewise Procrustes: one rotation for each region of the anchors, mixed by distance")
def local(x: np.ndarray, y: np.ndarray, *, scaling: Scaling = "whole") -> Affine:
    """A rotation for each region of the anchors, mixed by distance; one rotation unless left-out anchors say otherwise.

    x: (m, dx) and y: (m, dy) anchors, where row i is the same item.

    Anchors are cut into 2, 4, 8 or 16 regions of 20 anchors or more by k-means. Each region has the rotation that brings its
    anchors nearest to each other, and all others with a tenth of the weight. There are as many regions as left-out anchors
    find themselves best by, and one rotation unless the 95 % interval of the difference of reciprocal ranks is above 0.
    """
    counts = [count for count in REGIONS if len(x) >= FEWEST * count]
    one = before = _left_out(x, y, 1, scaling) if counts else np.zeros(0)
    best = 1
    for count in counts:
        now = _left_out(x, y, count, scaling)
        if now.mean() <= before.mean():
            break
        before, best = now, count
    if best > 1 and bootstrap(before - one, np.random.default_rng(0))[0] <= 0:
        best = 1
    return fit_regions(x, y, best, scaling)


def fit_regions(x: np.ndarray, y: np.ndarray, count: int, scaling: Scaling) -> Affine:
    """The maps of anchors x (m, dx) to y (m, dy) for some regions; one map for one region."""
    a, b = scaled(x, scaling), scaled(y, scaling)
    whole = between(a, b, nearest_rotation(a.z.T @ b.z))
    if count == 1:
        return whole
    centres, width = regions(a.z, count)
    parts = []
    for share in memberships(a.z, centres, width).T:
        weights = share + SHRUNK * share.sum() / len(share)
        weights /= weights.sum()
        middle_a, middle_b = weights @ a.z, weights @ b.z
        turn = nearest_rotation((a.z - middle_a).T @ ((b.z - middle_b) * weights[:, None]))
        part = between(a, b, turn)
        parts.append(Affine(a.mean + middle_a * a.scale, part.matrix, b.mean + middle_b * b.scale))
    return LocalMaps(
        whole.source, whole.matrix, whole.target, parts=tuple(parts), centres=centres, scale=a.scale, width=width
    )  # fmt: skip


def regions(z: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """(count, d) centres by k-means, begun from rows far apart; and the width at which the nearest two mix."""
    chosen = [int(np.square(z).sum(1).argmax())]
    for _ in range(count - 1):
        chosen.append(int(_squared(z, z[chosen]).min(1).argmax()))
    centres = z[chosen]
    for _ in range(ROUNDS):
        nearest = _squared(z, centres).argmin(1)
        centres = np.array([z[nearest == n].mean(0) if (nearest == n).any() else centres[n] for n in range(count)])
    two = np.sort(_squared(z, centres), axis=1)[:, :2]
    return centres, float(np.median(two[:, 1] - two[:, 0])) / 2 or 1.0


def memberships(z: np.ndarray, centres: np.ndarray, width: float) -> np.ndarray:
    """(n, c) the share of each region in each row."""
    away = _squared(z, centres)
    shares = np.exp((away.min(1, keepdims=True) - away) / width)
    return shares / shares.sum(1, keepdims=True)


def _squared(z: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.maximum(np.square(z).sum(1)[:, None] - 2 * z @ centres.T + np.square(centres).sum(1), 0)


def _left_out(x: np.ndarray, y: np.ndarray, count: int, scaling: Scaling) -> np.ndarray:
    """(m,) one over the rank at which each anchor finds itself among all anchors, by a map that did not see it.

    Vectors are compared about the mean of the anchors that were seen; a tie counts against the anchor.
    """
    errors = np.zeros(len(x))
    for part in np.array_split(np.random.default_rng(0).permutation(len(x)), FOLDS):
        rest = np.setdiff1d(np.arange(len(x)), part)
        carry = fit_regions(x[rest], y[rest], count, scaling)
        middle = carry.target
        close = unit(carry.rows(x[part]) - middle) @ unit(y - middle).T
        errors[part] = 1 / (close >= close[np.arange(len(part)), part][:, None]).sum(1)
    return errors

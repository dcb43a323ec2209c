"""Preprocessing of vectors before they are compared with anchors: centre, scale, whiten, normalise."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.distances import unit as length_one
from relrep_cli.numerics.whitening import Blocks, deviations, moments, rounding, whitening


@dataclass(frozen=True)
class Preprocessing:
    """The steps to apply, always in this order.

    center: subtract the mean. scale: centre, then divide each axis by its standard deviation. whiten: centre, then multiply by
    the inverse square root of the covariance (ZCA). normalize: scale each row to length 1.
    """

    center: bool = False
    scale: bool = False
    whiten: bool = False
    normalize: bool = False

    def steps(self) -> list[str]:
        return [name for name in ("center", "scale", "whiten", "normalize") if getattr(self, name)]

    def fit(self, blocks: Blocks) -> dict[str, np.ndarray]:
        """Compute the statistics that the steps need from blocks of training rows.

        Returns those of center (d,), scale (d,) and whiten (d, d) that are needed, in float64.
        """
        if self.whiten:
            mean, spread, unit = moments(blocks(), full=True)
            floor = rounding(blocks(), mean, spread, unit)
            return {"center": mean, "whiten": whitening(spread, 0.0, "--whiten", floor, unit)}
        if self.scale:
            mean, variances, unit = moments(blocks())
            return {"center": mean, "scale": deviations(variances, unit)}
        return {"center": moments(blocks())[0]} if self.center else {}

    def apply(self, x: np.ndarray, statistics: Mapping[str, np.ndarray], dtype: np.dtype) -> np.ndarray:
        """Preprocess the rows x (b, d). The arithmetic is float64; the result has the given dtype."""
        if not self.steps():
            return np.ascontiguousarray(x, dtype)
        wide = np.asarray(x, np.float64)
        if "center" in statistics and (self.center or self.scale or self.whiten):
            wide = wide - statistics["center"]
        if self.scale:
            wide = wide / statistics["scale"]
        if self.whiten:
            wide = wide @ statistics["whiten"]
        return np.ascontiguousarray(length_one(wide) if self.normalize else wide, dtype)

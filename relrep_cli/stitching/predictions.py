"""How well predictions fit what was to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from relrep_cli.heads.decoder import pixels
from relrep_cli.heads.heads import weighted_f1
from relrep_cli.numerics.intervals import bootstrap_of_few, within


def score_predictions(truth: np.ndarray, predicted: Sequence[np.ndarray], classes: int, seed: int) -> dict[str, Any]:
    """The scores of predictions, one array for each seed: accuracy and weighted F1, r2 and mse of numbers, mse of images."""
    rows = item_scores(truth, predicted, classes)
    scores: dict[str, Any] = {"accuracy": None, "f1": None}
    bounds: tuple[float | None, float | None] = (None, 1)
    if classes:
        f1 = float(np.mean([weighted_f1(p, truth, classes) for p in predicted]))
        scores, bounds = {"accuracy": float(rows.mean()), "f1": f1}, (0, 1)
    elif truth.ndim > 1:
        scores, bounds = scores | {"mse": float(rows.mean())}, (0, None)
    else:
        errors = np.array([np.square(p - truth) for p in predicted])
        scores |= {"r2": float(rows.mean()), "mse": float(errors.mean())}
    low, high = within(bootstrap_of_few(rows.mean(0), np.random.default_rng(seed)), bounds)
    deviation = float(rows.mean(1).std(ddof=1)) if len(rows) > 1 else 0.0
    return scores | {"deviation": deviation, "low": low, "high": high}


def item_scores(truth: np.ndarray, predicted: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """(seeds, n) the score of each item: 1 for the right class, else 0; of numbers, 1 - squared error / variance; of images,
    the mean squared error of its pixels."""
    if classes:
        return np.array([p == truth for p in predicted], np.float64)
    if truth.ndim > 1:
        wanted = pixels(truth)
        return np.array([np.square(p - wanted).mean(1, dtype=np.float64) for p in predicted])
    return np.array([1 - np.square(p - truth) / (float(truth.var()) or 1.0) for p in predicted])

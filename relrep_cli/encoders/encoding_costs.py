"""What the training and the use of an encoder cost, for --dry-run: constants fitted to runs, see docs/cluster.md."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from relrep_cli.encoders import ENCODERS, Trained, rows_at_once
from relrep_cli.engine.estimates import Cost, of_file
from relrep_cli.sources.items import Items

TORCH = Cost(fixed=1.6, memory=305e6)  # loading it, and the first step of a training
TRAINED = 3  # products of a step: one forward, two back; the decoder of a reconstruction has half of the weights
SLOWER = 3.0  # products of small batches, by torch, against large ones
STEP, MOVES = 2e-3, 5e-8  # seconds of a step of a training: for each, and what Adam spends on each weight


def cost_of(
    items: Items, name: str, params: Mapping[str, Any], trained: Trained | None, encoded: int | None = None
) -> Cost | None:
    """Training the encoder unless it is trained, and encoding items; None where nothing is known of it.

    encoded: the number of items of a part, all of which were read; None for all.
    """
    name, params = (trained.name, trained.params) if trained else (name, params)
    n, shape = len(items.x), tuple(items.x.shape[1:])
    own = n if encoded is None else encoded
    size = prod(shape)
    reading = of_file(items.x, items.ids).beside(Cost(memory=8.0 * 3 * rows_at_once(shape) * size))
    if items.kind not in ("vectors", "images"):
        return None
    if name == "pca":
        learning = Cost() if trained else Cost(double=float(n) * size * size + 12.0 * size**3, memory=8.0 * 3 * size * size)
        return reading.beside(learning + Cost(double=float(own) * size * int(params["dim"]), scanned=own * size))
    if name == "random-projection":
        return reading.beside(Cost(double=float(own) * size * int(params["dim"]), scanned=own * size))
    if "epochs" not in params:
        return None
    weights = ENCODERS[name].shapes(shape, dict(params))
    products = sum(_uses(kind, shape) for kind in weights.values())
    work = Cost(single=SLOWER * own * products)
    if not trained:
        steps = int(params["epochs"]) * -(-n // int(params["batch_size"]))
        moving = sum(prod(kind) for kind in weights.values())
        work += Cost(single=SLOWER * TRAINED * n * int(params["epochs"]) * products, fixed=steps * (STEP + MOVES * moving))
        work += Cost(memory=float(np.dtype(np.float32).itemsize) * (4 * moving + 8 * int(params["batch_size"]) * size))
    return reading.beside(TORCH.beside(work))


def _uses(weight: tuple[int, ...], shape: tuple[int, ...]) -> float:
    """Multiply-adds of a weight for one item: a convolution runs at a quarter, and then a sixteenth, of all positions."""
    positions = shape[0] * shape[1] / 8 if len(weight) == 4 and len(shape) > 1 else 1.0
    return float(prod(weight)) * positions if len(weight) > 1 else 0.0

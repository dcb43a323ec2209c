"""What the training and the use of a head cost, for --dry-run: constants fitted to runs, see docs/cluster.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from relrep_cli.engine.estimates import Cost
from relrep_cli.heads.mlp import BATCH, passes

LOGISTIC = 1.5  # passes over all numbers, times classes, of logistic regression
SWEEPS = 40  # of a support vector machine over its rows, about, for each class
SKLEARN = Cost(fixed=1.3, memory=145e6)  # loading it
TORCH = Cost(fixed=1.6, memory=270e6)
BACK = 3  # products of a step of gradient descent: one forward, two back
SLOWER = 4  # small products, by torch, against large ones
STEP = 1e-3  # seconds of a step of gradient descent beside its products


def library_of(head: str) -> Cost:
    """Loading what a head is trained with, once in a run."""
    return {"logistic": SKLEARN, "svm": SKLEARN, "mlp": TORCH}.get(head, Cost())


def cost_of_training(head: str, n: int, d: int, classes: int, params: Mapping[str, Any]) -> Cost | None:
    """Training a head on n rows of d numbers; None where nothing is known of it. classes: 0 for numbers."""
    outputs, numbers = max(classes, 1), float(n) * d
    if head == "linear":
        return Cost(double=numbers * (d + outputs) + float(d) ** 3, scanned=numbers / 4)
    if head == "logistic":
        return Cost(scanned=LOGISTIC * numbers * outputs, memory=24.0 * numbers)
    if head == "svm":
        return Cost(scanned=SWEEPS * numbers * outputs / 10, memory=24.0 * numbers)
    if head == "knn":
        return Cost(scanned=numbers / 4, memory=4.0 * numbers)
    if head == "mlp":
        hidden = int(params["hidden"])
        epochs = passes(n, int(params["head_epochs"]))
        products = float(n) * epochs * (d + outputs) * hidden
        return Cost(single=BACK * SLOWER * products, fixed=STEP * epochs * -(-n // BATCH), memory=12.0 * numbers)
    return None


def cost_of_use(head: str, trained: int, n: int, d: int, classes: int) -> Cost:
    """Predicting n rows of d numbers by a head that learnt from `trained` rows."""
    if head == "knn":
        return Cost(searched=1.25 * n * trained * (1 + d / 256))
    width = 128 if head == "mlp" else max(classes, 1)
    return Cost(double=float(n) * d * width, scanned=float(n) * d / 4)

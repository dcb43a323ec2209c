"""Heads: decoders on top of a space, which predict the class of an item from its vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np

from relrep_cli.blocks import row_blocks
from relrep_cli.registry import Param, Registry
from relrep_cli.signals import check
from relrep_cli.similarities import torch_device

HEADS: Registry = Registry("head", ("deterministic", "joint", "source"))  # joint: can be trained with an aggregator in front
head = HEADS
Predict = Callable[[np.ndarray], np.ndarray]  # (n, d) -> (n,) class numbers

Hidden = Annotated[int, Param("Hidden units of the mlp head.", minimum=1)]
Epochs = Annotated[int, Param("Passes of the mlp head over its training rows.", minimum=1)]
Ridge = Annotated[float, Param("Penalty of the linear head, per row and on standard-scaled columns.", minimum=0)]


@head(
    deterministic=True, joint=False, source="ridge regression on class indicators, closed form (Hastie et al. 2009, sec. 4.2)"
)
def linear(x: np.ndarray, target: np.ndarray, classes: int, *, seed: int, device: str, ridge: Ridge = 0.01) -> Predict:
    """Ridge regression on class indicators; the highest wins.

    x: (n, d). target: (n,) class numbers. Columns are standard-scaled on x itself, moments are summed in float64, so that
    one pass over x is all it takes.
    """
    n, d = x.shape
    total, indicator = np.zeros(d), np.bincount(target, minlength=classes) / n
    gram, cross = np.zeros((d, d)), np.zeros((d, classes))
    shift = np.asarray(x[: min(n, 1024)], np.float64).mean(0)
    for block in row_blocks(n, d):
        z = x[block] - shift
        total += z.sum(0)
        gram += z.T @ z
        cross += z.T @ np.eye(classes)[target[block]]
    mean = total / n
    gram = gram / n - np.outer(mean, mean)
    scale = np.sqrt(np.diag(gram))
    scale[scale <= 1e-12 * max(float(scale.max()), 1e-300)] = np.inf  # a constant column says nothing
    penalised = gram / np.outer(scale, scale) + max(ridge, 1e-12) * np.eye(d)
    weights = np.linalg.solve(penalised, (cross / n - np.outer(mean, indicator)) / scale[:, None]) / scale[:, None]
    return lambda q: _scores(q, shift + mean, weights, indicator).argmax(1)


def _scores(q: np.ndarray, mean: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    out = np.empty((len(q), len(bias)))
    for block in row_blocks(*q.shape):
        out[block] = (q[block] - mean) @ weights + bias
    return out


@head(deterministic=False, joint=True, source="Moschella et al. 2022, sec. 5: layer norm, linear, activation, linear")
def mlp(
    x: np.ndarray,
    target: np.ndarray,
    classes: int,
    *,
    seed: int,
    device: str,
    hidden: Hidden = 128,
    head_epochs: Epochs = 5,
    front: Callable[[], Any] | None = None,
) -> Predict:
    """A small network: LayerNorm, Linear, Tanh, Linear, trained by AdamW on cross-entropy.

    x: (n, d). target: (n,) class numbers. front: builds a torch module that comes first and is trained along, such as an
    aggregator. Equal seeds give equal heads on one device.
    """
    import torch

    from relrep_cli.encoders.base import reproducible

    place = _place(torch, device)
    with reproducible(seed):
        first = [] if front is None else [front()]
        width = first[0].width if first else x.shape[1]
        network = torch.nn.Sequential(
            *first,
            torch.nn.LayerNorm(width),
            torch.nn.Linear(width, hidden),
            torch.nn.Tanh(),
            torch.nn.Linear(hidden, classes),
        ).to(place)
        _train(torch, network, torch.from_numpy(np.array(x, np.float32)), torch.from_numpy(target), place, head_epochs)
    network.eval()

    def predict(q: np.ndarray) -> np.ndarray:
        out = np.empty(len(q), np.int64)
        with torch.inference_mode():
            for block in row_blocks(*q.shape):
                vectors = torch.from_numpy(np.array(q[block], np.float32))  # a copy, since torch warns of read-only maps
                out[block] = network(vectors.to(place)).argmax(1).cpu().numpy()
        return out

    return predict


def _train(torch: Any, network: Any, x: Any, target: Any, place: Any, epochs: int, batch: int = 256) -> None:
    """Data as one tensor, shuffled by index, fused AdamW: several times faster than a DataLoader."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-2, fused=place.type in ("cpu", "cuda"))
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), batch):
            check()
            rows = order[start : start + batch]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows].to(place)), target[rows].to(place)).backward()
            optimizer.step()
            schedule.step()


def _place(torch: Any, device: str) -> Any:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu":
        torch_device(device)
    return torch.device(device)


def weighted_f1(predicted: np.ndarray, target: np.ndarray, classes: int) -> float:
    """F1 score of each class, weighted by how often it is true.

    >>> round(weighted_f1(np.array([0, 0, 1]), np.array([0, 1, 1]), 2), 4)
    0.6667
    """
    confusion = np.bincount(target * classes + predicted, minlength=classes**2).reshape(classes, classes)
    hits, true, said = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    f1 = 2 * hits / np.maximum(true + said, 1)
    return float((f1 * true).sum() / true.sum())

"""The mlp head as a torch network: how it is trained, alone or behind an aggregator, adapted, and run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError
from relrep_cli.base.signals import check
from relrep_cli.encoders.optimizers import optimizer
from relrep_cli.numerics.devices import own_memory, torch_device
from relrep_cli.numerics.whitening import unit_of

Arrays = Mapping[str, np.ndarray]
EPSILON = 1e-5  # of the layer norm
BATCH, RATE = 256, 3e-3
PASSES, STEPS = 5, 300  # at least, where nobody names a number of passes
GENTLE = 0.1  # of the rate, where few rows train what many have trained
ADAPTED = ("qkv", "head", "all")


def trained(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    seed: int,
    device: str,
    hidden: int,
    epochs: int,
    front: Callable[[], Any] | None = None,
) -> Arrays:
    """The arrays of a network trained on x (n, d) and y (n,); what `front` builds is trained along, in place."""
    import torch

    from relrep_cli.encoders.base import reproducible

    place = place_of(torch, device)
    with reproducible(seed):
        first = None if front is None else front()
        width = x.shape[1] if first is None else first.width
        network = _network(torch, first, width, hidden, classes or 1).to(place)
        return _fitted(torch, network, x, y, classes, place, passes(len(x), epochs))


def passes(n: int, wanted: int, least: int = PASSES, steps: int = STEPS) -> int:
    """The passes over n rows: as many as are wanted, or where that is 0 at least `least`, and enough for this many steps.

    >>> passes(60_000, 0), passes(140, 0), passes(140, 7)
    (5, 300, 7)
    """
    return wanted or max(least, ceil(steps / ceil(n / BATCH)))


def adapted(
    arrays: Arrays, front: Any, x: np.ndarray, y: np.ndarray, classes: int, what: str, seed: int, device: str, epochs: int
) -> tuple[Arrays, Any]:
    """The arrays and a copy of `front`, trained further on few rows x (n, d) and y (n,) of another encoder.

    what: `qkv` moves the query, key and value maps of the attention alone, `head` the head alone, `all` both and the rest
    of the aggregator. Source: Cannistraci et al. 2024, sec. 4.4.
    """
    import torch

    from relrep_cli.encoders.base import reproducible

    place = place_of(torch, device)
    with reproducible(seed):
        hidden, width = arrays["hidden.weight"].shape
        network = _network(torch, copy.deepcopy(front), width, hidden, classes or 1)
        level, spread = _unit(y, classes)
        own = {**arrays, "out.weight": arrays["out.weight"] / spread, "out.bias": (arrays["out.bias"] - level) / spread}
        state = {name: torch.from_numpy(np.array(values, np.float32)) for name, values in own.items()}
        network.load_state_dict(state, strict=False)
        moving = {"qkv": lambda name: name.startswith("front.qkv"), "head": lambda name: not name.startswith("front.")}
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(what == "all" or moving[what](name))
        fitted = _fitted(torch, network.to(place), x, y, classes, place, epochs, GENTLE * RATE)
        return fitted, network.front


def _network(torch: Any, front: Any, width: int, hidden: int, outputs: int) -> Any:
    """front (if any), LayerNorm, Linear, Tanh, Linear, each part under a name of its own."""
    network = torch.nn.Sequential()
    if front is not None:
        network.add_module("front", front)
    network.add_module("norm", torch.nn.LayerNorm(width, EPSILON))
    network.add_module("hidden", torch.nn.Linear(width, hidden))
    network.add_module("tanh", torch.nn.Tanh())
    network.add_module("out", torch.nn.Linear(hidden, outputs))
    return network


def _unit(y: np.ndarray, classes: int) -> tuple[float, float]:
    """The mean and the deviation by which numbers y (n,) are learnt; classes are learnt as they are."""
    return (0.0, 1.0) if classes else (float(np.mean(y)), float(np.std(y)) or 1.0)


def _fitted(
    torch: Any, network: Any, x: np.ndarray, y: np.ndarray, classes: int, place: Any, epochs: int, rate: float = RATE
) -> dict[str, np.ndarray]:
    """Train the network, and give its arrays without those of `front`. Numbers are learnt at mean 0 and deviation 1."""
    level, spread = _unit(y, classes)
    aim = torch.from_numpy(np.asarray(y, np.int64)) if classes else torch.from_numpy(((y - level) / spread).astype(np.float32))
    network.train()
    _descend(torch, network, torch.from_numpy(_single(x)), aim, place, epochs, rate)
    network.to("cpu").eval()
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("front.")}
    arrays = {name: value.detach().numpy().copy() for name, value in own.items()}
    arrays["out.weight"], arrays["out.bias"] = arrays["out.weight"] * spread, arrays["out.bias"] * spread + level
    return arrays


def _descend(torch: Any, network: Any, x: Any, aim: Any, place: Any, epochs: int, rate: float) -> None:
    """Data as one tensor, on the device if they fit, shuffled by index, fused AdamW: several times faster than a DataLoader."""
    if x.nbytes + aim.nbytes <= own_memory(place):
        x, aim = x.to(place), aim.to(place)
    moving = [p for p in network.parameters() if p.requires_grad]
    adam = optimizer("AdamW", moving, lr=rate / 3, weight_decay=1e-2, fused=place.type in ("cpu", "cuda"))
    steps = epochs * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=rate, total_steps=steps)
    numbers = aim.dtype == torch.float32
    for _ in range(epochs):
        order = torch.randperm(len(x)).to(x.device)
        for start in range(0, len(x), BATCH):
            check()
            rows = order[start : start + BATCH]
            adam.zero_grad()
            out = network(x[rows].to(place))
            if numbers:
                loss = torch.nn.functional.mse_loss(out[:, 0], aim[rows].to(place))
            else:
                loss = torch.nn.functional.cross_entropy(out, aim[rows].to(place))
            loss.backward()
            adam.step()
            schedule.step()


def through(front: Any, rows: np.ndarray) -> np.ndarray:
    """(b, width) what the module makes of rows (b, d)."""
    import torch

    with torch.inference_mode():
        out: np.ndarray = front(torch.from_numpy(_single(rows))).numpy()
    return out


def _single(x: np.ndarray) -> np.ndarray:
    """A copy in float32: torch warns of read-only maps. Raises DataError where that cannot hold the numbers."""
    with np.errstate(over="ignore"):
        out = np.array(x, np.float32)
    if not np.isfinite(out).all():
        peak = float(np.abs(x).max())
        raise DataError(
            f"the vectors hold numbers up to {peak:.0e}, and the mlp head computes in float32",
            "Divide the vectors by a constant, or choose another --head.",
        )
    return out


def attention(front: Any, x: np.ndarray) -> np.ndarray | None:
    """(subspaces,) how much attention each subspace gets in the mean over x (n, d); None where the module does not attend."""
    from relrep_cli.numerics.blocks import row_blocks

    total: Any = 0.0
    for block in row_blocks(*x.shape, x):
        through(front, x[block])
        if front.attention is None:
            return None
        total = total + front.attention.numpy().sum(0, dtype=np.float64)
    return np.asarray(total) / len(x)


def scores(arrays: Arrays, rows: np.ndarray) -> np.ndarray:
    """(b, outputs) of rows (b, width), in float64 whatever the device of the training."""
    wide = np.asarray(rows, np.float64)
    unit = unit_of([wide], tiny=False)
    apart = wide / unit - (wide / unit).mean(1, keepdims=True) if unit != 1 else wide - wide.mean(1, keepdims=True)
    normed = apart / np.sqrt((apart * apart).mean(1, keepdims=True) + EPSILON / unit / unit)
    normed = normed * arrays["norm.weight"] + arrays["norm.bias"]
    active = np.tanh(normed @ arrays["hidden.weight"].T + arrays["hidden.bias"])
    return active @ arrays["out.weight"].T + arrays["out.bias"]


def place_of(torch: Any, device: str) -> Any:
    """The torch device for training; see devices.chosen."""
    return torch_device(device)

"""Trained networks in use: their weights as arrays, from items to vectors and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.encoders.base import Trained, Vectors, torch_device
from relrep_cli.encoders.checkpoints import Weights
from relrep_cli.encoders.tasks import Task, adjacency, tensor
from relrep_cli.sources.items import Items

if TYPE_CHECKING:
    import torch

KEPT = ("encoder", "decoder")  # parts of a network that encoding needs; heads and projectors serve the training alone


def network_shapes(built: Callable[..., Task], shape: tuple[int, ...], params: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that are kept, from a network without storage."""
    import torch

    if len(shape) > 3 or math.prod(shape) > 1 << 28:
        raise ValueError("no shape of an item")
    with torch.device("meta"):
        network = built(shape, params).network
    return {name: tuple(tensor.shape) for name, tensor in _kept(network).items()}


def _kept(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every weight and running moment of the parts that are kept; counters are left out."""
    state = network.state_dict()
    return {n: tensor for n, tensor in state.items() if tensor.is_floating_point() and n.partition(".")[0] in KEPT}


def network_weights(network: torch.nn.Module) -> Weights:
    return {name: tensor.cpu().numpy().copy() for name, tensor in _kept(network).items()}


def applied(trained: Trained, built: Callable[..., Task], device: str, what: str) -> Vectors:
    """A function from a block of items, or from a graph, to what the trained network makes of it: nothing is dropped."""
    import torch

    on = torch_device(device)
    task = built(trained.shape, trained.params)
    state = task.network.state_dict()
    task.network.load_state_dict(state | {name: torch.from_numpy(w) for name, w in trained.weights.items()})
    task.network.eval().to(on)
    function: Any = getattr(task, what)

    def vectors(block: Any) -> NDArray[np.float32]:
        with torch.inference_mode():
            inputs = (tensor(block.x, on), adjacency(block, on)) if isinstance(block, Items) else (tensor(block, on),)
            result: NDArray[np.float32] = function(*inputs).cpu().numpy()
        return result

    return vectors


def decoded(trained: Trained, built: Callable[..., Task], device: str) -> Vectors:
    """A function from vectors to items: images (b, h, w) or (b, h, w, c) in 0..1, cut to size, or vectors."""
    back, shape = applied(trained, built, device, "decode"), trained.shape

    def items(block: Any) -> NDArray[np.float32]:
        images = back(block)
        if len(shape) == 1:
            return images
        images = np.moveaxis(images[..., : shape[0], : shape[1]], 1, -1)
        return images if len(shape) == 3 else images[..., 0]

    return items

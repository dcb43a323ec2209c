"""Encoders trained to reconstruct their input through a bottleneck."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.encoders.base import (
    FORGETFUL,
    Checkpoint,
    Dim,
    Progress,
    Trained,
    Vectors,
    encoder,
    reproducible,
    torch_device,
    training_rows,
)
from relrep_cli.encoders.checkpoints import Training, Weights
from relrep_cli.errors import UsageError
from relrep_cli.registry import Param

if TYPE_CHECKING:
    import torch

CHANNELS = (16, 32)  # of the two convolutions; each halves height and width
HELD_OUT = 20  # one training row in so many is kept apart, to tell when to stop

Log = list[dict[str, float]]


def conv_shapes(shape: tuple[int, ...], params: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that `conv_ae` keeps: two normalised convolutions, then a linear map."""
    first, second = CHANNELS
    shapes: dict[str, tuple[int, ...]] = {"8.weight": (params["dim"], math.prod(_features(shape))), "8.bias": (params["dim"],)}
    for layer, before, after in ((0, 1, first), (3, first, second)):
        shapes |= {f"{layer}.weight": (after, before, 3, 3), f"{layer}.bias": (after,)}
        shapes |= {f"{layer + 1}.{name}": (after,) for name in ("weight", "bias", "running_mean", "running_var")}
    return shapes


def conv_apply(trained: Trained, device: str) -> Vectors:
    """A function from images (b, h, w) to vectors (b, dim): the encoding half, with the running means and no dropout."""
    import torch

    on = torch_device(device)
    network = _encoding(trained.shape, trained.params["dim"], dropout=0.0)
    network.load_state_dict(network.state_dict() | {name: torch.from_numpy(w) for name, w in trained.weights.items()})
    network.eval().to(on)

    def vectors(block: NDArray[Any]) -> NDArray[np.float32]:
        with torch.inference_mode():
            found: NDArray[np.float32] = network(_pixels(block, on)).cpu().numpy()
        return found

    return vectors


@encoder(trainable=True, apply=conv_apply, shapes=conv_shapes, source="Masci et al. 2011; Moschella et al. 2023")
def conv_ae(
    items: NDArray[np.uint8],
    train: NDArray[Any],
    *,
    dim: Dim = 48,
    epochs: Annotated[int, Param("Passes over the training rows, at most.", minimum=1)] = 5,
    batch_size: Annotated[int, Param("Training rows per step.", minimum=2)] = 256,
    learning_rate: Annotated[float, Param("First step size of Adam; falls to 0.", minimum=0, maximum=1)] = 2e-3,
    dropout: Annotated[float, Param("Share of features left out before the bottleneck.", minimum=0, maximum=0.95)] = 0.5,
    patience: Annotated[int, Param("Epochs without a better reconstruction before it stops.", minimum=1)] = 3,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = lambda done, total, message: None,
    checkpoint: Checkpoint = FORGETFUL,
) -> Trained:
    """Convolutional autoencoder of grey images.

    `items` (n, h, w) uint8, `train` the rows to train on (mask or indices). Loss: mean squared error of pixels in 0..1.
    One training row in 20 is held out; the weights of the epoch that reconstructs those best are kept. The seed decides
    everything, to the bit on a CPU of one kind, for any number of threads; torch's own random state is left as it was.
    After every epoch the state goes to `checkpoint`, and a training that was stopped goes on from there.
    Raises DataError for fewer than 3 training rows, UsageError when the training diverges.
    """
    import torch

    params = {"dim": dim, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    params |= {"dropout": dropout, "patience": patience, "seed": seed}
    shape, rows, on = tuple(items.shape[1:]), training_rows(items, train, at_least=3), torch_device(device)
    with reproducible(seed):  # first weights and dropout come from torch's global generator
        halves = _encoding(shape, dim, dropout), _decoding(shape, dim)
        network = torch.nn.Sequential(*halves).to(on)
        weights, log = _fit(network, items, rows, params, on, progress, checkpoint)
    return Trained("conv-ae", params, shape, weights, log)


def _fit(
    network: torch.nn.Sequential,
    items: NDArray[np.uint8],
    rows: NDArray[np.intp],
    params: dict[str, Any],
    on: torch.device,
    progress: Progress,
    checkpoint: Checkpoint,
) -> tuple[Weights, Log]:
    """Train until the held-out rows stop improving; the best epoch's weights of the encoding half, and the log."""
    import torch

    optimizer = torch.optim.Adam(network.parameters(), lr=params["learning_rate"])
    rng = np.random.default_rng(params["seed"])
    held, rows = np.split(rng.permutation(rows), [max(1, len(rows) // HELD_OUT)])
    count, epochs = max(1, len(rows) // params["batch_size"]), params["epochs"]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * count)
    training = Training(network, optimizer, schedule, rng)
    training.restore(checkpoint.load())
    while len(training.log) < epochs and not _stale(training.log, params["patience"]):
        epoch, loss = len(training.log), 0.0
        # Batches of near equal size: a last one of a single row has no variance to normalise by.
        for i, batch in enumerate(np.array_split(rng.permutation(rows), count)):
            loss += _step(network, optimizer, items[batch], on) * len(batch) / len(rows)
            schedule.step()
            progress(epoch * count + i + 1, epochs * count, f"epoch {epoch + 1} of {epochs}")
        error = _error(network, items, held, params["batch_size"], on)
        if error < min((past["held_out_mse"] for past in training.log), default=math.inf):
            training.weights = _weights(network[0])
        training.log.append({"epoch": epoch + 1, "train_mse": loss, "held_out_mse": error})
        if not training.weights:
            raise UsageError(f"the training diverged at --learning-rate {params['learning_rate']}. Give a smaller one.")
        checkpoint.save(training.to_bytes())
    return training.weights, training.log


def _stale(log: Log, patience: int) -> bool:
    """Whether the last `patience` epochs brought no better reconstruction."""
    errors = [past["held_out_mse"] for past in log]
    return bool(errors) and len(errors) - 1 - errors.index(min(errors)) >= patience


def _step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, block: NDArray[np.uint8], on: torch.device) -> float:
    """One step of the optimizer on a batch; its loss."""
    import torch

    network.train()
    optimizer.zero_grad()
    loss = _loss(network, block, on)
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item()


def _error(network: torch.nn.Module, items: NDArray[np.uint8], rows: NDArray[np.intp], size: int, on: torch.device) -> float:
    """Mean squared error over some rows, nothing dropped."""
    import torch

    network.eval()
    batches = np.array_split(rows, max(1, len(rows) // size))
    with torch.inference_mode():
        return sum(_loss(network, items[batch], on).item() * len(batch) for batch in batches) / len(rows)


def _loss(network: torch.nn.Module, block: NDArray[np.uint8], on: torch.device) -> torch.Tensor:
    """Mean squared error of the reconstruction, cut to the size of the images: it comes in multiples of four."""
    import torch

    x = _pixels(block, on)
    return torch.nn.functional.mse_loss(network(x)[..., : x.shape[2], : x.shape[3]], x)


def _pixels(block: NDArray[Any], on: torch.device) -> torch.Tensor:
    """Images (b, h, w) as a tensor (b, 1, h, w) of 0..1."""
    import torch

    return torch.from_numpy(block).to(on).unsqueeze(1).float().div(255)


def _features(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width after the two convolutions, each of which halves and rounds up."""
    height, width = shape
    return CHANNELS[1], -(-height // 4), -(-width // 4)


def _encoding(shape: tuple[int, ...], dim: int, dropout: float) -> torch.nn.Sequential:
    """(b, 1, h, w) -> (b, dim). Dropout before the bottleneck, not on it, and no activation after it."""
    from torch import nn

    first, second = CHANNELS
    return nn.Sequential(
        *(nn.Conv2d(1, first, 3, stride=2, padding=1), nn.BatchNorm2d(first), nn.ReLU()),
        *(nn.Conv2d(first, second, 3, stride=2, padding=1), nn.BatchNorm2d(second), nn.ReLU()),
        *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(math.prod(_features(shape)), dim)),
    )


def _decoding(shape: tuple[int, ...], dim: int) -> torch.nn.Sequential:
    """(b, dim) -> (b, 1, 4 ceil(h / 4), 4 ceil(w / 4)), in 0..1. One convolution gives all 16 pixels of a cell at once."""
    from torch import nn

    features = _features(shape)
    return nn.Sequential(
        *(nn.Linear(dim, math.prod(features)), nn.Unflatten(1, features), nn.BatchNorm2d(features[0]), nn.ReLU()),
        *(nn.Conv2d(features[0], 16, 3, padding=1), nn.PixelShuffle(4), nn.Sigmoid()),
    )


def _weights(network: torch.nn.Module) -> Weights:
    """A copy of every weight and running moment, by name; counters are left out."""
    state = network.state_dict()
    return {name: tensor.cpu().numpy().copy() for name, tensor in state.items() if tensor.is_floating_point()}

"""The decoder head: from vectors of a space back to images, by the decoding half of conv-ae."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from relrep_cli.base.signals import check
from relrep_cli.heads.mlp import passes, place_of
from relrep_cli.numerics.blocks import pick, row_blocks
from relrep_cli.numerics.devices import own_memory
from relrep_cli.numerics.whitening import deviations, moments

BATCH, RATE = 256, 2e-3
Arrays = Mapping[str, np.ndarray]


def trained(x: np.ndarray, images: np.ndarray, seed: int, device: str, epochs: int) -> Arrays:
    """The arrays of a decoder that was trained on x (n, d) and images (n, h, w) or (n, h, w, 3) uint8.

    Columns are standard-scaled on x itself. The loss is the mean squared error of pixels in 0..1.
    """
    import torch

    from relrep_cli.encoders.base import reproducible
    from relrep_cli.encoders.optimizers import optimizer

    place, epochs = place_of(torch, device), passes(len(x), epochs)
    mean, variances, unit = moments(x[block] for block in row_blocks(*x.shape, x))
    scale = deviations(variances, unit)
    with reproducible(seed):
        network = _network(images.shape[1:], x.shape[1]).to(place)
        adam = optimizer("AdamW", network.parameters(), lr=RATE / 3, weight_decay=0.0)
        steps = epochs * -(-len(x) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=RATE, total_steps=steps)
        batch = _batches(x, images, mean, scale, place)
        for _ in range(epochs):
            order = torch.randperm(len(x))
            for start in range(0, len(x), BATCH):
                check()
                z, wanted = batch(order[start : start + BATCH])
                adam.zero_grad()
                torch.nn.functional.mse_loss(_flat(network(z), images.shape[1:]), wanted).backward()
                adam.step()
                schedule.step()
    state = {f"network.{name}": v.detach().cpu().numpy().copy() for name, v in network.state_dict().items()}
    return {"mean": mean, "scale": scale, "shape": np.array(images.shape[1:], np.float64), **state}


def _batches(x: np.ndarray, images: np.ndarray, mean: np.ndarray, scale: np.ndarray, place: Any) -> Callable[[Any], Any]:
    """A function from a tensor of row numbers to scaled rows and pixels on the device, where all stay if they fit."""
    import torch

    def here(rows: np.ndarray) -> tuple[Any, Any]:
        z = ((pick(x, rows) - mean) / scale).astype(np.float32)
        return torch.from_numpy(z).to(place), torch.from_numpy(pick(images, rows)).to(place).flatten(1)

    def in_unit(z: Any, levels: Any) -> tuple[Any, Any]:
        return z, levels.float() / 255

    if 4 * x.size + images.nbytes > own_memory(place):
        return lambda rows: in_unit(*here(rows.numpy()))
    parts = [here(np.arange(block.start, block.stop)) for block in row_blocks(*x.shape)]
    all_z, all_levels = (torch.cat(side) for side in zip(*parts, strict=True))
    return lambda rows: in_unit(all_z[rows.to(place)], all_levels[rows.to(place)])


def scores(arrays: Arrays, rows: np.ndarray) -> np.ndarray:
    """(b, pixels) in 0..1 of rows (b, d), colours last."""
    import torch

    shape = tuple(map(int, arrays["shape"]))
    network = _network(shape, rows.shape[1])
    state = {name.removeprefix("network."): v for name, v in arrays.items() if name.startswith("network.")}
    network.load_state_dict({name: torch.from_numpy(np.array(v, np.float32)) for name, v in state.items()})
    z = ((rows - arrays["mean"]) / arrays["scale"]).astype(np.float32)
    with torch.inference_mode():
        images: np.ndarray = _flat(network(torch.from_numpy(z)), shape).numpy()
    return images


def pixels(images: np.ndarray) -> np.ndarray:
    """(n, pixels) in 0..1 of images (n, h, w) or (n, h, w, 3) uint8."""
    return (images.reshape(len(images), -1) / np.float32(255)).astype(np.float32)


def _network(shape: tuple[int, ...], dim: int) -> Any:
    from relrep_cli.encoders.networks import conv_decoding

    return conv_decoding(shape, dim).eval()


def _flat(images: Any, shape: tuple[int, ...]) -> Any:
    """(b, c, >= h, >= w) as rows (b, h * w * c)."""
    return images[..., : shape[0], : shape[1]].permute(0, 2, 3, 1).flatten(1)

"""Encoders trained to reconstruct their input through a bottleneck."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

from relrep_cli.base.registry import Param
from relrep_cli.encoders.base import FLAT, IMAGES, Dim, Dropout
from relrep_cli.encoders.networks import conv_decoding, conv_encoding, layers, map_decoding, map_encoding, vit_halves
from relrep_cli.encoders.tasks import Batch, Facts, Task
from relrep_cli.encoders.training import network_encoder

if TYPE_CHECKING:
    import torch

Denoising = Annotated[float, Param("Standard deviation of the noise added to inputs; pixels are in 0..1.", minimum=0)]
Bottleneck = Annotated[
    str, Param("Shape of the bottleneck: flat for a linear layer, map for a flattened feature map.", choices=("flat", "map"))
]
Beta = Annotated[float, Param("Weight of the KL divergence from the standard normal distribution.", minimum=0)]
Hidden = Annotated[int, Param("Width of the layer between items and bottleneck; 0 for none.", minimum=0, maximum=65536)]
Patch = Annotated[int, Param("Height and width of a patch in pixels.", minimum=1, maximum=64)]
Width = Annotated[int, Param("Width of a token, a multiple of 32.", minimum=32, maximum=2048)]
Depth = Annotated[int, Param("Layers of the transformer.", minimum=1, maximum=48)]
CONV: dict[str, Any] = {"epochs": 5, "batch_size": 256, "learning_rate": 2e-3, "weight_decay": 0.0, "patience": 3}
CONVOLUTIONS = {"flat": (conv_encoding, conv_decoding), "map": (map_encoding, map_decoding)}


@network_encoder(takes=IMAGES, reconstructs=True, source="Masci et al. 2011; Moschella et al. 2023", **CONV)
def conv_ae(
    facts: Facts, *, dim: Dim = 48, dropout: Dropout = 0.5, bottleneck: Bottleneck = "flat", denoising: Denoising = 0.0
) -> Task:
    """Convolutional autoencoder of images.

    Loss: mean squared error of pixels in 0..1. A flat bottleneck is a linear map of all features; a map keeps their places.
    With `denoising`, the input is noisy and the target is not (Vincent et al. 2008).
    """
    encoding, decoding = CONVOLUTIONS[bottleneck]
    halves = encoding(facts.shape, dim, dropout), decoding(facts.shape, dim)
    return reconstruction(*halves, denoising=denoising)


@network_encoder(takes=IMAGES, reconstructs=True, source="Kingma and Welling 2014; Cannistraci et al. 2024", **CONV)
def conv_vae(
    facts: Facts,
    *,
    dim: Dim = 2,
    dropout: Dropout = 0.0,
    bottleneck: Bottleneck = "flat",
    beta: Beta = 0.1,
    denoising: Denoising = 0.0,
) -> Task:
    """Convolutional variational autoencoder of images; the vector is the mean.

    Loss: half the squared error summed over the pixels plus `beta` times the divergence, both divided by the pixels.
    """
    encoding, decoding = CONVOLUTIONS[bottleneck]
    outputs = {"outputs": 2} if bottleneck == "map" else {}
    width = dim if outputs else 2 * dim
    halves: Any = encoding(facts.shape, width, dropout, **outputs), decoding(facts.shape, dim)
    return reconstruction(*halves, denoising=denoising, beta=beta)


@network_encoder(takes=FLAT, reconstructs=True, source="Hinton and Salakhutdinov 2006; Cannistraci et al. 2024", **CONV)
def lin_ae(facts: Facts, *, dim: Dim = 48, hidden: Hidden = 512, dropout: Dropout = 0.0, denoising: Denoising = 0.0) -> Task:
    """Autoencoder of flattened images, or of vectors, by linear layers."""
    return reconstruction(*_linear(facts, dim, dim, hidden, dropout), denoising=denoising)


@network_encoder(takes=FLAT, reconstructs=True, source="Kingma and Welling 2014; Cannistraci et al. 2024", **CONV)
def lin_vae(
    facts: Facts,
    *,
    dim: Dim = 48,
    hidden: Hidden = 512,
    dropout: Dropout = 0.0,
    beta: Beta = 0.1,
    denoising: Denoising = 0.0,
) -> Task:
    """Variational autoencoder of flattened images, or of vectors, by linear layers; the vector is the mean."""
    return reconstruction(*_linear(facts, 2 * dim, dim, hidden, dropout), denoising=denoising, beta=beta)


@network_encoder(
    takes=IMAGES,
    reconstructs=True,
    source="Dosovitskiy et al. 2021; Cannistraci et al. 2024",
    **{**CONV, "batch_size": 128, "learning_rate": 1e-3},
)
def vit_ae(
    facts: Facts,
    *,
    dim: Dim = 48,
    patch: Patch = 4,
    width: Width = 64,
    depth: Depth = 3,
    denoising: Denoising = 0.0,
) -> Task:
    """Vision transformer trained to reconstruct images through one vector."""
    width = -(-width // 32) * 32
    return reconstruction(*vit_halves(facts.shape, dim, patch, width, depth), denoising=denoising)


def _linear(facts: Facts, out: int, dim: int, hidden: int, dropout: float) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Both halves of an autoencoder of flattened items: pixels come back in 0..1, vectors in any range."""
    from torch import nn

    size = math.prod(facts.shape)
    between = (hidden,) if hidden else ()
    shape = (facts.shape[2:] or (1,)) + facts.shape[:2] if facts.is_image else facts.shape
    encoding = nn.Sequential(nn.Flatten(), *layers(size, *between, out, dropout=dropout))
    decoding = nn.Sequential(*layers(dim, *between, size), nn.Unflatten(1, shape))
    return encoding, decoding.append(nn.Sigmoid()) if facts.is_image else decoding


def reconstruction(
    encoding: torch.nn.Module, decoding: torch.nn.Module, *, denoising: float = 0.0, beta: float | None = None
) -> Task:
    """The task of reconstructing items from a bottleneck; with `beta`, one that is sampled.

    Reconstructions may be larger than the items and are cut to their size. The error of an item is its mean squared error,
    from the mean and from the item as it is.
    """
    import torch
    from torch.nn import functional

    def encode(x: torch.Tensor) -> torch.Tensor:
        codes = encoding(x)
        return codes if beta is None else codes.chunk(2, 1)[0]

    def back(z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return decoding(z)[..., : x.shape[-2], : x.shape[-1]] if x.ndim == 4 else decoding(z)

    def loss(batch: Batch) -> dict[str, torch.Tensor]:
        x = batch.x
        noisy = x + denoising * torch.randn_like(x) if denoising else x
        if beta is None:
            return {"loss": functional.mse_loss(back(encoding(noisy), x), x)}
        mean, spread = encoding(noisy).chunk(2, 1)
        spread = spread.clamp(-20, 20)
        error = functional.mse_loss(back(mean + (spread / 2).exp() * torch.randn_like(mean), x), x) / 2
        divergence = (mean.square() + spread.exp() - 1 - spread).sum(1).mean() / 2 / x[0].numel()
        return {"loss": error + beta * divergence, "error": error, "divergence": divergence}

    def error(x: torch.Tensor) -> torch.Tensor:
        return (back(encode(x), x) - x).square().flatten(1).mean(1)

    return Task(torch.nn.ModuleDict({"encoder": encoding, "decoder": decoding}), loss, encode, error, decoding)

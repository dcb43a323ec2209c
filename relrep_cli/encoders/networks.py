"""The networks that encoders are made of: convolutions for images, layers for vectors, a vision transformer."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from relrep_cli.base.errors import UsageError
from relrep_cli.encoders.tasks import Facts

if TYPE_CHECKING:
    import torch

CHANNELS = (16, 32)  # of an autoencoder's two convolutions; each halves height and width


def channels(shape: tuple[int, ...]) -> int:
    """1 for grey images (h, w), else c of (h, w, c)."""
    return 1 if len(shape) == 2 else shape[2]


def features(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width after two convolutions, each of which halves and rounds up."""
    return CHANNELS[1], -(-shape[0] // 4), -(-shape[1] // 4)


def conv_encoding(shape: tuple[int, ...], dim: int, dropout: float) -> torch.nn.Sequential:
    """(b, c, h, w) -> (b, dim). Dropout before the bottleneck, not on it, and no activation after it."""
    from torch import nn

    return nn.Sequential(
        *(*_convolutions(shape), nn.Flatten(), nn.Dropout(dropout), nn.Linear(math.prod(features(shape)), dim)),
    )


def conv_decoding(shape: tuple[int, ...], dim: int) -> torch.nn.Sequential:
    """(b, dim) -> (b, c, 4 ceil(h / 4), 4 ceil(w / 4)), in 0..1. One convolution gives all 16 pixels of a cell at once."""
    from torch import nn

    channels = features(shape)
    return nn.Sequential(nn.Linear(dim, math.prod(channels)), nn.Unflatten(1, channels), *_upwards(shape))


def map_encoding(shape: tuple[int, ...], dim: int, dropout: float, outputs: int = 1) -> torch.nn.Sequential:
    """(b, c, h, w) -> (b, outputs dim): a map of ceil(h / 4) x ceil(w / 4) cells, flattened; its channels follow from dim."""
    from torch import nn

    depth = _depth(shape, dim)
    return nn.Sequential(*_convolutions(shape), nn.Dropout2d(dropout), nn.Conv2d(CHANNELS[1], outputs * depth, 1), nn.Flatten())


def map_decoding(shape: tuple[int, ...], dim: int) -> torch.nn.Sequential:
    """(b, dim) -> images, back from the flattened map."""
    from torch import nn

    depth, (_, height, width) = _depth(shape, dim), features(shape)
    return nn.Sequential(nn.Unflatten(1, (depth, height, width)), nn.Conv2d(depth, CHANNELS[1], 1), *_upwards(shape))


def _depth(shape: tuple[int, ...], dim: int) -> int:
    """Channels of a map that holds `dim` numbers. Raises UsageError when it cannot."""
    _, height, width = features(shape)
    if dim % (height * width):
        near = max(1, round(dim / (height * width))) * height * width
        raise UsageError(
            f"--dim is {dim}; a map of {height} x {width} cells needs a multiple of {height * width}",
            f"Write --dim {near}, or --bottleneck flat.",
        )
    return dim // (height * width)


def _convolutions(shape: tuple[int, ...]) -> list[torch.nn.Module]:
    from torch import nn

    first, second = CHANNELS
    return [
        *(nn.Conv2d(channels(shape), first, 3, stride=2, padding=1), nn.BatchNorm2d(first), nn.ReLU()),
        *(nn.Conv2d(first, second, 3, stride=2, padding=1), nn.BatchNorm2d(second), nn.ReLU()),
    ]


def _upwards(shape: tuple[int, ...]) -> list[torch.nn.Module]:
    from torch import nn

    last = nn.Conv2d(CHANNELS[1], 16 * channels(shape), 3, padding=1)
    return [nn.BatchNorm2d(CHANNELS[1]), nn.ReLU(), last, nn.PixelShuffle(4), nn.Sigmoid()]


def layers(*widths: int, dropout: float = 0.0) -> torch.nn.Sequential:
    """Linear maps from width to width, normalised and rectified in between."""
    from torch import nn

    parts: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        parts += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts, nn.Linear(widths[-2], widths[-1]))


def trunk(facts: Facts, dim: int, width: int, dropout: float = 0.0) -> torch.nn.Sequential:
    """Items -> (b, dim): four convolutions and means over a grid of 4 x 4, or two layers for vectors.

    width: channels of the first convolution, which double three times; eight times that for vectors.
    """
    from torch import nn

    if not facts.is_image:
        return layers(facts.shape[0], 8 * width, dim, dropout=dropout)
    parts: list[nn.Module] = []
    before = channels(facts.shape)
    for i in range(4):
        after = width << i
        parts += [
            nn.Conv2d(before, after, 3, stride=1 if i == 0 else 2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
        before = after
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(dropout), nn.Linear(16 * before, dim))


def vit_halves(shape: tuple[int, ...], dim: int, patch: int, width: int, depth: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A vision transformer (b, c, h, w) -> (b, dim), and one back to images padded to whole patches, in 0..1.

    Dosovitskiy et al. 2021, with the mean of the tokens and fixed positions; in the decoder, of half the depth, every token
    starts from the vector and its own position.
    """
    from torch import nn

    rows, columns = patch_grid(shape, patch)
    encoding = nn.Sequential(
        *patching(shape, patch, width),
        step(lambda x: x.flatten(2).transpose(1, 2) + places(rows * columns, width, x)),
        *(transformer(width, depth), step(lambda x: x.mean(1)), nn.Linear(width, dim)),
    )
    decoding = nn.Sequential(
        *(nn.Linear(dim, width), step(lambda x: x.unsqueeze(1) + places(rows * columns, width, x))),
        *(transformer(width, max(1, depth // 2)), nn.Linear(width, channels(shape) * patch * patch)),
        step(lambda x: nn.functional.pixel_shuffle(x.transpose(1, 2).unflatten(2, (rows, columns)), patch).sigmoid()),
    )
    return encoding, decoding


def patch_grid(shape: tuple[int, ...], patch: int) -> tuple[int, int]:
    """Rows and columns of the patches that cover an image."""
    return -(-shape[0] // patch), -(-shape[1] // patch)


def patching(shape: tuple[int, ...], patch: int, width: int) -> list[torch.nn.Module]:
    """(b, c, h, w) -> (b, width, rows, columns): images padded to whole patches, and a linear map of each patch."""
    from torch import nn

    rows, columns = patch_grid(shape, patch)
    padding = (0, columns * patch - shape[1], 0, rows * patch - shape[0])
    return [step(lambda x: nn.functional.pad(x, padding)), nn.Conv2d(channels(shape), width, patch, stride=patch)]


def transformer(width: int, depth: int) -> torch.nn.Module:
    """Tokens (b, t, width) -> tokens: `depth` layers of self-attention, normalised before each (Xiong et al. 2020).

    A head has 32 numbers, or as few more as divide the width.
    """
    from torch import nn

    heads = next(heads for heads in range(max(1, width // 32), 0, -1) if width % heads == 0)
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)


def places(tokens: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """(tokens, width) sines and cosines of each token's number (Vaswani et al. 2017), on the device of `like`."""
    import torch

    number = torch.arange(tokens, device=like.device).unsqueeze(1)
    angle = number * 10_000 ** (-torch.arange(0, width, 2, device=like.device) / width)
    return torch.cat([angle.sin(), angle.cos()], 1)


def grid_places(rows: int, columns: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """(rows columns, width) sines and cosines of the row in the first half, of the column in the second."""
    import torch

    half = -(-width // 4) * 2
    down, across = places(rows, half, like), places(columns, half, like)
    return torch.cat([down.repeat_interleave(columns, 0), across.repeat(rows, 1)], 1)[:, :width]


def step(function: Callable[[torch.Tensor], torch.Tensor]) -> torch.nn.Module:
    """A module without weights."""
    from torch import nn

    class Step(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x)

    return Step()

"""Encoders trained to predict the representation of one part of an item from another: no labels, no augmentations."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Annotated, Any

from relrep_cli.base.registry import Param
from relrep_cli.encoders.autoencoders import Depth, Patch
from relrep_cli.encoders.base import IMAGES, Dim
from relrep_cli.encoders.networks import grid_places, patch_grid, patching, transformer
from relrep_cli.encoders.tasks import Batch, Facts, Task
from relrep_cli.encoders.training import network_encoder

if TYPE_CHECKING:
    import torch

Grid = tuple[int, int]  # rows and columns of patches
TARGETS = 4  # hidden blocks of an image, each predicted by itself
HIDDEN, VISIBLE = (0.15, 0.2), (0.85, 1.0)  # smallest and largest share of the patches that a block covers
ASPECT = (0.75, 1.5)  # height by width of a hidden block; a visible one has the aspect of the grid
Momentum = Annotated[
    float,
    Param("Share of the target encoder that each step keeps; the rest follows the context encoder.", minimum=0, maximum=1),
]
LOOP: dict[str, Any] = {"epochs": 20, "batch_size": 128, "learning_rate": 1e-3, "weight_decay": 0.0, "least": 2}


@network_encoder(takes=IMAGES, source="Assran et al. 2023 (I-JEPA)", **LOOP)
def jepa(facts: Facts, *, dim: Dim = 128, patch: Patch = 4, depth: Depth = 4, momentum: Momentum = 0.996) -> Task:
    """Vision transformer that predicts the tokens of hidden blocks from visible patches.

    Loss: mean squared error of the predicted tokens. The targets are the tokens of the whole image, normalised, from a second
    encoder whose weights are a running mean of those of the first. This target encoder is kept, and a vector is the mean of
    its tokens. `deviation` is the mean deviation of the vectors of a batch; it falls to 0 where they collapse.
    """
    import torch
    from torch.nn import functional

    grid = patch_grid(facts.shape, patch)
    encoding = _encoding(facts.shape, dim, patch, depth)
    network = torch.nn.ModuleDict({"encoder": encoding})
    if facts.trains:
        network["context"] = copy.deepcopy(encoding)
        network["predictor"] = _predictor(grid, dim, depth)
        encoding.requires_grad_(False)

    def loss(batch: Batch) -> dict[str, torch.Tensor]:
        if network.training:
            _follow(encoding, network["context"], momentum)
        with torch.no_grad():
            whole = encoding(batch.x)
            target = functional.layer_norm(whole, (dim,))
        hidden, visible = _drawn(len(batch.x), grid, batch.x.device)
        context = network["context"](batch.x, visible)
        errors = [(network["predictor"](context, visible, block) - _at(target, block)).square().mean() for block in hidden]
        return {"loss": torch.stack(errors).mean(), "deviation": whole.mean(1).std(0).mean()}

    return Task(network, loss, lambda x: encoding(x).mean(1))


def _encoding(shape: tuple[int, ...], dim: int, patch: int, depth: int) -> torch.nn.Module:
    """(b, c, h, w) -> tokens (b, t, dim); with the numbers of patches (b, v), those of these patches alone, (b, v, dim)."""
    from torch import nn

    class Encoding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Sequential(*patching(shape, patch, dim))
            self.body = transformer(dim, depth)

        def forward(self, x: torch.Tensor, visible: torch.Tensor | None = None) -> torch.Tensor:
            tokens = self.patches(x).flatten(2).transpose(1, 2) + grid_places(*patch_grid(shape, patch), dim, x)
            hidden_states: torch.Tensor = self.body(tokens if visible is None else _at(tokens, visible))
            return hidden_states

    return Encoding()


def _predictor(grid: Grid, dim: int, depth: int) -> torch.nn.Module:
    """Tokens of visible patches (b, v, dim) -> those of a hidden block (b, k, dim), at half the width and depth."""
    import torch
    from torch import nn

    width = max(1, dim // 2)

    class Predictor(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow, self.wide = nn.Linear(dim, width), nn.Linear(width, dim)
            self.mask = nn.Parameter(torch.zeros(width))
            self.body = transformer(width, max(1, depth // 2))

        def forward(self, context: torch.Tensor, visible: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
            where = grid_places(*grid, width, context)
            tokens = torch.cat([self.narrow(context) + where[visible], self.mask + where[hidden]], 1)
            hidden_states: torch.Tensor = self.wide(self.body(tokens)[:, -hidden.shape[1] :])
            return hidden_states

    return Predictor()


def _follow(target: torch.nn.Module, context: torch.nn.Module, momentum: float) -> None:
    """Move the weights of the target encoder towards those of the context encoder."""
    import torch

    with torch.no_grad():
        for kept, new in zip(target.parameters(), context.parameters(), strict=True):
            kept.lerp_(new, 1 - momentum)


def _drawn(n: int, grid: Grid, device: torch.device) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The numbers of the patches of each hidden block (n, k), and of visible patches outside all of them (n, v).

    v is the same for all items, the least that any has, but at least 1: where the blocks hide every patch, one is shown.
    """
    import torch

    hidden = [_block(n, grid, HIDDEN, ASPECT, device) for _ in range(TARGETS)]
    aspect = grid[0] / grid[1]
    shown = torch.zeros(n, grid[0] * grid[1], device=device).scatter_(1, _block(n, grid, VISIBLE, (aspect, aspect), device), 1)
    for block in hidden:
        shown.scatter_(1, block, 0)
    least = max(1, int(shown.sum(1).min()))
    return hidden, (shown + torch.rand_like(shown)).topk(least).indices


def _block(n: int, grid: Grid, shares: tuple[float, float], aspects: tuple[float, float], device: torch.device) -> torch.Tensor:
    """The numbers of the patches of a rectangle (n, k), of one size for all items, anywhere in each."""
    import torch

    share, aspect = (low + (high - low) * float(torch.rand((), device=device)) for low, high in (shares, aspects))
    area = share * grid[0] * grid[1]
    sides = (math.sqrt(area * aspect), math.sqrt(area / aspect))
    height, width = (min(most, max(1, round(side))) for most, side in zip(grid, sides, strict=True))
    top = torch.randint(grid[0] - height + 1, (n, 1), device=device) + torch.arange(height, device=device)
    left = torch.randint(grid[1] - width + 1, (n, 1), device=device) + torch.arange(width, device=device)
    return (top.unsqueeze(2) * grid[1] + left.unsqueeze(1)).flatten(1)


def _at(tokens: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The tokens (b, t, d) with these numbers (b, k): (b, k, d)."""
    return tokens.gather(1, numbers.unsqueeze(2).expand(-1, -1, tokens.shape[2]))

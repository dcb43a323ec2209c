"""The residual network of He et al. 2016 for small images: ResNet-18 without its strided stem and without max-pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relrep_cli.encoders.networks import channels

if TYPE_CHECKING:
    import torch

STAGES, BLOCKS = 4, 2


def residual_trunk(shape: tuple[int, ...], dim: int, width: int) -> torch.nn.Sequential:
    """(b, c, h, w) -> (b, dim): a convolution of 3 x 3, four stages of two residual blocks, the mean over places, a linear map.

    width: channels of the first stage, which double three times; each stage but the first halves height and width. With
    width 64 and dim 512 this is the trunk of ResNet-18 that papers train on CIFAR-10 (Chen et al. 2020, appendix B.9).
    """
    from torch import nn

    parts: list[nn.Module] = [nn.Conv2d(channels(shape), width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage in range(STAGES):
        for block in range(BLOCKS):
            parts.append(_block(before, width << stage, stride=2 if stage and not block else 1))
            before = width << stage
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, dim))


def _block(before: int, after: int, stride: int) -> torch.nn.Module:
    """Two convolutions beside a shortcut, which is a convolution of 1 x 1 where the shape changes."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.path = nn.Sequential(
                *(nn.Conv2d(before, after, 3, stride, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()),
                *(nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)),
            )
            same = stride == 1 and before == after
            shortcut = (nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
            self.shortcut = nn.Sequential(*(() if same else shortcut))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.path(x) + self.shortcut(x))

    return Block()

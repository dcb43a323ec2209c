"""Augmentations: what changes an item and leaves what it is. Each takes a batch (b, …) and draws anew for every item."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from relrep_cli.base.errors import UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Registry

if TYPE_CHECKING:
    import torch

Change = Callable[["torch.Tensor"], "torch.Tensor"]  # a batch (b, ...) -> the same shape
AnyChange = TypeVar("AnyChange", bound=Change)


@dataclass(frozen=True, kw_only=True, eq=False)
class Augmentation(Entry[Change]):
    """An augmentation with its traits. images_only: whether it needs items that are images."""

    images_only: bool
    source: str

    def __call__(self, function: AnyChange) -> AnyChange:
        """Register the function."""
        AUGMENTATIONS.add(self.of(function))
        return function


AUGMENTATIONS = Registry("augmentation", Augmentation)
augmentation = Augmentation


def chain(names: str, is_image: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """The augmentations named with commas between them, one after the other.

    Raises UsageError for an unknown one, or one of images for vectors.
    """
    known = [AUGMENTATIONS[name.strip()] for name in names.split(",") if name.strip() and name.strip() != "none"]
    for entry in known:
        if entry.images_only and not is_image:
            others = ", ".join(e.name for e in AUGMENTATIONS.values() if not e.images_only)
            raise UsageError(f"--augment {entry.name} works on images only", f"For vectors, choose from: {others}.")

    def augmented(x: torch.Tensor) -> torch.Tensor:
        for entry in known:
            x = entry.function(x)
        return x

    return augmented


@augmentation(images_only=True, source="Szegedy et al. 2015; Chen et al. 2020")
def crop(x: torch.Tensor) -> torch.Tensor:
    """A window of 30 to 100 % of the area anywhere, brought back to full size."""
    import torch

    scale = torch.empty(len(x), device=x.device).uniform_(0.3, 1.0).sqrt()
    at = (1 - scale).unsqueeze(1) * (2 * torch.rand(len(x), 2, device=x.device) - 1)
    zero = torch.zeros_like(scale)
    return _resampled(x, torch.stack([scale, zero, at[:, 0], zero, scale, at[:, 1]], 1))


@augmentation(images_only=True, source="Krizhevsky et al. 2012")
def flip(x: torch.Tensor) -> torch.Tensor:
    """Left and right exchanged, in half of the items."""
    import torch

    return torch.where(_coin(x, 0.5), x.flip(-1), x)


@augmentation(images_only=True, source="Chen et al. 2020")
def color(x: torch.Tensor) -> torch.Tensor:
    """Any hue, and 60 to 140 % of saturation, contrast and brightness; grey images keep to the last two."""
    return _recoloured(x, 0.5)


@augmentation(images_only=True, source="Howard 2014; Chen et al. 2020")
def jitter(x: torch.Tensor) -> torch.Tensor:
    """As color, with hues at most a tenth of the circle away."""
    return _recoloured(x, 0.1)


@augmentation(images_only=True, source="Chen et al. 2020")
def grey(x: torch.Tensor) -> torch.Tensor:
    """No colour, in a fifth of the items."""
    import torch

    return torch.where(_coin(x, 0.2), _luma(x).expand_as(x), x) if x.shape[1] == 3 else x


@augmentation(images_only=True, source="Chen et al. 2020")
def blur(x: torch.Tensor) -> torch.Tensor:
    """Blurred by a Gaussian of deviation 0.1 to 2 pixels, in half of the items."""
    import torch
    from torch.nn import functional

    reach = max(1, min(x.shape[2:]) // 20)  # so the kernel is a tenth of the image
    at = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    weights = torch.exp(-((at / x.new_empty(len(x), 1).uniform_(0.1, 2.0)) ** 2) / 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(x.shape[1], 0)
    flat = functional.pad(x.reshape(1, -1, *x.shape[2:]), (reach,) * 4, mode="replicate")
    down = functional.conv2d(flat, weights[:, None, :, None], groups=len(weights))
    both = functional.conv2d(down, weights[:, None, None, :], groups=len(weights))
    return torch.where(_coin(x, 0.5), both.reshape(x.shape), x)


@augmentation(images_only=True, source="Grill et al. 2020")
def solarise(x: torch.Tensor) -> torch.Tensor:
    """Values above the middle inverted, in a tenth of the items."""
    import torch

    return torch.where(_coin(x, 0.1) & (x > 0.5), 1 - x, x)


@augmentation(images_only=True, source="a shift round the edges, as on a torus")
def location(x: torch.Tensor) -> torch.Tensor:
    """Moved by any distance; what leaves on one side comes in on the other."""
    import torch

    height, width = x.shape[2:]
    down, right = (torch.randint(size, (len(x), 1), device=x.device) for size in (height, width))
    rows = (torch.arange(height, device=x.device) + down) % height
    columns = (torch.arange(width, device=x.device) + right) % width
    return x[torch.arange(len(x), device=x.device)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@augmentation(images_only=True, source="Gidaris et al. 2018")
def rotation(x: torch.Tensor) -> torch.Tensor:
    """Turned by any angle, about the middle."""
    import torch

    angle = 2 * math.pi * torch.rand(len(x), device=x.device)
    zero, (height, width) = torch.zeros_like(angle), x.shape[2:]
    across, down = -angle.sin() * (height / width), angle.sin() * (width / height)  # coordinates are -1..1 on either axis
    return _resampled(x, torch.stack([angle.cos(), across, zero, down, angle.cos(), zero], 1))


@augmentation(images_only=True, source="Zhong et al. 2020")
def erase(x: torch.Tensor) -> torch.Tensor:
    """A rectangle of up to half the height and width made grey."""
    import torch

    inside = x.new_ones(len(x), 1, 1, 1, dtype=torch.bool)
    for axis, size in ((2, x.shape[2]), (3, x.shape[3])):
        extent = torch.rand(len(x), 1, device=x.device) * size / 2
        start = torch.rand(len(x), 1, device=x.device) * (size - extent)
        at = torch.arange(size, device=x.device)
        within = (at >= start) & (at < start + extent)
        inside = inside & (within[:, None, :, None] if axis == 2 else within[:, None, None, :])
    return torch.where(inside, 0.5, x)


@augmentation(images_only=False, source="Vincent et al. 2008")
def noise(x: torch.Tensor) -> torch.Tensor:
    """Normal noise of a tenth of the batch's deviation."""
    import torch

    return x + 0.1 * x.std() * torch.randn_like(x)


@augmentation(images_only=False, source="Vincent et al. 2008")
def mask(x: torch.Tensor) -> torch.Tensor:
    """A fifth of the numbers made zero."""
    import torch

    return x * (torch.rand_like(x) >= 0.2)


def _recoloured(x: torch.Tensor, hue: float) -> torch.Tensor:
    """Hue turned by at most this share of the circle; saturation, contrast and brightness 60 to 140 %."""

    def gain() -> torch.Tensor:
        return x.new_empty(len(x), 1, 1, 1).uniform_(0.6, 1.4)

    if x.shape[1] == 3:
        luma = _luma(x)
        x = luma + gain() * (_turned(x, hue) - luma)
    middle = x.mean((1, 2, 3), keepdim=True)
    return ((middle + gain() * (x - middle)) * gain()).clamp(0, 1)


def _coin(x: torch.Tensor, share: float) -> torch.Tensor:
    """(b, 1, 1, 1) true for about `share` of the items."""
    import torch

    return torch.rand(len(x), 1, 1, 1, device=x.device) < share


def _luma(x: torch.Tensor) -> torch.Tensor:
    """(b, 1, h, w) luma of ITU-R BT.601."""
    return (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def _turned(x: torch.Tensor, most: float) -> torch.Tensor:
    """Colours turned about the axis of greys, by at most this share of the circle either way."""
    import torch

    angle = 2 * math.pi * torch.empty(len(x), device=x.device).uniform_(-most, most)
    cos, sin = angle.cos(), angle.sin()
    same, next_, last = (1 + 2 * cos) / 3, (1 - cos) / 3 - sin / 3**0.5, (1 - cos) / 3 + sin / 3**0.5
    turn = torch.stack([same, next_, last, last, same, next_, next_, last, same], 1).view(-1, 3, 3)
    return torch.einsum("bij,bjhw->bihw", turn, x)


def _resampled(x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Each image seen through its affine map (b, 6) of coordinates in -1..1; outside, the nearest pixel."""
    from torch.nn import functional

    grid = functional.affine_grid(maps.view(-1, 2, 3), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

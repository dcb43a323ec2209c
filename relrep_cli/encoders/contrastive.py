"""Encoders trained so that two views of an item agree: no labels, unless they define the pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from relrep_cli.base.errors import UsageError
from relrep_cli.base.registry import Param
from relrep_cli.encoders.augmentations import AUGMENTATIONS, chain
from relrep_cli.encoders.base import FLAT, Dim
from relrep_cli.encoders.networks import layers
from relrep_cli.encoders.networks import trunk as plain_trunk
from relrep_cli.encoders.residual import residual_trunk
from relrep_cli.encoders.tasks import Batch, Facts, Task
from relrep_cli.encoders.training import network_encoder

if TYPE_CHECKING:
    import torch

AUTO = "auto"
DEFAULTS = {True: "crop,flip,jitter,grey", False: "noise,mask"}  # of images, of vectors
Augment = Annotated[
    str,
    Param(
        f"What makes two views of an item, separated by commas: {', '.join(AUGMENTATIONS)}, none; auto is "
        f"{DEFAULTS[True]} for images, {DEFAULTS[False]} for vectors, and none where --positives gives pairs."
    ),
]
Channels = Annotated[int, Param("Channels of the first convolution; they double three times.", minimum=1, maximum=1024)]
Trunk = Annotated[
    str,
    Param("Four plain convolutions, or ResNet-18 for small images (--channels 64).", choices=("plain", "residual")),
]
Projector = Annotated[
    int, Param("Width of the projector between vectors and loss, used in training only; 0 for none.", minimum=0)
]
Invariance = Annotated[float, Param("Weight of the term that brings two views together; 0 switches it off.", minimum=0)]
Variance = Annotated[
    float, Param("Weight of the term that keeps every dimension's standard deviation at 1; 0 switches it off.", minimum=0)
]
Covariance = Annotated[float, Param("Weight of the term that makes dimensions uncorrelated; 0 switches it off.", minimum=0)]
Temperature = Annotated[float, Param("Softmax temperature: a smaller one gives more weight to the nearest.", minimum=1e-4)]
Logits = Annotated[str, Param("What compares two views: their cosine, or their inner product.", choices=("cosine", "inner"))]
Towers = Annotated[
    int, Param("With 1, one encoder sees both views; with 2, each has its own and the first is kept.", minimum=1, maximum=2)
]
Margin = Annotated[float, Param("Smallest distance between unlike items (the margin).", minimum=0)]
LOOP: dict[str, Any] = {"epochs": 10, "batch_size": 256, "learning_rate": 1e-3, "weight_decay": 0.0, "patience": 5, "least": 2}


@network_encoder(takes=FLAT, source="Bardes, Ponce and LeCun 2022", **LOOP)
def vicreg(
    facts: Facts,
    *,
    dim: Dim = 128,
    channels: Channels = 32,
    trunk: Trunk = "plain",
    projector: Projector = 512,
    augment: Augment = AUTO,
    invariance: Invariance = 25.0,
    variance: Variance = 25.0,
    covariance: Covariance = 1.0,
) -> Task:
    """Two views of an item agree, while dimensions keep their variance and lose their correlation.

    Loss: `invariance` times the mean squared difference of both views, `variance` times the mean shortfall of each
    dimension's deviation below 1, `covariance` times the sum of squared covariances over the dimensions; for both views the
    last two are added and, as in the authors' program, the variance halved.
    """
    weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
    if facts.trains and not any(weights.values()):
        raise UsageError(
            "--invariance, --variance and --covariance are all 0; nothing is left to learn from",
            "Give one of them a positive weight.",
        )
    network, views, project = _views(facts, dim, channels, projector, augment, trunk)

    def loss(batch: Batch) -> dict[str, torch.Tensor]:
        first, second = (project(network["encoder"](x)) for x in views(batch))
        terms = {
            "invariance": (first - second).square().mean(),
            "variance": (_shortfall(first) + _shortfall(second)) / 2,
            "covariance": _correlation(first) + _correlation(second),
        }
        total = sum((weight * terms[name] for name, weight in weights.items()), first.new_zeros(()))
        return {"loss": total, **terms}

    return Task(network, loss, network["encoder"])


@network_encoder(takes=FLAT, source="van den Oord, Li and Vinyals 2018; Chen et al. 2020", **LOOP)
def infonce(
    facts: Facts,
    *,
    dim: Dim = 64,
    channels: Channels = 32,
    projector: Projector = 0,
    augment: Augment = AUTO,
    temperature: Temperature = 0.1,
    logits: Logits = "cosine",
    towers: Towers = 1,
) -> Task:
    """The other view of an item is told from those of the rest of its batch.

    Loss: cross-entropy of cosines over `temperature`, from each view to the other, averaged. `accuracy` is how often the
    right one is the most similar. Others of the same label, where pairs are defined by label, are no negatives and left out
    of both (after Khosla et al. 2020). `logits` inner takes vectors as they are, so
    that their lengths count.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    network, views, project = _views(facts, dim, channels, projector, augment)
    unit = functional.normalize if logits == "cosine" else nn.Identity()
    if towers == 2:
        network["other"] = plain_trunk(facts, dim, channels)

    def loss(batch: Batch) -> dict[str, torch.Tensor]:
        x, y = views(batch)
        first = unit(project(network["encoder"](x)))
        second = unit(project(network["other" if towers == 2 else "encoder"](y)))
        cosines = first @ second.T / temperature
        if facts.pairs is not None and facts.pairs.by_label and batch.label is not None:
            others = ~torch.eye(len(cosines), dtype=torch.bool, device=cosines.device)
            cosines = cosines.masked_fill(_alike(batch.label[:, None], batch.label) & others, -torch.inf)
        right = torch.arange(len(cosines), device=cosines.device)
        both = functional.cross_entropy(cosines, right), functional.cross_entropy(cosines.T, right)
        return {"loss": (both[0] + both[1]) / 2, "accuracy": (cosines.argmax(1) == right).float().mean()}

    return Task(network, loss, network["encoder"])


@network_encoder(takes=FLAT, source="Hadsell, Chopra and LeCun 2006", **LOOP)
def siamese(
    facts: Facts,
    *,
    dim: Dim = 64,
    channels: Channels = 32,
    augment: Augment = AUTO,
    margin: Margin = 1.0,
) -> Task:
    """Like pairs lie close together, unlike ones at least a margin apart.

    Loss: half the squared distance of an item to its positive, plus half the square of what its distance to the next
    item's positive lacks of `margin`; next items of the same label, where pairs are defined by label, are left out.
    """
    network, views, _ = _views(facts, dim, channels, 0, augment)

    def loss(batch: Batch) -> dict[str, torch.Tensor]:
        first, second = (network["encoder"](x) for x in views(batch))
        alike = (first - second).square().sum(1)
        lack = (margin - ((first - second.roll(1, 0)).square().sum(1) + 1e-12).sqrt()).clamp(min=0)
        unlike = lack.square()
        if batch.label is not None and facts.pairs is not None and facts.pairs.by_label:
            unlike = unlike * ~_alike(batch.label, batch.label.roll(1, 0))
        return {"loss": (alike.mean() + unlike.mean()) / 2, "alike": alike.mean(), "unlike": unlike.mean()}

    return Task(network, loss, network["encoder"])


def _views(
    facts: Facts, dim: int, channels: int, projector: int, augment: str, trunk: str = "plain"
) -> tuple[Any, Callable[[Batch], Any], Any]:
    """The network, how a batch becomes two views, and the projector that the loss looks through."""
    from torch import nn

    names = ("none" if facts.pairs else DEFAULTS[facts.is_image]) if augment == AUTO else augment
    change = chain(names, facts.is_image)
    if facts.trains and facts.pairs is None and names.strip() in ("", "none"):
        raise UsageError("two views of an item are equal without --augment", "Name some, or give pairs with --positives.")
    if trunk == "residual" and not facts.is_image:
        raise UsageError("--trunk residual works on images only", "For vectors, leave it out.")
    body = residual_trunk(facts.shape, dim, channels) if trunk == "residual" else plain_trunk(facts, dim, channels)
    network = nn.ModuleDict({"encoder": body})
    if projector:
        network["projector"] = layers(dim, projector, projector, projector)

    def views(batch: Batch) -> Any:
        return change(batch.x), change(batch.x if batch.other is None else batch.other)

    return network, views, network["projector"] if projector else nn.Identity()


def _alike(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Whether numbers of labels are equal; -1, for none, is like nothing."""
    return (a == b) & (a >= 0)


def _shortfall(z: torch.Tensor) -> torch.Tensor:
    """Mean over the dimensions of what the deviation lacks of 1."""
    return (1 - (z.var(0) + 1e-4).sqrt()).clamp(min=0).mean()


def _correlation(z: torch.Tensor) -> torch.Tensor:
    """Sum of squared covariances of different dimensions, over their number."""
    z = z - z.mean(0)
    products = z.T @ z / (len(z) - 1)
    return (products.square().sum() - products.diagonal().square().sum()) / z.shape[1]

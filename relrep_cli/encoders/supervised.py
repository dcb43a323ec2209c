"""Encoders trained on labels; the layer before the last is the space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from relrep_cli.base.registry import Param
from relrep_cli.encoders.base import FLAT, GRAPH, Dim, Dropout
from relrep_cli.encoders.contrastive import Channels
from relrep_cli.encoders.networks import trunk
from relrep_cli.encoders.tasks import Batch, Facts, Task
from relrep_cli.encoders.training import network_encoder

if TYPE_CHECKING:
    import torch

Nodes = Annotated[int, Param("Width of the first of two graph convolutions.", minimum=1, maximum=65536)]


@network_encoder(
    takes=FLAT,
    supervised=True,
    source="LeCun et al. 1998",
    epochs=10,
    batch_size=128,
    learning_rate=1e-3,
    weight_decay=0.0,
    patience=3,
)
def classifier(facts: Facts, *, dim: Dim = 64, channels: Channels = 32, dropout: Dropout = 0.2) -> Task:
    """Classifier of images by convolutions or of vectors by two layers; the penultimate layer is the space.

    Loss: cross-entropy of the labels of training rows, from a linear map of the vector, which is not rectified: its negative
    part would be left to chance, and differ between seeds.
    """
    from torch import nn

    network = nn.ModuleDict({"encoder": trunk(facts, dim, channels, dropout)})
    if facts.classes:
        network["head"] = nn.Linear(dim, facts.classes)

    def loss(batch: Batch) -> dict[str, torch.Tensor]:
        return _terms(network["head"](network["encoder"](batch.x)), batch.label)

    return Task(network, loss, network["encoder"])


@network_encoder(
    takes=GRAPH,
    supervised=True,
    source="Kipf and Welling 2017",
    epochs=200,
    batch_size=1 << 20,
    learning_rate=1e-2,
    weight_decay=5e-4,
    patience=50,
)
def gcn(facts: Facts, *, dim: Dim = 32, nodes: Nodes = 64, dropout: Dropout = 0.5) -> Task:
    """Graph convolutional network of two layers on the whole graph; a linear map of them is what learns the labels.

    Features of each node are divided by the sum of their sizes, signs aside. Labels of training rows alone are seen, but
    edges and features of all nodes: the setting is transductive. Vectors are those of the second layer.
    """
    from torch import nn
    from torch.nn import functional

    convolutions = nn.ModuleList([nn.Linear(facts.shape[0], nodes), nn.Linear(nodes, dim)])
    network = nn.ModuleDict({"encoder": convolutions})
    if facts.classes:
        network["head"] = nn.Linear(dim, facts.classes)

    def encode(x: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        x = x / x.abs().sum(1, keepdim=True).clamp(min=1e-12)
        for i, layer in enumerate(convolutions):
            x = functional.dropout(x, dropout, network.training)
            x = graph @ layer(x)
            x = x.relu() if i == 0 else x
        return x

    def loss(batch: Batch) -> dict[str, torch.Tensor]:
        assert batch.graph is not None
        hidden = functional.dropout(encode(batch.x, batch.graph), dropout, network.training)
        return _terms(network["head"](hidden[batch.rows]), batch.label)

    return Task(network, loss, encode)


def _terms(scores: torch.Tensor, label: torch.Tensor | None) -> dict[str, torch.Tensor]:
    from torch.nn import functional

    assert label is not None
    accuracy = (scores.argmax(1) == label).float().mean()
    return {"loss": functional.cross_entropy(scores, label), "accuracy": accuracy}

"""What a network is trained for: its facts, its batches, its loss, and how items become tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.numerics.blocks import pick
from relrep_cli.numerics.devices import own_memory
from relrep_cli.sources.items import Items
from relrep_cli.sources.positives import Pairs

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Facts:
    """What a network is built for. shape: of one item. classes: of the labels. pairs: the positives that are given.

    trains: whether it will be trained; else the parts that encoding needs are enough.
    """

    shape: tuple[int, ...]
    classes: int = 0
    pairs: Pairs | None = None
    trains: bool = False

    @property
    def is_image(self) -> bool:
        return len(self.shape) > 1


@dataclass(frozen=True)
class Batch:
    """Items as tensors: x images (b, c, h, w) in 0..1 or vectors (b, d). other: their positives, label: (b,) numbers.

    Of a graph, x is all nodes (n, d), graph its normalised adjacency (n, n), and `rows` says which are asked for.
    """

    x: torch.Tensor
    label: torch.Tensor | None = None
    other: torch.Tensor | None = None
    graph: torch.Tensor | None = None
    rows: torch.Tensor | None = None


@dataclass(frozen=True)
class Task:
    """A network and what it is trained for.

    network: a ModuleDict; its parts `encoder` and `decoder` are kept. loss: Batch -> terms, of which "loss" is descended and
    all are logged. encode: x -> (b, dim), with a graph (x, graph). error: x -> (b,), or None. decode: (b, dim) -> items, or
    images of at least their size, or None.
    """

    network: torch.nn.ModuleDict
    loss: Callable[[Batch], dict[str, torch.Tensor]]
    encode: Callable[..., torch.Tensor]
    error: Callable[[torch.Tensor], torch.Tensor] | None = None
    decode: Callable[[torch.Tensor], torch.Tensor] | None = None


class Data:
    """Batches of items: what the loop takes rows from. They are on the device where they fit into its memory."""

    def __init__(self, items: Items, label: NDArray[np.int64] | None, on: torch.device) -> None:
        import torch

        self.items, self.label, self.on = items, label, on
        fits = items.edges is None and items.x.nbytes <= own_memory(on)
        self.there = torch.from_numpy(np.array(items.x)).to(on) if fits else None
        graph = items.edges is not None
        self.whole = (tensor(items.x, on), adjacency(items, on)) if graph else None

    def batch(self, rows: NDArray[np.intp], rng: np.random.Generator) -> Batch:
        import torch

        label = None if self.label is None else torch.from_numpy(self.label[rows]).to(self.on)
        if self.whole is not None:
            return Batch(self.whole[0], label, graph=self.whole[1], rows=torch.from_numpy(rows).to(self.on))
        pairs = self.items.pairs
        other = None if pairs is None else self._rows(pairs.of(rows, rng))
        return Batch(self._rows(rows), label, other)

    def _rows(self, rows: NDArray[np.intp]) -> torch.Tensor:
        import torch

        if self.there is None:
            return tensor(pick(self.items.x, rows), self.on)
        return as_floats(self.there[torch.from_numpy(rows).to(self.on)])


def tensor(block: NDArray[Any], on: torch.device) -> torch.Tensor:
    """Images (b, h, w) or (b, h, w, c) of bytes as (b, c, h, w) in 0..1; vectors (b, d) as float32."""
    import torch

    x = torch.from_numpy(np.ascontiguousarray(block))
    return as_floats((x.float() if x.dtype == torch.float64 else x).to(on))


def as_floats(x: torch.Tensor) -> torch.Tensor:
    """`tensor` of what is a tensor."""
    if x.ndim == 2:
        return x.float()
    return (x.unsqueeze(1) if x.ndim == 3 else x.permute(0, 3, 1, 2)).float().div(255)


def adjacency(items: Items, on: torch.device) -> torch.Tensor:
    """(n, n) sparse D^-1/2 (A + I) D^-1/2, with A both ways and D the degrees of A + I (Kipf and Welling 2017)."""
    import torch

    assert items.edges is not None
    n = len(items.x)
    loops = np.arange(n)
    a, b = (np.concatenate([items.edges[:, i], items.edges[:, 1 - i], loops]) for i in (0, 1))
    degree = np.bincount(a, minlength=n)
    places = torch.from_numpy(np.stack([a, b]))
    values = torch.from_numpy((degree[a] * degree[b]) ** -0.5).float()
    return torch.sparse_coo_tensor(places, values, (n, n), check_invariants=True).coalesce().to(on)

"""Aggregators combine the relative representations of several similarity functions into one.

A registered function takes the number of subspaces and their width (the number of anchors). It returns a callable from
[(n, m), …] to (n, m'). Aggregators without parameters work on NumPy arrays and on torch tensors; trainable ones are torch
modules, trained together with a head. All expect subspaces whose rows are normalised with `layer_norm`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.registry import Entry, Registry

Aggregate = Callable[[Sequence[Any]], Any]
KEY, VERSION = "relrep-aggregator", 1
PAPER = "Cannistraci et al. 2024, sec. 3"
Build = Callable[[int, int], Aggregate]  # how many subspaces, anchors of each -> what joins them
AnyBuild = TypeVar("AnyBuild", bound=Build)


@dataclass(frozen=True, kw_only=True, eq=False)
class Aggregator(Entry[Build]):
    """An aggregator with its traits. trainable: whether it has parameters, which are trained together with a head."""

    trainable: bool
    source: str

    def __call__(self, function: AnyBuild) -> AnyBuild:
        """Register the function."""
        AGGREGATORS.add(self.of(function))
        return function


AGGREGATORS = Registry("aggregator", Aggregator)
aggregator = Aggregator


def layer_norm(rows: Any) -> Any:
    """Scale each row of (n, m) to mean 0 and variance 1; a constant row becomes 0.

    This is LayerNorm without the affine part and without epsilon, which would erase very small distances.

    >>> layer_norm(np.array([[1.0, 3.0], [5.0, 5.0]])).round(9).tolist()
    [[-1.0, 1.0], [0.0, 0.0]]
    """
    peak = abs(rows).max(1) if isinstance(rows, np.ndarray) else abs(rows).amax(1)
    rows = rows / (peak + (peak == 0))[:, None]
    apart = rows - rows.mean(1)[:, None]
    spread = (apart * apart).mean(1)[:, None] ** 0.5
    constant = spread <= (1e-14 if "64" in str(rows.dtype) else 1e-6)  # the rounding error of a row with maximum 1
    return apart * ~constant / (spread + constant)


@aggregator(trainable=False, source=PAPER)
def concat(count: int, width: int) -> Aggregate:
    """All subspaces side by side."""
    return lambda parts: _join(parts)


@aggregator(trainable=False, source=PAPER)
def sum_(count: int, width: int) -> Aggregate:
    """The sum of the subspaces, anchor by anchor."""
    return lambda parts: sum(parts[1:], parts[0])


@aggregator(trainable=False, source=PAPER)
def mean(count: int, width: int) -> Aggregate:
    """The mean of the subspaces, anchor by anchor."""
    return lambda parts: sum(parts[1:], parts[0]) / len(parts)


@aggregator(trainable=True, source=PAPER + ": LayerNorm, Linear, Tanh for each subspace, then the sum")
def mlp_sum(count: int, width: int) -> Any:
    """A linear map and tanh for each subspace, then the sum."""
    return _module(count, width, maps=True, attends=False)


@aggregator(trainable=True, source=PAPER + ": one self-attention layer over the subspaces")
def self_attention(count: int, width: int) -> Any:
    """Attention of the subspaces to each other, then their mean."""
    return _module(count, width, maps=False, attends=True)


@aggregator(trainable=True, source=PAPER + ": the maps of mlp-sum, self-attention in place of the sum")
def mlp_self_attention(count: int, width: int) -> Any:
    """A linear map and tanh for each subspace, then self-attention."""
    return _module(count, width, maps=True, attends=True)


def _join(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, 1)
    import torch

    return torch.cat(list(parts), 1)


def _module(count: int, width: int, maps: bool, attends: bool) -> Any:
    """The torch module of the trainable aggregators, from (b, count * width) or a list of (b, width) to (b, width)."""
    import torch

    class Aggregator(torch.nn.Module):
        """After a call, `attention` holds the mean attention weights (b, count) of the subspaces; rows sum to 1."""

        def __init__(self) -> None:
            super().__init__()
            self.width = width
            self.maps = torch.nn.ModuleList([torch.nn.Linear(width, width) for _ in range(count if maps else 0)])
            self.qkv = torch.nn.ModuleList([torch.nn.Linear(width, width) for _ in range(3 if attends else 0)])
            self.attention: Any = None

        def forward(self, parts: Any) -> Any:
            tokens = list(parts) if isinstance(parts, list | tuple) else parts.split(width, 1)
            if maps:
                tokens = [torch.tanh(linear(token)) for linear, token in zip(self.maps, tokens, strict=True)]
            stacked = torch.stack(list(tokens), 1)
            if not attends:
                return stacked.sum(1)
            query, key, value = (linear(stacked) for linear in self.qkv)
            weights = torch.softmax(query @ key.transpose(1, 2) / width**0.5, 2)
            self.attention = weights.mean(1)
            return (weights @ value).mean(1)

    return Aggregator()


@dataclass(frozen=True, eq=False)
class TrainedAggregator:
    """A trained aggregator and the settings of its subspaces.

    recipe: the result of Recipe.to_json(), to project other files in the same way. anchors: digest of the anchor ids.
    """

    name: str
    count: int
    width: int
    recipe: Mapping[str, Any]
    anchors: str
    weights: Mapping[str, np.ndarray]

    def to_bytes(self) -> bytes:
        """Return the content of a safetensors file."""
        from relrep_cli.store.trained import pack

        record = {"version": VERSION, "name": self.name, "count": self.count, "width": self.width}
        return pack(record | {"recipe": self.recipe, "anchors": self.anchors}, self.weights, KEY)

    def module(self) -> Any:
        """Build the torch module in evaluation mode."""
        import torch

        module: Any = AGGREGATORS[self.name].function(self.count, self.width)
        module.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in self.weights.items()})
        return module.eval()


def of_module(name: str, count: int, width: int, module: Any, recipe: Mapping[str, Any], anchors: str) -> TrainedAggregator:
    """Convert a trained torch module to arrays and metadata."""
    weights = {key: value.detach().cpu().numpy().copy() for key, value in module.state_dict().items()}
    return TrainedAggregator(name, count, width, recipe, anchors, weights)


def load(source: str | os.PathLike[str] | bytes) -> TrainedAggregator:
    """Read an aggregator from a file written with `to_bytes`. Raises DataError for any other file."""
    from relrep_cli.store.trained import unpack

    return unpack(source, KEY, VERSION, "aggregator", "relrep stitch --save-aggregator", built)


def built(record: dict[str, Any], weights: dict[str, np.ndarray]) -> TrainedAggregator:
    """Build an aggregator from metadata and weights. Raises Unusable when they do not fit together.

    weights: arrays by the names of the module's parameters.
    """
    from relrep_cli.store.trained import need

    kinds: dict[str, type] = {"name": str, "count": int, "width": int, "recipe": dict, "anchors": str}
    need(all(isinstance(record.get(key), kind) for key, kind in kinds.items()), "an aggregator's metadata that cannot be read")
    name, count, width = record["name"], record["count"], record["width"]
    need(name in AGGREGATORS and AGGREGATORS[name].trainable, f"an aggregator named {name!r}")
    need(2 <= count <= 64 and 1 <= width <= 65536, f"{count} subspaces of {width} anchors")
    need({n: w.shape for n, w in weights.items()} == _shapes(name, count, width), f"weights that do not fit aggregator {name}")
    need(all(np.isfinite(w).all() for w in weights.values()), "weights that are not finite")
    return TrainedAggregator(name, count, width, record["recipe"], record["anchors"], weights)


def _shapes(name: str, count: int, width: int) -> dict[str, tuple[int, ...]]:
    lists = {"maps": count if name.startswith("mlp") else 0, "qkv": 3 if name.endswith("self-attention") else 0}
    numbered = [f"{part}.{i}" for part, size in lists.items() for i in range(size)]
    return {f"{p}.{kind}": shape for p in numbered for kind, shape in (("weight", (width, width)), ("bias", (width,)))}

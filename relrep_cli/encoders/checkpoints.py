"""A training as it stood after an epoch: what a run that was stopped goes on from, to the same last bit.

The state is kept as safetensors bytes, never as a pickle, behind their digest. It serves one task only: its name holds the
items, the encoder and every parameter. So a state is either all that was saved or of no use, and training then starts anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.encoders.base import random_state, restore_random

if TYPE_CHECKING:
    import torch

Weights = dict[str, NDArray[np.floating[Any]]]
META, DIGEST = "relrep-training", 32  # bytes


@dataclass
class Training:
    """All that changes while an encoder trains. weights: the best so far. log: one record per finished epoch."""

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Any
    rng: np.random.Generator
    weights: Weights = field(default_factory=dict)
    log: list[dict[str, float]] = field(default_factory=list)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def to_bytes(self) -> bytes:
        """The state, random numbers included."""
        import torch
        from safetensors.torch import save

        moments = self.optimizer.state_dict()
        parts = {
            **{f"network.{name}": tensor for name, tensor in self.network.state_dict().items()},
            **{f"optimizer.{i}.{name}": t for i, state in moments["state"].items() for name, t in state.items()},
            **{f"weights.{name}": torch.from_numpy(weight) for name, weight in self.weights.items()},
            **random_state(self._device),
        }
        record = {
            "groups": moments["param_groups"],
            "schedule": self.schedule.state_dict(),
            "rng": self.rng.bit_generator.state,
            "log": self.log,
        }
        content = save({name: tensor.contiguous() for name, tensor in parts.items()}, {META: json.dumps(record)})
        return hashlib.sha256(content).digest() + content

    def restore(self, kept: bytes | None) -> None:
        """Go back to the state in `kept`; nothing happens when there is none or it was damaged."""
        if kept and hashlib.sha256(kept[DIGEST:]).digest() == kept[:DIGEST]:
            self._restore(kept[DIGEST:])

    def _restore(self, content: bytes) -> None:
        from safetensors.torch import load

        length = int.from_bytes(content[:8], "little")
        record = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][META])
        parts = load(content)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _under("optimizer", parts).items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        self.network.load_state_dict(_under("network", parts))
        self.optimizer.load_state_dict({"state": state, "param_groups": record["groups"]})
        self.schedule.load_state_dict(record["schedule"])
        self.rng.bit_generator.state = record["rng"]
        restore_random(parts, self._device)
        self.weights = {name: tensor.numpy() for name, tensor in _under("weights", parts).items()}
        self.log = record["log"]


def _under(head: str, parts: dict[str, Any]) -> dict[str, Any]:
    """The parts whose names begin with `head`, without it."""
    return {name.removeprefix(f"{head}."): part for name, part in parts.items() if name.startswith(f"{head}.")}

"""Optimizers that do not load torch's compiler: the same steps as torch's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from relrep_cli.encoders.base import reproducible
from relrep_cli.encoders.optimizers import optimizer


def trained(made: Callable[..., Any], **options: Any) -> torch.Tensor:
    """The weights after forty steps on fixed data, with the state of the optimizer stored and read half way."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(9, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    x, y = torch.randn(50, 9), torch.randint(0, 3, (50,))
    adam = made(network.parameters(), lr=1e-2, **options)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, max_lr=0.1, total_steps=50)
    for step in range(40):
        adam.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        adam.step()
        schedule.step()
        if step == 20:
            adam.load_state_dict(adam.state_dict())
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "fused": True}], ids=str)
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_steps_are_those_of_torch(name: str, options: dict[str, Any]) -> None:
    own = trained(lambda parameters, **given: optimizer(name, parameters, **given), **options)
    assert torch.equal(own, trained(getattr(torch.optim, name), **options))
    assert not torch.equal(own, trained(getattr(torch.optim, name), **options, eps=0.1)), "the weights tell optimizers apart"


def test_the_choice_of_order_is_given_back() -> None:
    for mode in (1, 2, 0):
        torch.set_deterministic_debug_mode(mode)
        with reproducible(0):
            pass
        assert torch.get_deterministic_debug_mode() == mode


@pytest.mark.slow
def test_training_does_not_load_the_compiler_of_torch() -> None:
    """It takes one to two seconds of CPU time."""
    training = """
import sys
import numpy as np
from relrep_cli.heads.mlp import trained
x = np.random.default_rng(0).normal(size=(40, 3))
trained(x, np.arange(40) % 2, 2, 0, "cpu", 4, 1)
print(*sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", training], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" in loaded and not {"torch._dynamo", "torch._inductor"} & set(loaded)

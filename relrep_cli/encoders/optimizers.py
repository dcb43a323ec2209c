"""Optimizers of torch that do not load its compiler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

DECORATED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def optimizer(name: str, parameters: Iterable[torch.nn.Parameter], **options: Any) -> torch.optim.Optimizer:
    """`torch.optim.NAME(parameters, **options)`, which computes the same.

    The methods of torch's own class import torch._dynamo, to keep themselves out of torch.compile: 1.3 s of CPU time for what
    relrep never uses. So this one has the functions that they decorate. They are those of torch where a version of torch
    decorates none.
    """
    import torch

    plain = getattr(torch.optim, name)
    members = {member: undecorated(getattr(plain, member)) for member in DECORATED}
    members["step"] = torch.no_grad()(undecorated(plain.step))  # all that the decorator does besides
    made: torch.optim.Optimizer = type(name, (plain,), members)(parameters, **options)
    return made


def undecorated(function: Any) -> Any:
    return getattr(function, "__wrapped__", function)

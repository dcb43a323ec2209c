"""Optimizers of torch that do not load its compiler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

DECORATED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def optimizer(name: str, parameters: Iterable[torch.nn.Parameter], **options: Any) -> torch.optim.Optimizer:
    """Make an optimizer that takes the steps of `torch.optim.NAME(parameters, **options)`.

    Decorators of torch's methods import torch._dynamo, to keep the methods out of torch.compile. This takes one to two seconds
    of CPU time, and relrep compiles nothing. So this optimizer has the methods without their decorators. Where a version of
    torch does not decorate a method, it has torch's own.
    """
    import torch

    plain = getattr(torch.optim, name)
    members = {member: undecorated(getattr(plain, member)) for member in DECORATED}
    members["step"] = torch.no_grad()(undecorated(plain.step))  # all that the decorator does besides
    made: torch.optim.Optimizer = type(name, (plain,), members)(parameters, **options)
    return made


def undecorated(function: Any) -> Any:
    """The function beneath a decorator that names it, or else the function itself."""
    return getattr(function, "__wrapped__", function)

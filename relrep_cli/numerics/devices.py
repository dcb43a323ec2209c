"""What `--device` means, for every command: where torch computes, or NumPy where it is `cpu`.

`auto` is cuda, then mps, then cpu. `torch:cpu` is torch on the CPU: the code of a GPU on any machine.
"""

from __future__ import annotations

from typing import Any

from relrep_cli.base.errors import UsageError

NUMPY = "cpu"
TORCH_CPU = "torch:cpu"


def chosen(device: str) -> str:
    """The device that computes: `cpu`, `torch:cpu`, `mps`, `cuda` or `cuda:N`.

    Raises UsageError when this machine has no such device.

    >>> chosen("cpu")
    'cpu'
    """
    if device in (NUMPY, TORCH_CPU):
        return device
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    there = [*(["cuda"] if count else []), *(f"cuda:{n}" for n in range(1, count)), *(["mps"] if mps else []), "cpu"]
    if device == "auto":
        return there[0]
    if device in there or (device == "cuda:0" and count):
        return device
    raise UsageError("this machine has no such device", f"Choose from: auto, {', '.join(there)}.", place=f"--device {device}")


def torch_device(device: str) -> Any:
    """The torch.device of `chosen`; products in float32 keep all their bits there."""
    name = chosen(device)
    import torch

    if name.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device(NUMPY if name == TORCH_CPU else name)

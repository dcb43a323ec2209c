"""PyTorch files that only torch reads, such as nested tensors: torch.load with weights_only, in a child process.

weights_only refuses every class that is not a plain container or a tensor, so nothing of the file runs. The child has limits,
since a file of a few bytes may name tensors of any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.store.apart import Answer, Files
from relrep_cli.store.arrays import Array
from relrep_cli.store.files import bad
from relrep_cli.store.library_files import array_of, surveyed
from relrep_cli.store.torch_files import Kit, arrays_of, unread_objects
from relrep_cli.store.torch_storages import HARMLESS, REPEATED, SAVE

LIBRARIES = ("torch",)  # imported by the fork server


def survey(name: str, files: Files, member: str | None, reading: Mapping[str, Any]) -> Answer:
    """In the child: see `surveyed`."""
    return surveyed(name, files, member, reading, arrays_by_torch, "tensor")


def arrays_by_torch(path: Path) -> Sequence[Array]:
    """In the child: the tensors of a file, as torch loads it. Raises DataError."""
    import torch

    torch.set_num_threads(1)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _refusal(path, str(error)) from None
    return arrays_of(path, content, Kit(torch.Tensor, _tensor, _stacked))


def _refusal(path: Path, reason: str) -> DataError:
    if "weights_only" in reason or "Unsupported" in reason or "GLOBAL" in reason:
        return unread_objects(path)
    return bad(path, f"torch cannot read it: {printable(reason.splitlines()[0] if reason else 'no reason given', 120)}", SAVE)


def _stacked(path: Path, name: str, tensors: Mapping[str, Any]) -> Array:
    import torch

    return _tensor(path, name, torch.stack(list(tensors.values())))


def _tensor(path: Path, name: str, tensor: Any) -> Array:
    import torch

    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
        return Array(name, tuple(tensor.shape), None, f"{kind}, sparse or quantised", lambda: np.empty(0))
    stored = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > max(HARMLESS, REPEATED * stored):
        raise bad(path, "it repeats its storage far more often than is stored", SAVE, name)
    plain = tensor.detach().resolve_neg()
    return array_of(path, name, (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy(), kind)

"""What pretrained models take and give: images as they expect them, tokens pooled into one vector, digests of weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relrep_cli.store.files import opened


def pooled(tokens: Any, mask: Any, pooling: str) -> Any:
    """(b, t, d) tokens as (b, d); padding does not count."""
    import torch

    mask = torch.ones(tokens.shape[:2], device=tokens.device) if mask is None else mask
    if pooling == "first":
        return tokens[:, 0]
    if pooling == "last":
        return tokens[torch.arange(len(tokens)), mask.cumsum(1).argmax(1)]
    if pooling == "max":
        return tokens.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)
    return (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def place_of(name: str) -> str:
    """A folder as a path that no package takes for a name."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def rgb(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (b, h, w, 3), grey ones repeated."""
    return block if block.ndim == 4 else np.repeat(block[..., None], 3, axis=3)


def floats(block: NDArray[Any], mean: float, std: float) -> NDArray[np.float32]:
    """Images as (b, c, h, w), pixels in 0..1 less `mean` over `std`; vectors as they are."""
    if block.ndim == 2:
        return np.ascontiguousarray(block, np.float32)
    x = block[:, None] if block.ndim == 3 else block.transpose(0, 3, 1, 2)
    return np.ascontiguousarray((x.astype(np.float32) / 255 - mean) / std)


def averaged(vectors: NDArray[Any]) -> NDArray[Any]:
    """Maps (b, d, h, w) and tokens (b, t, d) as (b, d)."""
    if vectors.ndim == 4:
        return vectors.mean((2, 3))
    return vectors.mean(1) if vectors.ndim == 3 else vectors


def state_digest(model: Any) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"\n{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(-1).numpy().tobytes() if weight.numel() else b"")
    return digest.hexdigest()


def file_digest(name: str) -> str:
    with opened(Path(name), "the file of a model") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

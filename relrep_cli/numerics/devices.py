"""What `--device` means, for every command: where torch computes, or NumPy where it is `cpu`.

`auto` is cuda, then mps, then cpu. `torch:cpu` is torch on the CPU: the code of a GPU on any machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say
from relrep_cli.numerics.blocks import slices

NUMPY = "cpu"
TORCH_CPU = "torch:cpu"
FREE = {"mps": 4 << 30, "cpu": 256 << 20}
REPRODUCIBLE = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}  # read when CUDA starts; without it, cuBLAS may add in another order


def chosen(device: str) -> str:
    """The device that computes: `cpu`, `torch:cpu`, `mps`, `cuda` or `cuda:N`.

    Raises UsageError when this machine has no such device.

    >>> chosen("cpu")
    'cpu'
    """
    if device in (NUMPY, TORCH_CPU):
        return device
    if device == "auto" and find_spec("torch") is None:
        return NUMPY
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
    """The torch.device of `chosen`; products in float32 keep all their bits there, and sums have one order."""
    name = chosen(device)
    import torch

    if name.startswith("cuda"):
        keep_all_bits(torch)
    return torch.device(NUMPY if name == TORCH_CPU else name)


def keep_all_bits(torch: Any) -> None:
    """Products and convolutions of float32 without TF32, by algorithms that always add in the same order."""
    os.environ.update({name: value for name, value in REPRODUCIBLE.items() if name not in os.environ})
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def in_float64(device: str) -> str:
    """Where sums in float64 are computed for this device: there, or by NumPy where it has no float64, which is noted once."""
    name = chosen(device)
    if name != "mps":
        return name
    _note_of_float64(name)
    return NUMPY


@cache
def _note_of_float64(name: str) -> None:
    say(f"--device {name}: it has no float64, so the CPU computes what needs it.")


def free_memory(on: Any) -> int:
    """The bytes of memory that are free on a device; where torch cannot tell, a number that most machines have."""
    import torch

    return int(torch.cuda.mem_get_info(on)[0]) if on.type == "cuda" else FREE[on.type]


def own_memory(on: Any) -> int:
    """The bytes that data may take on a device for as long as they are in use; 0 where its memory is that of the CPU."""
    return free_memory(on) // 2 if on.type == "cuda" else 0


def float64_zeros(shape: tuple[int, ...], on: Any) -> Any:
    """A tensor on a device of `in_float64`."""
    import torch

    return torch.zeros(shape, dtype=torch.float64, device=on)


@contextmanager
def memory_of(device: str, what: str) -> Iterator[None]:
    """Within it, a lack of memory on the device is a DataError. what: takes the memory, as in "a tile takes 2.0 GiB"."""
    import torch

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.cuda.OutOfMemoryError) and "out of memory" not in str(error):
            raise
        raise DataError(f"{device} has too little memory free: {what}", "Use --device cpu.") from None


def sent(blocks: Iterable[Sequence[np.ndarray]], on: Any) -> Iterator[list[Any]]:
    """The arrays of each block as tensors on the device. on: of `torch_device`.

    The next block is copied there, from pinned memory where that is CUDA, while the caller computes with the one before.
    """
    import torch

    module = getattr(torch, on.type)
    if not hasattr(module, "Stream"):  # mps, which has one queue and the memory of the CPU
        yield from ([_in_torch(torch, array, on).to(on) for array in block] for block in blocks)
        return
    copies, computes = module.Stream(*([on] if on.type == "cuda" else [])), module.current_stream(on)
    ahead: list[Any] | None = None
    for block in blocks:
        here = [_in_torch(torch, array, on) for array in block]
        there = [torch.empty_like(array, device=on) for array in here]
        computes.wait_stream(copies)  # until the block before has arrived, which is computed with next
        copies.wait_stream(computes)  # until the memory of the new block is free
        with module.stream(copies):
            for array, place in zip(here, there, strict=True):
                place.copy_(array, non_blocking=True)
        if ahead is not None:
            yield ahead
        ahead = there
    if ahead is not None:
        computes.wait_stream(copies)
        yield ahead


@dataclass(eq=False)
class KeptBlocks:
    """Blocks of rows of x on a device, for several passes. As many as fit into half of its free memory stay there.

    prepare: makes arrays of a block of rows, which are sent. rows: in a block. on: of `torch_device`.
    """

    x: np.ndarray
    rows: int
    on: Any
    prepare: Callable[[np.ndarray], Sequence[np.ndarray]]
    _room: int = field(init=False)
    _kept: list[list[Any]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._room = free_memory(self.on) // 2

    def __iter__(self) -> Iterator[tuple[int, list[Any]]]:
        """The number of the first row of each block, and its arrays on the device."""
        here = len(self._kept)
        for number in range(here):
            yield number * self.rows, self._kept[number]
        rest = self.x[here * self.rows :]
        blocks = (self.prepare(rest[block]) for block in slices(len(rest), self.rows, rest))
        for number, there in enumerate(sent(blocks, self.on), here):
            size = sum(part.nbytes for part in there)
            if size <= self._room and number == len(self._kept):
                self._room -= size
                self._kept.append(there)
            yield number * self.rows, there


def _in_torch(torch: Any, array: np.ndarray, on: Any) -> Any:
    """A copy of the array as a tensor of the CPU, in pinned memory for CUDA. Maps that cannot be written to are copied, too."""
    kind = torch.from_numpy(np.empty(0, array.dtype.newbyteorder("="))).dtype
    out = torch.empty(array.shape, dtype=kind, pin_memory=on.type == "cuda")
    out.numpy()[...] = array
    return out

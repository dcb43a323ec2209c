"""PyTorch's .pt and .pth: a tensor, dicts and lists of tensors, with the ids beside them, mapped where they lie.

relrep reads them itself, since the import of torch takes 2 CPU seconds and 200 MB. torch, in a child process, reads the few
that name what it alone knows; see `torch_library`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.numerics.spool import spool
from relrep_cli.store.apart import Answer, Files
from relrep_cli.store.arrays import Array, content_of
from relrep_cli.store.files import HEAD, bad, mistaken, opened
from relrep_cli.store.found import Found
from relrep_cli.store.library_files import array_of, of_texts, read_with_library, surveyed
from relrep_cli.store.pickle_opcodes import Malformed, TooLong
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.scaling import is_scaling
from relrep_cli.store.torch_pickles import Name, Tensor
from relrep_cli.store.torch_storages import AGAIN, LEGACY, SAVE, TorchFile, check_places, dtype_of, numbers, torch_file

LARGEST, MOST = 1 << 20, 1 << 18  # bytes and opcodes of a pickle that this process reads; larger ones need a child with limits
LARGEST_APART, MOST_APART = 1 << 28, 1 << 26


def read_torch(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The chosen tensor (n, d), or one vector (d,) for each key of a dict, with lists of texts beside it. Raises DataError."""
    with opened(path) as file:
        head = os.pread(file.fileno(), HEAD, 0)
    if not head.startswith(b"PK") and not head.startswith(LEGACY):
        raise mistaken(path, head, "a PyTorch file (.pt)")
    try:
        torch = _checked(path, LARGEST, MOST)
    except TooLong:
        return read_with_library(path, member, reading, survey)
    if torch.content.needs_torch:
        from relrep_cli.store import torch_library

        return read_with_library(path, member, reading, torch_library.survey)
    return content_of(path, _arrays(torch), member, reading, "tensor")


def survey(name: str, files: Files, member: str | None, reading: Mapping[str, Any]) -> Answer:
    """In the child: see `surveyed`."""
    return surveyed(name, files, member, reading, _arrays_of_large, "tensor")


def _arrays_of_large(path: Path) -> Sequence[Array]:
    try:
        torch = _checked(path, LARGEST_APART, MOST_APART)
    except TooLong:
        raise bad(path, "its pickle is too large", "Save one tensor (items, dimensions).") from None
    if torch.content.needs_torch:
        from relrep_cli.store.torch_library import arrays_by_torch

        return arrays_by_torch(path)
    return _arrays(torch)


def _checked(path: Path, longest: int, most: int) -> TorchFile:
    """The file as far as its pickle tells. Raises TooLong, or DataError where it is damaged or holds other objects."""
    with opened(path) as file:
        try:
            torch = torch_file(path, file, longest, most)
        except Malformed as error:
            raise bad(path, f"damaged: {printable(str(error) or 'its pickle is malformed', 120)}", AGAIN) from None
    if strangers := torch.content.strangers:
        raise unread_objects(path, next((name for name in strangers if not name.startswith("__builtin__")), strangers[0]))
    return torch


def unread_objects(path: Path, name: str = "") -> DataError:
    """The error for objects that could run code; name: the class or function of one."""
    which = f": {printable(name, 60)}" if name else ""
    return bad(path, f"holds Python objects besides tensors, which could run code and are never opened{which}", SAVE)


@dataclass(frozen=True)
class Kit:
    """How tensors become arrays. kind: their class. array: of a path, a name and one tensor. stacked: of several by name."""

    kind: type
    array: Callable[[Path, str, Any], Array]
    stacked: Callable[[Path, str, Mapping[str, Any]], Array]


def _arrays(torch: TorchFile) -> list[Array]:
    def array(path: Path, name: str, tensor: Tensor) -> Array:
        check_places(torch, [(name, tensor)])
        return Array(name, tensor.shape, dtype_of(tensor), tensor.kind, lambda: numbers(torch, name, tensor))

    def stacked(path: Path, name: str, tensors: Mapping[str, Tensor]) -> Array:
        check_places(torch, list(tensors.items()))
        kinds = {tensor.kind for tensor in tensors.values()}
        dtypes = {dtype_of(tensor) for tensor in tensors.values()}
        known = None if None in dtypes else np.result_type(*(dtype for dtype in dtypes if dtype is not None))
        shape = (len(tensors), *next(iter(tensors.values())).shape)
        return Array(name, shape, known, ", ".join(sorted(kinds)), lambda: _filled(torch, tensors, shape, known))

    return arrays_of(torch.path, torch.content.value, Kit(Tensor, array, stacked))


def _filled(torch: TorchFile, tensors: Mapping[str, Tensor], shape: tuple[int, ...], dtype: np.dtype | None) -> np.ndarray:
    """The tensors one below the other."""
    out = spool(shape, dtype)
    for row, (name, tensor) in enumerate(tensors.items()):
        out[row] = numbers(torch, name, tensor)
    return out


def arrays_of(path: Path, content: Any, kit: Kit) -> list[Array]:
    """The tensors of a file by their names. Raises DataError where it holds none, or of different shapes."""
    if isinstance(content, kit.kind):
        return [kit.array(path, "tensor", content)]
    if isinstance(content, Mapping):
        return _of_mapping(path, {str(key): value for key, value in content.items()}, kit)
    if isinstance(content, list | tuple) and content and all(isinstance(one, kit.kind) for one in content):
        return [_stacked(path, "list", {str(i): one for i, one in enumerate(content)}, kit)]
    kind = content.name.split()[-1] if isinstance(content, Name) else type(content).__name__
    raise bad(path, f"holds {printable(kind, 40)}, not tensors", SAVE)


def _of_mapping(path: Path, content: Mapping[str, Any], kit: Kit) -> list[Array]:
    """Each tensor by its key; where all are vectors of one length, one matrix of them with the keys as ids."""
    tensors: dict[str, Any] = {key: value for key, value in content.items() if isinstance(value, kit.kind)}
    if len(tensors) > 1 and all(value.ndim == 1 and value.is_floating_point() for value in tensors.values()):
        return [_stacked(path, "vectors", tensors, kit), array_of(path, "id", np.array(list(tensors)))]
    arrays = [kit.array(path, key, value) for key, value in tensors.items()]
    lists = [of_texts(path, key, value) for key, value in content.items() if isinstance(value, list | tuple)]
    numbers = {key: value for key, value in content.items() if isinstance(value, int | float) and is_scaling(key)}
    arrays += [array_of(path, key, np.array(value)) for key, value in numbers.items()]
    others = [key for key, value in content.items() if key not in tensors and isinstance(value, Mapping)]
    arrays += [Array(key, (), None, "a dict", lambda: np.empty(0)) for key in others]
    return arrays + [array for array in lists if array is not None]


def _stacked(path: Path, name: str, vectors: Mapping[str, Any], kit: Kit) -> Array:
    if len({tuple(vector.shape) for vector in vectors.values()}) > 1:
        shapes = ", ".join(str(tuple(vector.shape)) for vector in list(vectors.values())[:3])
        raise bad(path, f"its tensors have different shapes: {shapes}", "Save one tensor (items, dimensions).")
    return kit.stacked(path, name, vectors)

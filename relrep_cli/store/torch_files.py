"""PyTorch's .pt and .pth: a tensor, dicts and lists of tensors, with the ids beside them, mapped where they lie.

relrep reads them itself, since the import of torch takes 2 CPU seconds and 200 MB. A tensor of a form that is not read, such
as a sparse one, is refused with the call of torch that makes a plain tensor of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.numerics.spool import spool
from relrep_cli.store.apart import Answer, Files
from relrep_cli.store.arrays import Array, content_of
from relrep_cli.store.files import HEAD, bad, mistaken, opened
from relrep_cli.store.found import Found
from relrep_cli.store.library_files import array_of, of_texts, read_with_library, surveyed
from relrep_cli.store.pickle_opcodes import Malformed, TooLong, Unknown
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.scaling import is_scaling
from relrep_cli.store.torch_pickles import Name, Tensor
from relrep_cli.store.torch_storages import AGAIN, LEGACY, SAVE, TorchFile, check_places, dtype_of, numbers, torch_file

LARGEST, MOST = 1 << 20, 1 << 18  # bytes and opcodes of a pickle that this process reads; larger ones need a child with limits
LARGEST_APART, MOST_APART = 1 << 28, 1 << 26
REMEDIES = {  # by a word in the kind of a tensor that is not read
    "sparse": "Make it dense: torch.save(x.to_dense(), FILE).",
    "quantised": "Undo the quantisation: torch.save(x.dequantize(), FILE).",
    "nested": "Pool each item to one vector: torch.save(torch.stack([item.mean(0) for item in x.unbind()]), FILE).",
    "complex": "Split it into real columns: torch.save(torch.view_as_real(x.resolve_conj()).flatten(1), FILE).",
    "float8": "Widen it: torch.save(x.float(), FILE).",
    "without numbers": "It was saved from the device meta: save it from a model whose weights are loaded.",
}


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
    return content_of(path, _arrays(torch), member, reading, "tensor")


def survey(name: str, files: Files, member: str | None, reading: Mapping[str, Any]) -> Answer:
    """In the child: see `surveyed`."""
    return surveyed(name, files, member, reading, _arrays_of_large, "tensor")


def _arrays_of_large(path: Path) -> Sequence[Array]:
    try:
        torch = _checked(path, LARGEST_APART, MOST_APART)
    except TooLong:
        raise bad(path, "its pickle is too large", "Save one tensor (items, dimensions).") from None
    return _arrays(torch)


def _checked(path: Path, longest: int, most: int) -> TorchFile:
    """The file as far as its pickle tells. Raises TooLong, or DataError where it is damaged or holds other objects."""
    with opened(path) as file:
        try:
            torch = torch_file(path, file, longest, most)
        except Unknown as error:
            raise bad(path, str(error), "Save a plain tensor: numpy.save(FILE, x.cpu().numpy()).") from None
        except Malformed as error:
            raise bad(path, f"damaged: {printable(str(error) or 'its pickle is malformed', 120)}", AGAIN) from None
    if strangers := torch.content.strangers:
        name = next((name for name in strangers if not name.startswith("__builtin__")), strangers[0])
        finding = "holds Python objects besides tensors, which could run code and are never opened"
        raise bad(path, f"{finding}: {printable(name, 60)}", SAVE)
    return torch


def _arrays(torch: TorchFile) -> list[Array]:
    """The tensors of a file by their names. Raises DataError where it holds none, or of different shapes."""
    content, path = torch.content.value, torch.path
    if isinstance(content, Tensor):
        return [_array(torch, "tensor", content)]
    if isinstance(content, Mapping):
        return _of_mapping(torch, {str(key): value for key, value in content.items()})
    if isinstance(content, list | tuple) and content and all(isinstance(one, Tensor) for one in content):
        return [_stacked(torch, "list", {str(i): one for i, one in enumerate(content)})]
    kind = content.name.split()[-1] if isinstance(content, Name) else type(content).__name__
    raise bad(path, f"holds {printable(kind, 40)}, not tensors", SAVE)


def _of_mapping(torch: TorchFile, content: Mapping[str, Any]) -> list[Array]:
    """Each tensor by its key; where all are vectors of one length, one matrix of them with the keys as ids."""
    path = torch.path
    tensors = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if len(tensors) > 1 and all(value.ndim == 1 and value.is_floating_point() for value in tensors.values()):
        return [_stacked(torch, "vectors", tensors), array_of(path, "id", np.array(list(tensors)))]
    arrays = [_array(torch, key, value) for key, value in tensors.items()]
    lists = [of_texts(path, key, value) for key, value in content.items() if isinstance(value, list | tuple)]
    numbers = {key: value for key, value in content.items() if isinstance(value, int | float) and is_scaling(key)}
    arrays += [array_of(path, key, np.array(value)) for key, value in numbers.items()]
    others = [key for key, value in content.items() if key not in tensors and isinstance(value, Mapping)]
    arrays += [Array(key, (), None, "a dict", lambda: np.empty(0)) for key in others]
    return arrays + [array for array in lists if array is not None]


def _array(torch: TorchFile, name: str, tensor: Tensor) -> Array:
    check_places(torch, [(name, tensor)])
    remedy = next((remedy for form, remedy in REMEDIES.items() if form in tensor.kind), "")
    return Array(name, tensor.shape, dtype_of(tensor), tensor.kind, lambda: numbers(torch, name, tensor), remedy=remedy)


def _stacked(torch: TorchFile, name: str, tensors: Mapping[str, Tensor]) -> Array:
    """The tensors one below the other."""
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        shapes = ", ".join(str(tensor.shape) for tensor in list(tensors.values())[:3])
        raise bad(torch.path, f"its tensors have different shapes: {shapes}", "Save one tensor (items, dimensions).")
    check_places(torch, list(tensors.items()))
    kinds = {tensor.kind for tensor in tensors.values()}
    dtypes = {dtype_of(tensor) for tensor in tensors.values()}
    known = None if None in dtypes else np.result_type(*(dtype for dtype in dtypes if dtype is not None))
    shape = (len(tensors), *next(iter(tensors.values())).shape)
    return Array(name, shape, known, ", ".join(sorted(kinds)), lambda: _filled(torch, tensors, shape, known))


def _filled(torch: TorchFile, tensors: Mapping[str, Tensor], shape: tuple[int, ...], dtype: np.dtype | None) -> np.ndarray:
    """The tensors one below the other."""
    out = spool(shape, dtype)
    for row, (name, tensor) in enumerate(tensors.items()):
        out[row] = numbers(torch, name, tensor)
    return out

"""PyTorch's .pt and .pth: tensors, and dicts and lists of tensors, by torch.load with weights_only, in a child process.

weights_only refuses every class that is not a plain container or a tensor, so nothing of the file runs. The child has limits,
since a file of a few bytes may name tensors of any size.
"""

from __future__ import annotations

import io
import os
import pickletools
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import DataError, printable
from relrep_cli.store.apart import Answer, Files
from relrep_cli.store.arrays import Array, check_embedding, choose
from relrep_cli.store.files import HEAD, bad, mistaken, opened
from relrep_cli.store.found import Found
from relrep_cli.store.library_files import array_of, of_texts, read_with_library, surveyed
from relrep_cli.store.reading import PLAIN, Reading
from relrep_cli.store.scaling import is_scaling
from relrep_cli.store.torch_outlines import Outline, outline

LIBRARIES = ("torch",)  # imported by the fork server
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files of torch before 1.6 begin
MOST = 1 << 14  # tensors
LARGEST = 1 << 20  # bytes of a pickle that are looked at before torch is imported, which takes 2 CPU seconds and 200 MB
PICKLES = 5  # before the tensors in files of torch before 1.6
# Files with other names are refused; for these, torch decides.
KNOWN = re.compile(
    r"torch\..*|collections\..*|_codecs\.encode|(builtins|__builtin__)\.(bytearray|set|complex)"
)  # torch decides
SAVE = "Save the tensor alone: torch.save(x, FILE), or numpy.save."


def read_torch(path: Path, member: str | None = None, reading: Reading = PLAIN) -> Found:
    """The chosen tensor (n, d), or one vector (d,) for each key of a dict, with lists of texts beside it. Raises DataError."""
    with opened(path) as file:
        head = os.pread(file.fileno(), HEAD, 0)
    if not head.startswith(b"PK") and not head.startswith(LEGACY):
        raise mistaken(path, head, "a PyTorch file (.pt)")
    with opened(path) as file:
        pickles = _structure(path, file) if head.startswith(b"PK") else _start(file, LARGEST)
    names = names_in(pickles)
    if strangers := [name for name in sorted(names) if not KNOWN.fullmatch(name)]:
        raise _objects(path, next((name for name in strangers if not name.startswith("__builtin__")), strangers[0]))
    if head.startswith(b"PK"):
        _refuse_early(path, pickles, member, reading)
    return read_with_library(path, member, reading, survey)


def _structure(path: Path, file: FileIO) -> bytes:
    """The start of the pickle in an archive. Raises DataError unless all entries are stored as they are, as torch.save does."""
    from relrep_cli.store.npz import places_of

    try:
        places = places_of(path, file)
    except DataError as error:
        raise bad(path, error.finding, "Save it again with torch.save.") from None
    if packed := next((entry for entry, _ in places if entry.compress_type != zipfile.ZIP_STORED), None):
        raise bad(path, f"its entry {printable(packed.filename, 60)} is compressed, as torch.save never does", SAVE)
    pickled = next(((entry, start) for entry, start in places if entry.filename.endswith("data.pkl")), None)
    if pickled is None:
        raise bad(path, "this is a zip archive, but none of PyTorch's", SAVE)
    file.seek(pickled[1])
    return file.read(min(pickled[0].file_size, LARGEST)) or b""


def _start(file: FileIO, size: int) -> bytes:
    file.seek(0)
    return file.read(size) or b""


def names_in(pickles: bytes) -> set[str]:
    """The classes and functions, `module.name`, that pickles one after another name, unless one is cut or damaged.

    Nothing is looked up: this only saves the import of torch for files that torch would refuse.
    """
    names: set[str] = set()
    stream = io.BytesIO(pickles)
    with suppress(ValueError, OverflowError):
        for _ in range(PICKLES):
            operations = pickletools.genops(stream)
            names |= {str(name).replace(" ", ".") for code, name, _ in operations if code.name in ("GLOBAL", "INST")}
    return names


def survey(name: str, files: Files, member: str | None, reading: Mapping[str, Any]) -> Answer:
    """In the child: see `surveyed`."""
    return surveyed(name, files, member, reading, _arrays, "tensor")


def _arrays(path: Path) -> Sequence[Array]:
    import torch

    torch.set_num_threads(1)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _refusal(path, str(error)) from None
    return arrays_of(path, content, Kit(torch.Tensor, _tensor, torch.stack))


def _refusal(path: Path, reason: str) -> DataError:
    if "weights_only" in reason or "Unsupported" in reason or "GLOBAL" in reason:
        return _objects(path)
    return bad(path, f"torch cannot read it: {printable(reason.splitlines()[0] if reason else 'no reason given', 120)}", SAVE)


def _objects(path: Path, name: str = "") -> DataError:
    which = f": {printable(name, 60)}" if name else ""
    return bad(path, f"holds Python objects besides tensors, which could run code and are never opened{which}", SAVE)


@dataclass(frozen=True)
class Kit:
    """How tensors, or outlines of them, become arrays. kind: their class. stack: makes one of several."""

    kind: type
    array: Callable[[Path, str, Any], Array]
    stack: Callable[[list[Any]], Any]


def arrays_of(path: Path, content: Any, kit: Kit) -> list[Array]:
    """The tensors of a file by their names. Raises DataError where it holds none, or of different shapes."""
    if isinstance(content, kit.kind):
        return [kit.array(path, "tensor", content)]
    if isinstance(content, Mapping):
        return _of_mapping(path, {str(key): value for key, value in list(content.items())[:MOST]}, kit)
    if isinstance(content, list | tuple) and content and all(isinstance(one, kit.kind) for one in content):
        return _stacked(path, "list", list(content), kit)
    raise bad(path, f"holds {printable(type(content).__name__, 40)}, not tensors", SAVE)


def _of_mapping(path: Path, content: Mapping[str, Any], kit: Kit) -> list[Array]:
    """Each tensor by its key; where all are vectors of one length, one matrix of them with the keys as ids."""
    tensors: dict[str, Any] = {key: value for key, value in content.items() if isinstance(value, kit.kind)}
    if len(tensors) > 1 and all(value.ndim == 1 and value.is_floating_point() for value in tensors.values()):
        return [*_stacked(path, "vectors", list(tensors.values()), kit), array_of(path, "id", np.array(list(tensors)))]
    arrays = [kit.array(path, key, value) for key, value in tensors.items()]
    lists = [of_texts(path, key, value) for key, value in content.items() if isinstance(value, list | tuple)]
    numbers = {key: value for key, value in content.items() if isinstance(value, int | float) and is_scaling(key)}
    arrays += [array_of(path, key, np.array(value)) for key, value in numbers.items()]
    others = [key for key, value in content.items() if key not in tensors and isinstance(value, Mapping)]
    arrays += [Array(key, (), None, "a dict", lambda: np.empty(0)) for key in others]
    return arrays + [array for array in lists if array is not None]


def _stacked(path: Path, name: str, vectors: list[Any], kit: Kit) -> list[Array]:
    if len({tuple(vector.shape) for vector in vectors}) > 1:
        shapes = ", ".join(str(tuple(vector.shape)) for vector in vectors[:3])
        raise bad(path, f"its tensors have different shapes: {shapes}", "Save one tensor (items, dimensions).")
    return [kit.array(path, name, kit.stack(vectors))]


def _refuse_early(path: Path, pickle: bytes, member: str | None, reading: Reading) -> None:
    """Raise DataError where the outlines of the tensors show that none, or more than one, can be the embedding."""
    try:
        content = outline(pickle)
    except ValueError:  # torch says more
        return
    kit = Kit(
        Outline,
        lambda path, name, one: Array(name, one.shape, one.dtype, one.dtype.name, lambda: np.empty(0)),
        lambda vectors: Outline((len(vectors), *vectors[0].shape), vectors[0].dtype),
    )
    arrays = [array for array in arrays_of(path, content, kit) if array.name not in reading.named.values()]
    check_embedding(path, array := choose(path, arrays, member, "tensor"), array.name)


def _tensor(path: Path, name: str, tensor: Any) -> Array:
    import torch

    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_sparse or tensor.is_quantized or tensor.is_complex():
        return Array(name, tuple(tensor.shape), None, f"{kind}, sparse or quantised", lambda: np.empty(0))
    stored = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > max(64 << 20, 4 * stored):
        raise bad(path, "it repeats its storage far more often than is stored", SAVE, name)
    plain = tensor.detach()
    return array_of(path, name, (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy(), kind)

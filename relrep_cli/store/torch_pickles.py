"""What the pickle in a PyTorch file says, without torch, whose import takes 2 CPU seconds and 200 MB.

Its opcodes build lists and dicts of tensors, which say where in which storage their numbers are. Nothing is looked up or
called. Tensors of forms that are not read, such as sparse and nested ones, keep their kind and shape for messages.
"""

from __future__ import annotations

import io
import re
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.store.pickle_opcodes import Malformed, Rules, Unknown, follow, pairs

# Names that torch.load takes with weights_only; files with others are refused.
KNOWN = re.compile(
    r"collections (OrderedDict|Counter)|_codecs encode|(builtins|__builtin__) (bytearray|set|complex)"
    r"|torch\.nn\.parameter Parameter|torch\.serialization _get_layout|torch\._tensor _rebuild_from_type_v2"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|qtensor|parameter|parameter_with_state|sparse_tensor|nested_tensor)"
    r"|torch\._utils _rebuild_(meta_tensor_no_storage|wrapper_subclass|device_tensor_from_\w+)"
    r"|torch(\.storage|\.cuda|\.sparse|\.cuda\.sparse)? (Size|device|\w*Tensor|\w+Storage|[a-z]+\d\w*|bool|per_\w+)"
)
STORAGES = {
    "Float": ("float32", "<f4"), "Double": ("float64", "<f8"), "Half": ("float16", "<f2"), "BFloat16": ("bfloat16", "<u2"),
    "Long": ("int64", "<i8"), "Int": ("int32", "<i4"), "Short": ("int16", "<i2"), "Char": ("int8", "i1"),
    "Byte": ("uint8", "u1"), "Bool": ("bool", "?"),
    "ComplexFloat": ("complex64", "<c8"), "ComplexDouble": ("complex128", "<c16"),
    "QInt8": ("qint8", "i1"), "QUInt8": ("quint8", "u1"), "QInt32": ("qint32", "<i4"), "Untyped": ("", "u1"),
}  # fmt: skip
NEWER = {"uint16": "<u2", "uint32": "<u4", "uint64": "<u8"}  # stored without a type
UNREAD = ("sparse_tensor", "qtensor", "nested_tensor", "meta_tensor_no_storage")
FIRST_TENSORS = re.compile(r"torch(?:\.cuda)? (\w+)Tensor")  # as torch 0.1 makes them
PLAIN = re.compile(  # calls whose result is no tensor
    r"torch device|torch\.serialization _get_layout|_codecs encode|(builtins|__builtin__) (bytearray|set|complex)"
)
TYPES = re.compile(r"torch(\.\w+)* (per_\w+|\w+Storage|[a-z]+\d\w*|bool)")  # which are not called
MOST_AXES = 32


@dataclass(frozen=True)
class Storage:
    """Numbers in a row, which several tensors may share. kind: their type, as torch calls it. stored: as NumPy does."""

    key: str
    kind: str
    stored: np.dtype
    count: int
    start: int = 0  # where it begins in a longer storage, in files before torch 0.4

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.stored.itemsize


@dataclass
class Tensor:
    """A tensor without its numbers. Its axes lie `strides` numbers apart, and begin at `offset`.

    storage: None for a tensor that is not read, such as a sparse one. negative: whether its sign is still to be changed.
    """

    kind: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] = ()
    offset: int = 0
    storage: Storage | None = None
    negative: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def is_floating_point(self) -> bool:
        return self.kind.startswith(("float", "bfloat"))


@dataclass(frozen=True)
class Name:
    """A name in the pickle; it stands for itself and is never looked up."""

    name: str


@dataclass
class Content:
    """What a pickle holds. strangers: names that no file of tensors has. storages: by their keys."""

    value: Any = None
    strangers: list[str] = field(default_factory=list)
    storages: dict[str, Storage] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)  # of storages, by keys of their own


def content_of_pickle(stream: io.BytesIO, most: int) -> Content:
    """The content of the pickle at the place of `stream`, with at most `most` opcodes.

    Raises TooLong, and Malformed for damage; where it has named strangers by then, returns them instead.
    """
    content = Content()
    rules = Rules(
        name=lambda name: _named(content, name),
        call=lambda name, arguments: _called(content, name, arguments),
        build=_built,
        persistent=lambda arguments: _storage(content, arguments),
    )
    try:
        content.value = follow(stream, rules, most)
    except Malformed:
        if not content.strangers:
            raise
    return content


def plain_pickle(stream: io.BytesIO) -> Any:
    """The object of a small pickle at the place of `stream` that names nothing. Raises Malformed or TooLong."""
    return follow(stream, Rules(_refused, _refused), 1 << 16)


def _refused(*_: Any) -> Any:
    raise Malformed


def _named(content: Content, name: str) -> Name:
    if not KNOWN.fullmatch(name):
        content.strangers.append(name.replace(" ", "."))
    return Name(name)


def _called(content: Content, name: Any, arguments: tuple[Any, ...]) -> Any:
    """What a call of a name gives."""
    if not isinstance(name, Name):
        raise Malformed
    kind = name.name.removeprefix("torch._utils _rebuild_")
    if kind in ("tensor", "tensor_v2", "tensor_v3"):
        return _tensor(kind, *arguments)
    if kind in ("parameter", "parameter_with_state", "torch.nn.parameter Parameter"):
        return _of(arguments[0], Tensor)
    if kind in UNREAD:
        return _unread(kind, *arguments)
    if name.name == "torch._tensor _rebuild_from_type_v2":  # attributes of a tensor, which are left out
        return _called(content, _of(arguments[0], Name), _of(arguments[2], tuple)) if arguments[0] != name else _refused()
    if name.name == "collections Counter":
        return dict(_of(arguments[0], dict))
    if name.name == "torch Size":
        return _sizes(arguments[0])
    if name.name == "collections OrderedDict":
        return pairs([part for pair in arguments[0] for part in _pair(pair)]) if arguments else {}
    if (first := FIRST_TENSORS.fullmatch(name.name)) and first[1] in STORAGES and not arguments:
        return Tensor(STORAGES[first[1]][0], (0,))  # which its state fills
    if TYPES.fullmatch(name.name):
        raise Malformed
    if not PLAIN.fullmatch(name.name):
        raise Unknown(f"its pickle calls {printable(name.name.replace(' ', '.'), 80)}, which relrep does not read")
    return name


def _unread(kind: str, *arguments: Any) -> Tensor:
    """A tensor of a form that is not read."""
    if kind == "sparse_tensor":
        parts = [part for part in arguments[1] if isinstance(part, Tensor)]
        return Tensor(f"{parts[-1].kind}, sparse", [part for part in arguments[1] if type(part) is tuple][-1])
    if kind == "qtensor":
        return Tensor(f"{_of(arguments[0], Storage).kind}, quantised", _sizes(arguments[2]))
    if kind == "nested_tensor":
        return Tensor(f"{_of(arguments[0], Tensor).kind}, nested", _of(arguments[1], Tensor).shape[:1])
    return Tensor(f"{_of(arguments[0], Name).name.removeprefix('torch ')}, without numbers", _sizes(arguments[1]))


def _pair(value: Any) -> Any:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise Malformed
    return value


def _built(item: Any, state: Any) -> Any:
    """Attributes of a dict, such as the versions of a model's parts, are left out. torch 0.1 fills a tensor by its state."""
    if isinstance(item, Tensor):
        filled = _tensor("tensor", *_of(state, tuple))
        if filled.kind != item.kind:
            raise Malformed
        vars(item).update(vars(filled))
    elif type(item) is not dict:
        raise Malformed
    return item


def _of(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise Malformed
    return value


def _sizes(values: Any) -> tuple[int, ...]:
    """Sizes of axes, or strides, from a pickle."""
    if type(values) not in (tuple, list) or len(values) > MOST_AXES:
        raise Malformed
    if not all(type(value) is int and 0 <= value < 1 << 63 for value in values):
        raise Malformed
    return tuple(values)


def _storage(content: Content, arguments: Any) -> Storage:
    """The storage of ("storage", its type, its key, a device, how many numbers)."""
    what, kind, key, _, count, *part = _of(arguments, tuple)
    if what != "storage":
        raise Malformed
    name = _of(kind, Name).name.removeprefix("torch.storage ").removeprefix("torch ").removesuffix("Storage")
    if name not in STORAGES or not re.fullmatch(r"[\w-]{1,40}", _of(key, str)):
        raise Malformed
    known, stored = STORAGES[name]
    storage = Storage(key, known, np.dtype(stored), *_sizes((count,)))
    if content.storages.setdefault(key, storage) != storage:
        raise Malformed
    return _part(content, storage, part[0]) if part and part[0] is not None else storage


def _part(content: Content, storage: Storage, part: Any) -> Storage:
    """A part of a storage: (a key of its own, where it begins, how many numbers)."""
    key, start, count = _of(part, tuple)
    start, count = _sizes((start, count))
    if content.parts.setdefault(_of(key, str), (storage, part)) != (storage, part) or start > storage.count:
        raise Malformed
    return replace(storage, count=min(count, storage.count - start), start=start)


def _tensor(form: str, storage: Any, offset: Any, shape: Any, strides: Any, *more: Any) -> Tensor:
    """A tensor by its storage. more: whether it has a gradient, hooks, its type in the third form, other properties."""
    storage, shape, strides, (offset,) = _of(storage, Storage), _sizes(shape), _sizes(strides), _sizes((offset,))
    kind, properties = storage.kind, more[2:]
    if form == "tensor_v3":
        kind, properties = _of(more[2], Name).name.removeprefix("torch "), more[3:]
        if storage.kind or storage.start or (kind in NEWER and storage.count % np.dtype(NEWER[kind]).itemsize):
            raise Malformed
        if kind in NEWER:
            stored = np.dtype(NEWER[kind])
            storage = Storage(storage.key, kind, stored, storage.count // stored.itemsize)
    marks = properties[0] if properties and properties[0] is not None else {}
    known = {"neg", "conj"} if kind.startswith("complex") else {"neg"} if kind != "bool" else set()
    if type(marks) is not dict or not marks.keys() <= known or any(properties[1:]):
        raise Unknown("a tensor has properties that relrep does not know")
    if len(shape) != len(strides) or not kind:
        raise Malformed
    if storage.kind != kind:
        return Tensor(kind, shape)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if all(shape) and last >= storage.count:
        raise Malformed("a tensor reaches beyond its storage")
    steps = tuple(stride if size > 1 else 0 for size, stride in zip(shape, strides, strict=True))
    return Tensor(kind, shape, steps, offset, storage, bool(marks.get("neg")))

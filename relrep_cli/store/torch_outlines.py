"""The contents of a PyTorch file as far as its pickle tells without torch, whose import takes 2 CPU seconds and 200 MB.

Nothing is called or looked up: opcodes build lists, dicts and outlines of tensors. It only refuses files, and never reads one.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST = 1 << 17  # opcodes
STORAGES = {
    "Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": "f4", "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1",
    "Byte": "u1", "Bool": "?",
}  # fmt: skip
NAMES = {"torch._utils _rebuild_tensor_v2": "tensor", "torch._utils _rebuild_parameter": "first", "torch Size": "first"}
NAMES |= {"collections OrderedDict": "dict"} | {f"torch {name}Storage": f"storage {code}" for name, code in STORAGES.items()}
VALUES = {"BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


@dataclass(frozen=True)
class Outline:
    """A tensor without its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def is_floating_point(self) -> bool:
        return self.dtype.kind == "f"


@dataclass(frozen=True)
class _Name:
    """A name that is known: what a call of it gives, or the type of a storage."""

    meaning: str


class _Mark:
    pass


def outline(pickle: bytes) -> Any:
    """The object of a pickle, with outlines for tensors. Raises ValueError where it holds anything else, or is damaged."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(pickle)):
            if count > MOST:
                raise ValueError("too many opcodes")
            _follow(opcode.name, argument, stack, memo)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(type(error).__name__) from None
    if len(stack) != 1 or isinstance(stack[0], _Mark | _Name):
        raise ValueError("malformed")
    return stack[0]


def _follow(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    """One opcode."""
    if name in VALUES:
        stack.append(argument)
    elif name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name == "MARK":
        stack.append(_Mark())
    elif name == "GLOBAL":
        stack.append(_Name(NAMES[argument]))
    elif name in ("BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name not in ("PROTO", "STOP"):
        BUILDERS[name](stack)


def _since_mark(stack: list[Any]) -> list[Any]:
    at = max(i for i, item in enumerate(stack) if isinstance(item, _Mark)) if stack else 0
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _tuple(count: int) -> Callable[[list[Any]], None]:
    def build(stack: list[Any]) -> None:
        items = tuple(stack[len(stack) - count :])
        del stack[len(stack) - count :]
        stack.append(items)

    return build


def _set(stack: list[Any], pairs: list[Any]) -> None:
    stack[-1].update(zip(pairs[::2], pairs[1::2], strict=True))


def _append(stack: list[Any]) -> None:
    item = stack.pop()
    stack[-1].append(item)


def _extend(stack: list[Any]) -> None:
    items = _since_mark(stack)
    stack[-1].extend(items)


def _set_one(stack: list[Any]) -> None:
    value, key = stack.pop(), stack.pop()
    _set(stack, [key, value])


def _set_many(stack: list[Any]) -> None:
    items = _since_mark(stack)
    _set(stack, items)


def _storage(stack: list[Any]) -> None:
    stack.append(stack.pop()[1])  # ("storage", type, key, location, count)


def _call(stack: list[Any]) -> None:
    arguments, name = stack.pop(), stack.pop()
    if name.meaning == "tensor":
        storage, _, shape = arguments[:3]
        stack.append(Outline(tuple(map(int, shape)), np.dtype(storage.meaning.removeprefix("storage "))))
    else:
        stack.append({} if name.meaning == "dict" and not arguments else arguments[0])


BUILDERS: dict[str, Callable[[list[Any]], Any]] = {
    "EMPTY_LIST": lambda stack: stack.append([]),
    "EMPTY_DICT": lambda stack: stack.append({}),
    "EMPTY_TUPLE": lambda stack: stack.append(()),
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": _append,
    "APPENDS": _extend,
    "SETITEM": _set_one,
    "SETITEMS": _set_many,
    "BINPERSID": _storage,
    "REDUCE": _call,
    "BUILD": lambda stack: stack.pop(),  # attributes of a dict, such as the versions of a model's parts
}

"""Reading a pickle without running it: its opcodes are followed by a table of our own that imports and calls nothing.

Only bytes, str, int, float, bool, None, list, dict, tuple and plain NumPy arrays can come out; every other opcode, and every
name but those that NumPy's arrays are written with, is an error.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

ARRAY = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
BUFFER = {"numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"}
NAMES = (
    ARRAY | BUFFER | {"numpy ndarray", "numpy dtype", "_codecs encode"}
)  # the last: how Python 3 writes bytes in old protocols
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
IGNORED = {"PROTO", "FRAME", "STOP"}
LARGEST = 64  # axes of an array


class Forbidden(ValueError):
    """What the pickle holds that is not read."""


class _Name(str):
    """A name that is known; it stands for itself and is never looked up."""


class _Type(str):
    """The code of a NumPy type, such as "<f4"."""


class _Array:
    """An array that is not filled yet."""

    value: np.ndarray | None = None


_MARK = object()


def read_pickle(content: bytes) -> Any:
    """The plain data in a pickle. Raises Forbidden for everything else, ValueError for what is no pickle."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(content):
            _follow(opcode.name, argument, stack, memo)
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise Forbidden(f"its pickle is malformed ({type(error).__name__})") from None
    if len(stack) != 1:
        raise Forbidden("its pickle is malformed")
    return _filled(stack[0])


def _follow(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    """One opcode."""
    if name in VALUES:
        text = name in ("STRING", "BINSTRING", "SHORT_BINSTRING")  # of Python 2, where text was bytes
        stack.append(argument.encode("latin-1") if text else argument)
    elif name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name == "MARK":
        stack.append(_MARK)
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        global_name = argument if name == "GLOBAL" else " ".join(map(str, reversed([stack.pop(), stack.pop()])))
        if global_name not in NAMES:
            raise Forbidden(f"its pickle names {global_name!r}; only arrays, text, numbers, lists and dicts are read")
        stack.append(_Name(global_name))
    elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if argument is None else argument] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name in BUILDERS:
        BUILDERS[name](stack)
    elif name not in IGNORED:
        raise Forbidden(f"its pickle does {name}; only arrays, text, numbers, lists and dicts are read")


def _since_mark(stack: list[Any]) -> list[Any]:
    at = max((i for i, item in enumerate(stack) if item is _MARK), default=None)
    if at is None:
        raise Forbidden("its pickle is malformed")
    items = stack[at + 1 :]
    del stack[at:]
    return items


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return {_filled(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _tuple(count: int) -> Callable[[list[Any]], None]:
    def build(stack: list[Any]) -> None:
        items = tuple(stack[len(stack) - count :])
        del stack[len(stack) - count :]
        stack.append(items)

    return build


def _append(stack: list[Any]) -> None:
    item = stack.pop()
    _of(stack[-1], list).append(item)


def _appends(stack: list[Any]) -> None:
    items = _since_mark(stack)
    _of(stack[-1], list).extend(items)


def _setitem(stack: list[Any]) -> None:
    value, key = stack.pop(), stack.pop()
    _of(stack[-1], dict)[_filled(key)] = value


def _setitems(stack: list[Any]) -> None:
    items = _since_mark(stack)
    _of(stack[-1], dict).update(_pairs(items))


def _of(item: Any, kind: type) -> Any:
    if type(item) is not kind:
        raise Forbidden("its pickle is malformed")
    return item


def _reduce(stack: list[Any]) -> None:
    """What a call of one of the known names would give."""
    arguments, name = _of(stack.pop(), tuple), _of(stack.pop(), _Name)
    if name in ARRAY:
        stack.append(_Array())
    elif name in BUFFER:
        content, kind, shape, order = arguments
        stack.append(_Array())
        stack[-1].value = _numbers(bytes(content) if isinstance(content, bytearray) else content, kind, shape, order == "F")
    elif name == "numpy dtype":
        stack.append(_Type(_of(arguments[0], bytes).decode() if isinstance(arguments[0], bytes) else arguments[0]))
    elif name == "_codecs encode" and len(arguments) == 2:
        stack.append(_of(arguments[0], str).encode("latin-1"))
    else:
        raise Forbidden("its pickle is malformed")


def _build(stack: list[Any]) -> None:
    """The state of a type (only its byte order matters) or of an array: version, shape, type, whether Fortran, bytes."""
    state, item = _of(stack.pop(), tuple), stack.pop()
    if isinstance(item, _Type):
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        stack.append(_Type((order if order in ("<", ">") else "") + item.lstrip("<>|=")))
        return
    _, shape, kind, fortran, content = state
    _of(item, _Array).value = _numbers(content, kind, shape, bool(fortran))
    stack.append(item)


def _numbers(content: Any, kind: Any, shape: Any, fortran: bool) -> np.ndarray:
    """The array of these bytes. Raises Forbidden unless its type is a number's and its shape fits."""
    dtype = np.dtype(str(_of(kind, _Type)))
    sizes = [_of(size, int) for size in _of(shape, tuple)]
    if dtype.kind not in "biuf" or len(sizes) > LARGEST or min(sizes, default=1) < 0:
        raise Forbidden(f"its pickle holds an array of {dtype}; only numbers are read")
    content = content.encode("latin-1") if isinstance(content, str) else _of(content, bytes)
    if prod(sizes) * dtype.itemsize != len(content):
        raise Forbidden("its pickle holds an array whose shape does not fit its bytes")
    return np.frombuffer(content, dtype).reshape(sizes, order="F" if fortran else "C")


BUILDERS: dict[str, Callable[[list[Any]], None]] = {
    "EMPTY_LIST": lambda stack: stack.append([]),
    "EMPTY_DICT": lambda stack: stack.append({}),
    "EMPTY_TUPLE": lambda stack: stack.append(()),
    "LIST": lambda stack: stack.append(_since_mark(stack)),
    "DICT": lambda stack: stack.append(_pairs(_since_mark(stack))),
    "TUPLE": lambda stack: stack.append(tuple(_since_mark(stack))),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "REDUCE": _reduce,
    "BUILD": _build,
}


def _filled(item: Any, depth: int = 0) -> Any:
    """`item` with arrays in their places. Raises Forbidden for what only stands for something, and for deep nesting."""
    if depth > 8:
        raise Forbidden("its pickle is nested too deeply")
    if isinstance(item, _Array) and item.value is not None:
        return item.value
    if isinstance(item, _Array | _Name | _Type) or item is _MARK:
        raise Forbidden("its pickle is malformed")
    if isinstance(item, dict):
        return {key: _filled(value, depth + 1) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return type(item)(_filled(value, depth + 1) for value in item)
    return item

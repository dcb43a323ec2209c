"""Reading a pickle without running it: its opcodes are followed by a table of our own that imports and calls nothing.

Only bytes, str, int, float, bool, None, list, dict, tuple and plain NumPy arrays can come out; every other opcode, and every
name but those that NumPy's arrays are written with, is an error.
"""

from __future__ import annotations

import io
from math import prod
from typing import Any

import numpy as np

from relrep_cli.store.pickle_opcodes import Malformed, Rules, TooLong, follow

ARRAY = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
BUFFER = {"numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"}
NAMES = (
    ARRAY | BUFFER | {"numpy ndarray", "numpy dtype", "_codecs encode"}
)  # the last: how Python 3 writes bytes in old protocols
LARGEST = 64  # axes of an array
MOST = 1 << 19  # opcodes; a file of CIFAR-100 has some 250,000
DEPTH = 8  # of lists, dicts and tuples in each other
MALFORMED = "its pickle is malformed"
READ = "only arrays, text, numbers, lists and dicts are read"


class Forbidden(ValueError):
    """What the pickle holds that is not read."""


class _Name(str):
    """A name that is known; it stands for itself and is never looked up."""


class _Type(str):
    """The code of a NumPy type, such as "<f4"."""


class _Array:
    """An array that is not filled yet."""

    value: np.ndarray | None = None


def read_pickle(content: bytes) -> Any:
    """The plain data in a pickle. Raises Forbidden for everything else."""
    try:
        return _filled(follow(io.BytesIO(content), RULES, MOST), [MOST])
    except TooLong:
        raise Forbidden(f"its pickle has more than {MOST} opcodes") from None
    except Malformed as error:
        raise Forbidden(f"{error}; {READ}" if str(error) else MALFORMED) from None


def _name(name: str) -> _Name:
    if name not in NAMES:
        raise Malformed(f"its pickle names {name!r}")
    return _Name(name)


def _of(item: Any, kind: type) -> Any:
    if type(item) is not kind:
        raise Malformed
    return item


def _call(name: Any, arguments: Any) -> Any:
    """What a call of one of the known names would give."""
    name = _of(name, _Name)
    if name in ARRAY:
        return _Array()
    if name in BUFFER:
        content, kind, shape, order = arguments
        array = _Array()
        array.value = _numbers(bytes(content) if isinstance(content, bytearray) else content, kind, shape, order == "F")
        return array
    if name == "numpy dtype":
        return _Type(_of(arguments[0], bytes).decode() if isinstance(arguments[0], bytes) else arguments[0])
    if name == "_codecs encode" and len(arguments) == 2:
        return _of(arguments[0], str).encode("latin-1")
    raise Malformed


def _build(item: Any, state: Any) -> Any:
    """The state of a type (only its byte order matters) or of an array: version, shape, type, whether Fortran, bytes."""
    _of(state, tuple)
    if isinstance(item, _Type):
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        return _Type((order if order in ("<", ">") else "") + item.lstrip("<>|="))
    _, shape, kind, fortran, content = state
    _of(item, _Array).value = _numbers(content, kind, shape, bool(fortran))
    return item


def _numbers(content: Any, kind: Any, shape: Any, fortran: bool) -> np.ndarray:
    """The array of these bytes. Raises Malformed unless its type is a number's and its shape fits."""
    dtype = np.dtype(str(_of(kind, _Type)))
    sizes = [_of(size, int) for size in _of(shape, tuple)]
    if dtype.kind not in "biuf" or len(sizes) > LARGEST or min(sizes, default=1) < 0:
        raise Malformed(f"its pickle holds an array of {dtype}")
    content = content.encode("latin-1") if isinstance(content, str) else _of(content, bytes)
    if prod(sizes) * dtype.itemsize != len(content):
        raise Malformed("its pickle holds an array whose shape does not fit its bytes")
    return np.frombuffer(content, dtype).reshape(sizes, order="F" if fortran else "C")


RULES = Rules(_name, _call, _build, old_text=lambda text: text.encode("latin-1"), has_bytes=True)


def _filled(item: Any, left: list[int], depth: int = 0) -> Any:
    """`item` with arrays in their places. Raises Malformed for what only stands for something, and for deep nesting.

    left: how many items may still be looked at. A list may hold another a thousand times, that one a third, and so on.
    """
    left[0] -= 1
    if depth > DEPTH or left[0] < 0:
        raise Malformed("its pickle is nested too deeply")
    if isinstance(item, _Array) and item.value is not None:
        return item.value
    if isinstance(item, _Array | _Name | _Type):
        raise Malformed
    if isinstance(item, dict):
        return {key: _filled(value, left, depth + 1) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return type(item)(_filled(value, left, depth + 1) for value in item)
    return item

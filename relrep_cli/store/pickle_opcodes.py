"""Follow the opcodes of a pickle by a table of our own, which imports and calls nothing.

Text, numbers, lists, dicts and tuples come out as they are. What a name in the pickle stands for, what a call of it gives and
what a state does to an object, each reader says by its own `Rules`. The number of opcodes bounds time and memory: no opcode
goes through what others have left, as a search for the last mark would, and none makes more than one small object.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from relrep_cli.base.lazy_dataclasses import dataclass

NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
OLD_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # of Python 2, where text was bytes
BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
IGNORED = {"PROTO", "FRAME", "STOP"}
SIMPLE = (str, bytes, int, float, type(None))  # bool is an int


class Malformed(ValueError):
    """The pickle is damaged, or does what its reader does not take. The text is for the user."""


class Unknown(Malformed):
    """The pickle is sound as far as it was read, but builds what its reader does not know."""


class TooLong(ValueError):
    """The pickle has more opcodes than the reader takes here."""


def _refuse(*_: Any) -> Any:
    raise Malformed


@dataclass(frozen=True)
class Rules:
    """How a reader takes what is not plain data; each function may raise Malformed.

    name: what stands for "module name". call: the result of (what stands for a name, arguments). build: the object that
    (object, state) becomes. persistent: what stands for an object that lies outside the pickle. old_text: of Python 2's bytes.
    """

    name: Callable[[str], Any]
    call: Callable[[Any, Any], Any]
    build: Callable[[Any, Any], Any] = _refuse
    persistent: Callable[[Any], Any] = _refuse
    old_text: Callable[[str], Any] = lambda text: text
    has_bytes: bool = False


@dataclass
class _Machine:
    rules: Rules
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)  # how high the stack was
    memo: dict[int, Any] = field(default_factory=dict)


def follow(stream: io.BytesIO, rules: Rules, most: int) -> Any:
    """The object of the pickle at the place of `stream`, which is then behind it.

    Raises TooLong for more than `most` opcodes, Malformed for everything that is no whole pickle of plain data and of what
    the rules take.
    """
    machine = _Machine(rules)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > most:
                raise TooLong
            _follow(opcode.name, argument, machine)
    except (Malformed, TooLong):
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise Malformed from None
    if len(machine.stack) != 1 or machine.marks:
        raise Malformed
    return machine.stack[0]


def _follow(name: str, argument: Any, machine: _Machine) -> None:
    """One opcode."""
    stack, memo, rules = machine.stack, machine.memo, machine.rules
    if name in NUMBERS or name in TEXTS or (name in BYTES and rules.has_bytes):
        stack.append(argument)
    elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT"):
        memo[len(memo) if argument is None else argument] = _top(machine)
    elif name in ("BINGET", "LONG_BINGET", "GET"):
        stack.append(memo[argument])
    elif name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name in OLD_TEXTS:
        stack.append(rules.old_text(argument))
    elif name == "MARK":
        machine.marks.append(len(stack))
    elif name == "GLOBAL":
        stack.append(rules.name(argument))
    elif name == "STACK_GLOBAL":
        module, attribute = _taken(machine, 2)
        if not isinstance(module, str) or not isinstance(attribute, str):
            raise Malformed
        stack.append(rules.name(f"{module} {attribute}"))
    elif name in BUILDERS:
        BUILDERS[name](machine)
    elif name not in IGNORED:
        raise Malformed(f"its pickle does {name}")


def _taken(machine: _Machine, count: int) -> list[Any]:
    """The topmost items, taken from the stack; never those below the last mark."""
    start = len(machine.stack) - count
    if start < (machine.marks[-1] if machine.marks else 0):
        raise Malformed
    items = machine.stack[start:]
    del machine.stack[start:]
    return items


def _since_mark(machine: _Machine) -> list[Any]:
    start = machine.marks.pop()
    items = machine.stack[start:]
    del machine.stack[start:]
    return items


def _top(machine: _Machine, kind: type | None = None) -> Any:
    """The topmost item above the last mark, of this kind exactly."""
    if len(machine.stack) <= (machine.marks[-1] if machine.marks else 0):
        raise Malformed
    item = machine.stack[-1]
    if kind is not None and type(item) is not kind:
        raise Malformed
    return item


def _put(machine: _Machine, items: list[Any]) -> None:
    _top(machine, dict).update(pairs(items))


def pairs(items: list[Any]) -> dict[Any, Any]:
    """A dict of keys and values in turn. Raises Malformed for other keys than text, numbers and short tuples of them.

    A tuple may hold the same tuple twice, and so on; its hash would then take for ever.
    """
    for key in items[::2]:
        simple = all(isinstance(part, SIMPLE) for part in key) if type(key) is tuple else isinstance(key, SIMPLE)
        if not simple or (type(key) is tuple and len(key) > 8):
            raise Malformed
    return dict(zip(items[::2], items[1::2], strict=True))


def _extend(machine: _Machine) -> None:
    items = _since_mark(machine)
    _top(machine, list).extend(items)


def _append(machine: _Machine) -> None:
    items = _taken(machine, 1)
    _top(machine, list).extend(items)


def _call(machine: _Machine) -> None:
    name, arguments = _taken(machine, 2)
    if type(arguments) is not tuple:
        raise Malformed
    machine.stack.append(machine.rules.call(name, arguments))


def _build(machine: _Machine) -> None:
    machine.stack.append(machine.rules.build(*_taken(machine, 2)))


BUILDERS: Mapping[str, Callable[[_Machine], None]] = {
    "EMPTY_LIST": lambda machine: machine.stack.append([]),
    "EMPTY_DICT": lambda machine: machine.stack.append({}),
    "EMPTY_TUPLE": lambda machine: machine.stack.append(()),
    "LIST": lambda machine: machine.stack.append(_since_mark(machine)),
    "DICT": lambda machine: machine.stack.append(pairs(_since_mark(machine))),
    "TUPLE": lambda machine: machine.stack.append(tuple(_since_mark(machine))),
    "TUPLE1": lambda machine: machine.stack.append(tuple(_taken(machine, 1))),
    "TUPLE2": lambda machine: machine.stack.append(tuple(_taken(machine, 2))),
    "TUPLE3": lambda machine: machine.stack.append(tuple(_taken(machine, 3))),
    "APPEND": _append,
    "APPENDS": _extend,
    "SETITEM": lambda machine: _put(machine, _taken(machine, 2)),
    "SETITEMS": lambda machine: _put(machine, _since_mark(machine)),
    "REDUCE": _call,
    "BUILD": _build,
    "BINPERSID": lambda machine: machine.stack.append(machine.rules.persistent(_taken(machine, 1)[0])),
}

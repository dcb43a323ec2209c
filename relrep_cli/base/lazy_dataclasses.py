"""Dataclasses that compile their methods when the first instance is made, and fewer of them.

`dataclasses.dataclass` compiles six methods of each class with `exec`, 0.7 to 1.2 ms a class before Python 3.13. A command
imports some 130 such classes and uses a quarter of them, so this was a fifth of the CPU time of its start.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "fields", "is_dataclass"]

if TYPE_CHECKING:
    import inspect
    from dataclasses import dataclass, fields, is_dataclass
else:

    def dataclass(cls=None, /, **options):
        """`dataclasses.dataclass`, put off until an instance is made, unpickled or copied.

        Until then only `fields` and `is_dataclass` of this module know the class as what it will be. It takes `frozen`,
        `kw_only`, `eq`, `repr` and `init`: with `slots` or `order`, a class would have to be another one from the start.
        """
        if cls is None:
            return partial(dataclass, **options)

        def first(kind, /, *_args, **_named):
            finish(cls)
            return object.__new__(kind)

        cls.__new__, cls.__signature__ = first, _Signature()
        _unfinished[cls] = options
        return cls

    def fields(cls, /):
        """`dataclasses.fields`, also of a class that has no instance yet."""
        finish(cls if isinstance(cls, type) else type(cls))
        return dataclasses.fields(cls)

    def is_dataclass(cls, /):
        """`dataclasses.is_dataclass`, also of a class that has no instance yet."""
        return (isinstance(cls, type) and cls in _unfinished) or dataclasses.is_dataclass(cls)


class _Signature:
    """The signature of a class for `help`, whose `__new__` here does not tell it."""

    def __get__(self, record: object, cls: type) -> inspect.Signature:
        import inspect

        finish(cls)
        init: Any = cls.__init__  # type: ignore[misc]
        return inspect.Signature([*inspect.signature(init).parameters.values()][1:], return_annotation=None)


_unfinished: dict[type, dict[str, Any]] = {}
_one_thread = RLock()


def finish(cls: type) -> None:
    """Give a class, and those it inherits from, the methods that were put off."""
    with _one_thread:
        for kind in reversed(cls.__mro__):  # a class takes the fields of its bases
            if kind in _unfinished:
                _finish(kind, _unfinished.pop(kind))


def _finish(kind: Any, options: dict[str, Any]) -> None:
    """Compile `__init__` and what freezes the class; the other methods are the same functions for all classes."""
    dataclasses.dataclass(**options | {"eq": False, "repr": False})(kind)
    own = vars(kind)
    if "__repr__" not in own and options.get("repr", True):
        kind.__repr__ = _repr
    if options.get("eq", True):
        if "__hash__" not in own:
            kind.__hash__ = _hash if options.get("frozen") else None
        if "__eq__" not in own:
            kind.__eq__ = _eq
    kind.__new__ = _bare  # `del` would leave a slot that takes no arguments


def _bare(kind: type, /, *_args: Any, **_named: Any) -> Any:
    return object.__new__(kind)


def _compared(record: Any) -> tuple[Any, ...]:
    return tuple(getattr(record, one.name) for one in dataclasses.fields(record) if one.compare)


def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if type(self) is type(other) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))

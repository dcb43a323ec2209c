"""`dataclass` as in the standard library, without compiling, which took a sixth of the CPU time of a small command.

`dataclasses.dataclass` compiles six methods of each class from text. Here all classes share these methods, and a class waits
for its fields until its first object is made or `dataclasses.fields` asks. Until then, a default written as `field(...)` is not
yet an attribute of the class.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple

_completing = RLock()

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, *, frozen: bool = False, eq: bool = True, kw_only: bool = False) -> Any:
        """Make a class with fields, as `dataclasses.dataclass` does.

        >>> @dataclass(frozen=True)
        ... class Point:
        ...     x: int
        ...     y: int = 0
        >>> Point(1), Point(1) == Point(1, 0), [field.name for field in dataclasses.fields(Point)]
        (Point(x=1, y=0), True, ['x', 'y'])
        """
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen, eq=eq, kw_only=kw_only)
        own = set(vars(cls))
        methods: dict[str, Any] = {"__init__": _init, "__repr__": _repr}
        if frozen:
            methods |= {"__setattr__": _set, "__delattr__": _delete}
        if eq:
            methods |= {"__eq__": _equal} | ({"__hash__": _hash} if frozen else {})
        for name in methods.keys() - own:
            setattr(cls, name, methods[name])
        if eq and not frozen and "__hash__" not in own:
            cls.__hash__ = None
        cls.__doc__ = cls.__doc__ or cls.__name__  # the standard library would spell the signature
        cls.__dataclass_fields__, cls.__record_form__ = _Fields(cls, frozen, kw_only), None
        return cls


class _Fields:
    """Stands for the fields of a class until they are wanted."""

    def __init__(self, cls: Any, frozen: bool, kw_only: bool) -> None:
        self.cls, self.frozen, self.kw_only = cls, frozen, kw_only

    def __get__(self, instance: object, owner: type) -> Any:
        with _completing:
            if vars(self.cls)["__dataclass_fields__"] is self:
                self._complete()
        return self.cls.__dataclass_fields__

    def _complete(self) -> None:
        """The standard library finds the fields. It would compile what makes an object frozen, so that comes after."""
        del self.cls.__dataclass_fields__
        bases = [base for base in self.cls.__mro__[1:] if getattr(base, "__dataclass_fields__", None)]
        frozen = [base.__dataclass_params__ for base in bases if base.__dataclass_params__.frozen]
        for params in frozen:
            params.frozen = False
        dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=self.kw_only)(self.cls)
        for params in (*frozen, *[self.cls.__dataclass_params__] * self.frozen):
            params.frozen = True


class _Form(NamedTuple):
    """The arguments of a constructor, in order; those that may come without a name; and what fields are without an argument."""

    names: tuple[str, ...]
    positional: tuple[str, ...]
    defaults: dict[str, Any]
    factories: dict[str, Any]
    then: bool


def _form(cls: Any) -> _Form:
    form: _Form | None = cls.__record_form__
    if form is None:
        fields = dataclasses.fields(cls)
        arguments = [one for one in fields if one.init]
        form = cls.__record_form__ = _Form(
            tuple(one.name for one in arguments),
            tuple(one.name for one in arguments if not one.kw_only),
            {one.name: one.default for one in arguments if one.default is not MISSING},
            {one.name: one.default_factory for one in fields if one.default_factory is not MISSING},
            hasattr(cls, "__post_init__"),
        )
    return form


def _init(self: Any, /, *values: Any, **named: Any) -> None:
    form = _form(type(self))
    given = dict(zip(form.positional, values, strict=False))
    for name in form.names:
        if name in named and name not in given:
            given[name] = named.pop(name)
        elif name not in given and name in form.defaults:
            given[name] = form.defaults[name]
    for name, make in form.factories.items():
        if name not in given:
            given[name] = make()
    missing = [name for name in form.names if name not in given]
    if named:
        raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument {next(iter(named))!r}")
    if missing:
        raise TypeError(f"{type(self).__name__}.__init__() missing required argument: {missing[0]!r}")
    if len(values) > len(form.positional):
        raise TypeError(
            f"{type(self).__name__}.__init__() got {len(values)} positional arguments; it takes {len(form.positional)}"
        )
    self.__dict__.update(given)
    if form.then:
        self.__post_init__()


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, one.name) for one in dataclasses.fields(self) if one.compare)


def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _equal(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _set(self: Any, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")

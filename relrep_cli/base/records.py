"""`dataclass` as in the standard library, without compiling, which took a sixth of the CPU time of a small command.

`dataclasses.dataclass` compiles six methods of each class from text. Here all classes share these methods, and a class waits
for its fields until its first object is made or `dataclasses.fields` asks. Until then, a default written as `field(...)` is not
yet an attribute of the class.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError
from operator import attrgetter
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
    """What the constructor of a class knows.

    order: the fields that it sets. positional: arguments that may come without a name. arguments: all. defaults: by field.
    factories: what makes the others. compared: gives the values of an object by which it is compared. then: whether the class
    has a __post_init__.
    """

    order: tuple[str, ...]
    positional: tuple[str, ...]
    arguments: frozenset[str]
    defaults: dict[str, Any]
    factories: dict[str, Any]
    compared: Any
    then: bool


def _form(cls: Any) -> _Form:
    form: _Form | None = cls.__record_form__
    if form is None:
        fields = dataclasses.fields(cls)
        arguments = [one for one in fields if one.init]
        made = {one.name: one.default_factory for one in fields if one.default_factory is not MISSING}
        compared = [one.name for one in fields if one.compare]
        form = cls.__record_form__ = _Form(
            tuple(one.name for one in fields if one.init or one.name in made),
            tuple(one.name for one in arguments if not one.kw_only),
            frozenset(one.name for one in arguments),
            {one.name: one.default for one in arguments if one.default is not MISSING},
            made,
            attrgetter(*compared) if compared else lambda _: (),
            hasattr(cls, "__post_init__"),
        )
    return form


def _init(self: Any, /, *values: Any, **named: Any) -> None:
    form = type(self).__record_form__ or _form(type(self))
    given = dict(zip(form.positional, values, strict=False))
    if named:
        if not form.arguments >= named.keys() or given.keys() & named.keys():
            wrong = next(name for name in named if name in given or name not in form.arguments)
            raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument {wrong!r}")
        given.update(named)
    if len(values) > len(form.positional):
        raise TypeError(
            f"{type(self).__name__}.__init__() takes {len(form.positional)} positional arguments, not {len(values)}"
        )
    if len(given) < len(form.order):
        given = form.defaults | given
        for name, make in form.factories.items():
            if name not in given:
                given[name] = make()
    own = self.__dict__
    try:
        for name in form.order:
            own[name] = given[name]
    except KeyError as missing:
        raise TypeError(f"{type(self).__name__}.__init__() missing required argument: {missing}") from None
    if form.then:
        self.__post_init__()


def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _equal(self: Any, other: object) -> bool:
    if type(other) is not type(self):
        return NotImplemented
    compared = (type(self).__record_form__ or _form(type(self))).compared
    equal: bool = compared(self) == compared(other)
    return equal


def _hash(self: Any) -> int:
    return hash((type(self).__record_form__ or _form(type(self))).compared(self))


def _set(self: Any, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")

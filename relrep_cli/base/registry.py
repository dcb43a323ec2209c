"""One registration per concept: what a decorator records feeds options, help, completion, reference and tests.

Standard library only, so that reading a registry's shape costs nothing.
"""

from __future__ import annotations

import inspect
import os
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import field, replace
from functools import cached_property
from itertools import product
from typing import Any, Generic, Self, TypeVar

from relrep_cli.base.errors import UsageError, printable, unknown
from relrep_cli.base.lazy_dataclasses import dataclass, fields

F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound="Entry[Any]")
PLUGINS = "relrep.plugins"


@dataclass(frozen=True)
class Param:
    """What a keyword of a registered function means as an option: `k: Annotated[int, Param("…", minimum=1)]`.

    several: the option may name more than one value, as 5,10, and the function is called with each; see `each`.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    several: bool = False

    def check(self, option: str, value: Any) -> None:
        """Raise UsageError when `value` is outside what the parameter allows."""
        if self.choices and value not in self.choices:
            raise unknown(f"value of {option}:", str(value), self.choices)
        low, high = self.minimum, self.maximum
        if (low is not None and not value >= low) or (high is not None and not value <= high):  # neither holds for NaN
            span = f"at least {low}" if high is None else f"from {low} to {high}"
            raise UsageError(f"{option} is {value}", f"It must be {span}.")


@dataclass(frozen=True)
class Keyword:
    """A keyword of a registered function: its Python type, its default and its Param."""

    name: str
    type: type
    default: Any
    param: Param

    @property
    def option(self) -> str:
        return "--" + self.name.rstrip("_").replace("_", "-")

    def read(self, value: Any) -> Any:
        """The value of an option, checked; a tuple of different values where there are several. Raises UsageError."""
        if self.param.several and isinstance(value, str):
            value = tuple(self._number(word) for word in value.split(","))
        values = tuple(dict.fromkeys(value)) if self.param.several and isinstance(value, tuple | list) else (value,)
        for one in values:
            self.param.check(self.option, one)
        return values if len(values) > 1 else values[0]

    def _number(self, word: str) -> Any:
        try:
            return self.type(word)
        except ValueError:
            kind = "an integer" if self.type is int else "a number"
            raise UsageError(
                f"{self.option} is {printable(word.strip())!r}, which is not {kind}",
                f"Give {kind}, or several with commas between them.",
            ) from None


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry(Generic[F]):
    """A registered function. Each registry has a subclass, whose fields are the traits that a function declares.

    The subclass is also the decorator: `@metric(family="shapes", ...)` makes an entry that has traits and no function yet,
    and its `__call__` hands the function to the registry. A trait is thus written once, and mypy checks it where it is
    declared and where it is read. Traits have no defaults.
    """

    name: str = field(init=False, repr=False)
    function: F = field(init=False, repr=False)

    def of(self, function: F) -> Self:
        """The entry of the function: its name has hyphens for underscores, and none at the end."""
        entry = copy(self)
        object.__setattr__(entry, "name", function.__name__.rstrip("_").replace("_", "-"))
        object.__setattr__(entry, "function", function)
        return entry

    @classmethod
    def traits(cls) -> tuple[str, ...]:
        """The names of the traits, in order of declaration."""
        return tuple(trait.name for trait in fields(cls) if trait.init)

    @property
    def summary(self) -> str:
        """First line of the docstring, without its full stop."""
        return (inspect.getdoc(self.function) or "").split("\n")[0].rstrip(".")

    @property
    def keywords(self) -> dict[str, Keyword]:
        """The options of the entry."""
        return self.own_keywords

    @cached_property
    def own_keywords(self) -> dict[str, Keyword]:
        """The function's keyword-only parameters that carry a Param."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        own = {}
        for parameter in inspect.signature(self.function).parameters.values():
            param = next((m for m in getattr(hints.get(parameter.name), "__metadata__", ()) if isinstance(m, Param)), None)
            if param is not None:
                kind = typing.get_args(hints[parameter.name])[0]
                own[parameter.name] = Keyword(parameter.name, kind, parameter.default, param)
        return own

    def resolve(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every keyword of the function with the value given for it, else its default; each checked."""
        values = {}
        for name, keyword in self.own_keywords.items():
            value = given.get(name)
            values[name] = keyword.default if value is None else keyword.read(value)
        return values


class Registry(Mapping[str, E]):
    """Entries of one kind by name, in order of registration."""

    def __init__(self, noun: str, kind: type[E]) -> None:
        self.noun = noun
        self.kind = kind
        self._entries: dict[str, E] = {}
        self._known: tuple[list[str], dict[str, Keyword]] = ([], {})  # names of entries, and their keywords

    @property
    def traits(self) -> tuple[str, ...]:
        """The names of the traits that every entry declares."""
        return self.kind.traits()

    def add(self, entry: E) -> None:
        """Register the entry. Raises TypeError where its name is taken."""
        if entry.name in self._entries:
            raise TypeError(f"{self.noun} {entry.name} is registered twice")
        self._entries[entry.name] = entry

    def __getitem__(self, name: str) -> E:
        try:
            return self._entries[name]
        except KeyError:
            raise unknown(self.noun, name, self._entries) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def those(self, keep: Callable[[E], bool]) -> Registry[E]:
        """A registry of the same noun with some of the entries, for a command that can use no others."""
        part = Registry(self.noun, self.kind)
        part._entries = {name: entry for name, entry in self.items() if keep(entry)}
        return part

    def keywords(self) -> dict[str, Keyword]:
        """All keywords of all entries; a name means the same option in each. Where defaults differ, `default` names the entries
        of each. A default that three or more entries share comes first, without names.
        """
        if self._known[0] == list(self._entries):
            return dict(self._known[1])
        keywords: dict[str, Keyword] = {}
        defaults: dict[str, dict[str, Any]] = {}
        for entry in self._entries.values():
            for name, keyword in entry.keywords.items():
                keywords.setdefault(name, keyword)
                defaults.setdefault(name, {})[entry.name] = keyword.default
        for name, known in defaults.items():
            if len(set(map(str, known.values()))) > 1:
                keywords[name] = replace(keywords[name], default=_default_text(known))
        self._known = (list(self._entries), keywords)
        return dict(keywords)

    def taken(self, names: list[str], given: Mapping[str, Any]) -> set[str]:
        """The options that the named entries take. given: the values of options, which may choose between entries."""
        return {option for name in names if name in self for option in self[name].keywords}

    def choose(self, names: list[str], given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The parameters of each named entry.

        Raises UsageError for no or an unknown name, a value out of range, or an option that none of the named takes.
        """
        if not names:
            raise UsageError(f"no {self.noun} is named", f"Known: {', '.join(self)}.")
        chosen = {name: self[name].resolve(given) for name in names}
        self._refuse_idle(names, given)
        return chosen

    def _refuse_idle(self, names: list[str], given: Mapping[str, Any]) -> None:
        """Raise UsageError when an option is given that no entry has, or none of the named."""
        known = self.keywords()
        if wrong := next((name for name in given if name not in known), ""):
            raise unknown(f"option of a {self.noun}", wrong, known)
        taken = self.taken(names, given)
        for name, keyword in known.items():
            if given.get(name) is not None and name not in taken:
                takers = [entry.name for entry in self.values() if name in entry.keywords]
                raise UsageError(
                    f"{keyword.option} is not an option of {self.noun} {', '.join(names)}",
                    f"It belongs to {', '.join(takers)}; name one of these, or leave it out.",
                )


def _default_text(defaults: Mapping[str, Any]) -> str:
    """The defaults of several entries in words.

    >>> _default_text({"a": 1, "b": 2, "c": 1, "d": 1})
    '1; 2 for b'
    >>> _default_text({"a": 1, "b": 2})
    '1 for a, 2 for b'
    """
    groups: dict[str, list[str]] = {}
    for entry, default in defaults.items():
        groups.setdefault(str(default), []).append(entry)
    most = max(groups, key=lambda default: len(groups[default]))
    if len(groups[most]) < 3:
        return ", ".join(f"{default} for {entry}" for entry, default in defaults.items())
    others = (f"{default} for {', '.join(names)}" for default, names in groups.items() if default != most)
    return "; ".join([most, *others])


def each(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One set of parameters for every combination of those that have several values.

    >>> each({"k": (5, 10), "by": "cosine"})
    [{'k': 5, 'by': 'cosine'}, {'k': 10, 'by': 'cosine'}]
    """
    values = (value if isinstance(value, tuple) else (value,) for value in params.values())
    return [dict(zip(params, chosen, strict=True)) for chosen in product(*values)]


def plugins_declared() -> bool:
    """Whether an installed package has entry points for relrep. To ask importlib.metadata takes 20 times as long."""
    for place in sys.path:
        if os.path.isfile(place):
            return True  # a zip file, which importlib.metadata can look into
        with suppress(OSError), os.scandir(place or ".") as entries:
            for entry in entries:
                if entry.name.endswith((".dist-info", ".egg-info")) and _declares(f"{entry.path}/entry_points.txt"):
                    return True
    return False


def _declares(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return PLUGINS.encode() in file.read()
    except OSError:
        return False


def load_plugins() -> None:
    """Import what other installed packages add under the entry-point group `relrep.plugins`.

    Raises UsageError that names the package when one cannot be imported.
    """
    if not plugins_declared():
        return
    from importlib.metadata import entry_points

    for point in entry_points(group=PLUGINS):
        try:
            point.load()
        except Exception as error:
            package = point.dist.name if point.dist else point.value
            raise UsageError(
                f"plugin {printable(point.name)} of {printable(package)} cannot be loaded: {type(error).__name__}: "
                f"{printable(str(error))}",
                f"Mend or uninstall {printable(package)}.",
            ) from error

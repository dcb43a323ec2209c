"""The dataclass of base/records.py against that of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from relrep_cli.base import records

Decorator = Callable[..., Any]


def classes(dataclass: Decorator) -> dict[str, Any]:
    """The same classes by either decorator."""

    @dataclass(frozen=True)
    class Base:
        x: int
        y: list[int] = dataclasses.field(default_factory=list)
        hidden: int = dataclasses.field(default=0, repr=False, compare=False)

    @dataclass(frozen=True, kw_only=True)
    class Named(Base):
        z: int = 3

    @dataclass(frozen=True, eq=False)
    class Same:
        x: int
        own: int = dataclasses.field(init=False, default=7)

    @dataclass
    class Open:
        x: int = 1

        def __post_init__(self) -> None:
            self.x += 1

    class Plain(Base):
        """Inherits, without a decorator."""

    return {one.__name__: one for one in (Base, Named, Same, Open, Plain)}


OURS, THEIRS = classes(records.dataclass), classes(dataclasses.dataclass)


@records.dataclass(frozen=True)
class Sent:
    """At the top of a module, so that pickle finds it."""

    x: int
    y: tuple[int, ...] = ()


CALLS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "positional": lambda c: vars(c["Base"](1, [2])),
    "default": lambda c: vars(c["Base"](1)),
    "by name": lambda c: vars(c["Base"](y=[5], x=1)),
    "inherited": lambda c: vars(c["Named"](1, z=4)),
    "undecorated": lambda c: vars(c["Plain"](1)),
    "not an argument": lambda c: (c["Same"](1).x, c["Same"](1).own),
    "after": lambda c: c["Open"](4).x,
    "fields": lambda c: [(f.name, f.init, f.kw_only) for f in dataclasses.fields(c["Named"])],
    "repr": lambda c: repr(c["Base"](1)).rpartition(".")[2],
    "equal": lambda c: (c["Base"](1) == c["Base"](1), c["Base"](1) == c["Base"](2), c["Base"](1) == c["Named"](1)),
    "not compared": lambda c: c["Base"](1, [], 5) == c["Base"](1, [], 6),
    "identity": lambda c: c["Same"](1) == c["Same"](1),
    "hash": lambda c: hash(c["Base"](1, ())) == hash(c["Base"](1, ())),  # type: ignore[arg-type]
    "no hash": lambda c: c["Open"].__hash__,
    "replace": lambda c: vars(dataclasses.replace(c["Named"](1), z=9)),
    "asdict": lambda c: dataclasses.asdict(c["Named"](1)),
    "copies": lambda c: vars(copy.deepcopy(c["Base"](1, [2]))),
    "a list of its own": lambda c: c["Base"](1).y is c["Base"](1).y,
    "is one": lambda c: (dataclasses.is_dataclass(c["Base"]), dataclasses.is_dataclass(c["Base"](1))),
}


@pytest.mark.parametrize("call", CALLS)
def test_as_the_standard_library(call: str) -> None:
    assert CALLS[call](OURS) == CALLS[call](THEIRS)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda c: c["Base"](),
        lambda c: c["Base"](1, [], 0, 4),
        lambda c: c["Base"](1, x=2),
        lambda c: c["Base"](1, other=2),
        lambda c: c["Named"](1, [], 0, 4),
        lambda c: c["Same"](1, own=2),
    ],
)
def test_wrong_arguments_are_refused(wrong: Callable[[dict[str, Any]], Any]) -> None:
    for made in (OURS, THEIRS):
        with pytest.raises(TypeError):
            wrong(made)


def test_frozen_objects_do_not_change() -> None:
    for change in (lambda one: setattr(one, "x", 2), lambda one: delattr(one, "x")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change(OURS["Base"](1))


def test_objects_that_were_sent_are_equal() -> None:
    """An object that is unpickled never sees a constructor."""
    arrived = pickle.loads(pickle.dumps(Sent(1, (2,))))  # noqa: S301
    assert arrived == Sent(1, (2,)) and hash(arrived) == hash(Sent(1, (2,)))


def test_a_plugin_may_inherit_with_the_standard_library() -> None:
    @dataclasses.dataclass(frozen=True)
    class Plugin(OURS["Base"]):  # type: ignore[misc]
        more: int = 5

    assert (Plugin(1).more, Plugin(1) == Plugin(1), records.dataclass(frozen=True)(type("Last", (Plugin,), {}))(2).x) == (
        5,
        True,
        2,
    )


def test_threads_may_make_the_first_object() -> None:
    made = [classes(records.dataclass)["Base"] for _ in range(20)]
    results: list[Any] = []
    for one in made:
        ready = threading.Barrier(4)
        work = [
            threading.Thread(target=lambda one=one, ready=ready: (ready.wait(), results.append(one(1).y))) for _ in range(4)
        ]  # type: ignore[misc]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    assert results == [[]] * 80

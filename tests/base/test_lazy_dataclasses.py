"""Dataclasses that are compiled late behave as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from dataclasses import FrozenInstanceError, field, replace
from threading import Barrier, Thread
from typing import Any

import pytest

from relrep_cli.base import lazy_dataclasses
from relrep_cli.base.lazy_dataclasses import dataclass, fields, is_dataclass

BODY = {
    "__annotations__": {"x": "int", "name": "str", "seen": "list", "hidden": "int"},
    "name": "a",
    "seen": field(default_factory=list),
    "hidden": field(default=0, repr=False, compare=False),
}


def pair(**options: Any) -> tuple[Any, Any]:
    """One class twice: from here, and from the standard library."""
    ours, theirs = (type("Record", (), {**BODY, "__module__": __name__, "__qualname__": "Record"}) for _ in range(2))
    return dataclass(**options)(ours), dataclasses.dataclass(**options)(theirs)


@dataclass(frozen=True)
class Base:
    x: int
    twice: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "twice", 2 * self.x)


@dataclass(frozen=True, kw_only=True)
class Derived(Base):
    y: int = 3


class Plain(Base):
    """No dataclass of its own."""


@pytest.mark.parametrize("options", [{}, {"frozen": True}, {"eq": False}, {"frozen": True, "eq": False}, {"repr": False}])
def test_a_class_behaves_as_that_of_the_standard_library(options: dict[str, Any]) -> None:
    answers = []
    for kind in pair(**options):
        one, same, other = kind(1), kind(1, hidden=5), kind(2, "b", seen=[1])
        shown = repr(one).partition(" at 0x")[0].rpartition(".")[2]
        answers.append([shown, one == same, one == other, one == (1, "a", []), replace(other, x=1).name, one.seen is same.seen])
        answers[-1] += [dataclasses.asdict(other), kind.__match_args__, kind.__hash__ is None, copy.copy(other).seen]
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            kind()
        try:
            one.x = 4
            answers[-1].append(one.x)
        except FrozenInstanceError as error:
            answers[-1].append(str(error))
    assert answers[0] == answers[1]


def test_help_shows_the_fields() -> None:
    ours, theirs = pair(frozen=True)
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert str(inspect.signature(Plain)) == "(x: 'int') -> None"
    assert str(inspect.signature(Derived)) == "(x: 'int', *, y: 'int' = 3) -> None"


def test_equal_records_have_equal_hashes() -> None:
    one, same, other = Base(1), Base(1), Base(2)
    assert hash(one) == hash(same) and len({one, same, other}) == 2
    assert one == same and one != Plain(1), "of one class"


def test_nothing_is_compiled_before_it_is_needed() -> None:
    ours, _ = pair(frozen=True)
    assert is_dataclass(ours) and "__init__" not in vars(ours)
    assert [one.name for one in fields(ours)] == ["x", "name", "seen", "hidden"]
    assert "__init__" in vars(ours) and ours not in lazy_dataclasses._unfinished


@pytest.mark.parametrize("first", ["base", "derived", "plain", "fields"])
def test_fields_of_bases_are_inherited(first: str) -> None:
    """Whichever of the classes is made first."""

    @dataclass(frozen=True)
    class Above:
        x: int

    @dataclass(frozen=True)
    class Below(Above):
        y: int = 3

    class Other(Above):
        pass

    if first == "fields":
        assert [one.name for one in fields(Below)] == ["x", "y"]
    else:
        {"base": Above, "derived": Below, "plain": Other}[first](1)
    assert (Below(1, 2).y, Below(x=1).y, Above(5).x, Other(6).x) == (2, 3, 5, 6)
    assert Derived(x=2).twice == 4 and Plain(4).twice == 8


def test_records_travel_to_a_process_that_has_made_none() -> None:
    """Unpickling makes an instance without calling the class."""
    ours, _ = pair()
    record = ours.__new__(ours)
    vars(record).update(x=1, name="b", seen=[], hidden=0)
    assert dataclasses.asdict(record) == {"x": 1, "name": "b", "seen": [], "hidden": 0}


def test_threads_may_make_the_first_instance_together() -> None:
    for _ in range(20):
        kind, made = pair(frozen=True)[0], []
        together = Barrier(4)

        def make(kind: Any = kind, made: list[Any] = made, together: Barrier = together) -> None:
            together.wait()
            made.append(kind(1))

        threads = [Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [one.x for one in made] == [1] * 4

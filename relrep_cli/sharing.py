"""What several metrics of one pair need is computed once: moments, searches for neighbours, ranks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Memo:
    """Results by function and arguments, with the arguments, so that no other array takes the identity of one of them."""

    neighbours: int
    results: dict[Hashable, tuple[Any, Any]] = field(default_factory=dict)


_open: list[_Memo] = []


@contextmanager
def sharing(neighbours: int = 0) -> Iterator[None]:
    """Within, functions marked `shared` remember their results. Matrices must not change meanwhile.

    neighbours: how many a search shall find at least, so that one serves every task.
    """
    _open.append(_Memo(neighbours))
    try:
        yield
    finally:
        _open.pop()


def most_neighbours() -> int:
    """How many neighbours a search shall find at least; 0 where nothing is shared."""
    return _open[-1].neighbours if _open else 0


def shared(function: F) -> F:
    """Remember the results of `function` while `sharing`.

    Matrices count as equal only when they are the same object, vectors (of row numbers) when they hold the same.
    """

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if not _open:
            return function(*args, **kwargs)
        values = (*args, *(item for pair in sorted(kwargs.items()) for item in pair))
        key, results = (function.__module__, function.__qualname__, *map(_key, values)), _open[-1].results
        if key not in results:
            results[key] = function(*args, **kwargs), values
        return results[key][0]

    return cast(F, called)


def _key(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return value.tobytes() if value.ndim == 1 else id(value)

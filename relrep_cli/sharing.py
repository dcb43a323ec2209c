"""What several metrics of one pair need is computed once: moments, neighbours."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import numpy as np

F = TypeVar("F", bound=Callable[..., Any])
_known: list[dict[tuple[Any, ...], tuple[Any, ...]]] = []


@contextmanager
def sharing() -> Iterator[None]:
    """Within, functions marked `shared` remember their results. Arrays must not change meanwhile."""
    _known.append({})
    try:
        yield
    finally:
        _known.pop()


def shared(function: F) -> F:
    """Remember the results of `function` while `sharing`; arrays count as equal only when they are the same object."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if not _known:
            return function(*args, **kwargs)
        values = (*args, *(item for pair in sorted(kwargs.items()) for item in pair))
        key = (function.__qualname__, *(id(v) if isinstance(v, np.ndarray) else v for v in values))
        if key not in _known[-1]:
            _known[-1][key] = (function(*args, **kwargs), values)  # the values too, so that no other array takes their ids
        return _known[-1][key][0]

    return cast(F, called)

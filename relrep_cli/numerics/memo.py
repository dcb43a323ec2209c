"""Two caches: intermediate results that several metrics of one pair share, and arrays of one space that several pairs share."""

from __future__ import annotations

import functools
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

from relrep_cli.base.task_cache import Records, task_key

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class _Memo:
    """Results by function and arguments. The arguments are kept alive, so that no new array can get the id of an old one."""

    neighbours: int
    results: dict[Hashable, tuple[Any, Any]] = field(default_factory=dict)
    permuted: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)


_open: list[_Memo] = []


@contextmanager
def sharing(neighbours: int = 0) -> Iterator[None]:
    """Cache the results of functions marked `shared` within this context. Matrices must not change meanwhile.

    neighbours: the least number of neighbours that a search finds, so that one search serves every task.
    """
    _open.append(_Memo(neighbours))
    try:
        yield
    finally:
        _open.pop()


def most_neighbours() -> int:
    """The least number of neighbours that a search must find; 0 outside of `sharing`."""
    return _open[-1].neighbours if _open else 0


def shared(function: F) -> F:
    """Cache the results of `function` within `sharing`.

    Matrices are equal only when they are the same object. Vectors (of row numbers) are equal when their values are.
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


def permute(x: np.ndarray, of: np.ndarray, order: np.ndarray) -> None:
    """Declare, within `sharing`, that x is `of[order]`, so that results for `of` can be reused for x."""
    _open[-1].permuted[id(x)] = x, of, order


def origin(x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the matrix that x is a permutation of, and the order; x itself and None when none was declared."""
    known = _open[-1].permuted.get(id(x)) if _open else None
    return (x, None) if known is None else known[1:]


@contextmanager
def outside() -> Iterator[None]:
    """Within this context, results go to the cache of the `sharing` around the innermost one."""
    inner = _open.pop()
    try:
        yield
    finally:
        _open.append(inner)


BUDGET = 128 << 20  # bytes of cached arrays of single spaces in memory; the least recently used goes first
LARGEST = 256 << 20  # bytes of the largest array that is cached in a folder
CHECKSUM = 32  # bytes of the sha256 that precedes it


@dataclass(frozen=True)
class _Spaces:
    """Cached arrays that depend on one space each, for all pairs of a run. Those of named spaces are also kept in a folder."""

    kept: Records
    names: dict[int, tuple[np.ndarray, str]] = field(default_factory=dict)
    known: OrderedDict[Hashable, np.ndarray] = field(default_factory=OrderedDict)


_run: list[_Spaces] = []


@contextmanager
def over_pairs(kept: Records) -> Iterator[None]:
    """Within this context, arrays cached for an introduced space serve every pair. kept: the folder for named spaces."""
    _run.append(_Spaces(kept))
    try:
        yield
    finally:
        _run.pop()


def introduce(x: np.ndarray, content: str) -> None:
    """Declare that the matrix x occurs in several pairs. content: a key for the cache folder, empty for none."""
    if _run:
        _run[-1].names[id(x)] = x, content


def recall(x: np.ndarray, what: tuple[Any, ...], shape: tuple[int, ...], dtype: type) -> np.ndarray | None:
    """Return the array cached for x under the key `what`; None when there is none of this shape and dtype."""
    if not _run or id(x) not in _run[-1].names:
        return None
    run, key = _run[-1], (id(x), what)
    if key in run.known:
        run.known.move_to_end(key)
        return run.known[key]
    content = run.names[id(x)][1]
    found = run.kept.get_bytes(_file(content, what), LARGEST) if content and run.kept.keep else None
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if found is None or len(found) != CHECKSUM + size or hashlib.sha256(found[CHECKSUM:]).digest() != found[:CHECKSUM]:
        return None
    return np.frombuffer(found, np.dtype(dtype).newbyteorder("<"), offset=CHECKSUM).reshape(shape)


def learn(x: np.ndarray, what: tuple[Any, ...], array: np.ndarray) -> None:
    """Cache an array that depends on x alone, if x was introduced. Raises WriteError."""
    if not _run or id(x) not in _run[-1].names:
        return
    run, content = _run[-1], _run[-1].names[id(x)][1]
    if array.nbytes <= BUDGET:
        run.known[id(x), what] = array
        while sum(a.nbytes for a in run.known.values()) > BUDGET:
            run.known.popitem(last=False)
    if content and run.kept.folder is not None and run.kept.keep and array.nbytes < LARGEST:
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        run.kept.put_bytes(_file(content, what), hashlib.sha256(plain).digest() + plain)


def _file(content: str, what: tuple[Any, ...]) -> str:
    return f"{task_key(content, *what)}.space"

"""What the tasks of a run share, as an object that is passed: arrays of single spaces, and results of a pair of spaces."""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any, Self, TypeVar, cast

import numpy as np

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.numerics.permuted_products import Batch
from relrep_cli.numerics.spread import Piece, Spread

T = TypeVar("T")
BUDGET = 128 << 20  # bytes of cached arrays of single spaces in memory; the least recently used goes first
LARGEST = 256 << 20  # bytes of the largest array that is cached in a folder


@dataclass(frozen=True, eq=False)
class SpaceArrays:
    """Arrays that depend on one registered space each. They serve every pair of a run.

    records: the folder that also keeps the arrays of spaces with a content key, for later runs.
    """

    records: Records
    _names: dict[int, tuple[np.ndarray, str]] = field(init=False, repr=False, default_factory=dict)
    _arrays: OrderedDict[str, np.ndarray] = field(init=False, repr=False, default_factory=OrderedDict)
    _facts: dict[str, Any] = field(init=False, repr=False, default_factory=dict)
    _pairs: dict[tuple[str, str, str], np.ndarray] = field(init=False, repr=False, default_factory=dict)

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays in memory; at most BUDGET after each `put`."""
        return sum(array.nbytes for array in self._arrays.values())

    def register(self, x: np.ndarray, content: str) -> None:
        """Declare that the matrix x occurs in several pairs. content: a key that names its content; empty when unknown."""
        self._names[id(x)] = x, content

    def of_subsets(self, parents: Sequence[tuple[np.ndarray, np.ndarray]], rows: np.ndarray) -> SpaceArrays:
        """The same memory for subsets of spaces. parents: each subset with its space. rows: the rows that they hold.

        Subsets of a registered space with the same rows share arrays, in this run only.
        """
        inner, digest = SpaceArrays(Records(None)), hashlib.sha256(rows.tobytes()).hexdigest()
        object.__setattr__(inner, "_arrays", self._arrays)
        for subset, space in parents:
            if (name := self.name(space)) is not None:
                inner.register(subset, f"{name}[{digest}]")
        return inner

    def name(self, x: np.ndarray) -> str | None:
        """The name of a registered matrix in keys; None for another matrix."""
        known = self._names.get(id(x))
        return None if known is None else known[1] or _object_name(x)

    def get(self, x: np.ndarray, what: tuple[Any, ...], shape: tuple[int, ...], dtype: type) -> np.ndarray | None:
        """Return the array put for x under the key `what`; None when there is none of this shape and dtype."""
        name = self.name(x)
        if name is None:
            return None
        key = _space_key(name, what)
        if key in self._arrays:
            self._arrays.move_to_end(key)
            return self._arrays[key]
        content = self._names[id(x)][1]
        stored = self.records.get_bytes(_file(content, what), LARGEST) if content and self.records.keep else None
        if stored is None or len(stored) != math.prod(shape) * np.dtype(dtype).itemsize:
            return None
        return np.frombuffer(stored, np.dtype(dtype).newbyteorder("<")).reshape(shape)

    def fact(self, x: np.ndarray, what: str, compute: Callable[[], T]) -> T:
        """Return a number or None that depends on x alone: the one that is kept, or else compute it, and keep it if x is
        registered."""
        name = self.name(x)
        if name is None:
            return compute()
        key = _space_key(name, (what,))
        if key not in self._facts:
            self._facts[key] = compute()
        return cast(T, self._facts[key])

    def put(self, x: np.ndarray, what: tuple[Any, ...], array: np.ndarray) -> None:
        """Keep an array that depends on x alone, if x is registered."""
        name = self.name(x)
        if name is None:
            return
        content, records = self._names[id(x)][1], self.records
        if array.nbytes <= BUDGET:
            self._arrays[_space_key(name, what)] = array
            while self.nbytes > BUDGET:
                self._arrays.popitem(last=False)
        if content and records.folder is not None and records.keep and array.nbytes < LARGEST:
            records.put_bytes(_file(content, what), np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())

    def put_pair(self, x: np.ndarray, y: np.ndarray, array: np.ndarray, what: str = "") -> None:
        """Keep an array that depends on two registered spaces, until it is wanted."""
        self._pairs[self.name(x) or "", self.name(y) or "", what] = array

    def pop_pair(self, x: np.ndarray, y: np.ndarray, what: str = "") -> np.ndarray | None:
        """What was put for x and y under the key `what`, which is forgotten; None when there is nothing."""
        return self._pairs.pop((self.name(x) or "", self.name(y) or "", what), None)


@dataclass(frozen=True)
class Permutation:
    """`permuted` holds the rows of `original` in the order `order`. batch: the permutations that are tried with it, where it is
    the one of the number `number`."""

    permuted: np.ndarray
    original: np.ndarray
    order: np.ndarray
    batch: Batch | None = None
    number: int = 0


@dataclass(frozen=True, eq=False)
class Sample:
    """The same rows of two spaces, of which subsets are measured, and the workspace that keeps results for the sample."""

    spaces: tuple[np.ndarray, np.ndarray]
    workspace: Workspace


@dataclass(frozen=True, eq=False)
class Subset:
    """`part` holds the rows `rows` of `whole`, in ascending order. workspace: keeps results for `whole`."""

    part: np.ndarray
    whole: np.ndarray
    rows: np.ndarray
    workspace: Workspace


@dataclass(frozen=True, eq=False)
class Workspace:
    """Intermediate results that several tasks share, and what the tasks are asked for. Matrices must not change meanwhile.

    neighbours: the least number of neighbours that a search finds, so that one search serves every task. intervals: whether
    metrics compute chance levels and jackknives. shares: whether anything is kept. spaces: arrays that serve every pair of
    the run. outer: the workspace of the unpermuted matrices; results that do not use the permuted matrix are kept there.
    permutation: the permuted matrix. subsets: the matrices that are subsets of a sample. device: where searches and moments
    are computed; see devices.chosen. spread: sends pieces of work on whole spaces to other processes; None where this process
    does all. piece: the only work that this process is to do; see numerics/spread.py.

    A key is text, made by `key`. A value is an array, a number or text, or a list, tuple or frozen dataclass of these.

    >>> workspace, x = Workspace(), np.zeros((2, 2))
    >>> workspace.put(key := workspace.key("sum", x), float(x.sum()))
    >>> workspace.get(key), UNSHARED.get(key)
    (0.0, None)
    """

    neighbours: int = 0
    intervals: bool = True
    shares: bool = True
    spaces: SpaceArrays | None = None
    outer: Workspace | None = None
    permutation: Permutation | None = None
    subsets: tuple[Subset, ...] = ()
    device: str = "cpu"
    spread: Spread | None = None
    piece: Piece | None = None
    _names: dict[int, tuple[np.ndarray, str]] = field(init=False, repr=False, default_factory=dict)
    _results: dict[str, Any] = field(init=False, repr=False, default_factory=dict)

    @classmethod
    def of_run(cls, records: Records, device: str = "cpu") -> Self:
        """The workspace of a run over many pairs. records: the folder for arrays of single spaces."""
        return cls(spaces=SpaceArrays(records), device=device)

    def for_pair(self, neighbours: int = 0) -> Self:
        """A workspace without results, for one pair. It shares the arrays of single spaces with this one."""
        return replace(self, neighbours=neighbours)

    def of_subsets(self, parents: Sequence[tuple[np.ndarray, np.ndarray]], rows: np.ndarray) -> Workspace:
        """A workspace for values of the same rows of two spaces; see SpaceArrays.of_subsets."""
        return Workspace(intervals=False, spaces=None if self.spaces is None else self.spaces.of_subsets(parents, rows))

    def within_sample(self, sample: Sample, parts: tuple[np.ndarray, np.ndarray], rows: np.ndarray) -> Self:
        """This workspace, told that its two matrices hold the rows `rows` of a sample, so that results for it can be reused."""
        pairs = zip(parts, sample.spaces, strict=True)
        return replace(self, subsets=tuple(Subset(part, whole, rows, sample.workspace) for part, whole in pairs))

    def subset(self, x: np.ndarray) -> Subset | None:
        """What is known of x as a subset of a sample."""
        return next((known for known in self.subsets if known.part is x), None)

    def with_permutation(
        self, permuted: np.ndarray, original: np.ndarray, order: np.ndarray, batch: Batch | None = None, number: int = 0
    ) -> Self:
        """Extend this workspace by the matrix `permuted` = original[order], for as long as that matrix is in use.

        Results for `original` can be reused for `permuted`. Results that depend on neither `permuted` nor another new matrix
        are kept in this workspace.
        """
        self.hold(original)
        permutation = Permutation(permuted, original, order, batch, number)
        inner = replace(self, outer=self, permutation=permutation, spread=None)
        inner.hold(permuted)
        return inner

    def register(self, x: np.ndarray, content: str = "") -> None:
        """Declare that x occurs in several pairs of the run. content: a key that names its content; empty when unknown."""
        if self.spaces is not None:
            self.spaces.register(x, content)

    def hold(self, x: np.ndarray) -> str:
        """Keep the matrix x alive, so that no new matrix gets its identity, and return its name in keys."""
        name = self._known_name(x)
        if name is None:
            name = _object_name(x)
            self._names[id(x)] = x, name
        return name

    def _known_name(self, x: np.ndarray) -> str | None:
        if id(x) in self._names:
            return self._names[id(x)][1]
        if self.outer is not None:
            return self.outer._known_name(x)
        return None if self.spaces is None else self.spaces.name(x)

    def origin(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the matrix that x is a permutation of, and the order; x itself and None when x is no permuted matrix."""
        known = self.permutation
        return (x, None) if known is None or known.permuted is not x else (known.original, known.order)

    def product(self, x: np.ndarray, y: np.ndarray, *means: Any) -> np.ndarray | None:
        """(x - mx)'(y[order] - my) for the permutation of this workspace; None where it is not computed with others."""
        known = self.permutation
        return None if known is None or known.batch is None else known.batch.product(x, y, means, known.number, self.device)

    def key(self, what: str, *values: Any) -> str:
        """The key of a result of the function `what`. A matrix is known by its content or as an object, a vector by value."""
        return "|".join([what, *map(self._text, values)]) if self.shares else ""

    def _text(self, value: Any) -> str:
        if not isinstance(value, np.ndarray):
            return repr(value)
        return self.hold(value) if value.ndim > 1 else f"{value.dtype.str}{hashlib.sha256(value.tobytes()).hexdigest()}"

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value put under the key, or the default."""
        return self._level(key)._results.get(key, default)

    def put(self, key: str, value: Any) -> None:
        """Keep a value under the key."""
        if self.shares:
            self._level(key)._results[key] = value

    def once(self, what: str, values: tuple[Any, ...], compute: Callable[[], T]) -> T:
        """Return the result of the function `what` of `values`: the one that is kept, or else compute and keep it."""
        key = self.key(what, *values)
        result = self.get(key, self)  # self: no result is the workspace itself
        if result is self:
            result = compute()
            self.put(key, result)
        return result

    def fact(self, what: str, x: np.ndarray, compute: Callable[[], T]) -> T:
        """Return a number or None that depends on x alone, computed once in the run where x is registered, else for a pair."""
        spaces = self.spaces
        return self.once(what, (x,), compute if spaces is None else lambda: spaces.fact(x, what, compute))

    def _level(self, key: str) -> Workspace:
        """The outermost workspace that knows every matrix in the key."""
        if self.outer is None or any(name in key for _, name in self._names.values()):
            return self
        return self.outer._level(key)

    def space_array(self, x: np.ndarray, what: tuple[Any, ...], shape: tuple[int, ...], dtype: type) -> np.ndarray | None:
        """Return the array kept for the space x under the key `what`, or None; see SpaceArrays.get."""
        return None if self.spaces is None else self.spaces.get(x, what, shape, dtype)

    def put_space_array(self, x: np.ndarray, what: tuple[Any, ...], array: np.ndarray) -> None:
        """Keep an array that depends on x alone, for every pair of the run, if x is registered."""
        if self.spaces is not None:
            self.spaces.put(x, what, array)


UNSHARED = Workspace(shares=False)  # keeps nothing


def _object_name(x: np.ndarray) -> str:
    return f"<{id(x):x}>"


def _space_key(name: str, what: tuple[Any, ...]) -> str:
    return json.dumps([name, *what])


def _file(content: str, what: tuple[Any, ...]) -> str:
    return f"{task_key(content, *what)}.space"

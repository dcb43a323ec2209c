"""Permutation tests: p-values, q-values over many tests, and p-values for the best of many layers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.comparison.corrected_values import best_value, corrected
from relrep_cli.comparison.pairs_of_files import View, largest_k, measure
from relrep_cli.comparison.permuted_layers import values_at_once
from relrep_cli.embedding import Embedding, select
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.blocks import take
from relrep_cli.numerics.permuted_products import SMALL, Batch
from relrep_cli.numerics.workspace import UNSHARED, Workspace

Record = dict[str, Any]
Advance = Callable[[float], None]
CHUNK = 50  # permutations per cache entry
ROUNDING = 1e-9  # relative difference below which a permuted value counts as equal to the observed one


@dataclass(frozen=True, eq=False)
class Unpermuted:
    """What all permutations of two spaces share. workspace: of the spaces as they are. batch: the permutations. later: second
    spaces of later pairs, see permuted_layers.later_spaces."""

    workspace: Workspace
    batch: Batch
    later: Sequence[np.ndarray] = ()


def unpermuted(
    x: Embedding, y: Embedding, numbers: range, seed: int, workspace: Workspace, later: Sequence[np.ndarray] = ()
) -> Unpermuted:
    """What the permutations of these numbers share."""
    own = replace(workspace, shares=True, intervals=False)
    own.hold(x.x)
    return Unpermuted(own, Batch(numbers, lambda number: np.random.default_rng([seed, number]).permutation(y.n)), later)


def null_values(
    name: str,
    params: Mapping[str, Any],
    x: Embedding,
    y: Embedding,
    numbers: range,
    seed: int,
    advance: Advance,
    workspace: Workspace = UNSHARED,
    known: Unpermuted | None = None,
) -> np.ndarray:
    """Compute the metric with the rows of y in random order, once per permutation number.

    A permutation depends only on the seed, its number and the number of rows, so every metric and every pair uses the same
    ones. Only one permuted copy of y exists at a time; a large one is on disk.

    workspace: keeps the neighbours of x and y, so that a permutation only renumbers them. With exact ties, or with a sample of
    the rows, it searches again. known: what earlier permutations of the same spaces have found of them.

    Returns (len(numbers),) floats, NaN where the metric is undefined.
    """
    known = known or unpermuted(x, y, numbers, seed, workspace)
    values = values_at_once(name, params, (x.x, y.x), numbers, known.batch, known.workspace, known.later)
    if values is not None:
        advance(1.0)
        return values
    values = np.full(len(numbers), np.nan)
    room = np.empty(y.x.shape, y.x.dtype) if y.x.size < SMALL else None  # for all: fresh memory costs more than the copy
    for done, number in enumerate(numbers):
        order = known.batch.order_of(number)
        rows = take(y.x, order) if room is None else np.take(y.x, order, axis=0, out=room, mode="clip")
        permuted = replace(y, x=rows)
        with suppress(NotApplicable):
            inner = known.workspace.with_permutation(permuted.x, y.x, order, known.batch, number)
            values[done] = measure(name, params, x, permuted, workspace=inner).value
        advance((done + 1) / len(numbers))
    return values


def p_value(value: float, null: np.ndarray, higher_is_closer: bool) -> float:
    """Compute the one-sided p-value: (1 + permutations at least as close) / (1 + permutations).

    null: (m,) values of the permutations. NaN counts as at least as close, which is conservative.

    >>> p_value(0.5, np.array([0.1, 0.5, 0.7]), True), p_value(0.5, np.array([0.1, np.nan, 0.7]), False)
    (0.75, 0.75)
    """
    sign = 1 if higher_is_closer else -1
    farther = sign * null < sign * value - ROUNDING * max(1.0, abs(value))
    return float(1 + np.count_nonzero(~farther)) / (len(null) + 1)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Compute q-values: the false discovery rate if a test and all tests with a smaller p-value are called significant.

    The bits are those of SciPy, whose scipy.stats takes over a second to import.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    values = np.asarray(p, np.float64)
    order, ranks = np.argsort(values), np.arange(1, len(values) + 1)
    q = np.empty_like(values)
    q[order] = np.minimum.accumulate((values[order] * (len(values) / ranks))[::-1])[::-1].clip(0, 1)
    return [float(one) for one in q]


OVER_LAYERS = "; p_max over all pairs of layers of the two arguments"  # behind the convention of records that have p_max


@dataclass(frozen=True)
class Family:
    """All pairs of layers of two arguments, by one metric. A user is likely to report the best of them.

    closest: (permutations,) the closest value of any layer in each permutation; the sign makes higher values closer. rows:
    digests of the ids that each layer shares with the other file. members: the records of the layers.
    """

    closest: np.ndarray
    rows: set[str] = field(default_factory=set)
    members: list[Record] = field(default_factory=list)

    def join(self, record: Record, null: np.ndarray, rows: str) -> None:
        """Add a pair of layers. null: (permutations,) values. rows: digest of the ids."""
        np.maximum(self.closest, np.where(np.isnan(null), np.inf, _sign(record) * null), out=self.closest)
        self.rows.add(rows)
        self.members.append(record)

    def close(self) -> str:
        """Write `p_max` into the record of every layer. Returns a note when there is none, else an empty string."""
        if len(self.rows) > 1:
            r = self.members[0]
            return f"{r['a']} and {r['b']}: the layers do not share the same rows, so {r['metric']} has no p_max."
        for r in self.members:
            r["p_max"] = p_value(_sign(r) * r["value"], self.closest, True)
            r["convention"] += OVER_LAYERS
        return ""


def _sign(record: Record) -> int:
    return 1 if METRICS[record["metric"]].higher_is_closer else -1


@dataclass(frozen=True, eq=False)
class Layer:
    """What a permutation test of one layer hands to its family. place: of its record among those of the pair. key: names the
    family. null: (permutations,) values. rows: digest of the ids."""

    place: int
    key: str
    null: np.ndarray
    rows: str


@dataclass(frozen=True)
class Significance:
    """The permutation tests of one run. Call `test` on each pair of files, then `join` in the order of the pairs, then `close`.

    permutations: the number of permutations per test. cache: the permuted values of finished tests.
    """

    permutations: int
    seed: int
    cache: Records
    families: dict[str, Family] = field(default_factory=dict)

    def test(
        self,
        records: Sequence[Record],
        views: tuple[Sequence[View], Sequence[View]],
        rows: tuple[np.ndarray, np.ndarray],
        tasks: Sequence[tuple[str, Mapping[str, Any]]],
        family: Hashable,
        advance: Advance,
        workspace: Workspace,
        later: Callable[[int], Sequence[np.ndarray]] = lambda place: (),
    ) -> list[Layer]:
        """Write `p` and `corrected` into the records of one pair of files. Returns what `join` needs of it.

        records: one per view and task, tasks varying fastest. family: a key that all layers of one file share, None when the
        file is not one of several layers. workspace: that of the run. later: second spaces of later pairs in the view at a
        place, see permuted_layers.later_spaces.
        """
        tested = []
        remaining, of_pair = iter(enumerate(records)), workspace.for_pair(largest_k(tasks, len(rows[0])))
        for number, (left, right) in enumerate(zip(*views, strict=True)):
            x, y = select(left.embedding, rows[0]), select(right.embedding, rows[1])
            whole = x is left.embedding and y is right.embedding
            others = later(number) if whole else ()
            for place, (name, params) in enumerate(tasks, number * len(tasks)):
                at, record = next(remaining)
                if record["value"] is None:
                    record.update(p=None, corrected=None)
                    continue
                key_parts = [left.content, right.content, _digest(*rows), name, dict(params)] if left.content else []
                progress = _sub_progress(advance, place / len(records), 1 / len(records))
                null = self._null_values((name, params), x, y, key_parts, progress, of_pair, others)
                _add_p_value(record, null)
                if family is not None:
                    key = str((family, left.label, name, sorted(params.items())))
                    tested.append(Layer(at, key, null, _digest(x.ids)))
        return tested

    def join(self, records: Sequence[Record], layers: Sequence[Layer]) -> None:
        """Add the layers of one pair of files, whose records these are, to their families."""
        for layer in layers:
            family = self.families.setdefault(layer.key, Family(np.full(self.permutations, -np.inf)))
            family.join(records[layer.place], layer.null, layer.rows)

    def _null_values(
        self,
        task: tuple[str, Mapping[str, Any]],
        x: Embedding,
        y: Embedding,
        key_parts: list[Any],
        advance: Advance,
        workspace: Workspace,
        later: Sequence[np.ndarray],
    ) -> np.ndarray:
        """The values of all permutations, from the cache where possible. key_parts: empty when nothing may be cached."""
        parts, known_of_spaces = [], unpermuted(x, y, range(self.permutations), self.seed, workspace, later)
        for start in range(0, self.permutations, CHUNK):
            numbers = range(start, min(start + CHUNK, self.permutations))
            key = f"{task_key(*key_parts, self.seed, 'null', start, numbers.stop)}.null"
            known = self.cache.get_bytes(key, 8 * CHUNK) if key_parts else None
            if known is not None and len(known) == 8 * len(numbers):
                parts.append(np.frombuffer(known, "<f8"))
                continue
            progress = _sub_progress(advance, start / self.permutations, len(numbers) / self.permutations)
            parts.append(null_values(*task, x, y, numbers, self.seed, progress, workspace, known_of_spaces))
            if key_parts:
                self.cache.put_bytes(key, parts[-1].astype("<f8").tobytes())
        return np.concatenate(parts)

    def close(self, records: Sequence[Record]) -> list[str]:
        """Write `q` into all tested records and `p_max` into those of layers. Returns notes on layers without `p_max`."""
        tested = [r for r in records if r.get("p") is not None]
        for r, q in zip(tested, benjamini_hochberg([r["p"] for r in tested]), strict=True):
            r["q"] = q
        return [note for family in self.families.values() if (note := family.close())]


def _add_p_value(record: Record, null: np.ndarray) -> None:
    """Write `p` and `corrected` into a record. A metric without a chance level gets the mean of the permutations."""
    finite = null[np.isfinite(null)]
    chance = record["chance"] if record["chance"] is not None else float(finite.mean()) if len(finite) else np.nan
    record["p"] = p_value(record["value"], null, METRICS[record["metric"]].higher_is_closer)
    record["corrected"] = corrected(record["value"], chance, best_value(record))


def _sub_progress(advance: Advance, start: float, share: float) -> Advance:
    """A progress callback for one part of the work, which itself runs from 0 to 1."""
    return lambda part: advance(start + part * share)


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()

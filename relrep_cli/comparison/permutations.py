"""Is a value more than chance? Permutation tests, corrected for many tests and for the best of many layers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from relrep_cli.base.errors import NotApplicable
from relrep_cli.base.task_cache import Records, task_key
from relrep_cli.comparison.pairs_of_files import View, measure
from relrep_cli.embedding import Embedding, select
from relrep_cli.metrics import METRICS
from relrep_cli.numerics.blocks import take
from relrep_cli.numerics.intervals import values_only
from relrep_cli.numerics.memo import permute, sharing

Record = dict[str, Any]
Advance = Callable[[float], None]
CHUNK = 50  # permutations that are kept together
ROUNDING = 1e-9  # a permuted value that is below by no more than rounding counts as equal


def null_values(
    name: str, params: Mapping[str, Any], x: Embedding, y: Embedding, numbers: range, seed: int, advance: Advance
) -> np.ndarray:
    """The metric's values with the rows of y in random order, for permutations of these numbers; NaN where it has none.

    A permutation depends on the seed, its number and the count of rows alone: every metric and pair sees the same ones. One
    permuted copy of y exists at a time, on disk where it is large.
    """
    found = np.full(len(numbers), np.nan)
    with values_only(), sharing():
        for done, number in enumerate(numbers):
            order = np.random.default_rng([seed, number]).permutation(y.n)
            other = replace(y, x=take(y.x, order))
            with suppress(NotApplicable), sharing():
                permute(other.x, y.x, order)
                found[done] = measure(name, params, x, other).value
            advance((done + 1) / len(numbers))
    return found


def p_value(value: float, null: np.ndarray, higher_is_closer: bool) -> float:
    """One-sided, towards closer, by the add-one rule: (1 + permutations at least as close) / (permutations + 1).

    A permutation without a value counts as close, which errs on the safe side.

    >>> p_value(0.5, np.array([0.1, 0.5, 0.7]), True), p_value(0.5, np.array([0.1, np.nan, 0.7]), False)
    (0.75, 0.75)
    """
    sign = 1 if higher_is_closer else -1
    farther = sign * null < sign * value - ROUNDING * max(1.0, abs(value))
    return float(1 + np.count_nonzero(~farther)) / (len(null) + 1)


def corrected(value: float, chance: float, best: float | None) -> float | None:
    """How far a value is on the way from chance (0) to the best there is (1); None where there is no such best.

    >>> corrected(0.6, 0.2, 1), corrected(1.0, 2.0, 0), corrected(0.1, 0.2, None)
    (0.49999999999999994, 0.5, None)
    """
    if best is None or not np.isfinite(chance) or best == chance:
        return None
    return (value - chance) / (best - chance)


def best_value(record: Record) -> float | None:
    """The value of two spaces that agree in full: a space's with itself, else the metric's bound on that side."""
    entry = METRICS[record["metric"]]
    known = record.get(entry.identity) if isinstance(entry.identity, str) else entry.identity
    bound = entry.bounds[1 if entry.higher_is_closer else 0]
    found = bound if known is None else known
    return None if found is None else float(found)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """For each p-value, the share of false discoveries if it and all smaller ones are called discoveries.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    if not len(p):
        return []
    order = np.argsort(p)[::-1]
    ranks = len(p) - np.arange(len(p))
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(np.minimum(1.0, np.asarray(p)[order] * len(p) / ranks))
    return [float(v) for v in q]


@dataclass(frozen=True)
class Family:
    """Layers of one file against the same other side, by one metric: of which the best is likely to be reported.

    most: (permutations,) the closest value of any layer in each, higher being closer. rows: digests of the shared ids.
    """

    most: np.ndarray
    rows: set[str] = field(default_factory=set)
    members: list[Record] = field(default_factory=list)

    def join(self, record: Record, null: np.ndarray, rows: str) -> None:
        """One more layer."""
        np.maximum(self.most, np.where(np.isnan(null), np.inf, _sign(record) * null), out=self.most)
        self.rows.add(rows)
        self.members.append(record)

    def close(self) -> str:
        """Give every layer its `p_max`; returns why there is none, where there is none."""
        if len(self.rows) > 1:
            r = self.members[0]
            return f"{r['a']} and {r['b']}: other layers share other rows, so {r['metric']} has no p_max."
        for r in self.members:
            r["p_max"] = p_value(_sign(r) * r["value"], self.most, True)
        return ""


def _sign(record: Record) -> int:
    return 1 if METRICS[record["metric"]].higher_is_closer else -1


@dataclass(frozen=True)
class Significance:
    """The permutation tests of one run: `add` after each pair, `close` after the last."""

    times: int
    seed: int
    kept: Records
    families: dict[Hashable, Family] = field(default_factory=dict)

    def add(
        self,
        records: Sequence[Record],
        views: tuple[Sequence[View], Sequence[View]],
        rows: tuple[np.ndarray, np.ndarray],
        tasks: Sequence[tuple[str, Mapping[str, Any]]],
        family: Hashable,
        advance: Advance,
    ) -> None:
        """Give `p` and `corrected` to the records of one pair, which are those of every view and, within, every task.

        family: what the pair shares with the pairs of other layers, None when there are none.
        """
        left_to_do = iter(records)
        for at, (left, right) in enumerate(zip(*views, strict=True)):
            x, y = select(left.e, rows[0]), select(right.e, rows[1])
            for place, (name, params) in enumerate(tasks, at * len(tasks)):
                record = next(left_to_do)
                if record["value"] is None:
                    record.update(p=None, corrected=None)
                    continue
                about = [left.content, right.content, _digest(*rows), name, dict(params)] if left.content else []
                null = self._null((name, params), x, y, about, _part(advance, place / len(records), 1 / len(records)))
                _judge(record, null)
                if family is not None:
                    key = (family, left.label, name, str(sorted(params.items())))
                    self.families.setdefault(key, Family(np.full(self.times, -np.inf))).join(record, null, _digest(x.ids))

    def _null(
        self, task: tuple[str, Mapping[str, Any]], x: Embedding, y: Embedding, about: list[Any], advance: Advance
    ) -> np.ndarray:
        """All permuted values, those that are kept taken and the others kept. about: what they depend on."""
        parts = []
        for start in range(0, self.times, CHUNK):
            numbers = range(start, min(start + CHUNK, self.times))
            key = f"{task_key(*about, self.seed, 'null', start, numbers.stop)}.null"
            known = self.kept.get_bytes(key, 8 * CHUNK) if about else None
            if known is not None and len(known) == 8 * len(numbers):
                parts.append(np.frombuffer(known, "<f8"))
                continue
            further = _part(advance, start / self.times, len(numbers) / self.times)
            parts.append(null_values(*task, x, y, numbers, self.seed, further))
            if about:
                self.kept.put_bytes(key, parts[-1].astype("<f8").tobytes())
        return np.concatenate(parts)

    def close(self, records: Sequence[Record]) -> list[str]:
        """Give `q` to all records and `p_max` to those of layers; returns what to say of layers that have none."""
        tested = [r for r in records if r.get("p") is not None]
        for r, q in zip(tested, benjamini_hochberg([r["p"] for r in tested]), strict=True):
            r["q"] = q
        return [note for family in self.families.values() if (note := family.close())]


def _judge(record: Record, null: np.ndarray) -> None:
    there = null[np.isfinite(null)]
    chance = record["chance"] if record["chance"] is not None else float(there.mean()) if len(there) else np.nan
    record["p"] = p_value(record["value"], null, METRICS[record["metric"]].higher_is_closer)
    record["corrected"] = corrected(record["value"], chance, best_value(record))


def _part(advance: Advance, start: float, share: float) -> Advance:
    """What a part of the work reports to, from 0 to 1."""
    return lambda part: advance(start + part * share)


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()

"""Whether one file is better for a task than another one: paired differences on the items that all files judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce

import numpy as np

from relrep_cli.base.errors import UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.comparison.dependent_rows import Halves, factor_of
from relrep_cli.comparison.model_differences import ALL, VALUES, Measure, Value, compare_models
from relrep_cli.embedding import find_ids
from relrep_cli.evaluations.finding_records import halves_of
from relrep_cli.evaluations.findings import Finding, Record
from relrep_cli.numerics.intervals import without_items
from relrep_cli.numerics.paired_differences import Estimate

COLUMNS = ("a", "b", "task", "name", *VALUES, "convention", "chance_difference")


def check_against(against: str, files: Sequence[str]) -> None:
    """Raise UsageError unless two files or more can be compared with `against`, each named once: values go by name."""
    if len(set(files)) < 2:
        raise UsageError("--against compares two or more files", "Name another file.")
    if twice := next((file for file in files if list(files).count(file) > 1), ""):
        finding = "is named twice, and --against tells values apart by their file"
        raise UsageError(finding, "Name it once, or copy it under another name.", file=twice)
    if against not in (ALL, *files):
        raise UsageError(f"{printable(against)} is none of the files", "Write all, or one of the files.", place="--against")


@dataclass(frozen=True, eq=False)
class Judged:
    """A finding, with what names it and its file. halves: see finding_records.halves_of."""

    keys: Record
    file: str
    finding: Finding
    halves: Halves | None = None


def judged(keys: Record, file: str, finding: Finding, seed: int) -> Judged:
    """A finding without the vectors that its row values can be computed from again."""
    return Judged(keys, file, replace(finding, subset=None, curve=None), halves_of(finding, seed))


def file_differences(judged: Sequence[Judged], files: Sequence[str], against: str, seed: int) -> list[Record]:
    """Subtract the values of files, task by task, on the items that all of them judge.

    files: the files that could be used. against: one of them, or `all`.

    Values of single items are paired by id, and the values are their means over the common items. Other values are paired only
    where all files judge the same items.
    """
    measures = []
    for key in dict.fromkeys(tuple(one.keys.items()) for one in judged):
        own = {one.file: one for one in judged if tuple(one.keys.items()) == key}
        values = estimates({file: one.finding for file, one in own.items()})
        missing = Value(None, "n/a: a file has no such value")
        bounds = next(iter(own.values())).finding.bounds
        each = {file: values.get(file, missing) for file in files}
        measures.append(Measure(dict(key), each, bounds=bounds, factor=partial(_factor, own)))
    return compare_models(measures, against, seed)


def difference_factor(one: Judged, other: Judged) -> float | None:
    """By how much dependence between rows widens the interval of a difference; None for independent rows. Where two files judge
    other items, their halves are others, and the larger factor of both values is taken."""
    halves = [known.halves for known in (one, other) if known.halves is not None]
    if len(halves) == 2 and np.array_equal(np.asarray(one.finding.ids), np.asarray(other.finding.ids)):
        return factor_of([(v[0] - u[0], v[1] - u[1]) for u, v in zip(*halves, strict=False)])
    return max(map(factor_of, halves), default=None)


def _factor(own: Mapping[str, Judged], a: str, b: str) -> float | None:
    return difference_factor(own[a], own[b])


def estimates(findings: Mapping[str, Finding]) -> dict[str, Value]:
    """The value of each file on the items that all files judge, with what a difference of two of them needs."""
    lists = [finding.ids for finding in findings.values() if finding.ids is not None]
    common = reduce(np.intersect1d, lists) if len(lists) == len(findings) else np.empty(0, "S1")
    out = {}
    for file, finding in findings.items():
        estimate = _of_items(finding, common)
        chance = np.nan if finding.chance is None or estimate.n != finding.n else finding.chance
        out[file] = Value(estimate, finding.convention, chance)
    return out


def _of_items(finding: Finding, common: np.ndarray) -> Estimate:
    ids = finding.ids
    if ids is None:
        return Estimate(finding.value, finding.n)
    if finding.rows is not None and finding.pairs is None and len(common):
        rows = finding.rows[find_ids(ids, common)]
        return Estimate(float(rows.mean()), len(rows), rows, items=common)
    without = finding.without
    if finding.rows is not None and finding.pairs is not None:
        without = without_items(finding.rows, finding.pairs)
    return Estimate(finding.value, finding.n, without=without, items=ids)

"""Findings as flat records with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from relrep_cli.comparison.dependent_rows import Halves, factor_of, random_halves, values_of_halves, widened
from relrep_cli.evaluations.findings import COLUMNS, Finding, Record
from relrep_cli.metrics.score import Score
from relrep_cli.numerics.intervals import interval_of_pairs, jackknife, of_mean, within


def records(
    file: str, task: str, findings: Sequence[Finding], classes: np.ndarray, seed: int, per_class: bool
) -> Iterator[Record]:
    """A record for each finding; with per_class, one more for each class that it has values of."""
    for f in findings:
        whole = _record(file, task, f, seed)
        if not per_class:
            yield whole
            continue
        yield whole | {"class": None}
        if f.rows is None or f.codes is None:
            continue
        for code in np.unique(f.codes).tolist():
            mine = f.codes == code
            own, n = f.rows[mine], int(mine.sum() if f.counts is None else f.counts[mine].sum())
            pairs = None if f.pairs is None else f.pairs[mine]
            value = float(np.average(own, weights=pairs))
            part = replace(f, value=value, n=n, rows=own, pairs=pairs, interval=None, chance=None, subset=None)
            yield _record(file, task, part, seed) | {"class": classes[code].decode(errors="backslashreplace")}


def _record(file: str, task: str, f: Finding, seed: int) -> Record:
    interval = f.interval
    if f.rows is not None and f.pairs is not None:
        interval = interval_of_pairs(f.rows, f.pairs)
    elif interval is None and f.rows is not None and f.counts is None and len(f.rows) > 1:
        interval = of_mean(f.rows, np.random.default_rng(seed))
        halves = halves_of(f, seed)
        interval = interval if halves is None else widened(interval, f.value, factor_of(halves))
    elif interval is None and f.without is not None:
        interval = jackknife(f.value, f.without)
    low, high = (None, None) if interval is None else within(interval, f.bounds)
    values = (file, task, f.name, f.value, low, high, f.n, f.convention, f.chance)
    return dict(zip(COLUMNS, values, strict=True)) | dict(f.extra)


def halves_of(f: Finding, seed: int) -> Halves | None:
    """The row values of random halves of the items, each judged without the other; None where rows are independent."""
    subset, rows = f.subset, f.rows
    if subset is None or rows is None or len(rows) < 2:
        return None
    return values_of_halves(lambda half, _: Score(0.0, np.nan, "", subset(half)), rows, random_halves(len(rows), seed))

"""What is behind the values of a report, from the findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from relrep_cli.evaluations.findings import Finding, Record, Space
from relrep_cli.reports.item_details import NOTHING, WORST, Details, Judgement, details_of, thinned

KEYS = ("task", "target", "anomalies", "queries", "name", "class")  # what a value is of, beside its file


def details_of_findings(
    file: str, task: str, findings: Sequence[Finding], space: Space, extra: Record
) -> Iterator[tuple[tuple[Any, ...], Details]]:
    """What is behind each finding, with its key."""
    names = [name.decode(errors="backslashreplace") for name in space.classes.tolist()]
    for f in findings:
        key = details_key({"file": file, "task": task, "name": f.name} | extra)
        yield key, replace(_of_items(f, names), curve=[] if f.curve is None else thinned(f.curve))


def _of_items(f: Finding, names: Sequence[str]) -> Details:
    """The values of the items of a finding; of rows that may be foreign their scores, highest first."""
    if f.items and "foreign" in f.items[0]:
        scores = np.array([item["score"] for item in f.items])
        worst = [(item["id"], item["score"], "foreign" if item["foreign"] == "yes" else "") for item in f.items[:WORST]]
        return replace(details_of(Judgement(scores)), worst=worst)
    values = f.rows if f.item_values is None else f.item_values
    if values is None:
        return NOTHING
    return details_of(Judgement(values, f.ids, f.codes, f.predicted, names, not f.lower_is_better, f.counts))


def details_key(record: Record) -> tuple[Any, ...]:
    """The key of a record in Extras.details."""
    return tuple(record.get(key) for key in ("file", *KEYS))

"""The catalogue of metrics: families, presets, and the traits of each metric as flat records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from relrep_cli.base.errors import unknown
from relrep_cli.base.registry import Keyword
from relrep_cli.metrics.forms import renamed
from relrep_cli.metrics.score import ALONE, METRICS, Metric
from relrep_cli.numerics.workspace import Workspace

ALL = "all"
PRESETS = {"reference": ["cosine", "jaccard"], "quick": ["cka", "knn-jaccard", "procrustes"]}
CONVENTIONS = Path(__file__).with_name("conventions.json")  # make docs writes it
ORDER = "metric family what convention bounds itself closer symmetric invariant needs options source"
COLUMNS = tuple(ORDER.split())


def families() -> list[str]:
    """List the families, in the order of the catalogue."""
    return list(dict.fromkeys(entry.family for entry in METRICS.values() if entry.shown))


def expand(names: list[str]) -> list[str]:
    """Replace `all` and families by the names of their metrics, in their plain form; each metric occurs once.

    >>> expand(["canonical", "cka"])
    ['cca', 'svcca', 'pwcca', 'cka']
    """
    out: list[str] = []
    for name in names:
        members = [n for n, entry in METRICS.items() if (entry.shown and name == ALL) or (entry.plain and name == entry.family)]
        out += members or [name]
    return list(dict.fromkeys(out))


def remarks(names: list[str]) -> list[str]:
    """Notes on old names, and on metrics that belong to another command; once each."""
    alone = [name for name in names if name in METRICS and METRICS[name].family in ALONE]
    verb = "compares" if len(alone) == 1 else "compare"
    instead = "relrep evaluate --task separation --against FILE prints the difference with its interval"
    elsewhere = f"{', '.join(alone)} {verb} one number of each space; {instead}"
    return [*filter(None, map(renamed, names)), *([elsewhere] if alone else [])]


def preset(name: str) -> list[str]:
    """List the metrics of a preset. Raises UsageError for an unknown preset."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def catalogue() -> list[dict[str, Any]]:
    """Return one record for each metric, from its traits. The convention is that of a small pair with default options."""
    known = json.loads(CONVENTIONS.read_text("utf-8"))
    return [_record(entry, known) for entry in METRICS.values() if entry.shown]


def conventions() -> str:
    """The conventions of all metrics of relrep as JSON, for CONVENTIONS; to compute them for each list takes half a second."""
    shown = {name: entry for name, entry in METRICS.items() if entry.shown and _is_own(entry)}
    return json.dumps({name: _convention(entry) for name, entry in shown.items()}, indent=1) + "\n"


def _is_own(entry: Metric) -> bool:
    return entry.function.__module__.startswith("relrep_cli.")


def _convention(entry: Metric) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    y, labels = x + rng.normal(size=x.shape), np.arange(len(x)) % 2
    return entry.compute(x, y, labels=labels, workspace=Workspace(intervals=False)).convention


def _record(entry: Metric, known: Mapping[str, str]) -> dict[str, Any]:
    """known: conventions by name; that of a metric of another package is computed."""
    low, high = ("none" if b is None else f"{b:.6g}" for b in entry.bounds)
    return {
        "metric": entry.name,
        "family": entry.family,
        "what": entry.summary,
        "convention": known[entry.name] if _is_own(entry) and entry.name in known else _convention(entry),
        "bounds": f"{low} to {high}",
        "itself": "varies" if entry.identity is None else str(entry.identity),
        "closer": "higher" if entry.higher_is_closer else "lower",
        "symmetric": "yes" if entry.symmetric else "no",
        "invariant": ", ".join(sorted(entry.invariant)) + (" (of both alike)" if entry.reads_coordinates else ""),
        "needs": ", ".join(sorted(entry.needs)) or "nothing",
        "options": ", ".join(map(_option, entry.keywords.values())) or "none",
        "source": entry.source,
    }


def _option(keyword: Keyword) -> str:
    """An option with its default first, then its other values."""
    others = [choice for choice in keyword.param.choices if choice != keyword.default]
    return " ".join([keyword.option, "|".join([str(keyword.default), *others])])

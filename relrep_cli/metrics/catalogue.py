"""The catalogue of metrics: families, presets, and the traits of each metric as flat records."""

from __future__ import annotations

from typing import Any

import numpy as np

from relrep_cli.base.errors import unknown
from relrep_cli.base.registry import Keyword
from relrep_cli.metrics.forms import renamed
from relrep_cli.metrics.score import ALONE, METRICS, Metric
from relrep_cli.numerics.workspace import Workspace

ALL = "all"
PRESETS = {"reference": ["cosine", "jaccard"], "quick": ["cka", "knn-jaccard", "procrustes"]}
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
    """What to tell the user of old names, and of metrics that belong elsewhere; once each."""
    alone = [name for name in names if name in METRICS and METRICS[name].family in ALONE]
    verb = "compares" if len(alone) == 1 else "compare"
    elsewhere = f"{', '.join(alone)} {verb} one number of each space; relrep evaluate --task separation prints that number"
    return [*filter(None, map(renamed, names)), *([elsewhere] if alone else [])]


def preset(name: str) -> list[str]:
    """List the metrics of a preset. Raises UsageError for an unknown preset."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def catalogue() -> list[dict[str, Any]]:
    """Return one record for each metric, from its traits. The convention is that of a small pair with default options."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
    y = x + rng.normal(size=x.shape)
    return [_record(entry, x, y) for entry in METRICS.values() if entry.shown]


def _record(entry: Metric, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    low, high = ("none" if b is None else f"{b:.6g}" for b in entry.bounds)
    labels = np.arange(len(x)) % 2
    return {
        "metric": entry.name,
        "family": entry.family,
        "what": entry.summary,
        "convention": entry.compute(x, y, labels=labels, workspace=Workspace(intervals=False)).convention,
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
    """An option with its default first, then what else it may be."""
    others = [choice for choice in keyword.param.choices if choice != keyword.default]
    return " ".join([keyword.option, "|".join([str(keyword.default), *others])])

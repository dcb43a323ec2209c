"""Values corrected for chance, and when a value needs that to be read."""

from __future__ import annotations

from typing import Any

import numpy as np

from relrep_cli.metrics import METRICS
from relrep_cli.metrics.score import ALONE

Record = dict[str, Any]
MUCH = 0.1  # share of the range that chance alone may reach before a reader must be warned
NOTE = "chance alone passes a tenth of the range: read the corrected value"


def corrected(value: float, chance: float, best: float | None) -> float | None:
    """Rescale a value so that the chance level is 0 and the best possible value is 1; None when there is no best value.

    >>> corrected(0.6, 0.2, 1), corrected(1.0, 2.0, 0), corrected(0.1, 0.2, None)
    (0.49999999999999994, 0.5, None)
    """
    if best is None or not np.isfinite(chance) or best == chance:
        return None
    return (value - chance) / (best - chance)


def best_value(record: Record) -> float | None:
    """The value for identical spaces if the metric declares one, else the bound of the metric on that side, else None.

    None also for metrics of each space alone, whose value no pairing of the rows changes.
    """
    entry = METRICS[record["metric"]]
    if entry.family in ALONE:
        return None
    identity = record.get(entry.identity) if isinstance(entry.identity, str) else entry.identity
    bound = entry.bounds[1 if entry.higher_is_closer else 0]
    best = bound if identity is None else identity
    return None if best is None else float(best)


def chance_share(record: Record) -> float | None:
    """The share of the way from the worst to the best value that chance alone reaches.

    The worst value is the metric's bound on that side, or 0 for a metric with negative values. None for a metric without a best
    or a worst value, or whose value does not depend on the pairing of the rows.
    """
    entry, best, chance = METRICS[record["metric"]], best_value(record), record.get("chance")
    if best is None or chance is None:
        return None
    if entry.higher_is_closer:
        worst: float | None = max(0.0, entry.bounds[0] or 0.0)
    else:
        worst = None if entry.identity is None else entry.bounds[1]
    return None if worst is None or worst == best else (chance - worst) / (best - worst)


def high_by_chance(record: Record) -> bool:
    """Whether the value must be read with care, because chance alone passes a tenth of the range."""
    share = chance_share(record) if record.get("value") is not None else None
    return share is not None and share > MUCH


def correction(record: Record) -> float | None:
    """The value of a record corrected for chance; None where the metric has no best value or no chance level."""
    return None if record["chance"] is None else corrected(record["value"], record["chance"], best_value(record))

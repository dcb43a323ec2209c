"""Values of records as text: exact for machines, short for eyes, and safe for a terminal and a spreadsheet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from relrep_cli.base.errors import printable

FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # a spreadsheet runs such a cell; East Asian ones also these


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON in printable ASCII: text from files may hold characters that steer a terminal or turn the direction of a line."""
    return json.dumps(value, indent=indent, allow_nan=False).replace("\x7f", "\\u007f") + "\n"


def for_machines(value: Any) -> str | int | float:
    """A number as it is, all else as text for machines."""
    value = number(value)
    return value if type(value) in (int, float) else exact(value)


def safe(cell: str, quote_formulas: bool) -> str:
    return f"'{cell}" if quote_formulas and cell.startswith(FORMULA_STARTS) else cell


def plain(record: dict[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    return {c: number(record.get(c)) for c in columns}


def number(value: Any) -> Any:
    """A JSON value: NumPy scalars become Python's, numbers that are not finite become null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def exact(value: Any) -> str:
    """Full precision for machines; `n/a` for what has no value; text with its control characters escaped."""
    value = number(value)
    if value is None:
        return "n/a"
    return repr(value) if isinstance(value, float) else printable(str(value), 4096)


def short(value: Any) -> str:
    """Four significant decimals for eyes."""
    value = number(value)
    if not isinstance(value, float):
        return exact(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.3g}"


LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
STARS = "* {0} < 0.05, ** {0} < 0.01, *** {0} < 0.001"


def stars(level: Any) -> str:
    """The stars of a q- or p-value.

    >>> stars(0.04), stars(0.0004), stars(0.5), stars(None)
    ('*', '***', '', '')
    """
    return next((marks for bound, marks in LEVELS if isinstance(level, float) and level < bound), "")

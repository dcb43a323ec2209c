"""Grids of values: the heat maps of a report, cell by cell, as plain data for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relrep_cli.base.cells import number
from relrep_cli.base.errors import printable

LONGEST = 400  # letters of a name or a sentence in the page
DIGITS = 6  # significant digits of a number in the page


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell. row, column: its place. facts: what is known of it, by name. bins: its row values as a histogram: the lowest
    value, the highest, then the count of each bin. worst: ids of the items that agree least, with their values."""

    row: int
    column: int
    value: float | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    bins: Sequence[float] = ()
    worst: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True, eq=False)
class Grid:
    """One heat map.

    choices: the settings that lead to it, such as its metric, in the order of the page's menus. rows, columns: names.
    titles: what the rows and the columns are. span: the values at both ends of the colours; None for the lowest and the
    highest value of each row. closer: "higher" or "lower", which of the two is better. mirrored: whether a cell also fills the
    place across the diagonal. row_spaces, column_spaces: the number of the space that each row or column is about, or nothing.
    convention: how the values are defined, "" where each cell says so. own: what a space compared with itself gives.
    """

    choices: Mapping[str, str]
    rows: Sequence[str]
    columns: Sequence[str]
    titles: tuple[str, str]
    span: tuple[float, float] | None
    closer: str
    convention: str
    cells: Sequence[Cell]
    mirrored: bool = False
    row_spaces: Sequence[int] = ()
    column_spaces: Sequence[int] = ()
    own: float | None = None


def to_json(grid: Grid, items: dict[str, int]) -> dict[str, Any]:
    """The grid as JSON values. items: the number of each id that the page names, extended."""
    keys = list(dict.fromkeys(key for cell in grid.cells for key in cell.facts))
    return {
        "choices": {key: shown(value) for key, value in grid.choices.items()},
        "rows": list(map(shown, grid.rows)),
        "columns": list(map(shown, grid.columns)),
        "titles": list(grid.titles),
        "span": None if grid.span is None else list(map(shown, grid.span)),
        "closer": grid.closer,
        "convention": shown(grid.convention),
        "mirrored": grid.mirrored,
        "rowSpaces": list(grid.row_spaces),
        "columnSpaces": list(grid.column_spaces),
        "own": shown(grid.own),
        "keys": keys,
        "cells": [_cell(cell, keys, items) for cell in grid.cells],
    }


def _cell(cell: Cell, keys: Sequence[str], items: dict[str, int]) -> list[Any]:
    worst = [[items.setdefault(shown(name), len(items)), shown(value)] for name, value in cell.worst]
    facts = [shown(cell.facts.get(key)) for key in keys]
    return [cell.row, cell.column, shown(cell.value), facts, list(map(shown, cell.bins)), worst]


def shown(value: Any) -> Any:
    """A value as the page holds it: six significant digits, text without control characters, null for what has no value.

    >>> shown(0.12345678), shown(1e-20), shown(float("nan")), shown(3), shown("a\\nb")
    (0.123457, 1e-20, None, 3, 'a\\\\nb')
    """
    value = number(value)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    return printable(value if isinstance(value, bytes) else str(value), LONGEST)

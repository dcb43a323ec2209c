"""Grids of values: the heat maps of a report, cell by cell, as plain data for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from relrep_cli.base.cells import number
from relrep_cli.base.errors import printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.reports.item_details import NOTHING, Details

LONGEST = 400  # letters of a name or a sentence in the page
DIGITS = 6  # significant digits of a number in the page


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell. row, column: its place. facts: what is known of it, by name. details: what is behind its value."""

    row: int
    column: int
    value: float | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    details: Details = NOTHING


@dataclass(frozen=True, eq=False)
class Grid:
    """One heat map.

    choices: the settings that lead to it, such as its metric, in the order of the page's menus. rows, columns: names.
    titles: what the rows and the columns are. span: the values at both ends of the colours; None for the lowest and the
    highest value of each row. closer: "higher" or "lower", which of the two is better. mirrored: whether a cell also fills the
    place across the diagonal. row_spaces, column_spaces: the number of the space that each row or column is about, or nothing.
    convention: how the values are defined, "" where each cell says so. own: what a space compared with itself gives.
    worst_title: what the list of the worst items of a cell is called. value_fact: what the values are called among facts, in
    the table of results too. ends: the facts that are the interval of the value; nothing where facts hold no such interval.
    closest: whether the page names the closest column of each row.
    derived: whether the cells are those of the grid before that is not derived, with another of their facts as the value.
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
    worst_title: str = "Items that agree least"
    value_fact: str = "value"
    ends: Sequence[str] = ("low", "high")
    closest: bool = False
    derived: bool = False


def to_json(grid: Grid, items: dict[str, int]) -> dict[str, Any]:
    """The grid as JSON values. items: the number of each id that the page names, extended. A fact that all cells share is said
    once; a derived grid has no cells of its own."""
    content = {
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
        "worstTitle": grid.worst_title,
        "valueFact": grid.value_fact,
        "ends": list(grid.ends),
        "closest": grid.closest,
    }
    if grid.derived:
        return content
    keys = list(dict.fromkeys(key for cell in grid.cells for key in cell.facts))
    values = {key: [shown(cell.facts.get(key)) for cell in grid.cells] for key in keys}
    same = {key: known[0] for key, known in values.items() if len(known) > 1 and all(one == known[0] for one in known)}
    keys = [key for key in keys if key not in same]
    return content | {"same": same, "keys": keys, "cells": [_cell(cell, keys, items) for cell in grid.cells]}


def _cell(cell: Cell, keys: Sequence[str], items: dict[str, int]) -> list[Any]:
    """The cell as a list. What is behind its value comes last, and stops where nothing follows."""
    facts = [shown(cell.facts.get(key)) for key in keys]
    more = _details(cell.details, items)
    while more and not more[-1]:
        more.pop()
    return [cell.row, cell.column, shown(cell.value), facts, *more]


def _details(details: Details, items: dict[str, int]) -> list[Any]:
    def named(text: str) -> int:
        return items.setdefault(shown(text), len(items))

    worst = [[named(name), shown(value), *([named(more)] if more else [])] for name, value, more in details.worst]
    classes = [
        [named(name), shown(value), count, *([named(other)] if other else [])] for name, value, count, other in details.classes
    ]
    return [list(map(shown, details.bins)), worst, classes, details.others, [list(point) for point in details.curve]]


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

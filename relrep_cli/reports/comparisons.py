"""The grids of a comparison: one heat map for each metric, each k and each view of the spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record
from relrep_cli.comparison.matrix import colour_range, identity_value
from relrep_cli.comparison.row_summaries import RowSummary, Summaries, key_of
from relrep_cli.comparison.shown_names import files_of_sides, names_by_side
from relrep_cli.metrics import METRICS
from relrep_cli.reports.grids import Cell, Grid
from relrep_cli.reports.item_details import Details

WITHOUT = {"a", "b", "metric", "value", "convention", "projection", "k"}  # what the place of a cell says, or its grid
FIRST = ("low", "high", "corrected", "chance", "p", "q", "n")  # the order of what is told of a cell
RATIO = "ratio"


@dataclass(frozen=True)
class Layout:
    """The rows and the columns of all grids of a comparison.

    left, top: URIs of the rows and the columns. files: all URIs, and views: labels of what each was measured as, in the order
    in which the spaces of the page follow each other; all files in the first view, then all in the second. names: of the
    files, where the user gave some.
    """

    left: Sequence[str]
    top: Sequence[str]
    files: Sequence[str]
    views: Sequence[str] = ("absolute",)
    names: Mapping[str, str] = field(default_factory=dict)

    def spaces(self, side: Sequence[str], view: str) -> list[int]:
        """The number of the space of each URI. A ratio is shown with the first view."""
        place = self.views.index(view) if view in self.views else 0
        numbers = {uri: number for number, uri in enumerate(self.files)}
        return [place * len(self.files) + numbers[uri] for uri in side]


def comparison_grids(records: Sequence[Record], layout: Layout, rows: Summaries) -> list[Grid]:
    """The grids of the records of compare. rows: what is known of row values."""
    series: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        series.setdefault((record["metric"], record.get("k"), record.get("projection")), []).append(record)
    return [_grid(key, records_of_grid, layout, rows, _several_k(series, key[0])) for key, records_of_grid in series.items()]


def _several_k(series: Mapping[tuple[Any, ...], Any], metric: str) -> bool:
    return len({k for name, k, _ in series if name == metric and k is not None}) > 1


def _grid(key: tuple[Any, ...], records: Sequence[Record], layout: Layout, rows: Summaries, names_k: bool) -> Grid:
    (metric, k, view), left, top = key, layout.left, layout.top
    rows_named, columns_named, files = names_by_side(left, top)
    if layout.names:
        rows_named, columns_named = ([layout.names[uri] for uri in side] for side in (left, top))
        files = files_of_sides(left, top)
    entry, ratio = METRICS[metric], str(view or "").startswith(RATIO)
    usual = ("space", "space") if entry.symmetric else ("first space", "second space")
    conventions = {r["convention"] for r in records if r["value"] is not None}
    down, across = ({uri: place for place, uri in enumerate(side)} for side in (left, top))
    cells = [_cell(r, down, across, rows.get(key_of(r)), len(conventions) == 1) for r in records]
    return Grid(
        {"metric": f"{metric}, k = {k}" if names_k else metric} | ({"spaces": str(view)} if view else {}),
        rows_named,
        columns_named,
        (files[0] or usual[0], files[1] or usual[1]),
        _span(metric, [r["value"] for r in records if r["value"] is not None], ratio),
        "higher" if entry.higher_is_closer else "lower",
        conventions.pop() if len(conventions) == 1 else "",
        cells,
        mirrored=list(left) == list(top) and bool(entry.symmetric),
        row_spaces=layout.spaces(left, str(view)),
        column_spaces=layout.spaces(top, str(view)),
        own=None if ratio else identity_value(records[0]),
        closest=not ratio and list(left) != list(top) and len(top) > 1,
    )


def _cell(
    record: Record, down: Mapping[str, int], across: Mapping[str, int], known: RowSummary | None, one_convention: bool
) -> Cell:
    a, b = record["a"], record["b"]
    place = (down[a], across[b]) if a in down and b in across else (down[b], across[a])
    ordered = [*(name for name in FIRST if name in record), *(name for name in record if name not in FIRST)]
    facts = {name: record[name] for name in ordered if name not in WITHOUT}
    if record["value"] is None or not one_convention:
        facts["convention"] = record["convention"]
    if known is None:
        return Cell(*place, record["value"], facts)
    worst = [(name, value, "") for name, value in known.worst]
    return Cell(*place, record["value"], facts, Details([known.low, known.high, *known.counts], worst))


def _span(metric: str, values: Sequence[float], ratio: bool) -> tuple[float, float]:
    """The ends of the colours; a ratio has no bounds."""
    return (0.0, max([1.0, *values])) if ratio else colour_range(metric, values)

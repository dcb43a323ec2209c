"""The grids of flat records: one heat map for each choice, such as each method of stitching."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record
from relrep_cli.reports.grids import Cell, Grid
from relrep_cli.reports.item_details import Details, from_cache, limited


@dataclass(frozen=True)
class Measure:
    """A column of the records that is shown as a heat map. bounds: of its values, None where there is none."""

    column: str
    name: str
    bounds: tuple[float | None, float | None] = (None, None)
    closer: Literal["higher", "lower"] = "higher"
    convention: str = ""


INDEX = Measure("stitching_index", "stitching index", (0, 1), convention="score over the end-to-end score of the same method")
RETAINED = Measure("retained", "retained", (0, 1), convention="recall over the recall of the re-embedded index")
WORST_TITLE = "Items with the worst values"
FACTS = {"low": "score_low", "high": "score_high"}  # the interval is that of the score, not that of the index or of F1
ACCURACY, R2 = Measure("accuracy", "accuracy", (0, 1)), Measure("r2", "r2", (None, 1))
MSE = Measure("mse", "mse", (0, None), "lower")
RECALL = Measure("recall_1", "recall at 1", (0, 1))
SCORES = (ACCURACY, R2, MSE, RECALL)  # the first of these that a method has is what the interval is of
STITCHING = (
    INDEX,
    ACCURACY,
    Measure("f1", "f1", (0, 1)),
    R2,
    MSE,
    RETAINED,
    RECALL,
    Measure("recall_10", "recall at 10", (0, 1)),
    Measure("mrr", "mrr", (0, 1)),
)


def stitching_grids(records: Sequence[Record], names: Mapping[str, str]) -> list[Grid]:
    """The grids of the records of stitch: encoders down; heads, or the indexes of a retrieval, across. names: of the files."""
    across = "head" if any("head" in r for r in records) else "index"
    kept = [r for r in records if "error" not in r]
    series: dict[tuple[tuple[str, str], ...], list[Record]] = {}
    several = len({r.get("decoder") for r in kept}) > 1
    for r in kept:
        choice = {"method": str(r["method"])} | ({"decoder": str(r["decoder"])} if several else {})
        series.setdefault(tuple(choice.items()), []).append(r)
    heads = list(dict.fromkeys(r[across] for r in kept))
    files = {uri: place for place, uri in enumerate(names)}
    grids = []
    for key, cells in sorted(series.items(), key=lambda one: len(one[1]) <= len(files)):  # end to end comes last
        measures = [m for m in STITCHING if any(r.get(m.column) is not None for r in cells)]
        score = next((m for m in measures if m in SCORES), None)
        for measure in measures:
            grid = _grid(dict(key) | {"shown": measure.name}, cells, measure, across, heads, files, names)
            ends = ("score_low", "score_high") if measure is score else ()
            grids.append(replace(grid, derived=measure is not measures[0], ends=ends))
    return grids


def _grid(
    choices: Mapping[str, str],
    records: Sequence[Record],
    measure: Measure,
    across: str,
    heads: Sequence[str],
    files: Mapping[str, int],
    names: Mapping[str, str],
) -> Grid:
    rows = list(dict.fromkeys(r["encoder"] for r in records))
    without = {"encoder", across, "method", "details", measure.column, *choices}
    cells = [
        Cell(
            rows.index(r["encoder"]),
            heads.index(r[across]),
            r[measure.column],
            {FACTS.get(name, name): value for name, value in r.items() if name not in without},
            limited(from_cache(r.get("details")), len(records)),
        )
        for r in records
    ]
    return Grid(
        choices,
        [names.get(uri, uri) for uri in rows],
        [names.get(uri, uri) for uri in heads],
        ("encoder", across),
        _span(measure.bounds, [cell.value for cell in cells]),
        measure.closer,
        measure.convention,
        cells,
        row_spaces=[files.get(uri, -1) for uri in rows],
        column_spaces=[files.get(uri, -1) for uri in heads],
        value_fact=measure.column,
        worst_title=WORST_TITLE,
    )


def _span(bounds: tuple[float | None, float | None], values: Sequence[float | None]) -> tuple[float, float]:
    """The bounds, widened to include every value; a missing bound becomes the smallest or largest value."""
    known = [value for value in values if value is not None] or [0.0, 1.0]
    low, high = bounds
    return (min(known) if low is None else min(low, *known), max(known) if high is None else max(high, *known))


def evaluation_grid(
    records: Sequence[Record],
    names: Mapping[str, str],
    keys: Sequence[str],
    details: Callable[[Record], Details] = lambda record: Details(),
) -> Grid:
    """The grid of the records of evaluate: what is measured down, files across. keys: the columns that say what that is."""
    kept = [r for r in records if "error" not in r]
    rows: dict[str, int] = {}
    cells: list[Cell] = []
    files = {uri: place for place, uri in enumerate(names)}
    for r in kept:
        row = rows.setdefault(", ".join(str(r[key]) for key in keys if r.get(key) is not None), len(rows))
        facts: dict[str, Any] = {key: value for key, value in r.items() if key not in {*keys, "file", "value"}}
        cells.append(Cell(row, files[r["file"]], r["value"], facts, limited(details(r), len(kept))))
    return Grid(
        {},
        list(rows),
        list(names.values()),
        ("measure", "file"),
        None,
        "higher",
        "",
        cells,
        column_spaces=list(range(len(files))),
        worst_title=WORST_TITLE,
    )

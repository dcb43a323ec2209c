"""The grids of flat records: one heat map for each choice, such as each method of stitching."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from relrep_cli.base.output import Record
from relrep_cli.comparison.row_summaries import RowSummary
from relrep_cli.reports.grids import Cell, Grid


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
STITCHING = (
    INDEX,
    Measure("accuracy", "accuracy", (0, 1)),
    Measure("f1", "f1", (0, 1)),
    Measure("r2", "r2", (None, 1)),
    Measure("mse", "mse", (0, None), "lower"),
    RETAINED,
    Measure("recall_1", "recall at 1", (0, 1)),
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
    return [
        _grid(dict(choice) | {"shown": measure.name}, cells, measure, across, heads, files, names)
        for choice, cells in sorted(series.items(), key=lambda one: len(one[1]) <= len(files))  # end to end comes last
        for measure in STITCHING
        if any(r.get(measure.column) is not None for r in cells)
    ]


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
    without = {"encoder", across, "method", measure.column} | ({"decoder"} if "decoder" in choices else set())
    cells = [
        Cell(rows.index(r["encoder"]), heads.index(r[across]), r[measure.column], _facts(r, without, measure)) for r in records
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
    )


def _facts(record: Record, without: set[str], measure: Measure) -> Record:
    """What else is known of a cell. The interval is that of the score, not of the index, so it has a name of its own there."""
    facts = {name: value for name, value in record.items() if name not in without}
    if measure in (INDEX, RETAINED):
        for end in ("low", "high"):
            facts[f"score_{end}"] = facts.pop(end, None)
    return facts


def _span(bounds: tuple[float | None, float | None], values: Sequence[float | None]) -> tuple[float, float]:
    """The bounds, moved to hold all values where there are some beyond; where there is no bound, the outermost value."""
    known = [value for value in values if value is not None] or [0.0, 1.0]
    low, high = bounds
    return (min(known) if low is None else min(low, *known), max(known) if high is None else max(high, *known))


def evaluation_grid(
    records: Sequence[Record],
    names: Mapping[str, str],
    keys: Sequence[str],
    summary: Callable[[Record], RowSummary | None] = lambda record: None,
) -> Grid:
    """The grid of the records of evaluate: what is measured down, files across. keys: the columns that say what that is."""
    kept = [r for r in records if "error" not in r]
    rows: dict[str, int] = {}
    cells: list[Cell] = []
    files = {uri: place for place, uri in enumerate(names)}
    for r in kept:
        row = rows.setdefault(", ".join(str(r[key]) for key in keys if r.get(key) is not None), len(rows))
        facts: dict[str, Any] = {key: value for key, value in r.items() if key not in {*keys, "file", "value"}}
        known = summary(r)
        bins = [] if known is None else [known.low, known.high, *known.counts]
        cells.append(Cell(row, files[r["file"]], r["value"], facts, bins))
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
    )

"""From trained heads to the table of stitch: what one task returns, and the records of all tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record
from relrep_cli.engine.jobs import Outcome
from relrep_cli.stitching.adaptation import records as with_adapted
from relrep_cli.stitching.grid import Cells, table


@dataclass(frozen=True)
class Grid:
    """One head on one group of methods. place: of the group. routes: labels, and whether only end-to-end cells count."""

    place: int
    head: str
    routes: Sequence[tuple[str, bool]]


@dataclass(frozen=True)
class Frame:
    """What the table of a run needs beside the cells.

    kind: of the target. flags: columns that every record gets. anchors: their number, by method. order: of methods and heads.
    """

    uris: Sequence[str]
    kind: str
    flags: Record
    anchors: dict[str, int | None]
    grids: Sequence[Grid]
    order: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Column:
    """The result of one task: cells as (method, encoder, scores), and the number of test rows of every encoder.

    kept: what other files need of the cells; see Run.kept_of. adapted: cells of adapted heads, by (encoder, head,
    part).
    """

    cells: Sequence[tuple[str, int, Record]]
    counts: Sequence[int]
    kept: Sequence[tuple[Any, ...]] = ()
    adapted: Mapping[tuple[int, int, str], Record] = field(default_factory=dict)


def collect(frame: Frame, outcomes: Iterable[Outcome], on_kept: Callable[..., None] | None = None) -> list[Record]:
    """The records of the table, from the outcomes of all tasks in their order. on_kept: gets what was kept of each cell.

    A head whose process was lost gives records that hold the error. Raises any other error, and that one if no head is left.
    """
    source = iter(outcomes)
    records: dict[tuple[str, str], list[Record]] = {}
    for grid in frame.grids:
        own = [next(source) for _ in frame.uris]
        columns = [outcome.result for outcome in own if outcome.error is None]
        for cell in (cell for column in columns for cell in column.kept):
            assert on_kept is not None
            on_kept(*cell)
        adapted = {place: cell for column in columns for place, cell in column.adapted.items()}
        for r in with_adapted(_of_grid(frame, grid, own), adapted, frame.uris):
            label = r["method"].partition("+adapted-")[0]
            records.setdefault((label, grid.head), []).append(r | {"decoder": grid.head} | frame.flags)
    for _ in source:  # an engine closes its log and its processes at the end
        raise RuntimeError("more outcomes than tasks")
    return [r | {"anchors": frame.anchors[key[0]]} for key in frame.order for r in records.get(key, [])]


def _of_grid(frame: Frame, grid: Grid, outcomes: Sequence[Outcome]) -> list[Record]:
    cells: Cells = {}
    errors: dict[int, str] = {}
    counts: Sequence[int] = []
    for h, outcome in enumerate(outcomes):
        if outcome.error is not None:
            if not outcome.lost:
                raise outcome.error
            errors[h] = str(outcome.error)
            continue
        counts = outcome.result.counts
        cells |= {(label, e, h): cell for label, e, cell in outcome.result.cells}
    if len(errors) == len(frame.uris):
        raise next(outcome.error for outcome in outcomes if outcome.error is not None)
    return table(frame.uris, counts, grid.routes, cells, frame.kind, errors)

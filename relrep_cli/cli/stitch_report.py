"""What stitch found: its table, and `stitch -o report.html`."""

from __future__ import annotations

from collections.abc import Sequence

from relrep_cli import store
from relrep_cli.base.output import Record, write
from relrep_cli.cli.picture_options import renamed
from relrep_cli.cli.report_files import Origin, publish, read_again
from relrep_cli.cli.stitch_options import Options
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.reports.endings import is_report
from relrep_cli.reports.record_grids import stitching_grids
from relrep_cli.stitching.cross_retrieval import RetrievalPlan
from relrep_cli.stitching.grid import DETAILS
from relrep_cli.stitching.grid_run import GridPlan
from relrep_cli.stitching.saved_head_run import SavedHeadPlan

Plan = GridPlan | RetrievalPlan | SavedHeadPlan


def write_results(options: Options, plan: Plan, records: Sequence[Record]) -> None:
    """Print the table, or write it to the file of -o; and the report, where one is asked for."""
    style = options.printing.style
    rows = [{name: value for name, value in record.items() if name != DETAILS} for record in [*records, *plan.failed]]
    lines = renamed(rows, options.files, options.picture.names)
    if options.table:
        return store.write_bytes(options.table, store.encoded(options.table, lines, plan.columns, style), options.force)
    write(lines, plan.columns, style)
    if is_report(options.output):
        _write_report(options, plan, records)


def _write_report(options: Options, plan: Plan, records: Sequence[Record]) -> None:
    """Write the grid of encoders and heads as a page."""
    if isinstance(plan, SavedHeadPlan):
        embeddings = read_again(options.files, options.reading.reading)
    else:
        embeddings = {e.uri: e for e in plan.spaces.es}
    names = dict(zip(options.files, options.picture.names, strict=False)) or short_names(list(embeddings))
    grids = stitching_grids(records, names)
    title = f"stitching of {' and '.join(names.values()) if len(names) < 3 else f'{len(names)} spaces'}"
    spaces = [(names[uri], one) for uri, one in embeddings.items()]
    errors = [str(record["error"]) for record in [*plan.failed, *records] if "error" in record]
    origin = Origin(options.explicit.command, options.seed, options.force)
    publish(options.output, title, grids, embeddings, spaces, origin, errors)

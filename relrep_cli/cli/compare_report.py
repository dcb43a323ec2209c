"""`compare -o report.html`."""

from __future__ import annotations

from collections.abc import Iterable

from relrep_cli.base.errors import DataError
from relrep_cli.base.task_cache import Records
from relrep_cli.cli.compare_outputs import Targets
from relrep_cli.cli.report_files import publish
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.row_summaries import RowSummaries
from relrep_cli.comparison.runs import Results, Views, collect
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.embedding import Embedding
from relrep_cli.engine.jobs import Outcome
from relrep_cli.reports.comparisons import comparison_grids

MANY = 200  # pairs and tasks above which a page names fewer items for each
WORST, FEWER_WORST = 10, 5


def write_report(plan: Plan, cache: Records, found: Iterable[Outcome], views: Views, targets: Targets, command: str) -> Results:
    """Collect the results of a run and write them as a page. command: the command line that makes the page again."""
    few = len(plan.pairs) * len(plan.tasks) <= MANY
    rows = RowSummaries(plan.outputs.worst or (WORST if few else FEWER_WORST))
    results = collect(plan, cache, found, rows.add)
    known: dict[str, Embedding | DataError] = {}
    for uri in dict.fromkeys(plan.files):
        of_file = views[uri]
        known[uri] = of_file if isinstance(of_file, DataError) else of_file[0].embedding
    names = short_names(list(known))
    title = f"{', '.join(plan.metrics)} of {' and '.join(names.values()) if plan.single else f'{len(known)} spaces'}"
    grids = comparison_grids(results.records, plan.sides, rows)
    publish(targets.output, title, command, grids, known, names, plan.seed, targets.force)
    return results

"""`compare -o report.html`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from relrep_cli.base.errors import DataError
from relrep_cli.base.output import say
from relrep_cli.base.task_cache import Records
from relrep_cli.cli.compare_outputs import Targets
from relrep_cli.cli.report_files import Origin, publish
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.row_summaries import RowSummaries
from relrep_cli.comparison.runs import Results, Views, collect
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.embedding import Embedding
from relrep_cli.engine.jobs import Outcome
from relrep_cli.reports.comparisons import Layout, comparison_grids

MANY, TOO_MANY = 200, 5_000  # values above which a page names fewer items for each, and nothing of their rows
WORST, FEWER_WORST = 10, 5


def write_report(plan: Plan, cache: Records, found: Iterable[Outcome], views: Views, targets: Targets, command: str) -> Results:
    """Collect the results of a run and write them as a page. command: the command line that makes the page again."""
    count = len(plan.pairs) * len(plan.tasks)
    rows = RowSummaries(plan.outputs.worst or (WORST if count <= MANY else FEWER_WORST))
    if count > TOO_MANY:
        say(f"{targets.output}: with {count} values, the report leaves out the values of rows.")
    results = collect(plan, cache, found, rows.add if count <= TOO_MANY else lambda one: None)
    files = list(dict.fromkeys(plan.files))
    names, labels = short_names(files), _labels(views, files)
    spaces = [(f"{names[uri]}, {label}", _view(views[uri], place)) for place, label in enumerate(labels) for uri in files]
    title = f"{', '.join(plan.metrics)} of {' and '.join(names.values()) if plan.single else f'{len(files)} spaces'}"
    grids = comparison_grids(results.records, Layout(*plan.sides, files, labels), rows)
    known = {uri: _view(views[uri], 0) for uri in files}
    publish(targets.output, title, grids, known, spaces, Origin(command, plan.seed, targets.force))
    return results


def _labels(views: Views, files: Sequence[str]) -> list[str]:
    """What the views of the files are called; one where no file can be used."""
    usable = [known for uri in files if not isinstance(known := views[uri], DataError)]
    return [view.label if len(usable[0]) > 1 else view.embedding.kind for view in usable[0]] if usable else ["absolute"]


def _view(known: Sequence[View] | DataError, place: int) -> Embedding | DataError:
    return known if isinstance(known, DataError) else known[place].embedding

"""`compare -o report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relrep_cli.base.errors import DataError
from relrep_cli.base.output import say
from relrep_cli.cli.compare_outputs import Targets
from relrep_cli.cli.report_files import Origin, publish
from relrep_cli.comparison.pairs_of_files import View
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.runs import Results, Views
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.embedding import Embedding
from relrep_cli.reports.comparisons import Layout, comparison_grids

MANY, TOO_MANY = 200, 5_000  # values above which a page names fewer items for each, and nothing of their rows
WORST, FEWER_WORST = 10, 5


def with_summaries(plan: Plan, worst: int | None) -> Plan:
    """The plan of a report: row values are summarised, unless there are too many. worst: how many items each summary names."""
    count = len(plan.pairs) * len(plan.tasks)
    usual = WORST if count <= MANY else FEWER_WORST
    if count > TOO_MANY:
        say(f"with {count} values, the report leaves out the values of rows.")
    return replace(plan, outputs=replace(plan.outputs, report=0 if count > TOO_MANY else worst or usual))


def write_report(plan: Plan, results: Results, views: Views, targets: Targets, command: str) -> None:
    """Write the results of a run as a page. command: the command line that makes the page again."""
    files = list(dict.fromkeys(plan.files))
    given = dict(zip(plan.files, targets.look.names, strict=False))
    names, labels = given or short_names(files), _labels(views, files)
    spaces = [(f"{names[uri]}, {label}", _view(views[uri], place)) for place, label in enumerate(labels) for uri in files]
    title = f"{', '.join(plan.metrics)} of {' and '.join(names.values()) if plan.single else f'{len(files)} spaces'}"
    grids = comparison_grids(results.records, Layout(*plan.sides, files, labels, given), results.summaries)
    known = {uri: _view(views[uri], 0) for uri in files}
    publish(targets.output, title, grids, known, spaces, Origin(command, plan.seed, targets.force))


def _labels(views: Views, files: Sequence[str]) -> list[str]:
    """What the views of the files are called; one where no file can be used."""
    usable = [known for uri in files if not isinstance(known := views[uri], DataError)]
    return [view.label if len(usable[0]) > 1 else view.embedding.kind for view in usable[0]] if usable else ["absolute"]


def _view(known: Sequence[View] | DataError, place: int) -> Embedding | DataError:
    return known if isinstance(known, DataError) else known[place].embedding

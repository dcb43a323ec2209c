"""`relrep evaluate`: what one space is good for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, NO, DataError, UsageError
from relrep_cli.base.output import emit, render, say
from relrep_cli.cli import options as shared
from relrep_cli.cli.compare_differences import refuse_other_results, write_differences
from relrep_cli.cli.engine_options import refuse_standard_input
from relrep_cli.cli.evaluate_options import Options
from relrep_cli.cli.options import command, split_names
from relrep_cli.cli.report_files import Origin, publish, read_again, refuse_report
from relrep_cli.comparison import layers
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.file_differences import COLUMNS as DIFFERENCE_COLUMNS
from relrep_cli.evaluations.file_differences import check_against, file_differences
from relrep_cli.evaluations.finding_details import KEYS, details_key
from relrep_cli.evaluations.findings import Record
from relrep_cli.evaluations.further_files import ITEM_COLUMNS, CurveFiles, check_item_file, write_items, write_rates
from relrep_cli.evaluations.index_search import recalls_below
from relrep_cli.evaluations.several_files import (
    ALL,
    COMPRESSING,
    COMPRESSION,
    FOREIGN,
    SEARCH,
    EvaluationPlan,
    Extras,
    files_of_each,
    named_tasks,
    side_by_side,
)
from relrep_cli.evaluations.task_costs import lines_of
from relrep_cli.numerics.devices import chosen
from relrep_cli.reports.endings import ENDINGS as PAGES
from relrep_cli.reports.endings import is_report
from relrep_cli.reports.item_details import NOTHING
from relrep_cli.reports.record_grids import evaluation_grid
from relrep_cli.store.relevance_files import read_relevant

TITLE = "What to find out"
EXAMPLES = (
    "relrep evaluate a.h5 b.h5 --task linear-probe,knn",
    "relrep evaluate shapes.h5 --task linear-probe --target colour,shape,location",
    "relrep evaluate cifar10.h5 --task anomaly --anomalies mnist.h5 --plot roc.png",
    "relrep evaluate vae.h5 --task anomaly --anomalies other.h5 --score-column reconstruction_error",
    "relrep evaluate 'a.h5::layer/*' --task linear-probe,knn --matrix",
    "relrep evaluate *.h5 -o report.html",
    "relrep evaluate vectors.npz --holdout 0.2 --per-class",
    "relrep evaluate a.h5 b.h5 c.h5 --task knn,retrieval --against a.h5",
    "relrep evaluate a.h5 --dims 64,128,256 --dtype float16,int8,bits",
    "relrep evaluate index.h5 --task foreign --reference clean.h5 --rows scores.tsv",
    "relrep evaluate index.h5 --task search --queries queries.h5 --relevant truth.csv --least-recall 0.9",
)


@command(Options, EVALUATIONS)
def evaluate(options: Options) -> int:
    """Find out what one space is good for: probes, anomalies, clusters, retrieval, separation, search.

    Everything is fitted on the training rows and scored on the test rows. With several files, records of the same
    measure stand together. A file that cannot be used gives a record with the error; the others are still used, and the exit
    code is 3. With --task all, tasks that a file lacks the columns or splits for are left out, and a message says so.

    With --against FILE, values are subtracted on the items that all files judge: each difference has an interval, p and q, and
    files that cannot be told apart share a letter.
    """
    style = options.printing.style  # before any file is read
    plan = _plan(options)
    refuse_other_results(options.explicit.options, options.against)
    curves = CurveFiles(options.plot, options.curve)
    anomaly = "anomaly" in plan.tasks and bool(options.anomalies)
    curves.check(_inputs(options, plan.files), anomaly, COMPRESSION in plan.tasks)
    check_output(options, plan.files)
    check_item_file(options.rows, _inputs(options, plan.files), list(plan.tasks), options.force)
    if options.dry_run:
        shared.plan(lines_of(plan, max(1, options.running.engine.processes)))
        return DONE
    engine = options.running.engine
    if engine.elsewhere:
        refuse_standard_input(_inputs(options, plan.files))
    records, extras = plan.run(engine)
    if plan.against:
        return _write_differences(plan, records, extras, options)
    curves.write(extras.curves, options.force, style)
    write_rates(options.plot, [r for r in records if r.get("task") == COMPRESSION], options.force)
    if options.rows:
        task = next(name for name in plan.tasks if name in ITEM_COLUMNS)
        write_items(options.rows, extras.items, task, options.force, style)
    if is_report(options.output):
        _write_report(options, plan, records, extras)
    elif options.matrix:
        _write_matrix(records, plan.files, options)
    else:
        write_differences(side_by_side(records), tuple(plan.columns), options.output, style, options.force)
    broken = len({r["file"] for r in records if "error" in r})
    if broken:
        say(f"{broken} of {len(plan.files)} files could not be used: see their error.")
    low = [] if options.least_recall is None else recalls_below(options.least_recall, records, plan.tasks[SEARCH]["k"])
    for sentence in low:
        say(sentence)
    return DATA if broken else NO if low else DONE


def _inputs(options: Options, files: Sequence[str]) -> list[str]:
    """All files that are read."""
    return [file for file in (*files, *options.anomalies, options.reference, *options.queries, options.relevant) if file]


def _write_differences(plan: EvaluationPlan, of_files: list[Record], extras: Extras, options: Options) -> int:
    """Subtract the values of the files, and return the exit code."""
    broken = {r["file"]: r["error"] for r in of_files if "error" in r}
    files = [file for file in plan.compared if file not in broken]
    if plan.against in broken or len(files) < 2:
        raise DataError(broken.get(plan.against) or next(iter(broken.values())))
    records = file_differences(extras.findings, files, plan.against, plan.seed)
    errors = [dict.fromkeys(DIFFERENCE_COLUMNS) | {"b": file, "error": error} for file, error in broken.items()]
    write_differences(records + errors, DIFFERENCE_COLUMNS, options.output, options.printing.style, options.force)
    if broken:
        say(f"{len(broken)} of {len(plan.files)} files could not be used: see their error.")
    return DATA if broken else DONE


def _plan(options: Options) -> EvaluationPlan:
    """What to evaluate. Raises UsageError."""
    files = list(itertools.chain(*layers.expand(options.files)))
    compresses = bool(COMPRESSING & set(options.given.names(EVALUATIONS)))
    names = named_tasks(split_names(options.task), compresses, bool(options.reference), bool(options.queries))
    tasks = options.given.choose(EVALUATIONS, names)
    anomalies = files_of_each("--anomalies", options.anomalies, len(files))
    check_queries(options, list(tasks))
    if options.reference and FOREIGN not in tasks:
        raise UsageError("--reference works only with --task foreign", "Write --task foreign, or leave it out.")
    if options.score_column and not options.anomalies:
        raise UsageError("--score-column needs --anomalies FILE", "Name the anomalies, or leave it out.")
    plan = EvaluationPlan(
        files,
        anomalies,
        tasks,
        list(map(options.reading.reading.target, split_names(options.target))),
        options.split,
        options.holdout,
        options.seed,
        options.score_column,
        ALL in options.task and not {COMPRESSION, SEARCH} & set(tasks),
        options.per_class,
        options.reading.reading,
        options.reference,
        options.against,
        is_report(options.output),
        chosen(options.device),
        files_of_each("--queries", options.queries, len(files)),
        read_relevant(options.relevant) if options.relevant else None,
        options.relevant,
    )
    if options.against:
        check_against(options.against, plan.compared)
    return plan


def _write_matrix(of_files: list[Record], files: Sequence[str], options: Options) -> None:
    """A line for each thing measured, a column for each file; errors of files go to stderr."""
    names = short_names(files)
    lines: dict[tuple[Any, ...], Record] = {}
    for r in of_files:
        if "error" in r:
            say(r["error"])
            continue
        what: Record = {c: r[c] for c in KEYS if c in r}
        lines.setdefault(tuple(what.values()), what)[names[r["file"]]] = r["value"]
    keys = [c for c in KEYS if any(c in line for line in lines.values())]
    columns = [*keys, *dict.fromkeys(names.values())]
    style, records = options.printing.style, list(lines.values())
    if options.output not in ("", "-"):
        content = store.encoded(options.output, records, columns, style)
        return store.write_bytes(options.output, content, options.force)
    emit(render(records, columns, style.on_stdout, verbatim=True, quote_formulas=style.quote_formulas))


def check_queries(options: Options, tasks: Sequence[str]) -> None:
    """Raise UsageError for options of task search that miss each other."""
    given = {"--queries": options.queries, "--relevant": options.relevant}
    if (SEARCH in tasks or any(given.values())) and (missing := next((name for name, file in given.items() if not file), "")):
        others = next((name for name, file in given.items() if file), "--task search")
        raise UsageError(f"{others} needs {missing} FILE", f"Give {missing} FILE, too.")
    if options.queries and SEARCH not in tasks:
        raise UsageError("--queries works only with --task search", "Write --task search, or leave it out.")
    if options.least_recall is not None and SEARCH not in tasks:
        raise UsageError("--least-recall works only with --task search", "Give --queries FILE and --relevant FILE, too.")


def check_output(options: Options, inputs: Sequence[str]) -> None:
    """Raise UsageError or WriteError, before any work, where -o names no file that the result can be written to."""
    if not options.output:
        return
    store.agree(options.output, options.printing.style, more=PAGES)
    store.refuse(options.output, True, _inputs(options, inputs), store.TABLES)
    refuse_report(options.output, options.printing.style, against=options.against)


def _write_report(options: Options, plan: EvaluationPlan, records: list[Record], extras: Extras) -> None:
    """Write the values of all files as a page."""
    names = short_names(plan.files)
    grid = evaluation_grid(side_by_side(records), names, KEYS, lambda r: extras.details.get(details_key(r), NOTHING))
    title = f"{', '.join(plan.tasks)} of {' and '.join(names.values()) if len(names) < 3 else f'{len(names)} spaces'}"
    files = read_again(plan.files, options.reading.reading)
    spaces = [(names[uri], one) for uri, one in files.items()]
    errors = [str(r["error"]) for r in records if "error" in r]
    origin = Origin(options.explicit.command, options.seed, options.force)
    publish(options.output, title, [grid], files, spaces, origin, errors)

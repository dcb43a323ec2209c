"""`relrep evaluate`: what one space is good for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, DataError, UsageError
from relrep_cli.base.output import emit, render, say
from relrep_cli.cli import options as shared
from relrep_cli.cli.compare_differences import refuse_other_results, write_differences
from relrep_cli.cli.engine_options import ProcessOptions, refuse_standard_input
from relrep_cli.cli.options import Explicit, Given, Printing, command, names_of, split_names
from relrep_cli.cli.reading_options import ReadingOptions
from relrep_cli.cli.report_files import Origin, publish, read_again, refuse_report
from relrep_cli.comparison import layers
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.file_differences import COLUMNS as DIFFERENCE_COLUMNS
from relrep_cli.evaluations.file_differences import check_against, file_differences
from relrep_cli.evaluations.findings import Record
from relrep_cli.evaluations.further_files import CurveFiles, check_item_file, write_items, write_rates
from relrep_cli.evaluations.several_files import (
    ALL,
    COMPRESSING,
    COMPRESSION,
    FOREIGN,
    KEYS,
    EvaluationPlan,
    Extras,
    anomalies_of_each,
    details_key,
    named_tasks,
    side_by_side,
)
from relrep_cli.evaluations.task_costs import lines_of
from relrep_cli.numerics.devices import chosen
from relrep_cli.reports.endings import ENDINGS as PAGES
from relrep_cli.reports.endings import is_report
from relrep_cli.reports.item_details import NOTHING
from relrep_cli.reports.record_grids import evaluation_grid

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
)


def _file(name: str, help: str) -> Any:
    return typer.Option(name, help=help, metavar="FILE", show_default=False)


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Embedding files.", show_default=False)]
    task: Annotated[list[str], names_of(EVALUATIONS, "Tasks, repeated or separated by commas, or all.", "--task")] = field(
        default_factory=lambda: [ALL]
    )
    target: Annotated[
        list[str], typer.Option("--target", "-t", help="Columns with the class or the number of each item.", metavar="COLUMN")
    ] = field(default_factory=lambda: ["label"])
    split: Annotated[
        str,
        typer.Option(
            "--split", help="Score the rows of this split, or all [default: test].", metavar="NAME", show_default=False
        ),
    ] = ""
    holdout: Annotated[
        float,
        typer.Option(
            "--holdout",
            help="Score this share of the rows of a file without splits; learn from the rest.",
            min=0,
            max=0.9,
            show_default=False,
        ),
    ] = 0.0
    anomalies: Annotated[
        list[str],
        _file(
            "--anomalies",
            "Anomalies in the same space: one file, one for each FILE in order, or several for one FILE.",
        ),
    ] = field(default_factory=list)
    score_column: Annotated[
        str,
        typer.Option(
            "--score-column",
            help="Column with the anomaly score of each item, such as reconstruction_error, instead of distances.",
            metavar="COLUMN",
            show_default=False,
        ),
    ] = ""
    reference: Annotated[
        str, _file("--reference", "For task foreign: a file of the same model that certainly holds no foreign rows.")
    ] = ""
    rows: Annotated[
        str, _file("--rows", "Write the score of each row by task foreign to FILE (.tsv, .csv, .json, .parquet).")
    ] = ""
    against: Annotated[
        str,
        _file("--against", "Test whether each other file is better or worse than FILE; all tests every pair of files."),
    ] = ""
    per_class: Annotated[bool, typer.Option("--per-class", help="Add the values of each class.")] = False
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Print values only: a line for each thing measured, a column for each file.")
    ] = False
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="Write the result to FILE: a table, or a report (.html).", metavar="FILE", show_default=False
        ),
    ] = ""
    plot: Annotated[
        str,
        _file(
            "--plot",
            "Draw the ROC curves of task anomaly, or recall by size of task compression, to FILE (.png, .svg or .pdf).",
        ),
    ] = ""
    curve: Annotated[str, _file("--curve", "Write the points of the ROC curves to FILE (.tsv, .csv, .json, .parquet).")] = ""
    force: shared.Force = False
    device: shared.Device = "cpu"
    dry_run: shared.DryRun = False
    printing: Printing
    seed: shared.Seed = 0
    reading: ReadingOptions
    running: ProcessOptions
    given: Given
    explicit: Explicit = field(default_factory=Explicit)


@command(Options, EVALUATIONS)
def evaluate(options: Options) -> int:
    """Find out what one space is good for: probes, anomalies, clusters, retrieval, separation.

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
    curves.check([*plan.files, *options.anomalies], anomaly, COMPRESSION in plan.tasks)
    check_output(options, plan.files)
    check_item_file(options.rows, [*plan.files, options.reference], list(plan.tasks), options.force)
    if options.dry_run:
        shared.plan(lines_of(plan, max(1, options.running.engine.processes)))
        return DONE
    engine = options.running.engine
    if engine.elsewhere:
        refuse_standard_input([*plan.files, *options.anomalies, plan.reference])
    records, extras = plan.run(engine)
    if plan.against:
        return _write_differences(plan, records, extras, options)
    curves.write(extras.curves, options.force, style)
    write_rates(options.plot, [r for r in records if r.get("task") == COMPRESSION], options.force)
    if options.rows:
        write_items(options.rows, extras.items, options.force, style)
    if is_report(options.output):
        _write_report(options, plan, records, extras)
    elif options.matrix:
        _write_matrix(records, plan.files, options)
    else:
        write_differences(side_by_side(records), tuple(plan.columns), options.output, style, options.force)
    broken = len({r["file"] for r in records if "error" in r})
    if broken:
        say(f"{broken} of {len(plan.files)} files could not be used: see their error.")
    return DATA if broken else DONE


def _write_differences(plan: EvaluationPlan, of_files: list[Record], extras: Extras, options: Options) -> int:
    """Subtract the values of the files, and return the exit code."""
    broken = {r["file"]: r["error"] for r in of_files if "error" in r}
    files = [file for file in plan.files if file not in broken]
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
    names = named_tasks(split_names(options.task), compresses, bool(options.reference))
    tasks = options.given.choose(EVALUATIONS, names)
    anomalies = anomalies_of_each(options.anomalies, len(files))
    if options.against:
        check_against(options.against, files)
    if options.reference and FOREIGN not in tasks:
        raise UsageError("--reference works only with --task foreign", "Write --task foreign, or leave it out.")
    if options.score_column and not options.anomalies:
        raise UsageError("--score-column needs --anomalies FILE", "Name the anomalies, or leave it out.")
    return EvaluationPlan(
        files,
        anomalies,
        tasks,
        list(map(options.reading.reading.target, split_names(options.target))),
        options.split,
        options.holdout,
        options.seed,
        options.score_column,
        ALL in options.task and COMPRESSION not in tasks,
        options.per_class,
        options.reading.reading,
        options.reference,
        options.against,
        is_report(options.output),
        chosen(options.device),
    )


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


def check_output(options: Options, inputs: Sequence[str]) -> None:
    """Raise UsageError or WriteError, before any work, where -o names no file that the result can be written to."""
    if not options.output:
        return
    store.agree(options.output, options.printing.style, more=PAGES)
    store.refuse(options.output, True, [*inputs, *options.anomalies, options.reference], store.TABLES)
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

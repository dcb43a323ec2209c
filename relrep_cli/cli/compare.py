"""`relrep compare`: metrics of two or more spaces."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import typer

from relrep_cli.base.errors import DONE, UsageError
from relrep_cli.base.output import say, write
from relrep_cli.base.task_cache import Records, records_for
from relrep_cli.cli import options as shared
from relrep_cli.cli.compare_diagnosis import refuse_other_options, run_diagnosis
from relrep_cli.cli.compare_differences import refuse_other_results, run_differences
from relrep_cli.cli.compare_outputs import Targets, describe, prints_matrix, verdict, write_results
from relrep_cli.cli.compare_parts import PART, refuse_of_part, run_part
from relrep_cli.cli.compare_report import with_summaries, write_report
from relrep_cli.cli.compare_session import Source, outcomes_of, views_of
from relrep_cli.cli.engine_options import EngineOptions
from relrep_cli.cli.options import Explicit, Given, Printing, command
from relrep_cli.cli.picture_options import PictureOptions
from relrep_cli.cli.reading_options import TrustingOptions
from relrep_cli.cli.recipe_options import RecipeOptions
from relrep_cli.cli.report_files import refuse_report
from relrep_cli.comparison.diagnosis import RELATIONS
from relrep_cli.comparison.layers import expand as expand_patterns
from relrep_cli.comparison.plans import Outputs, Plan, make_plan
from relrep_cli.comparison.reference_values import models_of
from relrep_cli.comparison.runs import collect
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.catalogue import COLUMNS as CATALOGUE
from relrep_cli.metrics.catalogue import PRESETS, catalogue, expand, preset, remarks
from relrep_cli.numerics.devices import chosen
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.reports.page import is_report

TITLE = "What to measure"
EXAMPLES = (
    "relrep compare a.rel.h5 b.rel.h5 --metric cosine,jaccard --k 10",
    "relrep compare a.h5 b.h5 --anchors anchors.h5 --split test",
    "relrep compare a.h5 b.h5 --anchors anchors.h5 --similarity cosine,l1 --preset reference",
    "relrep compare a.h5 b.h5 --metric kernels,procrustes",
    "relrep compare *.h5 --metric cka --matrix",
    "relrep compare *.h5 --permutations 1000 -o report.html",
    "relrep compare 'a.h5::layer/*' 'b.h5::layer/*' --metric cka --matrix",
    "relrep compare a.h5 b.h5 --metric knn-jaccard --worst 20 | cut -f1 > look-at.txt",
    "relrep compare 'a.h5::layer/*' b.h5 --metric cka --permutations 1000",
    "relrep compare a.h5 b.h5 --diagnose --accept precision",
    "relrep compare teacher.h5 a.h5 b.h5 c.h5 --reference teacher.h5 --against a.h5",
    "relrep compare --list",
)
SHOWN = METRICS.those(lambda entry: entry.shown)
DEFAULT_METRICS = ("cka", "knn-jaccard")  # global and local; of any dims, blind to rotations, near 0 by chance at any n


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[
        list[str], typer.Argument(metavar="FILE FILE...", help="Two or more embedding files.", show_default=False)
    ] = field(default_factory=list)
    metric: Annotated[
        list[str],
        shared.names_of(
            SHOWN,
            "What to measure (docs/which-metric.md): metrics, families or all; repeated or with commas.",
            "--metric",
            "-m",
        ),
    ] = field(default_factory=lambda: list(DEFAULT_METRICS))
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", help=f"Instead of --metric, one of: {', '.join(PRESETS)}.", metavar="NAME", show_default=False
        ),
    ] = None
    list_: Annotated[bool, typer.Option("--list", help="Print the metrics and their properties, and stop.")] = False
    split: shared.Split = None
    require_all: Annotated[bool, typer.Option("--require-all", help="Refuse to leave any row out.")] = False
    per_row: Annotated[
        str | None,
        typer.Option(
            "--per-row",
            help="Write each row's own values to FILE (.tsv, .parquet or .h5); to an .h5ad, as columns of obs in a copy of the "
            ".h5ad that is compared.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            help="Compare every file with this one only: first, or one of the files.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None
    against: Annotated[
        str,
        typer.Option(
            "--against",
            help="Test whether each other file is closer to the reference than FILE is; all tests every pair of files.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    repeats: Annotated[
        str,
        typer.Option(
            "--repeats",
            help="With --against: the column of the reference that names the item behind each row, where items have several. "
            "Values are means over these repeats, and records hold the noise ceiling.",
            metavar="COLUMN",
            show_default=False,
        ),
    ] = ""
    matrix: Annotated[
        bool | None,
        typer.Option(
            "--matrix/--no-matrix",
            help="Print one metric as a matrix of files [default: on a terminal, for three or more files].",
            show_default=False,
        ),
    ] = None
    worst: Annotated[
        int | None,
        typer.Option(
            "--worst",
            help="Print the N items that agree least, for each metric with a value for each row, instead of the scores.",
            metavar="N",
            min=1,
            show_default=False,
        ),
    ] = None
    permutations: Annotated[
        int | None,
        typer.Option(
            "--permutations",
            help="Add p and q, from N random pairings of the rows; takes N times as long.",
            metavar="N",
            min=1,
            show_default=False,
        ),
    ] = None
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under", help="Exit with 1 when a value is missing, or shows less agreement than this.", show_default=False
        ),
    ] = None
    diagnose: Annotated[
        bool,
        typer.Option("--diagnose", help="Instead of metrics, find the simplest relation of two files, with evidence."),
    ] = False
    accept: Annotated[
        str | None,
        typer.Option(
            "--accept",
            help="With --diagnose, exit with 1 unless the relation is this or a simpler one. Simplest first: "
            f"{', '.join(name for name in RELATIONS if name != 'none-of-these')}.",
            metavar="RELATION",
            show_default=False,
        ),
    ] = None
    no_interval: Annotated[
        bool, typer.Option("--no-interval", help="Leave out the confidence intervals, which can take most of the time.")
    ] = False
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="File to write: a table, or a report (.html); - is stdout.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    force: shared.Force = False
    device: shared.Device = "cpu"
    dry_run: shared.DryRun = False
    printing: Printing
    seed: shared.Seed = 0
    recipe: RecipeOptions
    reading: TrustingOptions
    running: EngineOptions
    picture: PictureOptions
    given: Given
    explicit: Explicit = field(default_factory=Explicit)


@command(Options, METRICS, SIMILARITIES)
def compare(options: Options) -> int:
    """Measure how alike two or more spaces are, for every pair of files.

    A FILE may be a pattern for embeddings inside one, 'a.h5::layer/*'. Pairs then run between the arguments: layers of one
    file are compared with layers of another, and with each other only when the pattern is the only argument.

    Rows are joined by id. Every value comes with a 95 % confidence interval, its chance level under random pairing, the
    value corrected for chance (0 at chance, 1 in full agreement) and its convention. With --anchors and absolute files,
    each metric is computed for the absolute spaces and for their relative representations, and the ratio of the two is
    added. With several similarity functions, this is done for each alone and for their product.

    With --against FILE, several files are compared with one reference (--reference, else the first file) on the same items,
    and the values are subtracted: each difference has an interval, p and q, and files that cannot be told apart share a letter.

    With more than two files, a file that cannot be used gives records that hold the error. The others are compared, and the
    exit code is 3. An interrupted run with -o continues where it stopped when it is started again.
    """
    if options.list_:
        write(catalogue(), CATALOGUE, options.printing.style)
        return DONE
    refuse_other_options(options.explicit.options, options.diagnose, options.accept)
    refuse_other_results(options.explicit.options, options.against)
    targets, plan = _targets(options), _plan(options)
    targets.refuse([*plan.files, *options.recipe.files()], plan.files)
    refuse_report(
        targets.output, targets.style, diagnose=options.diagnose, against=options.against, shard=options.running.shard
    )
    if options.against:
        models_of(plan, options.against)  # refuses before files are read
    if options.diagnose:
        return run_diagnosis(plan, options.split, targets, options.accept, options.dry_run, options.reading.reading)
    part, engine = options.running.part, options.running.engine
    if part is not None:
        refuse_of_part(plan, targets, options.fail_under)
    cache = records_for(
        options.output if part is None else part.file(options.output, PART), options.running.cache, options.force
    )
    source = _source(options, plan, cache, part is not None)
    views = views_of(source, engine.elsewhere or part is not None)
    if options.against:
        return run_differences(plan, views, options.against, options.repeats, targets, cache, options.dry_run)
    if options.dry_run:
        shared.plan(describe(plan, views, max(1, engine.processes)))
        return DONE
    if part is not None:
        return run_part(source, views, cache, engine, part, targets)
    results = collect(plan, cache, outcomes_of(source, views, cache, engine))
    write_page = partial(write_report, plan, results, views, targets, options.explicit.command)
    write_results(plan, results, views, targets, bool(options.recipe.anchors), write_page)
    cache.close()
    return verdict(results.records, options.fail_under)


def _targets(options: Options) -> Targets:
    return Targets(
        output=options.output,
        per_row=options.per_row or "",
        plot=options.picture.plot,
        style=options.printing.style,
        force=options.force,
        look=options.picture.look(options.explicit.options, is_report(options.output) or bool(options.matrix)),
    )


def _plan(options: Options) -> Plan:
    if options.fail_under is not None and not math.isfinite(options.fail_under):
        raise UsageError(f"--fail-under is {options.fail_under}", "Give a finite number.")
    groups = expand_patterns(options.files)
    names = preset(options.preset) if options.preset else shared.split_names(options.metric)
    for remark in remarks(names := expand(names)):
        say(f"{remark}.")
    metrics = options.given.choose(METRICS, names)
    several = sum(map(len, groups)) > 2
    outputs = Outputs(
        matrix=prints_matrix(options.matrix, several, len(metrics), _asked(options)),
        heatmap=bool(options.picture.plot) and several,
        distributions=bool(options.picture.plot) and not several,
        row_table=bool(options.per_row),
        worst=0 if is_report(options.output) else options.worst or 0,
        permutations=options.permutations or 0,
        intervals=not options.no_interval,
    )
    plan = make_plan(groups, metrics, outputs, reference=options.reference, seed=options.seed, require_all=options.require_all)
    return with_summaries(plan, options.worst) if is_report(options.output) else plan


def _asked(options: Options) -> bool:
    """Whether something is asked for that a matrix does not show."""
    more = (options.output, options.printing.style.format, options.recipe.anchors, options.reference, options.worst)
    return any((*more, options.permutations))


def _source(options: Options, plan: Plan, cache: Records, with_content: bool) -> Source:
    return Source(
        plan=plan,
        split=options.split,
        recipe=options.recipe,
        given=options.given,
        reading=options.reading.reading,
        folder="" if cache.folder is None else str(cache.folder),
        keep=cache.keep,
        with_content=with_content or cache.folder is not None,
        device=chosen(options.device),
    )

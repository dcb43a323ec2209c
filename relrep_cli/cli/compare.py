"""`relrep compare`: metrics of two or more spaces."""

from __future__ import annotations

import itertools
import math

from relrep_cli.base.errors import DONE, UsageError
from relrep_cli.base.output import say, write
from relrep_cli.base.task_cache import Records, records_for
from relrep_cli.cli import options as shared
from relrep_cli.cli.compare_options import Options
from relrep_cli.cli.compare_outputs import Targets, describe, prints_matrix, verdict, write_results
from relrep_cli.cli.compare_session import Source, outcomes_of, views_of
from relrep_cli.cli.options import command
from relrep_cli.comparison.layers import expand as expand_patterns
from relrep_cli.comparison.plans import Outputs, Plan, make_plan
from relrep_cli.comparison.runs import collect
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.catalogue import COLUMNS as CATALOGUE
from relrep_cli.metrics.catalogue import catalogue, expand, preset, remarks
from relrep_cli.numerics.devices import chosen
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.reports.endings import is_report

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
    "relrep compare 'a.h5::layer/*' 'b.h5::layer/*' --metric cka --against closest",
    "relrep compare --list",
)


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
    Where the first argument is a pattern, each of its embeddings is a reference in turn. --against closest says for each
    reference which file is closest, and whether it is closer than every other one.

    With more than two files, a file that cannot be used gives records that hold the error. The others are compared, and the
    exit code is 3. An interrupted run with -o continues where it stopped when it is started again.
    """
    if options.list_:
        write(catalogue(), CATALOGUE, options.printing.style)
        return DONE
    targets, plan = _refused(options)
    part, engine = options.running.part, options.running.engine
    if options.diagnose:
        from relrep_cli.cli.compare_diagnosis import run_diagnosis

        return run_diagnosis(plan, options.split, targets, options.accept, options.dry_run, options.reading.reading)
    cache = _records(options)
    source = _source(options, plan, cache, part is not None)
    views = views_of(source, engine.elsewhere or part is not None)
    if options.against:
        from relrep_cli.cli.compare_differences import run_differences

        return run_differences(plan, views, options.against, options.repeats, targets, cache, options.dry_run, source.device)
    if options.dry_run:
        shared.plan(describe(plan if part is None else plan.part(part), views, max(1, engine.processes)))
        return DONE
    if part is not None:
        from relrep_cli.cli.compare_parts import run_part

        return run_part(source, views, cache, engine, part, targets)
    results = collect(plan, cache, outcomes_of(source, views, cache, engine))
    write_results(plan, results, views, targets, bool(options.recipe.anchors), options.explicit.command)
    cache.close(whole=not any("error" in r for r in results.records))
    return verdict(results.records, options.fail_under)


def _refused(options: Options) -> tuple[Targets, Plan]:
    """Where results go and what is computed. Raises UsageError for what does not go together, before files are read."""
    if options.diagnose or options.accept:
        from relrep_cli.cli.compare_diagnosis import refuse_other_options

        refuse_other_options(options.explicit.options, options.diagnose, options.accept)
    if options.against or options.repeats:
        from relrep_cli.cli.compare_differences import refuse_other_results

        refuse_other_results(options.explicit.options, options.against)
    targets, plan = _targets(options), _plan(options)
    targets.refuse([*plan.files, *options.recipe.files()], plan.files)
    if targets.is_report:
        from relrep_cli.cli.report_files import refuse_report

        asked = {"diagnose": options.diagnose, "against": options.against, "shard": options.running.shard}
        refuse_report(targets.output, targets.style, **asked)
    if options.against:
        from relrep_cli.comparison.reference_values import models_of

        models_of(plan, targets.look.file_named(options.against, plan.files))
    if options.running.part is not None and not options.diagnose:
        from relrep_cli.cli.compare_parts import refuse_of_part

        refuse_of_part(plan, targets, options.fail_under)
    return targets, plan


def _records(options: Options) -> Records:
    """The folder of finished tasks, beside the output or the part of it."""
    output, part = options.output, options.running.part
    if part is not None:
        from relrep_cli.cli.compare_parts import PART

        output = part.file(output, PART)
    return records_for(output, options.running.cache)


def _targets(options: Options) -> Targets:
    return Targets(
        output=options.output,
        per_row=options.per_row or "",
        plot=options.picture.plot,
        style=options.printing.style,
        force=options.force,
        look=options.picture.look(options.explicit.options),
        reading=options.reading.reading,
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
    called = dict(zip(options.picture.names, itertools.chain(*groups), strict=False))
    reference = called.get(options.reference or "", options.reference)
    plan = make_plan(groups, metrics, outputs, reference=reference, seed=options.seed, require_all=options.require_all)
    if is_report(options.output):
        from relrep_cli.cli.compare_report import with_summaries

        return with_summaries(plan, options.worst)
    return plan


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

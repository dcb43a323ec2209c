"""`stitch --cluster`, `stitch --shard` and `relrep merge`: a grid in other processes, in parts, and the whole of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, UsageError
from relrep_cli.base.output import Record, Style, say, write
from relrep_cli.base.registry import load_plugins
from relrep_cli.base.task_cache import Records, records_for
from relrep_cli.cli.engine_options import refuse_standard_input
from relrep_cli.cli.stitch_options import Options
from relrep_cli.cli.stitch_report import write_results
from relrep_cli.engine.jobs import Outcome, listening
from relrep_cli.engine.running import Engine, outcomes
from relrep_cli.engine.shards import Shard
from relrep_cli.reports.endings import is_report
from relrep_cli.stitching.grid_parts import GridPart, merged, refuse_other_parts, to_bytes
from relrep_cli.stitching.grid_results import Frame, collect
from relrep_cli.stitching.grid_run import COLUMNS, GridPlan, Session, frame_of, job_of, report

PART = ".part"
WHOLE_ONLY = {
    "--save-head": "save_head",
    "--save-aggregator": "save_aggregator",
    "--predictions": "predictions",
    "--adapt": "adapt",
}


def refuse_here_only(options: Options, part: Shard | None, engine: Engine) -> None:
    """Raise UsageError for what needs the heads themselves, which other processes train; and for what no part can make."""
    if part is None and not engine.elsewhere:
        return
    if part is not None:
        if is_report(options.output):
            raise UsageError(
                "--shard makes no report", "Name a table such as grid.tsv, or remove --shard.", file=options.output
            )
        if other := next((option for option, name in WHOLE_ONLY.items() if getattr(options, name)), ""):
            raise UsageError(f"--shard makes a part, and {other} needs the whole", f"Remove {other}, or use --cluster.")
        if options.picture.plot:
            raise UsageError("--shard makes a part, and --plot needs the whole", "Remove --plot.")
        if options.picture.names:
            raise UsageError("--shard makes a part, and --names needs the whole", "Remove --names.")
        if options.output in ("", "-"):
            raise UsageError("--shard writes a file for relrep merge", "Name the whole with -o, such as -o grid.tsv.")
    if engine.elsewhere:
        refuse_standard_input([*options.files, *options.recipe.files()])


def records_of_run(options: Options, part: Shard | None) -> Records:
    """Where finished cells are kept: in the folder of --cache; for a part, else in a hidden one beside it."""
    return records_for("" if part is None else part.file(options.output, PART), options.running.cache)


def session_of(options: Options) -> Session:
    """The state of a process of its own. The main process has printed the notes on the files."""
    from relrep_cli.cli.stitch import plan_of  # which imports this module

    load_plugins()
    with listening():
        plan = plan_of(options)
    assert isinstance(plan, GridPlan)
    return Session.of(plan.spaces, plan.settings)


def run_elsewhere(plan: GridPlan, options: Options, part: Shard | None, engine: Engine) -> int:
    """Fill the table in other processes, or write one part of it."""
    outputs = plan.outputs
    if (
        engine.elsewhere
        and any(m.trains for m in plan.settings.methods)
        and (outputs.head or outputs.vectors or outputs.aggregator)
    ):
        finding = "an aggregator that another process has trained cannot be written"
        raise UsageError(finding, "Remove --cluster, or leave out -o, --save-head and --save-aggregator.")
    if plan.spaces.target is None:  # only vectors are to be written
        return DONE if plan.run() == [] else DATA
    frame = frame_of(plan.spaces, plan.settings)
    report(plan.spaces)
    running = options.running if part is None else replace(options.running, shard=f"{part.number}/{part.count}")
    job = job_of(frame, f"{__name__}:session_of", replace(options, running=running, force=False, dry_run=False))
    if part is not None:
        job = replace(job, tasks=[job.tasks[place] for place in part.of(len(job.tasks))])
    if engine.elsewhere:
        plan.settings.cache.share()
    results = outcomes(job, engine, None if engine.elsewhere else Session.of(plan.spaces, plan.settings))
    if part is not None:
        return _write_part(plan, frame, part, list(results), options)
    records = plan.finish(collect(frame, results, plan.outputs.collect))
    write_results(options, plan, records)
    return _verdict(records, plan.failed, len(options.files))


def _write_part(plan: GridPlan, frame: Frame, part: Shard, own_outcomes: Sequence[Outcome], options: Options) -> int:
    target = part.file(options.output, PART)
    store.write_bytes(target, to_bytes(plan, frame, part, own_outcomes), options.force)
    plan.settings.cache.close()
    errors = dict.fromkeys(str(outcome.error) for outcome in own_outcomes if outcome.error is not None)
    for error in errors:
        say(error)
    say(f"{target}: {len(own_outcomes)} of {len(frame.grids) * len(frame.uris)} heads.")
    return DATA if errors or plan.failed else DONE


def merge_grids(parts: Sequence[GridPart], output: str, style: Style, force: bool) -> int:
    """Write the table of all parts, with the bytes that one run would have printed."""
    refuse_other_parts(parts)
    records, failed = merged(parts)
    if output and output != "-":
        store.write_bytes(output, store.encoded(output, [*records, *failed], COLUMNS, style), force)
    else:
        write([*records, *failed], COLUMNS, style)
    return _verdict(records, failed, len(failed) + len(parts[0].job["frame"]["uris"]))


def _verdict(records: Sequence[Record], failed: Sequence[Record], files: int) -> int:
    if failed:
        say(f"{len(failed)} of {files} files could not be used: see their error.")
    return DATA if failed or any("error" in r for r in records) else DONE

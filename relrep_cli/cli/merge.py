"""`relrep merge`: the whole of the parts that --shard has written."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from relrep_cli import store
from relrep_cli.base.errors import DONE, DataError, UsageError
from relrep_cli.cli import options as shared
from relrep_cli.cli.compare_outputs import Targets
from relrep_cli.cli.compare_parts import merge_parts
from relrep_cli.cli.options import Printing, command
from relrep_cli.comparison.parts import Part, from_bytes
from relrep_cli.relative.projected_parts import merge_files, read_part

TITLE = "What to merge"
COMMON = ("output", "force", "format", "dry_run")
EXAMPLES = (
    "relrep merge results.tsv.*-of-8.part -o results.tsv",
    "relrep merge a.rel.*-of-8.h5 -o a.rel.h5",
    "relrep merge results.tsv.*-of-8.part --json | jq '.[0]'",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[
        list[str], typer.Argument(metavar="PART...", help="All parts of one run, in any order.", show_default=False)
    ] = field(default_factory=list)
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under", help="Exit with 1 when a value is missing, or shows less agreement than this.", show_default=False
        ),
    ] = None
    output: shared.Output = ""
    force: shared.Force = False
    dry_run: shared.DryRun = False
    printing: Printing


@command(Options)
def merge(options: Options) -> int:
    """Make one result of the parts that runs with --shard have written.

    The result has the bytes that one run without --shard would have written. q-values are computed here, over all parts. Parts
    that are missing, that stand twice, or that come from other options or other files are refused.
    """
    if options.fail_under is not None and not math.isfinite(options.fail_under):
        raise UsageError(f"--fail-under is {options.fail_under}", "Give a finite number.")
    if not options.files:
        raise UsageError("no parts are named", "Name all files that --shard has written.")
    if options.dry_run:
        shared.plan([f"merge {len(options.files)} parts into {options.output or 'standard output'}"])
        return DONE
    if all(name.lower().endswith(store.HDF5) for name in options.files):
        if not options.output or options.fail_under is not None:
            raise UsageError("the parts are files of project", "Name the whole with -o FILE, and leave --fail-under out.")
        store.refuse(options.output, options.force, options.files, store.HDF5)
        merge_files([read_part(name) for name in options.files], options.output, options.force)
        return DONE
    targets = Targets(output=options.output, per_row="", plot="", style=options.printing.style, force=options.force)
    if targets.is_report:
        finding = "parts hold no row values, and a report shows them"
        raise UsageError(finding, "Name a table such as results.tsv.", file=options.output)
    targets.refuse(options.files)
    return merge_parts([_read(name) for name in options.files], targets, options.fail_under)


def _read(name: str) -> Part:
    try:
        return from_bytes(name, Path(name).read_bytes())
    except OSError as error:
        raise DataError(str(error.strerror), "Name a file that --shard has written.", file=name) from None

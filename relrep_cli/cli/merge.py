"""`relrep merge`: the whole of the parts that --shard has written."""

from __future__ import annotations

import json
import math
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import typer

from relrep_cli import store
from relrep_cli.base.errors import DONE, DataError, UsageError
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.cli import options as shared
from relrep_cli.cli.compare_outputs import Targets
from relrep_cli.cli.compare_parts import merge_parts
from relrep_cli.cli.options import Printing, command
from relrep_cli.cli.stitch_parts import merge_grids
from relrep_cli.comparison import run_parts as parts
from relrep_cli.engine.shards import HEAD, is_damaged
from relrep_cli.relative.projected_parts import merge_files, read_part
from relrep_cli.stitching import grid_parts
from relrep_cli.store.files import opened

TITLE = "What to merge"
EXAMPLES = (
    "relrep merge results.tsv.*-of-8.part -o results.tsv",
    "relrep merge grid.tsv.*-of-4.part -o grid.tsv",
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

    The result is byte for byte what one run without --shard would have written. q-values are computed here, over all parts.
    Missing or repeated parts, and parts from other options or other files, are refused.
    """
    if options.fail_under is not None and not math.isfinite(options.fail_under):
        raise UsageError(f"--fail-under is {options.fail_under}", "Give a finite number.")
    if not options.files:
        raise UsageError("no parts are named", "Name all files that --shard has written.")
    if options.dry_run:
        shared.plan([f"merge {len(options.files)} parts into {options.output or 'standard output'}"])
        return DONE
    if all(name.lower().endswith(store.HDF5) for name in options.files):
        read = [read_part(name) for name in options.files]
        if not options.output or options.fail_under is not None:
            raise UsageError("the parts are files of project", "Name the whole with -o FILE, and leave --fail-under out.")
        store.refuse(options.output, options.force, options.files, store.HDF5)
        merge_files(read, options.output, options.force)
        return DONE
    targets = Targets(output=options.output, per_row="", plot="", style=options.printing.style, force=options.force)
    if targets.is_report:
        finding = "parts hold no row values, and a report shows them"
        raise UsageError(finding, "Name a table such as results.tsv.", file=options.output)
    targets.refuse(options.files)
    contents = [_content(name) for name in options.files]
    kind = contents[0][HEAD]
    if other := next((name for name, one in zip(options.files, contents, strict=True) if one[HEAD] != kind), ""):
        finding = f"{options.files[0]} is of {kind}, and this is of another command"
        raise UsageError(finding, "Name the parts of one run.", file=other)
    named = list(zip(options.files, contents, strict=True))
    if kind == grid_parts.KIND:
        if options.fail_under is not None:
            raise UsageError("the parts are of stitch", "Leave --fail-under out.")
        return merge_grids([grid_parts.from_json(*one) for one in named], options.output, targets.style, options.force)
    return merge_parts([parts.from_json(*one) for one in named], targets, options.fail_under)


def _content(name: str) -> dict[str, Any]:
    """The content of a part. Raises DataError when it is none."""
    try:
        with opened(Path(name), "a part of a run") as file:
            content = json.loads(file.read() or b"")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get(HEAD) not in (parts.KIND, grid_parts.KIND):
        raise DataError("no part of a run", "Name files that --shard has written.", file=name)
    if is_damaged(content):
        raise DataError("damaged: it holds something else than was written", "Run its part again.", file=name)
    return content

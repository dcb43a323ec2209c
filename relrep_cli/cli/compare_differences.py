"""`relrep compare --against`: whether one model is closer to a reference than another one."""

from __future__ import annotations

from collections.abc import Mapping

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, UsageError
from relrep_cli.base.output import Record, Style, say, write
from relrep_cli.base.task_cache import Records
from relrep_cli.cli import options as shared
from relrep_cli.cli.compare_outputs import Targets
from relrep_cli.cli.picture_options import renamed
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.reference_values import COLUMNS, models_of, reference_differences
from relrep_cli.comparison.runs import Views
from relrep_cli.numerics.workspace import Workspace

APART = {
    "matrix",
    "plot",
    "worst",
    "per_row",
    "permutations",
    "fail_under",
    "least_recall",
    "per_class",
    "curve",
    "rows",
    "cluster",
    "shard",
    "log",
}  # ask for other results


def refuse_other_results(given: Mapping[str, str], against: str) -> None:
    """Raise UsageError for options that --against does not go with, or that need it. given: option as written by field."""
    if "repeats" in given and not against:
        raise UsageError("--repeats works only with --against", "Add --against all.")
    if against and (others := [option for name, option in given.items() if name in APART]):
        raise UsageError(f"{others[0]} does not go with --against", "Remove one of the two.")


def run_differences(
    plan: Plan, views: Views, against: str, repeats: str, targets: Targets, cache: Records, dry_run: bool, device: str
) -> int:
    """Subtract the values of the plan's models, write the result, and return the exit code. repeats: see --repeats.

    device: where neighbours are searched and moments added.
    """
    against = targets.look.file_named(against, plan.files)
    reference, models = models_of(plan, against)
    if dry_run:
        names = ", ".join(plan.metrics)
        shared.plan([f"compare {model} with {reference} by {names}, then subtract" for model in models])
        return DONE
    records = reference_differences(plan, dict(views), against, cache, Workspace.of_run(cache, device), repeats)
    write_differences(renamed(records, plan.files, targets.look.names), COLUMNS, targets.output, targets.style, targets.force)
    cache.close()
    broken = sum("error" in record for record in records)
    if broken:
        say(f"{broken} of {len(models)} models could not be used: see their error.")
    return DATA if broken else DONE


def write_differences(records: list[Record], known: tuple[str, ...], output: str, style: Style, force: bool) -> None:
    """Print the records, or write the file `output`. Columns that only some records have follow the known ones."""
    columns = [*known, *dict.fromkeys(key for record in records for key in record if key not in known)]
    if output and output != "-":
        store.write_bytes(output, store.encoded(output, records, columns, style), force)
    else:
        write(records, columns, style)

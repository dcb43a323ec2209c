"""`relrep cache`: folders of finished results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from math import isfinite
from typing import Annotated

import typer

from relrep_cli.base.cache_folders import Entry, entries, to_remove
from relrep_cli.base.errors import DataError, UsageError, WriteError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import Record, Style, say, write
from relrep_cli.cli.options import DryRun, Printing, command, plan

COLUMNS = ("kind", "version", "files", "bytes", "oldest", "newest")
DAMAGE = ("file", "bytes", "fault")
DAY = 86_400
TITLE = "What to do"
EXAMPLES = (
    "relrep cache results",
    "relrep cache results --check",
    "relrep cache results --prune --older-than 30 --dry-run",
    "relrep cache results --prune --max-mb 500",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder of --cache.", show_default=False)]
    check: Annotated[
        bool, typer.Option("--check", help="Read every record, and print those that are damaged; exit with 3 for any.")
    ] = False
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove damaged records, and what killed runs left behind more than a day ago.")
    ] = False
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", help="With --prune: also records older than DAYS.", metavar="DAYS", show_default=False),
    ] = None
    max_mb: Annotated[
        float | None,
        typer.Option("--max-mb", help="With --prune: also the oldest, until MB are left.", metavar="MB", show_default=False),
    ] = None
    dry_run: DryRun = False
    printing: Printing


@command(Options)
def cache(options: Options) -> None:
    """List, check or prune the finished results in a folder of --cache.

    Without an option, print how many records there are of each kind and version. Files that relrep did not write are counted
    as foreign and never removed. Runs that use the folder meanwhile compute again what they miss.
    """
    style = options.printing.style
    limits = {"--older-than": options.older_than, "--max-mb": options.max_mb}
    for name, value in limits.items():
        if value is not None and not options.prune:
            raise UsageError(f"{name} says what to prune", f"Add --prune, or remove {name}.")
        if value is not None and not (isfinite(value) and value >= 0):
            raise UsageError(f"{name} is {value}", "Give a number that is not negative.")
    if options.check and options.prune:
        raise UsageError("--check and --prune do not go together", "Choose one; --prune --dry-run prints what is damaged.")
    if options.dry_run and not options.prune:
        return plan([f"{'check' if options.check else 'list'} the records in {options.folder}"])
    listed = entries(options.folder, options.check or options.prune)
    if options.prune:
        return _prune(listed, options)
    if options.check:
        return _check(options.folder, listed, style)
    write(_summary(listed), COLUMNS, style)


def _summary(listed: Sequence[Entry]) -> list[Record]:
    """One record for each kind and version."""
    records: list[Record] = []
    ordered = sorted(listed, key=lambda e: (e.kind, e.version))
    for (name, version), group in groupby(ordered, key=lambda e: (e.kind, e.version)):
        some = list(group)
        times = [time.strftime("%Y-%m-%d %H:%M", time.localtime(t)) for t in (f(e.made for e in some) for f in (min, max))]
        total = sum(e.size for e in some)
        records.append(dict(zip(COLUMNS, (name, version or None, len(some), total, *times), strict=True)))
    return records


def _check(folder: str, listed: Sequence[Entry], style: Style) -> None:
    """Print the damaged records. Raises DataError when there are any."""
    bad, all_of_them = [e for e in listed if e.fault], [e for e in listed if e.version]
    write([{"file": str(e.path), "bytes": e.size, "fault": e.fault} for e in bad], DAMAGE, style)
    if bad:
        raise DataError(
            f"{len(bad)} of {len(all_of_them)} records cannot be used",
            "relrep does their tasks again; --prune removes them.",
            file=folder,
        )
    say(f"{folder}: {len(all_of_them)} records, all sound.")


def _prune(listed: Sequence[Entry], options: Options) -> None:
    """Remove files, or print which. Raises WriteError when one cannot be removed."""
    older = None if options.older_than is None else options.older_than * DAY
    gone = to_remove(listed, older, None if options.max_mb is None else options.max_mb * 1e6)
    size = sum(e.size for e in gone) / 1e6
    if options.dry_run:
        why = [f" ({e.fault})" if e.fault else "" for e in gone]
        return plan([f"remove {printable(str(e.path), 1000)}{w}" for e, w in zip(gone, why, strict=True)])
    for e in gone:
        try:
            e.path.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(
                f"cannot be removed: {error.strerror}", "Change the permissions of its folder.", file=str(e.path)
            ) from None
    say(f"{options.folder}: {len(gone)} of {len(listed)} files removed, {size:.1f} MB.")

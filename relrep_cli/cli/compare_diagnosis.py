"""`relrep compare --diagnose`: which relation lies between two files."""

from __future__ import annotations

from collections.abc import Mapping

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, NO, UsageError
from relrep_cli.base.lazy_dataclasses import fields
from relrep_cli.base.output import Record, say, write
from relrep_cli.cli import options as shared
from relrep_cli.cli.compare_outputs import Targets
from relrep_cli.cli.picture_options import renamed
from relrep_cli.cli.reading_options import TrustingOptions
from relrep_cli.comparison.diagnosis_records import (
    COLUMNS,
    ITEM_COLUMNS,
    PairDiagnosis,
    check_relation,
    diagnose_pairs,
    items_that_differ,
)
from relrep_cli.comparison.plans import Plan
from relrep_cli.relative.file_views import views_of_files
from relrep_cli.store.reading import Reading

TAKEN = {
    "files",
    "diagnose",
    "accept",
    "split",
    "require_all",
    "reference",
    "worst",
    "called",
    "output",
    "force",
    "dry_run",
    "seed",
}
TAKEN |= {"format", "json", "safe_csv", "threads", "quiet", "verbose", "debug"}
TAKEN |= {field.name for field in fields(TrustingOptions)}


def refuse_other_options(given: Mapping[str, str], diagnose: bool, accept: str | None) -> None:
    """Raise UsageError for options that go without --diagnose only, or with it only. given: option as written by field."""
    if accept and not diagnose:
        raise UsageError("--accept says which relation is good enough, and needs --diagnose", "Add --diagnose.")
    if accept:
        check_relation(accept)
    if diagnose and (others := [option for name, option in given.items() if name not in TAKEN]):
        raise UsageError(f"{others[0]} does not go with --diagnose", "Remove one of the two.")


def run_diagnosis(plan: Plan, split: str | None, targets: Targets, accept: str | None, dry_run: bool, reading: Reading) -> int:
    """Diagnose the pairs of the plan, write the result, and return the exit code."""
    if dry_run:
        shared.plan([f"diagnose {a} and {b}" for a, b in plan.pairs])
        return DONE
    views, names = views_of_files(plan.files, split, [], False, reading), targets.look.names
    diagnoses = diagnose_pairs(plan.pairs, views, plan.require_all, plan.seed)
    if plan.outputs.worst:
        records, notes = items_that_differ(diagnoses, plan.outputs.worst, views)
        for note in notes:
            say(note)
        _write(
            renamed(records, plan.files, names),
            [c for c in ITEM_COLUMNS if c != "label" or any(c in r for r in records)],
            targets,
        )
    else:
        records = [record for one in diagnoses for record in one.records()]
        _write(renamed(records, plan.files, names), list(COLUMNS), targets)
    return _verdict(diagnoses, accept)


def _write(records: list[Record], columns: list[str], targets: Targets) -> None:
    if targets.output and targets.output != "-":
        content = store.encoded(targets.output, records, columns, targets.style)
        store.write_bytes(targets.output, content, targets.force)
    else:
        write(records, columns, targets.style)


def _verdict(diagnoses: list[PairDiagnosis], accept: str | None) -> int:
    """DATA when a pair could not be diagnosed, NO when a relation is not accepted, else DONE. Prints why."""
    broken = sum(one.diagnosis is None for one in diagnoses)
    if broken:
        say(f"{broken} of {len(diagnoses)} pairs could not be diagnosed: see their error.")
    missed = [one for one in diagnoses if accept and one.diagnosis and not one.meets(accept)]
    for one in missed:
        assert one.diagnosis is not None
        say(f"{one.a} and {one.b}: {one.diagnosis.relation}, which is not {accept} or simpler.")
    return DATA if broken else NO if missed else DONE

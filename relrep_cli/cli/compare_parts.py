"""`compare --shard` and `relrep merge`: a comparison in parts, and the whole of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, UsageError
from relrep_cli.base.output import say
from relrep_cli.base.task_cache import Records
from relrep_cli.cli.compare_outputs import Targets, verdict, write_results
from relrep_cli.cli.compare_session import Source, outcomes_of
from relrep_cli.comparison.plans import Plan
from relrep_cli.comparison.run_parts import Part, outcomes_of_parts, plan_of, refuse_other_parts, to_bytes
from relrep_cli.comparison.runs import Views, collect
from relrep_cli.engine.running import Engine
from relrep_cli.engine.shards import Shard

PART = ".part"
NOT_OF_A_PART = {"--per-row": "row_table", "--worst": "worst", "--plot": "heatmap", "--plot ": "distributions"}


def refuse_of_part(plan: Plan, targets: Targets, fail_under: float | None) -> None:
    """Raise UsageError for outputs that a part cannot make."""
    for option, output in NOT_OF_A_PART.items():
        if getattr(plan.outputs, output):
            raise UsageError(f"--shard makes a part, and {option.strip()} needs the whole", f"Remove {option.strip()}.")
    if targets.look.names:
        raise UsageError("--shard makes a part, and --names needs the whole", "Remove --names.")
    if fail_under is not None:
        raise UsageError("--shard makes a part, and --fail-under needs the whole", "Give --fail-under to relrep merge.")
    if not targets.output or targets.output == "-":
        raise UsageError("--shard writes a file for relrep merge", "Name the whole with -o, such as -o results.tsv.")


def run_part(source: Source, views: Views, cache: Records, engine: Engine, shard: Shard, targets: Targets) -> int:
    """Measure the pairs of one part, and write it beside where the whole will be."""
    whole = source.plan
    own_outcomes = list(outcomes_of(replace(source, plan=whole.part(shard)), views, cache, engine))
    target = shard.file(targets.output, PART)
    settings: dict[str, Any] = {
        "split": source.split,
        "recipe": asdict(source.recipe),
        "options": sorted((*key, repr(value)) for key, value in source.given.values.items() if value is not None),
        "reading": asdict(source.reading),
    }
    errors = [outcome.error for outcome in own_outcomes if outcome.error is not None]
    for error in dict.fromkeys(map(str, errors)):
        say(error)
    note = f"{len(own_outcomes)} of {len(whole.pairs)} pairs."
    store.write_bytes(target, to_bytes(whole, shard, settings, own_outcomes), targets.force, note)
    cache.close(whole=not errors)
    return DATA if errors else DONE


def merge_parts(parts: Sequence[Part], targets: Targets, fail_under: float | None) -> int:
    """Write the whole of all parts, with the bytes that one run would have written."""
    refuse_other_parts(parts)
    plan = plan_of(parts[0])
    results = collect(plan, Records(None), outcomes_of_parts(plan, parts))
    write_results(plan, results, {}, targets, bool(parts[0].job["recipe"]["anchors"]))
    return verdict(results.records, fail_under)

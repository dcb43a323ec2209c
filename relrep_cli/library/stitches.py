"""Stitching: the function of the library. It takes paths, arrays or Embeddings, and runs the core that `relrep stitch` runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from relrep_cli.base.errors import unknown
from relrep_cli.base.output import say
from relrep_cli.base.task_cache import Records
from relrep_cli.heads.heads import HEADS
from relrep_cli.library.call_parts import Names, check_numbers, named_spaces, names_of, recipe_of, results_of, with_columns
from relrep_cli.library.given_spaces import Column, Space
from relrep_cli.library.result_tables import Results, notes_kept
from relrep_cli.library.wording import speaks_python
from relrep_cli.stitching import grid_summary
from relrep_cli.stitching.grid_run import COLUMNS, Run, records_of
from relrep_cli.stitching.methods import SIMILARITY, USUAL, MethodChoice, methods
from relrep_cli.stitching.spaces import Column as Target
from relrep_cli.stitching.spaces import Division, spaces_of
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES


@speaks_python
def stitch(
    *spaces: Space,
    anchors: Any = None,
    labels: Column | None = None,
    split: Column | None = None,
    target: str = "label",
    method: Names = (),
    head: Names = "linear",
    similarity: Names = (),
    aggregate: Names = ("concat", "sum", "mean"),
    test_size: float | None = None,
    allow_test_anchors: bool = False,
    seeds: int = 1,
    seed: int = 0,
    device: str = "cpu",
    recipe: Mapping[str, Any] | None = None,
    **options: Any,
) -> Results:
    """Train a head on each space and run it on every other, as `relrep stitch` does.

    spaces: two or more; see `as_embedding`. anchors: ids, row numbers, or an anchor file; needed but for method "absolute".
    labels, split: (n,) of the first space, for arrays. target: the column that heads predict.
    method, head: names, or several; no method means the usual ones, with the centred cosine as the relative one.
    recipe: how to project, see `project`.
    test_size: share of test rows where no space has a split. options: of heads and translators.

    Returns one record for each encoder, head and method; `stitching_index` is the stitched score over the end-to-end score.

    Raises UsageError for an unknown name or option; DataError when a test item is a training item elsewhere, or an anchor.
    """
    check_numbers(seed=seed)
    methods_named, heads = names_of(method), names_of(head)
    given = _by_registry(options)
    choice = MethodChoice(methods_named or USUAL, names_of(aggregate), {})
    for kind, registry in (("translators", TRANSLATORS), ("universes", UNIVERSES)):
        if named := [name for name in choice.families if name in registry]:
            choice = replace(choice, translators={**choice.translators, **registry.choose(named, given[kind])})
    how: dict[str, Any] = {"similarity": names_of(similarity) or SIMILARITY, **(recipe or {})}
    if not methods_named and not names_of(similarity) and not recipe:
        how = {"similarity": "cosine", "center": True}
    made = None if anchors is None else recipe_of(anchors, **how)
    with notes_kept() as notes:
        es = named_spaces(list(spaces), [], labels, split)
        es = [with_columns(e, es[0], (target, "split")) for e in es]
        division = Division(test_size, seed, allow_test_anchors)
        joined = spaces_of(es, made, Target(target), division)
        settings = Run(
            methods(choice, made),
            HEADS.choose(heads, given["heads"]),
            range(seed, seed + seeds),
            device,
            Records(None),
            _ignore,
        )
        records = records_of(joined, settings)
        for line in grid_summary.lines(records):
            say(line)
    return results_of(records, notes, COLUMNS)


_REGISTRIES: dict[str, Any] = {"heads": HEADS, "translators": TRANSLATORS, "universes": UNIVERSES}


def _by_registry(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The options that each registry knows. Raises UsageError for one that none does."""
    given = {kind: {k: v for k, v in options.items() if k in registry.keywords()} for kind, registry in _REGISTRIES.items()}
    if wrong := next((name for name in options if not any(name in known for known in given.values())), ""):
        known = [name for registry in _REGISTRIES.values() for name in registry.keywords()]
        raise unknown("option of a head, translator or universe", wrong, known)
    return given


def _ignore(*_: Any) -> None:
    return None

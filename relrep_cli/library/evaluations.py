"""Evaluations of one space: the function of the library. It runs the core that `relrep evaluate` runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from relrep_cli.base.errors import UsageError
from relrep_cli.embedding import Embedding
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.asked_queries import AskedQueries
from relrep_cli.evaluations.file_differences import COLUMNS as DIFFERENCE_COLUMNS
from relrep_cli.evaluations.file_differences import check_against, file_differences
from relrep_cli.evaluations.several_files import (
    ALL,
    COMPRESSING,
    COMPRESSION,
    FOREIGN,
    SEARCH,
    EvaluationPlan,
    Extras,
    named_tasks,
    records_of_space,
    side_by_side,
)
from relrep_cli.library.call_parts import Names, flat_spaces, name_of, names_of, results_of, with_columns
from relrep_cli.library.given_queries import queries_of_each, relevant_pairs
from relrep_cli.library.given_spaces import Column, Space, Spaces, as_embedding
from relrep_cli.library.result_tables import Results, notes_kept
from relrep_cli.library.wording import speaks_python
from relrep_cli.numerics.devices import chosen


@speaks_python
def evaluate(
    *spaces: Spaces,
    task: Names = "all",
    target: Names = "label",
    labels: Column | None = None,
    split: str = "",
    holdout: float = 0.0,
    anomalies: Space | None = None,
    score_column: str = "",
    reference: Space | None = None,
    queries: Space | Sequence[Space] | None = None,
    relevant: Any = None,
    per_class: bool = False,
    against: str | int = "",
    seed: int = 0,
    device: str = "cpu",
    **options: Any,
) -> Results:
    """Find out what a space is good for, as `relrep evaluate` does.

    spaces: one or more; see `as_embedding`. task: a name, "all", or several. target: columns with the class or number of each
    item. labels: (n,) of the first space, and of others with the same ids. split: score the rows of this split; "" means test.
    holdout: score this share of the rows of a space without splits. anomalies: items that do not belong, in the same space.
    score_column: says how odd an item is, instead of distances. reference: for task foreign, rows surely of one model.
    queries: for task search, vectors of the same space: one for all spaces, a list with one for each, or several for one space.
    relevant: which items are relevant to them: a file, pairs of ids (query, item), or a mapping from a query to an item, to
    several, or to their grades. per_class: add the values of each class. against: the place of a space among `spaces` (of
    queries, where several search one space), its name, or "all": subtract its values from those of the others. device: where
    large products are computed, such as "cuda" or "auto". options: of the tasks, such as k.

    Returns one record for each space and thing measured; with against, one for each difference, with interval, p and q.

    Raises UsageError for an unknown task or option; DataError where a space lacks what a named task needs.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> records = evaluate(x, labels=x[:, 0] > 0, task="knn", holdout=0.5)
    >>> [r.name for r in records], records[0].n
    (['accuracy', 'f1'], 30)
    """
    if score_column and anomalies is None:
        raise UsageError("score_column needs anomalies", "Give anomalies, or leave score_column out.")
    es = flat_spaces(spaces, labels)
    names = names_of(task)
    wanted = named_tasks(names, bool(COMPRESSING & set(options)), reference is not None, queries is not None)
    tasks = EVALUATIONS.choose(wanted, options)
    searches = _searches(queries_of_each(queries, len(es)), relevant, SEARCH in tasks)
    if reference is not None and FOREIGN not in tasks:
        raise UsageError("reference works only with task foreign", 'Write task="foreign", or leave it out.')
    odd = [] if anomalies is None else [as_embedding(anomalies, name="anomalies")]
    clean = None if reference is None else as_embedding(reference, name="reference")
    skips = ALL in names and not {COMPRESSION, SEARCH} & set(tasks)
    plan = EvaluationPlan(
        [e.uri for e in es], [[]] * len(es), tasks, names_of(target), split, holdout, seed, score_column, skips, per_class,
        reference="" if clean is None else clean.uri, queries=[[one.e.uri for one in own] for own in searches],
        device=chosen(device),
    )  # fmt: skip
    return _results(replace(plan, against=name_of(against, plan.compared)), es, odd, clean, searches)


def _results(
    plan: EvaluationPlan,
    es: Sequence[Embedding],
    odd: Sequence[Embedding],
    clean: Embedding | None,
    searches: Sequence[Sequence[AskedQueries]],
) -> Results:
    """Run the plan on its spaces. searches: the queries of each."""
    if plan.against:
        check_against(plan.against, plan.compared)
        if plan.per_class:
            raise UsageError("per_class does not go with against", "Leave one out.")
    with notes_kept() as notes:
        extras, records = Extras(), []
        for e, own in zip(_with_targets(es, plan.targets), searches, strict=True):
            records += records_of_space(e, odd, clean, plan, extras, _ignore, own)
    if plan.against:
        differences = file_differences(extras.findings, plan.compared, plan.against, plan.seed)
        return results_of(differences, notes, DIFFERENCE_COLUMNS)
    return results_of(side_by_side(records), notes, plan.columns)


def _searches(queries: Sequence[Sequence[Embedding]], relevant: Any, is_task: bool) -> list[list[AskedQueries]]:
    """The queries of each space with what is relevant to them. Raises UsageError where one of both is missing, or the task."""
    asked = any(queries)
    if asked != (relevant is not None) or (asked and not is_task):
        raise UsageError("queries and relevant go together, with task search", "Give both, or leave both out.")
    pairs = relevant_pairs(relevant) if asked else None
    return [[AskedQueries(one, pairs, "relevant") for one in own] if pairs else [] for own in queries]


def _with_targets(es: Sequence[Embedding], targets: Sequence[str]) -> list[Embedding]:
    return [with_columns(e, es[0], (*targets, "split")) for e in es]


def _ignore(done: float) -> None:
    return None

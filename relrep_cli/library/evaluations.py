"""Evaluations of one space: the function of the library. It runs the core that `relrep evaluate` runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relrep_cli.base.errors import UsageError
from relrep_cli.embedding import Embedding
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.file_differences import COLUMNS as DIFFERENCE_COLUMNS
from relrep_cli.evaluations.file_differences import check_against, file_differences
from relrep_cli.evaluations.several_files import (
    ALL,
    COMPRESSING,
    COMPRESSION,
    FOREIGN,
    EvaluationPlan,
    Extras,
    named_tasks,
    records_of_space,
    side_by_side,
)
from relrep_cli.library.call_parts import Names, flat_spaces, name_of, names_of, results_of, with_columns
from relrep_cli.library.given_spaces import Column, Space, Spaces, as_embedding
from relrep_cli.library.result_tables import Results, notes_kept
from relrep_cli.library.wording import speaks_python


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
    per_class: bool = False,
    against: str | int = "",
    seed: int = 0,
    **options: Any,
) -> Results:
    """Find out what a space is good for, as `relrep evaluate` does.

    spaces: one or more; see `as_embedding`. task: a name, "all", or several. target: columns with the class or number of each
    item. labels: (n,) of the first space, and of others with the same ids. split: score the rows of this split; "" means test.
    holdout: score this share of the rows of a space without splits. anomalies: items that do not belong, in the same space.
    score_column: says how odd an item is, instead of distances. reference: for task foreign, rows surely of one model.
    per_class: add the values of each class. against: the place of a space among `spaces`, its name, or "all": subtract its
    values from those of the others. options: of the tasks, such as k.

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
    named = name_of(against, [e.uri for e in es])
    if named:
        check_against(named, [e.uri for e in es])
        if per_class:
            raise UsageError("per_class does not go with against", "Leave one out.")
    names = names_of(task)
    tasks = EVALUATIONS.choose(named_tasks(names, bool(COMPRESSING & set(options)), reference is not None), options)
    if reference is not None and FOREIGN not in tasks:
        raise UsageError("reference works only with task foreign", 'Write task="foreign", or leave it out.')
    odd = [] if anomalies is None else [as_embedding(anomalies, name="anomalies")]
    clean = None if reference is None else as_embedding(reference, name="reference")
    skips = ALL in names and COMPRESSION not in tasks
    plan = EvaluationPlan(
        [e.uri for e in es], [[]] * len(es), tasks, names_of(target), split, holdout, seed, score_column, skips, per_class,
        reference="" if clean is None else clean.uri, against=named,
    )  # fmt: skip
    with notes_kept() as notes:
        extras = Extras()
        records = [r for e in _with_targets(es, plan.targets) for r in records_of_space(e, odd, clean, plan, extras, _ignore)]
    if named:
        differences = file_differences(extras.findings, plan.files, named, seed)
        return results_of(differences, notes, DIFFERENCE_COLUMNS)
    return results_of(side_by_side(records), notes, plan.columns)


def _with_targets(es: Sequence[Embedding], targets: Sequence[str]) -> list[Embedding]:
    return [with_columns(e, es[0], (*targets, "split")) for e in es]


def _ignore(done: float) -> None:
    return None

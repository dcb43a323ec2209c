"""Evaluate several files by several tasks, and put the records of one thing side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import field, replace
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, NotApplicable, UsageError, printable
from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.base.output import say
from relrep_cli.base.registry import load_plugins
from relrep_cli.comparison.low_dims import by_angle, hint
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.embedding import Embedding, bare_name, in_id_order
from relrep_cli.engine.jobs import Advance, Job, Task
from relrep_cli.engine.running import HERE, Engine, outcomes
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.asked_queries import AskedQueries
from relrep_cli.evaluations.file_differences import Judged, judged
from relrep_cli.evaluations.finding_details import KEYS, details_of_findings
from relrep_cli.evaluations.finding_records import records
from relrep_cli.evaluations.findings import COLUMNS, Finding, Record, Space, evaluate, prepare
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.numerics.spool import spool
from relrep_cli.numerics.whitening import unit_of
from relrep_cli.reports.item_details import Details
from relrep_cli.store.reading import PLAIN, Reading

ALL, COMPRESSION, FOREIGN, SEARCH = "all", "compression", "foreign", "search"
COMPRESSING = {"dims", "dtype"}  # options that ask for task compression


@dataclass(frozen=True)
class Extras:
    """What goes elsewhere than into the records. curves: findings with a curve, by their name in the plot. items: records of
    the judged items of all files. findings: all of them, where the plan compares files; there are no records then. details:
    what is behind each value, by file and KEYS, where the plan asks for it."""

    curves: dict[str, Finding] = field(default_factory=dict)
    items: list[Record] = field(default_factory=list)
    findings: list[Judged] = field(default_factory=list)
    details: dict[tuple[Any, ...], Details] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationPlan:
    """The files to evaluate, and how.

    anomalies: the files of anomalies of each file. tasks: params by name. targets: columns of classes or numbers. split,
    holdout: see prepare. score: column that says how odd an item is, "" for distances. skips: whether a task that a file is
    not fit for is left out, instead of being an error. against: the file whose values are subtracted from those of the others,
    or `all`; "" for none. reports: whether details of the values are kept, for a report. device: where neighbours are
    searched. queries: the files of queries of each file. relevant: ids of queries, and of the items that are relevant to them,
    from the file `relevance`.
    """

    files: Sequence[str]
    anomalies: Sequence[Sequence[str]]
    tasks: Mapping[str, Mapping[str, Any]]
    targets: Sequence[str]
    split: str = ""
    holdout: float = 0.0
    seed: int = 0
    score: str = ""
    skips: bool = False
    per_class: bool = False
    reading: Reading = PLAIN
    reference: str = ""
    against: str = ""
    reports: bool = False
    device: str = "cpu"
    queries: Sequence[Sequence[str]] = ()
    relevant: tuple[np.ndarray, np.ndarray] | None = None
    relevance: str = ""

    @property
    def compared(self) -> Sequence[str]:
        """What `against` is one of: the files; or the files of queries where several search one file."""
        return self.queries[0] if len(self.files) == 1 and self.queries and len(self.queries[0]) > 1 else self.files

    @property
    def columns(self) -> list[str]:
        """The columns of the table."""
        return [*COLUMNS, *(["class"] if self.per_class else []), *(["target"] if len(self.targets) > 1 else [])]

    def run(self, engine: Engine = HERE) -> tuple[list[Record], Extras]:
        """The records of all files in their order, and what goes into files of its own. Each file is a task of a job.

        A file that cannot be used becomes a record with its error; a single file raises it.
        """
        tasks = [Task((number,), file) for number, file in enumerate(self.files)]
        job = Job("evaluating", f"{__name__}:evaluate_file", f"{__name__}:plan_of_process", self, tasks)
        results: list[Record] = []
        extras = Extras()
        for file, outcome in zip(self.files, outcomes(job, engine, self), strict=True):
            if outcome.error is not None:
                if len(self.files) == 1 or not isinstance(outcome.error, DataError):
                    raise outcome.error
                results.append(dict.fromkeys(self.columns) | {"file": file, "error": str(outcome.error)})
                continue
            records, own = outcome.result
            results += records
            extras.curves.update(own.curves)
            extras.items.extend(own.items)
            extras.findings.extend(own.findings)
            extras.details.update(own.details)
        return results, extras


def plan_of_process(plan: EvaluationPlan) -> EvaluationPlan:
    """The state of a process of its own: the plan, whose tasks may come from plugins."""
    load_plugins()
    return plan


def evaluate_file(plan: EvaluationPlan, advance: Advance, number: int) -> tuple[list[Record], Extras]:
    """The records of one file, and its extras. Raises DataError when it cannot be used."""
    extras = Extras()
    return _of_file(number, plan, extras, advance), extras


def files_of_each(option: str, given: list[str], count: int) -> list[list[str]]:
    """What an option gives each of `count` files: one file for all, one for each, or several for one. Raises UsageError."""
    if count == 1 or len(given) < 2:
        return [given] * count
    if len(given) != count:
        raise UsageError(f"{option} names {len(given)} files for {count}", "Name one for all, or one for each.")
    return [[own] for own in given]


def _of_file(number: int, plan: EvaluationPlan, extras: Extras, advance: Advance) -> list[Record]:
    """All records of one file. Raises DataError when it cannot be used."""
    e, odd = store.read(plan.files[number], plan.reading), [store.read(name) for name in plan.anomalies[number]]
    clean = store.read(plan.reference) if plan.reference else None
    return records_of_space(e, odd, clean, plan, extras, advance, queries_of(plan, number))


def queries_of(plan: EvaluationPlan, number: int) -> list[AskedQueries]:
    """The queries of a file of the plan."""
    if plan.relevant is None:
        return []
    return [AskedQueries(store.read(name), plan.relevant, plan.relevance) for name in plan.queries[number]]


def records_of_space(
    e: Embedding,
    odd: Sequence[Embedding],
    clean: Embedding | None,
    plan: EvaluationPlan,
    extras: Extras,
    advance: Advance,
    asked: Sequence[AskedQueries] = (),
) -> list[Record]:
    """All records of one space. odd: its anomalies. clean: a reference of the same space. asked: queries of the same space."""
    unit, (e, *more) = _in_one_unit([in_id_order(one) for one in (e, *odd, *(one.e for one in asked))])
    odd = more[: len(odd)]
    asked = [replace(one, e=queries) for one, queries in zip(asked, more[len(odd) :], strict=True)]
    if note := hint(e, by_angle(EVALUATIONS, {} if plan.skips else plan.tasks)):
        say(note)
    for o in odd if not plan.score else []:
        if e.space != o.space:
            spaces = f"spaces {_space(e)} and {_space(o)}"
            say(f"{e.uri} and {o.uri} ({spaces}): different spaces, so distances between them mean little.")
    return list(_of_targets(e, odd, clean and in_id_order(clean), asked, unit, plan, extras, advance))


def named_tasks(names: Sequence[str], compresses: bool, has_reference: bool, has_queries: bool) -> list[str]:
    """The tasks behind `all`. compresses: whether an option of task compression is given.

    compression changes the vectors, so it runs only when it is asked for; its options ask for it alone. So do queries for
    search.
    """
    if ALL not in names:
        return list(names)
    if compresses or has_queries:
        return [name for name, wanted in ((COMPRESSION, compresses), (SEARCH, has_queries)) if wanted]
    unasked = {COMPRESSION, SEARCH} if has_reference else {COMPRESSION, SEARCH, FOREIGN}
    return [name for name in EVALUATIONS if name not in unasked]


def _in_one_unit(embeddings: list[Embedding]) -> tuple[float, list[Embedding]]:
    """The files with vectors whose squares fit into float64, and the common power of two that was divided out."""
    unit = unit_of(e.x[block] for e in embeddings for block in row_blocks(*e.x.shape, e.x))
    if unit == 1:
        return 1.0, embeddings
    smaller = []
    for e in embeddings:
        x = spool(e.x.shape, np.dtype(np.float64))
        for block in row_blocks(*x.shape, e.x, x):
            x[block] = e.x[block] / unit
        smaller.append(replace(e, x=x, digest="", claim=None))
    return unit, smaller


def _space(e: Embedding) -> str:
    return printable(e.space) or "an unnamed one"


def _of_targets(
    e: Embedding,
    odd: Sequence[Embedding],
    clean: Embedding | None,
    asked: Sequence[AskedQueries],
    unit: float,
    plan: EvaluationPlan,
    extras: Extras,
    advance: Advance,
) -> Iterator[Record]:
    """Each task with each column of classes, and with each file of anomalies or queries, where it reads them."""
    tasks = [(t, n) for t in plan.targets for n in plan.tasks if EVALUATIONS[n].labels or t == plan.targets[0]]
    for place, (target, name) in enumerate(tasks):
        advance(place / len(tasks))
        if target != "label":
            e.column(target)
        for strange, asking in _beside(EVALUATIONS[name].needs, odd, asked):
            space = prepared_space(e, target, strange, asking, plan)
            space = replace(space, unit=unit, reference=clean or (None if plan.skips else e))
            findings = _findings(e.uri, space, name, plan)
            extra = {"target": target if EVALUATIONS[name].labels else None} if len(plan.targets) > 1 else {}
            extra |= {"anomalies": strange.uri if strange else None} if len(odd) > 1 else {}
            by = {"queries": asking.e.uri if asking else None} if len(asked) > 1 else {}
            extras.curves.update((_curve_name(e, strange, odd), f) for f in findings if f.curve is not None)
            extras.items.extend({"file": e.uri} | by | dict(item) for f in findings for item in f.items or ())
            if plan.against:
                compared = asking.e.uri if asking and len(asked) > 1 else e.uri
                kept = [f for f in findings if f.ids is not None or name != SEARCH]  # a threshold has no paired difference
                extras.findings.extend(judged({"task": name, "name": f.name} | extra, compared, f, plan.seed) for f in kept)
                continue
            if plan.reports:
                extras.details.update(details_of_findings(e.uri, name, findings, space, extra | by))
            for record in records(e.uri, name, findings, space.classes, plan.seed, plan.per_class):
                yield record | extra | by


def _beside(
    needs: Set[str], odd: Sequence[Embedding], asked: Sequence[AskedQueries]
) -> Sequence[tuple[Embedding | None, AskedQueries | None]]:
    """The anomalies or queries of each run of a task; none for one that reads neither."""
    if "anomalies" in needs and odd:
        return [(one, None) for one in odd]
    return [(None, one) for one in asked] if "queries" in needs and asked else [(None, None)]


def prepared_space(
    e: Embedding, target: str, strange: Embedding | None, asking: AskedQueries | None, plan: EvaluationPlan
) -> Space:
    """The space as a task reads it. Queries search a whole index, unless the user names a split."""
    split, holdout = (plan.split, plan.holdout) if asking is None else (plan.split or "all", 0.0)
    space = prepare(e, target, split, holdout, plan.seed, strange, plan.score, plan.device)
    return replace(space, queries=asking)


def _curve_name(e: Embedding, strange: Embedding | None, odd: Sequence[Embedding]) -> str:
    if strange is None or len(odd) < 2:
        return e.uri
    return f"{bare_name(e.uri)} against {short_names([o.uri for o in odd])[strange.uri]}"


def _findings(file: str, space: Space, name: str, plan: EvaluationPlan) -> list[Finding]:
    if plan.skips and not space.suits(EVALUATIONS[name].needs):
        return []
    try:
        return evaluate(space, name, plan.tasks[name], plan.seed)
    except (NotApplicable, UsageError) as error:  # a UsageError: this file is too small for --k
        reason = str(error).removesuffix(".")
        if plan.skips:
            say(f"{file}: {name} is left out: {reason}.")
            return []
        remedy = error.remedy if isinstance(error, UsageError) else ""
        if not remedy and space.codes is None and space.numbers is None and "labels" in EVALUATIONS[name].needs:
            remedy = "Name one with --target, or add labels with relrep embed --labels."
        finding = error.finding if isinstance(error, UsageError) else reason
        raise DataError(finding, remedy, file=file, place=name) from None


def side_by_side(records: Sequence[Record]) -> list[Record]:
    """The records ordered by what they measure, then by file; records of errors at the end."""
    keys = [tuple(r.get(c) for c in KEYS) for r in records]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    order = np.argsort([len(places) if "error" in r else places[k] for r, k in zip(records, keys, strict=True)], kind="stable")
    return [records[i] for i in order]

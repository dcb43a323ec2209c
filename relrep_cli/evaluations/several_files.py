"""Evaluate several files by several tasks, and put the records of one thing side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from relrep_cli import store
from relrep_cli.base.errors import DataError, NotApplicable, UsageError, printable
from relrep_cli.base.output import say
from relrep_cli.base.registry import load_plugins
from relrep_cli.comparison.low_dims import by_angle, hint
from relrep_cli.comparison.shown_names import short_names
from relrep_cli.embedding import Embedding, bare_name, in_id_order
from relrep_cli.engine.jobs import Advance, Job, Task
from relrep_cli.engine.running import HERE, Engine, outcomes
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.file_differences import Judged, judged
from relrep_cli.evaluations.finding_records import records
from relrep_cli.evaluations.findings import COLUMNS, Finding, Record, Space, evaluate, prepare
from relrep_cli.numerics.blocks import row_blocks
from relrep_cli.numerics.spool import spool
from relrep_cli.numerics.whitening import unit_of
from relrep_cli.reports.item_details import NOTHING, WORST, Details, Judgement, details_of, thinned
from relrep_cli.store.reading import PLAIN, Reading

ALL, COMPRESSION, FOREIGN = "all", "compression", "foreign"
COMPRESSING = {"dims", "dtype"}  # options that ask for task compression
KEYS = ("task", "target", "anomalies", "name", "class")  # what a value is of, beside its file


@dataclass(frozen=True)
class Extras:
    """What goes elsewhere than into the records. curves: findings with a curve, by their name in the plot. items: records of
    the judged items, by file. findings: all of them, where the plan compares files; there are no records then. details: what
    is behind each value, by file and KEYS, where the plan asks for it."""

    curves: dict[str, Finding] = field(default_factory=dict)
    items: dict[str, Sequence[Record]] = field(default_factory=dict)
    findings: list[Judged] = field(default_factory=list)
    details: dict[tuple[Any, ...], Details] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationPlan:
    """The files to evaluate, and how.

    anomalies: the files of anomalies of each file. tasks: params by name. targets: columns of classes or numbers. split,
    holdout: see prepare. score: column that says how odd an item is, "" for distances. skips: whether a task that a file is
    not fit for is left out, instead of being an error. against: the file whose values are subtracted from those of the others,
    or `all`; "" for none. reports: whether details of the values are kept, for a report. device: where neighbours are
    searched.
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
            extras.items.update(own.items)
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
    return _of_file(plan.files[number], plan.anomalies[number], plan, extras, advance), extras


def anomalies_of_each(anomalies: list[str], count: int) -> list[list[str]]:
    """The files of anomalies for each of `count` files. Raises UsageError."""
    if count == 1 or len(anomalies) < 2:
        return [anomalies] * count
    if len(anomalies) != count:
        raise UsageError(f"--anomalies names {len(anomalies)} files for {count}", "Name one for all, or one for each.")
    return [[odd] for odd in anomalies]


def _of_file(file: str, anomalies: Sequence[str], plan: EvaluationPlan, extras: Extras, advance: Advance) -> list[Record]:
    """All records of one file. Raises DataError when it cannot be used."""
    e, odd = store.read(file, plan.reading), [store.read(name) for name in anomalies]
    clean = store.read(plan.reference) if plan.reference else None
    return records_of_space(e, odd, clean, plan, extras, advance)


def records_of_space(
    e: Embedding, odd: Sequence[Embedding], clean: Embedding | None, plan: EvaluationPlan, extras: Extras, advance: Advance
) -> list[Record]:
    """All records of one space. odd: its anomalies. clean: a reference of the same space."""
    unit, (e, *odd) = _in_one_unit([in_id_order(one) for one in (e, *odd)])
    if note := hint(e, by_angle(EVALUATIONS, {} if plan.skips else plan.tasks)):
        say(note)
    for o in odd if not plan.score else []:
        if e.space != o.space:
            spaces = f"spaces {_space(e)} and {_space(o)}"
            say(f"{e.uri} and {o.uri} ({spaces}): different spaces, so distances between them mean little.")
    return list(_of_targets(e, odd, clean and in_id_order(clean), unit, plan, extras, advance))


def named_tasks(names: Sequence[str], compresses: bool, has_reference: bool) -> list[str]:
    """The tasks behind `all`. compresses: whether an option of task compression is given.

    compression changes the vectors, so it runs only when it is asked for; its options ask for it alone.
    """
    if ALL not in names:
        return list(names)
    unasked = {COMPRESSION} if has_reference else {COMPRESSION, FOREIGN}
    return [COMPRESSION] if compresses else [name for name in EVALUATIONS if name not in unasked]


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
    odd: list[Embedding],
    clean: Embedding | None,
    unit: float,
    plan: EvaluationPlan,
    extras: Extras,
    advance: Advance,
) -> Iterator[Record]:
    """Each task with each column of classes, and with each file of anomalies, where it reads them."""
    tasks = [(t, n) for t in plan.targets for n in plan.tasks if EVALUATIONS[n].labels or t == plan.targets[0]]
    for place, (target, name) in enumerate(tasks):
        advance(place / len(tasks))
        if target != "label":
            e.column(target)
        several = odd if "anomalies" in EVALUATIONS[name].needs else []
        for strange in several or [None]:  # type: ignore[list-item]
            space = prepare(e, target, plan.split, plan.holdout, plan.seed, strange, plan.score, plan.device)
            space = replace(space, unit=unit, reference=clean or (None if plan.skips else e))
            findings = _findings(e.uri, space, name, plan)
            extra = {"target": target if EVALUATIONS[name].labels else None} if len(plan.targets) > 1 else {}
            extra |= {"anomalies": strange.uri if strange else None} if len(odd) > 1 else {}
            extras.curves.update((_curve_name(e, strange, odd), f) for f in findings if f.curve is not None)
            extras.items.update((e.uri, f.items) for f in findings if f.items is not None)
            if plan.against:
                extras.findings.extend(judged({"task": name, "name": f.name} | extra, e.uri, f, plan.seed) for f in findings)
                continue
            if plan.reports:
                extras.details.update(_details(e.uri, name, findings, space, extra))
            for record in records(e.uri, name, findings, space.classes, plan.seed, plan.per_class):
                yield record | extra


def _details(
    file: str, task: str, findings: Sequence[Finding], space: Space, extra: Record
) -> Iterator[tuple[tuple[Any, ...], Details]]:
    """What is behind each finding, with its key."""
    names = [name.decode(errors="backslashreplace") for name in space.classes.tolist()]
    for f in findings:
        key = details_key({"file": file, "task": task, "name": f.name} | extra)
        yield key, replace(_of_items(f, names), curve=[] if f.curve is None else thinned(f.curve))


def _of_items(f: Finding, names: Sequence[str]) -> Details:
    """The values of the items of a finding; of rows that may be foreign their scores, highest first."""
    if f.items is not None:
        scores = np.array([item["score"] for item in f.items])
        worst = [(item["id"], item["score"], "foreign" if item["foreign"] == "yes" else "") for item in f.items[:WORST]]
        return replace(details_of(Judgement(scores)), worst=worst)
    values = f.rows if f.item_values is None else f.item_values
    if values is None:
        return NOTHING
    return details_of(Judgement(values, f.ids, f.codes, f.predicted, names, not f.lower_is_better, f.counts))


def details_key(record: Record) -> tuple[Any, ...]:
    """The key of a record in Extras.details."""
    return tuple(record.get(key) for key in ("file", *KEYS))


def _curve_name(e: Embedding, strange: Embedding | None, odd: list[Embedding]) -> str:
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

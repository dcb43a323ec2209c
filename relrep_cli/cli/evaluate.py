"""`relrep evaluate`: what one space is good for."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from relrep_cli import store
from relrep_cli.base.errors import DATA, DONE, DataError, NotApplicable, UsageError, printable
from relrep_cli.base.output import emit, progress, render, say, write
from relrep_cli.cli import options
from relrep_cli.comparison import layers
from relrep_cli.comparison.matrix import short_names
from relrep_cli.embedding import Embedding, bare_name, in_id_order
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.base import COLUMNS, Finding, Record, Space, prepare, records
from relrep_cli.evaluations.base import evaluate as judge
from relrep_cli.plots import curves, ready

EXAMPLES = (
    "relrep evaluate a.h5 b.h5 --task linear-probe,knn",
    "relrep evaluate shapes.h5 --task linear-probe --target colour,shape,location",
    "relrep evaluate cifar10.h5 --task anomaly --anomalies mnist.h5 --plot roc.png",
    "relrep evaluate vae.h5 --task anomaly --anomalies other.h5 --score-column reconstruction_error",
    "relrep evaluate 'a.h5::layer/*' --task linear-probe,knn --matrix",
    "relrep evaluate vectors.npz --holdout 0.2 --per-class",
)
ALL = "all"
KEYS = ("task", "target", "anomalies", "name", "class")  # what a value is of, beside its file


def _file(name: str, help: str) -> Any:
    return typer.Option(name, help=help, metavar="FILE", show_default=False)


@options.legacy_command(EVALUATIONS)
def evaluate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Embedding files.", show_default=False)],
    task: Annotated[
        list[str], options.names_of(EVALUATIONS, "What to find out, repeated or with commas, or all.", "--task")
    ] = [ALL],  # noqa: B006 (typer reads it, nobody changes it)
    target: Annotated[
        list[str], typer.Option("--target", "-t", help="Columns with the class or the number of each item.", metavar="COLUMN")
    ] = ["label"],  # noqa: B006
    split: Annotated[
        str,
        typer.Option(
            "--split", help="Judge by the rows of this split, or all; test unless told.", metavar="NAME", show_default=False
        ),
    ] = "",
    holdout: Annotated[
        float,
        typer.Option("--holdout", help="Judge by this share of a file without splits.", min=0, max=0.9, show_default=False),
    ] = 0.0,
    anomalies: Annotated[
        list[str],
        _file(
            "--anomalies",
            "Items that do not belong, in the same space: one file, one for each FILE in order, or several for one FILE.",
        ),
    ] = [],  # noqa: B006
    score_column: Annotated[
        str,
        typer.Option(
            "--score-column",
            help="Column that says how odd an item is, such as reconstruction_error, instead of distances.",
            metavar="COLUMN",
            show_default=False,
        ),
    ] = "",
    per_class: Annotated[bool, typer.Option("--per-class", help="Add the values of each class.")] = False,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Print values only: a line for each thing measured, a column for each file.")
    ] = False,
    plot: Annotated[str, _file("--plot", "Draw the ROC curves of task anomaly to FILE (.png, .svg or .pdf).")] = "",
    curve: Annotated[str, _file("--curve", "Write the points of the ROC curves to FILE (.tsv, .csv, .json, .parquet).")] = "",
    force: options.Force = False,
    dry_run: options.DryRun = False,
    format: options.AsFormat = None,
    json: options.AsJson = False,
    seed: options.Seed = 0,
    given: options.Given = options.NOTHING,
) -> int:
    """Find out what one space is good for: probes, anomalies, clusters, retrieval, separation.

    All that is fitted is fitted on the training rows, and judged on the test rows. Of several files, values that compare stand
    together, and one file that cannot be used gives a record that says so; the others go on, and the exit code is 3. With all,
    tasks that a file has not what it takes for are left out, which is said.
    """
    kind = options.format_of(format, json)
    files = list(itertools.chain(*layers.expand(files)))
    chosen = _chosen(task, given)
    odd = _odd_of_each(anomalies, len(files))
    if score_column and not anomalies:
        raise UsageError("--score-column needs --anomalies FILE.")
    _refuse_outputs(plot, curve, [*files, *anomalies], "anomaly" in chosen and bool(anomalies))
    wanted = _Wanted(
        options.split_names(target), split, holdout, seed, score_column, chosen, ALL in task, per_class, len(files) == 1
    )
    if dry_run:
        options.plan([f"evaluate {file} by {', '.join(chosen)}" for file in files])
        return DONE
    found: list[Record] = []
    drawn: dict[str, Finding] = {}
    with progress("evaluating") as advance:
        for done, (file, strange) in enumerate(zip(files, odd, strict=True)):
            place = partial(_place, advance, done, len(files), file)
            found += _of_file(file, strange, wanted, drawn, place)
    _write_curves(plot, curve, drawn, force)
    if matrix:
        _write_matrix(found, files, kind)
    else:
        write(_side_by_side(found), _columns(wanted), kind)
    broken = len({r["file"] for r in found if "error" in r})
    if broken:
        say(f"{broken} of {len(files)} files could not be used: see their error.")
    return DATA if broken else DONE


def _odd_of_each(anomalies: list[str], count: int) -> list[list[str]]:
    """The files of anomalies for each of so many files."""
    if count == 1 or len(anomalies) < 2:
        return [anomalies] * count
    if len(anomalies) != count:
        raise UsageError(f"--anomalies names {len(anomalies)} files for {count}; name one for all, or one for each.")
    return [[odd] for odd in anomalies]


def _place(advance: Any, done: int, total: int, file: str, part: float, name: str) -> None:
    advance(done + part, total, f"{file} {name}")


@dataclass(frozen=True)
class _Wanted:
    """What the options ask of every file. everything: tasks that cannot be done are left out. alone: one bad file ends it."""

    targets: list[str]
    split: str
    holdout: float
    seed: int
    score: str
    chosen: dict[str, dict[str, Any]]
    everything: bool
    per_class: bool
    alone: bool


def _chosen(task: list[str], given: options.Given) -> dict[str, dict[str, Any]]:
    names = options.split_names(task)
    return given.choose(EVALUATIONS, list(EVALUATIONS) if ALL in names else names)


def _refuse_outputs(plot: str, curve: str, inputs: list[str], anomaly: bool) -> None:
    for option, target in (("--plot", plot), ("--curve", curve)):
        if target and not anomaly:
            raise UsageError(f"{option} {target}: there is a ROC curve of task anomaly only; name --anomalies FILE.")
    if plot:
        ready(plot)
    if plot and plot == curve:
        raise UsageError(f"{plot}: --plot and --curve name the same file; choose another name for one.")
    for target in filter(None, (plot, curve)):  # what is there may be these very results, which is known when they are
        store.refuse(target, True, inputs, store.TABLES if target == curve else ())


def _columns(wanted: _Wanted) -> list[str]:
    return [*COLUMNS, *(["class"] if wanted.per_class else []), *(["target"] if len(wanted.targets) > 1 else [])]


def _of_file(file: str, strange: list[str], wanted: _Wanted, drawn: dict[str, Finding], advance: Any) -> list[Record]:
    """All records of one file, or the one that says why there are none."""
    try:
        e = in_id_order(store.read(file))
        odd = [in_id_order(store.read(name)) for name in strange]
        for o in odd if not wanted.score else []:
            if e.space != o.space:
                say(f"{file} and {o.uri}: different spaces ({_space(e)} and {_space(o)}); distances between them mean little.")
        return list(_of_targets(e, odd, wanted, drawn, advance))
    except DataError as error:
        if wanted.alone:
            raise
        return [dict.fromkeys(_columns(wanted)) | {"file": file, "error": str(error)}]


def _space(e: Embedding) -> str:
    return printable(e.space) or "an unnamed one"


def _of_targets(
    e: Embedding, odd: list[Embedding], wanted: _Wanted, drawn: dict[str, Finding], advance: Any
) -> Iterator[Record]:
    """Each task with each column of classes, and with each file of anomalies, where it reads them."""
    tasks = [(t, n) for t in wanted.targets for n in wanted.chosen if EVALUATIONS[n].labels or t == wanted.targets[0]]
    for place, (target, name) in enumerate(tasks):
        advance(place / len(tasks), name)
        if target != "label":
            e.column(target)
        several = odd if "anomalies" in EVALUATIONS[name].needs else []
        for strange in several or [None]:  # type: ignore[list-item]
            space = prepare(e, target, wanted.split, wanted.holdout, wanted.seed, strange, wanted.score)
            findings = _findings(e.uri, space, name, wanted)
            told = {"target": target if EVALUATIONS[name].labels else None} if len(wanted.targets) > 1 else {}
            told |= {"anomalies": strange.uri if strange else None} if len(odd) > 1 else {}
            drawn.update((_curve_name(e, strange, odd), f) for f in findings if f.curve is not None)
            for record in records(e.uri, name, findings, space.classes, wanted.seed, wanted.per_class):
                yield record | told


def _curve_name(e: Embedding, strange: Embedding | None, odd: list[Embedding]) -> str:
    if strange is None or len(odd) < 2:
        return e.uri
    return f"{bare_name(e.uri)} against {short_names([o.uri for o in odd])[strange.uri]}"


def _findings(file: str, space: Space, name: str, wanted: _Wanted) -> list[Finding]:
    if wanted.everything and not space.suits(EVALUATIONS[name].needs):
        return []
    try:
        return judge(space, name, wanted.chosen[name], wanted.seed)
    except (NotApplicable, UsageError) as error:  # a UsageError: this file is too small for --k
        reason = str(error).removesuffix(".")
        if wanted.everything:
            say(f"{file}: {name} is left out: {reason}.")
            return []
        raise DataError(f"{file}: {name}: {reason}.") from None


def _side_by_side(found: list[Record]) -> list[Record]:
    """What compares stands together: by what it is of, then by file; broken files at the end."""
    keys = [tuple(r.get(c) for c in KEYS) for r in found]
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    order = np.argsort([len(places) if "error" in r else places[k] for r, k in zip(found, keys, strict=True)], kind="stable")
    return [found[i] for i in order]


def _write_matrix(found: list[Record], files: list[str], kind: str | None) -> None:
    """A line for each thing measured, a column for each file; what is wrong with files is said."""
    names = short_names(files)
    lines: dict[tuple[Any, ...], Record] = {}
    for r in found:
        if "error" in r:
            say(r["error"])
            continue
        what: Record = {c: r[c] for c in KEYS if c in r}
        lines.setdefault(tuple(what.values()), what)[names[r["file"]]] = r["value"]
    keys = [c for c in KEYS if any(c in line for line in lines.values())]
    columns = [*keys, *dict.fromkeys(names.values())]
    kind = kind or ("table" if sys.stdout.isatty() else "tsv")
    emit(render(list(lines.values()), columns, kind, verbatim=True))


def _write_curves(plot: str, curve: str, drawn: dict[str, Finding], force: bool) -> None:
    points = {file: f.curve for file, f in drawn.items() if f.curve is not None}
    if curve:
        names = ("file", "false_positive_rate", "true_positive_rate", "threshold")
        flat = [dict(zip(names, (file, *row), strict=True)) for file, rows in points.items() for row in rows.tolist()]
        store.write_bytes(curve, store.encoded(curve, flat, names), force)
    if plot and drawn:
        shown = {f"{file}, AUC {drawn[file].value:.4f}": rows for file, rows in points.items()}
        notes = {f.convention for f in drawn.values()}
        note = notes.pop() if len(notes) == 1 else ""  # where they differ, the table tells them apart
        store.write_bytes(plot, curves(shown, "anomalies: ROC curve", note, plot), force)

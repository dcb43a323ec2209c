"""Options of `relrep evaluate`."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

import typer

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.cli import options as shared
from relrep_cli.cli.engine_options import ProcessOptions
from relrep_cli.cli.options import Explicit, Given, Printing, names_of
from relrep_cli.cli.reading_options import ReadingOptions
from relrep_cli.evaluations import EVALUATIONS
from relrep_cli.evaluations.several_files import ALL


def _file(name: str, help: str) -> Any:
    return typer.Option(name, help=help, metavar="FILE", show_default=False)


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Embedding files.", show_default=False)]
    task: Annotated[list[str], names_of(EVALUATIONS, "Tasks, repeated or separated by commas, or all.", "--task")] = field(
        default_factory=lambda: [ALL]
    )
    target: Annotated[
        list[str], typer.Option("--target", "-t", help="Columns with the class or the number of each item.", metavar="COLUMN")
    ] = field(default_factory=lambda: ["label"])
    split: Annotated[
        str,
        typer.Option(
            "--split", help="Score the rows of this split, or all [default: test].", metavar="NAME", show_default=False
        ),
    ] = ""
    holdout: Annotated[
        float,
        typer.Option(
            "--holdout",
            help="Score this share of the rows of a file without splits; learn from the rest.",
            min=0,
            max=0.9,
            show_default=False,
        ),
    ] = 0.0
    anomalies: Annotated[
        list[str],
        _file(
            "--anomalies",
            "Anomalies in the same space: one file, one for each FILE in order, or several for one FILE.",
        ),
    ] = field(default_factory=list)
    score_column: Annotated[
        str,
        typer.Option(
            "--score-column",
            help="Column with the anomaly score of each item, such as reconstruction_error, instead of distances.",
            metavar="COLUMN",
            show_default=False,
        ),
    ] = ""
    reference: Annotated[
        str, _file("--reference", "For task foreign: a file of the same model that certainly holds no foreign rows.")
    ] = ""
    queries: Annotated[
        list[str],
        _file(
            "--queries",
            "Queries in the same space, for task search: one file, one for each FILE in order, or several for one FILE.",
        ),
    ] = field(default_factory=list)
    relevant: Annotated[
        str, _file("--relevant", "With --queries: text file of queries and the items that are relevant to them, a pair a line.")
    ] = ""
    least_recall: Annotated[
        float | None,
        typer.Option(
            "--least-recall",
            help="With --queries: exit code 1 unless the interval of recall@k lies at or above this.",
            min=0,
            max=1,
            show_default=False,
        ),
    ] = None
    rows: Annotated[
        str,
        _file(
            "--rows",
            "Write the answer to each query of task search, or the score of each row by task foreign, to FILE (.tsv, .csv, "
            ".json, .parquet).",
        ),
    ] = ""
    against: Annotated[
        str,
        _file("--against", "Test whether each other file is better or worse than FILE; all tests every pair of files."),
    ] = ""
    per_class: Annotated[bool, typer.Option("--per-class", help="Add the values of each class.")] = False
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Print values only: a line for each thing measured, a column for each file.")
    ] = False
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="Write the result to FILE: a table, or a report (.html).", metavar="FILE", show_default=False
        ),
    ] = ""
    plot: Annotated[
        str,
        _file(
            "--plot",
            "Draw the ROC curves of task anomaly, or recall by size of task compression, to FILE (.png, .svg or .pdf).",
        ),
    ] = ""
    curve: Annotated[str, _file("--curve", "Write the points of the ROC curves to FILE (.tsv, .csv, .json, .parquet).")] = ""
    force: shared.Force = False
    device: shared.Device = "cpu"
    dry_run: shared.DryRun = False
    printing: Printing
    seed: shared.Seed = 0
    reading: ReadingOptions
    running: ProcessOptions
    given: Given
    explicit: Explicit = field(default_factory=Explicit)

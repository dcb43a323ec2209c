"""The options of `relrep compare`."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

import typer

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.cli import options as shared
from relrep_cli.cli.engine_options import EngineOptions
from relrep_cli.cli.options import Explicit, Given, Printing
from relrep_cli.cli.picture_options import PictureOptions
from relrep_cli.cli.reading_options import TrustingOptions
from relrep_cli.cli.recipe_options import RecipeOptions
from relrep_cli.comparison.relation_names import RELATION_NAMES
from relrep_cli.metrics import METRICS
from relrep_cli.metrics.catalogue import PRESETS

SHOWN = METRICS.those(lambda entry: entry.shown)
DEFAULT_METRICS = ("cka", "knn-jaccard")  # global and local; of any dims, blind to rotations, near 0 by chance at any n


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[
        list[str], typer.Argument(metavar="FILE FILE...", help="Two or more embedding files.", show_default=False)
    ] = field(default_factory=list)
    metric: Annotated[
        list[str],
        shared.names_of(
            SHOWN,
            "What to measure (docs/which-metric.md): metrics, families or all; repeated or with commas.",
            "--metric",
            "-m",
        ),
    ] = field(default_factory=lambda: list(DEFAULT_METRICS))
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", help=f"Instead of --metric, one of: {', '.join(PRESETS)}.", metavar="NAME", show_default=False
        ),
    ] = None
    list_: Annotated[bool, typer.Option("--list", help="Print the metrics and their properties, and stop.")] = False
    split: shared.Split = None
    require_all: Annotated[bool, typer.Option("--require-all", help="Refuse to leave any row out.")] = False
    per_row: Annotated[
        str | None,
        typer.Option(
            "--per-row",
            help="Write each row's own values to FILE (.tsv, .parquet or .h5); to an .h5ad, as columns of obs in a copy of the "
            ".h5ad that is compared.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            help="Compare every file with this one only: first, or one of the files.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None
    against: Annotated[
        str,
        typer.Option(
            "--against",
            help="Test whether each other file is closer to the reference than FILE is; all tests every pair of files, closest "
            "whether the closest file is closer than every other one.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    repeats: Annotated[
        str,
        typer.Option(
            "--repeats",
            help="With --against: the column of the reference that names the item behind each row, where items have several. "
            "Values are means over these repeats, and records hold the noise ceiling.",
            metavar="COLUMN",
            show_default=False,
        ),
    ] = ""
    matrix: Annotated[
        bool | None,
        typer.Option(
            "--matrix/--no-matrix",
            help="Print one metric as a matrix of files [default: on a terminal, for three or more files].",
            show_default=False,
        ),
    ] = None
    worst: Annotated[
        int | None,
        typer.Option(
            "--worst",
            help="Print the N items that agree least, for each metric with a value for each row, instead of the scores.",
            metavar="N",
            min=1,
            show_default=False,
        ),
    ] = None
    permutations: Annotated[
        int | None,
        typer.Option(
            "--permutations",
            help="Add p and q, from N random pairings of the rows; takes N times as long.",
            metavar="N",
            min=1,
            show_default=False,
        ),
    ] = None
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under", help="Exit with 1 when a value is missing, or shows less agreement than this.", show_default=False
        ),
    ] = None
    diagnose: Annotated[
        bool,
        typer.Option("--diagnose", help="Instead of metrics, find the simplest relation of two files, with evidence."),
    ] = False
    accept: Annotated[
        str | None,
        typer.Option(
            "--accept",
            help="With --diagnose, exit with 1 unless the relation is this or a simpler one. Simplest first: "
            f"{', '.join(name for name in RELATION_NAMES if name != 'none-of-these')}.",
            metavar="RELATION",
            show_default=False,
        ),
    ] = None
    no_interval: Annotated[
        bool, typer.Option("--no-interval", help="Leave out the confidence intervals, which can take most of the time.")
    ] = False
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="File to write: a table, or a report (.html); - is stdout.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    force: shared.Force = False
    device: shared.Device = "cpu"
    dry_run: shared.DryRun = False
    printing: Printing
    seed: shared.Seed = 0
    recipe: RecipeOptions
    reading: TrustingOptions
    running: EngineOptions
    picture: PictureOptions
    given: Given
    explicit: Explicit = field(default_factory=Explicit)

"""The options of `relrep stitch`."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import typer

from relrep_cli.base.lazy_dataclasses import dataclass
from relrep_cli.cli import options as shared
from relrep_cli.cli.engine_options import EngineOptions
from relrep_cli.cli.options import Explicit, Given, Printing, names_of, split_names
from relrep_cli.cli.picture_options import PictureOptions
from relrep_cli.cli.reading_options import TrustingOptions
from relrep_cli.cli.recipe_options import AGGREGATE_HELP, SIMILARITY_HELP, RecipeOptions
from relrep_cli.heads.heads import HEADS
from relrep_cli.relative.aggregators import AGGREGATORS
from relrep_cli.relative.similarities import SIMILARITIES
from relrep_cli.reports.endings import is_report
from relrep_cli.stitching import methods
from relrep_cli.stitching.methods import AGGREGATE, SIMILARITY
from relrep_cli.stitching.spaces import TEST_SIZE, Division
from relrep_cli.stitching.translators import TRANSLATORS
from relrep_cli.stitching.universe import UNIVERSES
from relrep_cli.store import TABLES

HEAD = ["linear"]


def _path(name: str, help: str, metavar: str = "FILE") -> Any:
    return typer.Option(f"--{name}", help=help, metavar=metavar, show_default=False)


def _complete(incomplete: str) -> list[tuple[str, str]]:
    maps = {name: entry.summary for registry in (TRANSLATORS, UNIVERSES) for name, entry in registry.items()}
    summaries = {**methods.FAMILIES, **maps}
    return [(name, summary) for name, summary in summaries.items() if name.startswith(incomplete)]


@dataclass(frozen=True, kw_only=True)
class StitchRecipeOptions(RecipeOptions):
    """RecipeOptions with the defaults of stitch, which shows several similarity functions and aggregators side by side."""

    similarity: Annotated[
        list[str],
        names_of(SIMILARITIES, f"{SIMILARITY_HELP} [default: {', '.join(SIMILARITY)}].", "--similarity", "-s", default=False),
    ] = field(default_factory=list)
    aggregate: Annotated[
        str,
        names_of(
            AGGREGATORS,
            f"{AGGREGATE_HELP}, repeated with commas; a line of the table for each [default: {', '.join(AGGREGATE)}].",
            "--aggregate",
            default=False,
        ),
    ] = ""


@dataclass(frozen=True, kw_only=True)
class StitchPictureOptions(PictureOptions):
    """PictureOptions for maps of the stitching index."""

    plot: Annotated[str, _path("plot", "Draw the stitching index of every encoder and head, a map for each method.")] = ""


@dataclass(frozen=True, kw_only=True)
class Options:
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Two or more absolute files; one or more with a saved --head.", show_default=False
        ),
    ]
    target: Annotated[
        str,
        typer.Option(
            "--target",
            "-t",
            help="Column that heads predict; or images, for decoders; or retrieval, to look up one file's test items in "
            "another; or asif, the same by sparse relative rows.",
            metavar="COLUMN",
        ),
    ] = "label"
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            "-m",
            help=f"Methods of stitching, repeated or separated by commas [default: {', '.join(methods.USUAL)}]. "
            "`all` runs every method in every variant, also with statistics of test rows. One of: "
            f"{', '.join(methods.names())}.",
            metavar="NAME",
            show_default=False,
            autocompletion=_complete,
        ),
    ] = field(default_factory=list)
    head: Annotated[
        list[str], names_of(HEADS, "Heads to train, repeated or separated by commas, or the file of a saved one.", "--head")
    ] = field(default_factory=HEAD.copy)
    numbers: Annotated[bool, typer.Option("--numbers", help="Treat an integer column as a regression target.")] = False
    source: Annotated[str, _path("source", "With --target images: the images that decoders reconstruct.", "DIR")] = ""
    test_size: Annotated[
        float | None,
        typer.Option(
            "--test-size",
            help=f"Share of test rows, drawn by id, where no file has a split [default: {TEST_SIZE}].",
            min=0.001,
            max=0.999,
            show_default=False,
        ),
    ] = None
    allow_test_anchors: Annotated[
        bool, typer.Option("--allow-test-anchors", help="Go on with anchors that are test rows; every result says so.")
    ] = False
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="Write the table (.tsv, .json, .tex) or a report (.html); or, to an .h5, the second file's vectors as the "
            "first one's head sees them, for two files and one method. With --shard, the name of the table that relrep merge "
            "will make.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    save_head: Annotated[str, _path("save-head", "Save the first file's head, for other files.", "FILE.safetensors")] = ""
    save_aggregator: Annotated[
        str, _path("save-aggregator", "Save the aggregator that was trained with the first file's head.", "FILE.safetensors")
    ] = ""
    predictions: Annotated[str, _path("predictions", "Write what each head predicts for each test item.")] = ""
    adapt: Annotated[
        list[str],
        typer.Option(
            "--adapt",
            help="With a trainable aggregator: train the stitched head further on a few labelled rows of the new encoder, "
            "before and after side by side: qkv (query, key and value of the attention), head or all.",
            metavar="[qkv|head|all]",
            show_default=False,
        ),
    ] = field(default_factory=list)
    adapt_fraction: Annotated[
        float, typer.Option("--adapt-fraction", help="Share of the new training rows that --adapt uses.", min=0, max=1)
    ] = 0.05
    sparse: Annotated[
        int, typer.Option("--sparse", help="With --target asif: how many of its largest similarities each row keeps.", min=1)
    ] = 100
    power: Annotated[
        float, typer.Option("--power", help="With --target asif: power to raise these similarities to.", min=0.1)
    ] = 8.0
    force: shared.Force = False
    seeds: Annotated[int, typer.Option("--seeds", help="Train each head with this many seeds, from --seed on.", min=1)] = 1
    device: shared.Device = "auto"
    dry_run: shared.DryRun = False
    printing: Printing
    seed: shared.Seed = 0
    recipe: StitchRecipeOptions
    picture: StitchPictureOptions
    reading: TrustingOptions
    running: EngineOptions
    given: Given
    explicit: Explicit

    @property
    def heads(self) -> list[str]:
        return split_names(self.head)

    @property
    def vectors(self) -> str:
        """The file of vectors to write, "" for none."""
        return "" if is_report(self.output) or self.table else self.output

    @property
    def table(self) -> str:
        """The file of the table, "" for standard output."""
        return self.output if Path(self.output).suffix.lower() in TABLES else ""

    @property
    def division(self) -> Division:
        return Division(self.test_size, self.seed, self.allow_test_anchors)

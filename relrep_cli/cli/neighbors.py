"""`relrep neighbors`: the nearest or farthest items of a few."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import typer

from relrep_cli import sources, store
from relrep_cli.base.errors import DataError, UsageError
from relrep_cli.base.output import say, write
from relrep_cli.cli.options import Device, Force, Given, Printing, Seed, command, split_names
from relrep_cli.cli.reading_options import ReadingOptions
from relrep_cli.comparison.low_dims import hint
from relrep_cli.embedding import Embedding, bare_name, in_id_order
from relrep_cli.evaluations.lookup import (
    COLUMNS,
    look_up,
    pictures_of,
    records_of,
    rows_of_ids,
    rows_of_split,
    sampled,
    strips_of,
)
from relrep_cli.plots.drawing import ready
from relrep_cli.plots.strips import fitting, strips
from relrep_cli.sources import SOURCES, Items

TITLE = "What to look up"
EXAMPLES = (
    "relrep neighbors a.h5 --query test-00000,test-00007 -k 5",
    "relrep neighbors a.h5 --sample 10 --farthest --by euclidean",
    "relrep neighbors a.h5 --sample 8 --split test --images fashion-mnist/ --plot strip.png",
)
IMAGES = SOURCES.those(lambda entry: entry.kind == "images")


@dataclass(frozen=True, kw_only=True)
class Options:
    file: Annotated[str, typer.Argument(metavar="FILE", help="Embedding file; - is stdin.", show_default=False)]
    query: Annotated[
        list[str], typer.Option("--query", help="Ids of items, repeated or with commas.", metavar="ID", show_default=False)
    ] = field(default_factory=list)
    sample: Annotated[
        int | None, typer.Option("--sample", help="Take this many items at random instead.", min=1, show_default=False)
    ] = None
    k: Annotated[int, typer.Option("-k", "--k", help="Number of items to print for each.", min=1)] = 10
    farthest: Annotated[bool, typer.Option("--farthest", help="Print the farthest items instead of the nearest.")] = False
    by: Annotated[Literal["cosine", "euclidean"], typer.Option("--by", help="Distance between rows.")] = "cosine"
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Search, and sample, only the rows of this split, such as train.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None
    column: Annotated[str, typer.Option("--label", help="Column to print for each item.", metavar="COLUMN")] = "label"
    images: Annotated[
        str,
        typer.Option(
            "--images", help="The source that FILE was embedded from, for --plot.", metavar="SOURCE", show_default=False
        ),
    ] = ""
    plot: Annotated[
        str,
        typer.Option(
            "--plot",
            help="Also draw FILE (.png, .svg or .pdf): a line of pictures for each query.",
            metavar="FILE",
            show_default=False,
        ),
    ] = ""
    source_kind: Annotated[
        str,
        typer.Option(
            "--source",
            help=f"Kind of SOURCE, if relrep does not recognise it: {', '.join(IMAGES)}.",
            metavar="NAME",
            show_default=False,
        ),
    ] = ""
    force: Force = False
    printing: Printing
    device: Device = "cpu"
    seed: Seed = 0
    reading: ReadingOptions
    given: Given


@command(Options, IMAGES)
def neighbors(options: Options) -> None:
    """Print the nearest or farthest items of a few, or draw them.

    Distances are exact: 1 - cosine, or Euclidean. Items at the same distance are sorted by id; an item is never its own
    neighbour. Pictures are found by id, so --images names the source that was embedded.
    """
    style = options.printing.style
    _check(options)
    embedding = in_id_order(store.read(options.file, options.reading.reading))
    searched = rows_of_split(embedding, options.split)
    if options.query:
        queries = rows_of_ids(embedding, options.query, split_names)
    else:
        queries = sampled(embedding, searched, options.sample or 0, options.seed)
    result = look_up(embedding, queries, searched, options.k, options.by, options.farthest, options.device)
    has_labels = options.column != "label" or "label" in embedding.obs
    labels = embedding.column(options.column) if has_labels else None
    if options.plot:
        shown, depth = fitting(len(queries), options.k)
        if shown < len(queries) or depth < options.k:
            counts = f"the first {shown} of {len(queries)} queries, the first {depth} of {options.k} items of each"
            say(f"{options.plot}: shows {counts}.")
        rows = np.concatenate([queries[:, None], result.rows], 1)[:shown, : depth + 1]
        pictures = pictures_of(_images(options, embedding), embedding, rows, options.images)
        drawn = strips(strips_of(embedding, rows, result, labels, pictures), _title(options, embedding, searched), options.plot)
        store.write_bytes(options.plot, drawn, options.force)
    if note := hint(embedding, ["--by"] if options.by == "cosine" else []):
        say(note)
    write(records_of(embedding, queries, result, labels), COLUMNS, style)


def _check(options: Options) -> None:
    """Raise UsageError for options that do not go together."""
    if options.query and options.sample is not None:
        raise UsageError("--query and --sample exclude each other", "Give one of them.")
    if not options.query and options.sample is None:
        raise UsageError("no items are named", "Name some with --query ID, or take some at random with --sample N.")
    if bool(options.images) != bool(options.plot):
        given, missing = ("--images", "--plot FILE") if options.images else ("--plot", "--images SOURCE")
        raise UsageError(f"{given} does not work alone", f"Add {missing}.")
    if options.plot:
        ready(options.plot)
        store.refuse(options.plot, True, [options.file, options.images])
    else:
        options.given.refuse(IMAGES, "neighbors without --images")


def _title(options: Options, embedding: Embedding, searched: np.ndarray) -> str:
    which = "farthest" if options.farthest else "nearest"
    return f"{bare_name(embedding.uri)}: {options.k} {which} of {len(searched)} items, {options.by}"


def _images(options: Options, embedding: Embedding) -> Items:
    """The items of the source of --images. Raises DataError where they are no images."""
    name = sources.chosen(options.images, options.source_kind, options.given.names(IMAGES), {"images"})
    if name not in IMAGES:
        remedy = f"Name the images that {embedding.uri} was embedded from, or leave out --images and --plot."
        raise DataError(f"holds {SOURCES[name].kind}, and a strip shows images", remedy, file=options.images)
    return sources.read(options.images, name, options.given.choose(IMAGES, [name])[name])
